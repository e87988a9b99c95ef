/**
 * How the portable layer tries again: bounded in number and time, with full jitter, and only where
 * no effect can double.
 */
import type { Random } from "../core/random.ts";

export const RETRY = {
  /** Further tries after the first. */
  attempts: 5,
  /** No further try begins later than this after the first. */
  withinMs: 5_000,
  initialMs: 10,
  maxMs: 1_000,
} as const;

/** Full jitter over an exponential bound: 10, 20, 40 ... 1,000 ms. At least 1 ms. */
export function backoffMs(tries: number, random: Random): number {
  const boundMs = Math.min(RETRY.maxMs, RETRY.initialMs * 2 ** tries);
  return 1 + Math.floor(random.next() * boundMs);
}
