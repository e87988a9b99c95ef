/** Completing a job together with ops of any port. */
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { Queue } from "../../ports/queue/index.ts";
import type { Placed } from "../../store/group.ts";
import { queue } from "./definition.ts";
import { Completion, type Job } from "./job.ts";

const orders = queue("orders", {
  input: unchecked<{ sku: string; quantity: number }>(),
  output: z.object({ state: z.enum(["filled", "refused"]) }),
});
const parcels = queue("parcels", { input: unchecked<string>() });

let world: World;
let process: Process;
let kv: Kv;
beforeEach(async () => {
  world = new World();
  process = await world.process();
  kv = new Kv(process.store);
});
afterEach(() => world.close());

describe("job.complete", () => {
  test("writes the completion and the ops in one group", async () => {
    const jobs = process.store.handle(orders);
    const next = process.store.handle(parcels);
    await kv.put("stock:a", 5);
    const added = await jobs.add({ sku: "a", quantity: 2 });
    await using worker = jobs.work(async ({ sku, quantity }, job) => {
      const done = await job.complete({ state: "filled" }, [
        kv.op.add(`stock:${sku}`, -quantity, { min: 0 }),
        next.op.add("pack it"),
      ]);
      expectTypeOf(done.results).not.toBeAny();
      expect(done.results?.[0]).toBe(3);
      expect(done.results?.[1]).toMatchObject({ status: "added" });
      return done;
    });
    expect(await added.result()).toEqual({ state: "filled" });
    expect((await kv.get("stock:a"))?.value).toBe(3);
    expect((await next.counts()).ready).toBe(1);
    const groups = process.sent.flat().filter((group) => group.ops.length === 3);
    expect(groups[0]?.ops.map((op) => op.op)).toEqual(["queue.settle", "kv.add", "queue.enqueue"]);
    expect(worker.stats).toMatchObject({ completed: 1, unsettled: 0 });
  });
  test("what refuses it is thrown by complete, with the job still held and nothing written", async () => {
    const jobs = process.store.handle(orders);
    await kv.put("stock:a", 1);
    await kv.put("sold", 0);
    const added = await jobs.add({ sku: "a", quantity: 2 });
    let refused: unknown;
    await using _ = jobs.work(async (_input, job) => {
      const ops = [kv.op.add("sold", 2), kv.op.add("stock:a", -2, { min: 0 })];
      refused = await job.complete({ state: "filled" }, ops).catch((error: unknown) => error);
      expect((await kv.get("sold"))?.value).toBe(0);
      return { state: "refused" } as const;
    });
    expect(await added.result()).toEqual({ state: "refused" });
    expect(refused).toMatchObject({ code: "LIMITED", outcome: "not-applied" });
    expect((await kv.get("stock:a"))?.value).toBe(1);
  });
  test("tryComplete gives the refusal as a value, and the handler may decide otherwise and try again", async () => {
    const jobs = process.store.handle(orders);
    await kv.put("stock:a", 1);
    const added = await jobs.add({ sku: "a", quantity: 2 });
    const seen: unknown[] = [];
    await using _ = jobs.work(async (_input, job) => {
      const first = await job.tryComplete({ state: "filled" }, [
        kv.op.add("orders", 1),
        kv.op.add("stock:a", -2, { min: 0 }),
      ]);
      if (first.ok) return first;
      seen.push(first.refusal);
      const second = await job.tryComplete({ state: "refused" }, [kv.op.put("refused", "yes")]);
      if (!second.ok) throw new Error("refused twice");
      return second;
    });
    expect(await added.result()).toEqual({ state: "refused" });
    // `index` counts the ops that were given.
    expect(seen).toMatchObject([{ code: "LIMITED", index: 1, details: { key: "stock:a" } }]);
    expect((await kv.get("refused"))?.value).toBe("yes");
    expect(await kv.get("orders")).toBeNull();
  });
  test("a check that does not hold is CONFLICT", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    const refusals: string[] = [];
    await using worker = jobs.work(async (_input, job) => {
      const done = await job.tryComplete({ state: "filled" }, [kv.op.check("k", 99)]);
      if (!done.ok) refusals.push(done.refusal.code);
      return { state: "refused" };
    });
    await until(() => worker.stats.completed === 1);
    expect(refusals).toEqual(["CONFLICT"]);
  });
  test("the handler's return value is ignored afterwards, and so is what it throws", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.addMany([
      { sku: "a", quantity: 1 },
      { sku: "b", quantity: 1 },
    ]);
    await using worker = jobs.work(async ({ sku }, job) => {
      await job.complete({ state: "filled" });
      if (sku === "a") throw new Error("afterwards");
      return { state: "refused" };
    });
    await until(() => worker.stats.completed === 2 && worker.stats.running === 0);
    for (const job of added) expect(await job.result()).toEqual({ state: "filled" });
    expect(worker.stats).toMatchObject({ retried: 0, dead: 0 });
  });
  test("works without waiting for it, too: the handler's end waits for it", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.add({ sku: "a", quantity: 1 });
    await using worker = jobs.work((_, job) => {
      void job.complete({ state: "filled" });
      return { state: "refused" };
    });
    expect(await added.result()).toEqual({ state: "filled" });
    await until(() => worker.stats.running === 0);
    expect(worker.stats.completed).toBe(1);
  });
  test("a throw while it is under way changes nothing if it holds", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.add({ sku: "a", quantity: 1 });
    await using worker = jobs.work((_, job) => {
      void job.complete({ state: "filled" });
      throw new Error("meanwhile");
    });
    expect(await added.result()).toEqual({ state: "filled" });
    await until(() => worker.stats.running === 0);
    expect(worker.stats).toMatchObject({ completed: 1, retried: 0 });
  });
  test("a second one is refused while the first is under way, and after it", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    const errors: unknown[] = [];
    await using worker = jobs.work(async (_, job) => {
      const first = job.complete({ state: "filled" });
      errors.push(await job.complete({ state: "refused" }).catch((error: unknown) => error));
      const done = await first;
      errors.push(await job.complete({ state: "refused" }).catch((error: unknown) => error));
      return done;
    });
    await until(() => worker.stats.completed === 1);
    expect(errors).toMatchObject([{ code: "CLOSED" }, { code: "CLOSED" }]);
  });
  test("an output that fails its schema is refused before anything is written, with the job still held", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.add({ sku: "a", quantity: 1 });
    const errors: unknown[] = [];
    await using _ = jobs.work(async (_input, job) => {
      const ops = [kv.op.put("k", "v")];
      errors.push(
        await job.complete({ state: "?" } as never, ops).catch((error: unknown) => error),
      );
      return { state: "refused" };
    });
    expect(await added.result()).toEqual({ state: "refused" });
    expect(errors).toMatchObject([{ code: "INVALID_DATA" }]);
    expect(await kv.get("k")).toBeNull();
  });
  test("ops of another partition are refused with UNSUPPORTED", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.add({ sku: "a", quantity: 1 });
    const far: Placed = { partition: "elsewhere", op: { op: "kv.put", key: "k", value: "v" } };
    const errors: unknown[] = [];
    await using _ = jobs.work(async (_input, job) => {
      errors.push(await job.complete({ state: "filled" }, [far]).catch((error: unknown) => error));
      return { state: "refused" };
    });
    expect(await added.result()).toEqual({ state: "refused" });
    expect(errors).toMatchObject([{ code: "UNSUPPORTED" }]);
  });
  test("one whose answer was lost holds once: `results` is null then", async () => {
    const jobs = process.store.handle(orders);
    const added = await jobs.add({ sku: "a", quantity: 1 });
    process.lostReplies = { op: "kv.add", count: 1 };
    const results: unknown[] = [];
    await using worker = jobs.work(async (_, job) => {
      const done = await job.complete({ state: "filled" }, [kv.op.add("sold", 1)]);
      results.push(done.results);
      return done;
    });
    await until(() => process.lostReplies.count === 0);
    for (let i = 0; i < 4; i++) await world.clock.advance(250);
    expect(await added.result()).toEqual({ state: "filled" });
    expect(results).toEqual([null]);
    expect((await kv.get("sold"))?.value).toBe(1);
    expect(worker.stats).toMatchObject({ completed: 1, lost: 0 });
  });
  test("a job that was lost can't be completed: LEASE_LOST, and none of its ops is written", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    const gate = deferred<void>();
    const errors: unknown[] = [];
    let calls = 0;
    await using worker = jobs.work(async (_, job) => {
      if (++calls > 1) return { state: "refused" };
      await gate.promise;
      const ops = [kv.op.put("k", "stale")];
      errors.push(await job.complete({ state: "filled" }, ops).catch((error: unknown) => error));
      return { state: "filled" };
    });
    await until(() => calls === 1);
    const { id } = await process.store.session();
    await process.store.commit("default", [{ op: "session.end", session: id }]);
    gate.resolve();
    await until(() => errors.length === 1);
    expect(errors).toMatchObject([{ code: "LEASE_LOST" }]);
    for (let i = 0; i < 4; i++) await world.clock.advance(1_000);
    await until(() => worker.stats.completed === 1);
    expect(await kv.get("k")).toBeNull();
  });
  test("one whose answer and whose session were lost is LEASE_LOST with outcome unknown", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    const errors: unknown[] = [];
    let calls = 0;
    await using worker = jobs.work(async (_, job) => {
      if (++calls > 1) return { state: "refused" };
      const ops = [kv.op.add("sold", 1)];
      process.lostReplies = { op: "kv.add", count: 1 };
      errors.push(await job.complete({ state: "filled" }, ops).catch((error: unknown) => error));
      return { state: "filled" };
    });
    await until(() => process.lostReplies.count === 0 && calls === 1);
    process.isDown = true;
    world.clock.suspend(11_000);
    await world.clock.advance(3_000);
    process.isDown = false;
    await until(() => errors.length === 1);
    expect(errors).toMatchObject([{ code: "LEASE_LOST", outcome: "unknown" }]);
    await world.clock.advance(5_000);
    // It had been applied: nothing runs a second time.
    expect([calls, (await kv.get("sold"))?.value]).toEqual([1, 1]);
    expect(worker.stats).toMatchObject({ lost: 1, completed: 0 });
    expect((await jobs.counts()).completed).toBe(1);
  });
  test("a stale token is refused even while the session lives", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    const started = deferred<Job<{ state: "filled" }>>();
    const gate = deferred<void>();
    await using worker = jobs.work(async (_, job) => {
      started.resolve(job);
      await gate.promise;
      const ops = [kv.op.put("k", "stale")];
      await expect(job.complete({ state: "filled" }, ops)).rejects.toMatchObject({
        code: "FENCED",
      });
      return { state: "filled" };
    });
    const job = await started.promise;
    const { jobs: leased } = await jobs.list("leased");
    const session = (await process.store.session()).id;
    const settle = { result: null, error: null, delayMs: 60_000, holdsKey: true } as const;
    const receipt = { seq: leased[0]?.seq ?? 0, token: Number(job.token) };
    await process.store.commit("default", [
      { op: "queue.settle", queue: "orders", session, ...receipt, outcome: "retry", ...settle },
    ]);
    gate.resolve();
    await until(() => worker.stats.lost === 1 && worker.stats.running === 0);
    expect(await kv.get("k")).toBeNull();
    expect(await jobs.counts()).toMatchObject({ scheduled: 1, leased: 0 });
  });
  test("the slot of a handler that hangs after it is free again", async () => {
    const short = queue("short", { input: unchecked<number>(), timeoutMs: 1_000, graceMs: 500 });
    const jobs = process.store.handle(short);
    const added = await jobs.addMany([1, 2]);
    const gate = deferred<void>();
    await using worker = jobs.work(
      async (n, job) => {
        await job.complete(n);
        if (n === 1) await gate.promise;
      },
      { concurrency: 1 },
    );
    await until(() => worker.stats.completed === 1);
    await turns();
    expect(worker.stats.running).toBe(1);
    await world.clock.advance(1_499);
    expect(worker.stats).toMatchObject({ running: 1, abandoned: 0 });
    await world.clock.advance(2);
    expect(await added[1]?.result()).toBe(2);
    expect(worker.stats.abandoned).toBe(1);
    gate.resolve();
  });
  test.each([
    ["its timeout", "TIMEOUT", false],
    ["a drain", "CLOSED", true],
  ])("a handler that goes on after it hears of %s first", async (_, code, isDrained) => {
    const short = queue("short", { input: unchecked<number>(), timeoutMs: 1_000, graceMs: 500 });
    const jobs = process.store.handle(short);
    await jobs.add(1);
    let held: Job | undefined;
    const worker = jobs.work(
      async (n, job) => {
        await job.complete(n);
        held = job;
        await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
      },
      { drainMs: 900 },
    );
    await until(() => held !== undefined);
    const closing = isDrained ? worker.close() : undefined;
    await world.clock.advance(isDrained ? 899 : 999);
    expect(held?.signal.aborted).toBe(false);
    await world.clock.advance(1);
    expect(held?.signal.reason).toMatchObject({ code });
    expect(worker.stats).toMatchObject({ running: 0, completed: 1, abandoned: 0 });
    await closing;
    await worker.close();
  });
  test("a batch that hangs after it is abandoned once", async () => {
    const short = queue("short", { input: unchecked<number>(), timeoutMs: 1_000, graceMs: 500 });
    const jobs = process.store.handle(short);
    await jobs.addMany([1, 2]);
    const gate = deferred<void>();
    await using worker = jobs.workBatch(async (items) => {
      await Promise.all(items.map(({ job }) => job.complete(1)));
      await gate.promise;
    });
    await until(() => worker.stats.completed === 2);
    await world.clock.advance(1_501);
    expect(worker.stats).toMatchObject({ running: 0, abandoned: 1 });
    gate.resolve();
  });
  test("where the job is lost to it, the signal aborts", async () => {
    const jobs = process.store.handle(orders);
    await jobs.add({ sku: "a", quantity: 1 });
    let held: Job<{ state: "filled" }> | undefined;
    const gate = deferred<void>();
    const worker = jobs.work(async (_, job) => {
      held = job;
      await gate.promise;
      await job.complete({ state: "filled" }).catch(() => {});
      return { state: "filled" };
    });
    await until(() => held !== undefined);
    const { jobs: leased } = await jobs.list("leased");
    const receipt = { seq: leased[0]?.seq ?? 0, token: Number(held?.token) };
    const port = new Queue(process.store, "orders");
    await port.settle(await process.store.session(), receipt, {
      outcome: "dead",
      error: "by hand",
    });
    gate.resolve();
    await until(() => worker.stats.lost === 1);
    expect(held?.signal.reason).toMatchObject({ code: "FENCED" });
    await worker.close();
  });
  test("a completion is a value that a handler may return", () => {
    expect(new Completion(null)).toMatchObject({ ok: true, results: null });
  });
});
