/** Delivery: who holds a job, and what its holder's end means. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { listQueues } from "../ports/queue/index.ts";
import { refuses, rejectsArgument, type Cases } from "./kit.ts";
import { drain, ids, Worker, workers } from "./queue-kit.ts";

export const queueDeliveryCases: Cases = {
  "A job is held by at most one unexpired lease at any instant.": async (world) => {
    const all = await workers(world, 4);
    const [one] = all;
    const names = Array.from({ length: 100 }, (_, i) => `j${i}`);
    await one.queue.addMany(names.map((id) => ({ id, payload: "" })));
    const claims = Array.from({ length: 40 }, (_, i) => (all[i % 4] as Worker).claim(5));
    const taken = (await Promise.all(claims)).flatMap((jobs) => ids(jobs));
    assert.deepEqual([...new Set(taken)].sort(), [...names].sort(), "every job, once");
    assert.equal(taken.length, names.length);
    assert.equal((await one.queue.stats()).counts.leased, names.length);
    const views = await one.queue.get(names);
    const sessions = new Set(all.map((worker) => worker.session.id));
    for (const view of views) assert.ok(sessions.has(view?.session as string));
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

  "A job that was added is delivered at least once, and until it is settled again and again.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      await one.add("a");
      const first = await two.one("a");
      assert.deepEqual([first.attempt, first.delivery], [1, 1]);
      assert.equal(await two.settle(first, { outcome: "retry", error: "no" }), "scheduled");
      const second = await one.one("a");
      assert.deepEqual([second.attempt, second.delivery], [2, 2]);
      await one.replace();
      const third = await two.one("a");
      assert.deepEqual([third.attempt, third.delivery], [2, 3]);
      assert.equal(await two.settle(third), "completed");
      await one.none();
      assert.equal(await one.state("a"), "completed");
    },

  "A lost lease is delivered again once its session's TTL has passed, with a greater token, `delivery` one higher and `attempt` unchanged.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const held = await one.one("a");
      await one.lose();
      const jobs = await two.claim(1);
      assert.deepEqual(ids(jobs), ["a"], "it is first again");
      const [a] = jobs as [(typeof jobs)[number]];
      assert.deepEqual([a.attempt, a.delivery], [1, 2]);
      assert.ok(a.token > held.token);
      const view = await two.view("a");
      assert.deepEqual([view.attempts, view.lost, view.session], [0, 1, two.session.id]);
    },

  "A session that was ended in order gives its jobs back at once, with neither `attempt` nor `delivery` counted.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b", "c"]) await one.add(id);
      assert.deepEqual(ids(await one.claim(2)), ["a", "b"]);
      await one.session.close();
      const jobs = await two.claim(3);
      assert.deepEqual(ids(jobs), ["a", "b", "c"]);
      for (const job of jobs) assert.deepEqual([job.attempt, job.delivery], [1, 1]);
      await two.store.close();
      const three = await Worker.start(world);
      assert.deepEqual(
        ids(await three.claim(3)),
        ["a", "b", "c"],
        "a closed store ends its session",
      );
    },

  "A released job goes back to where it was, with neither `attempt` nor `delivery` counted.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      assert.equal(await one.settle(await one.one("a"), { outcome: "released" }), "ready");
      const again = await two.one("a");
      assert.deepEqual([again.attempt, again.delivery], [1, 1]);
      const view = await two.view("a");
      assert.deepEqual([view.attempts, view.lost], [0, 0]);
    },

  "A job that was delivered `maxDeliveries` times is dead, whether its attempts failed or its leases were lost.":
    async (world) => {
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

  "A claim by a session that is over is refused with `LEASE_LOST` and takes nothing.": async (
    world,
  ) => {
    const [one, two] = await workers(world, 2);
    await one.add("a");
    await one.lose();
    await refuses(one.claim(), "LEASE_LOST");
    assert.equal(await two.state("a"), "ready");
    await two.session.close();
    await refuses(two.claim(), "LEASE_LOST");
    assert.equal(await two.state("a"), "ready");
  },

  "A claim without an answer leaves its jobs to be delivered again when its session is over.":
    async (world) => {
      const one = await Worker.start(world);
      await one.queue.addMany(Array.from({ length: 20 }, (_, i) => ({ id: `j${i}`, payload: "" })));
      const { session } = one;
      const claim = one.claim(10);
      const isKnown = claim.then(
        () => true,
        () => false,
      );
      await world.crash();
      assert.equal(await isKnown, false, "the process died before the answer");
      const two = await Worker.start(world);
      const { counts } = await two.queue.stats();
      assert.ok(counts.leased === 10 || counts.leased === 0, "all of the claim or nothing");
      if (counts.leased > 0) {
        assert.equal(
          (await two.claim(20)).length,
          10,
          "they are held as long as the session lives",
        );
        await two.replace();
        const ops = [{ op: "session.renew", session: session.id, ttlMs: 1 }] as const;
        assert.ok((await two.store.commit(world.namespace, ops)).ok);
        await world.pass(2);
      }
      assert.equal((await two.claim(20)).length, 20);
    },

  "A claim of an unknown queue is answered empty, and nothing is written for it.": async (
    world,
  ) => {
    const one = await Worker.start(world, "unknown");
    const names = async () => (await listQueues(one.store)).map(({ queue }) => queue);
    const { driver } = await world.aside();
    const revision = async () => {
      const [{ partitions }] = await driver.read([{ read: "store.info" }]);
      return partitions.find((each) => each.partition === world.namespace)?.revision;
    };
    const before = await revision();
    assert.equal(await one.none(), null);
    assert.deepEqual([await names(), await revision()], [[], before]);
    await one.queue.resume();
    assert.deepEqual(await names(), [], "nor for a queue that is resumed and was never paused");
    await one.add("a");
    await one.one("a");
  },
};
