/** Books for these tests: read through the library, or made by hand. */
import type { Holdfast } from "holdfast";
import type { Books, JobRow, KeyRow } from "./audit.ts";
import { acceptedEntry, ledgerKey, PREFIX, refusedEntry } from "./books.ts";
import { orders as definition } from "./definitions.ts";
import { seeded } from "./seeded.testing.ts";
import { generateOrders } from "./generate.ts";
import { demandOf } from "./input.ts";
import { initialStock } from "./rules.ts";
import type { Order } from "./rules.ts";

/** Everything that a sale of these orders may leave, each row open to be changed. */
export interface Draft {
  readonly orders: ReadonlyMap<string, Order>;
  readonly stock: ReadonlyMap<string, number>;
  readonly jobs: JobRow[];
  /** In the order of writing. */
  readonly keys: Map<string, string>;
}

/** A right sale of generated orders, taken one after the other. */
export function draftSale(count: number, share: number = 0.6): Draft {
  const orders = new Map(generateOrders(seeded(1), { count }).map((order) => [order.id, order]));
  const stock = initialStock(demandOf([...orders.values()], 1), share);
  const shelf = new Map(stock);
  const numbers = new Map<string, number>();
  const add = (key: string, delta: number): void =>
    void numbers.set(key, (numbers.get(key) ?? 0) + delta);
  const keys = new Map<string, string>();
  const jobs: JobRow[] = [];
  let token = 0n;
  for (const order of orders.values()) {
    token += 1n;
    const accepted = acceptedEntry(order);
    const short = accepted.moves.find(({ code, delta }) => (shelf.get(code) ?? 0) + delta < 0);
    const entry = short === undefined ? accepted : refusedEntry(order, short.code);
    for (const { code, delta } of entry.moves) shelf.set(code, (shelf.get(code) ?? 0) + delta);
    for (const { account, amountPence } of entry.postings) {
      add(PREFIX.account + account, amountPence);
    }
    add(PREFIX.tally + entry.ending, 1);
    keys.set(ledgerKey(order.id, token), JSON.stringify(entry));
    jobs.push({
      ...{ id: order.id, finished: "completed", places: 1, lost: 0 },
      ...{ createdMs: 1_000, finishedMs: 3_000 },
      result: JSON.stringify({ ending: entry.ending }),
    });
  }
  for (const [code, units] of stock) keys.set(PREFIX.initial + code, String(units));
  for (const [code, units] of shelf) keys.set(PREFIX.stock + code, String(units));
  for (const [key, value] of numbers) keys.set(key, String(value));
  return { orders, stock, jobs, keys };
}

/** The draft as the audit reads it. */
export function booksOf(draft: Pick<Draft, "jobs" | "keys">): Books {
  return {
    jobs: () => draft.jobs,
    keys: (prefix) =>
      [...draft.keys]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]): KeyRow => ({ key, value })),
  };
}

/** What a store holds, read through the library. */
export async function booksIn(hf: Holdfast): Promise<Books> {
  const written: { readonly key: string; readonly value: string; readonly revision: number }[] = [];
  for await (const { key, value, revision } of hf.kv.scan("")) {
    written.push({ key, value: JSON.stringify(value), revision });
  }
  written.sort((a, b) => a.revision - b.revision);
  const keys = new Map(written.map(({ key, value }) => [key, value]));
  const jobs: JobRow[] = [];
  for (const state of ["completed", "dead", "ready", "leased", "scheduled"] as const) {
    const list = await hf.open(definition).list(state, { limit: 1_000 });
    for (const job of list.jobs) {
      const isFinished = state === "completed" || state === "dead";
      jobs.push({
        ...{ id: job.id, finished: isFinished ? state : null, places: 1, lost: job.lost },
        ...{ createdMs: job.createdMs, finishedMs: job.finishedMs ?? null },
        result: JSON.stringify(job.output ?? null),
      });
    }
  }
  return booksOf({ jobs, keys });
}
