/** Runs' journals and events: see `tables.ts`. */
import type { EventRow, RecordRow } from "../shared/embedded/tables.ts";

interface Run {
  /** The row with number n is at n - 1. */
  readonly records: RecordRow[];
  readonly events: EventRow[];
  readonly byId: Map<string, EventRow>;
}

function nameOf(queue: number, seq: number): string {
  return `${queue} ${seq}`;
}

export class RunTables {
  readonly #runs = new Map<string, Run>();

  lastRecord(queue: number, seq: number): number {
    return this.#runs.get(nameOf(queue, seq))?.records.length ?? 0;
  }
  insertRecord(row: RecordRow): void {
    this.#run(row.queue, row.seq).records.push(row);
  }
  records(queue: number, seq: number, after: number, limit: number): RecordRow[] {
    return this.#runs.get(nameOf(queue, seq))?.records.slice(after, after + limit) ?? [];
  }
  lastEvent(queue: number, seq: number): number {
    return this.#runs.get(nameOf(queue, seq))?.events.length ?? 0;
  }
  eventById(queue: number, seq: number, id: string): EventRow | undefined {
    return this.#runs.get(nameOf(queue, seq))?.byId.get(id);
  }
  insertEvent(row: EventRow): void {
    const run = this.#run(row.queue, row.seq);
    run.events.push(row);
    if (row.id !== null) run.byId.set(row.id, row);
  }
  events(queue: number, seq: number, after: number, limit: number): EventRow[] {
    return this.#runs.get(nameOf(queue, seq))?.events.slice(after, after + limit) ?? [];
  }
  deleteRun(queue: number, seq: number): void {
    this.#runs.delete(nameOf(queue, seq));
  }

  #run(queue: number, seq: number): Run {
    const name = nameOf(queue, seq);
    let run = this.#runs.get(name);
    if (run === undefined) {
      run = { records: [], events: [], byId: new Map() };
      this.#runs.set(name, run);
    }
    return run;
  }
}
