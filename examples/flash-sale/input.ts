/** The orders of a run: the file that was named, or one that is generated beside the store. */
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { isMalformed } from "./csv.ts";
import type { Malformed } from "./csv.ts";
import { generateLines } from "./generate.ts";
import type { Random } from "./generate.ts";
import { toCsv } from "./lines.ts";
import { readOrders } from "./orders.ts";
import { demand } from "./rules.ts";
import type { Order } from "./rules.ts";

/** What a file held. */
export interface OrderFile {
  readonly orders: readonly Order[];
  readonly malformed: readonly Malformed[];
}

/** Writes an order file of so many generated invoices. */
export async function writeOrderFile(path: string, random: Random, count: number): Promise<void> {
  await writeFile(path, toCsv(generateLines(random, { count })));
}

/**
 * Reads an order file whole: the stock at the start depends on all of it.
 *
 * Errors: those of the file system, untouched; malformed lines are in the result.
 */
export async function readOrderFile(path: string): Promise<OrderFile> {
  const orders: Order[] = [];
  const malformed: Malformed[] = [];
  for await (const item of readOrders(createReadStream(path))) {
    if (isMalformed(item)) malformed.push(item);
    else orders.push(item);
  }
  return { orders, malformed };
}

/** Units that `rounds` replays of the orders ask for, by code. */
export function demandOf(orders: readonly Order[], rounds: number): Map<string, number> {
  const units = demand(orders);
  for (const [code, quantity] of units) units.set(code, quantity * rounds);
  return units;
}
