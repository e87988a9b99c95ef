/**
 * What the shop writes down: the names of its keys, and one ledger entry for each order. The till
 * writes these and the audit reads them; both know nothing else of each other. Pure.
 *
 *   initial/CODE              units at the start                       written once
 *   stock/CODE                units on the shelf now                   a counter, never below 0
 *   account/NAME              the balance in pence                     a counter
 *   tally/KIND                orders that ended so                     a counter
 *   ledger/ORDER/TOKEN        what became of the order                 one entry, never changed
 *   run/kill/N                a kill that counted                      written by the killer
 *
 * A ledger entry's key ends with the fencing token of the attempt that wrote it: an order taken
 * twice leaves two entries for the audit to find, where a key of the order's number alone would
 * hide the second one behind the first.
 */
import { postings, stockMoves } from "./rules.ts";
import type { Order, OrderKind, Posting, StockMove } from "./rules.ts";

/** The store's namespace, and so the name of its partition. */
export const NAMESPACE = "flash-sale";
/** The queue that the orders wait in; a job's id is its order's. */
export const ORDERS_QUEUE = "orders";

/** The first part of each family of keys. */
export const PREFIX = {
  initial: "initial/",
  stock: "stock/",
  account: "account/",
  tally: "tally/",
  ledger: "ledger/",
  kill: "run/kill/",
} as const;

/** How an order ended: its kind's own word if it was accepted. */
export type Ending = "completed" | "returned" | "adjusted" | "refused";

/** All endings, in the order in which people read them. */
export const ENDINGS: readonly Ending[] = ["completed", "refused", "returned", "adjusted"];

/** What became of one order. A refused one moved nothing and posted nothing. */
export interface LedgerEntry {
  readonly order: string;
  readonly ending: Ending;
  readonly moves: readonly StockMove[];
  readonly postings: readonly Posting[];
  /** The code that there was too little of, if it was refused. */
  readonly short: string | null;
}

/** What a job gives back: the entry's ending, in one word. */
export interface Receipt {
  readonly ending: Ending;
}

/** What the store showed of a killed process after its death. */
export interface KillRecord {
  readonly pid: number;
  readonly session: string;
  /** Leases that it held, and so jobs that others had to take over. At least 1. */
  readonly leases: number;
}

const ACCEPTED: Readonly<Record<OrderKind, Ending>> = {
  sale: "completed",
  return: "returned",
  adjustment: "adjusted",
};

/** The entry of an order of which every line was there. */
export function acceptedEntry(order: Order): LedgerEntry {
  return {
    order: order.id,
    ending: ACCEPTED[order.kind],
    moves: stockMoves(order),
    postings: postings(order),
    short: null,
  };
}

/** The entry of an order that asked for more than was there. */
export function refusedEntry(order: Order, short: string | null): LedgerEntry {
  return { order: order.id, ending: "refused", moves: [], postings: [], short };
}

/** Where the entry of an attempt goes. */
export function ledgerKey(order: string, token: bigint): string {
  return `${PREFIX.ledger}${order}/${token}`;
}

/** The order of a ledger key; undefined if it is no ledger key. Order numbers hold no slash. */
export function orderOfKey(key: string): string | undefined {
  return /^ledger\/([^/]+)\/\d+$/.exec(key)?.[1];
}
