/**
 * Reads a queue's tables whole and compares what is counted with what is there. It trusts no
 * counter.
 */
import type { MemoryState } from "../../src/engines/memory/index.ts";
import type { JobRow } from "../../src/engines/shared/embedded/tables.ts";

function check(condition: boolean, message: string, data?: unknown): void {
  if (!condition)
    throw new Error(`Audit: ${message} ${data === undefined ? "" : JSON.stringify(data)}`);
}

type Waiting = "ready" | "scheduled" | "blocked";
const FINISHED = ["completed", "cancelled", "dead"] as const;

interface KeyCount {
  active: number;
  waiting: number;
}

/**
 * One commit's end: every job is in exactly one structure, counters agree, limits hold by the
 * store's clock.
 */
export function auditQueue(state: MemoryState, partition: string, name: string): void {
  const { tables } = state;
  const row = tables.partitionByName(partition);
  const queue = row === undefined ? undefined : tables.queueByName(row.no, name);
  if (queue === undefined) return;
  const { counts, config, no } = queue;
  for (const [what, count] of Object.entries(counts)) {
    check(count >= 0, `the count of ${what} jobs is never negative`, counts);
  }
  const nowMs = state.nowMs();
  const leases = tables.leaseRange(no, null, Infinity);
  const live = leases.filter(({ session }) => {
    const holder = tables.sessionByNo(session);
    return holder !== undefined && !holder.isEnded && holder.untilMs > nowMs;
  });
  const { maxLeased } = config;
  if (maxLeased !== null) {
    check(live.length <= maxLeased, `at most ${maxLeased} unexpired leases`, live);
  }
  check(counts.leased === leases.length, "the count of leased jobs", { counts, leases });
  const seen = { ready: 0, scheduled: 0, blocked: 0 };
  const keys = new Map<string, KeyCount>();
  for (const job of tables.jobRange(no, null, Infinity)) {
    if (tables.finished(no, job.seq) !== undefined) {
      check(tables.leaseOfJob(no, job.seq) === undefined, "a finished job is not leased", job);
      continue;
    }
    const isLeased = tables.leaseOfJob(no, job.seq) !== undefined;
    if (!isLeased) seen[job.state]++;
    if (job.key !== null) countKey(keys, job, isLeased ? undefined : job.state);
  }
  for (const what of ["ready", "scheduled", "blocked"] as const) {
    check(counts[what] === seen[what], `the count of ${what} jobs`, { counts, seen });
  }
  for (const what of FINISHED) {
    const found = tables.finishedRange(no, what, null, Infinity).length;
    check(counts[what] === found, `the count of ${what} jobs`, { counts, found });
  }
  for (const what of ["completed", "cancelled"] as const) {
    const oldest = tables.finishedOldest(no, what, Infinity);
    const times = oldest.map(({ seq }) => tables.finished(no, seq)?.finishedMs ?? 0);
    check(oldest.length === counts[what], `the ${what} jobs by time`, { counts, oldest });
    const isSorted = times.every((ms, i) => i === 0 || (times[i - 1] as number) <= ms);
    check(isSorted, `the ${what} jobs in the order of their finishing`, times);
  }
  for (const [key, count] of keys) {
    const kept = tables.keyRow(no, key) ?? { active: 0, waiting: 0 };
    const isSame = kept.active === count.active && kept.waiting === count.waiting;
    check(isSame, `the counts of key ${key}`, { kept, count });
    check(
      count.active <= config.perKey,
      `at most ${config.perKey} active jobs of key ${key}`,
      count,
    );
    const isMoving = count.active > 0 || count.waiting === 0;
    check(isMoving, `a blocked job of key ${key} waits for somebody`, count);
  }
}

/** `where` undefined: leased. */
function countKey(keys: Map<string, KeyCount>, job: JobRow, where: Waiting | undefined): void {
  const key = job.key as string;
  const count = keys.get(key) ?? { active: 0, waiting: 0 };
  keys.set(key, count);
  if (where === "blocked") count.waiting++;
  else if (where !== "scheduled" || job.holdsKey) count.active++;
}
