/** Numbers made presentable: quantiles, checks, waiting for something to become true. */
import type { Clock } from "holdfast";
import type { Check, Figure } from "../proof.ts";

/** The value that a share of all values does not exceed (nearest rank); 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** Two decimals: more would be noise. */
export function figure(name: string, value: number | null, unit: string): Figure {
  const isNumber = value !== null && Number.isFinite(value);
  return { name, value: isNumber ? Number(value.toFixed(2)) : null, unit };
}

export function check(name: string, isOk: boolean, got: string): Check {
  return { name, isOk, got };
}

/** Resolves after `ms` of the clock. */
export function wait(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.timer(ms, resolve));
}

/**
 * Looks until it holds, or the time is up: gives whether it holds. A bound, never a pause that is
 * hoped to be long enough.
 */
export async function until(
  clock: Clock,
  withinMs: number,
  holds: () => boolean | Promise<boolean>,
  everyMs: number = 20,
): Promise<boolean> {
  const endMs = clock.monotonicMs() + withinMs;
  for (;;) {
    if (await holds()) return true;
    if (clock.monotonicMs() >= endMs) return false;
    await wait(clock, everyMs);
  }
}
