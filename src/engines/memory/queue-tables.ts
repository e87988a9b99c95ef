/** The queue's part of the tables: see `tables.ts`. */
import { compareNumbers } from "../shared/embedded/order.ts";
import type {
  CountedState,
  FinishedOver,
  FinishedPlace,
  FinishedRow,
  FinishedState,
  JobRow,
  KeyRow,
  LeaseRow,
  MarkRow,
  QueueRow,
  WaitingState,
} from "../shared/embedded/tables.ts";
import type { QueueConfig } from "../../store/ops.ts";
import { RunTables } from "./run-tables.ts";
import { ExpiryIndex, SortedMap } from "./sorted.ts";

type Place = readonly [at: number, seq: number];

function comparePlaces(a: Place, b: Place): number {
  return a[0] - b[0] || a[1] - b[1];
}

interface Queue {
  readonly row: QueueRow;
  readonly jobs: SortedMap<number, JobRow>;
  readonly byId: Map<string, JobRow>;
  readonly ready: SortedMap<Place, true>;
  readonly scheduled: SortedMap<Place, true>;
  readonly blocked: Map<string, SortedMap<number, number>>;
  readonly keys: Map<string, KeyRow>;
  readonly leases: SortedMap<number, LeaseRow>;
  readonly finished: SortedMap<number, FinishedRow>;
  readonly byState: Record<FinishedState, SortedMap<number, FinishedRow>>;
  readonly byFinish: Record<FinishedState, SortedMap<Place, FinishedRow>>;
  readonly marks: Map<string, MarkRow>;
}

function emptyQueue(row: QueueRow): Queue {
  return {
    row,
    jobs: new SortedMap(compareNumbers),
    byId: new Map(),
    ready: new SortedMap(comparePlaces),
    scheduled: new SortedMap(comparePlaces),
    blocked: new Map(),
    keys: new Map(),
    leases: new SortedMap(compareNumbers),
    finished: new SortedMap(compareNumbers),
    byState: {
      completed: new SortedMap(compareNumbers),
      cancelled: new SortedMap(compareNumbers),
      dead: new SortedMap(compareNumbers),
    },
    byFinish: {
      completed: new SortedMap(comparePlaces),
      cancelled: new SortedMap(comparePlaces),
      dead: new SortedMap(comparePlaces),
    },
    marks: new Map(),
  };
}

function markName(kind: string, name: string): string {
  return `${kind} ${name}`;
}

/** Up to `limit` rows above `after` of a map by seq. */
function range<V>(map: SortedMap<number, V>, after: number | null, limit: number): V[] {
  const rows: V[] = [];
  for (const row of map.values(after === null ? undefined : after + 1)) {
    if (rows.length >= limit) break;
    rows.push(row);
  }
  return rows;
}

/** Removes and gives up to `max` jobs from the front, while their place is at most `lastMs`. */
function takeFirst(
  { jobs }: Queue,
  places: SortedMap<Place, true>,
  lastMs: number,
  max: number,
): JobRow[] {
  const taken: JobRow[] = [];
  while (taken.length < max) {
    const first = places.first();
    if (first === undefined || first[0] > lastMs) break;
    taken.push(jobs.get(first[1]) as JobRow);
    places.delete(first);
  }
  return taken;
}

export class QueueTables extends RunTables {
  readonly #queues = new Map<number, Queue>();
  readonly #byName = new Map<string, QueueRow>();
  /** Leases by session number, then job number. */
  readonly #held = new Map<number, Map<number, LeaseRow>>();
  readonly #finishedByExpiry = new ExpiryIndex<FinishedRow>();
  readonly #marksByExpiry = new ExpiryIndex<MarkRow>();

  queueByName(partition: number, name: string): QueueRow | undefined {
    return this.#byName.get(`${partition} ${name}`);
  }
  queueByNo(no: number): QueueRow | undefined {
    return this.#queues.get(no)?.row;
  }
  createQueue(partition: number, name: string, config: QueueConfig): QueueRow {
    const counts = {
      ...{ ready: 0, leased: 0, scheduled: 0, blocked: 0 },
      ...{ completed: 0, cancelled: 0, dead: 0 },
    };
    const no = this.#queues.size + 1;
    const row: QueueRow = { no, partition, name, config, isPaused: false, rateMs: 0, counts };
    this.#queues.set(no, emptyQueue(row));
    this.#byName.set(`${partition} ${name}`, row);
    return row;
  }
  saveQueue(): void {
    // Rows are shared objects.
  }
  queues(partition: number): QueueRow[] {
    const rows: QueueRow[] = [];
    for (const { row } of this.#queues.values()) if (row.partition === partition) rows.push(row);
    return rows;
  }
  #queue(no: number): Queue {
    return this.#queues.get(no) as Queue;
  }

  job(queue: number, seq: number): JobRow | undefined {
    return this.#queue(queue).jobs.get(seq);
  }
  jobById(queue: number, id: string): JobRow | undefined {
    return this.#queue(queue).byId.get(id);
  }
  insertJob(row: JobRow): void {
    const queue = this.#queue(row.queue);
    queue.jobs.set(row.seq, row);
    queue.byId.set(row.id, row);
  }
  saveJob(): void {
    // Rows are shared objects.
  }
  deleteJob(row: JobRow): void {
    const queue = this.#queue(row.queue);
    queue.jobs.delete(row.seq);
    queue.byId.delete(row.id);
  }
  jobRange(queue: number, after: number | null, limit: number): JobRow[] {
    return range(this.#queue(queue).jobs, after, limit);
  }

  putReady(queue: number, rank: number, seq: number): void {
    this.#queue(queue).ready.set([rank, seq], true);
  }
  deleteReady(queue: number, rank: number, seq: number): void {
    this.#queue(queue).ready.delete([rank, seq]);
  }
  takeReady(queue: number, max: number): JobRow[] {
    const row = this.#queue(queue);
    return takeFirst(row, row.ready, Infinity, max);
  }
  firstReady(queue: number): { readonly rank: number; readonly seq: number } | undefined {
    const first = this.#queue(queue).ready.first();
    return first === undefined ? undefined : { rank: first[0], seq: first[1] };
  }

  putScheduled(queue: number, dueMs: number, seq: number): void {
    this.#queue(queue).scheduled.set([dueMs, seq], true);
  }
  deleteScheduled(queue: number, dueMs: number, seq: number): void {
    this.#queue(queue).scheduled.delete([dueMs, seq]);
  }
  takeDue(queue: number, nowMs: number, max: number): JobRow[] {
    const row = this.#queue(queue);
    return takeFirst(row, row.scheduled, nowMs, max);
  }
  nextDueMs(queue: number): number | undefined {
    return this.#queue(queue).scheduled.first()?.[0];
  }

  putBlocked(queue: number, key: string, seq: number): void {
    const { blocked } = this.#queue(queue);
    let seqs = blocked.get(key);
    if (seqs === undefined) {
      seqs = new SortedMap(compareNumbers);
      blocked.set(key, seqs);
    }
    seqs.set(seq, seq);
  }
  deleteBlocked(queue: number, key: string, seq: number): void {
    const { blocked } = this.#queue(queue);
    const seqs = blocked.get(key);
    seqs?.delete(seq);
    if (seqs?.size === 0) blocked.delete(key);
  }
  firstBlocked(queue: number, key: string): number | undefined {
    return this.#queue(queue).blocked.get(key)?.first();
  }

  waitingRange(queue: number, state: WaitingState, after: number | null, limit: number): number[] {
    const { jobs, leases, finished } = this.#queue(queue);
    const seqs: number[] = [];
    for (const job of jobs.values(after === null ? undefined : after + 1)) {
      if (seqs.length >= limit) break;
      if (job.state !== state) continue;
      if (leases.get(job.seq) !== undefined || finished.get(job.seq) !== undefined) continue;
      seqs.push(job.seq);
    }
    return seqs;
  }

  keyRow(queue: number, key: string): KeyRow | undefined {
    return this.#queue(queue).keys.get(key);
  }
  saveKey(row: KeyRow): void {
    this.#queue(row.queue).keys.set(row.key, row);
  }
  deleteKey(row: KeyRow): void {
    this.#queue(row.queue).keys.delete(row.key);
  }

  lease(session: number, seq: number): LeaseRow | undefined {
    return this.#held.get(session)?.get(seq);
  }
  leaseOfJob(queue: number, seq: number): LeaseRow | undefined {
    return this.#queue(queue).leases.get(seq);
  }
  insertLease(row: LeaseRow): void {
    let held = this.#held.get(row.session);
    if (held === undefined) {
      held = new Map();
      this.#held.set(row.session, held);
    }
    held.set(row.seq, row);
    this.#queue(row.queue).leases.set(row.seq, row);
  }
  saveLease(): void {
    // Rows are shared objects.
  }
  deleteLease(row: LeaseRow): void {
    const held = this.#held.get(row.session);
    held?.delete(row.seq);
    if (held?.size === 0) this.#held.delete(row.session);
    this.#queue(row.queue).leases.delete(row.seq);
  }
  leasesOfSession(session: number, limit: number): LeaseRow[] {
    return [...(this.#held.get(session)?.values() ?? [])].slice(0, limit);
  }
  leaseCount(session: number): number {
    return this.#held.get(session)?.size ?? 0;
  }
  cancelsOfSession(session: number): LeaseRow[] {
    return this.leasesOfSession(session, Infinity).filter((row) => row.isCancelRequested);
  }
  leaseRange(queue: number, after: number | null, limit: number): LeaseRow[] {
    return range(this.#queue(queue).leases, after, limit);
  }

  finished(queue: number, seq: number): FinishedRow | undefined {
    return this.#queue(queue).finished.get(seq);
  }
  insertFinished(row: FinishedRow): void {
    const queue = this.#queue(row.queue);
    queue.finished.set(row.seq, row);
    queue.byState[row.state].set(row.seq, row);
    queue.byFinish[row.state].set([row.finishedMs, row.seq], row);
    this.#finishedByExpiry.add(row);
  }
  deleteFinished({ queue: no, seq }: FinishedPlace): void {
    const queue = this.#queue(no);
    const row = queue.finished.get(seq) as FinishedRow;
    queue.finished.delete(seq);
    queue.byState[row.state].delete(seq);
    queue.byFinish[row.state].delete([row.finishedMs, seq]);
    this.#finishedByExpiry.delete(row);
  }
  finishedRange(
    queue: number,
    state: FinishedState,
    after: number | null,
    limit: number,
  ): FinishedRow[] {
    return range(this.#queue(queue).byState[state], after, limit);
  }
  finishedOldest(queue: number, state: CountedState, limit: number): FinishedPlace[] {
    const rows: FinishedRow[] = [];
    for (const row of this.#queue(queue).byFinish[state].values()) {
      if (rows.length >= limit) break;
      rows.push(row);
    }
    return rows;
  }
  finishedExpired(nowMs: number, limit: number): FinishedRow[] {
    return this.#finishedByExpiry.due(nowMs, limit);
  }
  finishedOver(nowMs: number): FinishedOver[] {
    const rows = this.#finishedByExpiry.due(nowMs, Infinity);
    return rows.map(({ queue, state }) => ({ queue, state, count: 1 }));
  }

  mark(queue: number, kind: MarkRow["kind"], name: string): MarkRow | undefined {
    return this.#queue(queue).marks.get(markName(kind, name));
  }
  saveMark(row: MarkRow): void {
    const { marks } = this.#queue(row.queue);
    const name = markName(row.kind, row.name);
    const before = marks.get(name);
    if (before !== undefined) this.#marksByExpiry.delete(before);
    marks.set(name, row);
    this.#marksByExpiry.add(row);
  }
  deleteMark(row: MarkRow): void {
    this.#queue(row.queue).marks.delete(markName(row.kind, row.name));
    this.#marksByExpiry.delete(row);
  }
  marksExpired(nowMs: number, limit: number): MarkRow[] {
    return this.#marksByExpiry.due(nowMs, limit);
  }
  markRange(
    queue: number,
    after: { readonly kind: string; readonly name: string } | null,
    limit: number,
  ): MarkRow[] {
    const names = [...this.#queue(queue).marks.keys()].sort();
    const last = after === null ? undefined : markName(after.kind, after.name);
    const rows: MarkRow[] = [];
    for (const name of names) {
      if (rows.length >= limit) break;
      if (last !== undefined && name <= last) continue;
      rows.push(this.#queue(queue).marks.get(name) as MarkRow);
    }
    return rows;
  }
}
