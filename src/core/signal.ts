/**
 * Waiting under an AbortSignal: every wait here has a signal, a bound, or both, and leaves no
 * listener behind.
 */
import type { Clock, Timer } from "./clock.ts";
import { HoldfastError, type Outcome } from "./errors.ts";
import { checkMs, expected } from "./options.ts";

/** What every waiting call takes. */
export interface Wait {
  /** Ends the wait with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the wait with `TIMEOUT`. Integer milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** Validates a `Wait` and throws at once if its signal is aborted. */
export function checkWait(wait: Wait | undefined): void {
  if (wait === undefined) return;
  if (wait.timeoutMs !== undefined) checkMs("timeoutMs", wait.timeoutMs);
  if (wait.signal !== undefined) {
    if (!(wait.signal instanceof AbortSignal)) {
      throw new TypeError(expected("signal", "an AbortSignal", wait.signal));
    }
    wait.signal.throwIfAborted();
  }
}

/** A promise with its two ends outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Resolves after `ms` of the clock; rejects with the signal's reason. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.timer(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * The promise's value, or the signal's reason, or `TIMEOUT`, whichever comes first. The work itself
 * is not stopped: `outcome` says what a timeout means for its effect.
 */
export function waitFor<T>(
  promise: Promise<T>,
  clock: Clock,
  wait: Wait | undefined,
  what: string,
  outcome?: "not-applied" | "unknown",
): Promise<T> {
  if (wait === undefined || (wait.signal === undefined && wait.timeoutMs === undefined))
    return promise;
  const { signal, timeoutMs } = wait;
  return new Promise<T>((resolve, reject) => {
    let timer: Timer | undefined;
    const clean = (): void => {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
    };
    const onAbort = (): void => {
      clean();
      reject(signal?.reason);
    };
    // First of all: a wait that is over at once must not leave the work's failure to nobody.
    promise.then(
      (value) => {
        clean();
        resolve(value);
      },
      (error: unknown) => {
        clean();
        reject(error);
      },
    );
    if (signal?.aborted === true) return reject(signal.reason);
    if (timeoutMs !== undefined) {
      timer = clock.timer(timeoutMs, () => {
        clean();
        reject(timedOut(what, timeoutMs, outcome));
      });
    }
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

function timedOut(what: string, timeoutMs: number, outcome: Outcome | undefined): HoldfastError {
  const message = `${what} took longer than timeoutMs ${timeoutMs}`;
  return new HoldfastError("TIMEOUT", message, { retryable: true, outcome });
}

/**
 * One `timeoutMs` over a call of several steps: each time it is asked it gives the wait of the next
 * step, with what is left. Throws `TIMEOUT` (`not-applied`: of the next step) once nothing is.
 */
export function stepsWithin(
  clock: Clock,
  wait: Wait | undefined,
  what: string,
): () => Wait | undefined {
  const { timeoutMs } = wait ?? {};
  if (timeoutMs === undefined) return () => wait;
  const endMs = clock.monotonicMs() + timeoutMs;
  return () => {
    const leftMs = Math.ceil(endMs - clock.monotonicMs());
    if (leftMs < 0) throw timedOut(what, timeoutMs, "not-applied");
    return { ...wait, timeoutMs: leftMs };
  };
}
