/**
 * The simulator itself: virtual time, order, machines and their clocks, the network, and what a
 * failure says.
 */
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/core/random.ts";
import { isHoldfastError } from "../../src/core/errors.ts";
import { sleep } from "../../src/core/signal.ts";
import { Chance } from "../../src/sim/chance.ts";
import { CALM, swarm } from "../../src/sim/faults.ts";
import { describePlan, simulate, SimulationError, type World } from "../../src/sim/index.ts";
import { SimNode } from "../../src/sim/node.ts";
import { Scheduler } from "../../src/sim/scheduler.ts";

function makeScheduler(seed = 1, maxEvents = 10_000): Scheduler {
  const count = { draws: 0 };
  return new Scheduler({ chance: new Chance(new SeededRandom(seed), count), count, maxEvents });
}

function makeNode(scheduler: Scheduler, plan = CALM, seed = 1): SimNode {
  const chance = new Chance(new SeededRandom(seed), { draws: 0 });
  return new SimNode({ name: "n1", scheduler, chance, plan: () => plan });
}

const at = (atMs: number, label = "") => ({ atMs, kind: "test", label });

// ---------------------------------------------------------------- time and order

test("events run in the order of their instants, and time stands at each", async () => {
  const scheduler = makeScheduler();
  const seen: [string, number][] = [];
  for (const [label, atMs] of [
    ["c", 30],
    ["a", 10],
    ["b", 20],
  ] as const) {
    scheduler.at(at(atMs), () => seen.push([label, scheduler.nowMs]));
  }
  expect(await scheduler.run(25)).toBe(false);
  expect(seen).toEqual([
    ["a", 10],
    ["b", 20],
  ]);
  expect(scheduler.nowMs).toBe(25);
  await scheduler.run(100);
  expect(seen.at(-1)).toEqual(["c", 30]);
});

test("a thousand events at random instants come sorted, cancelled ones never", async () => {
  const scheduler = makeScheduler();
  const random = new SeededRandom(7);
  const seen: number[] = [];
  let cancelled = 0;
  for (let i = 0; i < 1_000; i++) {
    const atMs = Math.floor(random.next() * 100);
    const event = scheduler.at(at(atMs), () => seen.push(atMs));
    if (random.next() > 0.2) continue;
    event.cancel();
    cancelled++;
  }
  await scheduler.run(100);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen).toHaveLength(1_000 - cancelled);
});

test("events of one instant come in an order of the seed", async () => {
  const orderOf = async (seed: number): Promise<string> => {
    const scheduler = makeScheduler(seed);
    let order = "";
    for (const label of "abcdef") scheduler.at(at(5), () => (order += label));
    await scheduler.run(10);
    return order;
  };
  const orders = new Set<string>();
  for (let seed = 1; seed <= 50; seed++) orders.add(await orderOf(seed));
  expect(orders.size).toBeGreaterThan(30);
  expect(await orderOf(3)).toBe(await orderOf(3));
});

test("whole chains of promises run between two events", async () => {
  const scheduler = makeScheduler();
  let steps = 0;
  const chain = async (): Promise<void> => {
    for (let i = 0; i < 1_000; i++) {
      await Promise.resolve();
      steps++;
    }
  };
  let seenAtSecond = 0;
  scheduler.at(at(1), () => void chain());
  scheduler.at(at(2), () => (seenAtSecond = steps));
  await scheduler.run(10);
  expect(seenAtSecond).toBe(1_000);
});

test("an hour of virtual time takes no real time", async () => {
  const scheduler = makeScheduler();
  const clock = makeNode(scheduler).boot();
  let isOver = false;
  void sleep(clock, 3_600_000).then(() => (isOver = true));
  const startMs = performance.now();
  await scheduler.run(4_000_000);
  expect(isOver).toBe(true);
  expect(performance.now() - startMs).toBeLessThan(2_000);
});

test("a world that goes round without end is stopped with a clear error", async () => {
  const scheduler = makeScheduler(1, 500);
  const again = (): void => void scheduler.at(at(0), again);
  again();
  await expect(scheduler.run(10)).rejects.toThrow(/at most 500 events/);
});

test("what an event throws, or reports, ends the run", async () => {
  const thrown = makeScheduler();
  thrown.at(at(1), () => {
    throw new Error("thrown");
  });
  await expect(thrown.run(10)).rejects.toThrow("thrown");
  const reported = makeScheduler();
  reported.at(at(1), () => reported.fail(new Error("first")));
  reported.at(at(1), () => reported.fail(new Error("first")));
  await expect(reported.run(10)).rejects.toThrow("first");
});

test("the trace's hash tells apart: time, instance, kind, label and draws", async () => {
  const hashOf = async (build: (scheduler: Scheduler) => void): Promise<string> => {
    const scheduler = makeScheduler();
    build(scheduler);
    await scheduler.run(10);
    return scheduler.trace.hash;
  };
  const base = (scheduler: Scheduler): void => void scheduler.at(at(1, "x"), () => undefined);
  const hashes = [
    await hashOf(base),
    await hashOf((s) => void s.at(at(2, "x"), () => undefined)),
    await hashOf((s) => void s.at(at(1, "y"), () => undefined)),
    await hashOf((s) => void s.at({ ...at(1, "x"), kind: "other" }, () => undefined)),
    await hashOf((s) => void s.at({ ...at(1, "x"), owner: makeNode(s) }, () => undefined)),
    await hashOf((s) => {
      base(s);
      s.at(at(20), () => undefined);
    }),
  ];
  expect(new Set(hashes).size).toBe(hashes.length);
  expect(await hashOf(base)).toBe(hashes[0]);
});

// ---------------------------------------------------------------- machines

test("a crash drops timers for ever, and the dead make no new ones", async () => {
  const scheduler = makeScheduler();
  const node = makeNode(scheduler);
  const clock = node.boot();
  const seen: string[] = [];
  clock.timer(10, () => seen.push("old"));
  void clock.yield().then(() => seen.push("yield"));
  scheduler.at(at(0), () => undefined);
  await scheduler.run(5);
  node.crash();
  clock.timer(1, () => seen.push("late"));
  void clock.yield().then(() => seen.push("late yield"));
  node.boot().timer(20, () => seen.push("new"));
  await scheduler.run(100);
  expect(seen).toEqual(["yield", "new"]);
});

test("a pause holds events and no clock; a suspend stops the monotonic one too", async () => {
  const run = async (how: "pause" | "suspend"): Promise<unknown> => {
    const scheduler = makeScheduler();
    const node = makeNode(scheduler);
    const clock = node.boot();
    const startWallMs = clock.wallMs();
    let firedMs = 0;
    let monotonicMs = 0;
    clock.timer(100, () => {
      firedMs = scheduler.nowMs;
      monotonicMs = clock.monotonicMs();
    });
    scheduler.at(at(50), () => void node[how]());
    scheduler.at(at(1_050), () => node.resume());
    await scheduler.run(5_000);
    return { firedMs, monotonicMs, wallMs: clock.wallMs() - startWallMs };
  };
  expect(await run("pause")).toEqual({ firedMs: 1_050, monotonicMs: 1_050, wallMs: 5_000 });
  expect(await run("suspend")).toEqual({ firedMs: 1_100, monotonicMs: 100, wallMs: 5_000 });
});

test("clocks drift and jump: timers follow the machine's own monotonic clock", async () => {
  const scheduler = makeScheduler();
  const node = makeNode(scheduler, { ...CALM, driftRatio: 0.01, skewMs: 60_000 }, 5);
  const clock = node.boot();
  let firedMs = 0;
  let shownMs = 0;
  clock.timer(10_000, () => {
    firedMs = scheduler.nowMs;
    shownMs = clock.monotonicMs();
  });
  const wallMs = clock.wallMs();
  node.jumpWall(-3_600_000);
  expect(clock.wallMs()).toBe(wallMs - 3_600_000);
  await scheduler.run(20_000);
  expect(firedMs).not.toBe(10_000);
  expect(Math.abs(firedMs - 10_000)).toBeLessThan(110);
  expect(shownMs).toBeGreaterThanOrEqual(10_000 - 1e-6);
});

// ---------------------------------------------------------------- the network

test("what a caller is told of a call is what a network can tell", async () => {
  const seen = { ok: 0, refused: 0, unknown: 0 };
  let applied = 0;
  const perNode = 100;
  await simulate(
    async (instance) => {
      const driver = instance.driver();
      for (let i = 0; i < perNode; i++) {
        const op = { op: "kv.add", key: "n", delta: 1 } as const;
        try {
          await driver.commit([{ partition: "p", ops: [op] }]);
          seen.ok++;
        } catch (error) {
          if (!isHoldfastError(error, "UNAVAILABLE") || !error.retryable) throw error;
          if (error.outcome === "not-applied") seen.refused++;
          else seen.unknown++;
        }
      }
    },
    {
      ...{ seed: 11, nodes: 2, untilMs: 600_000 },
      faults: { refusedRate: 0.1, lostRequestRate: 0.1, lostReplyRate: 0.1, resetShare: 0.5 },
      finally: ({ state: { tables } }) => {
        applied = Number(tables.kv(tables.partitionByName("p")?.no ?? 0, "n")?.value);
      },
    },
  );
  expect(seen.ok + seen.refused + seen.unknown).toBe(2 * perNode);
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  // Of the unknown ones some were applied and some were not.
  expect(applied).toBeGreaterThan(seen.ok);
  expect(applied).toBeLessThan(seen.ok + seen.unknown);
});

test("an effect may come after its caller was told that nobody knows", async () => {
  let isTold = false;
  let cameLate = false;
  await simulate(
    async (instance) => {
      const driver = instance.driver();
      const ops = [{ op: "kv.add", key: "n", delta: 1 }] as const;
      await driver.commit([{ partition: "p", ops }]).catch(() => (isTold = true));
      await instance.sleep(5_000);
    },
    {
      ...{ seed: 3, nodes: 1, faults: { timeoutMs: 20, slowRate: 1, slowMs: 4_000 } },
      always: () => {
        cameLate = isTold;
      },
    },
  );
  expect([isTold, cameLate]).toEqual([true, true]);
});

test("a cut instance reaches nothing; one that hears nothing is obeyed", async () => {
  const runCut = async (way: "requests" | "replies"): Promise<number> => {
    let world: World | undefined;
    await simulate(
      async (instance, its) => {
        world = its;
        its.network.cut(its.nodes[0] as SimNode, way);
        const driver = instance.driver();
        const ops = [{ op: "kv.add", key: "n", delta: 1 }] as const;
        const told = await driver
          .commit([{ partition: "p", ops }])
          .catch((error: unknown) => error);
        expect(told).toMatchObject({ code: "UNAVAILABLE", outcome: "unknown" });
      },
      { seed: 1, nodes: 1, faults: "none" },
    );
    const tables = world?.state.tables;
    return Number(tables?.kv(tables.partitionByName("p")?.no ?? 0, "n")?.value ?? 0);
  };
  expect(await runCut("requests")).toBe(0);
  expect(await runCut("replies")).toBe(1);
});

// ---------------------------------------------------------------- worlds

test("a crashed instance starts anew, and its dead promises never resolve", async () => {
  const ends: string[] = [];
  let world: World | undefined;
  await simulate(
    async (instance, its) => {
      world = its;
      const { boot } = instance;
      if (boot === 1) instance.clock.timer(50, () => ends.push("a timer of the dead"));
      if (boot === 1) {
        its.scheduler.at({ atMs: 10, kind: "test", label: "crash" }, () => {
          its.nodes[0]?.crash();
          its.scheduler.at({ atMs: 30, kind: "test", label: "" }, () =>
            its.start(its.nodes[0] as SimNode),
          );
        });
      }
      await instance.sleep(20);
      ends.push(`process ${boot}`);
    },
    { seed: 1, nodes: 1, faults: "none" },
  );
  expect(ends).toEqual(["process 2"]);
  expect(world?.nowMs).toBeGreaterThanOrEqual(50);
});

test("a program that is never done is a failure that says who is still running", async () => {
  const forever = simulate(
    async (instance) => {
      if (instance.index > 0) await new Promise(() => {});
    },
    { seed: 1, nodes: 3, untilMs: 100, healMs: 100 },
  );
  await expect(forever).rejects.toThrow(/still running on n2, n3/);
});

test("a failure names the seed, the faults, the last lines, and the replay", async () => {
  const error: unknown = await simulate(
    async (instance) => {
      instance.log("about to go wrong");
      await instance.sleep(10);
      throw new Error("it went wrong");
    },
    { seed: 77, nodes: 2, faults: { maxDelayMs: 9 } },
  ).catch((caught: unknown) => caught);
  if (!(error instanceof SimulationError)) throw new Error("Expected a SimulationError");
  expect(error.seed).toBe(77);
  expect(error.message).toContain("it went wrong");
  expect(error.message).toContain("Faults: { maxDelayMs: 9 }");
  expect(error.message).toMatch(/0\.000 ms {2}n1 +log +about to go wrong/);
  expect(error.message).toContain("Replay: npm run test:sim -- --seed 77");
  expect(error.cause).toMatchObject({ message: "it went wrong" });
});

test("each seed draws its own faults: calm worlds, storms, and every fault off in many", () => {
  const plans = Array.from({ length: 300 }, (_, seed) =>
    swarm(new Chance(new SeededRandom(seed), { draws: 0 })),
  );
  for (const name of Object.keys(CALM) as (keyof typeof CALM)[]) {
    if (name === "minDelayMs") continue;
    const on = plans.filter((plan) => plan[name] !== CALM[name]).length;
    expect([name, on > 50 && on < 250]).toEqual([name, true]);
  }
  expect(plans.some((plan) => describePlan(plan) === "no faults")).toBe(true);
});
