/**
 * The whole error taxonomy on one screen. Programs act on `code`, never on the message.
 *
 * A distributed call fails in three ways, and the caller must know which: it was not applied, it
 * was applied, or nobody can tell. `outcome` says so: `"not-applied"` (safe to try again),
 * `"unknown"` (try again only with an idempotency key), and it is left out where no effect was
 * possible.
 *
 * Wrong arguments from code are plain `TypeError` or `RangeError` (see `options.ts`); wrong data
 * and wrong surroundings are `HoldfastError`.
 */

/** What each code means; the left column is stable across versions. */
export const ERROR_CODES = {
  INVALID_DATA: "A payload or a record failed its schema, or can't be encoded",
  INCOMPATIBLE: "Stored data or schema was written by a version this one can't read or write",
  MISCONFIGURED: "A URL, a file, a definition or the surroundings are not usable as given",
  MOVED: "The partition was sealed; details name the new place if there is one",
  NOT_FOUND: "There is no such thing",
  ALREADY_EXISTS: "A thing of that name exists with another content",
  CONFLICT: "A check in the group did not hold; nothing of the group was written",
  LEASE_LOST: "The session or the lease ended before the call",
  FENCED: "The fencing token is older than the newest grant",
  LIMITED: "A bound or a limit would have been crossed; nothing was written",
  OVERLOADED: "Too much work is waiting already; try again later",
  CIRCUIT_OPEN: "The circuit breaker is open",
  TIMEOUT: "The time given for the call ran out",
  UNAVAILABLE: "The store could not be reached or could not take the write",
  CLOSED: "The store or handle was closed",
  UNSUPPORTED: "The engine does not have this capability",
  CORRUPT: "Stored bytes are not what was written",
  TOO_LARGE: "A hard limit of size or number was crossed",
  NON_DETERMINISTIC: "A replay met another step than the record holds",
  FAILED: "The job or run awaited ended without a result",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What became of the effect of a failed call. */
export type Outcome = "not-applied" | "unknown";

export interface HoldfastErrorOptions {
  /** True where the same call may succeed later without a change by the caller. */
  readonly retryable?: boolean | undefined;
  readonly outcome?: Outcome | undefined;
  /** Not before this many milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** Facts for programs, by code. Never payloads or secrets. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly cause?: unknown;
}

const BRAND: unique symbol = Symbol.for("holdfast.error") as never;

/**
 * Every error that Holdfast raises for data and surroundings.
 *
 * Shape: `message` says what was expected, what was got and what to do.
 */
export class HoldfastError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly outcome: Outcome | undefined;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: HoldfastErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HoldfastError";
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.outcome = options.outcome;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details ?? {};
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** A lease or a session is gone: whatever was held must no longer be used. */
export class LeaseLostError extends HoldfastError {
  constructor(message: string, options: HoldfastErrorOptions = {}) {
    super("LEASE_LOST", message, { outcome: "not-applied", ...options });
    this.name = "LeaseLostError";
  }
}

/**
 * True for errors of this library, from any copy of it in the process; with a code, for that code
 * alone.
 */
export function isHoldfastError(error: unknown, code?: ErrorCode): error is HoldfastError {
  if (typeof error !== "object" || error === null) return false;
  if ((error as Record<symbol, unknown>)[BRAND] !== true) return false;
  return code === undefined || (error as HoldfastError).code === code;
}

/** An error as plain data, so that it can cross a thread or be stored. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly outcome: Outcome | undefined;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;
}

export function errorToData(error: HoldfastError): ErrorData {
  const { code, message, retryable, outcome, retryAfterMs, details } = error;
  return { code, message, retryable, outcome, retryAfterMs, details };
}

export function errorFromData(data: ErrorData): HoldfastError {
  if (data.code === "LEASE_LOST") return new LeaseLostError(data.message, data);
  return new HoldfastError(data.code, data.message, data);
}

/**
 * One line for a log or a stored failure: name, code and message, never a stack, at most `max`
 * characters.
 */
export function describeError(error: unknown, max = 2000): string {
  let text: string;
  if (isHoldfastError(error)) text = `${error.code}: ${error.message}`;
  else if (error instanceof Error) text = `${error.name}: ${error.message}`;
  else text = typeof error === "string" ? error : `Thrown value of type ${typeof error}`;
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}
