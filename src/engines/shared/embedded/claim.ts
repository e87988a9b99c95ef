/**
 * Claiming: due jobs are promoted, limits are applied exactly, and each job taken gets a lease
 * under the group's revision.
 */
import { LIMITS } from "../../../core/limits.ts";
import { invariant } from "../../../core/invariant.ts";
import type { Claimed, ClaimedJob, QueueClaim, RateConfig } from "../../../store/ops.ts";
import { admit, holdsRuns, makeReady, makeScheduled, rankOf } from "./placement.ts";
import { runState } from "./run-ops.ts";
import type { Scope } from "./scope.ts";
import type { JobRow, QueueRow, SessionRow } from "./tables.ts";

/**
 * GCRA (the virtual scheduling algorithm of ITU-T I.371): `atMs` is the theoretical arrival time of
 * the next start. A start is allowed while `atMs` is no more than the burst ahead of now, and moves
 * it on by one interval. So in any span of t ms at most `burst + t / interval` starts pass.
 *
 * An interval is seldom a whole number of ms, and a double of today's date has 1/4096 ms left for
 * the rest: added up, the error made one start in 700 a ms early. So instants are kept as whole ms
 * and whole parts of one (thirds for 3 in 1,000 ms), and calculated in parts alone.
 */
interface Pace {
  /** Parts of a ms. */
  readonly parts: number;
  /** The interval in parts. */
  readonly step: number;
}

/**
 * A double at today's date tells finer parts not apart: they are rounded up to these, never early.
 */
const FINEST_PARTS = 4_096;

function paceOf({ count, perMs }: RateConfig): Pace {
  let [common, rest] = [count, perMs];
  while (rest > 0) [common, rest] = [rest, common % rest];
  const parts = count / common;
  if (parts <= FINEST_PARTS / 2) return { parts, step: perMs / common };
  return { parts: FINEST_PARTS, step: (perMs / count) * FINEST_PARTS };
}

/** An instant in parts since a whole ms. */
function partsSince(atMs: number, wholeMs: number, parts: number): number {
  const floorMs = Math.floor(atMs);
  return (floorMs - wholeMs) * parts + Math.round((atMs - floorMs) * parts);
}

/** How many starts the rate allows now. */
export function rateRoom(rate: RateConfig, atMs: number, nowMs: number): number {
  const { parts, step } = paceOf(rate);
  const ahead = Math.max(0, partsSince(atMs, nowMs, parts));
  // A millionth of an interval: what a division may lose.
  return Math.max(0, Math.floor(rate.burst - ahead / step + 1e-6));
}
export function rateSpend(rate: RateConfig, atMs: number, nowMs: number, starts: number): number {
  const { parts, step } = paceOf(rate);
  const fromMs = Math.max(nowMs, Math.floor(atMs));
  const ahead = Math.max(0, partsSince(atMs, fromMs, parts)) + Math.ceil(starts * step);
  return fromMs + Math.floor(ahead / parts) + (ahead % parts) / parts;
}
/** When the next single start is allowed: a whole millisecond, never early. */
export function rateOpensMs(rate: RateConfig, atMs: number): number {
  const { parts, step } = paceOf(rate);
  const floorMs = Math.floor(atMs);
  const ahead = partsSince(atMs, floorMs, parts) - (rate.burst - 1) * step;
  return floorMs + Math.ceil(ahead / parts);
}

export function claim(scope: Scope, op: QueueClaim): Claimed {
  const queue = scope.tables.queueByName(scope.partition.no, op.queue);
  if (queue === undefined) return { jobs: [], nextMs: null };
  const session = scope.tables.session(scope.partition.no, op.session);
  invariant(session !== undefined, "a claim's session exists", { session: op.session });
  promoteDue(scope, queue);
  if (queue.isPaused) return { jobs: [], nextMs: null };
  const { config, counts } = queue;
  const wholeRate = config.rate?.isPerKey === false ? config.rate : null;
  let room = Math.min(op.max, LIMITS.claimJobs);
  if (config.maxLeased !== null) room = Math.min(room, config.maxLeased - counts.leased);
  const rateAllows = wholeRate === null ? room : rateRoom(wholeRate, queue.rateMs, scope.nowMs);
  const { jobs, isCut } = take(scope, queue, session, Math.max(0, Math.min(room, rateAllows)));
  if (wholeRate !== null && jobs.length > 0) {
    queue.rateMs = rateSpend(wholeRate, queue.rateMs, scope.nowMs, jobs.length);
    scope.tables.saveQueue(queue);
  }
  const waitMs = isCut ? 1 : nextMs(scope, queue, room > rateAllows ? wholeRate : null);
  return { jobs, nextMs: waitMs };
}

/** Moves what is due into the ready order, a bounded number at a time. */
function promoteDue(scope: Scope, queue: QueueRow): void {
  if (queue.counts.scheduled === 0) return;
  for (const job of scope.tables.takeDue(queue.no, scope.nowMs, LIMITS.reapRows)) {
    queue.counts.scheduled--;
    // Ranked by its due time: lateness of promotion costs it nothing.
    if (job.holdsKey) makeReady(scope, queue, job, rankOf(queue, job, job.at));
    else admit(scope, queue, job, job.at);
    scope.tables.saveJob(job);
    scope.tables.saveQueue(queue);
  }
}

interface Taken {
  readonly jobs: ClaimedJob[];
  /** True: so many came too early for their key's rate that the look ended before the line did. */
  readonly isCut: boolean;
}

function take(scope: Scope, queue: QueueRow, session: SessionRow, room: number): Taken {
  const taken: ClaimedJob[] = [];
  let early = 0;
  while (taken.length < room && queue.counts.ready > 0 && early < LIMITS.reapRows) {
    const jobs = scope.tables.takeReady(queue.no, room - taken.length);
    if (jobs.length === 0) break;
    queue.counts.ready -= jobs.length;
    for (const job of jobs) {
      if (isTooEarly(scope, queue, job)) early++;
      else taken.push(lease(scope, queue, session, job));
    }
  }
  if (taken.length > 0) {
    queue.counts.leased += taken.length;
    scope.tables.saveQueue(queue);
  }
  return { jobs: taken, isCut: early >= LIMITS.reapRows && queue.counts.ready > 0 };
}

/** Applies a key's own rate: a job that comes too early is scheduled, keeping its key's place. */
function isTooEarly(scope: Scope, queue: QueueRow, job: JobRow): boolean {
  const { rate } = queue.config;
  if (rate === null || !rate.isPerKey || job.key === null) return false;
  const atMs = scope.tables.mark(queue.no, "rate", job.key)?.value ?? 0;
  if (rateRoom(rate, atMs, scope.nowMs) === 0) {
    const opensMs = Math.max(scope.nowMs + 1, rateOpensMs(rate, atMs));
    makeScheduled(scope, queue, job, opensMs, true);
    scope.tables.saveJob(job);
    return true;
  }
  const value = rateSpend(rate, atMs, scope.nowMs, 1);
  const expiresMs = Math.ceil(value) + 1;
  scope.tables.saveMark({
    queue: queue.no,
    kind: "rate",
    name: job.key,
    value,
    id: null,
    expiresMs,
  });
  return false;
}

function lease(scope: Scope, queue: QueueRow, session: SessionRow, job: JobRow): ClaimedJob {
  const token = scope.revision;
  scope.tables.insertLease({
    session: session.no,
    seq: job.seq,
    queue: queue.no,
    token,
    isCancelRequested: false,
    progress: null,
  });
  scope.logJob(queue, job.seq, "leased");
  const readySinceMs = job.at + job.priority * queue.config.ageMs;
  return {
    seq: job.seq,
    id: job.id,
    payload: job.payload,
    key: job.key,
    priority: job.priority,
    attempt: job.attempts + 1,
    delivery: job.attempts + job.lost + 1,
    token,
    waitedMs: Math.max(0, scope.nowMs - readySinceMs),
    trace: job.trace,
    ...(holdsRuns(queue) && { run: runState(scope.tables, queue.no, job.seq, scope.nowMs) }),
  };
}

function nextMs(scope: Scope, queue: QueueRow, blockedBy: RateConfig | null): number | null {
  const times: number[] = [];
  if (blockedBy !== null && queue.counts.ready > 0) {
    times.push(rateOpensMs(blockedBy, queue.rateMs));
  }
  const dueMs = queue.counts.scheduled > 0 ? scope.tables.nextDueMs(queue.no) : undefined;
  if (dueMs !== undefined) times.push(dueMs);
  return times.length === 0 ? null : Math.max(1, Math.min(...times) - scope.nowMs);
}
