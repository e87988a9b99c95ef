/**
 * Every write as plain data. An op says what shall become true; the engine decides and writes. All
 * of a group's ops hold or none does. Ops are built and validated by the ports
 * (`ports/NAME/ops.ts`); an engine may trust their shape.
 *
 * Units: integer milliseconds by the store's clock, integers that are safe in a double, text or
 * bytes as `Data`.
 */
import type { Data } from "../core/codec.ts";
import type { Attributes } from "../core/attributes.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { RunsOp, RunsRecord, RunsRestart, RunsSend, RunState, Sent } from "./run-ops.ts";

export { RUN_QUEUE } from "./run-ops.ts";
export type {
  RecordInput,
  RunEvent,
  RunRecord,
  RunsOp,
  RunsRecord,
  RunsRestart,
  RunsSend,
  RunState,
  Sent,
} from "./run-ops.ts";

// ---------------------------------------------------------------- kv

/**
 * Holds if the key's revision is this one; 0 means: there is no such key. Else the group is refused
 * with `CONFLICT`.
 */
export interface KvCheck {
  readonly op: "kv.check";
  readonly key: string;
  readonly revision: number;
}
/**
 * Writes the value. Without `ttlMs` and `session` the key stays until deleted; with `session` it
 * ends with that session.
 */
export interface KvPut {
  readonly op: "kv.put";
  readonly key: string;
  readonly value: Data;
  readonly ttlMs?: number | undefined;
  readonly session?: string | undefined;
}
export interface KvDelete {
  readonly op: "kv.delete";
  readonly key: string;
}
/**
 * Adds to a counter (absent counts as 0). Refused with `LIMITED` if the sum would leave [min, max]
 * or the safe integers, with
 * `INVALID_DATA` if the key holds no integer. Keeps the key's expiry.
 */
export interface KvAdd {
  readonly op: "kv.add";
  readonly key: string;
  readonly delta: number;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}
/** Reads at the commit's revision, seeing the group's earlier ops. */
export interface KvGet {
  readonly op: "kv.get";
  readonly key: string;
}
export type KvOp = KvCheck | KvPut | KvDelete | KvAdd | KvGet;

/** A stored key. `revision` is that of the group that wrote it last. */
export interface KvEntry {
  readonly key: string;
  readonly value: Data;
  readonly revision: number;
}

// ---------------------------------------------------------------- queue

export interface RateConfig {
  /**
   * `count` starts in `perMs`; in any span of t ms at most `burst + count × t / perMs` jobs start.
   */
  readonly count: number;
  readonly perMs: number;
  readonly burst: number;
  /** True: the rate holds for each key by itself; false: for the whole queue. */
  readonly isPerKey: boolean;
}

/** A queue's rules as the store keeps them; the last writer wins for all processes. */
export interface QueueConfig {
  /** Jobs of one key that may be ready or leased at once; 1 is strict order. */
  readonly perKey: number;
  /** Unexpired leases in the queue at once; null: no limit. */
  readonly maxLeased: number | null;
  readonly rate: RateConfig | null;
  /** One step of priority counts as this much waiting. */
  readonly ageMs: number;
  /** Deliveries (failed attempts + lost leases) before a job is dead. */
  readonly maxDeliveries: number;
  /** How long finished (completed, cancelled) jobs are kept with their results; 0: not at all. */
  readonly keepMs: number;
  /** At most this many finished jobs are kept, oldest go first. */
  readonly keepCount: number;
  /** How long dead letters are kept. */
  readonly keepDeadMs: number;
  /**
   * Jobs that may wait (ready, scheduled, blocked); more are refused with `OVERLOADED`. null: no
   * limit.
   */
  readonly maxWaiting: number | null;
}

export const DEFAULT_QUEUE_CONFIG: QueueConfig = Object.freeze({
  perKey: 1,
  maxLeased: null,
  rate: null,
  ageMs: 60_000,
  maxDeliveries: 20,
  keepMs: 3_600_000,
  keepCount: 100_000,
  keepDeadMs: 14 * 86_400_000,
  maxWaiting: null,
});

export interface QueueConfigure {
  readonly op: "queue.configure";
  readonly queue: string;
  readonly config: QueueConfig;
}

/**
 * What a repeat of a dedupe key within `ttlMs` of the first add does:
 * `first`: it is dropped, the first job stands; `last`: it replaces the payload of the waiting job
 * in its place (a job that has started is left alone and a new one is added); `debounce`: as
 * `last`, and the job's delay starts again, but never past
 * `ttlMs` after the first add.
 */
export type DedupeMode = "first" | "last" | "debounce";

export interface Dedupe {
  readonly key: string;
  readonly ttlMs: number;
  readonly mode: DedupeMode;
}

export interface QueueEnqueue {
  readonly op: "queue.enqueue";
  readonly queue: string;
  readonly id: string;
  /** True when the id was drawn by the library for this call: the engine need not look for it. */
  readonly isFresh: boolean;
  readonly payload: Data;
  readonly delayMs: number;
  readonly priority: number;
  readonly key: string | null;
  readonly dedupe: Dedupe | null;
  readonly trace: string | null;
  /** What it can be found by; left out: nothing. */
  readonly attributes?: Attributes | undefined;
}

export interface Enqueued {
  /** The job that stands: the new one, or the one that was there. */
  readonly id: string;
  readonly seq: number;
  readonly status: "added" | "exists" | "deduped" | "replaced";
}

/**
 * Leases up to `max` ready jobs to the session. Refused with `LEASE_LOST` if the session has ended.
 */
export interface QueueClaim {
  readonly op: "queue.claim";
  readonly queue: string;
  readonly session: string;
  readonly max: number;
}
export interface ClaimedJob {
  /**
   * The store's number of the job: grows in the order of adding; with the token it is the receipt
   * that settling needs.
   */
  readonly seq: number;
  readonly id: string;
  readonly payload: Data;
  readonly key: string | null;
  readonly priority: number;
  /** Failed attempts + 1. */
  readonly attempt: number;
  /** Failed attempts + lost leases + 1. */
  readonly delivery: number;
  /** Fencing token: greater than that of every earlier claim of this job. */
  readonly token: number;
  /** Since it could first have been claimed. */
  readonly waitedMs: number;
  readonly trace: string | null;
  /** Of a run alone. */
  readonly run?: RunState | undefined;
}
export interface Claimed {
  readonly jobs: readonly ClaimedJob[];
  /** Time until another job may become claimable by the mere passing of time; null: none will. */
  readonly nextMs: number | null;
}

export type SettleOutcome = "completed" | "retry" | "dead" | "cancelled" | "released" | "suspended";

/**
 * Ends a lease. Refused with `LEASE_LOST` if the session has ended, with `FENCED` if the job is no
 * longer held under the token.
 * `retry` counts a failed attempt and waits `delayMs`, keeping its key's place if `holdsKey`;
 * `released` counts nothing and goes back to where it was, and unless `isUnstarted` its payload is
 * no longer replaced by dedupe keys; `suspended` waits until `untilMs`, or an event after `seen`,
 * and starts the counts of attempts and deliveries again; a `retry` or `suspended` of a job whose
 * cancel was asked becomes `cancelled`.
 */
export interface QueueSettle {
  readonly op: "queue.settle";
  readonly queue: string;
  readonly session: string;
  readonly seq: number;
  readonly token: number;
  readonly outcome: SettleOutcome;
  /** Of `released`: nothing of the job ran since it was claimed. Left out: something may have. */
  readonly isUnstarted?: boolean | undefined;
  /** Of `suspended`: by the store's clock; null or left out: until an event comes. */
  readonly untilMs?: number | null | undefined;
  /** Of `suspended`: the last event that the holder knows. Left out: none. */
  readonly seen?: number | undefined;
  readonly result: Data | null;
  readonly error: string | null;
  readonly delayMs: number;
  readonly holdsKey: boolean;
}
/** Notes how far a held job is; refused like settle. */
export interface QueueProgress {
  readonly op: "queue.progress";
  readonly queue: string;
  readonly session: string;
  readonly seq: number;
  readonly token: number;
  readonly value: Data;
}
export interface QueueCancel {
  readonly op: "queue.cancel";
  readonly queue: string;
  readonly id: string;
  readonly reason: string | null;
}
/**
 * `cancelled`: it waited and is finished now; `requested`: its holder will be told; `finished`: too
 * late; `missing`: no such job.
 */
export type Cancelled = "cancelled" | "requested" | "finished" | "missing";

/** Makes dead jobs ready again, attempts at zero: those of the ids, or up to `max` oldest. */
export interface QueueRedrive {
  readonly op: "queue.redrive";
  readonly queue: string;
  readonly ids: readonly string[] | null;
  readonly max: number;
}
export interface QueuePause {
  readonly op: "queue.pause";
  readonly queue: string;
  readonly isPaused: boolean;
}
/** Removes up to `max` jobs in that state (not leased ones). */
export interface QueuePurge {
  readonly op: "queue.purge";
  readonly queue: string;
  readonly state: Exclude<JobState, "leased">;
  readonly max: number;
}
export interface Affected {
  readonly count: number;
}

export type QueueOp =
  | QueueConfigure
  | QueueEnqueue
  | QueueClaim
  | QueueSettle
  | QueueProgress
  | QueueCancel
  | QueueRedrive
  | QueuePause
  | QueuePurge;

export const JOB_STATES = [
  "ready",
  "leased",
  "scheduled",
  "blocked",
  "completed",
  "cancelled",
  "dead",
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** A job as people see it. Times by the store's clock. */
export interface JobView {
  readonly queue: string;
  readonly id: string;
  readonly seq: number;
  readonly state: JobState;
  readonly payload: Data;
  readonly key: string | null;
  readonly priority: number;
  readonly attempts: number;
  readonly lost: number;
  readonly createdMs: number;
  /** When it is due, for scheduled jobs. */
  readonly dueMs: number | null;
  readonly session: string | null;
  readonly token: number | null;
  readonly isCancelRequested: boolean;
  readonly progress: Data | null;
  readonly result: Data | null;
  readonly error: string | null;
  readonly finishedMs: number | null;
  readonly attributes: Attributes;
}

export type QueueCounts = Readonly<Record<JobState, number>>;

export interface QueueView {
  readonly queue: string;
  readonly counts: QueueCounts;
  readonly isPaused: boolean;
  readonly config: QueueConfig;
  /** Age of the longest-waiting ready job. */
  readonly oldestReadyMs: number | null;
}

// ---------------------------------------------------------------- session, bus

/**
 * Opens it, or prolongs it when it is open (a repeat after a lost answer). Refused with
 * `LEASE_LOST` if it has ended and the store still has anything of it; once all that it held was
 * given back nothing is left to tell by, and its id would open a new session. So an id is used
 * once: every `Session` draws its own.
 */
export interface SessionOpen {
  readonly op: "session.open";
  readonly session: string;
  readonly ttlMs: number;
  /** Host, process and program, for people. */
  readonly label: string;
}
/**
 * Makes the session live `ttlMs` from the store's now; refused with `LEASE_LOST` if it has ended or
 * was never opened.
 */
export interface SessionRenew {
  readonly op: "session.renew";
  readonly session: string;
  readonly ttlMs: number;
}
/** What the holder must know: jobs of its whose cancel was asked. */
export interface Renewed {
  readonly cancels: readonly {
    readonly queue: string;
    readonly seq: number;
    readonly token: number;
  }[];
}
/**
 * Ends it now: its jobs go back uncounted, its keys are deleted. Ending an ended one is no error.
 */
export interface SessionEnd {
  readonly op: "session.end";
  readonly session: string;
}
export type SessionOp = SessionOpen | SessionRenew | SessionEnd;

export interface SessionView {
  readonly session: string;
  readonly label: string;
  readonly ttlMs: number;
  readonly leftMs: number;
  readonly leases: number;
}

/** Sends a message to whoever listens, after the group was committed; never if it was refused. */
export interface BusPublish {
  readonly op: "bus.publish";
  readonly topic: string;
  readonly message: Data;
}

// ---------------------------------------------------------------- groups

export type Op = KvOp | QueueOp | RunsOp | SessionOp | BusPublish;

/** What an op of this kind gives back; null where there is nothing to say. */
export type OpResult<O extends Op = Op> = O extends KvGet
  ? KvEntry | null
  : O extends KvAdd
    ? number
    : O extends KvDelete
      ? boolean
      : O extends QueueEnqueue
        ? Enqueued
        : O extends QueueClaim
          ? Claimed
          : O extends QueueSettle
            ? JobState
            : O extends QueueCancel
              ? Cancelled
              : O extends QueueRedrive | QueuePurge
                ? Affected
                : O extends SessionRenew
                  ? Renewed
                  : O extends RunsRecord | RunsRestart
                    ? RunState
                    : O extends RunsSend
                      ? Sent
                      : null;

/** All or nothing, in one partition. */
export interface Group {
  readonly partition: string;
  readonly ops: readonly Op[];
}

/** Why a group was refused: a result, not an exception. Nothing of it was written. */
export interface Refusal {
  /** The op that did not hold. */
  readonly index: number;
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export type GroupResult =
  | { readonly ok: true; readonly revision: number; readonly results: readonly OpResult[] }
  | { readonly ok: false; readonly refusal: Refusal };
