/**
 * Where a job stands. A job is in exactly one of: ready, scheduled, blocked, leased, finished.
 * Ready, scheduled and blocked are separate ordered structures; only the head of a key (or its
 * first `perKey` jobs) is ever in `ready`, so that blocked keys cost a claim nothing.
 *
 * A key's `active` counts its jobs that are ready, leased, or scheduled while holding the key's
 * place.
 */
import { invariant } from "../../../core/invariant.ts";
import type { Data } from "../../../core/codec.ts";
import { RUN_QUEUE } from "../../../store/ops.ts";
import type { Scope } from "./scope.ts";
import type {
  CountedState,
  FinishedPlace,
  FinishedRow,
  FinishedState,
  JobRow,
  KeyRow,
  LeaseRow,
  QueueRow,
  Tables,
} from "./tables.ts";

/** Finished jobs above `keepCount` are removed in steps of this many. */
const KEEP_STEP = 256;

/** Ready order: a step of priority is worth `ageMs` of waiting, so that nothing waits for ever. */
export function rankOf(queue: QueueRow, job: JobRow, sinceMs: number): number {
  return sinceMs - job.priority * queue.config.ageMs;
}

/** Puts a job that has its key's place into the ready order. The caller saves the job. */
export function makeReady(scope: Scope, queue: QueueRow, job: JobRow, rank: number): void {
  job.state = "ready";
  job.at = rank;
  job.holdsKey = false;
  job.isSuspended = false;
  scope.tables.putReady(queue.no, rank, job.seq);
  queue.counts.ready++;
  scope.tables.saveQueue(queue);
  scope.commit.readied.add(queue);
  scope.logJob(queue, job.seq, "ready");
}

/** Schedules a job. The caller saves the job. */
export function makeScheduled(
  scope: Scope,
  queue: QueueRow,
  job: JobRow,
  dueMs: number,
  holdsKey: boolean,
): void {
  job.state = "scheduled";
  job.at = dueMs;
  job.holdsKey = holdsKey;
  job.isSuspended = false;
  scope.tables.putScheduled(queue.no, dueMs, job.seq);
  queue.counts.scheduled++;
  scope.tables.saveQueue(queue);
  // Workers learn of an earlier due time by claiming once more.
  scope.commit.readied.add(queue);
  scope.logJob(queue, job.seq, "scheduled");
}

function keyRow(scope: Scope, queue: QueueRow, key: string): KeyRow {
  return scope.tables.keyRow(queue.no, key) ?? { queue: queue.no, key, active: 0, waiting: 0 };
}

function saveKey(scope: Scope, row: KeyRow): void {
  invariant(row.active >= 0 && row.waiting >= 0, "a key's counts are never negative", row);
  if (row.active === 0 && row.waiting === 0) scope.tables.deleteKey(row);
  else scope.tables.saveKey(row);
}

/**
 * A job that may run since then asks for its key's place: ready if there is one, else blocked. The
 * caller saves the job.
 */
export function admit(scope: Scope, queue: QueueRow, job: JobRow, sinceMs: number): void {
  const rank = rankOf(queue, job, sinceMs);
  if (job.key === null) return makeReady(scope, queue, job, rank);
  const row = keyRow(scope, queue, job.key);
  if (row.active < queue.config.perKey && isNextOfKey(scope, queue, job, row)) {
    row.active++;
    saveKey(scope, row);
    return makeReady(scope, queue, job, rank);
  }
  row.waiting++;
  saveKey(scope, row);
  job.state = "blocked";
  job.holdsKey = false;
  scope.tables.putBlocked(queue.no, job.key, job.seq);
  queue.counts.blocked++;
  scope.tables.saveQueue(queue);
  scope.logJob(queue, job.seq, "blocked");
}

function isNextOfKey(scope: Scope, queue: QueueRow, job: JobRow, row: KeyRow): boolean {
  if (row.waiting === 0) return true;
  const first = scope.tables.firstBlocked(queue.no, row.key);
  return first === undefined || job.seq < first;
}

/**
 * Gives a key's place back and lets the next jobs of the key become ready, ranked by now: so keys
 * take turns.
 */
export function releaseKey(scope: Scope, queue: QueueRow, key: string | null): void {
  if (key === null) return;
  const row = keyRow(scope, queue, key);
  row.active--;
  while (row.waiting > 0 && row.active < queue.config.perKey) {
    const seq = scope.tables.firstBlocked(queue.no, key);
    invariant(seq !== undefined, "a key that waits has a blocked job", row);
    const job = scope.tables.job(queue.no, seq);
    invariant(job !== undefined, "a blocked job has a body", { seq });
    scope.tables.deleteBlocked(queue.no, key, seq);
    queue.counts.blocked--;
    row.waiting--;
    row.active++;
    makeReady(scope, queue, job, rankOf(queue, job, scope.nowMs));
    scope.tables.saveJob(job);
  }
  saveKey(scope, row);
}

/** Takes a waiting job out of its structure; it is nowhere then. */
export function unplace(scope: Scope, queue: QueueRow, job: JobRow): void {
  const { tables } = scope;
  if (job.state === "ready") {
    tables.deleteReady(queue.no, job.at, job.seq);
    queue.counts.ready--;
    releaseKey(scope, queue, job.key);
  } else if (job.state === "scheduled") {
    tables.deleteScheduled(queue.no, job.at, job.seq);
    queue.counts.scheduled--;
    if (job.holdsKey) releaseKey(scope, queue, job.key);
  } else {
    invariant(job.key !== null, "a blocked job has a key", { seq: job.seq });
    tables.deleteBlocked(queue.no, job.key, job.seq);
    queue.counts.blocked--;
    const row = keyRow(scope, queue, job.key);
    row.waiting--;
    saveKey(scope, row);
  }
  tables.saveQueue(queue);
}

/** Ends a job that is in no structure any more (its key already given back). */
export function finish(
  scope: Scope,
  queue: QueueRow,
  job: JobRow,
  state: FinishedState,
  result: Data | null,
): void {
  const { config, counts } = queue;
  const keepMs = state === "dead" ? config.keepDeadMs : config.keepMs;
  if (keepMs === 0) {
    removeJob(scope.tables, queue, job);
  } else {
    scope.tables.insertFinished({
      queue: queue.no,
      seq: job.seq,
      state,
      finishedMs: scope.nowMs,
      expiresMs: scope.nowMs + keepMs,
      result,
    });
    counts[state]++;
    if (state !== "dead" && counts[state] >= config.keepCount + KEEP_STEP) {
      trimFinished(scope, queue, state);
    }
  }
  scope.tables.saveQueue(queue);
  scope.commit.finished.add(queue);
  scope.logJob(queue, job.seq, state);
}

/** By the time of finishing: a slow job keeps the result that its own settle just wrote. */
function trimFinished(scope: Scope, queue: QueueRow, state: CountedState): void {
  for (const row of scope.tables.finishedOldest(queue.no, state, KEEP_STEP)) {
    removeFinished(scope, queue, row);
  }
}

/** The finished row of a job whose time is up: the job is gone, removed or not. */
export function overRow(tables: Tables, job: JobRow, nowMs: number): FinishedRow | undefined {
  const row = tables.finished(job.queue, job.seq);
  return row !== undefined && row.expiresMs <= nowMs ? row : undefined;
}

export function holdsRuns(queue: QueueRow): boolean {
  return queue.name.startsWith(RUN_QUEUE);
}

/** Removes a job's body with all that hangs on it. */
export function removeJob(tables: Tables, queue: QueueRow, job: JobRow): void {
  if (holdsRuns(queue)) tables.deleteRun(queue.no, job.seq);
  tables.deleteJob(job);
}

/** Removes a finished job with its body. The caller saves the queue. */
export function removeFinished(scope: Scope, queue: QueueRow, row: FinishedPlace): void {
  const job = scope.tables.job(queue.no, row.seq);
  scope.tables.deleteFinished(row);
  if (job !== undefined) removeJob(scope.tables, queue, job);
  queue.counts[row.state]--;
}

/** Ends a lease; the job is in no structure then, its key's place still held. */
export function unlease(scope: Scope, queue: QueueRow, lease: LeaseRow): JobRow {
  const job = scope.tables.job(queue.no, lease.seq);
  invariant(job !== undefined, "a leased job has a body", lease);
  scope.tables.deleteLease(lease);
  const { config, counts } = queue;
  counts.leased--;
  invariant(counts.leased >= 0, "the count of leases is never negative", { queue: queue.name });
  scope.tables.saveQueue(queue);
  // A place under the limit came free: whoever found none must look again.
  if (config.maxLeased !== null && counts.ready > 0) scope.commit.readied.add(queue);
  return job;
}

/**
 * Gives a held job back to where it was. A lost lease counts as a delivery, and too many make the
 * job dead.
 */
export function giveBack(
  scope: Scope,
  queue: QueueRow,
  lease: LeaseRow,
  how: "released" | "lost",
): void {
  const job = unlease(scope, queue, lease);
  if (lease.isCancelRequested) {
    releaseKey(scope, queue, job.key);
    return finish(scope, queue, job, "cancelled", null);
  }
  // Nobody says whether its handler had begun.
  job.hasStarted = true;
  if (how === "lost") {
    job.lost++;
    if (job.attempts + job.lost >= queue.config.maxDeliveries) {
      job.error = `Delivered ${job.attempts + job.lost} times and lost by its holder ${job.lost} times`;
      scope.tables.saveJob(job);
      releaseKey(scope, queue, job.key);
      return finish(scope, queue, job, "dead", null);
    }
  }
  makeReady(scope, queue, job, job.at);
  scope.tables.saveJob(job);
}
