/**
 * The till: takes one order. Whatever the order does to stock, accounts and ledger is in one commit
 * with the completion of its job, so that a process killed at any instant has done all of it or
 * nothing, and whoever takes the order over starts from the same shelf.
 *
 * The till has no check of its own against taking an order twice. That is the library's promise,
 * and the audit would show it broken.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Holdfast } from "holdfast";
import type { Completion, Job } from "holdfast/jobs";
import type { Placed } from "holdfast/store";
import { acceptedEntry, ledgerKey, PREFIX, refusedEntry } from "./books.ts";
import type { LedgerEntry, Receipt } from "./books.ts";
import type { Order } from "./rules.ts";

/**
 * Takes an order: reserves every line or none, and records what became of it.
 *
 * Guarantee: one commit. An order that cannot be filled is refused, which is an ending like any
 * other: it completes the job, and moves nothing.
 * Errors: those of `tryComplete`; a refusal that is no shortage is thrown, and the job tried again.
 */
export async function takeOrder(
  hf: Holdfast,
  order: Order,
  job: Job<Receipt>,
): Promise<Completion> {
  const entry = acceptedEntry(order);
  const done = await job.tryComplete({ ending: entry.ending }, effects(hf, entry, job.token));
  if (done.ok) return done;
  const { code, message, details } = done.refusal;
  if (code !== "LIMITED") throw new Error(`Order ${order.id} was refused by ${code}: ${message}`);
  const refused = refusedEntry(order, shortOf(details?.["key"]));
  return job.complete({ ending: refused.ending }, effects(hf, refused, job.token));
}

/** How long a careless till looks away between its two commits: hardly a kill misses that. */
export const CARELESS_MS = 300;

/**
 * What programs do that have no such commit: the effects first, the completion after. For
 * `--broken`, to see what a kill between the two makes of the books, and that the audit sees it.
 */
export async function takeOrderCarelessly(
  hf: Holdfast,
  order: Order,
  job: Job<Receipt>,
): Promise<Completion> {
  let entry = acceptedEntry(order);
  const done = await hf.tryCommit(effects(hf, entry, job.token));
  if (!done.ok) {
    entry = refusedEntry(order, shortOf(done.refusal.details?.["key"]));
    await hf.commit(effects(hf, entry, job.token));
  }
  await sleep(CARELESS_MS);
  return job.complete({ ending: entry.ending });
}

/**
 * An entry and everything that it says, as ops of one group: at most 1,200 codes, 3 accounts, the
 * tally and the entry, where a group may have 4,096.
 */
function effects(hf: Holdfast, entry: LedgerEntry, token: bigint): readonly Placed[] {
  const { op } = hf.kv;
  return [
    ...entry.moves.map(({ code, delta }) => op.add(PREFIX.stock + code, delta, { min: 0 })),
    ...entry.postings.map(({ account, amountPence }) =>
      op.add(PREFIX.account + account, amountPence),
    ),
    op.add(PREFIX.tally + entry.ending, 1),
    op.put(ledgerKey(entry.order, token), entry),
  ];
}

/** The code of the stock key that could not give what was asked. */
function shortOf(key: unknown): string | null {
  return typeof key === "string" && key.startsWith(PREFIX.stock)
    ? key.slice(PREFIX.stock.length)
    : null;
}
