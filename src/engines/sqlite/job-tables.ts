/**
 * Jobs' bodies and where they wait: `hf_job`, `hf_ready`, `hf_scheduled`, `hf_blocked`, `hf_key`.
 *
 * Writes of bodies happen at once. Entries of `hf_ready` and removals of bodies are gathered
 * (`bulk.ts`), rows of `hf_key` are written back at the end; whatever could miss them flushes
 * first.
 */
import type { JobRow, KeyRow, WaitingState } from "../shared/embedded/tables.ts";
import { BulkDelete, BulkInsert } from "./bulk.ts";
import type { Database, Statement } from "./database.ts";
import { jobOf, seqOf } from "./directory-tables.ts";
import { flagsOf, KnownJob, StoredJob, WAITING } from "./job-rows.ts";
import type { JobColumns } from "./job-rows.ts";
import { KvTables } from "./kv-tables.ts";

const COLUMNS = `j.job, j.queue, j.state, j.at, j.flags, j.attempts, j.lost, j.priority,
    j.created_ms, j.id, j.key, j.trace, j.error, j.attributes, j.progress, j.payload`;
const SELECT_JOB = `SELECT ${COLUMNS} FROM hf_job j WHERE j.job = ?`;
const SELECT_BY_ID = `SELECT ${COLUMNS} FROM hf_job j WHERE j.queue = ? AND j.id = ?`;
// `+queue` keeps the planner off the index by (queue, id), which would have to be sorted.
const JOB_RANGE = `
  SELECT ${COLUMNS}
  FROM hf_job j
  WHERE j.job > ? AND j.job < ? AND +j.queue = ?
  ORDER BY j.job LIMIT ?+0`;
const INSERT_JOB = `
  INSERT INTO hf_job (job, queue, state, at, flags, attempts, lost, priority, created_ms, id,
    key, trace, error, attributes, progress, payload)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const UPDATE_STATE = `
  UPDATE hf_job
  SET state = ?, at = ?, flags = ?, attempts = ?, lost = ?, error = ?, progress = ?
  WHERE job = ?`;
const UPDATE_PAYLOAD = "UPDATE hf_job SET payload = ? WHERE job = ?";
const DELETE_JOBS = "DELETE FROM hf_job WHERE job BETWEEN ? AND ?";

const INSERT_READY = "INSERT INTO hf_ready (queue, rank, job) VALUES (?, ?, ?)";
const INSERT_READIES =
  "INSERT INTO hf_ready (queue, rank, job) SELECT ?, ?, value FROM json_each(?)";
const DELETE_READY = "DELETE FROM hf_ready WHERE queue = ? AND rank = ? AND job = ?";
const FIRST_READY = "SELECT rank, job FROM hf_ready WHERE queue = ? ORDER BY rank, job LIMIT 1";
// The first entries and their bodies, then all entries up to the last of them at once. CROSS JOIN
// keeps the order of the loops.
const TAKE_READY = `
  SELECT ${COLUMNS}
  FROM hf_ready r
  CROSS JOIN hf_job j
  WHERE r.queue = ? AND j.job = r.job
  ORDER BY r.rank, r.job LIMIT ?+0`;
const DELETE_TAKEN = "DELETE FROM hf_ready WHERE queue = ? AND (rank, job) <= (?, ?)";

const INSERT_SCHEDULED = "INSERT INTO hf_scheduled (queue, due_ms, job) VALUES (?, ?, ?)";
const DELETE_SCHEDULED = "DELETE FROM hf_scheduled WHERE queue = ? AND due_ms = ? AND job = ?";
const NEXT_DUE = "SELECT due_ms FROM hf_scheduled WHERE queue = ? ORDER BY due_ms, job LIMIT 1";
const TAKE_DUE = `
  SELECT ${COLUMNS}
  FROM hf_scheduled s
  CROSS JOIN hf_job j
  WHERE s.queue = ? AND s.due_ms <= ? AND j.job = s.job
  ORDER BY s.due_ms, s.job LIMIT ?+0`;
const DELETE_DUE = "DELETE FROM hf_scheduled WHERE queue = ? AND (due_ms, job) <= (?, ?)";

const INSERT_BLOCKED = "INSERT INTO hf_blocked (queue, key, job) VALUES (?, ?, ?)";
const DELETE_BLOCKED = "DELETE FROM hf_blocked WHERE queue = ? AND key = ? AND job = ?";
const FIRST_BLOCKED = "SELECT job FROM hf_blocked WHERE queue = ? AND key = ? ORDER BY job LIMIT 1";

/**
 * Each waiting place: its table, and the column that it is sorted by with what the body has of it.
 */
const PLACES = {
  ready: ["hf_ready", "rank", "at"],
  scheduled: ["hf_scheduled", "due_ms", "at"],
  blocked: ["hf_blocked", "key", "key"],
} as const;

// Two ways to list a place by job number: sort the place (few rows), or walk the bodies and look
// each up (many).
function sortPlace(state: WaitingState): string {
  const [table] = PLACES[state];
  return `SELECT job FROM ${table} WHERE queue = ? AND job > ? AND job < ? ORDER BY job LIMIT ?+0`;
}

function walkPlace(state: WaitingState): string {
  const [table, column, ofBody] = PLACES[state];
  return `
    SELECT j.job
    FROM hf_job j
    WHERE +j.queue = ? AND j.job > ? AND j.job < ? AND j.state = ${WAITING[state]}
      AND EXISTS (
        SELECT 1
        FROM ${table} p
        WHERE p.queue = j.queue AND p.${column} = j.${ofBody} AND p.job = j.job)
    ORDER BY j.job LIMIT ?+0`;
}
/** Places with more rows than this are listed by a walk. */
const SORT_MAX = 10_000;

const SELECT_KEY = "SELECT active, waiting FROM hf_key WHERE queue = ? AND key = ?";
const INSERT_KEY = "INSERT INTO hf_key (queue, key, active, waiting) VALUES (?, ?, ?, ?)";
const UPDATE_KEY = "UPDATE hf_key SET active = ?, waiting = ? WHERE queue = ? AND key = ?";
const DELETE_KEY = "DELETE FROM hf_key WHERE queue = ? AND key = ?";

interface KeyEntry {
  readonly queue: number;
  readonly key: string;
  row: KeyRow | undefined;
  isStored: boolean;
  isDirty: boolean;
}

export class JobTables extends KvTables {
  /** Bodies handed out by `takeReady` in this transaction: their lease needs their key. */
  protected readonly taken: Map<number, StoredJob> = new Map<number, StoredJob>();
  /** Jobs whose body is known to exist, with the key where that is known too. */
  protected readonly known: Map<number, string | null | undefined> = new Map<
    number,
    string | null | undefined
  >();
  readonly #keys = new Map<number, Map<string, KeyEntry>>();
  readonly #deleted = new Set<number>();
  readonly #deletes: BulkDelete;
  readonly #readies: BulkInsert;

  readonly #selectJob: Statement;
  readonly #selectById: Statement;
  readonly #jobRange: Statement;
  readonly #insertJob: Statement;
  readonly #updateState: Statement;
  readonly #updatePayload: Statement;
  readonly #deleteReady: Statement;
  readonly #firstReady: Statement;
  readonly #takeReady: Statement;
  readonly #deleteTaken: Statement;
  readonly #insertScheduled: Statement;
  readonly #deleteScheduled: Statement;
  readonly #nextDue: Statement;
  readonly #takeDue: Statement;
  readonly #deleteDue: Statement;
  readonly #insertBlocked: Statement;
  readonly #deleteBlocked: Statement;
  readonly #firstBlocked: Statement;
  readonly #selectKey: Statement;
  readonly #insertKey: Statement;
  readonly #updateKey: Statement;
  readonly #deleteKey: Statement;

  constructor(database: Database) {
    super(database);
    const run = (sql: string): Statement => database.prepare(sql);
    const rows = (sql: string): Statement => database.prepare(sql).raw();
    const one = (sql: string): Statement => database.prepare(sql).pluck();
    this.#deletes = new BulkDelete(run(DELETE_JOBS));
    this.#readies = new BulkInsert(run(INSERT_READY), run(INSERT_READIES));
    this.#selectJob = rows(SELECT_JOB);
    this.#selectById = rows(SELECT_BY_ID);
    this.#jobRange = rows(JOB_RANGE);
    this.#insertJob = run(INSERT_JOB);
    this.#updateState = run(UPDATE_STATE);
    this.#updatePayload = run(UPDATE_PAYLOAD);
    this.#deleteReady = run(DELETE_READY);
    this.#firstReady = rows(FIRST_READY);
    this.#takeReady = rows(TAKE_READY);
    this.#deleteTaken = run(DELETE_TAKEN);
    this.#insertScheduled = run(INSERT_SCHEDULED);
    this.#deleteScheduled = run(DELETE_SCHEDULED);
    this.#nextDue = one(NEXT_DUE);
    this.#takeDue = rows(TAKE_DUE);
    this.#deleteDue = run(DELETE_DUE);
    this.#insertBlocked = run(INSERT_BLOCKED);
    this.#deleteBlocked = run(DELETE_BLOCKED);
    this.#firstBlocked = one(FIRST_BLOCKED);
    this.#selectKey = rows(SELECT_KEY);
    this.#insertKey = run(INSERT_KEY);
    this.#updateKey = run(UPDATE_KEY);
    this.#deleteKey = run(DELETE_KEY);
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
    this.#flushDeletes();
    this.#readies.flush();
    this.#flushKeys();
    super.end(hasWritten);
  }
  #forget(): void {
    this.taken.clear();
    this.known.clear();
    this.#keys.clear();
    this.#deleted.clear();
    this.#deletes.forget();
    this.#readies.forget();
  }
  #flushDeletes(): void {
    this.#deletes.flush();
    this.#deleted.clear();
  }

  // ---------------------------------------------------------------- bodies

  job(queue: number, seq: number): JobRow | undefined {
    const job = jobOf(this.partitionOfQueue(queue), seq);
    if (this.#deleted.has(job)) return undefined;
    if (this.known.has(job)) {
      return new KnownJob(queue, seq, this.known.get(job), () => this.#load(job));
    }
    return this.#stored(this.#selectJob.get(job));
  }
  jobById(queue: number, id: string): JobRow | undefined {
    this.#flushDeletes();
    return this.#stored(this.#selectById.get(queue, id));
  }
  insertJob(row: JobRow): void {
    // A job removed in this transaction may have had the same id.
    if (!this.#deletes.isEmpty) this.#flushDeletes();
    this.#insertJob.run(
      jobOf(this.partitionOfQueue(row.queue), row.seq),
      row.queue,
      WAITING[row.state],
      row.at,
      flagsOf(row),
      row.attempts,
      row.lost,
      row.priority,
      row.createdMs,
      row.id,
      row.key,
      row.trace,
      row.error,
      row.attributes ?? null,
      row.progress ?? null,
      row.payload,
    );
  }
  saveJob(row: JobRow): void {
    const job = jobOf(this.partitionOfQueue(row.queue), row.seq);
    const { state, at, attempts, lost, error, progress = null } = row;
    const flags = flagsOf(row);
    this.#updateState.run(WAITING[state], at, flags, attempts, lost, error, progress, job);
    // A payload seldom changes, and may be large.
    const isStored = row instanceof StoredJob || row instanceof KnownJob;
    if (!isStored || row.isPayloadChanged) this.#updatePayload.run(row.payload, job);
  }
  deleteJob(row: JobRow): void {
    const job = jobOf(this.partitionOfQueue(row.queue), row.seq);
    this.#deletes.add([], job);
    this.#deleted.add(job);
    this.known.delete(job);
  }
  jobRange(queue: number, after: number | null, limit: number): JobRow[] {
    this.#flushDeletes();
    const partition = this.partitionOfQueue(queue);
    const first = jobOf(partition, after ?? 0);
    const rows = this.#jobRange.all(first, jobOf(partition + 1, 0), queue, limit);
    return (rows as JobColumns[]).map((columns) => new StoredJob(columns));
  }
  #load(job: number): StoredJob {
    return this.#stored(this.#selectJob.get(job)) as StoredJob;
  }
  #stored(columns: unknown): StoredJob | undefined {
    return columns === undefined ? undefined : new StoredJob(columns as JobColumns);
  }

  // ---------------------------------------------------------------- ready

  putReady(queue: number, rank: number, seq: number): void {
    this.#readies.add([queue, rank], jobOf(this.partitionOfQueue(queue), seq));
  }
  deleteReady(queue: number, rank: number, seq: number): void {
    this.#readies.flush();
    this.#deleteReady.run(queue, rank, jobOf(this.partitionOfQueue(queue), seq));
  }
  takeReady(queue: number, max: number): JobRow[] {
    this.#readies.flush();
    const rows = this.#takeReady.all(queue, max) as JobColumns[];
    const jobs = rows.map((columns) => {
      const job = new StoredJob(columns);
      this.taken.set(columns[0], job);
      return job;
    });
    const last = rows.at(-1);
    // While a job is in hf_ready its body's `at` is its rank.
    if (last !== undefined) this.#deleteTaken.run(queue, last[3], last[0]);
    return jobs;
  }
  firstReady(queue: number): { readonly rank: number; readonly seq: number } | undefined {
    this.#readies.flush();
    const row = this.#firstReady.get(queue) as [number, number] | undefined;
    return row === undefined ? undefined : { rank: row[0], seq: seqOf(row[1]) };
  }

  // ---------------------------------------------------------------- scheduled

  putScheduled(queue: number, dueMs: number, seq: number): void {
    this.#insertScheduled.run(queue, dueMs, jobOf(this.partitionOfQueue(queue), seq));
  }
  deleteScheduled(queue: number, dueMs: number, seq: number): void {
    this.#deleteScheduled.run(queue, dueMs, jobOf(this.partitionOfQueue(queue), seq));
  }
  takeDue(queue: number, nowMs: number, max: number): JobRow[] {
    const rows = this.#takeDue.all(queue, nowMs, max) as JobColumns[];
    const last = rows.at(-1);
    if (last !== undefined) this.#deleteDue.run(queue, last[3], last[0]);
    return rows.map((columns) => new StoredJob(columns));
  }
  nextDueMs(queue: number): number | undefined {
    return this.#nextDue.get(queue) as number | undefined;
  }

  // ---------------------------------------------------------------- blocked

  putBlocked(queue: number, key: string, seq: number): void {
    this.#insertBlocked.run(queue, key, jobOf(this.partitionOfQueue(queue), seq));
  }
  deleteBlocked(queue: number, key: string, seq: number): void {
    this.#deleteBlocked.run(queue, key, jobOf(this.partitionOfQueue(queue), seq));
  }
  firstBlocked(queue: number, key: string): number | undefined {
    const job = this.#firstBlocked.get(queue, key) as number | undefined;
    return job === undefined ? undefined : seqOf(job);
  }

  waitingRange(queue: number, state: WaitingState, after: number | null, limit: number): number[] {
    this.#readies.flush();
    this.#flushDeletes();
    const count = this.queueByNo(queue)?.counts[state] ?? 0;
    const sql = count > SORT_MAX ? walkPlace(state) : sortPlace(state);
    const partition = this.partitionOfQueue(queue);
    const start = jobOf(partition, after ?? 0);
    const end = jobOf(partition + 1, 0);
    const jobs = this.database.prepare(sql).pluck().all(queue, start, end, limit) as number[];
    return jobs.map(seqOf);
  }

  // ---------------------------------------------------------------- keys

  keyRow(queue: number, key: string): KeyRow | undefined {
    return this.#key(queue, key).row;
  }
  saveKey(row: KeyRow): void {
    this.#changeKey(this.#key(row.queue, row.key), row);
  }
  deleteKey(row: KeyRow): void {
    this.#changeKey(this.#key(row.queue, row.key), undefined);
  }
  #changeKey(entry: KeyEntry, row: KeyRow | undefined): void {
    entry.row = row;
    entry.isDirty = true;
  }
  #key(queue: number, key: string): KeyEntry {
    let keys = this.#keys.get(queue);
    if (keys === undefined) {
      keys = new Map();
      this.#keys.set(queue, keys);
    }
    const cached = keys.get(key);
    if (cached !== undefined) return cached;
    const columns = this.#selectKey.get(queue, key) as [number, number] | undefined;
    const row =
      columns === undefined ? undefined : { queue, key, active: columns[0], waiting: columns[1] };
    const entry = { queue, key, row, isStored: row !== undefined, isDirty: false };
    keys.set(key, entry);
    return entry;
  }
  #flushKeys(): void {
    for (const keys of this.#keys.values()) {
      for (const entry of keys.values()) if (entry.isDirty) this.#writeKey(entry);
    }
  }
  #writeKey(entry: KeyEntry): void {
    const { queue, key, row, isStored } = entry;
    if (row !== undefined) {
      if (isStored) this.#updateKey.run(row.active, row.waiting, queue, key);
      else this.#insertKey.run(queue, key, row.active, row.waiting);
    } else if (isStored) this.#deleteKey.run(queue, key);
    entry.isStored = row !== undefined;
    entry.isDirty = false;
  }
}
