/**
 * From how a handler ended to the op that settles its job. Pure, but for the draw of the jitter.
 */
import type { Data } from "../../core/codec.ts";
import type { Random } from "../../core/random.ts";
import type { QueueSettle, SettleOutcome } from "../../store/ops.ts";
import type { HeldJob } from "./job.ts";
import { describeFailure } from "../../core/retry.ts";
import { judgeFailure, type RetryPolicy } from "./retry.ts";

export interface Ending {
  readonly op: QueueSettle;
  /** What the attempt failed of, for the observer; absent where it did not fail. */
  readonly failure: unknown;
}

/**
 * What a feature's handler returns to end its job otherwise than by completing it: fields of the
 * settle op, such as a suspension. For features that are built on jobs.
 */
export class Verdict {
  readonly settlement: Partial<QueueSettle> & Pick<QueueSettle, "outcome">;
  constructor(settlement: Partial<QueueSettle> & Pick<QueueSettle, "outcome">) {
    this.settlement = settlement;
  }
}

/** The handler returned: its encoded output, or a verdict of its own. */
export function endingOfReturn(held: HeldJob, returned: Data | null | Verdict): Ending {
  if (!(returned instanceof Verdict)) {
    return { op: { ...held.settlement("completed"), result: returned }, failure: undefined };
  }
  const { settlement } = returned;
  const { outcome, error } = settlement;
  const failure = outcome === "dead" ? new Error(error ?? "A handler gave its job up") : undefined;
  return { op: { ...held.settlement(outcome), ...settlement }, failure };
}

/** An ending that no rule decides: given back, cancelled, or dead of what no retry can cure. */
export function endingOf(held: HeldJob, outcome: SettleOutcome, failure?: unknown): Ending {
  const error = failure === undefined ? null : describeFailure(failure);
  const op = { ...held.settlement(outcome), error };
  // What was only claimed ahead may still be replaced by its dedupe key.
  if (outcome !== "released" || held.call !== undefined) return { op, failure };
  return { op: { ...op, isUnstarted: true }, failure };
}

/** The handler threw, or was given up. What that means depends on what it was asked before. */
export function endingOfFailure(
  held: HeldJob,
  thrown: unknown,
  retry: RetryPolicy,
  random: Random,
): Ending {
  if (held.cause === "drain") return endingOf(held, "released");
  // No error text: the record keeps the reason that the cancel gave.
  if (held.cause === "cancel") return endingOf(held, "cancelled");
  const failure = held.cause === "timeout" ? held.reason : thrown;
  const verdict = judgeFailure(retry, held.claimed, failure, random);
  const { outcome, error } = verdict;
  const delayMs = verdict.outcome === "retry" ? verdict.delayMs : 0;
  const op = { ...held.settlement(outcome), error, delayMs, holdsKey: retry.holdsKey };
  return { op, failure: failure ?? new Error("A handler threw nothing") };
}
