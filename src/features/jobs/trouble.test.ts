/**
 * What goes wrong between a worker and its store: lost sessions, crashes, lost replies, refusals,
 * an overloaded process.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { LeaseLostError } from "../../core/errors.ts";
import { deferred } from "../../core/signal.ts";
import { Queue } from "../../ports/queue/index.ts";
import { queue } from "./definition.ts";
import type { Job } from "./job.ts";
import type { WorkerEvent } from "./tally.ts";

const numbers = queue("numbers", { input: unchecked<number>() });
const options = { sessionTtlMs: 10_000 };

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process(options);
});
afterEach(() => world.close());

describe("a lost session", () => {
  test("aborts every handler with LeaseLostError at once; a new session is opened and work goes on", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2]);
    const held: Job[] = [];
    const events: WorkerEvent[] = [];
    let isFirst = true;
    await using worker = jobs.work(
      async (n, job) => {
        if (!isFirst) return n;
        held.push(job);
        await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
        return "too late";
      },
      { observe: (event) => events.push(event) },
    );
    await until(() => held.length === 2);
    const lostSession = await process.store.session();
    isFirst = false;
    // The machine slept: wall time went on, timers and monotonic time did not.
    world.clock.suspend(11_000);
    await world.clock.advance(1_000);
    expect(lostSession.isOver).toBe(true);
    for (const job of held) {
      expect(job.signal.aborted).toBe(true);
      expect(job.signal.reason).toBeInstanceOf(LeaseLostError);
      await expect(job.complete(1)).rejects.toMatchObject({ code: "LEASE_LOST" });
    }
    await world.clock.advance(3_000);
    await until(() => worker.stats.completed === 2);
    expect(worker.stats).toMatchObject({ lost: 2, completed: 2, retried: 0 });
    expect(events.filter((event) => event.type === "lost")).toHaveLength(2);
    const { jobs: done } = await jobs.list("completed");
    expect(done.map((job) => [job.output, job.attempts, job.lost])).toEqual([
      [1, 0, 1],
      [2, 0, 1],
    ]);
  });
  test("its late outcomes are dropped: the store refuses a stale token", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    let calls = 0;
    await using worker = jobs.work(async () => {
      const call = ++calls;
      if (call === 1) await gate.promise;
      return call;
    });
    await until(() => calls === 1);
    // The store alone ends the session: the process learns of it by a refusal.
    const { id } = await process.store.session();
    const other = await world.process(options);
    await other.store.commit("default", [{ op: "session.end", session: id }]);
    gate.resolve();
    await until(() => worker.stats.lost === 1);
    for (let i = 0; i < 5; i++) await world.clock.advance(1_000);
    expect(await added.result()).toBe(2);
    expect(worker.stats).toMatchObject({ lost: 1, completed: 1 });
  });
  test("the slots of handlers that do not stop are free again after graceMs", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.add(1);
    const gate = deferred<void>();
    let calls = 0;
    await using worker = jobs.work(
      async () => {
        if (++calls === 1) await gate.promise;
      },
      { concurrency: 1 },
    );
    await until(() => calls === 1);
    world.clock.suspend(11_000);
    await world.clock.advance(1_000);
    expect(worker.stats).toMatchObject({ lost: 1, running: 1 });
    await world.clock.advance(4_000);
    await until(() => worker.stats.completed === 1);
    expect(worker.stats).toMatchObject({ running: 0, abandoned: 1 });
    gate.resolve();
  });
});

describe("a process that crashes", () => {
  test("loses its jobs to others within the session's TTL + 1 s, and no attempt is counted", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const crashing = jobs.work(() => new Promise(() => {}), { drainMs: 0 });
    await until(() => crashing.stats.running === 1);
    await turns();
    process.isCrashed = true;
    const other = await world.process(options);
    const attempts: [number, number][] = [];
    await using worker = other.store.handle(numbers).work(async (_, job) => {
      attempts.push([job.attempt, job.delivery]);
      return "elsewhere";
    });
    await world.clock.advance(9_000);
    expect(attempts).toEqual([]);
    await world.clock.advance(2_000);
    expect(attempts).toEqual([[1, 2]]);
    await until(() => worker.stats.completed === 1);
    expect((await other.store.handle(numbers).get(added.id))?.output).toBe("elsewhere");
  });
  test("a job that kills its process each time is dead after `retry.deliveries`", async () => {
    const poison = queue("poison", {
      input: unchecked<number>(),
      retry: { attempts: 2, deliveries: 3 },
    });
    const watcher = process.store.handle(poison);
    const added = await watcher.add(1);
    const deliveries: number[] = [];
    for (let i = 0; i < 4; i++) {
      const victim = await world.process(options);
      void victim.store.handle(poison).work(
        (_, job) => {
          deliveries.push(job.delivery);
          victim.isCrashed = true;
          return new Promise(() => {});
        },
        { drainMs: 0 },
      );
      await turns();
      for (let second = 0; second < 12; second++) {
        await world.clock.advance(1_000);
        await process.store.commit("default", [{ op: "kv.put", key: "tick", value: "" }]);
      }
    }
    expect(deliveries).toEqual([1, 2, 3]);
    const job = await watcher.get(added.id);
    expect(job).toMatchObject({ state: "dead", attempts: 0, lost: 3 });
    expect(job?.error).toContain("lost by its holder 3 times");
  });
});

describe("lost replies", () => {
  test("a settle whose answer was lost is sent again, and counted once", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2, 3]);
    process.lostReplies = { op: "queue.settle", count: 2 };
    await using worker = jobs.work((n) => n * 10, { concurrency: 3 });
    await until(() => process.lostReplies.count === 1);
    for (let i = 0; i < 20; i++) await world.clock.advance(250);
    expect(await Promise.all(added.map((job) => job.result()))).toEqual([10, 20, 30]);
    expect(worker.stats).toMatchObject({ completed: 3, lost: 0, unsettled: 0, claimed: 3 });
  });
  test("progress that was not written is told, and not tried again", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.add(1);
    const gate = deferred<void>();
    const events: WorkerEvent[] = [];
    process.lostReplies = { op: "queue.progress", count: 1 };
    await using worker = jobs.work(
      async (_, job) => {
        job.progress("half");
        await gate.promise;
      },
      { observe: (event) => events.push(event) },
    );
    await until(() => events.length > 0);
    expect(events).toMatchObject([
      { type: "trouble", during: "progress", error: { code: "UNAVAILABLE", outcome: "unknown" } },
    ]);
    gate.resolve();
    await until(() => worker.stats.completed === 1);
    expect([events.length, process.ops("queue.progress").length]).toEqual([1, 1]);
  });
  test("jobs leased by a claim whose answer was lost are found and given back", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2, 3]);
    process.lostReplies = { op: "queue.claim", count: 1 };
    const events: WorkerEvent[] = [];
    await using worker = jobs.work((n) => n, { observe: (event) => events.push(event) });
    await turns();
    expect(await jobs.counts()).toMatchObject({ leased: 3 });
    expect(events).toMatchObject([{ type: "trouble", during: "claim" }]);
    for (let i = 0; i < 8; i++) await world.clock.advance(250);
    expect(await Promise.all(added.map((job) => job.result()))).toEqual([1, 2, 3]);
    expect(worker.stats).toMatchObject({ claimed: 3, completed: 3, lost: 0 });
    const { jobs: done } = await jobs.list("completed");
    expect(done.every((job) => job.attempts === 0 && job.lost === 0)).toBe(true);
  });
  test("what other workers of the process hold is not taken for an orphan", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2, 3, 4]);
    const gate = deferred<void>();
    await using holder = jobs.work(() => gate.promise, { concurrency: 2, prefetch: 0 });
    await until(() => holder.stats.running === 2);
    process.lostReplies = { op: "queue.claim", count: 1 };
    await using other = jobs.work(() => 1, { concurrency: 2, prefetch: 0 });
    for (let i = 0; i < 10; i++) await world.clock.advance(250);
    expect(other.stats.completed).toBe(2);
    expect(await jobs.counts()).toMatchObject({ leased: 2, completed: 2 });
    gate.resolve();
    await until(() => holder.stats.completed === 2);
    await world.clock.advance(31_000);
  });
});

describe("a store that is down", () => {
  test("claims are tried again with growing, jittered pauses, and work goes on when it is back", async () => {
    const jobs = process.store.handle(numbers);
    await using worker = jobs.work((n) => n);
    expect(worker.stats.sinceClaimMs).toBeNull();
    await world.clock.advance(3_000);
    expect(worker.stats.sinceClaimMs).toBeLessThanOrEqual(1_500);
    process.isDown = true;
    await world.clock.advance(30_000);
    expect(worker.stats.sinceClaimMs).toBeGreaterThanOrEqual(30_000);
    process.isDown = false;
    const added = await jobs.add(5);
    for (let i = 0; i < 10; i++) await world.clock.advance(1_000);
    expect(await added.result()).toBe(5);
    expect(worker.state).toBe("running");
  });
  test("a sealed partition ends the worker: `done` rejects with MOVED", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.add(1);
    const gate = deferred<void>();
    const worker = jobs.work(() => gate.promise, { concurrency: 1, drainMs: 0 });
    await until(() => worker.stats.running === 1);
    await process.store.seal("default", { isSealed: true, movedTo: "elsewhere" });
    const other = jobs.work(() => 1);
    await expect(other.done).rejects.toMatchObject({ code: "MOVED" });
    expect(other.state).toBe("closed");
    await process.store.seal("default", { isSealed: false, movedTo: null });
    gate.resolve();
    await worker.close();
  });
  test("an outcome that the store can't take is told, and its job ends with the session", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const events: WorkerEvent[] = [];
    const worker = jobs.work(() => gate.promise, { observe: (event) => events.push(event) });
    await until(() => worker.stats.running === 1);
    await process.store.seal("default", { isSealed: true, movedTo: null });
    gate.resolve();
    await until(() => events.some((event) => event.type === "trouble"));
    expect(events).toMatchObject([
      { type: "trouble", during: "settle", error: { code: "MOVED", outcome: "not-applied" } },
    ]);
    await process.store.seal("default", { isSealed: false, movedTo: null });
    await worker.close();
    await process.store.close();
    const other = (await world.process()).store.handle(numbers);
    expect(await other.get(added.id)).toMatchObject({ state: "ready", attempts: 0 });
  });
  test("a worker of a store that is closed is refused", async () => {
    const jobs = process.store.handle(numbers);
    await process.store.close();
    expect(() => jobs.work(() => 1)).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
  test("a settle that was refused does not touch its neighbours", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2, 3]);
    const gates = [deferred<void>(), deferred<void>(), deferred<void>()];
    const held: Job[] = [];
    await using worker = jobs.work(
      async (n, job) => {
        held.push(job);
        await gates[n - 1]?.promise;
        return n;
      },
      { concurrency: 3 },
    );
    await until(() => held.length === 3);
    // Somebody settles the second job under its own token: the worker's settle is stale.
    const port = new Queue(process.store, "numbers");
    const { jobs: views } = await port.list("leased");
    const second = views[1];
    await port.settle(
      await process.store.session(),
      { seq: second?.seq ?? 0, token: second?.token ?? 0 },
      {
        outcome: "dead",
        error: "by hand",
      },
    );
    for (const gate of gates) gate.resolve();
    await until(() => worker.stats.completed === 2 && worker.stats.lost === 1);
    expect(await jobs.counts()).toMatchObject({ completed: 2, dead: 1, leased: 0 });
  });
});

describe("back-pressure", () => {
  test("a process whose event loop is late claims nothing until it has recovered", async () => {
    const jobs = process.store.handle(numbers);
    const events: WorkerEvent[] = [];
    await using worker = jobs.work((n) => n, { observe: (event) => events.push(event) });
    await world.clock.advance(1_000);
    const before = process.ops("queue.claim").length;
    world.clock.block(500);
    await jobs.add(1);
    await turns();
    expect(process.ops("queue.claim")).toHaveLength(before);
    expect(worker.stats).toMatchObject({ isOverloaded: true, claimed: 0 });
    expect(events).toMatchObject([{ type: "overloaded", loopDelayMs: 400 }]);
    await world.clock.advance(250);
    await until(() => worker.stats.completed === 1);
    expect(worker.stats).toMatchObject({ isOverloaded: false, loopDelayMs: 0 });
    expect(events.map((event) => event.type)).toEqual(["overloaded", "recovered"]);
  });
  test("the threshold is an option, and null is none", async () => {
    const jobs = process.store.handle(numbers);
    await using patient = jobs.work((n) => n, { maxLoopDelayMs: null });
    await using strict = jobs.work((n) => n, { maxLoopDelayMs: 1 });
    await world.clock.advance(1_000);
    world.clock.block(150);
    await jobs.add(1);
    await turns();
    expect(patient.stats).toMatchObject({ isOverloaded: false, completed: 1 });
    expect(strict.stats).toMatchObject({ isOverloaded: true, completed: 0 });
  });
});
