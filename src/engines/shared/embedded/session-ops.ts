/**
 * Sessions, and what time ends by itself. A commit does a bounded part of it first, so that nobody
 * sees what is over.
 */
import { LIMITS } from "../../../core/limits.ts";
import { invariant } from "../../../core/invariant.ts";
import type { Renewed, SessionEnd, SessionOpen, SessionRenew } from "../../../store/ops.ts";
import { giveBack, removeFinished } from "./placement.ts";
import { Scope } from "./scope.ts";
import type { Commit } from "./scope.ts";
import type { QueueRow, SessionRow } from "./tables.ts";

export function openSession(scope: Scope, op: SessionOpen): null {
  const { tables, madePartition: partition, nowMs } = scope;
  const untilMs = nowMs + op.ttlMs;
  const row = tables.session(partition.no, op.session);
  scope.commit.isDirty = true;
  if (row === undefined) {
    const { session: id, label, ttlMs } = op;
    tables.createSession({ partition: partition.no, id, label, ttlMs, untilMs, isEnded: false });
  } else {
    // The same open again, after an answer that was lost; one that is over was refused.
    row.untilMs = untilMs;
    tables.saveSession(row);
  }
  return null;
}

export function renewSession(scope: Scope, op: SessionRenew): Renewed {
  const { tables, partition, nowMs } = scope;
  const row = tables.session(partition.no, op.session);
  invariant(row !== undefined, "a renewed session exists", { session: op.session });
  row.ttlMs = op.ttlMs;
  row.untilMs = nowMs + op.ttlMs;
  tables.saveSession(row);
  scope.commit.isDirty = true;
  const cancels = tables.cancelsOfSession(row.no).map(({ queue, seq, token }) => {
    const name = (tables.queueByNo(queue) as QueueRow).name;
    return { queue: name, seq, token };
  });
  return { cancels };
}

export function endSession(scope: Scope, op: SessionEnd): null {
  const row = scope.tables.session(scope.partition.no, op.session);
  if (row === undefined || row.isEnded) return null;
  row.isEnded = true;
  scope.tables.saveSession(row);
  scope.commit.isDirty = true;
  reapSession(scope, row, LIMITS.reapRows);
  return null;
}

/**
 * Gives back up to `budget` leases and keys of a session that is over; removes it when nothing is
 * left.
 */
function reapSession(scope: Scope, row: SessionRow, budget: number): number {
  const { tables } = scope;
  const leases = tables.leasesOfSession(row.no, budget);
  for (const lease of leases) {
    const queue = tables.queueByNo(lease.queue);
    invariant(queue !== undefined, "a lease's queue exists", lease);
    giveBack(scope, queue, lease, row.isEnded ? "released" : "lost");
  }
  const left = budget - leases.length;
  const keys = left > 0 ? tables.kvOfSession(row.partition, row.id, left) : [];
  for (const key of keys) {
    tables.deleteKv(key);
    scope.logKv(key.key, true);
  }
  if (leases.length + keys.length < budget) {
    tables.deleteSession(row);
    scope.commit.isDirty = true;
  }
  return leases.length + keys.length;
}

/**
 * What time has ended since the last commit: sessions, keys, marks, finished jobs. At most
 * `LIMITS.reapRows` of each.
 */
export function reap(commit: Commit): void {
  const { tables, nowMs } = commit;
  const scopes = new Map<number, Scope>();
  const scopeOf = (no: number): Scope => {
    let scope = scopes.get(no);
    if (scope === undefined) {
      scope = new Scope(commit, tables.partitionByNo(no));
      scopes.set(no, scope);
    }
    return scope;
  };
  let budget: number = LIMITS.reapRows;
  for (const row of tables.sessionsOver(nowMs, 16)) {
    if (budget <= 0) break;
    budget -= reapSession(scopeOf(row.partition), row, budget);
  }
  for (const row of tables.kvExpired(nowMs, LIMITS.reapRows)) {
    tables.deleteKv(row);
    scopeOf(row.partition).logKv(row.key, true);
  }
  for (const row of tables.marksExpired(nowMs, LIMITS.reapRows)) {
    tables.deleteMark(row);
    commit.isDirty = true;
  }
  for (const row of tables.finishedExpired(nowMs, LIMITS.reapRows)) {
    const queue = tables.queueByNo(row.queue);
    invariant(queue !== undefined, "a finished job's queue exists", row);
    removeFinished(scopeOf(queue.partition), queue, row);
    tables.saveQueue(queue);
    commit.isDirty = true;
  }
}
