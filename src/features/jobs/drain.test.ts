import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred } from "../../core/signal.ts";
import { queue } from "./definition.ts";
import type { Job } from "./job.ts";
import { PACE } from "./pace.ts";
import type { JobQueue } from "./queue.ts";

const numbers = queue("numbers", { input: unchecked<number>() });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("closing a worker", () => {
  test("lets running handlers end within drainMs, claims nothing more, and resolves `done`", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2]);
    const gate = deferred<void>();
    const worker = jobs.work(
      async (n) => {
        await gate.promise;
        return n;
      },
      { concurrency: 1, prefetch: 0, drainMs: 5_000 },
    );
    await until(() => worker.stats.running === 1);
    const closing = worker.close();
    expect(worker.close()).toBe(closing);
    await world.clock.advance(4_000);
    expect(worker.state).toBe("draining");
    gate.resolve();
    await closing;
    await worker.done;
    expect(worker.stats).toMatchObject({ completed: 1, claimed: 1, released: 0 });
    expect(await added[0]?.result()).toBe(1);
    expect((await jobs.get(added[1]?.id ?? ""))?.state).toBe("ready");
  });
  test("aborts what still runs after drainMs; a job that stops then goes back and counts as no attempt", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const started = deferred<Job>();
    const worker = jobs.work(
      async (_, job) => {
        started.resolve(job);
        await new Promise((_resolve, reject) => {
          job.signal.addEventListener("abort", () => reject(job.signal.reason as Error));
        });
      },
      { drainMs: 1_000 },
    );
    const job = await started.promise;
    const closing = worker.close();
    await world.clock.advance(999);
    expect(job.signal.aborted).toBe(false);
    await world.clock.advance(1);
    await closing;
    expect(job.signal.reason).toMatchObject({ code: "CLOSED", details: { why: "drain" } });
    expect(worker.stats).toMatchObject({ released: 1, retried: 0, abandoned: 0 });
    expect(await jobs.get(added.id)).toMatchObject({ state: "ready", attempts: 0, lost: 0 });
  });
  test("a handler that ignores the abort is given up after its grace, and its job handed back", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const worker = jobs.work(() => gate.promise, { drainMs: 1_000 });
    await until(() => worker.stats.running === 1);
    const closing = worker.close();
    await world.clock.advance(1_000);
    expect(worker.state).toBe("draining");
    await world.clock.advance(2_000);
    await closing;
    expect(worker.stats).toMatchObject({ released: 1, abandoned: 1, running: 0 });
    expect((await jobs.get(added.id))?.state).toBe("ready");
    gate.resolve();
    await turns();
    expect((await jobs.get(added.id))?.state).toBe("ready");
  });
  test.each([
    ["its drain", 60_000],
    ["its own timeout shortly before", 90],
  ])("hands back a handler that ignores %s before it resolves", async (_, timeoutMs) => {
    const deaf = queue("deaf", { input: unchecked<number>(), graceMs: 400, timeoutMs });
    const jobs = process.store.handle(deaf);
    await jobs.add(1);
    const gate = deferred<void>();
    const worker = jobs.work(() => gate.promise, { drainMs: 100 });
    await until(() => worker.stats.running === 1);
    let leased: number | undefined;
    void worker.close().then(async () => (leased = (await jobs.counts()).leased));
    // The grace is a quarter of drainMs here.
    await world.clock.advance(124);
    expect([worker.state, worker.stats.running]).toEqual(["draining", 1]);
    await world.clock.advance(27);
    expect([worker.state, leased]).toEqual(["closed", 0]);
    expect(worker.stats).toMatchObject({ running: 0, abandoned: 1, unsettled: 0 });
    gate.resolve();
  });
  test("ends within drainMs + 2 × graceMs even when the store does not answer, and settles later", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const worker = jobs.work(() => gate.promise, { drainMs: 1_000 });
    await until(() => worker.stats.running === 1);
    process.isDown = true;
    const closing = worker.close();
    gate.resolve();
    await turns();
    await world.clock.advance(1_000 + 4_000);
    await closing;
    expect(worker.stats.unsettled).toBe(1);
    // The session lives on in this process: nobody else would ever end the lease.
    process.isDown = false;
    await world.clock.advance(4_000);
    expect((await jobs.get(added.id))?.state).toBe("completed");
    expect(worker.stats).toMatchObject({ completed: 1, unsettled: 0 });
  });
  test("an aborted signal closes it, before or after its start", async () => {
    const jobs = process.store.handle(numbers);
    const stop = new AbortController();
    const worker = jobs.work(() => 1, { signal: stop.signal });
    await turns();
    stop.abort();
    await worker.done;
    expect(worker.state).toBe("closed");
    const never = jobs.work(() => 1, { signal: AbortSignal.abort() });
    await never.done;
    expect(never.stats.claimed).toBe(0);
  });
  test("closing the store closes its workers first, and gives back all that is held", async () => {
    const jobs = process.store.handle(numbers);
    const watcher = (await world.process()).store.handle(numbers);
    await jobs.addMany([1, 2, 3, 4]);
    const gate = deferred<void>();
    const worker = jobs.work(() => gate.promise, { concurrency: 2 });
    await until(() => worker.stats.running === 2);
    const closing = process.store.close();
    await turns();
    gate.resolve();
    await closing;
    await worker.done;
    expect(await watcher.counts()).toMatchObject({ completed: 2, ready: 2, leased: 0 });
  });
  test("the default drainMs of a worker is 3/4 of the store's", async () => {
    const other = await world.process({ drainMs: 4_000 });
    const jobs = other.store.handle(numbers);
    await jobs.add(1);
    const aborted = deferred<number>();
    const startMs = world.clock.monotonicMs();
    const worker = jobs.work(async (_, job) => {
      await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
      aborted.resolve(world.clock.monotonicMs() - startMs);
    });
    await until(() => worker.stats.running === 1);
    const closing = other.store.close();
    await world.clock.advance(3_000);
    expect(await aborted.promise).toBe(3_000);
    await closing;
  });
});

describe("prefetch", () => {
  test("is none for jobs that take long: they wait where every worker can have them", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany(Array.from({ length: 20 }, (_, n) => n));
    await using slow = jobs.work(
      async (_, job) => {
        await new Promise((resolve) => world.clock.timer(10_000, () => resolve(job)));
      },
      { concurrency: 2, drainMs: 0 },
    );
    await until(() => slow.stats.running === 2);
    await world.clock.advance(5_000);
    expect(slow.stats).toMatchObject({ claimed: 2, prefetched: 0 });
    void slow.close();
    await world.clock.advance(4_000);
  });

  /** A worker that ran fast, so that it claims ahead, and then meets jobs that do not end. */
  const many = (jobs: JobQueue<number>): Promise<unknown> =>
    jobs.addMany(Array.from({ length: 40 }, (_, n) => n));

  async function stuck(options: { prefetch?: number } = {}, add = many) {
    const jobs = process.store.handle(numbers);
    const gate = deferred<void>();
    let isStuck = false;
    const worker = jobs.work(
      async () => {
        if (isStuck) await gate.promise;
      },
      { concurrency: 2, prefetch: 10, drainMs: 0, ...options },
    );
    await jobs.addMany(Array.from({ length: 200 }, (_, n) => n));
    await until(() => worker.stats.completed === 200);
    // The rate of the window that ends now is 200 starts in 25 ms.
    await world.clock.advance(25);
    isStuck = true;
    await add(jobs);
    await until(() => worker.stats.running === 2);
    await turns();
    return { jobs, worker, gate };
  }
  test("claims ahead what a fast worker starts within 20 ms, at most `prefetch`", async () => {
    const { worker, gate } = await stuck();
    expect(worker.stats).toMatchObject({ running: 2, prefetched: 10 });
    gate.resolve();
    await worker.close();
  });
  test("0 claims nothing ahead", async () => {
    const { worker, gate } = await stuck({ prefetch: 0 });
    expect(worker.stats).toMatchObject({ running: 2, prefetched: 0 });
    gate.resolve();
    await worker.close();
  });
  test("a job claimed ahead that could not be started within 1 s is given back", async () => {
    expect(PACE.prefetchReturnMs).toBe(1_000);
    const { jobs, worker, gate } = await stuck();
    await world.clock.advance(999);
    expect(worker.stats.prefetched).toBe(10);
    await world.clock.advance(2);
    expect(worker.stats).toMatchObject({ running: 2, prefetched: 0, released: 10 });
    await world.clock.advance(5_000);
    // And the worker does not take them back while it has no use for them.
    expect(await jobs.counts()).toMatchObject({ leased: 2, ready: 38 });
    const { jobs: ready } = await jobs.list("ready");
    expect(ready.every((job) => job.attempts === 0 && job.lost === 0)).toBe(true);
    gate.resolve();
    await worker.close();
  });
  test("what was claimed ahead goes back at once when the worker closes", async () => {
    const { jobs, worker, gate } = await stuck();
    const closing = worker.close();
    await turns();
    expect(await jobs.counts()).toMatchObject({ leased: 2, ready: 38 });
    gate.resolve();
    await closing;
  });
  test("and when it is paused", async () => {
    const { jobs, worker, gate } = await stuck();
    worker.pause();
    await turns();
    expect(await jobs.counts()).toMatchObject({ leased: 2, ready: 38 });
    gate.resolve();
    await worker.close();
  });
  test("what was only claimed ahead may still be replaced by its dedupe key, what had started may not", async () => {
    const add = (jobs: JobQueue<number>) =>
      Promise.all(
        [0, 1, 2, 3].map((n) =>
          jobs.add(n, { dedupe: { key: String(n), ttlMs: 60_000, mode: "last" } }),
        ),
      );
    const { jobs, worker, gate } = await stuck({}, add);
    expect(worker.stats).toMatchObject({ running: 2, prefetched: 2 });
    const closing = worker.close();
    await world.clock.advance(1);
    gate.reject(new Error("stopped"));
    await closing;
    expect(worker.stats).toMatchObject({ released: 4 });
    const again = await add(jobs);
    expect(again.map(({ status }) => status)).toEqual(["added", "added", "replaced", "replaced"]);
  });
  test("a claim under way when the worker closes brings jobs that go back at once", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.add(1);
    const worker = jobs.work(() => 1);
    await Promise.resolve();
    await worker.close();
    expect(worker.stats.completed).toBe(0);
    expect(await jobs.counts()).toMatchObject({ ready: 1, leased: 0 });
  });
  test("a cancel of a job claimed ahead ends it at once", async () => {
    const { jobs, worker, gate } = await stuck();
    const { jobs: leased } = await jobs.list("leased");
    const last = leased.at(-1);
    await jobs.cancel(last?.id ?? "");
    await until(() => worker.stats.cancelled === 1);
    expect(worker.stats.prefetched).toBe(9);
    gate.resolve();
    await worker.close();
  });
});
