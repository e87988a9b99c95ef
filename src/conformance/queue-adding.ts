/** Adding jobs: what an answer means, and what a missing one. */
import assert from "node:assert/strict";
import type { Data } from "../core/codec.ts";
import { LIMITS } from "../core/limits.ts";
import { Queue } from "../ports/queue/index.ts";
import { assertSame, AWKWARD_TEXT, awkwardBytes, largest, UNSTORABLE_TEXT } from "./data.ts";
import { concurrently, draw, refuses, rejectsArgument, type Cases, type World } from "./kit.ts";
import { assertCounts, drain, ids, Worker, workers } from "./queue-kit.ts";

/** What became of adds when all processes died in the middle of them. */
interface Adds {
  /** Answered. */
  readonly acknowledged: readonly string[];
  /** Sent or not, nobody knows. */
  readonly unanswered: readonly string[];
}

/** Several processes add at once, under ids or without, and die; some groups hold several jobs. */
async function addUntilCrash(world: World): Promise<Adds> {
  const all = await workers(world, 3);
  const acknowledged: string[] = [];
  const unanswered: string[] = [];
  let count = 0;
  let dies: Promise<void> | undefined;
  await concurrently(12, async (i) => {
    const { queue, store } = all[i % 3] as Worker;
    for (let step = 0; step < 30 && dies === undefined; step++) {
      const names = Array.from(
        { length: 1 + draw(world.random, 3) },
        (_, n) => `${i}/${step}/${n}`,
      );
      const jobs = names.map((payload) => {
        return queue.op.enqueue(
          draw(world.random, 2) === 0 ? { payload } : { payload, id: payload },
        );
      });
      const call = store.commitAll(jobs).then((result) => assert.ok(result.ok));
      // The crash comes while calls of the others are under way.
      if (++count === 100) dies = world.crash();
      await call.then(
        () => acknowledged.push(...names),
        () => unanswered.push(...names),
      );
    }
  });
  await dies;
  return { acknowledged, unanswered };
}

async function payloads(world: World): Promise<Data[]> {
  const { queue } = await Worker.start(world);
  const found: Data[] = [];
  for await (const job of queue.scan("ready")) found.push(job.payload);
  return found;
}

export const queueAddingCases: Cases = {
  "A job is never lost after its add resolved, whatever process dies afterwards.": async (
    world,
  ) => {
    const { acknowledged } = await addUntilCrash(world);
    assert.ok(acknowledged.length > 0);
    const found = new Set(await payloads(world));
    for (const name of acknowledged) assert.ok(found.has(name), `${name} was acknowledged`);
    const worker = await Worker.start(world);
    assert.equal((await drain(worker, 100)).length, found.size, "and all of them are delivered");
  },

  "An add without an answer took effect once or never.": async (world) => {
    const { acknowledged, unanswered } = await addUntilCrash(world);
    const known = new Set<Data>([...acknowledged, ...unanswered]);
    const found = await payloads(world);
    assert.equal(found.length, new Set(found).size, "none twice");
    for (const payload of found) assert.ok(known.has(payload));
  },

  "Adding a job again under its id with the same payload changes nothing, in whatever state it is.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const add = (worker: Worker) => worker.queue.add({ id: "a", payload: "p", delayMs: 0 });
      const first = await add(one);
      assert.equal(first.status, "added");
      const again = { id: "a", seq: first.seq, status: "exists" };
      assert.deepEqual(await add(two), again);
      const job = await one.one("a");
      assert.deepEqual(await add(two), again, "leased");
      await one.settle(job);
      assert.deepEqual(await add(two), again, "completed");
      await one.none();
      assert.equal((await one.queue.stats()).counts.completed, 1);
    },

  "Adding another payload under a taken id is refused with `ALREADY_EXISTS`, and the first job stands.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      await one.queue.add({ id: "a", payload: "p" });
      await refuses(two.queue.add({ id: "a", payload: "q" }), "ALREADY_EXISTS");
      await refuses(two.queue.add({ id: "a", payload: Buffer.from("p") }), "ALREADY_EXISTS");
      assert.equal((await one.view("a")).payload, "p");
      const enqueue = (payload: string) => one.queue.op.enqueue({ id: "b", payload });
      const group = await one.store.commitAll([enqueue("1"), enqueue("2")]);
      assert.ok(!group.ok && group.refusal.code === "ALREADY_EXISTS", "in one group too");
      assert.equal(await one.queue.get("b"), null);
      const same = await one.store.commitAll([enqueue("1"), enqueue("1")] as const);
      assert.ok(same.ok);
      assert.deepEqual([same.results[0].status, same.results[1].status], ["added", "exists"]);
    },

  "Of concurrent adds of one id or one dedupe key exactly one makes a job, and all are told which.":
    async (world) => {
      const all = await workers(world, 3);
      const dedupe = { key: "d", ttlMs: 60_000 };
      const adds = Array.from({ length: 30 }, (_, i) => {
        const { queue } = all[i % 3] as Worker;
        return queue.add(i % 2 === 0 ? { id: "a", payload: "" } : { payload: "", dedupe });
      });
      const results = await Promise.all(adds);
      for (const parity of [0, 1]) {
        const those = results.filter((_, i) => i % 2 === parity);
        assert.equal(those.filter((each) => each.status === "added").length, 1);
        assert.equal(new Set(those.map((each) => each.id)).size, 1);
      }
      assert.equal((await drain(all[0])).length, 2);
    },

  "Payload, result, key, priority and trace come back as they were given, text and bytes byte for byte.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const values: readonly Data[] = [...AWKWARD_TEXT, ...awkwardBytes(), ...largest()];
      const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
      for (const [i, payload] of values.entries()) {
        const key = AWKWARD_TEXT[i % AWKWARD_TEXT.length] || "k";
        const id = `${key} ${i}`;
        await one.queue.add({ id, payload, key, priority: i, trace });
        const view = await two.view(id);
        assertSame(view.payload, payload);
        const job = await two.one(id);
        assertSame(job.payload, payload);
        const { seq, ...rest } = job;
        assert.equal(view.seq, seq);
        assert.deepEqual([view.id, view.key, view.priority], [id, key, i]);
        assert.deepEqual([rest.id, rest.key, rest.priority, rest.trace], [id, key, i, trace]);
        await two.settle(job, { outcome: "completed", result: payload });
        assertSame((await one.view(id)).result, payload);
      }
      await one.queue.add({ id: "plain", payload: "" });
      const plain = await two.one("plain");
      assert.deepEqual([plain.key, plain.priority, plain.trace], [null, 0, null]);
    },

  "`addMany` adds in order, and after a failure says how many jobs were added before it.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2);
    const names = Array.from({ length: 2_500 }, (_, i) => `j${i}`);
    const added = await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
    assert.deepEqual(ids(added), names);
    const claimed: string[] = [];
    for (let jobs = await two.claim(1_000); jobs.length > 0; jobs = await two.claim(1_000)) {
      claimed.push(...ids(jobs));
    }
    assert.deepEqual(claimed, names);
    await one.queue.configure({ maxWaiting: 2_100 });
    const error = await refuses(
      one.queue.addMany(names.map(() => ({ payload: "" }))),
      "OVERLOADED",
    );
    const before = error.details["added"] as number;
    assert.equal((await one.queue.stats()).counts.ready, before, "that many, and none after them");
    assert.ok(before > 0 && before <= 2_100);
  },

  "A job above its size limit is refused with `TOO_LARGE`, text that has a lone surrogate or NUL with `INVALID_DATA`, a wrong name, number or time with a `TypeError` or `RangeError`, before anything is written.":
    async (world) => {
      const [one] = await workers(world, 2);
      const { queue } = one;
      await refuses(queue.add({ payload: "x".repeat(LIMITS.payloadBytes + 1) }), "TOO_LARGE");
      await refuses(queue.add({ payload: new Uint8Array(LIMITS.payloadBytes + 1) }), "TOO_LARGE");
      const wrong = [
        { payload: 7 },
        { payload: "", id: "" },
        { payload: "", id: "x".repeat(LIMITS.idChars + 1) },
        { payload: "", key: "\uD800" },
        { payload: "", delayMs: -1 },
        { payload: "", delayMs: 0.5 },
        { payload: "", delayMs: LIMITS.durationMs + 1 },
        { payload: "", priority: LIMITS.priorityMax + 1 },
        { payload: "", priority: -1 },
        { payload: "", dedupe: { key: "d", ttlMs: 0 } },
        { payload: "", dedupe: { key: "d", ttlMs: 1, mode: "all" } },
        { payload: "", delay: 5 },
      ];
      for (const job of wrong) await rejectsArgument(() => queue.add(job as never));
      const mixed = [{ payload: "fine" }, wrong[0] as never];
      await rejectsArgument(() => queue.addMany(mixed));
      for (const name of ["", "$own", "a\nb", "x".repeat(LIMITS.nameChars + 1)]) {
        await rejectsArgument(() => new Queue(one.store, name));
      }
      for (const payload of UNSTORABLE_TEXT) await refuses(queue.add({ payload }), "INVALID_DATA");
      const { counts } = await queue.stats();
      assert.equal(
        Object.values(counts).reduce((sum, count) => sum + count),
        0,
      );
    },

  "Partitions are apart: a queue of one knows nothing of a queue of the same name in another.":
    async (world) => {
      const [one] = await workers(world, 2);
      const other = new Queue(one.store, "other");
      const elsewhere = new Queue(one.store, "q", { partition: "other" });
      const dedupe = { key: "d", ttlMs: 60_000 };
      for (const queue of [one.queue, other, elsewhere]) {
        assert.equal((await queue.add({ id: "a", payload: queue.partition })).status, "added");
        assert.equal((await queue.add({ payload: "", dedupe })).status, "added");
        assert.equal((await queue.stats()).counts.ready, 2);
      }
      await elsewhere.pause();
      assert.deepEqual((await one.claim(10)).length, 2);
      assert.equal((await elsewhere.stats()).counts.ready, 2);
    },

  "The id of a finished job that is kept no longer is free, however many others are over with it.":
    async (world) => {
      const keepMs = world.span(100);
      const [one] = await workers(world, 2, { keepMs });
      // More than an engine removes at once.
      const count = 2 * LIMITS.reapRows + 50;
      const names = Array.from({ length: count }, (_, i) => `j${i}`);
      await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
      assert.equal((await drain(one, 1_000)).length, count);
      await world.pass(keepMs + 1);
      const last = `j${count - 1}`;
      const added = await one.queue.add({ id: last, payload: "another" });
      assert.equal(added.status, "added");
      assert.equal((await one.view(last)).payload, "another");
      assert.equal(await one.queue.cancel("j1500"), "missing");
      await assertCounts(one.queue);
    },
};
