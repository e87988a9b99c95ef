/** Jobs that have to stop: cancelled, out of time, hung. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { z } from "zod";
import { unchecked } from "../../core/codec.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { queue } from "./definition.ts";
import type { Job } from "./job.ts";
import type { WorkerEvent } from "./tally.ts";

const numbers = queue("numbers", { input: unchecked<number>() });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("cancel", () => {
  test("a waiting job is finished at once, and its handler never runs", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    expect(await jobs.cancel(added.id, { reason: "changed my mind" })).toBe("cancelled");
    expect(await jobs.cancel(added.id)).toBe("finished");
    expect(await jobs.cancel("nobody")).toBe("missing");
    await using worker = jobs.work(() => 1);
    await world.clock.advance(3_000);
    expect(worker.stats.claimed).toBe(0);
    await expect(added.result()).rejects.toMatchObject({
      code: "FAILED",
      details: { state: "cancelled", error: "changed my mind" },
    });
  });
  test("the holder of a running job is told wherever it runs, and the job ends as cancelled with its reason", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const elsewhere = (await world.process()).store.handle(numbers);
    const started = deferred<Job>();
    await using worker = elsewhere.work(async (_, job) => {
      started.resolve(job);
      await new Promise((_, reject) => {
        job.signal.addEventListener("abort", () => reject(job.signal.reason as Error));
      });
    });
    const job = await world.pass(started.promise);
    const aborted = new Promise((resolve) => job.signal.addEventListener("abort", resolve));
    expect(await jobs.cancel(added.id, { reason: "fraud" })).toBe("requested");
    expect((await jobs.get(added.id))?.isCancelRequested).toBe(true);
    await world.pass(aborted);
    expect(job.signal.reason).toMatchObject({ code: "CLOSED", details: { why: "cancelled" } });
    await until(() => worker.stats.cancelled === 1);
    expect(await jobs.get(added.id)).toMatchObject({
      state: "cancelled",
      error: "fraud",
      attempts: 0,
    });
  });
  test("a job that completes nevertheless is completed", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const started = deferred<Job>();
    const gate = deferred<void>();
    await using _ = jobs.work(async (_n, job) => {
      started.resolve(job);
      await gate.promise;
      return "done";
    });
    const job = await started.promise;
    await jobs.cancel(added.id);
    await until(() => job.signal.aborted);
    gate.resolve();
    expect(await added.result()).toBe("done");
  });
  test("a handler that does not stop is given up after graceMs, and its late result discarded", async () => {
    const jobs = process.store.handle(queue("deaf", { input: unchecked<number>(), graceMs: 500 }));
    const added = await jobs.add(1);
    const gate = deferred<void>();
    await using worker = jobs.work(async () => {
      await gate.promise;
      return "late";
    });
    await until(() => worker.stats.running === 1);
    await jobs.cancel(added.id);
    await turns();
    await world.clock.advance(499);
    expect(worker.stats.running).toBe(1);
    await world.clock.advance(2);
    expect(worker.stats).toMatchObject({ running: 0, cancelled: 1, abandoned: 1 });
    gate.resolve();
    await turns();
    expect((await jobs.get(added.id))?.state).toBe("cancelled");
  });
  test("the request is durable: when the hint is lost, a renewal of the session tells", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const deaf = await world.process();
    const { subscribe } = deaf.store;
    deaf.store.subscribe = (channel, listen) =>
      channel.kind === "cancel" ? () => {} : subscribe.call(deaf.store, channel, listen);
    const started = deferred<Job>();
    await using _ = deaf.store.handle(numbers).work(async (_n, job) => {
      started.resolve(job);
      await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
    });
    const job = await started.promise;
    await jobs.cancel(added.id);
    await turns();
    expect(job.signal.aborted).toBe(false);
    await world.clock.advance(4_000);
    expect(job.signal.aborted).toBe(true);
  });
});

describe("timeoutMs", () => {
  const timed = queue("timed", {
    input: unchecked<number>(),
    timeoutMs: 1_000,
    graceMs: 500,
    retry: { attempts: 2, backoff: { initialMs: 0 } },
  });
  test("aborts the attempt with TIMEOUT; what it throws then is a failed attempt", async () => {
    const jobs = process.store.handle(timed);
    const added = await jobs.add(1);
    const started = deferred<Job>();
    await using worker = jobs.work(async (_, job) => {
      if (job.attempt === 2) return "second";
      started.resolve(job);
      await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
      throw new Error("stopped");
    });
    const job = await started.promise;
    await world.clock.advance(999);
    expect(job.signal.aborted).toBe(false);
    await world.clock.advance(1);
    expect(job.signal.reason).toMatchObject({ code: "TIMEOUT" });
    expect(await added.result()).toBe("second");
    expect(worker.stats).toMatchObject({ retried: 1, completed: 1 });
    expect((await jobs.get(added.id))?.error).toMatch(/^TIMEOUT: .*1000/);
  });
  test("a handler that returns within its grace is completed", async () => {
    const jobs = process.store.handle(timed);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    await using worker = jobs.work(async () => {
      await gate.promise;
      return "late but done";
    });
    await until(() => worker.stats.running === 1);
    await world.clock.advance(1_400);
    gate.resolve();
    expect(await added.result()).toBe("late but done");
  });
  test("a hung handler holds its slot no longer than timeoutMs + graceMs; its later result is discarded", async () => {
    const jobs = process.store.handle(timed);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const events: WorkerEvent[] = [];
    let calls = 0;
    await using worker = jobs.work(
      async () => {
        if (++calls > 1) return "second";
        await gate.promise;
        return "first";
      },
      { concurrency: 1, observe: (event) => events.push(event) },
    );
    await until(() => calls === 1);
    await world.clock.advance(1_499);
    expect(worker.stats.running).toBe(1);
    await world.clock.advance(2);
    expect(await added.result()).toBe("second");
    gate.resolve();
    await turns();
    expect(await added.result()).toBe("second");
    expect(worker.stats).toMatchObject({ running: 0, retried: 1, completed: 1, abandoned: 1 });
    expect(events.map((event) => event.type).sort()).toEqual(["abandoned", "failed"]);
  });
  test("a signal that is first read after the abort is aborted", async () => {
    const jobs = process.store.handle(timed);
    await jobs.add(1);
    const gate = deferred<void>();
    const seen: unknown[] = [];
    await using worker = jobs.work(async (_, job) => {
      await gate.promise;
      seen.push(job.signal.aborted, (job.signal.reason as HoldfastError).code);
      expect(job.signal).toBe(job.signal);
    });
    await until(() => worker.stats.running === 1);
    await world.clock.advance(1_100);
    gate.resolve();
    await until(() => seen.length > 0);
    expect(seen).toEqual([true, "TIMEOUT"]);
  });
});

describe("a job that must stop while its schema still reads its input", () => {
  /** Reading takes until the gate opens; adding does not. */
  async function reading() {
    const gate = deferred<void>();
    let isOpen = true;
    const input = z.number().refine(async () => {
      if (!isOpen) await gate.promise;
      return true;
    });
    const slow = { timeoutMs: 5_000, graceMs: 500, retry: { attempts: 1 } };
    const jobs = process.store.handle(queue("slow", { input, ...slow }));
    await jobs.add(1, { id: "j" });
    isOpen = false;
    const deliveries: number[] = [];
    const worker = jobs.work((_, job) => void deliveries.push(job.delivery), { drainMs: 2_000 });
    await until(() => worker.stats.running === 1);
    return { jobs, worker, gate, deliveries };
  }
  type Reading = Awaited<ReturnType<typeof reading>>;
  test.each<[string, (reading: Reading) => Promise<unknown>, object]>([
    ["out of time", () => world.clock.advance(5_001), { dead: 1, abandoned: 0 }],
    ["given up", () => world.clock.advance(5_501), { dead: 1, abandoned: 1 }],
    ["cancelled", ({ jobs }) => jobs.cancel("j"), { cancelled: 1 }],
    [
      "drained",
      ({ worker }) => {
        void worker.close();
        return world.clock.advance(2_001);
      },
      { released: 1, abandoned: 0 },
    ],
    [
      "lost",
      () => {
        world.clock.suspend(11_000);
        return world.clock.advance(1_000);
      },
      { lost: 1 },
    ],
  ])("is not begun when it is %s, and its slot is free", async (_, stop, stats) => {
    const all = await reading();
    const { worker, gate, deliveries } = all;
    await stop(all);
    await turns();
    gate.resolve();
    await turns();
    // One that was lost is delivered again.
    expect(deliveries).not.toContain(1);
    expect(worker.stats).toMatchObject({ running: 0, unsettled: 0, ...stats });
    await worker.close();
  });
});

describe("a handler that is given up while its completion is under way", () => {
  const timed = queue("timed", {
    input: unchecked<number>(),
    timeoutMs: 1_000,
    graceMs: 500,
    retry: { attempts: 2, backoff: { initialMs: 0 } },
  });
  /** Ends up with a completion whose first answer was lost, past the grace of its handler. */
  async function givenUp(isApplied: boolean) {
    const jobs = process.store.handle(timed);
    const kv = new Kv(process.store);
    await kv.put("left", isApplied ? 1 : 0);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const outcomes: unknown[] = [];
    const worker = jobs.work(async (_, job) => {
      if (job.attempt === 2) return "second";
      await gate.promise;
      const done = await job.tryComplete("first", [kv.op.add("left", -1, { min: 0 })]);
      outcomes.push(done.ok ? done.results : done.refusal.code);
      if (!done.ok) outcomes.push(await job.complete("again").catch((error: unknown) => error));
      return done.ok ? done : "third";
    });
    await until(() => worker.stats.running === 1);
    await world.clock.advance(1_400);
    if (isApplied) process.lostReplies = { op: "kv.add", count: 1 };
    process.isDown = !isApplied;
    gate.resolve();
    await turns();
    process.isDown = true;
    await world.clock.advance(101);
    expect(worker.stats).toMatchObject({ abandoned: 1, retried: 0, unsettled: 1 });
    process.isDown = false;
    await world.clock.advance(5_000);
    return { result: await added.result(), outcomes, worker, left: (await kv.get("left"))?.value };
  }
  test("is completed if that holds", async () => {
    // The completion is repeated until it is answered: nothing else settles the job meanwhile.
    const { result, outcomes, worker, left } = await givenUp(true);
    expect([result, outcomes, left]).toEqual(["first", [null], 0]);
    expect(worker.stats).toMatchObject({ completed: 1, retried: 0, lost: 0 });
    await worker.close();
  });
  test("has failed if that is refused, and can't complete it any more", async () => {
    const { result, outcomes, worker, left } = await givenUp(false);
    expect([result, left]).toEqual(["second", 0]);
    expect(outcomes).toMatchObject(["LIMITED", { code: "CLOSED" }]);
    expect(worker.stats).toMatchObject({ completed: 1, retried: 1, lost: 0 });
    await worker.close();
  });
});
