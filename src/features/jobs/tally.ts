/** What a worker did: counts for `stats`, events for the observer, instruments for telemetry. */
import type { Clock } from "../../core/clock.ts";
import { ATTRIBUTES, instruments, type Meters } from "../../core/telemetry.ts";
import type { ClaimedJob, JobState } from "../../store/ops.ts";
import type { Call, HeldJob } from "./job.ts";

/** A job, as events name it. */
export interface EventJob {
  readonly id: string;
  readonly key: string | undefined;
  readonly attempt: number;
  readonly delivery: number;
}

export type WorkerEvent =
  /**
   * An attempt failed, and the store has it: `state` is what the job is now ("scheduled": it will
   * be tried again).
   */
  | {
      readonly type: "failed";
      readonly job: EventJob;
      readonly error: unknown;
      readonly state: JobState;
    }
  /** The lease was lost (the process was paused, or cut off): the job goes to another worker. */
  | { readonly type: "lost"; readonly job: EventJob; readonly error: unknown }
  /**
   * A handler did not stop within `graceMs` of being asked to, and was given up; it may still be
   * running.
   */
  | { readonly type: "abandoned"; readonly job: EventJob }
  /**
   * The store could not be asked for jobs, could not take an outcome, or did not take a value of
   * `job.progress`. It is tried again where that can help; a value of progress is not.
   */
  | {
      readonly type: "trouble";
      readonly during: "claim" | "settle" | "progress";
      readonly error: unknown;
    }
  /** The event loop is late: no jobs are claimed until it has recovered. */
  | { readonly type: "overloaded"; readonly loopDelayMs: number }
  | { readonly type: "recovered" };

export interface WorkerCounts {
  readonly claimed: number;
  readonly completed: number;
  /** Failed attempts that will be tried again. */
  readonly retried: number;
  readonly dead: number;
  readonly cancelled: number;
  /** Given back unstarted, or by a drain; they count as no attempt. */
  readonly released: number;
  readonly lost: number;
  readonly abandoned: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const COUNT_OF: Readonly<Partial<Record<JobState, keyof WorkerCounts>>> = {
  completed: "completed",
  scheduled: "retried",
  dead: "dead",
  cancelled: "cancelled",
  ready: "released",
};

export class Tally {
  readonly #counts: Mutable<WorkerCounts> = {
    claimed: 0,
    completed: 0,
    retried: 0,
    dead: 0,
    cancelled: 0,
    released: 0,
    lost: 0,
    abandoned: 0,
  };
  readonly #clock: Clock;
  readonly #observe: ((event: WorkerEvent) => void) | undefined;
  readonly #meters: Meters = instruments();
  readonly #attributes: Record<string, string>;
  readonly #byState = new Map<string, Record<string, string>>();

  constructor(queue: string, clock: Clock, observe: ((event: WorkerEvent) => void) | undefined) {
    this.#clock = clock;
    this.#observe = observe;
    this.#attributes = { [ATTRIBUTES.system]: "holdfast", [ATTRIBUTES.destination]: queue };
  }

  counts(): WorkerCounts {
    return { ...this.#counts };
  }

  claimed(job: ClaimedJob): void {
    this.#counts.claimed++;
    this.#meters.waitMs.record(job.waitedMs, this.#attributes);
  }

  applied(held: HeldJob, state: JobState, failure: unknown): void {
    const count = COUNT_OF[state];
    if (count !== undefined) this.#counts[count]++;
    this.#meter(state);
    if (failure !== undefined)
      this.#tell({ type: "failed", job: about(held), error: failure, state });
  }

  /** A call of the handler has let go, or was given up: what its jobs took, without the commit. */
  ended(call: Call): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { startedMs } of call.jobs) {
      this.#meters.handlerMs.record(nowMs - startedMs, this.#attributes);
    }
  }

  lost(held: HeldJob, error: unknown): void {
    this.#counts.lost++;
    this.#meter("lost");
    this.#tell({ type: "lost", job: about(held), error });
  }

  abandoned(held: HeldJob): void {
    this.#counts.abandoned++;
    this.#tell({ type: "abandoned", job: about(held) });
  }

  trouble(during: "claim" | "settle" | "progress", error: unknown): void {
    this.#tell({ type: "trouble", during, error });
  }

  overload(isOverloaded: boolean, loopDelayMs: number): void {
    this.#tell(isOverloaded ? { type: "overloaded", loopDelayMs } : { type: "recovered" });
  }

  #meter(outcome: string): void {
    let attributes = this.#byState.get(outcome);
    if (attributes === undefined) {
      attributes = { ...this.#attributes, [ATTRIBUTES.outcome]: outcome };
      this.#byState.set(outcome, attributes);
    }
    this.#meters.jobs.add(1, attributes);
  }

  /** An observer that throws must not stop a worker. */
  #tell(event: WorkerEvent): void {
    if (this.#observe === undefined) return;
    try {
      this.#observe(event);
    } catch {
      // Its own affair.
    }
  }
}

function about(held: HeldJob): EventJob {
  const { id, key, attempt, delivery } = held;
  return { id, key, attempt, delivery };
}
