/**
 * When a worker claims and how much: pure decisions over its counts. The loop around them is
 * `loop.ts`.
 */
import { isHoldfastError, type ErrorCode } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Random } from "../../core/random.ts";

export const PACE = {
  /** Claimed ahead is what the worker would start within this time at its present rate. */
  prefetchMs: 20,
  /** A job claimed ahead that could not be started for this long is given back. */
  prefetchReturnMs: 1_000,
  /** Without hints a worker looks this often, and what is drawn at random on top. */
  pollMs: 1_000,
  pollJitterMs: 500,
  /** How often the delay of the event loop is measured. */
  sampleMs: 100,
  /** Settles under way beyond the concurrency: more, and the worker waits for the store. */
  unsettled: 1_000,
  /** After a claim that failed: full jitter over 50, 100, 200 ... 5,000 ms. */
  troubleInitialMs: 50,
  troubleMaxMs: 5_000,
} as const;

/** A worker's counts, all in jobs. */
export interface Load {
  /** Jobs that handlers could start at once. */
  readonly free: number;
  /** Claimed and not started. */
  readonly ready: number;
  /** How many may be claimed ahead now. */
  readonly prefetch: number;
  /** Settles that the store has not answered. */
  readonly unsettled: number;
  readonly concurrency: number;
}

/**
 * How many jobs to claim now; 0: none. With jobs waiting here for a free slot, it claims only when
 * half of what may be claimed ahead is used up, so that a claim carries many jobs rather than one.
 */
export function jobsToClaim(load: Load): number {
  const { free, ready, prefetch, unsettled, concurrency } = load;
  if (unsettled > concurrency + PACE.unsettled) return 0;
  if (free <= ready && ready * 2 > prefetch) return 0;
  return Math.max(0, Math.min(LIMITS.claimJobs, free - ready + prefetch));
}

/**
 * How many jobs may be claimed ahead: what the worker starts within 20 ms at its present rate,
 * which is that of the last window of 20 ms or more. So jobs that take long are not claimed ahead
 * at all, and wait where every worker can have them.
 */
export class StartRate {
  #windowMs: number;
  #started = 0;
  #perMs = 0;

  constructor(nowMs: number) {
    this.#windowMs = nowMs;
  }
  started(jobs: number): void {
    this.#started += jobs;
  }
  prefetch(nowMs: number, max: number): number {
    const elapsedMs = nowMs - this.#windowMs;
    if (elapsedMs >= PACE.prefetchMs) {
      this.#perMs = this.#started / elapsedMs;
      this.#started = 0;
      this.#windowMs = nowMs;
    }
    return Math.min(max, Math.floor(this.#perMs * PACE.prefetchMs));
  }
}

/** How long an idle worker waits before it looks again by itself. */
export function idleMs(nextMs: number | null, random: Random): number {
  const pollMs = PACE.pollMs + Math.floor(random.next() * PACE.pollJitterMs);
  return nextMs === null ? pollMs : Math.min(nextMs, pollMs);
}

/** How long a worker waits after its n-th failed claim in a row (n from 0). */
export function claimRetryMs(tries: number, random: Random): number {
  const boundMs = Math.min(PACE.troubleMaxMs, PACE.troubleInitialMs * 2 ** tries);
  return 1 + Math.floor(random.next() * boundMs);
}

const FATAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CLOSED",
  "MOVED",
  "UNSUPPORTED",
  "MISCONFIGURED",
  "INCOMPATIBLE",
  "CORRUPT",
]);

/** True if a claim failed for good: asking again can't help. */
export function isFatal(error: unknown): boolean {
  return !isHoldfastError(error) || FATAL.has(error.code);
}
