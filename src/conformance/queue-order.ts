/** Order: of adding, per key, by priority. */
import assert from "node:assert/strict";
import { draw, pick, type Cases, type World } from "./kit.ts";
import type { Worker } from "./queue-kit.ts";
import { drain, ids, workers } from "./queue-kit.ts";

export const queueOrderCases: Cases = {
  "Jobs of equal priority without a key are claimed in the order of their adding.": async (
    world,
  ) => {
    const all = await workers(world, 3);
    const names = Array.from({ length: 60 }, (_, i) => `j${i}`);
    for (const id of names) await pick(world.random, all).add(id);
    const claimed: string[] = [];
    while (claimed.length < names.length) {
      claimed.push(...ids(await pick(world.random, all).claim(1 + draw(world.random, 4))));
    }
    assert.deepEqual(claimed, names);
  },

  "Jobs of one group are in the order of its ops.": async (world) => {
    const [one, two] = await workers(world, 2);
    const names = Array.from({ length: 1_500 }, (_, i) => `j${i}`);
    const added = await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
    assert.deepEqual(ids(added), names);
    const seqs = added.map((each) => each.seq);
    assert.deepEqual(
      seqs,
      [...seqs].sort((a, b) => a - b),
    );
    const claimed = [...(await two.claim(1_000)), ...(await two.claim(1_000))];
    assert.deepEqual(ids(claimed), names);
  },

  "Jobs of one key are claimed strictly in the order of their adding, one after the other, also across retries that hold the key.":
    async (world) => {
      const all = await workers(world, 3, { maxDeliveries: 1_000 });
      await assertKeyOrder(world, all, 1);
    },

  "With `perKey` above 1 that many jobs of a key are held at once, and never more.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2, { perKey: 2 });
    for (let i = 0; i < 4; i++) await one.add(`j${i}`, { key: "k" });
    const [first, second, ...more] = await one.claim(10);
    assert.deepEqual([first?.id, second?.id, more.length], ["j0", "j1", 0]);
    await two.none();
    await one.settle(second as never);
    await two.one("j2");
    await two.none();
    await one.settle(first as never);
    await two.one("j3");
    await two.none();
  },

  "A lost lease keeps its key's place: no later job of the key passes it, nor one that waits to be retried.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id, { key: "k" });
      await one.add("free");
      const job = await one.one("a");
      const delayMs = world.span(20);
      await one.settle(job, { outcome: "retry", delayMs });
      assert.equal(await one.state("b"), "blocked");
      await two.settle(await two.one("free"));
      const nextMs = await two.none();
      assert.ok(nextMs !== null && nextMs > 0 && nextMs <= delayMs);
      await world.pass(nextMs);
      await two.one("a");
      await two.lose();
      const again = await one.one("a");
      await one.none();
      await one.settle(again);
      await one.one("b");
    },

  "A retry that does not hold its key lets the later jobs of the key pass while it waits, and comes before them when it is due.":
    async (world) => {
      const [one] = await workers(world, 2);
      for (const id of ["a", "b", "c"]) await one.add(id, { key: "k" });
      const a = await one.one("a");
      await one.settle(a, { outcome: "retry", delayMs: 20, holdsKey: false });
      const b = await one.one("b");
      await one.none();
      await world.pass(20);
      await one.none();
      assert.equal(await one.state("a"), "blocked", "due, and the key is taken");
      await one.settle(b);
      const again = await one.one("a");
      await one.settle(again);
      await one.one("c");
    },

  "Keys take turns: a job of a new key waits for at most `perKey` jobs of each other key, however many wait behind those.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const many = Array.from({ length: 500 }, (_, i) => ({
        id: `m${i}`,
        payload: "",
        key: "many",
      }));
      await one.queue.addMany(many);
      const first = await two.one("m0");
      await one.add("n0", { key: "new" });
      await world.pass(1);
      await two.settle(first);
      // The next of the many was ranked when its predecessor ended, after the new key's.
      assert.deepEqual(ids(await two.claim(10)), ["n0", "m1"]);
      assert.equal((await one.queue.stats()).counts.blocked, 498);
    },

  "A job of higher priority is claimed first, and a step of priority is worth exactly `ageMs` of waiting, so that none waits for ever.":
    async (world) => {
      const ageMs = 10;
      const [one, two] = await workers(world, 2, { ageMs });
      const priorities: number[] = [];
      for (let i = 0; i < 40; i++) {
        const priority = draw(world.random, 101);
        priorities.push(priority);
        await one.add(`j${i}`, { priority });
        if (draw(world.random, 3) === 0) await world.pass(1 + draw(world.random, 3 * ageMs));
      }
      const views = await one.queue.get(Array.from({ length: 40 }, (_, i) => `j${i}`));
      const ranked = views.map((view, i) => {
        assert.ok(view !== null);
        const rank = view.createdMs - (priorities[i] as number) * ageMs;
        return { id: view.id, rank, seq: view.seq };
      });
      ranked.sort((a, b) => a.rank - b.rank || a.seq - b.seq);
      assert.deepEqual(await drain(two, 7), ids(ranked));
      await one.add("old");
      await world.pass(ageMs * 100);
      await one.add("high", { priority: 100 });
      await one.add("fresh");
      assert.deepEqual(ids(await one.claim(3)), ["old", "high", "fresh"]);
    },

  "A job that was delayed is ranked by the time at which it was due, however late it is claimed.":
    async (world) => {
      const [one] = await workers(world, 2);
      for (const [i, delayMs] of [60, 20, 90, 40, 10].entries())
        await one.add(`j${i}`, { delayMs });
      await world.pass(100);
      await one.add("now");
      const { jobs } = await one.queue.list("scheduled");
      const byDue = [...jobs].sort((a, b) => (a.dueMs as number) - (b.dueMs as number));
      if (world.isManual) assert.deepEqual(ids(byDue), ["j4", "j1", "j3", "j0", "j2"]);
      assert.deepEqual(ids(await one.claim(10)), [...ids(byDue), "now"]);
    },

  "A delayed job takes its place among its key's jobs by its own number when it is due.": async (
    world,
  ) => {
    const [one] = await workers(world, 2);
    await one.add("delayed", { key: "k", delayMs: 10 });
    await one.add("first", { key: "k" });
    await one.add("second", { key: "k" });
    const first = await one.one("first");
    await world.pass(10);
    await one.none();
    await one.settle(first);
    const order = await drain(one);
    assert.deepEqual(order, ["delayed", "second"]);
  },
};

/**
 * A random history of jobs of a few keys; every start must be of the key's first `perKey`
 * unfinished jobs.
 */
async function assertKeyOrder(world: World, all: readonly Worker[], perKey: number): Promise<void> {
  const { random } = world;
  const unfinished = new Map<string, string[]>();
  const keys = ["k0", "k1", "k2"];
  for (const key of keys) unfinished.set(key, []);
  for (let i = 0; i < 60; i++) {
    const key = pick(random, keys);
    await pick(random, all).add(`j${i}`, { key });
    unfinished.get(key)?.push(`j${i}`);
  }
  for (let rounds = 0; [...unfinished.values()].some((line) => line.length > 0); rounds++) {
    assert.ok(rounds < 2_000, "the keys drain");
    const worker = pick(random, all);
    const { jobs, nextMs } = await worker.queue.claim(worker.session, 1 + draw(random, 4));
    for (const job of jobs) {
      const line = unfinished.get(job.key as string) as string[];
      assert.ok(line.indexOf(job.id) < perKey, `${job.id} of ${job.key} before ${line[0]}`);
    }
    if (jobs.length === 0 && nextMs !== null) await world.pass(nextMs);
    for (const job of jobs) {
      const kind = draw(random, 10);
      if (kind === 0) {
        await worker.replace();
        break;
      }
      if (kind < 3) await worker.settle(job, { outcome: "retry", delayMs: draw(random, 3) });
      else if (kind < 4) await worker.settle(job, { outcome: "released" });
      else {
        const outcomes = ["completed", "dead", "cancelled"] as const;
        await worker.settle(job, { outcome: pick(random, outcomes) });
        const line = unfinished.get(job.key as string) as string[];
        line.splice(line.indexOf(job.id), 1);
      }
    }
  }
}
