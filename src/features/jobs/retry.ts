/**
 * What a failed attempt of a job leads to: another try after a while, or the dead letters. Pure:
 * the store does the counting and the waiting, by its own clock.
 */
import { isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkInteger, checkOneOf, checkOptions } from "../../core/options.ts";
import type { Random } from "../../core/random.ts";
import {
  ATTEMPTS_MAX,
  checkRetry as checkAttempts,
  describeFailure,
  isPermanent,
  retryDelayMs,
  type RetryOptions as Attempts,
  type RetryPolicy as AttemptsPolicy,
} from "../../core/retry.ts";

export interface RetryOptions extends Attempts {
  /**
   * Deliveries in all: attempts, and leases lost by a process that died or was paused. It stops a
   * job that kills its process before it can fail. At least `attempts`; default `attempts` + 15.
   */
  readonly deliveries?: number | undefined;
  /**
   * What a waiting retry does to its key. `"hold"`: later jobs of the key wait for it, so that
   * order holds through failures. `"release"`: they may pass meanwhile. Default `"hold"`.
   */
  readonly key?: "hold" | "release" | undefined;
}

/** The options with every default filled in. */
export interface RetryPolicy extends AttemptsPolicy {
  readonly deliveries: number;
  readonly holdsKey: boolean;
}

const DEFAULTS = {
  /** Lost leases that are forgiven beyond the attempts. */
  lostLeases: 15,
  key: "hold",
} as const;

/** Validates and fills in; throws `TypeError` or `RangeError`. */
export function checkRetry(options: RetryOptions | undefined): RetryPolicy {
  checkOptions("retry", options, ["attempts", "deliveries", "backoff", "key"]);
  const { deliveries, key = DEFAULTS.key, ...rest } = options ?? {};
  const policy = checkAttempts(rest);
  const { attempts } = policy;
  const most = deliveries ?? attempts + DEFAULTS.lostLeases;
  return {
    ...policy,
    deliveries: checkInteger("retry.deliveries", most, attempts, 2 * ATTEMPTS_MAX),
    holdsKey: checkOneOf("retry.key", key, ["hold", "release"]) === "hold",
  };
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
