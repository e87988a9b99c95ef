/**
 * Negative controls: each suite must find what it is there to find. A sound engine is broken in one
 * way, and the sentences that it breaks then must fail; on the same wrapper without the fault they
 * must pass.
 */
import { describe, expect, test } from "vitest";
import {
  busConformance,
  kvConformance,
  queueConformance,
  storeConformance,
  type ConformanceOptions,
  type Fixture,
} from "../../src/conformance/index.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { memory, MemoryState } from "../../src/engines/memory/index.ts";
import type { KvChanges, StoreDriver } from "../../src/store/driver.ts";
import type { ClaimedJob, Group, KvEntry, Op } from "../../src/store/ops.ts";
import { runsControls } from "./controls-runs.ts";
import { OpsChanged, ReadsChanged, ResultsChanged, Through, withClaims } from "./broken.ts";

/** Called for each state; gives what breaks its handles. */
type Break = () => (inner: StoreDriver) => StoreDriver;

interface Control {
  readonly fault: string;
  readonly suite: (options: ConformanceOptions) => void;
  readonly sentences: readonly RegExp[];
  readonly breaks: Break;
}

function createOf(breaks: Break): () => Promise<Fixture> {
  return async () => {
    const clock = new ManualClock();
    const state = new MemoryState({ clock });
    const broken = breaks();
    return {
      clock,
      open: async () => broken(memory({ state })),
      advance: (ms) => clock.advance(ms),
      dispose: async () => {},
    };
  };
}

/** The suite's tests whose sentences are asked for, ready to run. */
function collect(control: Control, breaks: Break): ReadonlyMap<string, () => Promise<void>> {
  const tests = new Map<string, () => Promise<void>>();
  const { capabilities } = memory();
  const note = (name: string, run: () => Promise<void>): void => {
    if (control.sentences.some((sentence) => sentence.test(name))) tests.set(name, run);
  };
  control.suite({ test: note, create: createOf(breaks), capabilities, seed: 7 });
  return tests;
}

const changeOps = (change: (op: Op) => Op | undefined): Break => {
  return () => (inner) => new OpsChanged(inner, change);
};

/** A refused group is committed all the same, as far as it went. */
const halfGroups: Break = () => (inner) =>
  new ResultsChanged(inner, async (group, result, driver) => {
    if (!result.ok && result.refusal.index > 0) {
      const ops = group.ops.slice(0, result.refusal.index);
      await driver.commit([{ partition: group.partition, ops }]);
    }
    return result;
  });

/** A stale token is as good as any: the settle is done under whatever token the job is held. */
const noFencing: Break = () => (inner) =>
  new ResultsChanged(inner, (group, result) => {
    if (result.ok || result.refusal.code !== "FENCED") return result;
    return { ok: true, revision: 1, results: group.ops.map(() => "completed" as const) };
  });

/** Keys that ended by themselves are still seen. */
const seesExpired: Break = () => {
  const last = new Map<string, KvEntry>();
  return (inner) => {
    const changed = new ReadsChanged(inner, (read, result) => {
      if (read.read !== "kv.get") return result;
      return (result as readonly (KvEntry | null)[]).map((entry, i) => {
        return entry ?? last.get(read.keys[i] as string) ?? null;
      });
    });
    const commit = changed.commit.bind(changed);
    changed.commit = async (groups: readonly Group[]) => {
      const results = await commit(groups);
      for (const [i, { ops }] of groups.entries()) {
        const result = results[i];
        for (const op of ops) {
          if (op.op !== "kv.put" || op.ttlMs === undefined || result?.ok !== true) continue;
          last.set(op.key, { key: op.key, value: op.value, revision: result.revision });
        }
      }
      return results;
    };
    return changed;
  };
};

/** A read may give what an earlier read of the same gave: a replica that lags. */
const staleReads: Break = () => {
  const before = new Map<string, { readonly result: unknown; uses: number }>();
  return (inner) =>
    new ReadsChanged(inner, (read, result) => {
      const name = JSON.stringify(read);
      const old = before.get(name);
      if (old !== undefined && old.uses-- > 0) return old.result;
      before.set(name, { result, uses: 2 });
      return result;
    });
};

/** Every so many groups one is answered and never written. */
const losesWrites: Break = () => {
  let count = 0;
  return (inner) => {
    const through = new Through(inner);
    through.commit = async (groups: readonly Group[]) => {
      const results = await inner.commit(groups.filter((group) => !isLost(group)));
      const left = [...results];
      return groups.map((group) => {
        if (!lost.has(group)) return left.shift() as never;
        const answers = group.ops.map(() => ({ id: "lost", seq: 1, status: "added" }) as const);
        return { ok: true, revision: 1, results: answers } as const;
      });
    };
    const lost = new Set<Group>();
    const isLost = (group: Group): boolean => {
      const isAdd = group.ops.every((op) => op.op === "queue.enqueue");
      if (isAdd && ++count % 20 === 0) lost.add(group);
      return lost.has(group);
    };
    return through;
  };
};

/** A job that is held is given out again now and then. */
const doubleDelivery: Break = () => {
  const given: ClaimedJob[] = [];
  return (inner) =>
    new ResultsChanged(inner, (group, result) =>
      withClaims(group, result, (claimed) => {
        const again = given.length > 3 && given.length % 4 === 0 ? given.slice(0, 1) : [];
        given.push(...claimed.jobs);
        return { ...claimed, jobs: [...claimed.jobs, ...again] };
      }),
    );
};

/** All claims have the same token outside. */
const constantTokens: Break = () => {
  const tokens = new Map<number, number>();
  return (inner) => {
    const settles = new OpsChanged(inner, (op) => {
      if (op.op !== "queue.settle" && op.op !== "queue.progress") return op;
      return { ...op, token: tokens.get(op.seq) ?? 0 };
    });
    return new ResultsChanged(settles, (group, result) =>
      withClaims(group, result, (claimed) => {
        for (const job of claimed.jobs) tokens.set(job.seq, job.token);
        return { ...claimed, jobs: claimed.jobs.map((job) => ({ ...job, token: 1 })) };
      }),
    );
  };
};

/** One refusal refuses its neighbours in the same commit. */
const tiedGroups: Break = () => (inner) => {
  const through = new Through(inner);
  through.commit = async (groups: readonly Group[]) => {
    const results = await inner.commit(groups);
    const refused = results.find((result) => !result.ok);
    return refused === undefined ? results : results.map(() => refused);
  };
  return through;
};

function changeWatch(change: (batch: KvChanges) => KvChanges): Break {
  return () => (inner) => {
    const through = new Through(inner);
    through.watch = async function* (partition, prefix, cursor, signal) {
      for await (const batch of inner.watch(partition, prefix, cursor, signal)) yield change(batch);
    };
    return through;
  };
}

/** A cursor is forgotten: the watch begins from now. */
const gapAtCursor: Break = () => (inner) => {
  const through = new Through(inner);
  through.watch = (partition, prefix, _cursor, signal) =>
    inner.watch(partition, prefix, null, signal);
  return through;
};

const byUnits: Break = () => (inner) =>
  new ReadsChanged(inner, (read, result) => {
    if (read.read !== "kv.list") return result;
    const page = result as { readonly entries: readonly KvEntry[] };
    const entries = [...page.entries].sort((a, b) => (a.key < b.key ? -1 : 1));
    return { ...page, entries };
  });

const wrongCounts: Break = () => (inner) =>
  new ReadsChanged(inner, (read, result) => {
    if (read.read !== "queue.stats") return result;
    return (result as readonly { counts: { ready: number } }[]).map((view) => {
      return { ...view, counts: { ...view.counts, ready: view.counts.ready + 1 } };
    });
  });

/** Messages of refused groups go out too. */
const refusedMessages: Break = () => (inner) =>
  new ResultsChanged(inner, async (group, result, driver) => {
    const ops = group.ops.filter((op) => op.op === "bus.publish");
    if (!result.ok && ops.length > 0) await driver.commit([{ partition: group.partition, ops }]);
    return result;
  });

function dropsRecords(kind: string): Break {
  return () => (inner) => {
    const through = new Through(inner);
    through.import = (partition, records) =>
      inner.import(
        partition,
        records.filter((each) => each.record !== kind),
      );
    return through;
  };
}

const noSeal: Break = () => (inner) => {
  const through = new Through(inner);
  through.seal = async () => {};
  return through;
};

const sessionOf = (op: Op): Op => {
  return op.op === "kv.put" ? { ...op, session: undefined } : op;
};
const unbounded = (op: Op): Op => {
  return op.op === "kv.add" ? { op: "kv.add", key: op.key, delta: op.delta } : op;
};
const enqueues = (change: Partial<Extract<Op, { op: "queue.enqueue" }>>) => {
  return changeOps((op) => (op.op === "queue.enqueue" ? { ...op, ...change } : op));
};
const configures = (change: Partial<Extract<Op, { op: "queue.configure" }>["config"]>) => {
  return changeOps((op) => {
    return op.op === "queue.configure" ? { ...op, config: { ...op.config, ...change } } : op;
  });
};

const kv = kvConformance;
const queue = queueConformance;
const store = storeConformance;
const bus = busConformance;

const controls: readonly Control[] = [
  ...runsControls,
  {
    fault: "drops fencing",
    suite: queue,
    breaks: noFencing,
    sentences: [/^A settle or progress under/, /^Of many settles/],
  },
  {
    fault: "sees expired keys",
    suite: kv,
    breaks: seesExpired,
    sentences: [/^A key is seen until/],
  },
  {
    fault: "applies half a refused group",
    suite: store,
    breaks: halfGroups,
    sentences: [/^All ops of a group/, /^Groups that travel/],
  },
  {
    fault: "applies half a refused group",
    suite: queue,
    breaks: halfGroups,
    sentences: [/^Ops that were committed with/],
  },
  {
    fault: "ties a commit's groups together",
    suite: store,
    breaks: tiedGroups,
    sentences: [/^Groups that travel/],
  },
  {
    fault: "skips the order of keys",
    suite: queue,
    breaks: enqueues({ key: null }),
    sentences: [/^Jobs of one key/, /^Through any history/],
  },
  {
    fault: "reads from a replica that lags",
    suite: kv,
    breaks: staleReads,
    sentences: [/^A get sees every write/, /linearizable/],
  },
  {
    fault: "loses acknowledged adds",
    suite: queue,
    breaks: losesWrites,
    sentences: [/^A job is never lost/],
  },
  {
    fault: "gives held jobs out again",
    suite: queue,
    breaks: doubleDelivery,
    sentences: [/^A job is held by/, /^Through any history/],
  },
  {
    fault: "has tokens that do not grow",
    suite: queue,
    breaks: constantTokens,
    sentences: [/^A token is greater/],
  },
  {
    fault: "ignores bounds of counters",
    suite: kv,
    breaks: changeOps(unbounded),
    sentences: [/^A bound holds/, /^A bounded add/, /^Bounds see/],
  },
  {
    fault: "keeps the keys of dead sessions",
    suite: kv,
    breaks: changeOps(sessionOf),
    sentences: [/gone as soon as/],
  },
  {
    fault: "lists in the order of UTF-16",
    suite: kv,
    breaks: byUnits,
    sentences: [/^A list is in the order/],
  },
  {
    fault: "does not watch deletions",
    suite: kv,
    breaks: changeWatch((batch) => {
      return { ...batch, changes: batch.changes.filter((change) => change.value !== null) };
    }),
    sentences: [/^The end of a TTL/, /always its last state/],
  },
  {
    fault: "forgets a watch's cursor",
    suite: kv,
    breaks: gapAtCursor,
    sentences: [/^A watch from/],
  },
  {
    fault: "hides resyncs",
    suite: kv,
    breaks: changeWatch((batch) => ({ ...batch, isResync: false })),
    sentences: [/gives one resync$|trimmed gives/],
  },
  {
    fault: "is early",
    suite: queue,
    breaks: changeOps((op) =>
      op.op === "queue.enqueue" ? { ...op, delayMs: op.delayMs >> 1 } : op,
    ),
    sentences: [/^A delayed job is never/],
  },
  {
    fault: "ignores priorities",
    suite: queue,
    breaks: enqueues({ priority: 0 }),
    sentences: [/^A job of higher priority/],
  },
  {
    fault: "ignores maxLeased",
    suite: queue,
    breaks: configures({ maxLeased: null }),
    sentences: [/^There are never more/, /^Through any history/],
  },
  {
    fault: "ignores maxWaiting",
    suite: queue,
    breaks: configures({ maxWaiting: null }),
    sentences: [/^A queue that holds/, /^`maxWaiting`/],
  },
  {
    fault: "lets poison jobs live",
    suite: queue,
    breaks: configures({ maxDeliveries: 1_000 }),
    sentences: [/^A job that was delivered/],
  },
  {
    fault: "has a rate of twice the burst",
    suite: queue,
    breaks: changeOps((op) => {
      if (op.op !== "queue.configure" || op.config.rate === null) return op;
      const rate = { ...op.config.rate, burst: op.config.rate.burst * 2 };
      return { ...op, config: { ...op.config, rate } };
    }),
    sentences: [/^In any span/, /^A backlog uses/, /^A rate per key/],
  },
  {
    fault: "knows no dedupe keys",
    suite: queue,
    breaks: enqueues({ dedupe: null }),
    sentences: [/^In the window/, /^Of concurrent adds/],
  },
  {
    fault: "does not look for ids",
    suite: queue,
    breaks: enqueues({ isFresh: true }),
    sentences: [/^Adding/, /^Of concurrent adds/],
  },
  {
    fault: "loses asked cancels",
    suite: queue,
    breaks: changeOps((op) => (op.op === "queue.cancel" ? { ...op, id: "none" } : op)),
    sentences: [/^A cancel of a/, /^A held job whose/],
  },
  {
    fault: "ignores a pause",
    suite: queue,
    breaks: changeOps((op) => (op.op === "queue.pause" ? { ...op, isPaused: false } : op)),
    sentences: [/^A paused queue/],
  },
  {
    fault: "counts wrongly",
    suite: queue,
    breaks: wrongCounts,
    sentences: [/^The counts of a queue/, /^Through any history/],
  },
  {
    fault: "counts releases as attempts",
    suite: queue,
    breaks: changeOps((op) =>
      op.op === "queue.settle" && op.outcome === "released" ? { ...op, outcome: "retry" } : op,
    ),
    sentences: [/^A released job/],
  },
  {
    fault: "sends messages of refused groups",
    suite: bus,
    breaks: refusedMessages,
    sentences: [/^A message of a group/],
  },
  {
    fault: "hears other topics",
    suite: bus,
    breaks: changeOps((op) =>
      op.op === "bus.publish" ? { ...op, topic: op.topic.toLowerCase() } : op,
    ),
    sentences: [/^A listener hears/],
  },
  {
    fault: "does not seal",
    suite: store,
    breaks: noSeal,
    sentences: [/^A sealed partition/, /^A partition that is unsealed/],
  },
  {
    fault: "imports no dedupe windows",
    suite: store,
    breaks: dropsRecords("mark"),
    sentences: [/^After a move ids/, /^A partition that is exported/],
  },
  {
    fault: "imports no sessions' keys",
    suite: store,
    breaks: dropsRecords("kv"),
    sentences: [/^After a move a holder/, /^A partition that is exported/],
  },
  {
    fault: "never ends a session",
    suite: store,
    breaks: changeOps((op) => (op.op === "session.renew" ? { ...op, ttlMs: 3_600_000 } : op)),
    sentences: [/^A session is live/, /^When a session is over/],
  },
];

const sound: Break = () => (inner) => new Through(inner);

describe.each(controls.map((control) => [control.fault, control] as const))(
  "an engine that %s",
  (_fault, control) => {
    const names = [...collect(control, sound).keys()];
    test.each(names)("fails: %s", async (name) => {
      const run = collect(control, control.breaks).get(name);
      await expect(run?.()).rejects.toThrow();
      // Without the fault the same wrapper passes: it is the fault that was found.
      await collect(control, sound).get(name)?.();
    });
    test("is looked for by a test for each sentence named", () => {
      for (const sentence of control.sentences) {
        expect(names.some((name) => sentence.test(name))).toBe(true);
      }
    });
  },
);
