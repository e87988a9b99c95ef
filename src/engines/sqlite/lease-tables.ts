/**
 * Held and finished jobs, and marks: `hf_lease`, `hf_finished`, `hf_mark`.
 *
 * Leases seen in a transaction are cached; inserts and deletes are gathered (`bulk.ts`). Deletes
 * and inserts of one table are never pending together, so that a job settled and claimed again in
 * one commit keeps the order of the two.
 */
import type { Data } from "../../core/codec.ts";
import type {
  CountedState,
  FinishedOver,
  FinishedPlace,
  FinishedRow,
  FinishedState,
  LeaseRow,
  MarkRow,
} from "../shared/embedded/tables.ts";
import { BulkDelete, BulkInsert } from "./bulk.ts";
import type { Database, Statement } from "./database.ts";
import { jobOf, seqOf } from "./directory-tables.ts";
import { JobTables } from "./job-tables.ts";

const LEASE = "l.session, l.job, l.queue, l.token, l.is_cancel_requested, l.progress, l.key";
const SELECT_LEASE = `SELECT ${LEASE} FROM hf_lease l WHERE l.session = ? AND l.job = ?`;
// There are as many sessions as processes: one look each is cheaper than an index that every claim
// would write.
const LEASE_OF_JOB = `
  SELECT ${LEASE}
  FROM hf_session s
  CROSS JOIN hf_lease l
  WHERE l.session = s.no AND l.job = ?`;
const OF_SESSION = `SELECT ${LEASE} FROM hf_lease l WHERE l.session = ? ORDER BY l.job LIMIT ?+0`;
const COUNT = "SELECT count(*) FROM hf_lease WHERE session = ?";
const CANCELS = `SELECT ${LEASE} FROM hf_lease l WHERE l.session = ? AND l.is_cancel_requested = 1`;
// For people and exports: a scan of what is held now.
const LEASE_RANGE = `
  SELECT ${LEASE}
  FROM hf_lease l
  WHERE l.queue = ? AND l.job > ?
  ORDER BY l.job LIMIT ?+0`;
const INSERT_LEASE = `
  INSERT INTO hf_lease (session, queue, token, is_cancel_requested, key, progress, job)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;
const INSERT_LEASES = `
  INSERT INTO hf_lease (session, queue, token, is_cancel_requested, key, progress, job)
  SELECT ?, ?, ?, ?, ?, ?, value
  FROM json_each(?)`;
const UPDATE_LEASE =
  "UPDATE hf_lease SET is_cancel_requested = ?, progress = ? WHERE session = ? AND job = ?";
const DELETE_LEASES = "DELETE FROM hf_lease WHERE session = ? AND job BETWEEN ? AND ?";
const KEY_OF_JOB = "SELECT key FROM hf_job WHERE job = ?";

const FINISHED = "queue, state, job, finished_ms, expires_ms, result";
const SELECT_FINISHED = `
  SELECT ${FINISHED}
  FROM hf_finished
  WHERE queue = ? AND state IN (0, 1, 2) AND job = ?`;
const FINISHED_RANGE = `
  SELECT ${FINISHED}
  FROM hf_finished
  WHERE queue = ? AND state = ? AND job > ?
  ORDER BY job LIMIT ?+0`;
// The index by time of finishing has all columns; the literal bound lets the planner take it.
const FINISHED_OLDEST = `
  SELECT job
  FROM hf_finished
  WHERE queue = ? AND state = ? AND state < 2
  ORDER BY finished_ms, job LIMIT ?+0`;
// A result may be large, and who removes the row does not need it.
const FINISHED_EXPIRED = `
  SELECT queue, state, job, finished_ms, expires_ms, NULL
  FROM hf_finished
  WHERE expires_ms <= ?
  ORDER BY expires_ms LIMIT ?+0`;
// The index by expiry has all columns.
const FINISHED_OVER = `
  SELECT queue, state, count(*)
  FROM hf_finished
  WHERE expires_ms <= ?
  GROUP BY queue, state`;
const INSERT_FINISHED = `
  INSERT INTO hf_finished (queue, state, finished_ms, expires_ms, result, job)
  VALUES (?, ?, ?, ?, ?, ?)`;
const INSERT_FINISHEDS = `
  INSERT INTO hf_finished (queue, state, finished_ms, expires_ms, result, job)
  SELECT ?, ?, ?, ?, ?, value
  FROM json_each(?)`;
const DELETE_FINISHEDS =
  "DELETE FROM hf_finished WHERE queue = ? AND state = ? AND job BETWEEN ? AND ?";

const MARK = "queue, kind, name, value, id, writer, expires_ms";
const SELECT_MARK = `SELECT ${MARK} FROM hf_mark WHERE queue = ? AND kind = ? AND name = ?`;
const UPSERT_MARK = `
  INSERT INTO hf_mark (${MARK})
  VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (queue, kind, name) DO UPDATE
  SET value = excluded.value, id = excluded.id, writer = excluded.writer,
    expires_ms = excluded.expires_ms`;
const DELETE_MARK = "DELETE FROM hf_mark WHERE queue = ? AND kind = ? AND name = ?";
const MARKS_EXPIRED = `
  SELECT ${MARK}
  FROM hf_mark
  WHERE expires_ms <= ?
  ORDER BY expires_ms LIMIT ?+0`;
const MARK_RANGE = `
  SELECT ${MARK}
  FROM hf_mark
  WHERE queue = ? AND (kind, name) > (?, ?)
  ORDER BY kind, name LIMIT ?+0`;

/** Stored codes of the finished states. */
const STATES: readonly FinishedState[] = ["completed", "cancelled", "dead"];
const CODES: Readonly<Record<FinishedState, number>> = { completed: 0, cancelled: 1, dead: 2 };

type LeaseColumns = [
  ...[session: number, job: number, queue: number, token: number, isCancelRequested: number],
  ...[progress: Data | null, key: string | null],
];
type FinishedColumns = [number, number, number, number, number, Data | null];
type MarkColumns = [
  ...[queue: number, kind: MarkRow["kind"], name: string, value: number],
  ...[id: string | null, writer: string | null, expiresMs: number],
];

function leaseOf(columns: LeaseColumns): LeaseRow {
  const [session, job, queue, token, isCancelRequested, progress] = columns;
  const isAsked = isCancelRequested === 1;
  return { session, seq: seqOf(job), queue, token, isCancelRequested: isAsked, progress };
}

function finishedOf(columns: FinishedColumns): FinishedRow {
  const [queue, state, job, finishedMs, expiresMs, result] = columns;
  const name = STATES[state] as FinishedState;
  return { queue, seq: seqOf(job), state: name, finishedMs, expiresMs, result };
}

function markOf(columns: MarkColumns): MarkRow {
  const [queue, kind, name, value, id, writer, expiresMs] = columns;
  return { queue, kind, name, value, id, writer, expiresMs };
}

export class LeaseTables extends JobTables {
  /** By job number; null: deleted in this transaction. */
  readonly #leases = new Map<number, LeaseRow | null>();
  readonly #leaseInserts: BulkInsert;
  readonly #leaseDeletes: BulkDelete;
  readonly #finishedInserts: BulkInsert;
  readonly #finishedDeletes: BulkDelete;

  readonly #selectLease: Statement;
  readonly #leaseOfJob: Statement;
  readonly #ofSession: Statement;
  readonly #count: Statement;
  readonly #cancels: Statement;
  readonly #leaseRange: Statement;
  readonly #updateLease: Statement;
  readonly #keyOfJob: Statement;
  readonly #selectFinished: Statement;
  readonly #finishedRange: Statement;
  readonly #finishedOldest: Statement;
  readonly #finishedExpired: Statement;
  readonly #finishedOver: Statement;
  readonly #selectMark: Statement;
  readonly #upsertMark: Statement;
  readonly #deleteMark: Statement;
  readonly #marksExpired: Statement;
  readonly #markRange: Statement;

  constructor(database: Database) {
    super(database);
    const run = (sql: string): Statement => database.prepare(sql);
    const rows = (sql: string): Statement => database.prepare(sql).raw();
    this.#leaseInserts = new BulkInsert(run(INSERT_LEASE), run(INSERT_LEASES));
    this.#leaseDeletes = new BulkDelete(run(DELETE_LEASES));
    this.#finishedInserts = new BulkInsert(run(INSERT_FINISHED), run(INSERT_FINISHEDS));
    this.#finishedDeletes = new BulkDelete(run(DELETE_FINISHEDS));
    this.#selectLease = rows(SELECT_LEASE);
    this.#leaseOfJob = rows(LEASE_OF_JOB);
    this.#ofSession = rows(OF_SESSION);
    this.#count = run(COUNT).pluck();
    this.#cancels = rows(CANCELS);
    this.#leaseRange = rows(LEASE_RANGE);
    this.#updateLease = run(UPDATE_LEASE);
    this.#keyOfJob = run(KEY_OF_JOB).pluck();
    this.#selectFinished = rows(SELECT_FINISHED);
    this.#finishedRange = rows(FINISHED_RANGE);
    this.#finishedOldest = run(FINISHED_OLDEST).pluck();
    this.#finishedExpired = rows(FINISHED_EXPIRED);
    this.#finishedOver = rows(FINISHED_OVER);
    this.#selectMark = rows(SELECT_MARK);
    this.#upsertMark = run(UPSERT_MARK);
    this.#deleteMark = run(DELETE_MARK);
    this.#marksExpired = rows(MARKS_EXPIRED);
    this.#markRange = rows(MARK_RANGE);
  }

  override begin(nowMs: number): void {
    super.begin(nowMs);
    this.#forget();
  }
  override reset(): void {
    super.reset();
    this.#forget();
  }
  override end(hasWritten: boolean): void {
    this.#flushLeases();
    this.#flushFinished();
    super.end(hasWritten);
  }
  #forget(): void {
    this.#leases.clear();
    this.#leaseInserts.forget();
    this.#leaseDeletes.forget();
    this.#finishedInserts.forget();
    this.#finishedDeletes.forget();
  }
  #flushLeases(): void {
    this.#leaseInserts.flush();
    this.#leaseDeletes.flush();
  }
  #flushFinished(): void {
    this.#finishedInserts.flush();
    this.#finishedDeletes.flush();
  }

  // ---------------------------------------------------------------- leases

  lease(session: number, seq: number): LeaseRow | undefined {
    const partition = this.sessionByNo(session)?.partition;
    if (partition === undefined) return undefined;
    const job = jobOf(partition, seq);
    const cached = this.#leases.get(job);
    if (cached === null) return undefined;
    if (cached !== undefined) return cached.session === session ? cached : undefined;
    const columns = this.#selectLease.get(session, job) as LeaseColumns | undefined;
    return columns === undefined ? undefined : this.#cache(columns);
  }
  leaseOfJob(queue: number, seq: number): LeaseRow | undefined {
    const job = jobOf(this.partitionOfQueue(queue), seq);
    const cached = this.#leases.get(job);
    if (cached !== undefined) return cached ?? undefined;
    this.#flushLeases();
    const columns = this.#leaseOfJob.get(job) as LeaseColumns | undefined;
    return columns === undefined ? undefined : this.#cache(columns);
  }
  insertLease(row: LeaseRow): void {
    this.#leaseDeletes.flush();
    const { session, seq, queue, token, isCancelRequested, progress } = row;
    const job = jobOf(this.partitionOfQueue(queue), seq);
    const taken = this.taken.get(job);
    const key = taken === undefined ? (this.#keyOfJob.get(job) as string | null) : taken.key;
    const shared = [session, queue, token, isCancelRequested ? 1 : 0, key, progress];
    this.#leaseInserts.add(shared, job);
    this.#leases.set(job, row);
    this.known.set(job, key);
  }
  saveLease(row: LeaseRow): void {
    this.#leaseInserts.flush();
    const { session, seq, queue, isCancelRequested, progress } = row;
    const job = jobOf(this.partitionOfQueue(queue), seq);
    this.#updateLease.run(isCancelRequested ? 1 : 0, progress, session, job);
  }
  deleteLease(row: LeaseRow): void {
    this.#leaseInserts.flush();
    const job = jobOf(this.partitionOfQueue(row.queue), row.seq);
    this.#leaseDeletes.add([row.session], job);
    this.#leases.set(job, null);
  }
  leasesOfSession(session: number, limit: number): LeaseRow[] {
    return this.#leaseRows(this.#ofSession, session, limit);
  }
  leaseCount(session: number): number {
    this.#flushLeases();
    return this.#count.get(session) as number;
  }
  cancelsOfSession(session: number): LeaseRow[] {
    return this.#leaseRows(this.#cancels, session);
  }
  leaseRange(queue: number, after: number | null, limit: number): LeaseRow[] {
    const first = jobOf(this.partitionOfQueue(queue), after ?? 0);
    return this.#leaseRows(this.#leaseRange, queue, first, limit);
  }
  #leaseRows(statement: Statement, ...values: readonly unknown[]): LeaseRow[] {
    this.#flushLeases();
    return (statement.all(...values) as LeaseColumns[]).map((columns) => this.#cache(columns));
  }
  #cache(columns: LeaseColumns): LeaseRow {
    const job = columns[1];
    const cached = this.#leases.get(job);
    if (cached !== undefined && cached !== null) return cached;
    const row = leaseOf(columns);
    this.#leases.set(job, row);
    this.known.set(job, columns[6]);
    return row;
  }

  // ---------------------------------------------------------------- finished

  finished(queue: number, seq: number): FinishedRow | undefined {
    this.#flushFinished();
    const job = jobOf(this.partitionOfQueue(queue), seq);
    const columns = this.#selectFinished.get(queue, job) as FinishedColumns | undefined;
    return columns === undefined ? undefined : finishedOf(columns);
  }
  insertFinished(row: FinishedRow): void {
    this.#finishedDeletes.flush();
    const { queue, seq, state, finishedMs, expiresMs, result } = row;
    const job = jobOf(this.partitionOfQueue(queue), seq);
    this.#finishedInserts.add([queue, CODES[state], finishedMs, expiresMs, result], job);
  }
  deleteFinished(row: FinishedPlace): void {
    this.#finishedInserts.flush();
    const job = jobOf(this.partitionOfQueue(row.queue), row.seq);
    this.#finishedDeletes.add([row.queue, CODES[row.state]], job);
  }
  finishedRange(
    queue: number,
    state: FinishedState,
    after: number | null,
    limit: number,
  ): FinishedRow[] {
    const first = jobOf(this.partitionOfQueue(queue), after ?? 0);
    return this.#finishedRows(this.#finishedRange, queue, CODES[state], first, limit);
  }
  finishedOldest(queue: number, state: CountedState, limit: number): FinishedPlace[] {
    this.#flushFinished();
    const jobs = this.#finishedOldest.all(queue, CODES[state], limit) as number[];
    return jobs.map((job) => {
      this.#exists(job);
      return { queue, seq: seqOf(job), state };
    });
  }
  finishedExpired(nowMs: number, limit: number): FinishedRow[] {
    return this.#finishedRows(this.#finishedExpired, nowMs, limit);
  }
  finishedOver(nowMs: number): FinishedOver[] {
    this.#flushFinished();
    const rows = this.#finishedOver.all(nowMs) as [number, number, number][];
    return rows.map(([queue, state, count]) => {
      return { queue, state: STATES[state] as FinishedState, count };
    });
  }
  #finishedRows(statement: Statement, ...values: readonly unknown[]): FinishedRow[] {
    this.#flushFinished();
    return (statement.all(...values) as FinishedColumns[]).map((columns) => {
      this.#exists(columns[2]);
      return finishedOf(columns);
    });
  }
  /** A finished row's body exists: it is removed together with it. */
  #exists(job: number): void {
    if (!this.known.has(job)) this.known.set(job, undefined);
  }

  // ---------------------------------------------------------------- marks

  mark(queue: number, kind: MarkRow["kind"], name: string): MarkRow | undefined {
    const columns = this.#selectMark.get(queue, kind, name) as MarkColumns | undefined;
    return columns === undefined ? undefined : markOf(columns);
  }
  saveMark(row: MarkRow): void {
    const { queue, kind, name, value, id, writer = null, expiresMs } = row;
    this.#upsertMark.run(queue, kind, name, value, id, writer, expiresMs);
  }
  deleteMark(row: MarkRow): void {
    this.#deleteMark.run(row.queue, row.kind, row.name);
  }
  marksExpired(nowMs: number, limit: number): MarkRow[] {
    return (this.#marksExpired.all(nowMs, limit) as MarkColumns[]).map(markOf);
  }
  markRange(queue: number, after: { kind: string; name: string } | null, limit: number): MarkRow[] {
    const { kind, name } = after ?? { kind: "", name: "" };
    return (this.#markRange.all(queue, kind, name, limit) as MarkColumns[]).map(markOf);
  }
}
