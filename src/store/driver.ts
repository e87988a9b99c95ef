/**
 * What an engine implements: nine methods. Writes are one call, reads are data, hints are channels.
 * Engines bind, run, map and return; they never validate user input, retry, log or trace, and raise
 * nothing but `HoldfastError`.
 *
 * To write an engine: implement `StoreDriver`, state its `Capabilities`, and run
 * `holdfast/conformance` on it.
 */
import type { Data } from "../core/codec.ts";
import type { Capabilities, Durability } from "./capabilities.ts";
import type { Attributes } from "../core/attributes.ts";
import type {
  Group,
  GroupResult,
  JobState,
  JobView,
  KvEntry,
  QueueConfig,
  QueueEnqueue,
  QueueView,
  RunEvent,
  RunRecord,
  RunsRecord,
  RunState,
  SessionView,
} from "./ops.ts";

// ---------------------------------------------------------------- reads

export interface ReadKv {
  readonly read: "kv.get";
  readonly partition: string;
  readonly keys: readonly string[];
}
/** Keys with the prefix after `after` in byte order, all as of one revision. */
export interface ListKv {
  readonly read: "kv.list";
  readonly partition: string;
  readonly prefix: string;
  readonly after: string | null;
  readonly limit: number;
}
export interface KvPage {
  readonly entries: readonly KvEntry[];
  readonly revision: number;
  readonly hasMore: boolean;
}
export interface ReadJobs {
  readonly read: "queue.get";
  readonly partition: string;
  readonly queue: string;
  readonly ids: readonly string[];
}
/** Jobs of one state by growing `seq` after `after`. */
export interface ListJobs {
  readonly read: "queue.list";
  readonly partition: string;
  readonly queue: string;
  readonly state: JobState;
  readonly after: number | null;
  readonly limit: number;
  /** Left out: all of them. */
  readonly where?: JobFilter | undefined;
}
/** What must hold of a job; null or empty: nothing. */
export interface JobFilter {
  /** Each of them, with that text. */
  readonly attributes: Attributes;
  /** Added at that instant or later. */
  readonly fromMs: number | null;
  /** Added before that instant. */
  readonly beforeMs: number | null;
  /** What the id begins with. */
  readonly idPrefix: string;
}
export interface JobPage {
  readonly jobs: readonly JobView[];
  readonly hasMore: boolean;
  /** The last that was looked at, where the page goes on behind it; null: no job was. */
  readonly last: number | null;
}
/** The queues of those names, or all. */
export interface ReadQueues {
  readonly read: "queue.stats";
  readonly partition: string;
  readonly queues: readonly string[] | null;
}
/**
 * Jobs that changed after the cursor and are still there, each with its last state; intermediate
 * states may merge. A job that was removed (a purge, `keepMs`, `keepCount`) is told by nothing:
 * whoever mirrors jobs asks `queue.get` for those that it holds, or lists anew now and then. A page
 * ends with the group that brings it to `limit`, so that it exceeds it by at most the rest of one
 * group's jobs.
 */
export interface ReadQueueChanges {
  readonly read: "queue.changes";
  readonly partition: string;
  readonly queue: string;
  readonly cursor: number;
  readonly limit: number;
}
export interface QueueChanges {
  readonly changes: readonly {
    readonly id: string;
    readonly seq: number;
    readonly state: JobState;
    readonly revision: number;
  }[];
  readonly cursor: number;
  /**
   * True when the cursor is older than what is kept, or of a state that the store has not reached
   * or has lost: read the state anew, then go on from `cursor`.
   */
  readonly isResync: boolean;
}
/**
 * The journal and the events of a run by its number, each after a number and in order; null where
 * there is no such run.
 */
export interface ReadRun {
  readonly read: "runs.journal";
  readonly partition: string;
  readonly queue: string;
  readonly seq: number;
  readonly afterRecord: number;
  readonly afterEvent: number;
  readonly limit: number;
}
export interface RunPage {
  readonly records: readonly RunRecord[];
  readonly events: readonly RunEvent[];
  /** True: one of the two goes on. */
  readonly hasMore: boolean;
  /** The store's now: what came before it, and is not of a later page, is here. */
  readonly nowMs: number;
}
export interface ReadSessions {
  readonly read: "session.list";
  readonly partition: string;
}
export interface ReadStore {
  readonly read: "store.info";
}
export interface StoreInfo {
  /** The store's now. */
  readonly clockMs: number;
  readonly partitions: readonly {
    readonly partition: string;
    readonly revision: number;
    readonly isSealed: boolean;
    readonly movedTo: string | null;
  }[];
}

export type Read =
  | ReadKv
  | ListKv
  | ReadJobs
  | ListJobs
  | ReadQueues
  | ReadQueueChanges
  | ReadRun
  | ReadSessions
  | ReadStore;

export type ReadResult<R extends Read = Read> = R extends ReadKv
  ? readonly (KvEntry | null)[]
  : R extends ListKv
    ? KvPage
    : R extends ReadJobs
      ? readonly (JobView | null)[]
      : R extends ListJobs
        ? JobPage
        : R extends ReadQueues
          ? readonly QueueView[]
          : R extends ReadQueueChanges
            ? QueueChanges
            : R extends ReadRun
              ? RunPage | null
              : R extends ReadSessions
                ? readonly SessionView[]
                : StoreInfo;

// ---------------------------------------------------------------- watch, hints

/** A key's last state after the cursor; `value` null: deleted or expired. */
export interface KvChange {
  readonly key: string;
  readonly value: Data | null;
  readonly revision: number;
}
/**
 * `isResync`: changes were trimmed, or the cursor is of a state that the store has not reached or
 * has lost; the watcher must list anew and go on from `cursor`.
 */
export interface KvChanges {
  readonly changes: readonly KvChange[];
  readonly cursor: number;
  readonly isResync: boolean;
}

/**
 * Where hints and messages arrive. `queue`: jobs of it may be claimable; `done`: jobs of it
 * finished; `cancel`: a held job of it was asked to stop; `bus`: a message on the topic. A hint may
 * come for nothing, and may be lost.
 */
export interface Channel {
  readonly kind: "queue" | "done" | "cancel" | "bus";
  readonly partition: string;
  readonly name: string;
}

// ---------------------------------------------------------------- export

/**
 * One thing of a partition as plain data. Times are the source's clock, which the `partition`
 * record (the first) names: an import moves all of them to the target's clock, by what the two
 * differed when the first page came, so that every span is what it was.
 */
export type ExportRecord =
  | {
      readonly record: "partition";
      readonly revision: number;
      readonly nextSeq: number;
      readonly clockMs: number;
    }
  | {
      readonly record: "kv";
      readonly key: string;
      readonly value: Data;
      readonly revision: number;
      readonly expiresMs: number | null;
      readonly session: string | null;
    }
  | {
      readonly record: "session";
      readonly session: string;
      readonly label: string;
      readonly ttlMs: number;
      readonly untilMs: number;
      /** True: its process ended it, and what it held is still being given back. */
      readonly isEnded: boolean;
    }
  | {
      readonly record: "queue";
      readonly queue: string;
      readonly config: QueueConfig;
      readonly isPaused: boolean;
      readonly rateMs: number;
    }
  | {
      readonly record: "mark";
      readonly queue: string;
      readonly kind: "dedupe" | "rate";
      readonly name: string;
      readonly value: number;
      readonly id: string | null;
      /** The id under which the job's payload was replaced last; null: it never was. */
      readonly writer: string | null;
      readonly expiresMs: number;
    }
  | {
      readonly record: "job";
      readonly queue: string;
      readonly view: Omit<JobView, "queue">;
      /** Rank in the ready order, or due time. */
      readonly at: number;
      /** True: a scheduled job that keeps its key's place. */
      readonly holdsKey: boolean;
      /** Something of it may have run, though no attempt is counted. */
      readonly hasStarted: boolean;
      /** Its payload is not the one that it was added with. */
      readonly isReplaced: boolean;
      /** A scheduled run that an event wakes before its time. */
      readonly isSuspended: boolean;
      readonly expiresMs: number | null;
      readonly trace: string | null;
    }
  /** Of the run that a job's record named before. */
  | ({ readonly record: "run-record"; readonly queue: string; readonly seq: number } & RunRecord)
  | ({ readonly record: "run-event"; readonly queue: string; readonly seq: number } & RunEvent);

export interface ExportPage {
  readonly records: readonly ExportRecord[];
  /** Give it back for the next page; null: this was the last. */
  readonly cursor: string | null;
}

// ---------------------------------------------------------------- the driver

/** Whether a partition takes groups, and if not, where they should go (null: nobody says). */
export interface Seal {
  readonly isSealed: boolean;
  readonly movedTo: string | null;
}

export interface StoreDriver {
  readonly capabilities: Capabilities;
  /**
   * Decides and writes the groups in order, each all or nothing. Resolves when they are as durable
   * as `durability()` says.
   * Rejects only if the commit as a whole could not be done; the error's `outcome` says what became
   * of it. An empty list is a tick: only what is due by time is done (expiries, ended sessions).
   * Every commit does that first.
   */
  commit(groups: readonly Group[]): Promise<readonly GroupResult[]>;
  /** Linearizable reads: they see every commit that was acknowledged before the call. */
  read<const R extends readonly Read[]>(reads: R): Promise<{ [I in keyof R]: ReadResult<R[I]> }>;
  /**
   * Changes of the keys with the prefix after the cursor (null: from now), per key in order, at
   * least the last state. The first batch comes at once, possibly empty, and names the cursor it
   * starts from. Ends when the signal aborts.
   */
  watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncIterable<KvChanges>;
  /** Calls `listen` on each hint (`null`) or message of the channel; gives the way to stop. */
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void;
  /**
   * Writes jobs inside the caller's own synchronous transaction, to be taken in once it has
   * committed; only where
   * `joinsUserTransaction`. Throws `MISCONFIGURED` if `tx` is no open transaction of this store's
   * database.
   */
  enqueueIn?(tx: unknown, partition: string, ops: readonly QueueEnqueue[]): void;
  /**
   * Appends to the journal of a held run inside the caller's own synchronous transaction. Throws
   * what refuses the op.
   */
  recordIn?(tx: unknown, partition: string, op: RunsRecord): RunState;
  /**
   * A page of everything in the partition; exact once the partition is sealed.
   * Errors: `INVALID_DATA` for a cursor that no page of the partition gave.
   */
  export(partition: string, cursor: string | null, limit: number): Promise<ExportPage>;
  /**
   * Writes a page into a partition that is empty or under this import; repeated pages do no harm.
   * Revisions and tokens afterwards start above the source's. The import is over with the first
   * group that draws a revision, or when the partition is unsealed: who moves a partition unseals
   * the new one when all pages are in.
   * Errors: `ALREADY_EXISTS` if the partition is in use, `INVALID_DATA` for records that no export
   * gave or that do not fit those before; nothing of the page is written then.
   */
  import(partition: string, records: readonly ExportRecord[]): Promise<void>;
  /**
   * Refuses every later group with `MOVED` (and the new place, if given), or opens the partition
   * again.
   */
  seal(partition: string, seal: Seal): Promise<void>;
  /** Read from the engine's real settings at the time of the call. */
  durability(): Promise<Durability>;
  /**
   * The engine's own counters, for people and benches; their names are the engine's. Not every
   * engine has any.
   */
  stats?(): Promise<object>;
  /** Lets commits in flight end, then frees everything. */
  close(): Promise<void>;
}
