/**
 * The reads of the embedded engines: each sees one state of the tables, and nothing whose time is
 * up.
 */
import { parseAttributes, type Attributes } from "../../../core/attributes.ts";
import { LIMITS } from "../../../core/limits.ts";
import { invariant } from "../../../core/invariant.ts";
import type {
  JobFilter,
  KvChange,
  KvChanges,
  KvPage,
  ListJobs,
  ListKv,
  JobPage,
  QueueChanges,
  Read,
  ReadQueueChanges,
  ReadQueues,
  ReadResult,
} from "../../../store/driver.ts";
import type { JobState, JobView, QueueView, SessionView } from "../../../store/ops.ts";
import { entryOf, isLive, liveKv } from "./kv-ops.ts";
import { overRow } from "./placement.ts";
import { runPage } from "./run-ops.ts";
import { NEVER_MS } from "./tables.ts";
import type { FinishedState, JobRow, JournalEntry, LeaseRow, QueueRow, Tables } from "./tables.ts";

/**
 * The row that notes an import under way (`transfer.ts`), in the table of sessions: no client's
 * session, and shown to none.
 */
export const IMPORT_SESSION = "$import";

/** Journal rows that one read of changes looks at. */
const JOURNAL_ROWS = 512;

export function runRead(tables: Tables, read: Read, nowMs: number): ReadResult {
  if (read.read === "store.info") {
    const partitions = tables.partitions().map(({ name, revision, isSealed, movedTo }) => {
      return { partition: name, revision, isSealed, movedTo };
    });
    return { clockMs: nowMs, partitions };
  }
  const partition = tables.partitionByName(read.partition)?.no ?? 0;
  switch (read.read) {
    case "kv.get":
      return read.keys.map((key) => {
        const row = liveKv(tables, partition, key, nowMs);
        return row === undefined ? null : entryOf(row);
      });
    case "kv.list":
      return listKv(tables, partition, read, nowMs);
    case "queue.get": {
      const queue = tables.queueByName(partition, read.queue);
      return read.ids.map((id) => {
        const job = queue === undefined ? undefined : tables.jobById(queue.no, id);
        if (job === undefined || overRow(tables, job, nowMs) !== undefined) return null;
        return viewOf(tables, queue as QueueRow, job);
      });
    }
    case "queue.list":
      return listJobs(tables, partition, read, nowMs);
    case "queue.stats":
      return stats(tables, partition, read, nowMs);
    case "queue.changes":
      return queueChanges(tables, partition, read, nowMs);
    case "runs.journal":
      return runPage(tables, partition, read, nowMs);
    case "session.list":
      return sessions(tables, partition, nowMs);
  }
}

function listKv(tables: Tables, partition: number, read: ListKv, nowMs: number): KvPage {
  const rows: KvPage["entries"][number][] = [];
  let { after } = read;
  for (;;) {
    const range = tables.kvRange(partition, read.prefix, after, read.limit + 1);
    for (const row of range) {
      after = row.key;
      if (!isLive(tables, row, nowMs)) continue;
      rows.push(entryOf(row));
      if (rows.length > read.limit) break;
    }
    if (rows.length > read.limit || range.length <= read.limit) break;
  }
  const hasMore = rows.length > read.limit;
  const revision = partition === 0 ? 0 : tables.partitionByNo(partition).revision;
  return { entries: hasMore ? rows.slice(0, read.limit) : rows, revision, hasMore };
}

/** The job as it stands: a finished row or a lease overrides the body's own state. */
export function viewOf(tables: Tables, queue: QueueRow, job: JobRow): JobView {
  const finished = tables.finished(queue.no, job.seq);
  const lease = finished === undefined ? tables.leaseOfJob(queue.no, job.seq) : undefined;
  const state: JobState = finished?.state ?? (lease === undefined ? job.state : "leased");
  return {
    queue: queue.name,
    id: job.id,
    seq: job.seq,
    state,
    payload: job.payload,
    key: job.key,
    priority: job.priority,
    attempts: job.attempts,
    lost: job.lost,
    createdMs: job.createdMs,
    dueMs: state === "scheduled" && job.at < NEVER_MS ? job.at : null,
    ...leaseView(tables, lease),
    progress: finished === undefined ? (lease?.progress ?? job.progress ?? null) : null,
    result: finished?.result ?? null,
    error: job.error,
    finishedMs: finished?.finishedMs ?? null,
    attributes: attributesOf(job),
  };
}

function attributesOf({ attributes }: JobRow): Attributes {
  return attributes === undefined || attributes === null ? NONE : parseAttributes(attributes);
}
const NONE: Attributes = Object.freeze({});

type LeasePart = Pick<JobView, "session" | "token" | "isCancelRequested">;

function leaseView(tables: Tables, lease: LeaseRow | undefined): LeasePart {
  if (lease === undefined) {
    return { session: null, token: null, isCancelRequested: false };
  }
  const session = tables.sessionByNo(lease.session)?.id ?? null;
  const { token, isCancelRequested } = lease;
  return { session, token, isCancelRequested };
}

function listJobs(tables: Tables, partition: number, read: ListJobs, nowMs: number): JobPage {
  const queue = tables.queueByName(partition, read.queue);
  if (queue === undefined) return { jobs: [], hasMore: false, last: null };
  const jobs: JobView[] = [];
  let last = read.after;
  let looked = 0;
  for (;;) {
    const seqs = seqsOf(tables, queue.no, { ...read, after: last }, nowMs);
    for (const seq of seqs.slice(0, read.limit)) {
      if (jobs.length === read.limit) return { jobs, hasMore: true, last };
      const job = tables.job(queue.no, seq);
      invariant(job !== undefined, "a listed job has a body", { seq });
      if (isMeant(job, read.where)) jobs.push(viewOf(tables, queue, job));
      last = seq;
    }
    looked += read.limit;
    const hasMore = seqs.length > read.limit;
    const isFull = jobs.length === read.limit || looked >= LIMITS.lookedAt;
    if (!hasMore || isFull) return { jobs, hasMore, last };
  }
}

function isMeant(job: JobRow, where: JobFilter | undefined): boolean {
  if (where === undefined) return true;
  const { attributes, fromMs, beforeMs, idPrefix } = where;
  if (fromMs !== null && job.createdMs < fromMs) return false;
  if (beforeMs !== null && job.createdMs >= beforeMs) return false;
  if (!job.id.startsWith(idPrefix)) return false;
  const wanted = Object.entries(attributes);
  if (wanted.length === 0) return true;
  const has = attributesOf(job);
  return wanted.every(([name, text]) => Object.hasOwn(has, name) && has[name] === text);
}

/** One more than the page takes, if there are so many. */
function seqsOf(tables: Tables, queue: number, read: ListJobs, nowMs: number): number[] {
  const { state, after } = read;
  const limit = read.limit + 1;
  if (state === "leased") return tables.leaseRange(queue, after, limit).map((row) => row.seq);
  if (state === "ready" || state === "scheduled" || state === "blocked") {
    return tables.waitingRange(queue, state, after, limit);
  }
  return finishedSeqs(tables, queue, { ...read, state, limit }, nowMs);
}

function finishedSeqs(
  tables: Tables,
  queue: number,
  read: ListJobs & { readonly state: FinishedState },
  nowMs: number,
): number[] {
  const seqs: number[] = [];
  let { after, limit: rows } = read;
  for (;;) {
    const range = tables.finishedRange(queue, read.state, after, rows);
    for (const { seq, expiresMs } of range) {
      after = seq;
      if (expiresMs > nowMs) seqs.push(seq);
      if (seqs.length >= read.limit) return seqs;
    }
    if (range.length < rows) return seqs;
    // A store that was idle may keep many whose time is up: small steps through them would be slow.
    rows = Math.min(2 * rows, LIMITS.pageRows + 1);
  }
}

function stats(tables: Tables, partition: number, read: ReadQueues, nowMs: number): QueueView[] {
  const rows =
    read.queues === null
      ? tables.queues(partition)
      : read.queues.flatMap((name) => tables.queueByName(partition, name) ?? []);
  const over = tables.finishedOver(nowMs);
  return rows.map((queue) => {
    const first = tables.firstReady(queue.no);
    const job = first === undefined ? undefined : tables.job(queue.no, first.seq);
    const { name, isPaused, config } = queue;
    const sinceMs = job === undefined ? null : job.at + job.priority * config.ageMs;
    const oldestReadyMs = sinceMs === null ? null : Math.max(0, nowMs - sinceMs);
    const counts = { ...queue.counts };
    for (const { queue: no, state, count } of over) if (no === queue.no) counts[state] -= count;
    return { queue: name, counts, isPaused, config, oldestReadyMs };
  });
}

function sessions(tables: Tables, partition: number, nowMs: number): SessionView[] {
  const views: SessionView[] = [];
  for (const row of tables.sessions(partition)) {
    if (row.isEnded || row.untilMs <= nowMs || row.id === IMPORT_SESSION) continue;
    const { id: session, label, ttlMs, untilMs, no } = row;
    views.push({ session, label, ttlMs, leftMs: untilMs - nowMs, leases: tables.leaseCount(no) });
  }
  return views;
}

/**
 * What a cursor of a partition that is not there gives: one above 0 is of a store that was lost.
 */
function lost(cursor: number): { readonly cursor: 0; readonly isResync: boolean } {
  return { cursor: 0, isResync: cursor > 0 };
}

function queueChanges(
  tables: Tables,
  partition: number,
  read: ReadQueueChanges,
  nowMs: number,
): QueueChanges {
  if (partition === 0) return { changes: [], ...lost(read.cursor) };
  const { revision, journalFloor } = tables.partitionByNo(partition);
  if (read.cursor < journalFloor || read.cursor > revision) {
    return { changes: [], cursor: revision, isResync: true };
  }
  const rows = tables.journal(partition, read.cursor, JOURNAL_ROWS);
  if (rows.length === 0) return { changes: [], cursor: revision, isResync: false };
  const queue = tables.queueByName(partition, read.queue)?.no ?? 0;
  const { last, cursor } = lastStates(rows, queue, read);
  const changes = [...last].flatMap(([seq, { state, revision: at }]) => {
    const job = tables.job(queue, seq);
    if (job === undefined || overRow(tables, job, nowMs) !== undefined) return [];
    return [{ id: job.id, seq, state, revision: at }];
  });
  return { changes, cursor, isResync: false };
}

interface LastStates {
  readonly last: ReadonlyMap<number, { readonly state: JobState; readonly revision: number }>;
  readonly cursor: number;
}

/**
 * The last state of each job that the rows tell of, by revision. A page ends with the revision that
 * fills it: a commit is one row and may hold thousands, and a cursor within a revision could not be
 * told.
 */
function lastStates(
  rows: readonly (readonly JournalEntry[])[],
  queue: number,
  read: ReadQueueChanges,
): LastStates {
  const last = new Map<number, { state: JobState; revision: number }>();
  let { cursor } = read;
  for (const entries of rows) {
    for (const entry of entries) {
      if (entry[0] <= read.cursor) continue;
      if (entry[0] > cursor && last.size >= read.limit) return { last, cursor };
      cursor = entry[0];
      if (entry[1] !== "q" || entry[2] !== queue) continue;
      last.delete(entry[3]);
      last.set(entry[3], { state: entry[4] as JobState, revision: entry[0] });
    }
  }
  return { last, cursor };
}

/**
 * The changes of keys with the prefix after the cursor, each with its last value; null: the cursor
 * of now.
 */
export function readKvChanges(
  tables: Tables,
  name: string,
  prefix: string,
  cursor: number | null,
  nowMs: number,
): KvChanges {
  const partition = tables.partitionByName(name);
  if (partition === undefined) return { changes: [], ...lost(cursor ?? 0) };
  const { no, revision, journalFloor } = partition;
  if (cursor === null) return { changes: [], cursor: revision, isResync: false };
  if (cursor < journalFloor || cursor > revision) {
    return { changes: [], cursor: revision, isResync: true };
  }
  const last = new Map<string, number>();
  let next = cursor;
  const rows = tables.journal(no, cursor, JOURNAL_ROWS);
  for (const entries of rows) {
    for (const entry of entries) {
      next = Math.max(next, entry[0]);
      if (entry[1] !== "k" || entry[0] <= cursor || !entry[2].startsWith(prefix)) continue;
      last.delete(entry[2]);
      last.set(entry[2], entry[0]);
    }
    if (last.size >= LIMITS.pageRows) break;
  }
  const changes = [...last].map(([key, at]): KvChange => {
    const row = liveKv(tables, no, key, nowMs);
    return { key, value: row?.value ?? null, revision: Math.max(at, row?.revision ?? 0) };
  });
  return { changes, cursor: rows.length === 0 ? revision : next, isResync: false };
}
