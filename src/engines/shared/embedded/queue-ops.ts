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
  Dedupe,
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
  releaseKey,
  unlease,
  unplace,
  makeReady,
} from "./placement.ts";
import type { Scope } from "./scope.ts";
import type { JobRow, LeaseRow, MarkRow, QueueRow } from "./tables.ts";

export function openQueue(scope: Scope, name: string): QueueRow {
  const row = scope.tables.queueByName(scope.partition.no, name);
  if (row !== undefined) return row;
  scope.commit.isDirty = true;
  return scope.tables.createQueue(scope.partition.no, name, DEFAULT_QUEUE_CONFIG);
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
    if (existing !== undefined) return { id: op.id, seq: existing.seq, status: "exists" };
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
  };
  if (op.delayMs > 0) makeScheduled(scope, queue, job, scope.nowMs + op.delayMs, false);
  else admit(scope, queue, job, scope.nowMs);
  scope.tables.insertJob(job);
  if (op.dedupe !== null) {
    scope.tables.saveMark({
      queue: queue.no,
      kind: "dedupe",
      name: op.dedupe.key,
      value: job.seq,
      id: job.id,
      expiresMs: scope.nowMs + op.dedupe.ttlMs,
    });
  }
  return { id: job.id, seq: job.seq, status: "added" };
}

/**
 * What a repeat of the dedupe key stands for: the mark, and the waiting job that it would change
 * (undefined in mode `first`).
 * Undefined: no window is open, or its job has started, so that a new job is due.
 */
export function standingJob(
  scope: Scope,
  queue: QueueRow,
  dedupe: Dedupe,
): { readonly mark: MarkRow; readonly job: JobRow | undefined } | undefined {
  const mark = scope.tables.mark(queue.no, "dedupe", dedupe.key);
  if (mark === undefined || mark.expiresMs <= scope.nowMs) return undefined;
  if (dedupe.mode === "first") return { mark, job: undefined };
  const job = scope.tables.job(queue.no, mark.value);
  return job !== undefined && isUnstarted(scope, queue, job) ? { mark, job } : undefined;
}

/**
 * The job that a repeat of a dedupe key stands for, changed as its mode says; undefined: a new job
 * is due.
 */
function deduped(scope: Scope, queue: QueueRow, op: QueueEnqueue): Enqueued | undefined {
  const { dedupe } = op;
  const standing = dedupe === null ? undefined : standingJob(scope, queue, dedupe);
  if (dedupe === null || standing === undefined) return undefined;
  const { mark, job } = standing;
  invariant(mark.id !== null, "a dedupe mark names its job", mark);
  if (job === undefined) return { id: mark.id, seq: mark.value, status: "deduped" };
  job.payload = op.payload;
  if (dedupe.mode === "debounce" && job.state === "scheduled" && !job.holdsKey) {
    const dueMs = Math.min(scope.nowMs + op.delayMs, mark.expiresMs);
    unplace(scope, queue, job);
    makeScheduled(scope, queue, job, dueMs, false);
  }
  scope.tables.saveJob(job);
  scope.logJob(queue, job.seq, job.state);
  return { id: job.id, seq: job.seq, status: "replaced" };
}

/**
 * It waits and never started: an attempt that failed or was lost may have had effects under the
 * job's id, which another payload must not inherit.
 */
function isUnstarted(scope: Scope, queue: QueueRow, job: JobRow): boolean {
  if (job.attempts > 0 || job.lost > 0) return false;
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
    makeReady(scope, queue, job, job.at);
    scope.tables.saveJob(job);
    return "ready";
  }
  if (op.outcome === "completed") return end(scope, queue, job, "completed", op.result);
  if (op.error !== null) job.error = op.error;
  if (op.outcome === "retry" && !lease.isCancelRequested) return retry(scope, queue, job, op);
  if (op.outcome !== "cancelled") job.attempts++;
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
  if (scope.tables.finished(queue.no, job.seq) !== undefined) return "finished";
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
    if (row?.state !== "dead" || job === undefined) continue;
    scope.tables.deleteFinished(row);
    queue.counts.dead--;
    job.attempts = 0;
    job.lost = 0;
    job.error = null;
    admit(scope, queue, job, scope.nowMs);
    scope.tables.saveJob(job);
    count++;
  }
  return { count };
}

export function pause(scope: Scope, op: QueuePause): null {
  const queue = openQueue(scope, op.queue);
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
      tables.deleteJob(job);
      count++;
    }
  } else {
    for (const row of tables.finishedRange(queue.no, state, null, max)) {
      const job = tables.job(queue.no, row.seq);
      tables.deleteFinished(row);
      if (job !== undefined) tables.deleteJob(job);
      queue.counts[state]--;
      count++;
    }
  }
  if (count > 0) {
    tables.saveQueue(queue);
    scope.commit.isDirty = true;
  }
  return { count };
}
