/** Opens the shop: puts the stock on the shelves, once. */
import type { Holdfast } from "holdfast";
import type { Placed } from "holdfast/store";
import { NAMESPACE, PREFIX } from "./books.ts";

/** Codes of one group: two ops each, well inside a group's 4,096. */
const CODES_PER_GROUP = 1_000;

/** The store was used for a sale before. */
export class ShopOpenError extends Error {
  constructor() {
    super(
      `Expected a store without a sale in its namespace ${NAMESPACE}, found one: ` +
        "name another file, or leave --engine out for a new one",
    );
    this.name = "ShopOpenError";
  }
}

/**
 * Writes what each code starts with: the shelf itself, and the note for the audit.
 *
 * Guarantee: a store that holds a sale is left as it is, with `ShopOpenError`.
 */
export async function openShop(
  hf: Holdfast,
  stock: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<void> {
  for (const prefix of [PREFIX.initial, PREFIX.ledger]) {
    const { entries } = await hf.kv.list(prefix, { limit: 1, signal });
    if (entries.length > 0) throw new ShopOpenError();
  }
  const codes = [...stock];
  for (let from = 0; from < codes.length; from += CODES_PER_GROUP) {
    const ops = codes
      .slice(from, from + CODES_PER_GROUP)
      .flatMap(([code, units]): Placed[] => [
        hf.kv.op.put(PREFIX.initial + code, units),
        hf.kv.op.add(PREFIX.stock + code, units, { min: 0 }),
      ]);
    await hf.commit(ops, { signal });
  }
}
