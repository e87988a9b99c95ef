/** Time: delays, what is claimable next, how long finished jobs are kept. */
import assert from "node:assert/strict";
import { Queue } from "../ports/queue/index.ts";
import { draw, type Cases, type World } from "./kit.ts";
import { drain, ids, workers, type Worker } from "./queue-kit.ts";

const DAY_MS = 86_400_000;

/** Lets time-driven work be done, as any commit does it. */
async function tick(world: World): Promise<void> {
  const { driver } = await world.aside();
  await driver.commit([]);
}

/** The queue has no finished job, however one looks. */
async function assertGone({ queue }: Worker): Promise<void> {
  const { counts } = await queue.stats();
  for (const state of ["completed", "cancelled", "dead"] as const) {
    assert.deepEqual((await queue.list(state)).jobs, [], state);
    assert.equal(counts[state], 0, state);
  }
}

export const queueTimeCases: Cases = {
  "A delayed job is never claimed before it is due by the store's clock, and may be from then on.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const dueMs = new Map<string, number>();
      for (let i = 0; i < 20; i++) {
        const delayMs = 1 + draw(world.random, 60);
        await one.add(`j${i}`, { delayMs });
        const view = await one.view(`j${i}`);
        assert.equal(view.state, "scheduled");
        assert.equal(view.dueMs, view.createdMs + delayMs);
        dueMs.set(view.id, view.dueMs);
      }
      while (dueMs.size > 0) {
        const { jobs, nextMs } = await two.queue.claim(two.session, 3);
        const nowMs = await world.now();
        for (const { id } of jobs) {
          const due = dueMs.get(id) as number;
          assert.ok(nowMs >= due, `${id} came ${due - nowMs} ms early`);
          if (world.isManual) assert.equal(nowMs, due, `${id} came late`);
          dueMs.delete(id);
        }
        if (jobs.length === 0 && nextMs !== null) await world.pass(nextMs);
      }
    },

  "An empty claim says when the next job may become claimable, and one at that time finds it.":
    async (world) => {
      const [one] = await workers(world, 2);
      assert.equal(await one.none(), null);
      await one.add("far", { delayMs: 500_000 });
      await one.add("near", { delayMs: 300_000 });
      const nextMs = await one.none();
      assert.ok(nextMs !== null && nextMs <= 300_000 && nextMs > 200_000);
      await one.queue.cancel("near");
      const laterMs = await one.none();
      assert.ok(laterMs !== null && laterMs > 300_000 && laterMs <= 500_000);
      await one.queue.cancel("far");
      assert.equal(await one.none(), null, "none will by time alone");
      await one.add("due", { delayMs: world.span(30) });
      const dueMs = await one.none();
      assert.ok(dueMs !== null);
      await world.pass(dueMs);
      await one.one("due");
    },

  "A retried job is never claimed before its delay has passed.": async (world) => {
    const [one] = await workers(world, 2);
    await one.add("a");
    const job = await one.one("a");
    const beforeMs = await world.now();
    assert.equal(
      await one.settle(job, { outcome: "retry", delayMs: 40, error: "no" }),
      "scheduled",
    );
    const view = await one.view("a");
    assert.deepEqual([view.state, view.attempts, view.error], ["scheduled", 1, "no"]);
    const dueMs = view.dueMs as number;
    assert.ok(dueMs >= beforeMs + 40);
    for (;;) {
      const [again] = await one.claim();
      const nowMs = await world.now();
      if (again === undefined) {
        await world.pass(1);
        continue;
      }
      assert.ok(nowMs >= dueMs);
      if (world.isManual) assert.equal(nowMs, dueMs);
      return assert.deepEqual([again.attempt, again.id], [2, "a"]);
    }
  },

  "A claimed job says how long it could have been claimed before, and the queue how long its first one waits.":
    async (world) => {
      const [one] = await workers(world, 2);
      assert.equal((await one.queue.stats()).oldestReadyMs, null);
      await one.add("a", { priority: 3 });
      await world.pass(30);
      await one.add("b", { delayMs: 20 });
      const { oldestReadyMs } = await one.queue.stats();
      assert.ok(oldestReadyMs !== null && oldestReadyMs >= 30);
      if (world.isManual) assert.equal(oldestReadyMs, 30);
      await world.pass(50);
      const [a, b] = await one.claim(2);
      assert.deepEqual([a?.id, b?.id], ["a", "b"]);
      assert.ok((a?.waitedMs as number) >= 80 && (b?.waitedMs as number) >= 30);
      if (world.isManual) assert.deepEqual([a?.waitedMs, b?.waitedMs], [80, 30]);
    },

  "A finished job is kept with its result for `keepMs`, a dead one for `keepDeadMs`, and is gone after that.":
    async (world) => {
      const [keepMs, keepDeadMs] = [world.span(500), world.span(900)];
      const [one] = await workers(world, 2, { keepMs, keepDeadMs });
      for (const id of ["done", "stopped", "dead"]) await one.add(id);
      const [done, stopped, dead] = (await one.claim(3)) as [never, never, never];
      await one.settle(done, { outcome: "completed", result: "r" });
      await one.settle(stopped, { outcome: "cancelled" });
      await one.settle(dead, { outcome: "dead" });
      const finishedMs = (await one.view("done")).finishedMs as number;
      assert.ok(finishedMs > 0);
      assert.equal((await one.view("done")).result, "r");
      // Nobody writes meanwhile: what is over is gone though nothing has removed it.
      await world.pass(keepMs + 1);
      assert.equal(await one.queue.get("done"), null);
      assert.equal(await one.queue.get("stopped"), null);
      if (world.isManual) assert.equal(await one.state("dead"), "dead");
      for (const state of ["completed", "cancelled"] as const) {
        assert.deepEqual((await one.queue.list(state)).jobs, [], state);
        assert.equal((await one.queue.stats()).counts[state], 0, state);
      }
      await world.pass(keepDeadMs - keepMs);
      assert.equal(await one.queue.get("dead"), null);
      await assertGone(one);
      await tick(world);
      await assertGone(one);
      assert.equal(
        (await one.queue.add({ id: "done", payload: "new" })).status,
        "added",
        "forgotten",
      );
    },

  "With `keepMs` 0 a finished job is removed at once.": async (world) => {
    const [one] = await workers(world, 2, { keepMs: 0 });
    await one.add("a", { key: "k" });
    await one.add("b", { key: "k" });
    assert.equal(await one.settle(await one.one("a")), "completed");
    assert.equal(await one.queue.get("a"), null);
    assert.equal(await one.queue.cancel("b"), "cancelled");
    assert.equal(await one.queue.get("b"), null);
    const { counts } = await one.queue.stats();
    assert.deepEqual(new Set(Object.values(counts)), new Set([0]));
  },

  "The newest `keepCount` finished jobs are kept and at most 256 more, the oldest go first, and dead ones are not counted.":
    async (world) => {
      const [one] = await workers(world, 2, { keepCount: 100 });
      const names = Array.from({ length: 900 }, (_, i) => `j${i}`);
      await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
      const dead = await one.claim(100);
      for (const job of dead) await one.settle(job, { outcome: "dead" });
      await drain(one, 200);
      const { completed, dead: kept } = (await one.queue.stats()).counts;
      assert.ok(completed >= 100 && completed <= 356, `${completed} are kept`);
      assert.equal(kept, 100);
      const oldest = (await one.queue.list("completed", { limit: 1 })).jobs[0];
      assert.equal(oldest?.id, `j${900 - completed}`, "the oldest went");
      assert.equal(await one.queue.get("j100"), null);
      assert.equal((await one.queue.get("j899"))?.state, "completed");
    },

  "However many jobs are due at once, all of them are claimable, in the order of their adding.":
    async (world) => {
      const [one] = await workers(world, 2);
      const names = Array.from({ length: 2_500 }, (_, i) => `j${i}`);
      await one.queue.addMany(names.map((id) => ({ id, payload: "", delayMs: 50 })));
      // Each group of the long add has its own instant: the last may be later by a little.
      const last = await one.view("j2499");
      await world.pass(Math.max(0, (last.dueMs as number) - (await world.now())));
      const claimed: string[] = [];
      for (let jobs = await one.claim(1_000); jobs.length > 0; jobs = await one.claim(1_000)) {
        claimed.push(...ids(jobs));
      }
      assert.deepEqual(claimed, names);
    },

  "Jobs that are due far in the future come in the order of their times.": async (world) => {
    const store = await world.store();
    const queue = new Queue(store, "q");
    const days = Array.from({ length: 12 }, () => 1 + draw(world.random, 400));
    for (const [i, day] of days.entries()) {
      await queue.add({ id: `j${i}`, payload: "", delayMs: day * DAY_MS });
    }
    const byDue = [...days.keys()].sort(
      (a, b) => (days[a] as number) - (days[b] as number) || a - b,
    );
    if (!world.isManual) {
      const { jobs } = await queue.list("scheduled");
      return assert.equal(jobs.length, 12);
    }
    const order: string[] = [];
    for (let day = 0; day <= 400; day++) {
      // A session of its own for the day: one that lived through it would beat a million times.
      const session = await store.session();
      const { jobs } = await queue.claim(session, 100);
      for (const job of jobs) await queue.settle(session, job, { outcome: "completed" });
      order.push(...ids(jobs));
      await session.close();
      await world.pass(DAY_MS);
    }
    assert.deepEqual(
      order,
      byDue.map((i) => `j${i}`),
    );
  },
};
