import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { bytesCodec, unchecked, type Codec } from "../../core/codec.ts";
import { LIMITS } from "../../core/limits.ts";
import { Kv } from "../../ports/kv/index.ts";
import { queue } from "./definition.ts";
import type { JobQueue } from "./queue.ts";

const Mail = z.object({ to: z.string(), n: z.number().default(0) });
const mails = queue("mails", { input: Mail, key: (mail) => mail.to });
const plain = queue("plain", { input: unchecked<unknown>() });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("add", () => {
  test("stores the input as it was given, under the key of what the schema made of it", async () => {
    const jobs = process.store.handle(mails);
    const added = await jobs.add({ to: "ann" });
    expect(added.status).toBe("added");
    expect(added.id).toMatch(/^[0-9a-z]{25}$/);
    const job = await jobs.get(added.id);
    expect(job).toMatchObject({ id: added.id, state: "ready", key: "ann", attempts: 0 });
    expect(job?.input).toEqual({ to: "ann" });
    expect(job?.createdMs).toBe(world.clock.wallMs());
    expect([job?.output, job?.progress, job?.token, job?.dueMs]).toEqual(Array(4).fill(undefined));
  });
  test("a delay, a priority and an id are kept", async () => {
    const jobs = process.store.handle(mails);
    await jobs.add({ to: "ann" }, { id: "a", delayMs: 5_000, priority: 7 });
    expect(await jobs.get("a")).toMatchObject({
      state: "scheduled",
      priority: 7,
      dueMs: world.clock.wallMs() + 5_000,
    });
    expect(await jobs.get("b")).toBeNull();
  });
  test("an id that is there with the same input changes nothing, with another it is refused", async () => {
    const jobs = process.store.handle(mails);
    expect((await jobs.add({ to: "ann" }, { id: "a" })).status).toBe("added");
    expect((await jobs.add({ to: "ann" }, { id: "a" })).status).toBe("exists");
    await expect(jobs.add({ to: "bob" }, { id: "a" })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      outcome: "not-applied",
    });
    expect((await jobs.counts()).ready).toBe(1);
  });
  test("the queue's rules go in front of the first group, and once", async () => {
    const jobs = process.store.handle(mails);
    await jobs.add({ to: "ann" });
    await jobs.add({ to: "bob" });
    expect(process.ops("queue.configure")).toHaveLength(1);
    expect(process.ops("queue.enqueue")).toHaveLength(2);
  });
  test("more than maxWaiting is refused with OVERLOADED, and the rules are sent again until one group held", async () => {
    const bounded = process.store.handle(
      queue("bounded", { input: unchecked<number>(), maxWaiting: 2 }),
    );
    await expect(bounded.addMany([1, 2, 3])).rejects.toMatchObject({
      code: "OVERLOADED",
      details: { added: 0 },
    });
    await bounded.addMany([1, 2]);
    await expect(bounded.add(3)).rejects.toMatchObject({ code: "OVERLOADED", retryable: true });
    expect((await bounded.counts()).ready).toBe(2);
    expect(process.ops("queue.configure")).toHaveLength(2);
  });
  test("an add whose answer was lost is sent again under its id, and is there once", async () => {
    const jobs = process.store.handle(mails);
    process.lostReplies = { op: "queue.enqueue", count: 2 };
    const adding = jobs.add({ to: "ann" });
    for (let i = 0; i < 20; i++) await world.clock.advance(500);
    expect(await adding).toMatchObject({ status: "added" });
    expect((await jobs.counts()).ready).toBe(1);
    expect(process.ops("queue.enqueue").map((op) => op.isFresh)).toEqual([false, false, false]);
    const ids = process.ops("queue.enqueue").map((op) => op.id);
    expect(new Set(ids).size).toBe(1);
  });
  const unknown = { code: "UNAVAILABLE", outcome: "unknown" };
  test.each([{ ms: 0 }, { ms: 59_999 }, { deadMs: 59_999 }, { count: 99_999 }])(
    "with keep %j a job may be gone before its add is repeated: it is not",
    async (keep) => {
      const gone = process.store.handle(queue("gone", { input: unchecked<number>(), keep }));
      await using _ = gone.work((n) => n);
      process.lostReplies = { op: "queue.enqueue", count: 1 };
      const adding = expect(gone.add(1)).rejects.toMatchObject(unknown);
      await world.clock.advance(1_000);
      await adding;
      expect(process.ops("queue.enqueue")).toHaveLength(1);
    },
  );
  test("nor is it repeated after half a second, also if the machine slept meanwhile", async () => {
    const jobs = process.store.handle(plain);
    process.lostReplies = { op: "queue.enqueue", count: 1 };
    const adding = expect(jobs.add(1)).rejects.toMatchObject(unknown);
    await until(() => process.lostReplies.count === 0);
    world.clock.suspend(501);
    await world.clock.advance(1_000);
    await adding;
    expect(process.ops("queue.enqueue")).toHaveLength(1);
  });
  test("after a lost answer the outcome stays unknown, whatever ends the repeats", async () => {
    const jobs = process.store.handle(plain);
    process.lostReplies = { op: "queue.enqueue", count: 1 };
    const adding = expect(jobs.add(1)).rejects.toMatchObject(unknown);
    await until(() => process.lostReplies.count === 0);
    process.isDown = true;
    await world.clock.advance(10_000);
    process.isDown = false;
    await adding;
    expect((await jobs.counts()).ready).toBe(1);
  });
  test("an aborted signal ends it with the signal's reason", async () => {
    const jobs = process.store.handle(mails);
    const reason = new Error("enough");
    await expect(jobs.add({ to: "ann" }, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect((await jobs.counts()).ready).toBe(0);
  });
  test("a closed store refuses with CLOSED", async () => {
    const jobs = process.store.handle(mails);
    await process.store.close();
    await expect(jobs.add({ to: "ann" })).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("input that is wrong is refused before anything is written", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const evil: Codec = {
    name: "evil",
    encode: () => {
      throw new Error("no");
    },
    decode: () => undefined,
  };
  const strange = { ...evil, encode: () => 5 } as unknown as Codec;
  const badKey = (key: unknown) =>
    queue("k", { input: unchecked<number>(), key: () => key as string });
  test.each([
    ["a failing schema", mails, { to: 5 }, "INVALID_DATA"],
    ["a missing field", mails, {}, "INVALID_DATA"],
    ["a cyclic value", plain, cyclic, "INVALID_DATA"],
    ["a value without JSON form", plain, 5n, "INVALID_DATA"],
    ["a function", plain, () => 1, "INVALID_DATA"],
    ["too large a value", plain, "x".repeat(LIMITS.payloadBytes), "TOO_LARGE"],
    ["too many bytes in few characters", plain, "€".repeat(LIMITS.payloadBytes / 2), "TOO_LARGE"],
    [
      "no bytes for the bytes codec",
      queue("b", { input: unchecked<unknown>(), codec: bytesCodec }),
      "x",
      "INVALID_DATA",
    ],
    [
      "a codec that throws",
      queue("e", { input: unchecked<unknown>(), codec: evil }),
      1,
      "INVALID_DATA",
    ],
    [
      "a codec that gives no data",
      queue("s", { input: unchecked<unknown>(), codec: strange }),
      1,
      "INVALID_DATA",
    ],
    ["an empty key", badKey(""), 1, "INVALID_DATA"],
    ["an over-long key", badKey("k".repeat(201)), 1, "INVALID_DATA"],
    ["a key that is no text", badKey(5), 1, "INVALID_DATA"],
    ["a key that is half a character", badKey("\ud800"), 1, "INVALID_DATA"],
  ])("%s", async (_, definition, input, code) => {
    const jobs = process.store.handle<JobQueue<unknown>>(definition);
    const error = { code, outcome: "not-applied" };
    await expect(jobs.add(input)).rejects.toMatchObject(error);
    await expect(jobs.addMany([1, input])).rejects.toMatchObject(error);
    expect(() => jobs.op.add(input)).toThrow(expect.objectContaining(error));
    expect(process.ops("queue.enqueue")).toEqual([]);
  });
  test.each([
    [{ delayMs: -1 }, RangeError],
    [{ delayMs: 0.5 }, RangeError],
    [{ delayMs: LIMITS.durationMs + 1 }, RangeError],
    [{ delayMs: "5s" }, TypeError],
    [{ priority: -1 }, RangeError],
    [{ priority: 101 }, RangeError],
    [{ priority: NaN }, RangeError],
    [{ id: "" }, RangeError],
    [{ id: "i".repeat(201) }, RangeError],
    [{ id: "a\u0000" }, RangeError],
    [{ dedupe: { key: "k" } }, TypeError],
    [{ dedupe: { key: "k", ttlMs: 0 } }, RangeError],
    [{ dedupe: { key: "", ttlMs: 1 } }, RangeError],
    [{ dedupe: { key: "k", ttlMs: 1, mode: "newest" } }, RangeError],
    [{ dedupe: { key: "k", ttlMs: 1, mode: "debounce" } }, RangeError],
    [{ delayMs: 10, dedupe: { key: "k", ttlMs: 9, mode: "debounce" } }, RangeError],
    [{ dedupe: null }, TypeError],
    [{ after: 5 }, TypeError],
    [{ timeoutMs: -1 }, RangeError],
    [{ signal: {} }, TypeError],
    [5, TypeError],
  ])("options %j", async (options, kind) => {
    const jobs = process.store.handle(mails);
    await expect(jobs.add({ to: "ann" }, options as never)).rejects.toThrow(kind);
    expect(process.ops("queue.enqueue")).toEqual([]);
  });
  test("a transaction where there is none to join", async () => {
    const jobs = process.store.handle(mails);
    await expect(jobs.add({ to: "ann" }, { tx: {} })).rejects.toMatchObject({
      code: "UNSUPPORTED",
    });
    expect(() => jobs.addIn({}, { to: "ann" })).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED", outcome: "not-applied" }),
    );
    expect(() => jobs.addIn({}, { to: 5 } as never)).toThrow(
      expect.objectContaining({ code: "INVALID_DATA" }),
    );
  });
});

describe("asynchronous schemas", () => {
  const Slow = z.string().refine(async (text) => text !== "bad");
  const slow = queue("slow", { input: Slow, output: Slow });
  test("are awaited on add, on handling and on completion", async () => {
    const jobs = process.store.handle(slow);
    const added = await jobs.add("good");
    await expect(jobs.add("bad")).rejects.toMatchObject({ code: "INVALID_DATA" });
    await using _ = jobs.work(async (input) => `${input} indeed`);
    expect(await added.result()).toBe("good indeed");
  });
  test("can't serve what is synchronous", () => {
    const jobs = process.store.handle(slow);
    const error = expect.objectContaining({ code: "UNSUPPORTED" });
    expect(() => jobs.op.add("good")).toThrow(error);
    expect(() => jobs.addIn({}, "good")).toThrow(error);
  });
  test("an output that fails one makes the job dead", async () => {
    const jobs = process.store.handle(slow);
    const added = await jobs.add("good");
    await using _ = jobs.work(async () => "bad");
    await expect(added.result()).rejects.toMatchObject({ code: "FAILED" });
  });
});

describe("addMany", () => {
  test("adds in order, and gives each job", async () => {
    const jobs = process.store.handle(mails);
    const inputs = Array.from({ length: 2_500 }, (_, n) => ({ to: "ann", n }));
    const added = await jobs.addMany(inputs, { id: (_, n) => `j${n}` });
    expect(added.map((job) => job.id)).toEqual(inputs.map(({ n }) => `j${n}`));
    expect(await jobs.counts()).toMatchObject({ ready: 1, blocked: 2_499 });
    const page = await jobs.list("blocked", { limit: 3 });
    expect(page.jobs.map((job) => job.input)).toEqual([1, 2, 3].map((n) => ({ to: "ann", n })));
  });
  test("up to 1,000 jobs and 1 MiB are one group, more are cut into such groups", async () => {
    const jobs = process.store.handle(plain);
    await jobs.add(0);
    const groupsOf = async (inputs: unknown[]): Promise<number[]> => {
      process.sent.length = 0;
      await jobs.addMany(inputs);
      return process.sent.flat().map((group) => group.ops.length);
    };
    expect(await groupsOf(Array(1_000).fill(1))).toEqual([1_000]);
    expect(await groupsOf(Array(1_001).fill(1))).toEqual([1_000, 1]);
    expect(await groupsOf(Array(5).fill("x".repeat(400_000)))).toEqual([2, 2, 1]);
    expect(await groupsOf([])).toEqual([]);
  });
  test("a group that is refused leaves nothing of itself, and none of it and its followers is added", async () => {
    const jobs = process.store.handle(plain);
    await jobs.add("other", { id: "j1500" });
    const inputs = Array.from({ length: 3_000 }, (_, n) => n);
    await expect(jobs.addMany(inputs, { id: (_, n) => `j${n}` })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      outcome: "not-applied",
      details: { added: 1_000 },
    });
    expect((await jobs.counts()).ready).toBe(1_001);
  });
  test("an abort says nothing of how many were added: with `id` the call is repeated", async () => {
    const jobs = process.store.handle(plain);
    const inputs = Array.from({ length: 2_500 }, (_, n) => n);
    const options = { id: (_: unknown, n: number) => `j${n}` };
    const stop = new AbortController();
    const reason = new Error("enough");
    const commit = process.commit.bind(process);
    process.commit = async (groups) => {
      const results = await commit(groups);
      stop.abort(reason);
      return results;
    };
    await expect(jobs.addMany(inputs, { ...options, signal: stop.signal })).rejects.toBe(reason);
    const added = await jobs.addMany(inputs, options);
    expect(added.map(({ status }) => status).lastIndexOf("exists")).toBe(999);
    expect((await jobs.counts()).ready).toBe(2_500);
  });
  test("one wrong input refuses them all, and is named", async () => {
    const jobs = process.store.handle(mails);
    const inputs = [...Array.from({ length: 1_500 }, () => ({ to: "ann" })), { to: 5 }];
    await expect(jobs.addMany(inputs as never)).rejects.toMatchObject({
      code: "INVALID_DATA",
      message: expect.stringContaining("inputs[1500]"),
      details: { index: 1_500 },
    });
    expect(process.ops("queue.enqueue")).toEqual([]);
  });
  test("a dedupe key for each job", async () => {
    const jobs = process.store.handle(plain);
    const dedupe = (input: unknown) => ({ key: String(input), ttlMs: 1_000 });
    const added = await jobs.addMany(["a", "b", "a"], { dedupe, delayMs: 5, priority: 3 });
    expect(added.map((job) => job.status)).toEqual(["added", "added", "deduped"]);
    expect(added[2]?.id).toBe(added[0]?.id);
    expect((await jobs.get(added[0]?.id ?? ""))?.priority).toBe(3);
  });
  test.each([
    ["no array", {}, undefined, TypeError],
    ["an id that is no function", [1], { id: "x" }, TypeError],
    ["no id for a job", [1], { id: () => undefined }, TypeError],
    ["dedupe that is no function", [1], { dedupe: {} }, TypeError],
    ["an unknown option", [1], { atomic: true }, TypeError],
    ["a wrong delay", [1], { delayMs: -1 }, RangeError],
  ])("%s is refused", async (_, inputs, options, kind) => {
    const jobs = process.store.handle(plain);
    await expect(jobs.addMany(inputs as never, options as never)).rejects.toThrow(kind);
    expect(process.ops("queue.enqueue")).toEqual([]);
  });
  test("more than 100,000 are refused", async () => {
    const jobs = process.store.handle(plain);
    const inputs = Array(LIMITS.addMany + 1).fill(1);
    await expect(jobs.addMany(inputs)).rejects.toMatchObject({ code: "TOO_LARGE" });
  });
});

describe("op.add", () => {
  test("joins any group of the partition, and falls with it", async () => {
    const jobs = process.store.handle(mails);
    const kv = new Kv(process.store);
    const add = jobs.op.add({ to: "ann" }, { id: "a" });
    const held = await process.store.commitAll([kv.op.add("stock", -1, { min: 0 }), add]);
    expect(held).toMatchObject({ ok: false, refusal: { code: "LIMITED", index: 0 } });
    expect(await jobs.get("a")).toBeNull();
    const done = await process.store.commitAll([kv.op.put("stock", "5"), add]);
    expect(done.ok && done.results[1]).toMatchObject({ id: "a", status: "added" });
    expect((await jobs.get("a"))?.key).toBe("ann");
  });
  test("sends the queue's rules ahead", async () => {
    const bounded = queue("bounded", { input: unchecked<number>(), maxWaiting: 1 });
    const jobs = process.store.handle(bounded);
    const ops = [jobs.op.add(1), jobs.op.add(2)];
    const done = await process.store.commitAll(ops);
    expect(done).toMatchObject({ ok: false, refusal: { code: "OVERLOADED", index: 1 } });
    expect(process.ops("queue.configure")).toHaveLength(1);
  });
  test("a group across partitions is refused before anything is sent", async () => {
    const jobs = process.store.handle(mails);
    const far = process.store.handle(queue("far", { input: unchecked<number>(), partition: "p" }));
    await turns();
    process.sent.length = 0;
    const ops = [jobs.op.add({ to: "ann" }), far.op.add(1)];
    await expect(process.store.commitAll(ops)).rejects.toMatchObject({ code: "UNSUPPORTED" });
    await until(() => process.ops("queue.configure").length === 2);
    expect(process.ops("queue.enqueue")).toEqual([]);
    await far.add(7);
    expect((await far.counts()).ready).toBe(1);
  });
  test("refuses wrong options", () => {
    const jobs = process.store.handle(mails);
    expect(() => jobs.op.add({ to: "a" }, { delayMs: -1 })).toThrow(RangeError);
    expect(() => jobs.op.add({ to: "a" }, { signal: undefined } as never)).toThrow(TypeError);
  });
});
