/**
 * Export and import of a partition, page by page, and its seal. Pages name things in a fixed order;
 * a page can be repeated.
 *
 * An import is under way from its first page until the partition draws a revision of its own or is
 * unsealed. It is noted in a row among the sessions, with the span by which all its instants are
 * moved: the two stores' clocks may differ, and every page must move by the same.
 */
import { HoldfastError } from "../../../core/errors.ts";
import { invariant } from "../../../core/invariant.ts";
import { checkInteger, checkOneOf } from "../../../core/options.ts";
import type { ExportPage, ExportRecord, Seal } from "../../../store/driver.ts";
import { holdsRuns } from "./placement.ts";
import { IMPORT_SESSION, viewOf } from "./read.ts";
import { checkNames, checkShapes, refuse, shifted } from "./records.ts";
import type { JobRow, PartitionRow, QueueRow, SessionRow, Tables, WaitingState } from "./tables.ts";

const SECTIONS = ["partition", "kv", "queue", "mark", "job", "run"] as const;

/** Where the next page begins: a section, the queue in it, and the last thing given. */
interface Cursor {
  readonly section: (typeof SECTIONS)[number];
  readonly queue: number;
  readonly after: string | number | MarkPlace | RunPlace | null;
}
type MarkPlace = { readonly kind: string; readonly name: string };
/** Within a run: the last record and the last event given. */
type RunPlace = { readonly seq: number; readonly record: number; readonly event: number };

const START: Cursor = { section: "partition", queue: 0, after: null };

export function exportPage(
  tables: Tables,
  name: string,
  text: string | null,
  limit: number,
  nowMs: number,
): ExportPage {
  const cursor = text === null ? START : parseCursor(text);
  const partition = tables.partitionByName(name);
  if (partition === undefined) {
    if (text === null) return { records: [], cursor: null };
    throw unknownCursor(text);
  }
  const queues = tables.queues(partition.no);
  // A page's cursor names a queue that is there: they are never removed.
  const isForged = cursor.queue !== 0 && queues.every((row) => row.no !== cursor.queue);
  if (isForged) throw unknownCursor(text as string);
  const page = section(tables, partition, queues, cursor, limit, nowMs);
  return {
    records: page.records,
    cursor: page.next === null ? null : JSON.stringify(page.next),
  };
}

function parseCursor(text: string): Cursor {
  try {
    const cursor = JSON.parse(text) as Cursor;
    checkOneOf("section", cursor.section, SECTIONS);
    const hasQueue = ["mark", "job", "run"].includes(cursor.section);
    checkInteger("queue", cursor.queue, ...(hasQueue ? [1] : [0, 0]));
    if (isPlace(cursor.section, cursor.after)) return cursor;
  } catch {
    // Said below.
  }
  throw unknownCursor(text);
}

/** True for what a page of the section may have given last. */
function isPlace(name: Cursor["section"], after: unknown): boolean {
  if (after === null) return true;
  if (name === "kv") return typeof after === "string";
  if (name === "job") return Number.isSafeInteger(after) && (after as number) > 0;
  if (name === "run") return isRunPlace(after);
  const mark = after as { readonly kind?: unknown; readonly name?: unknown };
  return name === "mark" && typeof mark.kind === "string" && typeof mark.name === "string";
}

function isRunPlace(after: unknown): boolean {
  const { seq, record, event } = after as Partial<RunPlace>;
  return [seq, record, event].every((no) => Number.isSafeInteger(no) && (no as number) >= 0);
}

function unknownCursor(text: string): HoldfastError {
  const message = `Expected an export cursor given by the page before, got ${text.slice(0, 40)}`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
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
  if (cursor.section === "mark") return marks(tables, queues, cursor, limit);
  if (cursor.section === "job") return jobs(tables, queues, cursor, limit);
  return runs(tables, queues, cursor, limit);
}

const AFTER = { mark: "job", job: "run", run: null } as const;

function nextQueue(
  queues: readonly QueueRow[],
  name: keyof typeof AFTER,
  after: number,
): Cursor | null {
  const queue = queues.find((row) => row.no > after && (name !== "run" || holdsRuns(row)));
  if (queue !== undefined) return { section: name, queue: queue.no, after: null };
  const next = AFTER[name];
  return next === null ? null : nextQueue(queues, next, 0);
}

function headOf(partition: PartitionRow, clockMs: number): ExportRecord {
  const { revision, nextSeq } = partition;
  return { record: "partition", revision, nextSeq, clockMs };
}

function sessionsOf(tables: Tables, partition: number): ExportRecord[] {
  const rows = tables.sessions(partition).filter((row) => row.id !== IMPORT_SESSION);
  return rows.map(({ id, label, ttlMs, untilMs, isEnded }) => {
    return { record: "session", session: id, label, ttlMs, untilMs, isEnded };
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
  const records = rows.map((row): ExportRecord => {
    const { kind, name, value, id, writer = null, expiresMs } = row;
    return { record: "mark", queue: queue.name, kind, name, value, id, writer, expiresMs };
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
  const { at, holdsKey, hasStarted = false, isReplaced = false, isSuspended = false, trace } = job;
  const more = { at, holdsKey, hasStarted, isReplaced, isSuspended };
  return { record: "job", queue: name, view, ...more, expiresMs, trace };
}

/** Journals and events, run by run; a page may end within one. */
function runs(tables: Tables, queues: readonly QueueRow[], cursor: Cursor, limit: number): Section {
  const queue = queues.find((row) => row.no === cursor.queue);
  if (queue === undefined) return { records: [], next: nextQueue(queues, "run", cursor.queue) };
  const records: ExportRecord[] = [];
  let place = cursor.after as RunPlace | null;
  for (;;) {
    if (place !== null) {
      place = ofRun(tables, queue, place, limit, records);
      if (records.length >= limit) {
        return { records, next: { section: "run", queue: queue.no, after: place } };
      }
    }
    const job = tables.jobRange(queue.no, place?.seq ?? null, 1)[0];
    if (job === undefined) return { records, next: nextQueue(queues, "run", queue.no) };
    place = { seq: job.seq, record: 0, event: 0 };
  }
}

/** Adds what follows in the run, up to the limit; gives where that ends. */
function ofRun(
  tables: Tables,
  { no: queueNo, name: queue }: QueueRow,
  { seq, record, event }: RunPlace,
  limit: number,
  records: ExportRecord[],
): RunPlace {
  let place = { seq, record, event };
  for (const row of tables.records(queueNo, seq, record, limit - records.length)) {
    const { no, key, data, atMs, dueMs } = row;
    records.push({ record: "run-record", queue, seq, no, key, data, atMs, dueMs });
    place = { ...place, record: no };
  }
  for (const row of tables.events(queueNo, seq, event, limit - records.length)) {
    const { no, event: name, data, id, atMs } = row;
    records.push({ record: "run-event", queue, seq, no, event: name, data, id, atMs });
    place = { ...place, event: no };
  }
  return place;
}

// ---------------------------------------------------------------- import

/** An import that stands still for longer than this must begin anew, in a new partition. */
const IMPORT_MS = 7 * 86_400_000;

/**
 * Writes a page: all of it, or nothing where it is refused.
 *
 * Errors: `ALREADY_EXISTS` if the partition is in use, `INVALID_DATA` if the page is none.
 */
export function importPage(
  tables: Tables,
  name: string,
  given: readonly ExportRecord[],
  nowMs: number,
): void {
  const records = checkShapes(given);
  if (records.length === 0) return;
  const existing = tables.partitionByName(name);
  const begun = existing === undefined ? undefined : importOf(tables, existing);
  const head = records[0]?.record === "partition" ? records[0] : undefined;
  checkTurn(tables, existing, begun, head);
  checkNames(tables, existing, records);
  const partition = existing ?? tables.createPartition(name);
  const shiftMs = begun?.shiftMs ?? (head === undefined ? 0 : nowMs - head.clockMs);
  noteImport(tables, partition, begun?.row, shiftMs, nowMs);
  for (const record of records) importRecord(tables, partition, shifted(record, shiftMs));
  tables.savePartition(partition);
}

/** Refuses a page that does not follow on what is there. */
function checkTurn(
  tables: Tables,
  partition: PartitionRow | undefined,
  begun: Import | undefined,
  head: Extract<ExportRecord, { record: "partition" }> | undefined,
): void {
  if (begun === undefined) {
    if (partition !== undefined && isUsed(tables, partition)) throw inUse(partition);
    if (head !== undefined) return;
    throw refuse("an import to begin with the first page of an export", "a later page");
  }
  // Of another partition, or of this one as it was before it was unsealed and worked on.
  const isOther = head !== undefined && head.revision + 1 !== begun.partition.revision;
  if (isOther) throw inUse(begun.partition);
}

function isUsed(tables: Tables, partition: PartitionRow): boolean {
  const { no, revision, nextSeq } = partition;
  if (revision !== 0 || nextSeq !== 1) return true;
  return tables.queues(no).length > 0 || tables.sessions(no).length > 0;
}

function inUse({ name, revision }: PartitionRow): HoldfastError {
  const message = `Expected partition "${name}" to be empty or under this import, found it in use at revision ${revision}: import into a new one`;
  return new HoldfastError("ALREADY_EXISTS", message, { outcome: "not-applied" });
}

interface Import {
  readonly partition: PartitionRow;
  readonly row: SessionRow;
  readonly shiftMs: number;
}

/** The import under way: nothing has drawn a revision since it began. */
function importOf(tables: Tables, partition: PartitionRow): Import | undefined {
  const row = tables.session(partition.no, IMPORT_SESSION);
  if (row === undefined || partition.revision !== partition.journalFloor) return undefined;
  return { partition, row, shiftMs: Number(row.label) };
}

function noteImport(
  tables: Tables,
  partition: PartitionRow,
  row: SessionRow | undefined,
  shiftMs: number,
  nowMs: number,
): void {
  const untilMs = nowMs + IMPORT_MS;
  if (row === undefined) {
    const id = IMPORT_SESSION;
    const ended = { ttlMs: IMPORT_MS, untilMs, isEnded: false } as const;
    tables.createSession({ partition: partition.no, id, label: String(shiftMs), ...ended });
  } else {
    row.untilMs = untilMs;
    tables.saveSession(row);
  }
}

/**
 * Writes what is not there yet. What is came by the same page before, or was changed by who has the
 * partition now.
 */
function importRecord(tables: Tables, partition: PartitionRow, record: ExportRecord): void {
  const { no } = partition;
  switch (record.record) {
    case "partition":
      // Above the source's, so that every token and revision given out there is older than any
      // given out here.
      partition.revision = record.revision + 1;
      partition.journalFloor = partition.revision;
      partition.nextSeq = Math.max(partition.nextSeq, record.nextSeq);
      return;
    case "session": {
      const { session: id, label, ttlMs, untilMs, isEnded } = record;
      if (tables.session(no, id) !== undefined) return;
      tables.createSession({ partition: no, id, label, ttlMs, untilMs, isEnded });
      return;
    }
    case "kv": {
      const { key, value, revision, expiresMs, session } = record;
      if (tables.kv(no, key) !== undefined) return;
      tables.saveKv({ partition: no, key, value, revision, expiresMs, session });
      return;
    }
    case "queue": {
      const { queue: name, config, isPaused, rateMs } = record;
      if (tables.queueByName(no, name) !== undefined) return;
      const queue = tables.createQueue(no, name, config);
      tables.saveQueue(Object.assign(queue, { isPaused, rateMs }));
      return;
    }
    case "mark": {
      const { kind, name, value, id, writer, expiresMs } = record;
      const queue = queueOf(tables, partition, record.queue);
      if (tables.mark(queue.no, kind, name) !== undefined) return;
      tables.saveMark({ queue: queue.no, kind, name, value, id, writer, expiresMs });
      return;
    }
    case "job":
      return importJob(tables, partition, record);
    case "run-record": {
      const { seq, no, key, data, atMs, dueMs } = record;
      const { no: queue } = queueOf(tables, partition, record.queue);
      if (no <= tables.lastRecord(queue, seq)) return;
      return tables.insertRecord({ queue, seq, no, key, data, atMs, dueMs });
    }
    case "run-event": {
      const { seq, no, event, data, id, atMs } = record;
      const { no: queue } = queueOf(tables, partition, record.queue);
      if (no <= tables.lastEvent(queue, seq)) return;
      return tables.insertEvent({ queue, seq, no, event, data, id, atMs });
    }
  }
}

function queueOf(tables: Tables, partition: PartitionRow, name: string): QueueRow {
  const queue = tables.queueByName(partition.no, name);
  invariant(queue !== undefined, "a checked record's queue exists", { queue: name });
  return queue;
}

function importJob(
  tables: Tables,
  partition: PartitionRow,
  record: Extract<ExportRecord, { record: "job" }>,
): void {
  const queue = queueOf(tables, partition, record.queue);
  const { view, at, holdsKey, hasStarted, isReplaced, isSuspended, trace, expiresMs } = record;
  const { seq, id, key, priority, payload, attempts, lost, createdMs, error, progress } = view;
  const attributes = JSON.stringify(view.attributes);
  if (tables.job(queue.no, seq) !== undefined) return;
  const state: WaitingState =
    view.state === "scheduled" || view.state === "blocked" ? view.state : "ready";
  const job: JobRow = {
    ...{ seq, queue: queue.no, id, key, priority, payload, attempts, lost, createdMs },
    ...{ state, at, holdsKey, hasStarted, isReplaced, isSuspended, error, trace },
    ...{ attributes: attributes === "{}" ? null : attributes, progress },
  };
  tables.insertJob(job);
  queue.counts[view.state]++;
  tables.saveQueue(queue);
  placeImported(tables, partition, queue, job, record);
  if (view.state === "completed" || view.state === "cancelled" || view.state === "dead") {
    const ended = { finishedMs: view.finishedMs as number, expiresMs: expiresMs as number };
    const { result } = view;
    tables.insertFinished({ queue: queue.no, seq, state: view.state, ...ended, result });
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
    invariant(session !== undefined, "a checked lease's session exists", {
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

export function sealPartition(tables: Tables, name: string, seal: Seal): void {
  const partition = tables.partitionByName(name) ?? tables.createPartition(name);
  partition.isSealed = seal.isSealed;
  partition.movedTo = seal.movedTo;
  const begun = tables.session(partition.no, IMPORT_SESSION);
  // Opened for work: a page that comes late is of no import under way any more.
  if (!seal.isSealed && begun !== undefined) tables.deleteSession(begun);
  tables.savePartition(partition);
}
