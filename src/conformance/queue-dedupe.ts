/** What adding twice means: ids, and the three dedupe modes. */
import assert from "node:assert/strict";
import { Queue } from "../ports/queue/index.ts";
import { refuses, type Cases } from "./kit.ts";
import { drain, ids, workers, type Worker } from "./queue-kit.ts";

export const queueDedupeCases: Cases = {
  "Adding a job again under its id with the same payload changes nothing, in whatever state it is.": async (world) => {
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

  "Adding another payload under a taken id is refused with `ALREADY_EXISTS`, and the first job stands.": async (world) => {
    const [one, two] = await workers(world, 2);
    await one.queue.add({ id: "a", payload: "p" });
    await refuses(two.queue.add({ id: "a", payload: "q" }), "ALREADY_EXISTS");
    await refuses(two.queue.add({ id: "a", payload: Uint8Array.of(1) }), "ALREADY_EXISTS");
    assert.equal((await one.view("a")).payload, "p");
    const enqueue = (payload: string) => one.queue.op.enqueue({ id: "b", payload });
    const group = await one.store.commitAll([enqueue("1"), enqueue("2")]);
    assert.ok(!group.ok && group.refusal.code === "ALREADY_EXISTS", "in one group too");
    assert.equal(await one.queue.get("b"), null);
    const same = await one.store.commitAll([enqueue("1"), enqueue("1")] as const);
    assert.ok(same.ok);
    assert.deepEqual([same.results[0].status, same.results[1].status], ["added", "exists"]);
  },

  "Of concurrent adds of one id or one dedupe key exactly one makes a job, and all are told which.": async (world) => {
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

  "An id is one queue's own.": async (world) => {
    const [one] = await workers(world, 2);
    const other = new Queue(one.store, "other");
    const elsewhere = new Queue(one.store, "q", { partition: "other" });
    const dedupe = { key: "d", ttlMs: 60_000 };
    for (const queue of [one.queue, other, elsewhere]) {
      assert.equal((await queue.add({ id: "a", payload: queue.name })).status, "added");
      assert.equal((await queue.add({ payload: "", dedupe })).status, "added");
    }
  },

  "`first`: a repeat of the dedupe key within `ttlMs` of the first add is dropped, also when the first job is done or gone.":
    async (world) => {
      const [one, two] = await workers(world, 2, { keepMs: 0 });
      const dedupe = { key: "d", ttlMs: 400 } as const;
      const first = await one.queue.add({ payload: "1", dedupe });
      const fromMs = await world.now();
      const repeat = { id: first.id, seq: first.seq, status: "deduped" };
      assert.deepEqual(await two.queue.add({ payload: "2", dedupe }), repeat);
      const job = await two.one(first.id);
      assert.equal(job.payload, "1");
      await two.settle(job);
      assert.equal(await one.queue.get(first.id), null);
      assert.deepEqual(await two.queue.add({ payload: "3", dedupe }), repeat);
      // Repeats do not stretch the window: it began with the first add.
      await world.pass(Math.max(0, fromMs + 400 - (await world.now())));
      const next = await one.queue.add({ payload: "4", dedupe });
      assert.equal(next.status, "added");
      assert.notEqual(next.id, first.id);
    },

  "`first`: within the window a repeat is dropped up to the last ms of it.": {
    when: () => true,
    run: async (world) => {
      const [one] = await workers(world, 2);
      const dedupe = { key: "d", ttlMs: 50 } as const;
      const beforeMs = await world.now();
      await one.queue.add({ payload: "", dedupe });
      const afterMs = await world.now();
      for (;;) {
        const fromMs = await world.now();
        const { status } = await one.queue.add({ payload: "", dedupe });
        const toMs = await world.now();
        if (toMs < beforeMs + 50) assert.equal(status, "deduped");
        if (fromMs >= afterMs + 50) return assert.equal(status, "added");
        if (status === "added") return;
        await world.pass(1);
      }
    },
  },

  "`last`: a repeat replaces the payload of the waiting job, which keeps its id and its place.": async (world) => {
    const [one, two] = await workers(world, 2);
    const dedupe = { key: "d", ttlMs: 60_000, mode: "last" } as const;
    const first = await one.queue.add({ payload: "1", dedupe });
    await one.add("after");
    const repeat = await two.queue.add({ payload: "2", dedupe });
    assert.deepEqual(repeat, { id: first.id, seq: first.seq, status: "replaced" });
    const jobs = await two.claim(10);
    assert.deepEqual(
      jobs.map((job) => job.payload),
      ["2", "after"],
    );
  },

  "`last`: a job that has started is left alone, and a repeat adds a new one.": async (world) => {
    const [one] = await workers(world, 2);
    const dedupe = { key: "d", ttlMs: 60_000, mode: "last" } as const;
    const first = await one.queue.add({ payload: "1", dedupe });
    const job = await one.one(first.id);
    const second = await one.queue.add({ payload: "2", dedupe });
    assert.equal(second.status, "added");
    const third = await one.queue.add({ payload: "3", dedupe });
    assert.deepEqual(third, { id: second.id, seq: second.seq, status: "replaced" });
    await one.settle(job);
    assert.equal((await one.view(first.id)).payload, "1");
    assert.equal((await one.one(second.id)).payload, "3");
  },

  "`debounce`: a repeat replaces the payload and starts the delay again, but never past `ttlMs` after the first add.": async (
    world,
  ) => {
    const [one] = await workers(world, 2);
    const dedupe = { key: "d", ttlMs: 1_000, mode: "debounce" } as const;
    const add = (payload: string) => one.queue.add({ payload, delayMs: 300, dedupe });
    const first = await add("0");
    const { createdMs } = await one.view(first.id);
    for (let i = 1; i <= 4; i++) {
      await world.pass(200);
      const beforeMs = await world.now();
      const repeat = await add(String(i));
      if (repeat.status === "added") {
        // A slow machine on its own clock let the window pass.
        assert.ok(!world.isManual);
        return;
      }
      assert.deepEqual(repeat, { id: first.id, seq: first.seq, status: "replaced" });
      const view = await one.view(first.id);
      assert.equal(view.payload, String(i));
      const dueMs = view.dueMs as number;
      assert.ok(dueMs >= Math.min(beforeMs + 300, createdMs + 1_000));
      assert.ok(dueMs <= createdMs + 1_000, "never past the window");
      if (world.isManual) assert.equal(dueMs, createdMs + Math.min(i * 200 + 300, 1_000));
    }
    assert.deepEqual(await drain(one), [first.id]);
  },

  "A job that was cancelled or purged while it waited is replaced by the next add of its dedupe key in the modes `last` and `debounce`.":
    async (world) => {
      const [one] = await workers(world, 2);
      for (const mode of ["last", "debounce"] as const) {
        const dedupe = { key: mode, ttlMs: 60_000, mode };
        const first = await one.queue.add({ payload: "1", dedupe });
        assert.equal(await one.queue.cancel(first.id), "cancelled");
        const second = await one.queue.add({ payload: "2", dedupe });
        assert.equal(second.status, "added");
        assert.equal(await one.queue.purge("ready"), 1);
        const third = await one.queue.add({ payload: "3", dedupe });
        assert.equal(third.status, "added");
        assert.deepEqual(ids(await one.claim(10)), [third.id]);
      }
    },
};
