/**
 * What a failed attempt leads to: another try after a while, or the dead letters. Pure: the store
 * does the counting and the waiting, by its own clock.
 *
 * Backoff is exponential with full jitter: retry n waits a time drawn evenly from [0, min(maxMs,
 * initialMs × factor^(n-1))].
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
import { describeError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkInteger, checkMs, checkOneOf, checkOptions, expected } from "../../core/options.ts";
import type { Random } from "../../core/random.ts";

export interface BackoffOptions {
  /** The bound of the first wait. Integer milliseconds; default 200. */
  readonly initialMs?: number | undefined;
  /** What each further failure multiplies the bound by: 1 to 100; default 2. */
  readonly factor?: number | undefined;
  /** The greatest bound. Integer milliseconds, at least `initialMs`; default 60,000. */
  readonly maxMs?: number | undefined;
  /**
   * `"full"` draws each wait evenly from 0 to the bound; `"none"` waits the bound itself. Default
   * `"full"`.
   */
  readonly jitter?: "full" | "none" | undefined;
}

export interface RetryOptions {
  /** Attempts in all, the first one included; 1 means no retry. Default 5. */
  readonly attempts?: number | undefined;
  /**
   * Deliveries in all: attempts, and leases lost by a process that died or was paused. It stops a
   * job that kills its process before it can fail. At least `attempts`; default `attempts` + 15.
   */
  readonly deliveries?: number | undefined;
  readonly backoff?: BackoffOptions | undefined;
  /**
   * What a waiting retry does to its key. `"hold"`: later jobs of the key wait for it, so that
   * order holds through failures. `"release"`: they may pass meanwhile. Default `"hold"`.
   */
  readonly key?: "hold" | "release" | undefined;
}

/** The options with every default filled in. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly deliveries: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly isJittered: boolean;
  readonly holdsKey: boolean;
}

export const RETRY_DEFAULTS = {
  attempts: 5,
  /** Lost leases that are forgiven beyond the attempts. */
  lostLeases: 15,
  initialMs: 200,
  factor: 2,
  maxMs: 60_000,
  jitter: "full",
  key: "hold",
} as const;

const ATTEMPTS_MAX = 1_000;
const FACTOR_MAX = 100;

/** Validates and fills in; throws `TypeError` or `RangeError`. */
export function checkRetry(options: RetryOptions | undefined): RetryPolicy {
  checkOptions("retry", options, ["attempts", "deliveries", "backoff", "key"]);
  const { attempts: some, deliveries, backoff, key } = options ?? {};
  const d = RETRY_DEFAULTS;
  const attempts = checkInteger("retry.attempts", some ?? d.attempts, 1, ATTEMPTS_MAX);
  const most = deliveries ?? attempts + d.lostLeases;
  return {
    attempts,
    deliveries: checkInteger("retry.deliveries", most, attempts, 2 * ATTEMPTS_MAX),
    ...checkBackoff(backoff),
    holdsKey: checkOneOf("retry.key", key ?? d.key, ["hold", "release"]) === "hold",
  };
}

type Backoff = Pick<RetryPolicy, "initialMs" | "factor" | "maxMs" | "isJittered">;

function checkBackoff(options: BackoffOptions | undefined): Backoff {
  checkOptions("retry.backoff", options, ["initialMs", "factor", "maxMs", "jitter"]);
  const d = RETRY_DEFAULTS;
  const { factor = d.factor, jitter = d.jitter } = options ?? {};
  const initialMs = checkMs("retry.backoff.initialMs", options?.initialMs ?? d.initialMs);
  const maxMs = options?.maxMs ?? Math.max(d.maxMs, initialMs);
  if (typeof factor !== "number") {
    throw new TypeError(expected("retry.backoff.factor", "a number", factor));
  }
  if (!(factor >= 1 && factor <= FACTOR_MAX)) {
    throw new RangeError(expected("retry.backoff.factor", `from 1 to ${FACTOR_MAX}`, factor));
  }
  return {
    initialMs,
    factor,
    maxMs: checkMs("retry.backoff.maxMs", maxMs, initialMs),
    isJittered: checkOneOf("retry.backoff.jitter", jitter, ["full", "none"]) === "full",
  };
}

/**
 * How long the retry after this failed attempt (1 is the first) waits: whole milliseconds, 0 to
 * `maxMs`.
 */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: Random): number {
  // The power may overflow to Infinity, which the bound cuts; 0 × Infinity would be NaN.
  const grown = policy.initialMs === 0 ? 0 : policy.initialMs * policy.factor ** (attempt - 1);
  const boundMs = Math.floor(Math.min(policy.maxMs, grown));
  return policy.isJittered ? Math.floor(random.next() * (boundMs + 1)) : boundMs;
}

const PERMANENT: unique symbol = Symbol.for("holdfast.permanent") as never;

/** A failure that no retry can cure: see `permanent()`. */
export class PermanentError extends Error {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "PermanentError";
    Object.defineProperty(this, PERMANENT, { value: true });
  }
}

/**
 * Marks a failure as one that no retry can cure: a handler that throws it sends its job to the dead
 * letters at once.
 *
 * ```ts
 * if (response.status === 404) throw permanent("There is no such customer");
 * ```
 */
export function permanent(cause: unknown): PermanentError {
  if (typeof cause === "string") return new PermanentError(cause);
  return new PermanentError(describeFailure(cause), { cause });
}

/** True for what `permanent()` made, in any copy of this library in the process. */
export function isPermanent(error: unknown): boolean {
  return typeof error === "object" && error !== null && PERMANENT in error;
}

/**
 * One line for the record. What was thrown may be anything, even something that throws when looked
 * at.
 */
export function describeFailure(error: unknown): string {
  try {
    if (isPermanent(error)) return (error as Error).message.slice(0, LIMITS.errorChars);
    return describeError(error, LIMITS.errorChars);
  } catch {
    return "A thrown value that can't be described";
  }
}

/** What becomes of a job whose attempt failed. */
export type Verdict =
  | { readonly outcome: "retry"; readonly delayMs: number; readonly error: string }
  | { readonly outcome: "dead"; readonly error: string };

/**
 * Decides: dead if the failure is permanent or the attempts or deliveries are used up, else a
 * retry. An error that names its own `retryAfterMs` (`LIMITED`, `OVERLOADED` ...) is not tried
 * again before that.
 */
export function judgeFailure(
  policy: RetryPolicy,
  job: { readonly attempt: number; readonly delivery: number },
  failure: unknown,
  random: Random,
): Verdict {
  const error = describeFailure(failure);
  const isSpent = job.attempt >= policy.attempts || job.delivery >= policy.deliveries;
  let askedMs = 0;
  try {
    if (isSpent || isPermanent(failure)) return { outcome: "dead", error };
    if (isHoldfastError(failure)) askedMs = failure.retryAfterMs ?? 0;
  } catch {
    // Something that throws when it is looked at was thrown: it is a failure like any other.
  }
  const backoffMs = retryDelayMs(policy, job.attempt, random);
  const delayMs = Math.min(LIMITS.durationMs, Math.max(backoffMs, Math.ceil(askedMs)));
  return { outcome: "retry", delayMs, error };
}
