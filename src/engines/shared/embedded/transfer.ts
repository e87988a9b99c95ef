/**
 * Export and import of a partition, page by page, and its seal. Pages name things in a fixed order;
 * a page can be repeated.
 */
import { HoldfastError } from "../../../core/errors.ts";
import { invariant } from "../../../core/invariant.ts";
import type { ExportPage, ExportRecord } from "../../../store/driver.ts";
import { viewOf } from "./read.ts";
import type {
  FinishedState,
  JobRow,
  PartitionRow,
  QueueRow,
  Tables,
  WaitingState,
} from "./tables.ts";

/** Where the next page begins: a section, the queue in it, and the last thing given. */
interface Cursor {
  readonly section: "partition" | "kv" | "queue" | "mark" | "job";
  readonly queue: number;
  readonly after: string | number | { readonly kind: string; readonly name: string } | null;
}

const START: Cursor = { section: "partition", queue: 0, after: null };

export function exportPage(
  tables: Tables,
  name: string,
  text: string | null,
  limit: number,
  nowMs: number,
): ExportPage {
  const partition = tables.partitionByName(name);
  if (partition === undefined) return { records: [], cursor: null };
  const cursor = text === null ? START : parseCursor(text);
  const queues = tables.queues(partition.no);
  const page = section(tables, partition, queues, cursor, limit, nowMs);
  return {
    records: page.records,
    cursor: page.next === null ? null : JSON.stringify(page.next),
  };
}

function parseCursor(text: string): Cursor {
  try {
    const cursor = JSON.parse(text) as Cursor;
    if (typeof cursor.section === "string") return cursor;
  } catch {
    // Said below.
  }
  const message = `Expected an export cursor given by the page before, got ${text.slice(0, 40)}`;
  throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
}

interface Section {
  readonly records: readonly ExportRecord[];
  readonly next: Cursor | null;
}

function section(
  tables: Tables,
  partition: PartitionRow,
  queues: readonly QueueRow[],
  cursor: Cursor,
  limit: number,
  nowMs: number,
): Section {
  const { no } = partition;
  if (cursor.section === "partition") {
    return {
      records: [headOf(partition, nowMs), ...sessionsOf(tables, no)],
      next: { section: "queue", queue: 0, after: null },
    };
  }
  if (cursor.section === "queue") {
    const records = queues.map(queueRecord);
    return { records, next: { section: "kv", queue: 0, after: null } };
  }
  if (cursor.section === "kv") {
    const rows = tables.kvRange(no, "", cursor.after as string | null, limit);
    const records = rows.map(({ key, value, revision, expiresMs, session }): ExportRecord => {
      return { record: "kv", key, value, revision, expiresMs, session };
    });
    const last = rows.at(-1);
    if (last !== undefined && rows.length === limit) {
      return { records, next: { section: "kv", queue: 0, after: last.key } };
    }
    return { records, next: nextQueue(queues, "mark", 0) };
  }
  return cursor.section === "mark"
    ? marks(tables, queues, cursor, limit)
    : jobs(tables, queues, cursor, limit);
}

function nextQueue(
  queues: readonly QueueRow[],
  name: "mark" | "job",
  after: number,
): Cursor | null {
  const queue = queues.find((row) => row.no > after);
  if (queue !== undefined) return { section: name, queue: queue.no, after: null };
  return name === "mark" ? nextQueue(queues, "job", 0) : null;
}

function headOf(partition: PartitionRow, clockMs: number): ExportRecord {
  const { revision, nextSeq } = partition;
  return { record: "partition", revision, nextSeq, clockMs };
}

function sessionsOf(tables: Tables, partition: number): ExportRecord[] {
  return tables.sessions(partition).map(({ id, label, ttlMs, untilMs }) => {
    return { record: "session", session: id, label, ttlMs, untilMs };
  });
}

function queueRecord({ name, config, isPaused, rateMs }: QueueRow): ExportRecord {
  return { record: "queue", queue: name, config, isPaused, rateMs };
}

function marks(
  tables: Tables,
  queues: readonly QueueRow[],
  cursor: Cursor,
  limit: number,
): Section {
  const queue = queues.find((row) => row.no === cursor.queue);
  if (queue === undefined) return { records: [], next: nextQueue(queues, "mark", cursor.queue) };
  const after = cursor.after as { kind: string; name: string } | null;
  const rows = tables.markRange(queue.no, after, limit);
  const records = rows.map(({ kind, name, value, id, expiresMs }): ExportRecord => {
    return { record: "mark", queue: queue.name, kind, name, value, id, expiresMs };
  });
  const last = rows.at(-1);
  if (last !== undefined && rows.length === limit) {
    const { kind, name } = last;
    return { records, next: { section: "mark", queue: queue.no, after: { kind, name } } };
  }
  return { records, next: nextQueue(queues, "mark", queue.no) };
}

function jobs(tables: Tables, queues: readonly QueueRow[], cursor: Cursor, limit: number): Section {
  const queue = queues.find((row) => row.no === cursor.queue);
  if (queue === undefined) return { records: [], next: nextQueue(queues, "job", cursor.queue) };
  const rows = tables.jobRange(queue.no, cursor.after as number | null, limit);
  const records = rows.map((job) => jobRecord(tables, queue, job));
  const last = rows.at(-1);
  if (last !== undefined && rows.length === limit) {
    return { records, next: { section: "job", queue: queue.no, after: last.seq } };
  }
  return { records, next: nextQueue(queues, "job", queue.no) };
}

function jobRecord(tables: Tables, queue: QueueRow, job: JobRow): ExportRecord {
  const { queue: name, ...view } = viewOf(tables, queue, job);
  const expiresMs = tables.finished(queue.no, job.seq)?.expiresMs ?? null;
  const { at, holdsKey, trace } = job;
  return { record: "job", queue: name, view, at, holdsKey, expiresMs, trace };
}

/**
 * Writes a page. The first record of the first page is the partition's head, and the partition must
 * be empty then.
 */
export function importPage(tables: Tables, name: string, records: readonly ExportRecord[]): void {
  const partition = tables.partitionByName(name) ?? tables.createPartition(name);
  for (const record of records) importRecord(tables, partition, record);
  tables.savePartition(partition);
}

function importRecord(tables: Tables, partition: PartitionRow, record: ExportRecord): void {
  switch (record.record) {
    case "partition":
      return importHead(partition, record);
    case "session":
      return importSession(tables, partition, record);
    case "kv": {
      const { key, value, revision, expiresMs, session } = record;
      tables.saveKv({ partition: partition.no, key, value, revision, expiresMs, session });
      return;
    }
    case "queue": {
      const { queue: name, config, isPaused, rateMs } = record;
      const queue =
        tables.queueByName(partition.no, name) ?? tables.createQueue(partition.no, name, config);
      Object.assign(queue, { config, isPaused, rateMs });
      tables.saveQueue(queue);
      return;
    }
    case "mark": {
      const { kind, name, value, id, expiresMs } = record;
      const queue = queueOf(tables, partition, record.queue);
      tables.saveMark({ queue: queue.no, kind, name, value, id, expiresMs });
      return;
    }
    case "job":
      return importJob(tables, partition, record);
  }
}

function importHead(
  partition: PartitionRow,
  head: Extract<ExportRecord, { record: "partition" }>,
): void {
  // Above the source's, so that every token and revision given out there is older than any given
  // out here.
  const revision = head.revision + 1;
  if (partition.revision !== 0 && partition.revision !== revision) {
    const message = `Expected partition "${partition.name}" to be empty for an import, found revision ${partition.revision}: import into a new one`;
    throw new HoldfastError("ALREADY_EXISTS", message, { outcome: "not-applied" });
  }
  partition.revision = revision;
  partition.journalFloor = revision;
  partition.nextSeq = Math.max(partition.nextSeq, head.nextSeq);
}

function importSession(
  tables: Tables,
  partition: PartitionRow,
  record: Extract<ExportRecord, { record: "session" }>,
): void {
  const { session: id, label, ttlMs, untilMs } = record;
  if (tables.session(partition.no, id) !== undefined) return;
  tables.createSession({ partition: partition.no, id, label, ttlMs, untilMs, isEnded: false });
}

function queueOf(tables: Tables, partition: PartitionRow, name: string): QueueRow {
  const queue = tables.queueByName(partition.no, name);
  invariant(queue !== undefined, "an imported page names its queues first", { queue: name });
  return queue;
}

function importJob(
  tables: Tables,
  partition: PartitionRow,
  record: Extract<ExportRecord, { record: "job" }>,
): void {
  const queue = queueOf(tables, partition, record.queue);
  const { view, at, holdsKey, trace, expiresMs } = record;
  const { seq, id, key, priority, payload, attempts, lost, createdMs, error } = view;
  if (tables.job(queue.no, seq) !== undefined) return;
  const state: WaitingState =
    view.state === "scheduled" || view.state === "blocked" ? view.state : "ready";
  const job: JobRow = {
    ...{ seq, queue: queue.no, id, key, priority, payload, attempts, lost, createdMs },
    ...{ state, at, holdsKey, error, trace },
  };
  tables.insertJob(job);
  queue.counts[view.state]++;
  tables.saveQueue(queue);
  placeImported(tables, partition, queue, job, record);
  if (view.state === "completed" || view.state === "cancelled" || view.state === "dead") {
    const finished: FinishedState = view.state;
    const finishedMs = view.finishedMs ?? createdMs;
    const { result } = view;
    const expires = expiresMs ?? finishedMs;
    tables.insertFinished({
      queue: queue.no,
      seq,
      state: finished,
      finishedMs,
      expiresMs: expires,
      result,
    });
  }
}

/** Puts the job into its structure and counts it under its key. */
function placeImported(
  tables: Tables,
  partition: PartitionRow,
  queue: QueueRow,
  job: JobRow,
  record: Extract<ExportRecord, { record: "job" }>,
): void {
  const { view } = record;
  if (view.state === "ready") tables.putReady(queue.no, job.at, job.seq);
  if (view.state === "scheduled") tables.putScheduled(queue.no, job.at, job.seq);
  if (view.state === "blocked") tables.putBlocked(queue.no, job.key as string, job.seq);
  if (view.state === "leased") {
    const session = tables.session(partition.no, view.session as string);
    invariant(session !== undefined, "an imported lease's session came before it", {
      seq: job.seq,
    });
    tables.insertLease({
      ...{ session: session.no, seq: job.seq, queue: queue.no, token: view.token as number },
      ...{ isCancelRequested: view.isCancelRequested, progress: view.progress },
    });
  }
  if (job.key === null) return;
  const isActive =
    view.state === "ready" ||
    view.state === "leased" ||
    (view.state === "scheduled" && job.holdsKey);
  if (!isActive && view.state !== "blocked") return;
  const row = tables.keyRow(queue.no, job.key) ?? {
    queue: queue.no,
    key: job.key,
    active: 0,
    waiting: 0,
  };
  if (isActive) row.active++;
  else row.waiting++;
  tables.saveKey(row);
}

export function sealPartition(
  tables: Tables,
  name: string,
  seal: { readonly isSealed: boolean; readonly movedTo: string | null },
): void {
  const partition = tables.partitionByName(name) ?? tables.createPartition(name);
  partition.isSealed = seal.isSealed;
  partition.movedTo = seal.movedTo;
  tables.savePartition(partition);
}
