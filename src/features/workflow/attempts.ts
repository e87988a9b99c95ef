/** Trying a step or a compensation: one attempt under its time-out, and what a failure leads to. */
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Random } from "../../core/random.ts";
import { isPermanent, retryDelayMs, type RetryPolicy } from "../../core/retry.ts";

/** What a step's function, or a compensation, knows of its attempt. */
export interface Attempt {
  /**
   * The same at each attempt and each replay, another for each step: the idempotency key for what
   * lies outside the store. A step and its compensation have different ones.
   */
  readonly id: string;
  /** The run's id. */
  readonly key: string;
  /** Failed attempts + 1; starts again when another process takes the run over. */
  readonly attempt: number;
  /** Fencing token of the run: greater than that of everybody who held it before. */
  readonly token: bigint;
  /** Aborts at the time-out, when the run is cancelled or fails, and when it is lost. */
  readonly signal: AbortSignal;
}

export interface Trial<T> {
  readonly name: string;
  readonly timeoutMs: number;
  /** Aborts the attempt. */
  readonly signal: AbortSignal;
  readonly run: (signal: AbortSignal) => Promise<T> | T;
}

/**
 * One attempt. After its time-out it has failed, whatever its function still does: its outcome is
 * unknown then.
 */
export async function tryOnce<T>(clock: Clock, trial: Trial<T>): Promise<T> {
  const { name, timeoutMs, signal, run } = trial;
  signal.throwIfAborted();
  const controller = new AbortController();
  return new Promise<T>((resolve, reject) => {
    const end = (reason: unknown): void => {
      clean();
      controller.abort(reason);
      reject(reason);
    };
    const onAbort = (): void => end(signal.reason);
    const timer = clock.timer(timeoutMs, () => {
      const message = `"${name}" ran longer than timeoutMs ${timeoutMs}`;
      end(new HoldfastError("TIMEOUT", message, { retryable: true, outcome: "unknown" }));
    });
    const clean = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    // In a function of its own: what it throws at once is a failure like any other.
    const started = (async () => run(controller.signal))();
    started.then(
      (value) => {
        clean();
        resolve(value);
      },
      (error: unknown) => {
        clean();
        reject(error);
      },
    );
  });
}

/** How long to wait before the next attempt; null: there is none. */
export function nextDelayMs(
  policy: RetryPolicy,
  attempt: number,
  failure: unknown,
  random: Random,
): number | null {
  if (attempt >= policy.attempts || isPermanent(failure)) return null;
  const askedMs = isHoldfastError(failure) ? (failure.retryAfterMs ?? 0) : 0;
  const delayMs = Math.max(retryDelayMs(policy, attempt, random), Math.ceil(askedMs));
  return Math.min(LIMITS.durationMs, delayMs);
}
