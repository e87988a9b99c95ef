/**
 * Stores that are broken on purpose, one promise each: what the simulation must find. Each stands
 * where the real state stands, behind the same network and under the same programs.
 */
import type { Clock } from "../../src/core/clock.ts";
import { MemoryState } from "../../src/engines/memory/index.ts";
import { giveBack, releaseKey } from "../../src/engines/shared/embedded/placement.ts";
import { Commit, Scope } from "../../src/engines/shared/embedded/scope.ts";
import type { LeaseRow, PartitionRow, QueueRow } from "../../src/engines/shared/embedded/tables.ts";
import type { Group, GroupResult, Op, QueueSettle } from "../../src/store/ops.ts";

/** Every how many commits a store misbehaves, where it does not always. */
const EVERY = 25;

/** Calls `change` on the tables as a commit of its own. */
function inCommit(
  state: MemoryState,
  partition: PartitionRow,
  change: (scope: Scope) => void,
): void {
  const commit = new Commit(state.tables, state.nowMs());
  change(new Scope(commit, partition));
  commit.end();
}

function* queuesOf(state: MemoryState): Generator<[PartitionRow, QueueRow], void, void> {
  for (const partition of state.tables.partitions()) {
    for (const queue of state.tables.queues(partition.no)) yield [partition, queue];
  }
}

function liveLease(state: MemoryState, queue: QueueRow): LeaseRow | undefined {
  const nowMs = state.nowMs();
  return state.tables.leaseRange(queue.no, null, Infinity).find(({ session }) => {
    const holder = state.tables.sessionByNo(session);
    return holder !== undefined && !holder.isEnded && holder.untilMs > nowMs;
  });
}

/** Settles whoever asks: a late holder's word counts. */
class IgnoresTokens extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => ({
        partition,
        ops: ops.map((op) => (op.op === "queue.settle" ? this.#asHolder(partition, op) : op)),
      })),
    );
  }
  #asHolder(name: string, op: QueueSettle): Op {
    const partition = this.tables.partitionByName(name)?.no ?? 0;
    const queue = this.tables.queueByName(partition, op.queue);
    const lease = queue && this.tables.leaseOfJob(queue.no, op.seq);
    const session = lease && this.tables.sessionByNo(lease.session)?.id;
    if (lease === undefined || session === undefined) return op;
    return { ...op, session, token: lease.token };
  }
}

/** Now and then gives a live lease back, as if its holder were gone. */
class GivesBackEarly extends MemoryState {
  #commits = 0;
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const results = super.commit(groups);
    if (++this.#commits % EVERY !== 0) return results;
    for (const [partition, queue] of queuesOf(this)) {
      const lease = liveLease(this, queue);
      if (lease === undefined) continue;
      inCommit(this, partition, (scope) => giveBack(scope, queue, lease, "lost"));
    }
    return results;
  }
}

/** Gives a lease back a second time: its job is ready while it is leased. */
class GivesBackTwice extends MemoryState {
  #commits = 0;
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const results = super.commit(groups);
    if (++this.#commits % EVERY !== 0) return results;
    for (const [, queue] of queuesOf(this)) {
      const lease = liveLease(this, queue);
      const job = lease && this.tables.job(queue.no, lease.seq);
      if (job === undefined) continue;
      this.tables.putReady(queue.no, job.at, job.seq);
      queue.counts.ready++;
    }
    return results;
  }
}

/** Frees a key when its job is claimed, not when it ends. */
class ReleasesKeysEarly extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const before = new Set([...this.#leased()]);
    const results = super.commit(groups);
    for (const [partition, queue] of queuesOf(this)) {
      for (const { seq } of this.tables.leaseRange(queue.no, null, Infinity)) {
        const key = this.tables.job(queue.no, seq)?.key ?? null;
        const active = key === null ? 0 : (this.tables.keyRow(queue.no, key)?.active ?? 0);
        if (before.has(seq) || active === 0) continue;
        inCommit(this, partition, (scope) => releaseKey(scope, queue, key));
      }
    }
    return results;
  }
  *#leased(): Generator<number, void, void> {
    for (const [, queue] of queuesOf(this)) {
      for (const { seq } of this.tables.leaseRange(queue.no, null, Infinity)) yield seq;
    }
  }
}

/** Acknowledges some completions and writes nothing of them. */
class ForgetsCompletions extends MemoryState {
  #settles = 0;
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const isDropped = groups.map(({ ops }) => {
      const settles = ops.some((op) => op.op === "queue.settle" && op.outcome === "completed");
      return settles && ++this.#settles % 10 === 0;
    });
    const kept = super.commit(groups.filter((_, index) => isDropped[index] !== true));
    let next = 0;
    return groups.map(({ ops }, index) =>
      isDropped[index] === true
        ? { ok: true, revision: 1, results: ops.map(() => null) }
        : (kept[next++] as GroupResult),
    );
  }
}

/** Writes a group op by op, and sometimes only its beginning. */
class SplitsGroups extends MemoryState {
  #groups = 0;
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => {
        const isCut = ops.length > 1 && ++this.#groups % 10 === 0;
        return { partition, ops: isCut ? ops.slice(0, 1) : ops };
      }),
    );
  }
}

/** Never ends a session for its time: the jobs of the dead wait for ever. */
class NeverExpires extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    for (const { no } of this.tables.partitions()) {
      for (const session of this.tables.sessions(no)) {
        if (!session.isEnded) session.untilMs = Number.MAX_SAFE_INTEGER;
      }
    }
    return super.commit(groups);
  }
}

/** Leases as many as are asked for. */
class ForgetsTheLimit extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const configs = [...queuesOf(this)].map(([, queue]) => ({ queue, config: queue.config }));
    for (const { queue, config } of configs) queue.config = { ...config, maxLeased: null };
    const results = super.commit(groups);
    for (const { queue, config } of configs) queue.config = { ...queue.config, ...config };
    return results;
  }
}

/** Lets counters cross their bounds. */
class ForgetsBounds extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => ({
        partition,
        ops: ops.map((op) =>
          op.op === "kv.add" ? { op: op.op, key: op.key, delta: op.delta } : op,
        ),
      })),
    );
  }
}

/** Writes whatever a compare-and-set found. */
class IgnoresChecks extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => ({
        partition,
        ops: ops.map((op) => (op.op === "kv.check" ? { op: "kv.get", key: op.key } : op)),
      })),
    );
  }
}

/** Tells no watcher that a key is gone. */
class HidesDeletions extends MemoryState {
  constructor(options: { readonly clock: Clock }) {
    super(options);
    const { tables } = this;
    const append = tables.appendJournal.bind(tables);
    tables.appendJournal = (partition, revision, count, entries) =>
      append(
        partition,
        revision,
        count,
        entries.filter((entry) => entry[3] !== 1 || entry[1] !== "k"),
      );
  }
}

/** What is broken in `kv` → how to make it. */
export const BROKEN_KV: Readonly<Record<string, (clock: Clock) => MemoryState>> = {
  "lets a counter cross its bounds": (clock) => new ForgetsBounds({ clock }),
  "ignores compare-and-set": (clock) => new IgnoresChecks({ clock }),
  "hides deletions from watchers": (clock) => new HidesDeletions({ clock }),
};

/** What is broken in sessions and queues → how to make it. */
export const BROKEN: Readonly<Record<string, (clock: Clock) => MemoryState>> = {
  "settles under any token": (clock) => new IgnoresTokens({ clock }),
  "gives live leases back": (clock) => new GivesBackEarly({ clock }),
  "gives leases back twice": (clock) => new GivesBackTwice({ clock }),
  "releases keys too early": (clock) => new ReleasesKeysEarly({ clock }),
  "forgets acknowledged completions": (clock) => new ForgetsCompletions({ clock }),
  "writes half a group": (clock) => new SplitsGroups({ clock }),
  "never ends a silent session": (clock) => new NeverExpires({ clock }),
  "leases more than the limit": (clock) => new ForgetsTheLimit({ clock }),
};
