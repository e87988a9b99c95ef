/**
 * What an import takes: records of the shape that an export gives, whose names and numbers fit each
 * other and what is there. All of a page is judged here, by reads alone, before any of it is
 * written.
 */
import { checkAttributes } from "../../../core/attributes.ts";
import { checkStorable } from "../../../core/codec.ts";
import { HoldfastError } from "../../../core/errors.ts";
import { LIMITS } from "../../../core/limits.ts";
import {
  checkBoolean,
  checkInteger,
  checkName,
  checkOneOf,
  checkText,
  expected,
} from "../../../core/options.ts";
import { configure } from "../../../ports/queue/ops.ts";
import type { ExportRecord } from "../../../store/driver.ts";
import { JOB_STATES, RUN_QUEUE } from "../../../store/ops.ts";
import { IMPORT_SESSION } from "./read.ts";
import { NEVER_MS } from "./tables.ts";
import type { JobRow, PartitionRow, Tables } from "./tables.ts";

type Head = Extract<ExportRecord, { record: "partition" }>;
type Job = Extract<ExportRecord, { record: "job" }>;
type Mark = Extract<ExportRecord, { record: "mark" }>;

type OfRun = Extract<ExportRecord, { record: "run-record" | "run-event" }>;

const KINDS = [
  "partition",
  "session",
  "queue",
  "kv",
  "mark",
  "job",
  "run-record",
  "run-event",
] as const;

/** What was expected of a page, and what was got. */
export function refuse(what: string, got: string, cause?: unknown): HoldfastError {
  const message = `Expected ${what}, got ${got}: import the pages that an export gave, in their order`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
}

/** The records, if each has its kind's shape. */
export function checkShapes(given: unknown): readonly ExportRecord[] {
  if (!Array.isArray(given)) throw refuse("a page to be an array of records", typeof given);
  return judged(given as readonly unknown[], checkShape) as readonly ExportRecord[];
}

/** Refuses a page whose names and numbers do not fit each other, or what is there. */
export function checkNames(
  tables: Tables,
  partition: PartitionRow | undefined,
  records: readonly ExportRecord[],
): void {
  const page = new Page(tables, partition);
  judged(records, (record) => page.add(record));
}

function judged<T>(records: readonly T[], judge: (record: T, index: number) => void): readonly T[] {
  for (const [index, record] of records.entries()) {
    try {
      judge(record, index);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      throw refuse(`record ${index} of a page to be sound`, `this: ${error.message}`, error);
    }
  }
  return records;
}

// ---------------------------------------------------------------- shape

function checkShape(given: unknown, index: number): void {
  const record = checkObject("record", given) as unknown as ExportRecord;
  checkOneOf("record.record", record.record, KINDS);
  switch (record.record) {
    case "partition":
      if (index > 0) throw new RangeError(expected("record", "the first of its page", record));
      checkInteger("revision", record.revision, 0, Number.MAX_SAFE_INTEGER - 1);
      checkInteger("nextSeq", record.nextSeq, 1);
      return checkInstant("clockMs", record.clockMs);
    case "session":
      checkName("session", record.session);
      checkString("label", record.label);
      checkInteger("ttlMs", record.ttlMs, 1);
      checkInstant("untilMs", record.untilMs);
      return void checkBoolean("isEnded", record.isEnded);
    case "queue":
      checkText("queue", record.queue, LIMITS.nameChars);
      configure(record.queue, checkObject("config", record.config));
      checkBoolean("isPaused", record.isPaused);
      return checkFinite("rateMs", record.rateMs);
    case "kv":
      checkText("key", record.key, LIMITS.keyBytes);
      checkData("value", record.value);
      checkInteger("revision", record.revision, 1);
      orNull("expiresMs", record.expiresMs, checkInstant);
      return orNull("session", record.session, checkName);
    case "mark":
      return checkMark(record);
    case "job":
      return checkJob(record);
    case "run-record":
    case "run-event":
      return checkOfRun(record);
  }
}

function checkOfRun(record: OfRun): void {
  checkText("queue", record.queue, LIMITS.nameChars);
  checkInteger("seq", record.seq, 1);
  checkInteger("no", record.no, 1);
  checkInstant("atMs", record.atMs);
  checkData("data", record.data);
  if (record.record === "run-record") {
    checkText("key", record.key, LIMITS.recordKeyChars);
    orNull("dueMs", record.dueMs, checkInstant);
  } else {
    checkText("event", record.event, LIMITS.nameChars);
    orNull("id", record.id, (name, value) => checkText(name, value, LIMITS.idChars));
  }
}

function checkMark(record: Mark): void {
  checkText("queue", record.queue, LIMITS.nameChars);
  checkOneOf("kind", record.kind, ["dedupe", "rate"]);
  checkText("name", record.name, LIMITS.idChars);
  checkFinite("value", record.value);
  if (record.kind === "dedupe") checkInteger("value", record.value, 1);
  if (record.kind === "dedupe") checkText("id", record.id, LIMITS.idChars);
  orNull("writer", record.writer, (name, value) => checkText(name, value, LIMITS.idChars));
  checkInstant("expiresMs", record.expiresMs);
}

function checkJob(record: Job): void {
  checkText("queue", record.queue, LIMITS.nameChars);
  const view = checkObject("view", record.view) as unknown as Job["view"];
  checkInteger("view.seq", view.seq, 1);
  checkText("view.id", view.id, LIMITS.idChars);
  checkOneOf("view.state", view.state, JOB_STATES);
  checkData("view.payload", view.payload);
  orNull("view.key", view.key, (name, value) => checkText(name, value, LIMITS.idChars));
  checkInteger("view.priority", view.priority, 0, LIMITS.priorityMax);
  checkInteger("view.attempts", view.attempts);
  checkInteger("view.lost", view.lost);
  checkInstant("view.createdMs", view.createdMs);
  checkBoolean("view.isCancelRequested", view.isCancelRequested);
  orNull("view.progress", view.progress, checkData);
  orNull("view.result", view.result, checkData);
  orNull("view.error", view.error, checkString);
  checkAttributes("view.attributes", view.attributes);
  orNull("trace", record.trace, checkString);
  checkInteger("at", record.at, -NEVER_MS, NEVER_MS);
  checkBoolean("holdsKey", record.holdsKey);
  checkBoolean("hasStarted", record.hasStarted);
  checkBoolean("isReplaced", record.isReplaced);
  checkBoolean("isSuspended", record.isSuspended);
  checkPlace(record);
}

/** What a job has because of its state. */
function checkPlace({ view, expiresMs }: Job): void {
  if (view.state === "blocked") checkText("view.key", view.key, LIMITS.idChars);
  if (view.state === "leased") {
    checkName("view.session", view.session);
    checkInteger("view.token", view.token, 1);
  }
  if (view.state === "completed" || view.state === "cancelled" || view.state === "dead") {
    checkInstant("view.finishedMs", view.finishedMs);
    checkInstant("expiresMs", expiresMs);
  }
}

function checkObject(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new TypeError(expected(name, "an object", value));
}
function checkInstant(name: string, value: unknown): void {
  checkInteger(name, value, 0, NEVER_MS);
}
function checkFinite(name: string, value: unknown): void {
  if (Number.isFinite(value) && (value as number) >= 0) return;
  throw new TypeError(expected(name, "a number of at least 0", value));
}
function checkString(name: string, value: unknown): void {
  if (typeof value !== "string") throw new TypeError(expected(name, "a string", value));
  checkStorable(name, value);
}
function checkData(name: string, value: unknown): void {
  if (typeof value !== "string" && !(value instanceof Uint8Array)) {
    throw new TypeError(expected(name, "text or bytes", value));
  }
  checkStorable(name, value);
}
function orNull<T>(name: string, value: T, check: (name: string, value: T) => void): void {
  if (value !== null) check(name, value);
}

// ---------------------------------------------------------------- names and numbers

/** The names that a page may use: those that are there, and those of its own earlier records. */
class Page {
  readonly #tables: Tables;
  readonly #partition: number;
  #revision: number;
  #nextSeq: number;
  readonly #sessions = new Set<string>();
  readonly #queues = new Set<string>();
  /** Ids by number, and numbers by queue and id. */
  readonly #ids = new Map<number, string>();
  readonly #seqs = new Map<string, number>();
  /** The last number of each run's journal and events. */
  readonly #ends = new Map<string, number>();
  /** The numbers of events by their runs and ids. */
  readonly #sendings = new Map<string, number>();

  constructor(tables: Tables, partition: PartitionRow | undefined) {
    this.#tables = tables;
    this.#partition = partition?.no ?? 0;
    this.#revision = partition?.revision ?? 0;
    this.#nextSeq = partition?.nextSeq ?? 1;
  }

  add(record: ExportRecord): void {
    switch (record.record) {
      case "partition":
        return this.#head(record);
      case "session":
        return void this.#sessions.add(record.session);
      case "queue":
        return void this.#queues.add(record.queue);
      case "kv":
        return this.#drawn("revision", record.revision);
      case "mark":
        return this.#queue(record.queue);
      case "job":
        return this.#job(record);
      case "run-record":
      case "run-event":
        return this.#ofRun(record);
    }
  }

  /** Its run is there, and it follows on what is there of it, or repeats that. */
  #ofRun(given: OfRun): void {
    const { record, queue, seq, no } = given;
    if (!queue.startsWith(RUN_QUEUE)) throw new RangeError(expected("queue", "one of runs", queue));
    const queueNo = this.#stored(queue);
    const stored: JobRow | undefined =
      queueNo === undefined ? undefined : this.#tables.job(queueNo, seq);
    const isThere = stored !== undefined || this.#ids.get(seq)?.startsWith(`${queue}\n`) === true;
    if (!isThere) throw new RangeError(expected("seq", "of a job that was named before", seq));
    const place = `${record} ${queue}\n${seq}`;
    const last = this.#ends.get(place) ?? this.#storedEnd(record, queueNo, stored);
    checkInteger("no", no, 1, last + 1);
    this.#ends.set(place, Math.max(last, no));
    if (given.record === "run-event" && given.id !== null) this.#sending(given, given.id, queueNo);
  }
  /** Under one id one event was sent. */
  #sending({ queue, seq, no }: OfRun, id: string, queueNo: number | undefined): void {
    const place = `${queue}\n${seq}\n${id}`;
    const stored = queueNo === undefined ? undefined : this.#tables.eventById(queueNo, seq, id);
    if ((this.#sendings.get(place) ?? stored?.no ?? no) !== no) {
      throw new RangeError(expected("id", "of one event of the run alone", id));
    }
    this.#sendings.set(place, no);
  }
  #storedEnd(record: OfRun["record"], queue: number | undefined, job: JobRow | undefined): number {
    if (queue === undefined || job === undefined) return 0;
    return record === "run-record"
      ? this.#tables.lastRecord(queue, job.seq)
      : this.#tables.lastEvent(queue, job.seq);
  }

  #head({ revision, nextSeq }: Head): void {
    this.#revision = Math.max(this.#revision, revision + 1);
    this.#nextSeq = Math.max(this.#nextSeq, nextSeq);
  }

  /** A revision or token of the source: below the first that is drawn here. */
  #drawn(name: string, value: unknown): void {
    checkInteger(name, value, 1, Math.max(1, this.#revision - 1));
  }

  #queue(name: string): void {
    if (this.#queues.has(name) || this.#stored(name) !== undefined) return;
    throw new RangeError(expected("queue", "one that an earlier record named", name));
  }
  #stored(name: string): number | undefined {
    return this.#tables.queueByName(this.#partition, name)?.no;
  }

  #job({ queue, view }: Job): void {
    this.#queue(queue);
    checkInteger("view.seq", view.seq, 1, Math.max(1, this.#nextSeq - 1));
    this.#unique(queue, view.seq, view.id);
    if (view.state !== "leased") return;
    this.#drawn("view.token", view.token);
    const session = view.session as string;
    const isKnown = this.#sessions.has(session) || this.#isStoredSession(session);
    if (isKnown) return;
    throw new RangeError(expected("view.session", "one that an earlier record named", session));
  }

  #isStoredSession(session: string): boolean {
    if (session === IMPORT_SESSION) return false;
    return this.#tables.session(this.#partition, session) !== undefined;
  }

  /** One job has a number, and one of the queue an id; the same again is a repeat. */
  #unique(queue: string, seq: number, id: string): void {
    const no = this.#stored(queue);
    const place = `${queue}\n${id}`;
    const sameId = no === undefined ? undefined : this.#tables.jobById(no, id)?.seq;
    const sameSeq = no === undefined ? undefined : this.#tables.job(no, seq);
    if ((this.#seqs.get(place) ?? sameId ?? seq) !== seq) {
      throw new RangeError(expected("view.id", "of one job alone", id));
    }
    const other =
      sameSeq === undefined ? undefined : `${sameSeq.queue === no ? queue : ""}\n${sameSeq.id}`;
    if ((this.#ids.get(seq) ?? other ?? place) !== place) {
      throw new RangeError(expected("view.seq", "of one job alone", seq));
    }
    this.#ids.set(seq, place);
    this.#seqs.set(place, seq);
  }
}

// ---------------------------------------------------------------- time

/** The record with its instants moved from the source's clock to the target's. */
export function shifted(record: ExportRecord, byMs: number): ExportRecord {
  const moved = <T extends number | null>(ms: T): T => (ms === null ? ms : ((ms + byMs) as T));
  switch (record.record) {
    case "partition":
      return record;
    case "session":
      return { ...record, untilMs: moved(record.untilMs) };
    case "kv":
      return { ...record, expiresMs: moved(record.expiresMs) };
    case "queue":
      // A rate that was never used has no instant.
      return { ...record, rateMs: record.rateMs === 0 ? 0 : Math.max(0, moved(record.rateMs)) };
    case "mark": {
      const value = record.kind === "rate" ? moved(record.value) : record.value;
      return { ...record, value, expiresMs: moved(record.expiresMs) };
    }
    case "run-record":
      return { ...record, atMs: moved(record.atMs), dueMs: moved(record.dueMs) };
    case "run-event":
      return { ...record, atMs: moved(record.atMs) };
    case "job": {
      const { createdMs, finishedMs } = record.view;
      const view = {
        ...record.view,
        createdMs: moved(createdMs),
        finishedMs: moved(finishedMs),
      };
      const at = record.at === NEVER_MS ? NEVER_MS : moved(record.at);
      return { ...record, view, at, expiresMs: moved(record.expiresMs) };
    }
  }
}
