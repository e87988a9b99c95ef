/** Runs' journals and events: `hf_record` and `hf_event`. Written at once. */
import type { Data } from "../../core/codec.ts";
import type { EventRow, RecordRow } from "../shared/embedded/tables.ts";
import type { Database, Statement } from "./database.ts";
import { jobOf } from "./directory-tables.ts";
import { LeaseTables } from "./lease-tables.ts";

const LAST_RECORD = "SELECT no FROM hf_record WHERE job = ? ORDER BY no DESC LIMIT 1";
const INSERT_RECORD =
  "INSERT INTO hf_record (job, no, at_ms, due_ms, key, data) VALUES (?, ?, ?, ?, ?, ?)";
const RECORDS = `
  SELECT no, at_ms, due_ms, key, data
  FROM hf_record
  WHERE job = ? AND no > ?
  ORDER BY no LIMIT ?+0`;
const DELETE_RECORDS = "DELETE FROM hf_record WHERE job = ?";

const EVENT = "no, at_ms, event, id, data";
const LAST_EVENT = "SELECT no FROM hf_event WHERE job = ? ORDER BY no DESC LIMIT 1";
const EVENT_BY_ID = `SELECT ${EVENT} FROM hf_event WHERE job = ? AND id = ?`;
const INSERT_EVENT = `INSERT INTO hf_event (job, ${EVENT}) VALUES (?, ?, ?, ?, ?, ?)`;
const EVENTS = `SELECT ${EVENT} FROM hf_event WHERE job = ? AND no > ? ORDER BY no LIMIT ?+0`;
const DELETE_EVENTS = "DELETE FROM hf_event WHERE job = ?";

type RecordColumns = [no: number, atMs: number, dueMs: number | null, key: string, data: Data];
type EventColumns = [no: number, atMs: number, event: string, id: string | null, data: Data];

export class RunTables extends LeaseTables {
  readonly #lastRecord: Statement;
  readonly #insertRecord: Statement;
  readonly #records: Statement;
  readonly #deleteRecords: Statement;
  readonly #lastEvent: Statement;
  readonly #eventById: Statement;
  readonly #insertEvent: Statement;
  readonly #events: Statement;
  readonly #deleteEvents: Statement;

  constructor(database: Database) {
    super(database);
    this.#lastRecord = database.prepare(LAST_RECORD).pluck();
    this.#insertRecord = database.prepare(INSERT_RECORD);
    this.#records = database.prepare(RECORDS).raw();
    this.#deleteRecords = database.prepare(DELETE_RECORDS);
    this.#lastEvent = database.prepare(LAST_EVENT).pluck();
    this.#eventById = database.prepare(EVENT_BY_ID).raw();
    this.#insertEvent = database.prepare(INSERT_EVENT);
    this.#events = database.prepare(EVENTS).raw();
    this.#deleteEvents = database.prepare(DELETE_EVENTS);
  }

  lastRecord(queue: number, seq: number): number {
    return (this.#lastRecord.get(this.#job(queue, seq)) as number | undefined) ?? 0;
  }
  insertRecord({ queue, seq, no, atMs, dueMs, key, data }: RecordRow): void {
    this.#insertRecord.run(this.#job(queue, seq), no, atMs, dueMs, key, data);
  }
  records(queue: number, seq: number, after: number, limit: number): RecordRow[] {
    const rows = this.#records.all(this.#job(queue, seq), after, limit) as RecordColumns[];
    return rows.map(([no, atMs, dueMs, key, data]) => {
      return { queue, seq, no, atMs, dueMs, key, data };
    });
  }
  lastEvent(queue: number, seq: number): number {
    return (this.#lastEvent.get(this.#job(queue, seq)) as number | undefined) ?? 0;
  }
  eventById(queue: number, seq: number, id: string): EventRow | undefined {
    const columns = this.#eventById.get(this.#job(queue, seq), id) as EventColumns | undefined;
    return columns === undefined ? undefined : eventOf(queue, seq, columns);
  }
  insertEvent({ queue, seq, no, atMs, event, id, data }: EventRow): void {
    this.#insertEvent.run(this.#job(queue, seq), no, atMs, event, id, data);
  }
  events(queue: number, seq: number, after: number, limit: number): EventRow[] {
    const rows = this.#events.all(this.#job(queue, seq), after, limit) as EventColumns[];
    return rows.map((columns) => eventOf(queue, seq, columns));
  }
  deleteRun(queue: number, seq: number): void {
    const job = this.#job(queue, seq);
    this.#deleteRecords.run(job);
    this.#deleteEvents.run(job);
  }

  #job(queue: number, seq: number): number {
    return jobOf(this.partitionOfQueue(queue), seq);
  }
}

function eventOf(queue: number, seq: number, columns: EventColumns): EventRow {
  const [no, atMs, event, id, data] = columns;
  return { queue, seq, no, atMs, event, id, data };
}
