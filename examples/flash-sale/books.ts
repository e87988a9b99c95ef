/**
 * What the shop writes down: the names of its keys, and one ledger entry for each thing that an
 * order did to stock and money. The till writes these and the audit reads them; both know nothing
 * else of each other. Pure.
 *
 *   initial/CODE                 units at the start                       written once
 *   stock/CODE                   units on the shelf now                   a counter, never below 0
 *   account/NAME                 the balance in pence                     a counter
 *   tally/ENDING                 orders that ended so                     a counter
 *   ledger/ORDER/STEP/ATTEMPT    what one step of the order did           one entry, never changed
 *   mail/ORDER/KIND/ATTEMPT      a mail that was sent                     written once
 *   run/kill/N                   a kill that counted                      written by the killer
 *
 * The key of an entry or a mail ends with the attempt that wrote it: a thing done twice leaves two
 * for the audit to find, where a key of the order's number alone would hide the second one behind
 * the first.
 */
import { postings, stockMoves } from "./rules.ts";
import type { Order, Posting, StockMove } from "./rules.ts";

/** The store's namespace, and so the name of its partition. */
export const NAMESPACE = "flash-sale";
/** The workflow that an order is; a run's id is its order's. */
export const ORDERS_WORKFLOW = "place-order";
/** The queue of the mails that wait to be sent. */
export const MAILS_QUEUE = "confirmations";

/** The first part of each family of keys. */
export const PREFIX = {
  initial: "initial/",
  stock: "stock/",
  account: "account/",
  tally: "tally/",
  ledger: "ledger/",
  mail: "mail/",
  kill: "run/kill/",
} as const;

/** How an order ended; one that failed was undone in full. */
export type Ending = "completed" | "refused" | "returned" | "adjusted" | "failed";

/** All endings, in the order in which people read them. */
export const ENDINGS: readonly Ending[] = [
  "completed",
  "refused",
  "returned",
  "adjusted",
  "failed",
];

/** Those that the till counts as they happen; what failed may have done nothing at all. */
export type Tallied = Exclude<Ending, "failed">;
export const TALLIED: readonly Tallied[] = ["completed", "refused", "returned", "adjusted"];

/**
 * What an entry is of. A sale reserves and posts, and where it fails reverses and releases; a
 * return or an adjustment is booked whole; an order that asks for too much is refused.
 */
export type EntryStep = "reserve" | "post" | "reverse" | "release" | "book" | "refuse";

/** What one step did. A refusal moved nothing and posted nothing. */
export interface LedgerEntry {
  readonly order: string;
  readonly step: EntryStep;
  readonly moves: readonly StockMove[];
  readonly postings: readonly Posting[];
  /** The code that there was too little of, if it was refused. */
  readonly short: string | null;
}

/** What a run gives back. */
export interface Receipt {
  readonly ending: Ending;
  /** The fencing token of the process that ended it: greater than that of everybody before. */
  readonly token: string;
}

/**
 * A mail to the customer: that the order stands, that it does not after all, or the credit note.
 */
export interface Mail {
  readonly order: string;
  readonly kind: "confirmed" | "withdrawn" | "credited";
}

/** A run that a dead process held. */
export interface HeldRun {
  readonly id: string;
  /** The fencing token that the dead process had. */
  readonly token: number;
  /** It was in the middle of undoing what it had done. */
  readonly isCompensating: boolean;
}

/** What the store showed of a killed worker after its death. */
export interface WorkerKill {
  readonly what: "worker";
  readonly pid: number;
  readonly session: string;
  /** Leases that it held, and so runs and mails that others had to take over. At least 1. */
  readonly leases: number;
  readonly runs: readonly HeldRun[];
}

/** What the payment service left open. */
export interface PaymentKill {
  readonly what: "payment";
  readonly pid: number;
  /** Calls that it had begun and not answered. At least 1. */
  readonly open: number;
}

export type KillRecord = WorkerKill | PaymentKill;

/** What the customer pays at the till, or 0: nothing is charged then. */
export function duePence(order: Order): number {
  return order.kind === "sale" ? Math.max(0, order.totalPence) : 0;
}

/** What the customer gets back for a return, or 0. */
export function creditPence(order: Order): number {
  return order.kind === "return" ? Math.max(0, 0 - order.totalPence) : 0;
}

/** Units that a sale puts aside for its customer. */
export function reservation(order: Order): LedgerEntry {
  return entry(order, "reserve", stockMoves(order), []);
}

export function release(order: Order): LedgerEntry {
  return entry(order, "release", stockMoves(order).map(back), []);
}

/** What a sale that was paid says to the ledger. */
export function posting(order: Order): LedgerEntry {
  return entry(order, "post", [], allPostings(order));
}

export function reversal(order: Order): LedgerEntry {
  const reversed = allPostings(order).map(({ account, amountPence }) => ({
    account,
    amountPence: 0 - amountPence,
  }));
  return entry(order, "reverse", [], reversed);
}

/** A return or an adjustment, whole. */
export function booking(order: Order): LedgerEntry {
  return entry(order, "book", stockMoves(order), allPostings(order));
}

/** An order that asked for more than was there. */
export function refusal(order: Order, short: string | null): LedgerEntry {
  return { ...entry(order, "refuse", [], []), short };
}

/** Where what an attempt did goes. */
export function attemptKey(
  prefix: string,
  order: string,
  what: string,
  { token, attempt }: { readonly token: bigint; readonly attempt: number },
): string {
  return `${prefix}${order}/${what}/${token}.${attempt}`;
}

/** The order and the thing of such a key; undefined for others. Order numbers hold no slash. */
export function partsOfKey(key: string): { readonly order: string; readonly what: string } | null {
  const match = /^(?:ledger|mail)\/([^/]+)\/([a-z]+)\/\d+\.\d+$/.exec(key);
  return match === null ? null : { order: match[1] ?? "", what: match[2] ?? "" };
}

function entry(
  order: Order,
  step: EntryStep,
  moves: readonly StockMove[],
  posted: readonly Posting[],
): LedgerEntry {
  return { order: order.id, step, moves, postings: posted, short: null };
}

function back({ code, delta }: StockMove): StockMove {
  return { code, delta: 0 - delta };
}

/** Those of the rules, and the money that came in or went out by the payment service. */
function allPostings(order: Order): readonly Posting[] {
  const paidPence = duePence(order) - creditPence(order);
  if (paidPence === 0) return postings(order);
  return [
    ...postings(order),
    { account: "bank", amountPence: paidPence },
    { account: `receivable:${order.customer ?? "guest"}`, amountPence: 0 - paidPence },
  ];
}
