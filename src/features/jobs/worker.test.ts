import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { LIMITS } from "../../core/limits.ts";
import { deferred } from "../../core/signal.ts";
import { Queue } from "../../ports/queue/index.ts";
import { queue } from "./definition.ts";
import type { Job } from "./job.ts";
import { permanent } from "../../core/retry.ts";
import type { WorkerEvent } from "./tally.ts";

const numbers = queue("numbers", { input: unchecked<number>() });
const keyed = queue("keyed", { input: unchecked<string>(), key: (text) => text.slice(0, 1) });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("a handler", () => {
  test("gets the input that its schema gives, and facts of its job; what it returns is the result", async () => {
    const Input = z.object({ n: z.string().transform(Number), unit: z.string().default("ms") });
    const jobs = process.store.handle(
      queue("typed", { input: Input, output: z.object({ doubled: z.number() }), key: () => "k" }),
    );
    const added = await jobs.add({ n: "21" }, { priority: 5 });
    let seen: unknown;
    await using _ = jobs.work(async (input, job) => {
      const { id, key, attempt, delivery, token, priority, waitedMs } = job;
      seen = { input, id, key, attempt, delivery, priority, waitedMs, isToken: token > 0n };
      return { doubled: input.n * 2 };
    });
    expect(await added.result()).toEqual({ doubled: 42 });
    expect(seen).toEqual({
      input: { n: 21, unit: "ms" },
      id: added.id,
      key: "k",
      attempt: 1,
      delivery: 1,
      priority: 5,
      waitedMs: 0,
      isToken: true,
    });
    const job = await jobs.get(added.id);
    expect(job).toMatchObject({ state: "completed", attempts: 0 });
    expect(job?.output).toEqual({ doubled: 42 });
  });
  test("may be synchronous, and may return nothing", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany([1, 2, 3]);
    await using worker = jobs.work((n) => (n === 2 ? undefined : n * 10), { concurrency: 1 });
    expect(await Promise.all(added.map((job) => job.result()))).toEqual([10, undefined, 30]);
    expect(worker.stats).toMatchObject({ completed: 3, running: 0 });
  });
  test("never runs more than `concurrency` at once, and uses all of it", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany(Array.from({ length: 50 }, (_, n) => n));
    let running = 0;
    let most = 0;
    await using worker = jobs.work(
      async () => {
        most = Math.max(most, ++running);
        await turns(2);
        running--;
      },
      { concurrency: 7 },
    );
    await until(() => worker.stats.completed === 50);
    expect(most).toBe(7);
  });
  test("jobs of one key run one after another, in the order of their adding", async () => {
    const jobs = process.store.handle(keyed);
    await jobs.addMany(["a1", "a2", "b1", "a3", "b2"]);
    const seen: string[] = [];
    let ofA = 0;
    await using worker = jobs.work(async (text, job) => {
      if (job.key === "a") expect(++ofA).toBe(1);
      await turns(2);
      seen.push(text);
      if (job.key === "a") ofA--;
    });
    await until(() => worker.stats.completed === 5);
    expect(seen.filter((text) => text.startsWith("a"))).toEqual(["a1", "a2", "a3"]);
    expect(seen.filter((text) => text.startsWith("b"))).toEqual(["b1", "b2"]);
  });
  test("a stored input that does not match its schema makes the job dead at once, with INVALID_DATA", async () => {
    const strict = process.store.handle(queue("strict", { input: z.object({ n: z.number() }) }));
    const port = new Queue(process.store, "strict");
    await port.add({ payload: '{"n":"x"}', id: "schema" });
    await port.add({ payload: "{{", id: "damaged" });
    let calls = 0;
    await using worker = strict.work(async () => void calls++);
    await until(() => worker.stats.dead === 2);
    expect(calls).toBe(0);
    expect((await strict.get("schema"))?.error).toMatch(/^INVALID_DATA: .*n: /);
    const damaged = await strict.get("damaged");
    expect(damaged?.error).toMatch(/^CORRUPT: /);
    expect(() => damaged?.input).toThrow(expect.objectContaining({ code: "CORRUPT" }));
  });
  test.each([
    ["fails its schema", () => ({ doubled: "x" }), "INVALID_DATA"],
    ["is cyclic", () => globalThis, "INVALID_DATA"],
    ["is too large", () => ({ doubled: 1, text: "x".repeat(LIMITS.resultBytes) }), "TOO_LARGE"],
  ])("an output that %s makes the job dead, not tried again", async (_, output, code) => {
    const schema = code === "TOO_LARGE" ? undefined : z.looseObject({ doubled: z.number() });
    const jobs = process.store.handle(
      queue("out", { input: unchecked<number>(), output: schema as never }),
    );
    const added = await jobs.add(1);
    let calls = 0;
    await using worker = jobs.work(() => {
      calls++;
      return output() as never;
    });
    await until(() => worker.stats.dead === 1);
    await expect(added.result()).rejects.toMatchObject({
      code: "FAILED",
      details: { state: "dead", error: expect.stringMatching(`^${code}: `) },
    });
    expect(calls).toBe(1);
  });
});

describe("a failed attempt", () => {
  test("is tried again after the backoff, until the attempts are used up, then it is dead", async () => {
    const backoff = { initialMs: 1_000, factor: 10, jitter: "none" } as const;
    const jobs = process.store.handle(
      queue("flaky", { input: unchecked<number>(), retry: { attempts: 3, backoff } }),
    );
    const added = await jobs.add(1);
    const attempts: [number, number][] = [];
    const events: WorkerEvent[] = [];
    const startMs = world.clock.wallMs();
    await using worker = jobs.work(
      async (_, job) => {
        attempts.push([job.attempt, world.clock.wallMs() - startMs]);
        throw new Error(`attempt ${job.attempt}`);
      },
      { observe: (event) => events.push(event) },
    );
    await until(() => worker.stats.retried === 1);
    expect(await jobs.get(added.id)).toMatchObject({
      state: "scheduled",
      attempts: 1,
      error: "Error: attempt 1",
      dueMs: startMs + 1_000,
    });
    await world.clock.advance(999);
    expect(attempts).toHaveLength(1);
    for (let i = 0; i < 12; i++) await world.clock.advance(1_000);
    expect(attempts.map(([attempt]) => attempt)).toEqual([1, 2, 3]);
    // Never early; late by no more than the claim that follows the timer.
    expect(attempts.map(([, atMs]) => atMs)).toEqual([0, 1_000, 11_000]);
    await expect(added.result()).rejects.toMatchObject({
      code: "FAILED",
      details: { state: "dead", attempts: 3, error: "Error: attempt 3" },
    });
    expect(worker.stats).toMatchObject({ retried: 2, dead: 1, completed: 0 });
    expect(events.map((event) => [event.type, "state" in event && event.state])).toEqual([
      ["failed", "scheduled"],
      ["failed", "scheduled"],
      ["failed", "dead"],
    ]);
  });
  test("a permanent failure goes to the dead letters at once", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    await using worker = jobs.work(() => {
      throw permanent("There is no such customer");
    });
    await until(() => worker.stats.dead === 1);
    await expect(added.result()).rejects.toMatchObject({
      message: expect.stringContaining("ended as dead: There is no such customer"),
    });
  });
  test("by default a waiting retry holds its key: later jobs of the key wait", async () => {
    const seen = await order("hold");
    expect(seen).toEqual(["a1 1", "a1 2", "a2 1"]);
  });
  test("with `key: release` later jobs of the key pass the waiting retry", async () => {
    const seen = await order("release");
    expect(seen).toEqual(["a1 1", "a2 1", "a1 2"]);
  });
  async function order(key: "hold" | "release"): Promise<string[]> {
    const retry = { key, backoff: { initialMs: 1_000, jitter: "none" } } as const;
    const jobs = process.store.handle(
      queue(key, { input: unchecked<string>(), key: () => "a", retry }),
    );
    await jobs.addMany(["a1", "a2"]);
    const seen: string[] = [];
    await using worker = jobs.work(async (text, job) => {
      seen.push(`${text} ${job.attempt}`);
      if (text === "a1" && job.attempt === 1) throw new Error("once");
    });
    await until(() => worker.stats.retried === 1);
    await turns();
    await world.clock.advance(1_000);
    await until(() => worker.stats.completed === 2);
    return seen;
  }
  test("what an observer or a thrown value does never stops the worker", async () => {
    const jobs = process.store.handle(numbers);
    const trap = new Proxy(
      {},
      {
        get: () => {
          throw new Error("looked");
        },
        has: () => {
          throw new Error("looked");
        },
      },
    );
    await jobs.addMany([1, 2]);
    await using worker = jobs.work(
      (n) => {
        if (n === 1) throw trap;
        return Promise.reject(undefined);
      },
      {
        observe: () => {
          throw new Error("observer");
        },
      },
    );
    await until(() => worker.stats.retried === 2);
  });
});

describe("dead letters", () => {
  test("can be listed, made ready again one by one or together, and purged", async () => {
    const jobs = process.store.handle(numbers);
    await jobs.addMany([1, 2, 3, 4], { id: (n) => `j${n}` });
    let isBroken = true;
    const work = async (): Promise<void> => {
      if (isBroken) throw permanent("broken");
    };
    await using worker = jobs.work(work);
    await until(() => worker.stats.dead === 4);
    const { jobs: dead, next } = await jobs.list("dead");
    expect(dead.map((job) => [job.id, job.error, job.attempts])).toEqual(
      [1, 2, 3, 4].map((n) => [`j${n}`, "broken", 1]),
    );
    expect(next).toBeNull();
    isBroken = false;
    expect(await jobs.retry("j1")).toBe(true);
    expect(await jobs.retry("nobody")).toBe(false);
    await until(() => worker.stats.completed === 1);
    expect(await jobs.redrive({ ids: ["j2", "j1"] })).toBe(1);
    expect(await jobs.redrive({ max: 1 })).toBe(1);
    await until(() => worker.stats.completed === 3);
    expect(await jobs.purge("dead")).toBe(1);
    expect(await jobs.counts()).toMatchObject({ dead: 0, completed: 3 });
    expect((await jobs.get("j1"))?.attempts).toBe(0);
  });
});

describe("looking and steering", () => {
  test("a paused queue is not claimed from, by anyone, until it is resumed", async () => {
    const jobs = process.store.handle(numbers);
    const other = (await world.process()).store.handle(numbers);
    await jobs.pause();
    await jobs.add(1);
    expect((await jobs.stats()).isPaused).toBe(true);
    await using worker = other.work(() => 1);
    await world.clock.advance(5_000);
    expect(worker.stats.claimed).toBe(0);
    await jobs.resume();
    await until(() => worker.stats.completed === 1);
  });
  test("a paused worker claims nothing, while others go on", async () => {
    const jobs = process.store.handle(numbers);
    await using paused = jobs.work(() => 1);
    await until(() => process.ops("queue.claim").length > 0);
    paused.pause();
    expect(paused.stats.isPaused).toBe(true);
    await jobs.add(1);
    await world.clock.advance(5_000);
    expect(paused.stats.claimed).toBe(0);
    await using running = jobs.work(() => 1);
    await until(() => running.stats.completed === 1);
    await jobs.pause();
    await jobs.resume();
    paused.resume();
    paused.resume();
    await running.close();
    await jobs.add(2);
    await until(() => paused.stats.completed === 1);
  });
  test("stats count by state and tell the age of the oldest ready job", async () => {
    const jobs = process.store.handle(keyed);
    expect(await jobs.stats()).toMatchObject({ oldestReadyMs: null, isPaused: false });
    await jobs.addMany(["a1", "a2"]);
    await jobs.add("b", { delayMs: 60_000 });
    await world.clock.advance(1_500);
    const { counts, oldestReadyMs } = await jobs.stats();
    expect(counts).toMatchObject({ ready: 1, blocked: 1, scheduled: 1, leased: 0 });
    expect(oldestReadyMs).toBe(1_500);
  });
  test("changes tell what became of jobs after a cursor", async () => {
    const jobs = process.store.handle(numbers);
    const { cursor } = await jobs.changes(0);
    const added = await jobs.add(1);
    await using _ = jobs.work(() => 1);
    await added.result();
    const { changes } = await jobs.changes(cursor);
    expect(changes.at(-1)).toMatchObject({ id: added.id, state: "completed" });
    await expect(jobs.changes(-1)).rejects.toThrow(RangeError);
  });
  test("progress is readable while the job runs; the newest value wins", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const gate = deferred<void>();
    const held = deferred<Job>();
    await using _ = jobs.work(async (_n, job) => {
      for (let percent = 0; percent <= 100; percent++) job.progress({ percent });
      held.resolve(job);
      await gate.promise;
    });
    const job = await held.promise;
    await turns();
    expect((await jobs.get(added.id))?.progress).toEqual({ percent: 100 });
    // The first and the last: those in between merged.
    expect(process.ops("queue.progress").length).toBeLessThanOrEqual(3);
    expect(() => job.progress(5n)).toThrow(expect.objectContaining({ code: "INVALID_DATA" }));
    const large = "x".repeat(LIMITS.progressBytes);
    expect(() => job.progress(large)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
    gate.resolve();
    await added.result();
    job.progress("late");
    await turns();
    expect(process.ops("queue.progress").length).toBeLessThanOrEqual(3);
  });
});

describe("options of work that are wrong are refused", () => {
  test.each([
    [{ concurrency: 0 }, RangeError],
    [{ concurrency: -1 }, RangeError],
    [{ concurrency: 1.5 }, RangeError],
    [{ concurrency: 10_001 }, RangeError],
    [{ concurrency: "5" }, TypeError],
    [{ prefetch: -1 }, RangeError],
    [{ prefetch: 10_001 }, RangeError],
    [{ drainMs: -1 }, RangeError],
    [{ drainMs: Infinity }, RangeError],
    [{ signal: {} }, TypeError],
    [{ maxLoopDelayMs: 0 }, RangeError],
    [{ observe: 5 }, TypeError],
    [{ threads: 5 }, TypeError],
    [null, TypeError],
  ])("%j", (options, kind) => {
    const jobs = process.store.handle(numbers);
    expect(() => jobs.work(() => 1, options as never)).toThrow(kind);
    expect(() => jobs.workBatch(async () => {}, options as never)).toThrow(kind);
  });
  test("and a handler that is none", () => {
    const jobs = process.store.handle(numbers);
    expect(() => jobs.work(undefined as never)).toThrow(TypeError);
    expect(() => jobs.workBatch("x" as never)).toThrow(TypeError);
    expect(() => jobs.workBatch(async () => {}, { max: 0 })).toThrow(RangeError);
    expect(() => jobs.workBatch(async () => {}, { max: 1_001 })).toThrow(RangeError);
  });
});
