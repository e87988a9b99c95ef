/**
 * How often a thing that failed is tried again, and after which waits. Pure.
 *
 * Backoff is exponential with full jitter: retry n waits a time drawn evenly from [0, min(maxMs,
 * initialMs × factor^(n-1))].
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
import { describeError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { checkInteger, checkMs, checkOneOf, checkOptions, expected } from "./options.ts";
import type { Random } from "./random.ts";

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
  readonly backoff?: BackoffOptions | undefined;
}

/** The options with every default filled in. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly isJittered: boolean;
}

export const RETRY_DEFAULTS = {
  attempts: 5,
  initialMs: 200,
  factor: 2,
  maxMs: 60_000,
  jitter: "full",
} as const;

export const ATTEMPTS_MAX = 1_000;
const FACTOR_MAX = 100;

/** Validates and fills in; throws `TypeError` or `RangeError`. `name` is what messages call it. */
export function checkRetry(
  options: RetryOptions | undefined,
  name: string = "retry",
  attempts: number = RETRY_DEFAULTS.attempts,
): RetryPolicy {
  checkOptions(name, options, ["attempts", "backoff"]);
  const { attempts: some = attempts, backoff } = options ?? {};
  return {
    attempts: checkInteger(`${name}.attempts`, some, 1, ATTEMPTS_MAX),
    ...checkBackoff(`${name}.backoff`, backoff),
  };
}

type Backoff = Pick<RetryPolicy, "initialMs" | "factor" | "maxMs" | "isJittered">;

function checkBackoff(name: string, options: BackoffOptions | undefined): Backoff {
  checkOptions(name, options, ["initialMs", "factor", "maxMs", "jitter"]);
  const d = RETRY_DEFAULTS;
  const { factor = d.factor, jitter = d.jitter } = options ?? {};
  const initialMs = checkMs(`${name}.initialMs`, options?.initialMs ?? d.initialMs);
  const maxMs = options?.maxMs ?? Math.max(d.maxMs, initialMs);
  if (typeof factor !== "number") {
    throw new TypeError(expected(`${name}.factor`, "a number", factor));
  }
  if (!(factor >= 1 && factor <= FACTOR_MAX)) {
    throw new RangeError(expected(`${name}.factor`, `from 1 to ${FACTOR_MAX}`, factor));
  }
  return {
    initialMs,
    factor,
    maxMs: checkMs(`${name}.maxMs`, maxMs, initialMs),
    isJittered: checkOneOf(`${name}.jitter`, jitter, ["full", "none"]) === "full",
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
 * Marks a failure as one that no retry can cure: a job's handler that throws it sends its job to
 * the dead letters at once, a workflow's step that throws it has failed.
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
