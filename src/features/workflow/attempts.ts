/** Trying a step or a compensation: one attempt under its time-out, and what a failure leads to. */
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Random } from "../../core/random.ts";
import { isPermanent, retryDelayMs, type RetryPolicy } from "../../core/retry.ts";
import { refusalError, type OpsOf, type Placed } from "../../store/group.ts";
import type { OpResult, Refusal } from "../../store/ops.ts";
import type { Appended } from "./journal.ts";

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
  /**
   * Records the step, with `output` as its value, in one commit with the ops: all of it holds, or
   * nothing does, so that what the ops do is done exactly once. Return what it gives; whatever else
   * the function returns, or throws, afterwards is ignored. Of a compensation the output is not
   * kept.
   *
   * Errors: what refused it (`LIMITED`, `CONFLICT` ...) with the step still open; `LEASE_LOST` or
   * `FENCED` if the run is held no more; `UNSUPPORTED` for ops of another partition, `INVALID_DATA`
   * and `TOO_LARGE` for the output; `CLOSED` if the attempt is over, or has completed already.
   */
  complete<V, const P extends readonly Placed[] = readonly []>(
    output: V,
    ops?: P,
  ): Promise<Completed<V, P>>;
  /** As `complete`, but gives a refusal of one of the ops as a value. */
  tryComplete<V, const P extends readonly Placed[] = readonly []>(
    output: V,
    ops?: P,
  ): Promise<Completed<V, P> | Refused>;
}

type ResultsOf<P extends readonly Placed[]> = {
  readonly [I in keyof OpsOf<P>]: OpResult<OpsOf<P>[I]>;
};

/** A step whose record and ops hold. A step's function may return it in place of a value. */
export class Completed<V = unknown, P extends readonly Placed[] = readonly Placed[]> {
  readonly ok = true as const;
  readonly value: V;
  /** What the ops gave, in their order; null if the store's answer was lost on the way. */
  readonly results: ResultsOf<P> | null;
  constructor(value: V, results: ResultsOf<P> | null) {
    this.value = value;
    this.results = results;
  }
}

/** One of the ops was refused: nothing was written. */
export interface Refused {
  readonly ok: false;
  /** `index` counts the ops given; see `Refusal`. */
  readonly refusal: Refusal;
}

/** A step's function: gives its value, or has completed with it. */
export type StepWork<T> = (attempt: Attempt) => Promise<T | Completed<T>> | T | Completed<T>;

/** The names of an attempt. */
export type AttemptNames = Pick<Attempt, "id" | "key" | "attempt" | "token">;

/** An attempt in the hands of its function. */
export class LiveAttempt implements Attempt {
  readonly id: string;
  readonly key: string;
  readonly attempt: number;
  readonly token: bigint;
  readonly signal: AbortSignal;
  /** Its completion, under way or over. */
  completion: Promise<boolean> | undefined;
  readonly #record: (output: unknown, ops: readonly Placed[]) => Promise<Appended>;

  constructor(
    names: AttemptNames,
    signal: AbortSignal,
    record: (output: unknown, ops: readonly Placed[]) => Promise<Appended>,
  ) {
    this.id = names.id;
    this.key = names.key;
    this.attempt = names.attempt;
    this.token = names.token;
    this.signal = signal;
    this.#record = record;
  }

  /** It is completed by something of the run's own. */
  completesWith(done: Promise<void>): void {
    this.completion = done.then(
      () => true,
      () => false,
    );
  }

  async complete<V, const P extends readonly Placed[] = readonly []>(
    output: V,
    ops?: P,
  ): Promise<Completed<V, P>> {
    const done = await this.tryComplete<V, P>(output, ops);
    if (!done.ok) throw refusalError(done.refusal);
    return done;
  }

  async tryComplete<V, const P extends readonly Placed[] = readonly []>(
    output: V,
    ops?: P,
  ): Promise<Completed<V, P> | Refused> {
    this.signal.throwIfAborted();
    if (this.completion !== undefined) {
      const message = `Step "${this.id}" has completed, or its completion is under way`;
      throw new HoldfastError("CLOSED", message, { outcome: "not-applied" });
    }
    const recording = this.#record(output, ops ?? []);
    this.completion = recording.then(
      ({ ok }) => {
        if (!ok) this.completion = undefined;
        return ok;
      },
      () => false,
    );
    const appended = await recording;
    if (!appended.ok) return appended;
    return new Completed(output, appended.results as ResultsOf<P> | null);
  }
}

export interface Trial<T> {
  readonly name: string;
  readonly timeoutMs: number;
  /** Aborts the attempt. */
  readonly signal: AbortSignal;
  readonly run: (signal: AbortSignal) => Promise<T> | T;
}

/** What an attempt led to. */
export type Tried = { readonly value: unknown } | { readonly error: unknown } | "recorded";

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

/**
 * One attempt of a step or a compensation: what its function gave or failed of, unless it has
 * completed itself, which stands whatever the function did besides.
 */
export async function tryAttempt(
  clock: Clock,
  trial: Omit<Trial<unknown>, "run">,
  begin: (signal: AbortSignal) => LiveAttempt,
  work: (attempt: Attempt) => unknown,
): Promise<Tried> {
  let live: LiveAttempt | undefined;
  const run = (signal: AbortSignal): unknown => {
    live = begin(signal);
    return work(live);
  };
  let tried: Tried;
  try {
    tried = { value: await tryOnce(clock, { ...trial, run }) };
  } catch (error) {
    tried = { error };
  }
  // One that is under way decides first.
  return (await live?.completion) === true ? "recorded" : tried;
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
