/**
 * The queue's ops. Each runs in the write phase: whatever could refuse it was decided before
 * (`decide.ts`).
 */
import { LIMITS } from "../../../core/limits.ts";
import { invariant } from "../../../core/invariant.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../../store/ops.ts";
import type {
  Affected,
  Cancelled,
  Enqueued,
  JobState,
  QueueCancel,
  QueueConfigure,
  QueueEnqueue,
  QueuePause,
  QueueProgress,
  QueuePurge,
  QueueRedrive,
  QueueSettle,
} from "../../../store/ops.ts";
import {
  admit,
  finish,
  makeScheduled,
  overRow,
  releaseKey,
  removeFinished,
  removeJob,
  unlease,
  unplace,
  makeReady,
} from "./placement.ts";
import { suspend } from "./run-ops.ts";
import type { Scope } from "./scope.ts";
import type { JobRow, LeaseRow, MarkRow, QueueRow } from "./tables.ts";

function openQueue(scope: Scope, name: string): QueueRow {
  const partition = scope.madePartition;
  const row = scope.tables.queueByName(partition.no, name);
  if (row !== undefined) return row;
  scope.commit.isDirty = true;
  return scope.tables.createQueue(partition.no, name, DEFAULT_QUEUE_CONFIG);
}

export function configure(scope: Scope, op: QueueConfigure): null {
  const queue = openQueue(scope, op.queue);
  if (JSON.stringify(queue.config) === JSON.stringify(op.config)) return null;
  queue.config = op.config;
  scope.tables.saveQueue(queue);
  scope.commit.isDirty = true;
  scope.commit.readied.add(queue);
  return null;
}

export function enqueue(scope: Scope, op: QueueEnqueue): Enqueued {
  const queue = openQueue(scope, op.queue);
  if (!op.isFresh) {
    const existing = scope.tables.jobById(queue.no, op.id);
    const over = existing === undefined ? undefined : overRow(scope.tables, existing, scope.nowMs);
    if (over !== undefined) removeFinished(scope, queue, over);
    else if (existing !== undefined) return { id: op.id, seq: existing.seq, status: "exists" };
  }
  const standing = op.dedupe === null ? undefined : deduped(scope, queue, op);
  if (standing !== undefined) return standing;
  const job: JobRow = {
    seq: scope.partition.nextSeq++,
    queue: queue.no,
    id: op.id,
    key: op.key,
    priority: op.priority,
    payload: op.payload,
    attempts: 0,
    lost: 0,
    createdMs: scope.nowMs,
    state: "ready",
    at: 0,
    holdsKey: false,
    error: null,
    trace: op.trace,
    attributes: op.attributes === undefined ? null : JSON.stringify(op.attributes),
  };
  if (op.delayMs > 0) makeScheduled(scope, queue, job, scope.nowMs + op.delayMs, false);
  else admit(scope, queue, job, scope.nowMs);
  scope.tables.insertJob(job);
  if (op.dedupe !== null) {
    scope.tables.saveMark({
      ...{ queue: queue.no, kind: "dedupe", name: op.dedupe.key },
      ...{ value: job.seq, id: job.id, writer: null, expiresMs: scope.nowMs + op.dedupe.ttlMs },
    });
  }
  return { id: job.id, seq: job.seq, status: "added" };
}

/** What an add with a dedupe key stands for, so that it makes no job. */
export interface Standing {
  readonly mark: MarkRow;
  /** Undefined in mode `first`, which looks at the window alone. */
  readonly job: JobRow | undefined;
  /** The add that wrote the job's payload, come again: nothing is to be changed. */
  readonly isAgain: boolean;
}

/** Undefined: no window is open, or its job has started, so that a new job is due. */
export function standingJob(scope: Scope, queue: QueueRow, op: QueueEnqueue): Standing | undefined {
  const { dedupe } = op;
  if (dedupe === null) return undefined;
  const mark = scope.tables.mark(queue.no, "dedupe", dedupe.key);
  if (mark === undefined || mark.expiresMs <= scope.nowMs) return undefined;
  if (dedupe.mode === "first") return { mark, job: undefined, isAgain: false };
  const job = scope.tables.job(queue.no, mark.value);
  if (job === undefined) return undefined;
  // Its first sending took effect, and only the answer was lost: the job may have run since.
  if (!op.isFresh && mark.writer === op.id) return { mark, job, isAgain: true };
  return isUnstarted(scope, queue, job) ? { mark, job, isAgain: false } : undefined;
}

/**
 * The job that a repeat of a dedupe key stands for, changed as its mode says; undefined: a new job
 * is due.
 */
function deduped(scope: Scope, queue: QueueRow, op: QueueEnqueue): Enqueued | undefined {
  const standing = standingJob(scope, queue, op);
  if (standing === undefined) return undefined;
  const { mark, job, isAgain } = standing;
  invariant(mark.id !== null, "a dedupe mark names its job", mark);
  const is = { id: mark.id, seq: mark.value } as const;
  if (job === undefined) return { ...is, status: "deduped" };
  if (isAgain) return { ...is, status: "replaced" };
  job.payload = op.payload;
  job.isReplaced = true;
  if (op.dedupe?.mode === "debounce") putOff(scope, queue, job, op.delayMs, mark.expiresMs);
  scope.tables.saveJob(job);
  scope.tables.saveMark({ ...mark, writer: op.id });
  scope.logJob(queue, job.seq, job.state);
  return { ...is, status: "replaced" };
}

/** Starts the delay of an unstarted job again, wherever it waits, but never past the window. */
function putOff(
  scope: Scope,
  queue: QueueRow,
  job: JobRow,
  delayMs: number,
  windowMs: number,
): void {
  // Without a delay there is nothing to wait for: it keeps its place in the line.
  if (delayMs === 0 && job.state !== "scheduled") return;
  unplace(scope, queue, job);
  makeScheduled(scope, queue, job, Math.min(scope.nowMs + delayMs, windowMs), false);
}

/**
 * It waits and never started: what ran of it, failed, lost or given back, may have had effects
 * under the job's id, which another payload must not inherit.
 */
function isUnstarted(scope: Scope, queue: QueueRow, job: JobRow): boolean {
  if (job.attempts > 0 || job.lost > 0 || job.hasStarted === true) return false;
  if (scope.tables.finished(queue.no, job.seq) !== undefined) return false;
  return scope.tables.leaseOfJob(queue.no, job.seq) === undefined;
}

/** The lease that the decision phase found to be the caller's. */
function held(scope: Scope, op: QueueSettle | QueueProgress): { queue: QueueRow; lease: LeaseRow } {
  const queue = scope.tables.queueByName(scope.partition.no, op.queue);
  const session = scope.tables.session(scope.partition.no, op.session);
  invariant(
    queue !== undefined && session !== undefined,
    "a settled job's queue and session exist",
  );
  const lease = scope.tables.lease(session.no, op.seq);
  invariant(lease?.token === op.token, "a settled job is held under its token", { seq: op.seq });
  return { queue, lease };
}

export function settle(scope: Scope, op: QueueSettle): JobState {
  const { queue, lease } = held(scope, op);
  const job = unlease(scope, queue, lease);
  if (op.outcome === "released") {
    if (lease.isCancelRequested) return end(scope, queue, job, "cancelled", null);
    if (op.isUnstarted !== true) job.hasStarted = true;
    makeReady(scope, queue, job, job.at);
    scope.tables.saveJob(job);
    return "ready";
  }
  if (op.outcome === "suspended" && !lease.isCancelRequested) {
    // What it noted stays to be read while nobody holds it.
    job.progress = lease.progress ?? job.progress ?? null;
    suspend(scope, queue, job, op);
    return job.state;
  }
  if (op.outcome === "completed") return end(scope, queue, job, "completed", op.result);
  if (op.error !== null) job.error = op.error;
  if (op.outcome === "retry" && !lease.isCancelRequested) return retry(scope, queue, job, op);
  if (op.outcome === "dead" || op.outcome === "retry") job.attempts++;
  scope.tables.saveJob(job);
  return end(scope, queue, job, op.outcome === "dead" ? "dead" : "cancelled", op.result);
}

function end(
  scope: Scope,
  queue: QueueRow,
  job: JobRow,
  state: "completed" | "cancelled" | "dead",
  result: QueueSettle["result"],
): JobState {
  releaseKey(scope, queue, job.key);
  finish(scope, queue, job, state, result);
  return state;
}

function retry(scope: Scope, queue: QueueRow, job: JobRow, op: QueueSettle): JobState {
  job.attempts++;
  if (job.attempts + job.lost >= queue.config.maxDeliveries) {
    scope.tables.saveJob(job);
    return end(scope, queue, job, "dead", null);
  }
  if (op.holdsKey || job.key === null) {
    makeScheduled(scope, queue, job, scope.nowMs + op.delayMs, job.key !== null);
  } else {
    // The others of the key may pass; when due it asks for the place again, by its own number.
    releaseKey(scope, queue, job.key);
    makeScheduled(scope, queue, job, scope.nowMs + op.delayMs, false);
  }
  scope.tables.saveJob(job);
  return "scheduled";
}

export function progress(scope: Scope, op: QueueProgress): null {
  const { lease } = held(scope, op);
  lease.progress = op.value;
  scope.tables.saveLease(lease);
  scope.commit.isDirty = true;
  return null;
}

export function cancel(scope: Scope, op: QueueCancel): Cancelled {
  const queue = scope.tables.queueByName(scope.partition.no, op.queue);
  const job = queue === undefined ? undefined : scope.tables.jobById(queue.no, op.id);
  if (queue === undefined || job === undefined) return "missing";
  const finished = scope.tables.finished(queue.no, job.seq);
  if (finished !== undefined) return finished.expiresMs <= scope.nowMs ? "missing" : "finished";
  if (op.reason !== null) {
    job.error = op.reason;
    scope.tables.saveJob(job);
  }
  const lease = scope.tables.leaseOfJob(queue.no, job.seq);
  if (lease !== undefined) {
    lease.isCancelRequested = true;
    scope.tables.saveLease(lease);
    scope.commit.isDirty = true;
    scope.commit.cancelled.add(queue);
    return "requested";
  }
  unplace(scope, queue, job);
  finish(scope, queue, job, "cancelled", null);
  return "cancelled";
}

export function redrive(scope: Scope, op: QueueRedrive): Affected {
  const queue = scope.tables.queueByName(scope.partition.no, op.queue);
  if (queue === undefined) return { count: 0 };
  const max = Math.min(op.max, LIMITS.pageRows);
  const seqs =
    op.ids === null
      ? scope.tables.finishedRange(queue.no, "dead", null, max).map((row) => row.seq)
      : op.ids.map((id) => scope.tables.jobById(queue.no, id)?.seq ?? 0);
  let count = 0;
  for (const seq of seqs) {
    const row = scope.tables.finished(queue.no, seq);
    const job = scope.tables.job(queue.no, seq);
    if (row?.state !== "dead" || row.expiresMs <= scope.nowMs || job === undefined) continue;
    scope.tables.deleteFinished(row);
    queue.counts.dead--;
    job.attempts = 0;
    job.lost = 0;
    job.error = null;
    job.hasStarted = true;
    admit(scope, queue, job, scope.nowMs);
    scope.tables.saveJob(job);
    count++;
  }
  return { count };
}

export function pause(scope: Scope, op: QueuePause): null {
  const known = scope.tables.queueByName(scope.partition.no, op.queue);
  if (known === undefined && !op.isPaused) return null;
  const queue = known ?? openQueue(scope, op.queue);
  if (queue.isPaused === op.isPaused) return null;
  queue.isPaused = op.isPaused;
  scope.tables.saveQueue(queue);
  scope.commit.isDirty = true;
  scope.commit.readied.add(queue);
  return null;
}

export function purge(scope: Scope, op: QueuePurge): Affected {
  const queue = scope.tables.queueByName(scope.partition.no, op.queue);
  if (queue === undefined) return { count: 0 };
  const { tables } = scope;
  const max = Math.min(op.max, LIMITS.reapRows);
  const { state } = op;
  let count = 0;
  if (state === "ready" || state === "scheduled" || state === "blocked") {
    for (const seq of tables.waitingRange(queue.no, state, null, max)) {
      const job = tables.job(queue.no, seq);
      // Removing the head of a key moves the next one up: it is no longer where the list found it.
      if (job === undefined || job.state !== state) continue;
      unplace(scope, queue, job);
      removeJob(tables, queue, job);
      count++;
    }
  } else {
    for (const row of tables.finishedRange(queue.no, state, null, max)) {
      removeFinished(scope, queue, row);
      count++;
    }
  }
  if (count > 0) {
    tables.saveQueue(queue);
    scope.commit.isDirty = true;
  }
  return { count };
}
