/**
 * The ops of runs in the write phase. A run is a job of a queue of a kind of its own; here is what
 * it has besides: a journal that only its holder appends to, events that anybody sends, and
 * the suspension that ends when an event comes.
 */
import type {
  QueueSettle,
  RunsRecord,
  RunsRestart,
  RunsSend,
  RunState,
  Sent,
} from "../../../store/ops.ts";
import type { ReadRun, RunPage } from "../../../store/driver.ts";
import { makeReady, makeScheduled, overRow, rankOf } from "./placement.ts";
import { isSameData } from "./refusals.ts";
import type { Scope } from "./scope.ts";
import { NEVER_MS } from "./tables.ts";
import type { JobRow, QueueRow, Tables } from "./tables.ts";

export function runState(tables: Tables, queue: number, seq: number, nowMs: number): RunState {
  return {
    lastRecord: tables.lastRecord(queue, seq),
    lastEvent: tables.lastEvent(queue, seq),
    nowMs,
  };
}

/** True if the records stand in the journal already, right after the op's place. */
export function isRecorded(tables: Tables, queue: number, op: RunsRecord): boolean {
  const { seq, after, records } = op;
  const stored = tables.records(queue, seq, after, records.length);
  return records.every(({ key, data }, i) => {
    const row = stored[i];
    return row !== undefined && row.key === key && isSameData(row.data, data);
  });
}

export function record(scope: Scope, op: RunsRecord): RunState {
  const { tables, partition, nowMs, commit } = scope;
  const queue = (tables.queueByName(partition.no, op.queue) as QueueRow).no;
  const { seq, after, records } = op;
  if (tables.lastRecord(queue, seq) === after) {
    for (const [i, { key, data, delayMs }] of records.entries()) {
      const dueMs = delayMs === null ? null : nowMs + delayMs;
      tables.insertRecord({ queue, seq, no: after + 1 + i, key, data, atMs: nowMs, dueMs });
    }
    if (op.isProgress) startCountsAgain(tables, queue, seq);
    commit.isDirty = true;
  }
  return runState(tables, queue, seq, nowMs);
}

export function restart(scope: Scope, op: RunsRestart): RunState {
  const { tables, partition, nowMs, commit } = scope;
  const queue = tables.queueByName(partition.no, op.queue) as QueueRow;
  const { seq } = op;
  const kept = op.events.flatMap((no) => tables.events(queue.no, seq, no - 1, 1));
  tables.deleteRun(queue.no, seq);
  for (const [i, event] of kept.entries()) tables.insertEvent({ ...event, no: i + 1 });
  const job = tables.job(queue.no, seq) as JobRow;
  Object.assign(job, { payload: op.payload, isReplaced: true, attempts: 0, lost: 0 });
  tables.saveJob(job);
  commit.isDirty = true;
  return runState(tables, queue.no, seq, nowMs);
}

function startCountsAgain(tables: Tables, queue: number, seq: number): void {
  const job = tables.job(queue, seq) as JobRow;
  startAgain(job);
  tables.saveJob(job);
}

/** The counts do not say any more that something of it ran. */
function startAgain(job: JobRow): void {
  job.attempts = 0;
  job.lost = 0;
  job.hasStarted = true;
}

/** The run that the event is for, if it is there and has not ended in order. */
export function receiver(scope: Scope, op: RunsSend): JobRow | "missing" | "ended" {
  const { tables, partition, nowMs } = scope;
  const queue = tables.queueByName(partition.no, op.queue);
  const job = queue === undefined ? undefined : tables.jobById(queue.no, op.run);
  if (job === undefined || overRow(tables, job, nowMs) !== undefined) return "missing";
  const state = tables.finished(job.queue, job.seq)?.state;
  // A dead run can be redriven, and finds its events then.
  return state === undefined || state === "dead" ? job : "ended";
}

export function send(scope: Scope, op: RunsSend): Sent {
  const { tables, nowMs, commit } = scope;
  const job = receiver(scope, op);
  if (typeof job === "string") return { no: 0, status: "passed-over" };
  const { queue: no, seq } = job;
  const known = op.id === null ? undefined : tables.eventById(no, seq, op.id);
  if (known !== undefined) return { no: known.no, status: "exists" };
  const { event, data, id } = op;
  const row = { queue: no, seq, no: tables.lastEvent(no, seq) + 1, event, data, id, atMs: nowMs };
  tables.insertEvent(row);
  commit.isDirty = true;
  wake(scope, tables.queueByNo(no) as QueueRow, job);
  return { no: row.no, status: "sent" };
}

/** A holder is told by a hint; what is suspended becomes ready, and keeps its key's place. */
function wake(scope: Scope, queue: QueueRow, job: JobRow): void {
  const { tables, commit, nowMs } = scope;
  if (tables.leaseOfJob(queue.no, job.seq) !== undefined) {
    commit.cancelled.add(queue);
    return;
  }
  if (job.state !== "scheduled" || job.isSuspended !== true) return;
  if (tables.finished(queue.no, job.seq) !== undefined) return;
  tables.deleteScheduled(queue.no, job.at, job.seq);
  queue.counts.scheduled--;
  makeReady(scope, queue, job, rankOf(queue, job, nowMs));
  tables.saveJob(job);
}

/** A held run waits: no longer than until an event comes that its holder does not know. */
export function suspend(scope: Scope, queue: QueueRow, job: JobRow, op: QueueSettle): void {
  const { tables, nowMs } = scope;
  startAgain(job);
  if (tables.lastEvent(queue.no, job.seq) > (op.seen ?? 0)) {
    makeReady(scope, queue, job, rankOf(queue, job, nowMs));
  } else {
    makeScheduled(scope, queue, job, op.untilMs ?? NEVER_MS, job.key !== null);
    job.isSuspended = true;
  }
  tables.saveJob(job);
}

export function runPage(
  tables: Tables,
  partition: number,
  read: ReadRun,
  nowMs: number,
): RunPage | null {
  const queue = tables.queueByName(partition, read.queue);
  const job = queue === undefined ? undefined : tables.job(queue.no, read.seq);
  if (queue === undefined || job === undefined || job.queue !== queue.no) return null;
  if (overRow(tables, job, nowMs) !== undefined) return null;
  const { seq, afterRecord, afterEvent, limit } = read;
  const records = tables.records(queue.no, seq, afterRecord, limit);
  const events = tables.events(queue.no, seq, afterEvent, limit);
  return {
    records: records.map(({ no, key, data, atMs, dueMs }) => ({ no, key, data, atMs, dueMs })),
    events: events.map(({ no, event, data, id, atMs }) => ({ no, event, data, id, atMs })),
    hasMore: records.length === limit || events.length === limit,
    nowMs,
  };
}
