/** Dedupe keys: their window and their three modes. */
import assert from "node:assert/strict";
import { refuses, type Cases } from "./kit.ts";
import { assertCounts, drain, ids, workers } from "./queue-kit.ts";

export const queueDedupeCases: Cases = {
  "In the window of a dedupe key `first` drops repeats: one job is made and they answer with its id, also when it is done or gone.":
    async (world) => {
      const [one, two] = await workers(world, 2, { keepMs: 0 });
      const ttlMs = world.span(400);
      const dedupe = { key: "d", ttlMs } as const;
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
      await world.pass(Math.max(0, fromMs + ttlMs - (await world.now())));
      const next = await one.queue.add({ payload: "4", dedupe });
      assert.equal(next.status, "added");
      assert.notEqual(next.id, first.id);
    },

  "The window is `ttlMs` from the first add, to the ms; after it the same dedupe key makes a new job.":
    async (world) => {
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
        if (fromMs >= afterMs + 50) assert.equal(status, "added");
        if (status === "added") return;
        await world.pass(1);
      }
    },

  "In the window of a dedupe key `last` replaces the payload of the waiting job in its place.":
    async (world) => {
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

  "A job that has started is left alone by `last` and `debounce`: a new job is added.": async (
    world,
  ) => {
    const [one] = await workers(world, 2);
    for (const mode of ["last", "debounce"] as const) {
      const dedupe = { key: mode, ttlMs: 60_000, mode };
      const first = await one.queue.add({ payload: "1", dedupe });
      const job = await one.one(first.id);
      const second = await one.queue.add({ payload: "2", dedupe });
      assert.equal(second.status, "added");
      const third = await one.queue.add({ payload: "3", dedupe });
      assert.deepEqual(third, { id: second.id, seq: second.seq, status: "replaced" });
      await one.settle(job);
      assert.equal((await one.view(first.id)).payload, "1");
      const retried = await one.one(second.id);
      await one.settle(retried, { outcome: "retry", delayMs: world.span(20) });
      const fourth = await one.queue.add({ payload: "4", dedupe });
      assert.equal(fourth.status, "added", "one that waits to be retried has started");
      await one.queue.cancel(fourth.id);
      await world.pass(world.span(20));
      const last = await one.one(second.id);
      assert.equal(last.payload, "3");
      await one.settle(last);
    }
  },

  "In the window of a dedupe key `debounce` also starts the delay again, but never past the window's end.":
    async (world) => {
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

  "A job that was cancelled or purged before it started is not what `last` and `debounce` replace: a new job is added.":
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

  "`debounce` starts the delay of any job again that has not started, also of one that is ready or waits behind others of its key.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const delayMs = 60_000;
      const add = (id: string, more: object) =>
        one.queue.add({
          ...{
            id,
            payload: id,
            dedupe: { key: id[0] as string, ttlMs: 600_000, mode: "debounce" },
          },
          ...more,
        });
      const shortMs = world.span(20);
      await add("a", { delayMs: shortMs });
      await add("k", { key: "k", delayMs: shortMs });
      await one.add("next", { key: "k", delayMs: shortMs });
      await one.add("head", { key: "h" });
      await add("h", { key: "h" });
      await one.one("head");
      // Promoted by a claim that takes nothing of it: it is ready, and nobody has started it.
      await one.queue.configure({ maxLeased: 1 });
      await world.pass(shortMs);
      await two.none();
      const is = async (...names: string[]) => Promise.all(names.map((id) => one.state(id)));
      assert.deepEqual(await is("a", "k", "h", "next"), ["ready", "ready", "blocked", "blocked"]);
      for (const id of ["a", "k", "h"]) {
        const beforeMs = await world.now();
        const repeat = await add(`${id}2`, { delayMs });
        assert.equal(repeat.status, "replaced");
        const { state, dueMs, payload } = await one.view(id);
        assert.deepEqual([state, payload], ["scheduled", `${id}2`]);
        assert.ok((dueMs as number) >= beforeMs + delayMs);
      }
      assert.equal(await one.state("next"), "ready", "its key goes on");
      // Without a delay there is nothing to start again: it keeps its place.
      assert.equal((await add("b", {})).status, "added");
      await one.add("after");
      assert.equal((await add("b2", {})).status, "replaced");
      await one.queue.configure({});
      assert.deepEqual(ids(await two.claim(10)), ["next", "b", "after"]);
      await assertCounts(one.queue);
    },

  "A job that was given back or redriven is left alone by `last` and `debounce`, unless its holder said that nothing of it had run.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const mode of ["last", "debounce"] as const) {
        const add = (payload: string) =>
          one.queue.add({ payload, dedupe: { key: mode, ttlMs: 600_000, mode } });
        const { id } = await add("1");
        await two.settle(await two.one(id), { outcome: "released", isUnstarted: true });
        assert.deepEqual(
          [(await add("2")).status, (await one.view(id)).payload],
          ["replaced", "2"],
        );
        await two.settle(await two.one(id), { outcome: "released" });
        const second = await add("3");
        assert.equal(second.status, "added", "it was running when it was given back");
        assert.equal((await two.one(id)).payload, "2");
        await two.one(second.id);
        await two.session.close();
        two.session = await two.store.session();
        const third = await add("4");
        assert.equal(third.status, "added", "its holder left without a word");
        await two.claim(2);
        await two.settle(await two.one(third.id), { outcome: "dead" });
        assert.equal(await one.queue.redrive(), 1);
        const fourth = await add("5");
        assert.equal(fourth.status, "added", "it ran before it was dead");
        assert.equal((await one.view(third.id)).payload, "4");
        await two.session.close();
        two.session = await two.store.session();
        await drain(two);
      }
    },

  "An add that made a job, or was the last to replace its payload, answers again what it did when it is repeated under its id, as long as the job is there and the window is open.":
    async (world) => {
      for (const mode of ["last", "debounce"] as const) {
        const [one, two] = await workers(world, 2);
        const add = (id: string, payload: string) =>
          one.queue.add({ id, payload, dedupe: { key: mode, ttlMs: 600_000, mode } });
        const [x, y] = [`x-${mode}`, `y-${mode}`];
        const first = await add(x, "1");
        const replaced = { id: x, seq: first.seq, status: "replaced" } as const;
        const exists = { ...replaced, status: "exists" } as const;
        const repeats = async (state: string) => {
          assert.deepEqual(await add(y, "2"), replaced);
          assert.deepEqual(await add(x, "1"), exists);
          await refuses(add(y, "3"), "ALREADY_EXISTS");
          const view = await one.view(x);
          assert.deepEqual([view.state, view.payload], [state, "2"]);
          assert.equal(await one.queue.get(y), null, "it makes no job");
        };
        assert.deepEqual(await add(y, "2"), replaced);
        await repeats("ready");
        const job = await two.one(x);
        assert.equal(job.payload, "2");
        await repeats("leased");
        await two.settle(job);
        await repeats("completed");
        const next = await add(`z-${mode}`, "4");
        assert.equal(next.status, "added");
        assert.equal((await two.one(next.id)).payload, "4");
        assert.deepEqual(await add(x, "1"), exists, "though the window is of another job now");
      }
    },
};
