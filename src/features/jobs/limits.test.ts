/** The numbers of docs/guide/jobs.md, in the same words. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred, type Deferred } from "../../core/signal.ts";
import { queue } from "./definition.ts";
import type { JobQueue } from "./queue.ts";

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

/**
 * Runs jobs one by one, each taking `stepMs` of the clock, and gives the inputs in the order of
 * their starts.
 */
async function drainInOrder<I>(jobs: JobQueue<I>, count: number, stepMs = 1): Promise<I[]> {
  const seen: I[] = [];
  const worker = jobs.work(
    async (input) => {
      seen.push(input);
      await new Promise<void>((resolve) => void world.clock.timer(stepMs, resolve));
    },
    { concurrency: 1, prefetch: 0 },
  );
  for (let i = 0; i < 4 * count + 8 && worker.stats.completed < count; i++) {
    await world.clock.advance(stepMs);
  }
  await worker.close();
  return seen;
}

describe("fairness", () => {
  test("a new key behind 100,000 jobs of another, each of at least 1 ms, waits for the jobs of that key that run, and one more at most", async () => {
    const tenants = queue("tenants", { input: unchecked<string>(), key: (text) => text });
    const jobs = process.store.handle(tenants);
    await jobs.addMany(Array(100_000).fill("big"));
    const seen: string[] = [];
    let isAdded = false;
    let isServed = false;
    const worker = jobs.work(
      async (tenant) => {
        seen.push(tenant);
        isServed ||= tenant === "new";
        await new Promise<void>((resolve) => void world.clock.timer(1, resolve));
        if (seen.length < 20 || isAdded) return;
        isAdded = true;
        seen.length = 0;
        await jobs.add("new");
      },
      { concurrency: 10 },
    );
    for (let ms = 0; ms < 100 && !isServed; ms++) await world.clock.advance(1);
    await world.pass(worker.close());
    expect([0, 1]).toContain(seen.indexOf("new"));
    expect((await jobs.counts()).blocked).toBeGreaterThan(99_900);
  }, 60_000);
  test("keys take turns: of n keys with jobs of at least 1 ms waiting each gets one start in n", async () => {
    const tenants = queue("turns", { input: unchecked<string>(), key: (text) => text });
    const jobs = process.store.handle(tenants);
    await jobs.addMany([...Array(30).fill("a"), ...Array(30).fill("b"), ...Array(30).fill("c")]);
    const seen = await drainInOrder(jobs, 90);
    expect(seen).toHaveLength(90);
    for (let i = 0; i < seen.length; i += 3) {
      expect(seen.slice(i, i + 3).sort()).toEqual(["a", "b", "c"]);
    }
  });
});

describe("priority and ageing", () => {
  const ranked = queue("ranked", { input: unchecked<string>(), priority: { ageMs: 1_000 } });
  test("a higher priority goes first, equal ones go in the order of their adding", async () => {
    const jobs = process.store.handle(ranked);
    for (const [input, priority] of [
      ["low", 0],
      ["mid", 5],
      ["high", 9],
      ["mid 2", 5],
    ] as const) {
      await jobs.add(input, { priority });
    }
    expect(await drainInOrder(jobs, 4)).toEqual(["high", "mid", "mid 2", "low"]);
  });
  test("one step of priority counts as ageMs of waiting: priority 0 goes before a priority 10 that came more than 10 × ageMs later", async () => {
    const jobs = process.store.handle(ranked);
    await jobs.add("old", { priority: 0 });
    await world.clock.advance(9_999);
    await jobs.add("in time", { priority: 10 });
    await world.clock.advance(2);
    await jobs.add("too late", { priority: 10 });
    expect(await drainInOrder(jobs, 3)).toEqual(["in time", "old", "too late"]);
  });
  test("the default ageMs is 60,000: no job waits behind one that came more than 100 minutes after it", async () => {
    const jobs = process.store.handle(queue("default", { input: unchecked<string>() }));
    await jobs.add("old");
    await world.clock.advance(100 * 60_000 + 1);
    await jobs.add("urgent", { priority: 100 });
    expect(await drainInOrder(jobs, 2)).toEqual(["old", "urgent"]);
  });
});

describe("dedupe", () => {
  const texts = queue("texts", { input: unchecked<string>() });
  test("first: a repeat of the key within ttlMs changes nothing, even when the first job is done", async () => {
    const jobs = process.store.handle(texts);
    const dedupe = { key: "k", ttlMs: 60_000 };
    const first = await jobs.add("1", { dedupe });
    const second = await jobs.add("2", { dedupe });
    expect(second).toMatchObject({ id: first.id, status: "deduped" });
    expect(await drainInOrder(jobs, 1)).toEqual(["1"]);
    expect((await jobs.add("3", { dedupe })).status).toBe("deduped");
    await world.clock.advance(60_000);
    expect((await jobs.add("4", { dedupe })).status).toBe("added");
    expect(await drainInOrder(jobs, 1)).toEqual(["4"]);
  });
  test("last: a repeat replaces the input of the waiting job, in its place; one that has started is left alone", async () => {
    const jobs = process.store.handle(texts);
    const dedupe = { key: "k", ttlMs: 60_000, mode: "last" } as const;
    const first = await jobs.add("1", { dedupe });
    await jobs.add("other");
    expect(await jobs.add("2", { dedupe })).toMatchObject({ id: first.id, status: "replaced" });
    const gate = deferred<void>();
    const seen: string[] = [];
    const worker = jobs.work(
      async (text) => {
        seen.push(text);
        await gate.promise;
      },
      { concurrency: 1, prefetch: 0 },
    );
    await until(() => seen.length === 1);
    expect(await jobs.add("3", { dedupe })).toMatchObject({ status: "added" });
    expect(await jobs.add("4", { dedupe })).toMatchObject({ status: "replaced" });
    gate.resolve();
    await until(() => worker.stats.completed === 3);
    expect(seen).toEqual(["2", "other", "4"]);
    await worker.close();
  });
  test("debounce: each repeat starts delayMs again, and the job is due ttlMs after the first add at the latest", async () => {
    const jobs = process.store.handle(texts);
    const options = {
      delayMs: 1_000,
      dedupe: { key: "k", ttlMs: 2_500, mode: "debounce" },
    } as const;
    const startMs = world.clock.wallMs();
    const first = await jobs.add("0", options);
    const due: (number | undefined)[] = [];
    for (let n = 1; n <= 3; n++) {
      await world.clock.advance(700);
      expect(await jobs.add(String(n), options)).toMatchObject({
        id: first.id,
        status: "replaced",
      });
      due.push((await jobs.get(first.id))?.dueMs);
    }
    expect(due.map((ms) => (ms ?? 0) - startMs)).toEqual([1_700, 2_400, 2_500]);
    const seen: [string, number][] = [];
    const worker = jobs.work((text) => void seen.push([text, world.clock.wallMs() - startMs]));
    await world.clock.advance(399);
    expect(seen).toEqual([]);
    await world.clock.advance(1);
    expect(seen).toEqual([["3", 2_500]]);
    await worker.close();
  });
});

describe("limits", () => {
  test("concurrency.max: never more than so many run in all processes together", async () => {
    const few = queue("few", { input: unchecked<number>(), concurrency: { max: 3 } });
    const processes = [process, await world.process(), await world.process()];
    const gates: Deferred<void>[] = [];
    let running = 0;
    let most = 0;
    const workers = processes.map(({ store }) =>
      store.handle(few).work(async () => {
        most = Math.max(most, ++running);
        const gate = deferred<void>();
        gates.push(gate);
        await gate.promise;
        running--;
      }),
    );
    const jobs = process.store.handle(few);
    await jobs.addMany(Array.from({ length: 20 }, (_, n) => n));
    for (let done = 0; done < 20; done++) {
      await until(() => gates.length > 0);
      gates.shift()?.resolve();
      await turns();
    }
    await until(() => running === 0);
    expect(most).toBe(3);
    // A limit that a claimed job uses up is not used up ahead.
    expect(workers.every((worker) => worker.stats.prefetched === 0)).toBe(true);
    expect((await jobs.counts()).completed).toBe(20);
    await Promise.all(workers.map((worker) => worker.close()));
  });
  test("concurrency.perKey: as many jobs of one key run at once, and start in order", async () => {
    const pairs = queue("pairs", {
      input: unchecked<number>(),
      key: () => "k",
      concurrency: { perKey: 2 },
    });
    const jobs = process.store.handle(pairs);
    await jobs.addMany([1, 2, 3, 4]);
    const seen: number[] = [];
    const gates: Deferred<void>[] = [];
    const worker = jobs.work(async (n) => {
      seen.push(n);
      const gate = deferred<void>();
      gates.push(gate);
      await gate.promise;
    });
    await until(() => seen.length === 2);
    await turns();
    expect(seen).toEqual([1, 2]);
    gates[1]?.resolve();
    await until(() => seen.length === 3);
    expect(seen).toEqual([1, 2, 3]);
    for (const gate of gates) gate.resolve();
    await until(() => gates.length === 4);
    gates[3]?.resolve();
    await until(() => worker.stats.completed === 4);
    await worker.close();
  });

  /** The instants at which jobs start, of those added at once. */
  async function starts(jobs: JobQueue<string>, inputs: readonly string[], forMs: number) {
    const seen: [string, number][] = [];
    const startMs = world.clock.wallMs();
    const worker = jobs.work((text) => void seen.push([text, world.clock.wallMs() - startMs]), {
      concurrency: 50,
    });
    await jobs.addMany(inputs);
    for (let ms = 0; ms < forMs; ms += 10) await world.clock.advance(10);
    await worker.close();
    return seen;
  }
  test("rate: in any span of t ms at most burst + count × t / perMs jobs start", async () => {
    const rate = { count: 10, perMs: 1_000, burst: 4 };
    const jobs = process.store.handle(queue("rated", { input: unchecked<string>(), rate }));
    const seen = await starts(jobs, Array(40).fill("x"), 2_000);
    const times = seen.map(([, ms]) => ms);
    for (let i = 0; i < times.length; i++) {
      for (let j = i; j < times.length; j++) {
        const spanMs = (times[j] ?? 0) - (times[i] ?? 0);
        expect(j - i + 1).toBeLessThanOrEqual(4 + (10 * spanMs) / 1_000);
      }
    }
    // And it is used: 4 at once, then one each 100 ms.
    expect(times.length).toBeGreaterThanOrEqual(22);
    expect(times.length).toBeLessThanOrEqual(24);
  });
  test("the default burst keeps a slow rate strict: never more than count in any perMs", async () => {
    const rate = { count: 5, perMs: 1_000 };
    const jobs = process.store.handle(queue("strict", { input: unchecked<string>(), rate }));
    const times = (await starts(jobs, Array(20).fill("x"), 3_000)).map(([, ms]) => ms);
    for (const fromMs of times) {
      expect(times.filter((ms) => ms >= fromMs && ms < fromMs + 1_000).length).toBeLessThanOrEqual(
        5,
      );
    }
    expect(times.length).toBeGreaterThanOrEqual(14);
  });
  test("rate per key: each key has the rate to itself, and one that must wait does not hold up the others", async () => {
    const rate = { count: 1, perMs: 1_000, per: "key" } as const;
    const definition = queue("perKey", { input: unchecked<string>(), key: (text) => text, rate });
    const jobs = process.store.handle(definition);
    const seen = await starts(jobs, ["a", "a", "a", "b", "b", "c"], 1_500);
    expect(
      seen
        .filter(([, ms]) => ms < 900)
        .map(([key]) => key)
        .sort(),
    ).toEqual(["a", "b", "c"]);
    const later = seen.filter(([, ms]) => ms >= 900);
    expect(later.map(([key]) => key).sort()).toEqual(["a", "b"]);
    for (const [, ms] of later) expect(ms).toBeGreaterThanOrEqual(1_000);
  });
  test("a delay is never cut short by the store's clock, and late by the claim that follows", async () => {
    const jobs = process.store.handle(queue("later", { input: unchecked<string>() }));
    const startMs = world.clock.wallMs();
    const seen: number[] = [];
    const worker = jobs.work(() => void seen.push(world.clock.wallMs() - startMs));
    await jobs.add("x", { delayMs: 12_345 });
    await world.clock.advance(12_344);
    expect(seen).toEqual([]);
    await world.clock.advance(1);
    expect(seen).toEqual([12_345]);
    await worker.close();
  });
});

describe("keeping", () => {
  test("keep.count: the oldest finished jobs go first, in steps of 256", async () => {
    const jobs = process.store.handle(
      queue("kept", { input: unchecked<number>(), keep: { count: 100 } }),
    );
    await using worker = jobs.work((n) => n);
    await jobs.addMany(Array.from({ length: 1_000 }, (_, n) => n));
    await until(() => worker.stats.completed === 1_000);
    const { completed } = await jobs.counts();
    expect(completed).toBeGreaterThanOrEqual(100);
    expect(completed).toBeLessThanOrEqual(100 + 256);
    const { jobs: kept } = await jobs.list("completed", { limit: 1_000 });
    expect(kept.at(-1)?.output).toBe(999);
  });
});
