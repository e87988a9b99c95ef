/**
 * The tables that both embedded engines keep, as synchronous primitives. The rules (who may be
 * claimed, what a lost lease does ...) are written once, above it (`commit.ts` and its neighbours);
 * memory keeps rows in maps, SQLite in B-trees.
 *
 * One caller at a time: everything here happens inside one write transaction (or one read). Rows
 * handed out are the engine's own objects: change a field, then say so (`save...`); an engine may
 * write late, but every later call in the transaction must see the change. Numbers (`no`, `seq`)
 * are the store's own, names are the user's.
 */
import type { Data } from "../../../core/codec.ts";
import type { QueueConfig, RunEvent, RunRecord } from "../../../store/ops.ts";

export interface PartitionRow {
  readonly no: number;
  readonly name: string;
  revision: number;
  nextSeq: number;
  isSealed: boolean;
  movedTo: string | null;
  /** Journal entries written so far, and the revision up to which they were trimmed. */
  journalCount: number;
  journalFloor: number;
}

export interface KvRow {
  readonly partition: number;
  readonly key: string;
  value: Data;
  revision: number;
  expiresMs: number | null;
  session: string | null;
}

export type WaitingState = "ready" | "scheduled" | "blocked";
export type FinishedState = "completed" | "cancelled" | "dead";

export interface Counts {
  ready: number;
  leased: number;
  scheduled: number;
  blocked: number;
  completed: number;
  cancelled: number;
  dead: number;
}

export interface QueueRow {
  readonly no: number;
  readonly partition: number;
  readonly name: string;
  config: QueueConfig;
  isPaused: boolean;
  /** GCRA's theoretical arrival time of the queue's rate, in ms with fractions. */
  rateMs: number;
  readonly counts: Counts;
}

/**
 * A job's body. `state` and `at` tell where it waits (or waited last); a lease or a finished row
 * overrides them, so that neither claim nor completion rewrites this row. `at` is the rank for
 * `ready`, the due time for `scheduled`, unused for
 * `blocked`.
 */
export interface JobRow {
  readonly seq: number;
  readonly queue: number;
  readonly id: string;
  readonly key: string | null;
  readonly priority: number;
  payload: Data;
  attempts: number;
  lost: number;
  readonly createdMs: number;
  state: WaitingState;
  at: number;
  /** A scheduled job that keeps its key's place. */
  holdsKey: boolean;
  error: string | null;
  readonly trace: string | null;
  /** What it is found by, as JSON; left out or null: nothing. */
  readonly attributes?: string | null;
  /** What its last holder noted, of a suspended run. */
  progress?: Data | null;
  /**
   * Something of it may have run under its id, though no attempt is counted: it was given back by
   * who held it, or redriven.
   */
  hasStarted?: boolean;
  /** Its payload is not the one that it was added with. */
  isReplaced?: boolean;
  /** A scheduled run that an event wakes before its time. */
  isSuspended?: boolean;
}

/** The instant of what no time makes due: the last that a `Date` can tell. */
export const NEVER_MS = 8_640_000_000_000_000;

/**
 * How many jobs of a key are ready, leased or holding its place, and how many are blocked behind
 * them.
 */
export interface KeyRow {
  readonly queue: number;
  readonly key: string;
  active: number;
  waiting: number;
}

export interface LeaseRow {
  readonly session: number;
  readonly seq: number;
  readonly queue: number;
  readonly token: number;
  isCancelRequested: boolean;
  progress: Data | null;
}

export interface FinishedRow {
  readonly queue: number;
  readonly seq: number;
  readonly state: FinishedState;
  readonly finishedMs: number;
  readonly expiresMs: number;
  readonly result: Data | null;
}

/** States of which no more than `keepCount` are kept. */
export type CountedState = Exclude<FinishedState, "dead">;
/** What finds a finished job. */
export type FinishedPlace = Pick<FinishedRow, "queue" | "seq" | "state">;

/** Finished jobs of a queue and state whose time is up. */
export interface FinishedOver {
  readonly queue: number;
  readonly state: FinishedState;
  readonly count: number;
}

/**
 * A fact about a name that ends by itself: a dedupe key (value: seq), or a key's rate (value: GCRA
 * time).
 */
export interface MarkRow {
  readonly queue: number;
  readonly kind: "dedupe" | "rate";
  readonly name: string;
  readonly value: number;
  /** The job's id, for `dedupe`: it must be told even when the job is gone. */
  readonly id: string | null;
  /** The id under which the job's payload was replaced last; left out or null: it never was. */
  readonly writer?: string | null;
  readonly expiresMs: number;
}

/** One entry of a run's journal. */
export interface RecordRow extends RunRecord {
  readonly queue: number;
  readonly seq: number;
}
export interface EventRow extends RunEvent {
  readonly queue: number;
  readonly seq: number;
}

export interface SessionRow {
  readonly no: number;
  readonly partition: number;
  readonly id: string;
  readonly label: string;
  ttlMs: number;
  untilMs: number;
  /** Ended; its leases and keys are being given back. */
  isEnded: boolean;
}

/**
 * One change, in a form that costs little: kv `[revision, "k", key, 0 | 1 (gone)]`, queue
 * `[revision, "q", queue no, seq, state]`.
 */
export type JournalEntry =
  | readonly [revision: number, port: "k", key: string, isGone: 0 | 1]
  | readonly [revision: number, port: "q", queue: number, seq: number, state: string];

export interface Tables {
  // partitions
  partitionByName(name: string): PartitionRow | undefined;
  partitionByNo(no: number): PartitionRow;
  createPartition(name: string): PartitionRow;
  savePartition(row: PartitionRow): void;
  partitions(): PartitionRow[];

  // kv; expired rows are still there until removed
  kv(partition: number, key: string): KvRow | undefined;
  saveKv(row: KvRow): void;
  deleteKv(row: KvRow): void;
  /** Keys with the prefix after `after` (exclusive), in UTF-8 byte order. */
  kvRange(partition: number, prefix: string, after: string | null, limit: number): KvRow[];
  kvExpired(nowMs: number, limit: number): KvRow[];
  kvOfSession(partition: number, session: string, limit: number): KvRow[];

  // queues
  queueByName(partition: number, name: string): QueueRow | undefined;
  queueByNo(no: number): QueueRow | undefined;
  createQueue(partition: number, name: string, config: QueueConfig): QueueRow;
  saveQueue(row: QueueRow): void;
  queues(partition: number): QueueRow[];

  // jobs
  job(queue: number, seq: number): JobRow | undefined;
  jobById(queue: number, id: string): JobRow | undefined;
  insertJob(row: JobRow): void;
  saveJob(row: JobRow): void;
  deleteJob(row: JobRow): void;
  /** All jobs of the queue by seq after `after`. */
  jobRange(queue: number, after: number | null, limit: number): JobRow[];

  // ready: ordered by (rank, seq)
  putReady(queue: number, rank: number, seq: number): void;
  deleteReady(queue: number, rank: number, seq: number): void;
  /** Removes and gives the first `max`. */
  takeReady(queue: number, max: number): JobRow[];
  firstReady(queue: number): { readonly rank: number; readonly seq: number } | undefined;

  // scheduled: ordered by (due, seq)
  putScheduled(queue: number, dueMs: number, seq: number): void;
  deleteScheduled(queue: number, dueMs: number, seq: number): void;
  /** Removes and gives the first `max` that are due. */
  takeDue(queue: number, nowMs: number, max: number): JobRow[];
  nextDueMs(queue: number): number | undefined;

  // blocked: ordered by seq within the key
  putBlocked(queue: number, key: string, seq: number): void;
  deleteBlocked(queue: number, key: string, seq: number): void;
  firstBlocked(queue: number, key: string): number | undefined;

  /** Seqs of jobs that wait in that state, by seq after `after`. */
  waitingRange(queue: number, state: WaitingState, after: number | null, limit: number): number[];

  // keys
  keyRow(queue: number, key: string): KeyRow | undefined;
  saveKey(row: KeyRow): void;
  deleteKey(row: KeyRow): void;

  // leases
  lease(session: number, seq: number): LeaseRow | undefined;
  /** Whoever holds the job. */
  leaseOfJob(queue: number, seq: number): LeaseRow | undefined;
  insertLease(row: LeaseRow): void;
  saveLease(row: LeaseRow): void;
  deleteLease(row: LeaseRow): void;
  leasesOfSession(session: number, limit: number): LeaseRow[];
  leaseCount(session: number): number;
  /** Held jobs whose cancel was asked. */
  cancelsOfSession(session: number): LeaseRow[];
  /** Leases of the queue by seq after `after`. */
  leaseRange(queue: number, after: number | null, limit: number): LeaseRow[];

  // finished jobs
  finished(queue: number, seq: number): FinishedRow | undefined;
  insertFinished(row: FinishedRow): void;
  deleteFinished(row: FinishedPlace): void;
  /** By seq after `after`. */
  finishedRange(
    queue: number,
    state: FinishedState,
    after: number | null,
    limit: number,
  ): FinishedRow[];
  /** Those that finished first, whatever their seqs. */
  finishedOldest(queue: number, state: CountedState, limit: number): FinishedPlace[];
  finishedExpired(nowMs: number, limit: number): FinishedRow[];
  /** How many finished jobs are still there though their time is up. */
  finishedOver(nowMs: number): FinishedOver[];

  // marks
  mark(queue: number, kind: MarkRow["kind"], name: string): MarkRow | undefined;
  saveMark(row: MarkRow): void;
  deleteMark(row: MarkRow): void;
  marksExpired(nowMs: number, limit: number): MarkRow[];
  markRange(queue: number, after: { kind: string; name: string } | null, limit: number): MarkRow[];

  // runs: the journals and events of jobs, in the order of their numbers
  /** The number of the run's last record; 0: it has none. */
  lastRecord(queue: number, seq: number): number;
  insertRecord(row: RecordRow): void;
  records(queue: number, seq: number, after: number, limit: number): RecordRow[];
  lastEvent(queue: number, seq: number): number;
  eventById(queue: number, seq: number, id: string): EventRow | undefined;
  insertEvent(row: EventRow): void;
  events(queue: number, seq: number, after: number, limit: number): EventRow[];
  /** Removes the run's records and events. */
  deleteRun(queue: number, seq: number): void;

  // sessions
  session(partition: number, id: string): SessionRow | undefined;
  sessionByNo(no: number): SessionRow | undefined;
  createSession(row: Omit<SessionRow, "no">): SessionRow;
  saveSession(row: SessionRow): void;
  deleteSession(row: SessionRow): void;
  /** Ended ones and those whose time is up. */
  sessionsOver(nowMs: number, limit: number): SessionRow[];
  sessions(partition: number): SessionRow[];

  // journal: one row a commit and partition
  appendJournal(
    partition: number,
    revision: number,
    count: number,
    entries: readonly JournalEntry[],
  ): void;
  /** Rows whose revision is above `after`, by revision. */
  journal(partition: number, after: number, limit: number): JournalEntry[][];
  /**
   * Removes rows whose `count` is at most this; gives the greatest revision removed, or undefined.
   */
  trimJournal(partition: number, count: number): number | undefined;

  // bus
  publish(partition: number, topic: string, message: Data): void;
}
