/** Delivery: leases, tokens, what a lost holder means, what goes with a settle. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { Data } from "../core/codec.ts";
import { assertSame, AWKWARD_TEXT, awkwardBytes, largest } from "./data.ts";
import { refuses, rejectsArgument, type Cases } from "./kit.ts";
import { drain, ids, Worker, workers } from "./queue-kit.ts";

export const queueDeliveryCases: Cases = {
  "A job whose add resolved is seen by every process, and is delivered until it is finished.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2);
    await one.add("a");
    assert.equal((await two.view("a")).state, "ready");
    const first = await two.one("a");
    assert.deepEqual([first.attempt, first.delivery], [1, 1]);
    assert.equal(await two.settle(first, { outcome: "retry", error: "no" }), "scheduled");
    const second = await one.one("a");
    assert.deepEqual([second.attempt, second.delivery], [2, 2]);
    assert.equal(await one.settle(second), "completed");
    await two.none();
    assert.equal(await two.state("a"), "completed");
  },

  "A job is leased to one session at a time, however many ask at once.": async (world) => {
    const all = await workers(world, 4);
    const [one] = all;
    const names = Array.from({ length: 100 }, (_, i) => `j${i}`);
    await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
    const claims = Array.from({ length: 40 }, (_, i) => (all[i % 4] as Worker).claim(5));
    const taken = (await Promise.all(claims)).flatMap((jobs) => ids(jobs));
    assert.deepEqual([...new Set(taken)].sort(), [...names].sort(), "every job, once");
    assert.equal(taken.length, names.length);
    assert.equal((await one.queue.stats()).counts.leased, names.length);
  },

  "A claim takes the first ready jobs, at most as many as it asks for.": async (world) => {
    const [one, two] = await workers(world, 2);
    for (let i = 0; i < 5; i++) await one.add(`j${i}`);
    assert.deepEqual(ids(await two.claim(2)), ["j0", "j1"]);
    assert.deepEqual(ids(await one.claim(10)), ["j2", "j3", "j4"]);
    assert.deepEqual(ids(await two.claim(10)), []);
    for (const max of [0, LIMITS.claimJobs + 1, 1.5]) {
      await rejectsArgument(() => one.queue.claim(one.session, max));
    }
  },

  "When a session ends in order its jobs are ready again at once, where they were, and nothing is counted.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b", "c"]) await one.add(id);
      assert.deepEqual(ids(await one.claim(2)), ["a", "b"]);
      await one.session.close();
      const jobs = await two.claim(3);
      assert.deepEqual(ids(jobs), ["a", "b", "c"]);
      assert.deepEqual(
        jobs.map((job) => [job.attempt, job.delivery]),
        [
          [1, 1],
          [1, 1],
          [1, 1],
        ],
      );
    },

  "When a session's process was silent for its TTL its jobs go to whoever asks: a lost delivery, not a failed attempt.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const [held] = await one.claim(1);
      assert.equal(held?.id, "a");
      await one.lose();
      const jobs = await two.claim(2);
      assert.deepEqual(ids(jobs), ["a", "b"], "it is first again");
      const [a] = jobs;
      assert.deepEqual([a?.attempt, a?.delivery], [1, 2]);
      const view = await two.view("a");
      assert.deepEqual([view.attempts, view.lost, view.session], [0, 1, two.session.id]);
    },

  "A released job goes back to where it was, and nothing is counted.": async (world) => {
    const [one, two] = await workers(world, 2);
    for (const id of ["a", "b"]) await one.add(id);
    assert.equal(await one.settle(await one.one("a"), { outcome: "released" }), "ready");
    const again = await two.one("a");
    assert.deepEqual([again.attempt, again.delivery], [1, 1]);
    const view = await two.view("a");
    assert.deepEqual([view.attempts, view.lost], [0, 0]);
  },

  "Each claim of a job has a greater token than every claim of it before.": async (world) => {
    const [one, two] = await workers(world, 2, { maxDeliveries: 100 });
    await one.add("a");
    let last = 0;
    for (let i = 0; i < 12; i++) {
      const worker = i % 2 === 0 ? one : two;
      const job = await worker.one("a");
      assert.ok(job.token > last, `token ${job.token} after ${last}`);
      assert.equal((await two.view("a")).token, job.token);
      last = job.token;
      if (i % 3 === 0) await worker.settle(job, { outcome: "released" });
      else if (i % 3 === 1) await worker.settle(job, { outcome: "retry" });
      else await worker.replace();
    }
  },

  "Settling or noting progress under a token that is not the newest is refused with `FENCED` and changes nothing.":
    async (world) => {
      const [one] = await workers(world, 2);
      await one.add("a");
      const stale = await one.one("a");
      await one.settle(stale, { outcome: "released" });
      const settlements = [
        { outcome: "completed", result: "stale" },
        { outcome: "retry" },
        { outcome: "dead" },
        { outcome: "cancelled" },
        { outcome: "released" },
      ] as const;
      for (const held of [false, true]) {
        const job = held ? await one.one("a") : undefined;
        for (const how of settlements) await refuses(one.settle(stale, how), "FENCED");
        await refuses(one.queue.progress(one.session, stale, "50"), "FENCED");
        const view = await one.view("a");
        assert.equal(view.state, held ? "leased" : "ready");
        assert.deepEqual([view.attempts, view.progress, view.result], [0, null, null]);
        if (job !== undefined) assert.equal(await one.settle(job), "completed");
      }
      await refuses(one.settle(stale), "FENCED");
      const unknown = { seq: stale.seq + 1_000, token: stale.token };
      await refuses(one.queue.settle(one.session, unknown, { outcome: "dead" }), "FENCED");
    },

  "Settling again is refused with `FENCED`, so that a repeat after a lost answer does no harm.": async (
    world,
  ) => {
    const [one] = await workers(world, 2);
    await one.add("a");
    const job = await one.one("a");
    await one.settle(job, { outcome: "completed", result: "first" });
    await refuses(one.settle(job, { outcome: "completed", result: "second" }), "FENCED");
    await refuses(one.settle(job, { outcome: "dead" }), "FENCED");
    assert.deepEqual((await one.view("a")).result, "first");
    await one.add("b");
    const twice = await one.one("b");
    const settle = one.queue.op.settle(one.session, twice, { outcome: "completed" });
    const group = await one.store.commitAll([settle, settle]);
    assert.ok(!group.ok && group.refusal.code === "FENCED", "both in one group");
    assert.equal(await one.state("b"), "leased");
  },

  "A holder whose session is over can settle nothing, note nothing and claim nothing: `LEASE_LOST`.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2);
    for (const id of ["a", "b"]) await one.add(id);
    const stale = await one.one("a");
    await one.lose();
    await refuses(one.settle(stale), "LEASE_LOST");
    await refuses(one.queue.progress(one.session, stale, "50"), "LEASE_LOST");
    await refuses(one.claim(), "LEASE_LOST");
    const job = await two.one("a");
    await refuses(one.settle(stale), "LEASE_LOST");
    await refuses(one.queue.settle(one.session, job, { outcome: "completed" }), "LEASE_LOST");
    assert.equal((await two.view("a")).session, two.session.id, "it is the new holder's");
    await two.settle(job);
  },

  "A settle is for the queue that the job is in: under another queue's name it is refused with `FENCED`.": async (
    world,
  ) => {
    const [one] = await workers(world, 2);
    const other = new Queue(one.store, "other");
    await other.add({ id: "a", payload: "" });
    await one.add("a");
    const job = await one.one("a");
    await refuses(other.settle(one.session, job, { outcome: "completed" }), "FENCED");
    const unused = new Queue(one.store, "unused");
    await refuses(unused.settle(one.session, job, { outcome: "completed" }), "FENCED");
    assert.deepEqual((await one.queue.stats()).counts.leased, 1);
    assert.deepEqual((await other.stats()).counts.ready, 1);
  },

  "What goes along with a settle holds or falls together with it.": async (world) => {
    const [one, two] = await workers(world, 2);
    const kv = new Kv<number>(one.store);
    const next = new Queue(one.store, "next");
    await kv.put("stock", 1);
    for (const id of ["a", "b", "c"]) await one.add(id);
    const [a, b, c] = (await one.claim(3)) as [never, never, never];
    const effects = (id: string) => [
      kv.op.put(id, 1),
      next.op.enqueue({ id, payload: id }),
      kv.op.add("stock", -1, { min: 0 }),
    ];
    const done = { outcome: "completed" } as const;
    assert.equal(await one.queue.settle(one.session, a, done, { also: effects("a") }), "completed");
    await refuses(one.queue.settle(one.session, b, done, { also: effects("b") }), "LIMITED");
    assert.equal(await one.state("b"), "leased", "it can still be settled");
    await kv.put("stock", 5);
    await one.lose();
    await refuses(one.queue.settle(one.session, c, done, { also: effects("c") }), "LEASE_LOST");
    assert.deepEqual((await kv.get(["a", "b", "c"])).map((entry) => entry?.value ?? null), [1, null, null]);
    assert.deepEqual(ids((await next.list("ready")).jobs), ["a"]);
    assert.equal((await kv.get("stock"))?.value, 5);
    assert.deepEqual(ids(await two.claim(3)), ["b", "c"]);
  },

  "Progress is seen by everybody while the job is held, and the result and the error after it.": async (world) => {
    const [one, two] = await workers(world, 2);
    for (const id of ["a", "b"]) await one.add(id);
    const job = await one.one("a");
    await one.queue.progress(one.session, job, "50");
    assert.equal((await two.view("a")).progress, "50");
    await one.queue.progress(one.session, job, Uint8Array.of(255));
    assertSame((await two.view("a")).progress, Uint8Array.of(255));
    await one.settle(job, { outcome: "completed", result: "done" });
    const view = await two.view("a");
    assert.deepEqual([view.state, view.result, view.error, view.progress], ["completed", "done", null, null]);
    const failed = await one.one("b");
    assert.equal(await one.settle(failed, { outcome: "dead", error: "E".repeat(3_000) }), "dead");
    const dead = await two.view("b");
    assert.equal(dead.state, "dead");
    assert.equal(dead.attempts, 1);
    assert.equal(dead.error?.length, LIMITS.errorChars, "a long error is cut");
    await refuses(
      one.queue.progress(one.session, failed, "x".repeat(LIMITS.progressBytes + 1)),
      "TOO_LARGE",
    );
  },

  "Payloads and results come back byte for byte, as the kind that was given.": async (world) => {
    const [one, two] = await workers(world, 2);
    const values: readonly Data[] = [...AWKWARD_TEXT, ...awkwardBytes(), ...largest()];
    for (const [i, payload] of values.entries()) {
      await one.queue.add({ id: `j${i}`, payload });
      assertSame((await two.view(`j${i}`)).payload, payload);
      const job = await two.one(`j${i}`);
      assertSame(job.payload, payload);
      await two.settle(job, { outcome: "completed", result: payload });
      assertSame((await one.view(`j${i}`)).result, payload);
    }
  },

  "A job that was delivered `maxDeliveries` times without a finish is dead: a poison job stops.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2, { maxDeliveries: 3 });
    await one.add("lost", { key: "k" });
    await one.add("next", { key: "k" });
    for (let i = 1; i <= 3; i++) {
      const job = await one.one("lost");
      assert.deepEqual([job.attempt, job.delivery], [1, i]);
      await one.replace();
    }
    assert.equal(await two.state("lost"), "dead");
    const { error, lost } = await two.view("lost");
    assert.equal(lost, 3);
    assert.ok(error !== null && error.length > 0, "it says why");
    assert.deepEqual(await drain(two), ["next"], "its key goes on");
    await two.add("mixed");
    const first = await two.one("mixed");
    assert.equal(await two.settle(first, { outcome: "retry" }), "scheduled");
    await two.one("mixed");
    await two.replace();
    const last = await two.one("mixed");
    assert.deepEqual([last.attempt, last.delivery], [2, 3]);
    assert.equal(await two.settle(last, { outcome: "retry", error: "again" }), "dead");
    assert.equal((await two.view("mixed")).error, "again");
  },

  "A payload above 1 MiB is refused with `TOO_LARGE`, a wrong argument with a `TypeError` or `RangeError`, before anything is written.":
    async (world) => {
      const [one] = await workers(world, 2);
      const { queue } = one;
      await refuses(queue.add({ payload: "x".repeat(LIMITS.payloadBytes + 1) }), "TOO_LARGE");
      const wrong = [
        { payload: 7 },
        { payload: "", id: "" },
        { payload: "", id: "x".repeat(LIMITS.idChars + 1) },
        { payload: "", key: "\uD800" },
        { payload: "", delayMs: -1 },
        { payload: "", delayMs: 0.5 },
        { payload: "", delayMs: 401 * 86_400_000 },
        { payload: "", priority: 101 },
        { payload: "", priority: -1 },
        { payload: "", dedupe: { key: "d", ttlMs: 0 } },
        { payload: "", dedupe: { key: "d", ttlMs: 1, mode: "all" } },
        { payload: "", delay: 5 },
      ];
      for (const job of wrong) await rejectsArgument(() => queue.add(job as never));
      await rejectsArgument(() => queue.addMany([{ payload: "fine" }, wrong[0] as never]));
      for (const name of ["", "$own", "a\nb", "x".repeat(LIMITS.nameChars + 1)]) {
        await rejectsArgument(() => new Queue(one.store, name));
      }
      const { counts } = await queue.stats();
      assert.equal(Object.values(counts).reduce((sum, count) => sum + count), 0);
    },
};
