/**
 * Partitions, queues and sessions: few rows, read by every group. They are cached across
 * transactions (the writer drops the cache when somebody else committed) and written back once a
 * transaction, however often they change in it: 500 jobs of a queue are one update of its counts.
 */
import { HoldfastError } from "../../core/errors.ts";
import { invariant } from "../../core/invariant.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Channel } from "../../store/driver.ts";
import type { QueueConfig } from "../../store/ops.ts";
import type { PartitionRow, QueueRow, SessionRow } from "../shared/embedded/tables.ts";
import type { Database, Statement } from "./database.ts";

const SELECT_PARTITION = `
  SELECT no, name, revision, next_seq, is_sealed, moved_to, journal_count, journal_floor
  FROM hf_partition`;
const INSERT_PARTITION = `
  INSERT INTO hf_partition (no, name, revision, next_seq, is_sealed, moved_to, journal_count,
    journal_floor, clock_ms)
  VALUES (?, ?, 0, 1, 0, NULL, 0, 0, ?)`;
const UPDATE_PARTITION = `
  UPDATE hf_partition
  SET revision = ?, next_seq = ?, is_sealed = ?, moved_to = ?, journal_count = ?, journal_floor =
    ?, clock_ms = ?
  WHERE no = ?`;
const LAST_PARTITION = "SELECT coalesce(max(no), 0) FROM hf_partition";
const HIGH_WATER = "SELECT coalesce(max(clock_ms), 0) FROM hf_partition";

const SELECT_QUEUE = `
  SELECT no, partition, name, config, is_paused, rate_ms, ready, leased, scheduled, blocked,
    completed, cancelled, dead, ready_events, done_events, cancel_events
  FROM hf_queue`;
const INSERT_QUEUE = `
  INSERT INTO hf_queue (partition, name, config, is_paused, rate_ms, ready, leased, scheduled,
    blocked, completed, cancelled, dead, ready_events, done_events, cancel_events)
  VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)`;
const UPDATE_QUEUE = `
  UPDATE hf_queue
  SET config = ?, is_paused = ?, rate_ms = ?, ready = ?, leased = ?, scheduled = ?, blocked = ?,
    completed = ?, cancelled = ?, dead = ?, ready_events = ?, done_events = ?, cancel_events = ?
  WHERE no = ?`;

const SELECT_SESSION =
  "SELECT no, partition, id, label, ttl_ms, until_ms, is_ended FROM hf_session";
const INSERT_SESSION = `
  INSERT INTO hf_session (partition, id, label, ttl_ms, until_ms, is_ended)
  VALUES (?, ?, ?, ?, ?, ?)`;
const UPDATE_SESSION = "UPDATE hf_session SET ttl_ms = ?, until_ms = ?, is_ended = ? WHERE no = ?";
const DELETE_SESSION = "DELETE FROM hf_session WHERE no = ?";

/**
 * A job's number in the file: the partition above, the seq below. Safe in a double for 8,192
 * partitions of 2^40 jobs.
 */
const SEQS_PER_PARTITION = 2 ** 40;

export function jobOf(partition: number, seq: number): number {
  return (partition - 1) * SEQS_PER_PARTITION + seq;
}
export function seqOf(job: number): number {
  return job < SEQS_PER_PARTITION ? job : job % SEQS_PER_PARTITION;
}

/** How often each kind of hint was due for a queue: other processes compare. */
export interface QueueEvents {
  ready: number;
  done: number;
  cancel: number;
}

interface CachedQueue extends QueueRow {
  readonly events: QueueEvents;
  /** The stored text of `config`, kept while the object is the same: it is seldom rewritten. */
  stored: { readonly config: QueueConfig; readonly text: string };
}

type PartitionColumns = [number, string, number, number, number, string | null, number, number];
type SessionColumns = [number, number, string, string, number, number, number];
type QueueColumns = [
  ...[no: number, partition: number, name: string, config: string, isPaused: number],
  ...[rateMs: number, ready: number, leased: number, scheduled: number, blocked: number],
  ...[completed: number, cancelled: number, dead: number],
  ...[readyEvents: number, doneEvents: number, cancelEvents: number],
];

function partitionOf(columns: PartitionColumns): PartitionRow {
  const [no, name, revision, nextSeq, isSealed, movedTo, journalCount, journalFloor] = columns;
  return {
    no,
    name,
    revision,
    nextSeq,
    isSealed: isSealed === 1,
    movedTo,
    journalCount,
    journalFloor,
  };
}

function queueOf(columns: QueueColumns): CachedQueue {
  const [no, partition, name, text, isPaused, rateMs, ...numbers] = columns;
  const [ready, leased, scheduled, blocked, completed, cancelled, dead, ...events] = numbers;
  const config = JSON.parse(text) as QueueConfig;
  return {
    ...{ no, partition, name, config, isPaused: isPaused === 1, rateMs },
    counts: { ready, leased, scheduled, blocked, completed, cancelled, dead },
    events: { ready: events[0], done: events[1], cancel: events[2] },
    stored: { config, text },
  };
}

function sessionOf(columns: SessionColumns): SessionRow {
  const [no, partition, id, label, ttlMs, untilMs, isEnded] = columns;
  return { no, partition, id, label, ttlMs, untilMs, isEnded: isEnded === 1 };
}

/** Rows of one partition by name. */
class Names<T> {
  readonly #partitions = new Map<number, Map<string, T>>();
  get(partition: number, name: string): T | undefined {
    return this.#partitions.get(partition)?.get(name);
  }
  set(partition: number, name: string, row: T): void {
    let names = this.#partitions.get(partition);
    if (names === undefined) {
      names = new Map();
      this.#partitions.set(partition, names);
    }
    names.set(name, row);
  }
  delete(partition: number, name: string): void {
    this.#partitions.get(partition)?.delete(name);
  }
  clear(): void {
    this.#partitions.clear();
  }
}

/**
 * Cached rows beyond this are dropped at the next transaction: a file may hold many sessions over
 * time.
 */
const MAX_CACHED = 10_000;

export function tooManyPartitions(name: string): HoldfastError {
  const limit = LIMITS.sqlitePartitions;
  const message = `Expected at most ${limit} partitions in a SQLite file, got one more ("${name}"): put some into another file`;
  return new HoldfastError("TOO_LARGE", message, { outcome: "not-applied", details: { limit } });
}

export class DirectoryTables {
  protected readonly database: Database;
  /** The store's now in this transaction. */
  protected nowMs = 0;
  readonly #partitionNames = new Map<string, PartitionRow>();
  readonly #partitions = new Map<number, PartitionRow>();
  readonly #queueNames = new Names<CachedQueue>();
  readonly #queues = new Map<number, CachedQueue>();
  readonly #sessionNames = new Names<SessionRow>();
  readonly #sessions = new Map<number, SessionRow>();
  readonly #dirtyPartitions = new Set<PartitionRow>();
  readonly #dirtyQueues = new Set<CachedQueue>();
  readonly #dirtySessions = new Set<SessionRow>();

  readonly #partitionByName: Statement;
  readonly #partitionByNo: Statement;
  readonly #allPartitions: Statement;
  readonly #lastPartition: Statement;
  readonly #insertPartition: Statement;
  readonly #updatePartition: Statement;
  readonly #highWater: Statement;
  readonly #queueByName: Statement;
  readonly #queueByNo: Statement;
  readonly #allQueues: Statement;
  readonly #insertQueue: Statement;
  readonly #updateQueue: Statement;
  readonly #sessionById: Statement;
  readonly #sessionByNo: Statement;
  readonly #allSessions: Statement;
  readonly #sessionsOver: Statement;
  readonly #insertSession: Statement;
  readonly #updateSession: Statement;
  readonly #deleteSession: Statement;

  constructor(database: Database) {
    this.database = database;
    const rows = (sql: string): Statement => database.prepare(sql).raw();
    this.#partitionByName = rows(`${SELECT_PARTITION} WHERE name = ?`);
    this.#partitionByNo = rows(`${SELECT_PARTITION} WHERE no = ?`);
    this.#allPartitions = rows(`${SELECT_PARTITION} ORDER BY no`);
    this.#lastPartition = database.prepare(LAST_PARTITION).pluck();
    this.#insertPartition = database.prepare(INSERT_PARTITION);
    this.#updatePartition = database.prepare(UPDATE_PARTITION);
    this.#highWater = database.prepare(HIGH_WATER).pluck();
    this.#queueByName = rows(`${SELECT_QUEUE} WHERE partition = ? AND name = ?`);
    this.#queueByNo = rows(`${SELECT_QUEUE} WHERE no = ?`);
    this.#allQueues = rows(`${SELECT_QUEUE} WHERE partition = ? ORDER BY no`);
    this.#insertQueue = database.prepare(INSERT_QUEUE);
    this.#updateQueue = database.prepare(UPDATE_QUEUE);
    this.#sessionById = rows(`${SELECT_SESSION} WHERE partition = ? AND id = ?`);
    this.#sessionByNo = rows(`${SELECT_SESSION} WHERE no = ?`);
    this.#allSessions = rows(`${SELECT_SESSION} WHERE partition = ? ORDER BY no`);
    // There is one session a process: a scan is cheaper than an index that every renewal would
    // rewrite.
    this.#sessionsOver = rows(
      `${SELECT_SESSION} WHERE is_ended = 1 OR until_ms <= ? ORDER BY no LIMIT ?+0`,
    );
    this.#insertSession = database.prepare(INSERT_SESSION);
    this.#updateSession = database.prepare(UPDATE_SESSION);
    this.#deleteSession = database.prepare(DELETE_SESSION);
  }

  // ---------------------------------------------------------------- life of a transaction

  /** The greatest instant that the store has seen. */
  highWaterMs(): number {
    return this.#highWater.get() as number;
  }

  begin(nowMs: number): void {
    this.nowMs = nowMs;
    if (this.#sessions.size > MAX_CACHED || this.#queues.size > MAX_CACHED) this.reset();
  }

  /** Forgets everything: the rows may have changed, or changes to them were rolled back. */
  reset(): void {
    this.#partitionNames.clear();
    this.#partitions.clear();
    this.#queueNames.clear();
    this.#queues.clear();
    this.#sessionNames.clear();
    this.#sessions.clear();
    this.#dirtyPartitions.clear();
    this.#dirtyQueues.clear();
    this.#dirtySessions.clear();
  }

  /** Notes the hints that are due, for other processes; gives the queues they are about. */
  noteEvents(
    channels: readonly Channel[],
  ): { readonly no: number; readonly events: QueueEvents }[] {
    const queues: CachedQueue[] = [];
    for (const { kind, partition, name } of channels) {
      if (kind === "bus") continue;
      const no = this.partitionByName(partition)?.no ?? 0;
      const queue = this.queueByName(no, name);
      if (queue === undefined) continue;
      const { events } = queue;
      if (kind === "queue") events.ready++;
      else if (kind === "done") events.done++;
      else events.cancel++;
      this.#dirtyQueues.add(queue);
      queues.push(queue);
    }
    return queues;
  }

  /** Writes what changed, and with it the clock: some partition's row always carries it. */
  end(hasWritten: boolean): void {
    for (const row of this.#dirtySessions) {
      this.#updateSession.run(row.ttlMs, row.untilMs, row.isEnded ? 1 : 0, row.no);
    }
    for (const row of this.#dirtyQueues) this.#writeQueue(row);
    if (hasWritten && this.#dirtyPartitions.size === 0) {
      const [first] = this.#partitions.values();
      const row = first ?? this.partitions()[0];
      if (row !== undefined) this.#dirtyPartitions.add(row);
    }
    for (const row of this.#dirtyPartitions) this.#writePartition(row);
    this.#dirtySessions.clear();
    this.#dirtyQueues.clear();
    this.#dirtyPartitions.clear();
  }

  #writeQueue(row: CachedQueue): void {
    if (row.stored.config !== row.config) {
      row.stored = { config: row.config, text: JSON.stringify(row.config) };
    }
    const { counts: n, events: e, isPaused, rateMs, no, stored } = row;
    this.#updateQueue.run(
      ...[stored.text, isPaused ? 1 : 0, rateMs, n.ready, n.leased, n.scheduled, n.blocked],
      ...[n.completed, n.cancelled, n.dead, e.ready, e.done, e.cancel, no],
    );
  }

  #writePartition(row: PartitionRow): void {
    const { no, revision, nextSeq, isSealed, movedTo, journalCount, journalFloor } = row;
    invariant(nextSeq < SEQS_PER_PARTITION, "a partition never runs out of job numbers", row);
    this.#updatePartition.run(
      ...[revision, nextSeq, isSealed ? 1 : 0, movedTo, journalCount, journalFloor],
      ...[this.nowMs, no],
    );
  }

  // ---------------------------------------------------------------- partitions

  partitionByName(name: string): PartitionRow | undefined {
    const cached = this.#partitionNames.get(name);
    if (cached !== undefined) return cached;
    return this.#cachePartition(this.#partitionByName.get(name));
  }
  partitionByNo(no: number): PartitionRow {
    const row = this.#partitions.get(no) ?? this.#cachePartition(this.#partitionByNo.get(no));
    invariant(row !== undefined, "a numbered partition exists", { no });
    return row;
  }
  createPartition(name: string): PartitionRow {
    const no = (this.#lastPartition.get() as number) + 1;
    if (no > LIMITS.sqlitePartitions) throw tooManyPartitions(name);
    this.#insertPartition.run(no, name, this.nowMs);
    return this.partitionByName(name) as PartitionRow;
  }
  savePartition(row: PartitionRow): void {
    this.#dirtyPartitions.add(row);
  }
  partitions(): PartitionRow[] {
    const rows = this.#allPartitions.all() as PartitionColumns[];
    return rows.map((columns) => this.#cachePartition(columns) as PartitionRow);
  }
  #cachePartition(columns: unknown): PartitionRow | undefined {
    if (columns === undefined) return undefined;
    const fresh = partitionOf(columns as PartitionColumns);
    // A cached row may hold changes that are not written yet: it wins.
    const row = this.#partitions.get(fresh.no) ?? fresh;
    this.#partitions.set(row.no, row);
    this.#partitionNames.set(row.name, row);
    return row;
  }

  // ---------------------------------------------------------------- queues

  queueByName(partition: number, name: string): CachedQueue | undefined {
    const cached = this.#queueNames.get(partition, name);
    if (cached !== undefined) return cached;
    return this.#cacheQueue(this.#queueByName.get(partition, name));
  }
  queueByNo(no: number): CachedQueue | undefined {
    return this.#queues.get(no) ?? this.#cacheQueue(this.#queueByNo.get(no));
  }
  createQueue(partition: number, name: string, config: QueueConfig): QueueRow {
    this.#insertQueue.run(partition, name, JSON.stringify(config));
    return this.queueByName(partition, name) as QueueRow;
  }
  saveQueue(row: QueueRow): void {
    this.#dirtyQueues.add(row as CachedQueue);
  }
  queues(partition: number): QueueRow[] {
    const rows = this.#allQueues.all(partition) as QueueColumns[];
    return rows.map((columns) => this.#cacheQueue(columns) as QueueRow);
  }
  #cacheQueue(columns: unknown): CachedQueue | undefined {
    if (columns === undefined) return undefined;
    const cached = this.#queues.get((columns as QueueColumns)[0]);
    if (cached !== undefined) return cached;
    const row = queueOf(columns as QueueColumns);
    this.#queues.set(row.no, row);
    this.#queueNames.set(row.partition, row.name, row);
    return row;
  }
  /** The queue's partition, which is half of its jobs' numbers. */
  protected partitionOfQueue(queue: number): number {
    const row = this.queueByNo(queue);
    invariant(row !== undefined, "a numbered queue exists", { queue });
    return row.partition;
  }

  // ---------------------------------------------------------------- sessions

  session(partition: number, id: string): SessionRow | undefined {
    const cached = this.#sessionNames.get(partition, id);
    if (cached !== undefined) return cached;
    return this.#cacheSession(this.#sessionById.get(partition, id));
  }
  sessionByNo(no: number): SessionRow | undefined {
    return this.#sessions.get(no) ?? this.#cacheSession(this.#sessionByNo.get(no));
  }
  createSession(row: Omit<SessionRow, "no">): SessionRow {
    const { partition, id, label, ttlMs, untilMs, isEnded } = row;
    this.#insertSession.run(partition, id, label, ttlMs, untilMs, isEnded ? 1 : 0);
    return this.session(partition, id) as SessionRow;
  }
  saveSession(row: SessionRow): void {
    this.#dirtySessions.add(row);
  }
  deleteSession(row: SessionRow): void {
    this.#deleteSession.run(row.no);
    this.#dirtySessions.delete(row);
    this.#sessions.delete(row.no);
    this.#sessionNames.delete(row.partition, row.id);
  }
  sessionsOver(nowMs: number, limit: number): SessionRow[] {
    this.#flushSessions();
    const rows = this.#sessionsOver.all(nowMs, limit) as SessionColumns[];
    return rows.map((columns) => this.#cacheSession(columns) as SessionRow);
  }
  sessions(partition: number): SessionRow[] {
    this.#flushSessions();
    const rows = this.#allSessions.all(partition) as SessionColumns[];
    return rows.map((columns) => this.#cacheSession(columns) as SessionRow);
  }
  #flushSessions(): void {
    for (const row of this.#dirtySessions) {
      this.#updateSession.run(row.ttlMs, row.untilMs, row.isEnded ? 1 : 0, row.no);
    }
    this.#dirtySessions.clear();
  }
  #cacheSession(columns: unknown): SessionRow | undefined {
    if (columns === undefined) return undefined;
    const cached = this.#sessions.get((columns as SessionColumns)[0]);
    if (cached !== undefined) return cached;
    const row = sessionOf(columns as SessionColumns);
    this.#sessions.set(row.no, row);
    this.#sessionNames.set(row.partition, row.id, row);
    return row;
  }
}
