/** Sessions: one lease a process, its end, its loss, and what others may do then. */
import assert from "node:assert/strict";
import { ManualClock } from "../core/clock.ts";
import { LeaseLostError } from "../core/errors.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { Op, SessionView } from "../store/ops.ts";
import type { Store } from "../store/store.ts";
import { isRefused, refuses, type Cases, whole } from "./kit.ts";
import { ids, Worker, workers } from "./queue-kit.ts";
import { loseSession } from "./sessions.ts";

const open = (session: string, ttlMs: number): Op => {
  return { op: "session.open", session, ttlMs, label: `label of ${session}` };
};

async function sessions(store: Store): Promise<readonly SessionView[]> {
  const [views] = await store.read([{ read: "session.list", partition: store.namespace }]);
  return views;
}

/** How often a loss of many things may take a commit: each moves a bounded number of them. */
const MANY = 2_500;

export const storeSessionCases: Cases = {
  "A session is live for its TTL from its last renewal by the store's clock, and over from then on.":
    async (world) => {
      const store = await world.store();
      const ttlMs = 200;
      const renew: Op = { op: "session.renew", session: "s", ttlMs };
      const use: Op = { op: "kv.put", key: "k", value: "", session: "s" };
      await store.commit(world.namespace, [open("s", 60_000)]);
      const fromMs = await world.now();
      assert.ok((await store.commit(world.namespace, [renew])).ok);
      const toMs = await world.now();
      for (;;) {
        const beforeMs = await world.now();
        const isLive = (await sessions(store)).some((view) => view.session === "s");
        const used = await store.commit(world.namespace, [use]);
        const afterMs = await world.now();
        if (afterMs < fromMs + ttlMs) assert.ok(isLive && used.ok, "over before its time");
        if (beforeMs >= toMs + ttlMs) {
          assert.equal(isLive, false);
          isRefused(used, "LEASE_LOST");
          return isRefused(await store.commit(world.namespace, [renew]), "LEASE_LOST");
        }
        await world.pass(1);
      }
    },

  "A process that runs keeps its session for as long as it runs.": async (world) => {
    const [one, two] = [await world.store({ sessionTtlMs: 3_000 }), await world.store()];
    const session = await one.session();
    const kv = new Kv<number>(one);
    await kv.put("k", 1, { session });
    await world.pass(world.isManual ? 600_000 : 4_000);
    assert.equal(session.isOver, false);
    assert.equal((await new Kv<number>(two).get("k"))?.value, 1);
    assert.ok((await sessions(two)).some((view) => view.session === session.id));
    assert.equal(await one.session(), session, "one session a process");
  },

  "A holder that was silent for too long learns of its loss at its next call, its signal aborts, and its store opens another session.":
    async (world) => {
      const store = await world.store();
      const session = await store.session();
      await loseSession(world, session);
      assert.equal(session.isOver, false, "it can't know yet");
      await session.renew();
      const error = await session.lost;
      assert.ok(error instanceof LeaseLostError);
      assert.equal(session.signal.aborted, true);
      assert.equal(session.signal.reason, error);
      assert.throws(() => session.check(), { code: "LEASE_LOST" });
      const next = await store.session();
      assert.notEqual(next.id, session.id);
      assert.equal(next.isOver, false);
    },

  "When a session is over, all that it held can be taken by anyone at once: jobs and keys of every queue.":
    whole(async (world) => {
      for (const how of ["lost", "ended"] as const) {
        const [one, two] = await workers(world, 2);
        const kv = new Kv<number>(one.store);
        const other = new Queue(one.store, `other ${how}`);
        for (const id of ["a", "b"]) await one.add(`${id} ${how}`);
        await other.add({ id: "c", payload: "" });
        await one.claim(2);
        await other.claim(one.session, 1);
        await kv.put("member", 1, { session: one.session });
        if (how === "lost") await one.lose();
        else await one.session.close();
        const taken = await new Kv<number>(two.store).tryPut("member", 2, { ifRevision: 0 });
        assert.equal(taken.ok, true);
        assert.deepEqual(ids(await two.claim(5)), [`a ${how}`, `b ${how}`]);
        const [c] = (await new Queue(two.store, other.name).claim(two.session, 1)).jobs;
        assert.equal(c?.delivery, how === "lost" ? 2 : 1);
        await two.session.close();
        await two.queue.purge("ready");
      }
    }),

  "A session that held very much gives all of it back, a bounded part with each commit.": whole(
    async (world) => {
      const [one, two] = await workers(world, 2);
      await one.queue.addMany(
        Array.from({ length: MANY }, (_, i) => ({ id: `j${i}`, payload: "" })),
      );
      for (let held = 0; held < MANY; held += 500) await one.claim(500);
      const bound = Array.from({ length: MANY }, (_, i): Op => {
        return { op: "kv.put", key: `k${i}`, value: "", session: one.session.id };
      });
      await one.store.commit(world.namespace, bound);
      await one.lose();
      const kv = new Kv<string>(two.store);
      assert.deepEqual(
        (await kv.list("k")).entries,
        [],
        "none of its keys is seen, removed or not",
      );
      const taken = new Set<string>();
      for (let commits = 0; taken.size < MANY; commits++) {
        assert.ok(commits < 50, `${taken.size} jobs after ${commits} claims`);
        for (const job of await two.claim(1_000)) taken.add(job.id);
      }
      const { counts } = await two.queue.stats();
      assert.deepEqual([counts.leased, counts.ready], [MANY, 0]);
      await refuses(one.claim(), "LEASE_LOST");
      isRefused(await two.store.commit(world.namespace, bound.slice(0, 1)), "LEASE_LOST");
      // It does not come back by being opened again while anything is left of it, nor holds
      // anything afterwards.
      await two.store.commit(world.namespace, [open(one.session.id, 60_000)]);
      assert.deepEqual((await kv.list("k")).entries, []);
    },
  ),

  "A session that has ended is over for every op that uses it, and can't be opened again while anything is left of it; ending it again is no error.":
    whole(async (world) => {
      const store = await world.store();
      const commit = (...ops: Op[]) => store.commit(world.namespace, ops);
      assert.ok((await commit(open("s", 60_000))).ok);
      assert.ok((await commit(open("s", 60_000))).ok, "a repeat after a lost answer");
      // More than one commit clears away.
      for (let i = 0; i < 3; i++) {
        const put = (_: unknown, at: number): Op => {
          return { op: "kv.put", key: `bound ${i} ${at}`, value: "", session: "s" };
        };
        assert.ok((await commit(...Array.from({ length: 1_000 }, put))).ok);
      }
      const end: Op = { op: "session.end", session: "s" };
      assert.ok((await commit(end)).ok);
      isRefused(await commit(open("s", 60_000)), "LEASE_LOST");
      assert.ok((await commit(end)).ok);
      isRefused(await commit({ op: "session.renew", session: "s", ttlMs: 1_000 }), "LEASE_LOST");
      isRefused(
        await commit({ op: "queue.claim", queue: "q", session: "s", max: 1 }),
        "LEASE_LOST",
      );
      isRefused(await commit({ op: "kv.put", key: "k", value: "", session: "s" }), "LEASE_LOST");
      isRefused(
        await commit({ op: "session.renew", session: "never", ttlMs: 1_000 }),
        "LEASE_LOST",
      );
      assert.deepEqual(await sessions(store), []);
    }),

  "The list of sessions shows the live ones, with their labels, the time they have left, and how many leases they hold.":
    whole(async (world) => {
      const one = await Worker.start(world);
      const labelled = await world.store({ label: "a label" });
      const session = await labelled.session();
      for (const id of ["a", "b"]) await one.add(id);
      await one.claim(2);
      const views = await sessions(one.store);
      assert.deepEqual(
        views.map((view) => view.session).sort(),
        [one.session.id, session.id].sort(),
      );
      const mine = views.find((view) => view.session === one.session.id);
      assert.equal(mine?.leases, 2);
      assert.ok(mine?.leftMs > 0 && mine?.leftMs <= mine?.ttlMs);
      assert.equal(views.find((view) => view.session === session.id)?.label, "a label");
      await session.close();
      assert.equal((await sessions(one.store)).length, 1);
    }),

  "One session serves a process in all partitions, and its loss in one of them ends it in all.":
    async (world) => {
      const store = await world.store();
      const there = store.partitionName("there");
      const session = await store.session();
      assert.equal(await store.session(there), session);
      await new Kv<number>(store, { partition: "there" }).put("k", 1, { session });
      await new Kv<number>(store).put("k", 1, { session });
      await loseSession(world, session, there);
      const other = await world.store();
      assert.equal(await new Kv<number>(other, { partition: "there" }).get("k"), null);
      assert.notEqual(await new Kv<number>(other).get("k"), null, "the holder does not know yet");
      await session.renew();
      assert.equal(session.isOver, true);
      await refuses(new Kv<number>(store).put("k", 2, { session }), "LEASE_LOST");
    },

  "A client's clock decides nothing: with one that is years off, leases, TTLs and delays are those of the store.":
    whole(async (world) => {
      const nowMs = await world.now();
      for (const wrongMs of [-20 * 365, 20 * 365].map((days) => days * 86_400_000)) {
        const clock = new ManualClock(nowMs + wrongMs);
        const store = await world.store({ clock });
        const kv = new Kv<number>(store);
        const queue = new Queue(store, world.name("q"));
        await kv.put("short", 1, { ttlMs: world.capabilities.ttlGranularityMs });
        await kv.put("long", 1, { ttlMs: 600_000 });
        await queue.add({ id: "delayed", payload: "", delayMs: 600_000 });
        await queue.add({ id: "now", payload: "" });
        await world.pass(world.capabilities.ttlGranularityMs + 1);
        assert.equal(await kv.get("short"), null);
        assert.equal((await kv.get("long"))?.value, 1);
        const session = await store.session();
        const { jobs } = await queue.claim(session, 5);
        assert.deepEqual(ids(jobs), ["now"]);
        const view = await queue.get("delayed");
        assert.ok(Math.abs((view?.createdMs as number) - nowMs) < 3_600_000, "the store's time");
        await store.commitUrgent(world.namespace, [{ op: "session.end", session: session.id }]);
      }
    }),

  "The store's clock never goes back, in any process.": async (world) => {
    const drivers = [await world.driver(), await world.driver()];
    let last = 0;
    for (let i = 0; i < 50; i++) {
      const driver = drivers[i % 2] as (typeof drivers)[number];
      if (i % 5 === 0) await driver.commit([]);
      const [{ clockMs }] = await driver.read([{ read: "store.info" }]);
      assert.ok(Number.isSafeInteger(clockMs) && clockMs >= last, `${clockMs} after ${last}`);
      last = clockMs;
    }
  },
};
