import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { Queue } from "../../ports/queue/index.ts";
import { queue } from "./definition.ts";
import type { Batch, BatchItem } from "./run.ts";

const numbers = queue("numbers", {
  input: z.number(),
  timeoutMs: 1_000,
  graceMs: 500,
  retry: { attempts: 2, backoff: { initialMs: 1_000, jitter: "none" } },
});

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("a batch handler", () => {
  test("gets up to `max` jobs a call, starts with what is there, and gives a result for each", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2, 3, 4, 5, 6, 7]);
    const sizes: number[] = [];
    await using worker = jobs.workBatch(
      (items) => {
        sizes.push(items.length);
        return Promise.allSettled(items.map(async ({ input }) => input * 10));
      },
      { max: 3 },
    );
    expect(await Promise.all(added.map((job) => job.result()))).toEqual([
      10, 20, 30, 40, 50, 60, 70,
    ]);
    expect(sizes).toEqual([3, 3, 1]);
    expect(worker.stats.completed).toBe(7);
  });
  test("some jobs of a batch may fail: they alone are tried again", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2, 3]);
    await using worker = jobs.workBatch((items) =>
      Promise.allSettled(
        items.map(async ({ input, job }) => {
          if (input === 2 && job.attempt === 1) throw new Error("odd");
          return input;
        }),
      ),
    );
    await until(() => worker.stats.completed === 2 && worker.stats.retried === 1);
    expect(await jobs.get(added[1]?.id ?? "")).toMatchObject({
      state: "scheduled",
      attempts: 1,
      error: "Error: odd",
    });
    await world.clock.advance(1_000);
    expect(await added[1]?.result()).toBe(2);
  });
  test("nothing returned completes them all; a throw fails all that are not completed", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2]);
    let isFirst = true;
    await using worker = jobs.workBatch(async (items) => {
      if (!isFirst) return;
      isFirst = false;
      await items[0]?.job.complete("by itself");
      throw new Error("all");
    });
    expect(await added[0]?.result()).toBe("by itself");
    await until(() => worker.stats.retried === 1);
    await world.clock.advance(1_000);
    expect(await added[1]?.result()).toBeUndefined();
  });
  test.each([
    ["too few results", () => [{ status: "fulfilled", value: 1 }]],
    ["plain values", (items: readonly unknown[]) => items.map(() => 1)],
    ["something else", () => 5],
  ])("%s fail the batch with INVALID_DATA", async (_, returned) => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2], { id: (n) => `j${n}` });
    await using worker = jobs.workBatch(async (items) => returned(items) as never);
    await until(() => worker.stats.retried === 2);
    expect((await jobs.get("j1"))?.error).toMatch(/^INVALID_DATA: .*2 settled results/);
  });
  test("a stored input that can't be read makes its job dead, and the others run", async () => {
    const jobs = process.store.handle(numbers);
    const port = new Queue(process.store, "numbers");
    await jobs.add(1, { id: "good" });
    await port.add({ payload: '"text"', id: "bad" });
    const seen: number[] = [];
    await using worker = jobs.workBatch(async (items) => {
      seen.push(...items.map(({ input }) => input));
    });
    await until(() => worker.stats.completed === 1 && worker.stats.dead === 1);
    expect(seen).toEqual([1]);
    await port.add({ payload: '"text"', id: "alone" });
    await until(() => worker.stats.dead === 2);
    expect(worker.stats.running).toBe(0);
  });
  test("`concurrency` calls run at once", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany(Array.from({ length: 20 }, (_, n) => n));
    const gate = deferred<void>();
    await using worker = jobs.workBatch(() => gate.promise, {
      max: 5,
      concurrency: 2,
      prefetch: 0,
    });
    await until(() => worker.stats.running === 2);
    await turns();
    expect(worker.stats).toMatchObject({ running: 2, claimed: 10 });
    gate.resolve();
    await until(() => worker.stats.completed === 20);
  });
  test("its signal aborts for what concerns all; a cancel aborts its own job's signal alone", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2], { id: (n) => `j${n}` });
    const started = deferred<{ items: readonly BatchItem<number>[]; batch: Batch }>();
    const gate = deferred<void>();
    await using worker = jobs.workBatch(async (items, batch) => {
      if (items[0]?.job.attempt !== 1) return;
      started.resolve({ items, batch });
      await gate.promise;
      return items.map(({ job }) =>
        job.signal.aborted
          ? { status: "rejected", reason: job.signal.reason as unknown }
          : { status: "fulfilled", value: 1 },
      );
    });
    const { items, batch } = await started.promise;
    await jobs.cancel("j1");
    await until(() => items[0]?.job.signal.aborted === true);
    expect(items[1]?.job.signal.aborted).toBe(false);
    expect(batch.signal.aborted).toBe(false);
    await world.clock.advance(1_000);
    expect(batch.signal.reason).toMatchObject({ code: "TIMEOUT" });
    gate.resolve();
    await until(() => worker.stats.cancelled === 1 && worker.stats.retried === 1);
  });
  test("a job that must stop while the inputs are read is left out, and the others run", async () => {
    const gate = deferred<void>();
    let isOpen = true;
    const input = z.number().refine(async () => {
      if (!isOpen) await gate.promise;
      return true;
    });
    const jobs = process.store.handle(queue("slow", { input }));
    await jobs.addMany([1, 2, 3], { id: (n) => `j${n}` });
    isOpen = false;
    const seen: number[] = [];
    await using worker = jobs.workBatch(async (items) => {
      seen.push(...items.map((item) => item.input));
    });
    await until(() => worker.stats.running === 1);
    await jobs.cancel("j2");
    await turns();
    gate.resolve();
    await until(() => worker.stats.running === 0);
    expect(seen).toEqual([1, 3]);
    await until(() => worker.stats.completed === 2 && worker.stats.cancelled === 1);
  });
  test("a batch that hangs frees its slot once every job of it was given up", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2]);
    const gate = deferred<void>();
    let calls = 0;
    await using worker = jobs.workBatch(async () => {
      if (++calls === 1) await gate.promise;
    });
    await until(() => calls === 1);
    await world.clock.advance(1_501);
    expect(worker.stats).toMatchObject({ running: 0, retried: 2, abandoned: 1 });
    await world.clock.advance(1_000);
    await until(() => worker.stats.completed === 2);
    gate.resolve();
    await turns();
    expect(await added[0]?.result()).toBeUndefined();
    expect(worker.stats.completed).toBe(2);
  });
  test("each job may complete itself with ops of its own", async () => {
    const jobs = process.store.handle(numbers);
    const kv = new Kv(process.store);
    await kv.put("left", 1);
    const added = await jobs.addMany([1, 2]);
    await using _ = jobs.workBatch((items) =>
      Promise.allSettled(
        items.map(async ({ job }) => {
          const done = await job.tryComplete("sold", [kv.op.add("left", -1, { min: 0 })]);
          return done.ok ? done : "sold out";
        }),
      ),
    );
    expect(await Promise.all(added.map((job) => job.result()))).toEqual(["sold", "sold out"]);
  });
  test("an output that can't be stored makes its job dead", async () => {
    const jobs = process.store.handle(queue("out", { input: unchecked<number>() }));
    await jobs.addMany([1, 2]);
    await using worker = jobs.workBatch((items) =>
      Promise.allSettled(items.map(async ({ input }) => (input === 1 ? 5n : "fine"))),
    );
    await until(() => worker.stats.dead === 1 && worker.stats.completed === 1);
  });
});
