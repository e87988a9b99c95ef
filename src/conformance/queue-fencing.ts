/** Fencing: what a holder may still do, and what it may not. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import { assertSame, UNSTORABLE_TEXT } from "./data.ts";
import { refuses, type Cases } from "./kit.ts";
import { ids, workers } from "./queue-kit.ts";

export const queueFencingCases: Cases = {
  "A token is greater than that of every earlier claim of the same job.": async (world) => {
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

  "A settle or progress under a token that is not the newest is refused with `FENCED` and changes nothing.":
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
      for (const isHeld of [false, true]) {
        const job = isHeld ? await one.one("a") : undefined;
        for (const how of settlements) await refuses(one.settle(stale, how), "FENCED");
        await refuses(one.queue.progress(one.session, stale, "50"), "FENCED");
        const view = await one.view("a");
        assert.equal(view.state, isHeld ? "leased" : "ready");
        assert.deepEqual([view.attempts, view.progress, view.result], [0, null, null]);
        if (job !== undefined) assert.equal(await one.settle(job), "completed");
      }
      await refuses(one.settle(stale), "FENCED");
      const unknown = { seq: stale.seq + 1_000, token: stale.token };
      await refuses(one.queue.settle(one.session, unknown, { outcome: "dead" }), "FENCED");
    },

  "A settle or progress by a session that is over is refused with `LEASE_LOST` and changes nothing.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const stale = await one.one("a");
      await one.lose();
      await refuses(one.settle(stale), "LEASE_LOST");
      await refuses(one.queue.progress(one.session, stale, "50"), "LEASE_LOST");
      const job = await two.one("a");
      await refuses(one.settle(stale), "LEASE_LOST");
      await refuses(one.queue.settle(one.session, job, { outcome: "completed" }), "LEASE_LOST");
      const view = await two.view("a");
      assert.deepEqual([view.session, view.progress], [two.session.id, null], "the new holder's");
      await refuses(two.queue.settle(two.session, stale, { outcome: "dead" }), "FENCED");
      await two.settle(job);
      const ended = await two.one("b");
      await two.session.close();
      await refuses(two.settle(ended), "LEASE_LOST");
      assert.equal(await one.state("b"), "ready");
    },

  "Of many settles of one lease exactly one is taken.": async (world) => {
    const [one] = await workers(world, 2);
    for (let round = 0; round < 10; round++) {
      await one.add(`j${round}`);
      const job = await one.one(`j${round}`);
      const settles = Array.from({ length: 8 }, (_, i) =>
        one.settle(job, { outcome: "completed", result: String(i) }),
      );
      const results = await Promise.allSettled(settles);
      const taken = results.findIndex((result) => result.status === "fulfilled");
      assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
      for (const settle of settles) {
        if (settle !== settles[taken]) await refuses(settle, "FENCED");
      }
      assert.equal((await one.view(job.id)).result, String(taken));
    }
    await one.add("twice");
    const job = await one.one("twice");
    const settle = one.queue.op.settle(one.session, job, { outcome: "completed" });
    const group = await one.store.commitAll([settle, settle]);
    assert.ok(!group.ok && group.refusal.code === "FENCED" && group.refusal.index === 1);
    assert.equal(await one.state("twice"), "leased", "in one group: none");
  },

  "A settle under another queue's name is refused with `FENCED`.": async (world) => {
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

  "Ops that were committed with a settle hold exactly if the settle holds.": async (world) => {
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
    const written = await kv.get(["a", "b", "c"]);
    assert.deepEqual(
      written.map((entry) => entry?.value ?? null),
      [1, null, null],
    );
    assert.deepEqual(ids((await next.list("ready")).jobs), ["a"]);
    assert.equal((await kv.get("stock"))?.value, 5);
    assert.deepEqual(ids(await two.claim(3)), ["b", "c"]);
  },

  "Progress that was noted is seen in the job's view until its lease ends, the result and the error after it.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const job = await one.one("a");
      await one.queue.progress(one.session, job, "50");
      assert.equal((await two.view("a")).progress, "50");
      await one.queue.progress(one.session, job, Uint8Array.of(255));
      assertSame((await two.view("a")).progress, Uint8Array.of(255));
      await one.settle(job, { outcome: "completed", result: "done" });
      const view = await two.view("a");
      assert.deepEqual([view.state, view.result, view.error], ["completed", "done", null]);
      assert.equal(view.progress, null);
      const failed = await one.one("b");
      const long = "x".repeat(LIMITS.progressBytes + 1);
      await refuses(one.queue.progress(one.session, failed, long), "TOO_LARGE");
      const large = { outcome: "completed", result: "x".repeat(LIMITS.resultBytes + 1) } as const;
      await refuses(one.settle(failed, large), "TOO_LARGE");
      for (const text of UNSTORABLE_TEXT) {
        await refuses(one.queue.progress(one.session, failed, text), "INVALID_DATA");
        const result = { outcome: "completed", result: text } as const;
        await refuses(one.settle(failed, result), "INVALID_DATA");
      }
      const error = `NUL \u0000 and halves \uD83D ${"\u{1F680}".repeat(3_000)}`;
      assert.equal(
        await one.settle(failed, { outcome: "dead", error }),
        "dead",
        "no text may stop it",
      );
      const dead = await two.view("b");
      assert.deepEqual([dead.state, dead.attempts], ["dead", 1]);
      assert.equal(dead.error?.length, LIMITS.errorChars, "a long error is cut");
    },
};
