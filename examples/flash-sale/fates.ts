/**
 * What happens to an order from outside: a few customers pay late or never, change their mind, or
 * live where nobody delivers. All of it follows from the order's number, so that every process and
 * the audit know the same. Pure.
 */
import { duePence } from "./books.ts";
import type { Order } from "./rules.ts";

export interface Fate {
  /** Whether the payment can be charged at once, or waits for the customer's word. */
  readonly pays: "at once" | "later" | "never";
  /** The customer sends the cancel so long after the order; null: never. */
  readonly cancelsAfterMs: number | null;
  /** The carrier finds out when all is paid and posted. */
  readonly isUndeliverable: boolean;
}

const NEVER_PAYS = 0.02;
const PAYS_LATER = 0.04;
const CANCELS = 0.02;
const CANCELS_WITHIN_MS = 300;
const UNDELIVERABLE = 0.02;

const NONE: Fate = Object.freeze({
  pays: "at once",
  cancelsAfterMs: null,
  isUndeliverable: false,
});

/** Only sales that cost something have one; the rest happens in the shop alone. */
export function fateOf(order: Order): Fate {
  if (duePence(order) === 0) return NONE;
  const pays = chance(`pays ${order.id}`);
  const cancels = chance(`cancels ${order.id}`);
  return {
    pays: pays < NEVER_PAYS ? "never" : pays < NEVER_PAYS + PAYS_LATER ? "later" : "at once",
    cancelsAfterMs: cancels < CANCELS ? Math.floor((cancels / CANCELS) * CANCELS_WITHIN_MS) : null,
    isUndeliverable: chance(`delivery ${order.id}`) < UNDELIVERABLE,
  };
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const MIX_1 = 0x85ebca6b;
const MIX_2 = 0xc2b2ae35;

/**
 * A number from 0 (included) to 1 (excluded) that looks drawn, and is always the same for the same
 * text.
 *
 * Source: FNV-1a, then the finalizer of MurmurHash3, since FNV alone leaves like texts alike.
 */
export function chance(text: string): number {
  let hash = FNV_OFFSET;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), FNV_PRIME);
  }
  hash = Math.imul(hash ^ (hash >>> 16), MIX_1);
  hash = Math.imul(hash ^ (hash >>> 13), MIX_2);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}
