/**
 * The state machine of the embedded engines. One call is one commit: first what time has ended,
 * then the groups in order, each decided by reads alone and, if it holds, written. A group sees the
 * groups before it; a refused one leaves no trace.
 *
 * Cost: O(log n) per op in the tables; per commit a handful of reads besides.
 */
import { invariant } from "../../../core/invariant.ts";
import type { Channel } from "../../../store/driver.ts";
import { refusalError } from "../../../store/group.ts";
import type { Group, GroupResult, Op, OpResult } from "../../../store/ops.ts";
import { claim } from "./claim.ts";
import { Decision } from "./decide.ts";
import * as kv from "./kv-ops.ts";
import * as queue from "./queue-ops.ts";
import * as runs from "./run-ops.ts";
import { Commit, Scope, unwritten } from "./scope.ts";
import type { Message } from "./scope.ts";
import { partitionMoved } from "./refusals.ts";
import { endSession, openSession, reap, renewSession } from "./session-ops.ts";
import type { Tables } from "./tables.ts";

export interface CommitOutcome {
  readonly results: readonly GroupResult[];
  /** Hints and messages to give out once the commit is durable. */
  readonly channels: readonly Channel[];
  readonly messages: readonly Message[];
  /** False: nothing changed, nothing need be written. */
  readonly isDirty: boolean;
}

/**
 * Runs one commit over the tables. `intake` holds groups that users wrote in their own
 * transactions: they are facts already, so that no bound or seal refuses them.
 */
export function runCommit(
  tables: Tables,
  groups: readonly Group[],
  nowMs: number,
  intake: readonly Group[] = [],
): CommitOutcome {
  const commit = new Commit(tables, nowMs);
  reap(commit);
  for (const group of intake) {
    const result = runGroup(commit, group, true);
    // A newer library's op: whoever knows it takes it in, and until then it must not get lost.
    if (!result.ok && result.refusal.code === "INCOMPATIBLE") throw refusalError(result.refusal);
    invariant(result.ok, "a group that was taken in can't be refused", result);
  }
  const results = groups.map((group) => runGroup(commit, group, false));
  commit.end();
  const { messages, isDirty } = commit;
  return { results, channels: commit.channels(), messages, isDirty };
}

function runGroup(commit: Commit, group: Group, isForced: boolean): GroupResult {
  const partition = commit.tables.partitionByName(group.partition) ?? unwritten(group.partition);
  if (partition.isSealed && !isForced) {
    const { name, movedTo } = partition;
    return { ok: false, refusal: { index: 0, ...partitionMoved(name, movedTo) } };
  }
  const scope = new Scope(commit, partition);
  const refusal = new Decision(scope, group.ops, isForced).judge();
  if (refusal !== undefined) return { ok: false, refusal };
  const results: OpResult[] = [];
  for (const op of group.ops) results.push(write(scope, op));
  return { ok: true, revision: scope.endRevision, results };
}

function write(scope: Scope, op: Op): OpResult {
  switch (op.op) {
    case "kv.check":
      return null;
    case "kv.put":
      return kv.put(scope, op);
    case "kv.delete":
      return kv.remove(scope, op);
    case "kv.add":
      return kv.add(scope, op);
    case "kv.get":
      return kv.get(scope, op);
    case "session.open":
      return openSession(scope, op);
    case "session.renew":
      return renewSession(scope, op);
    case "session.end":
      return endSession(scope, op);
    case "bus.publish": {
      const { name, no } = scope.madePartition;
      scope.tables.publish(no, op.topic, op.message);
      const channel: Channel = { kind: "bus", partition: name, name: op.topic };
      scope.commit.messages.push({ channel, message: op.message });
      scope.commit.isDirty = true;
      return null;
    }
    default:
      return writeQueue(scope, op);
  }
}

function writeQueue(scope: Scope, op: Extract<Op, { queue: string }>): OpResult {
  switch (op.op) {
    case "queue.configure":
      return queue.configure(scope, op);
    case "queue.enqueue":
      return queue.enqueue(scope, op);
    case "queue.claim":
      return claim(scope, op);
    case "queue.settle":
      return queue.settle(scope, op);
    case "queue.progress":
      return queue.progress(scope, op);
    case "queue.cancel":
      return queue.cancel(scope, op);
    case "queue.redrive":
      return queue.redrive(scope, op);
    case "queue.pause":
      return queue.pause(scope, op);
    case "queue.purge":
      return queue.purge(scope, op);
    case "runs.record":
      return runs.record(scope, op);
    case "runs.restart":
      return runs.restart(scope, op);
    case "runs.send":
      return runs.send(scope, op);
  }
}
