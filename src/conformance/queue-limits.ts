/** Limits: leases at once, starts per time, jobs that wait. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import type { Settlement } from "../ports/queue/index.ts";
import type { ClaimedJob, JobView, Op } from "../store/ops.ts";
import {
  concurrently,
  draw,
  isRefused,
  pick,
  refuses,
  rejectsArgument,
  type Cases,
  type World,
} from "./kit.ts";
import { assertCounts, drain, ids, Worker, workers } from "./queue-kit.ts";

interface Rate {
  readonly count: number;
  readonly perMs: number;
  readonly burst: number;
}

/** When a job started: not before and not after these instants. */
interface Start {
  readonly afterMs: number;
  readonly beforeMs: number;
}

/** In no span of the starts are there more than the rate allows. */
function assertRate(starts: readonly Start[], rate: Rate): void {
  for (const [from, first] of starts.entries()) {
    for (let to = from; to < starts.length; to++) {
      const spanMs = (starts[to] as Start).beforeMs - first.afterMs;
      const most = rate.burst + (rate.count * spanMs) / rate.perMs;
      assert.ok(to - from + 1 <= most, `${to - from + 1} starts in ${spanMs} ms, at most ${most}`);
    }
  }
}

/** Claims whenever the store says that something may be claimable, and gives the starts. */
async function starts(world: World, all: readonly Worker[], count: number): Promise<Start[]> {
  const found: Start[] = [];
  while (found.length < count) {
    const worker = pick(world.random, all);
    const afterMs = await world.now();
    const { jobs, nextMs } = await worker.queue.claim(worker.session, 1 + draw(world.random, 3));
    const beforeMs = await world.now();
    for (const job of jobs) {
      found.push({ afterMs, beforeMs });
      await worker.settle(job);
    }
    if (jobs.length === 0) {
      assert.ok(nextMs !== null, "the rate opens again");
      await world.pass(nextMs);
    }
  }
  return found;
}

/** Ops that put jobs into the line or take them out, and how many there are more after them. */
type Mix = (worker: Worker) => Promise<readonly [change: number, ...ops: readonly Op[]]>;

/** Leaves room for one more. */
async function fill({ queue }: Worker): Promise<void> {
  await queue.purge("ready", { max: 5 });
  const { counts, config } = await queue.stats();
  const room = (config.maxWaiting ?? 0) - 1 - counts.ready - counts.scheduled - counts.blocked;
  await queue.addMany(Array.from({ length: room }, () => ({ payload: "" })));
}

function settling(how: Settlement, change: number): Mix {
  return async (worker) => {
    const job = await worker.one();
    await fill(worker);
    return [change, worker.queue.op.settle(worker.session, job, how).op];
  };
}

const MIXES: readonly Mix[] = [
  settling({ outcome: "released" }, 1),
  settling({ outcome: "retry", delayMs: 60_000 }, 1),
  settling({ outcome: "completed" }, 0),
  async (worker) => {
    const { op } = worker.queue;
    const job = await worker.one();
    await fill(worker);
    const retry = op.settle(worker.session, job, { outcome: "retry" });
    return [0, op.cancel(job.id).op, retry.op];
  },
  async (worker) => {
    await worker.settle(await worker.one(), { outcome: "dead" });
    await fill(worker);
    return [1, { op: "queue.redrive", queue: "q", ids: null, max: 10 }];
  },
  async (worker) => {
    const job = await worker.one();
    await fill(worker);
    const dies = worker.queue.op.settle(worker.session, job, { outcome: "dead" });
    return [1, dies.op, { op: "queue.redrive", queue: "q", ids: [job.id, job.id], max: 2 }];
  },
  async (worker) => {
    const { op } = worker.queue;
    await fill(worker);
    const { id } = (await worker.queue.list("ready", { limit: 1 })).jobs[0] as JobView;
    return [-1, op.cancel(id).op, op.cancel(id).op, op.cancel("none").op];
  },
  async (worker) => {
    await fill(worker);
    return [-5, { op: "queue.purge", queue: "q", state: "ready", max: 5 }];
  },
  async (worker) => {
    const { session, queue } = await Worker.start(worker.world);
    const { jobs } = await queue.claim(session, 3);
    await fill(worker);
    const done = queue.op.settle(session, jobs[1] as ClaimedJob, { outcome: "completed" });
    return [2, done.op, { op: "session.end", session: session.id }];
  },
];

/** The group is taken with as many adds as there is room for after its other ops, and no more. */
async function assertExact({ queue, store, world }: Worker, change: number, ops: readonly Op[]) {
  const room = Math.max(0, 1 - change);
  const what = `room for ${room} after ${ops.map((op) => op.op).join()}`;
  const adds = Array.from({ length: room + 1 }, () => queue.op.enqueue({ payload: "" }).op);
  isRefused(
    await store.commit(world.namespace, [...ops, ...adds]),
    "OVERLOADED",
    ops.length + room,
  );
  const { ok } = await store.commit(world.namespace, [...ops, ...adds.slice(1)]);
  assert.ok(ok, what);
  await assertCounts(queue);
}

export const queueLimitCases: Cases = {
  "There are never more than `maxLeased` unexpired leases in a queue, and as many as that.": async (
    world,
  ) => {
    const all = await workers(world, 4, { maxLeased: 7 });
    const [one] = all;
    await one.queue.addMany(Array.from({ length: 100 }, (_, i) => ({ id: `j${i}`, payload: "" })));
    const claims = all.map((worker) => worker.claim(5));
    const taken = (await Promise.all(claims)).flatMap((jobs) => ids(jobs));
    assert.equal(taken.length, 7);
    let held = 0;
    let most = 0;
    await one.queue.configure({ maxLeased: 5 });
    for (const worker of all) await worker.replace();
    await concurrently(4, async (i) => {
      const worker = all[i] as Worker;
      for (let step = 0; step < 25; step++) {
        const jobs = await worker.claim(step === 0 ? 5 : 1 + draw(world.random, 4));
        held += jobs.length;
        most = Math.max(most, held);
        for (const job of jobs) {
          held--;
          await worker.settle(job, step % 2 === 0 ? undefined : { outcome: "released" });
        }
      }
    });
    assert.equal(most, 5, "never more, and that many");
    assert.equal((await one.queue.stats()).counts.leased, 0);
  },

  "A lease that ends, in any way, gives its place under `maxLeased` free.": async (world) => {
    const [one, two] = await workers(world, 2, { maxLeased: 1 });
    for (let i = 0; i < 6; i++) await one.add(`j${i}`);
    for (const outcome of ["completed", "retry", "dead", "cancelled", "released"] as const) {
      const job = await one.one();
      await two.none();
      await one.settle(job, outcome === "retry" ? { outcome, delayMs: 60_000 } : { outcome });
    }
    await one.one();
    await two.none();
    await one.replace();
    await two.one();
    await two.session.close();
    await one.one();
  },

  "Rules that were configured hold for every process from the next claim on; what is left out has its default.":
    async (world) => {
      const [one, two] = await workers(world, 2, { maxLeased: 2, ageMs: 7 });
      await one.queue.addMany(Array.from({ length: 9 }, (_, i) => ({ id: `j${i}`, payload: "" })));
      assert.equal((await one.claim(9)).length, 2);
      await two.queue.configure({ maxLeased: 3 });
      assert.equal((await one.queue.stats()).config.ageMs, 60_000);
      assert.equal((await one.claim(9)).length, 1);
      await one.queue.configure({ maxLeased: 1 });
      await two.none();
      await one.queue.configure({});
      assert.equal((await two.claim(9)).length, 6);
    },

  "In any span of t ms at most `burst + count × t / perMs` jobs of a queue start, whoever claims.":
    async (world) => {
      const all = await workers(world, 3);
      const rates: readonly Rate[] = [
        { count: 1, perMs: 10, burst: 1 },
        { count: 3, perMs: 100, burst: 4 },
        { count: 7, perMs: 50, burst: 2 },
      ];
      const [one] = all;
      for (const rate of rates) {
        const count = world.isManual ? 80 : 12;
        await one.queue.configure({ rate });
        await one.queue.addMany(Array.from({ length: count }, () => ({ payload: "" })));
        assertRate(await starts(world, all, count), rate);
      }
    },

  "A backlog uses the whole rate: after a pause a burst starts at once, then one job each interval, without drift.":
    async (world) => {
      // On a real clock so slow that no busy machine lets an interval pass.
      const perMs = world.isManual ? 1_104 : 26 * 600_000;
      const rate = { count: 26, perMs, burst: 2 };
      const [one] = await workers(world, 2, { rate });
      const count = world.isManual ? 720 : 6;
      await one.queue.addMany(Array.from({ length: count }, () => ({ payload: "" })));
      assert.equal((await one.claim(64)).length, 2, "the burst");
      const startMs = await world.now();
      const nextMs = await one.none();
      assert.ok(nextMs !== null && nextMs <= Math.ceil(perMs / 26), `due in ${nextMs} ms`);
      if (!world.isManual) return;
      const wanted = Array.from({ length: count - 2 }, (_, i) => Math.ceil(((i + 1) * 1_104) / 26));
      const atMs: number[] = [];
      while (atMs.length < wanted.length) {
        const { jobs, nextMs: leftMs } = await one.queue.claim(one.session, 3);
        for (const _ of jobs) atMs.push((await world.now()) - startMs);
        await world.pass(leftMs ?? 0);
      }
      assert.deepEqual(atMs, wanted);
      await world.pass(1_000);
      await one.queue.addMany(Array.from({ length: 9 }, () => ({ payload: "" })));
      assert.equal((await one.claim(64)).length, 2, "a burst again, no more");
    },

  "A rate per key bounds each key by itself and holds up no other key.": async (world) => {
    const perMs = world.isManual ? 50 : 600_000;
    const rate = { count: 1, perMs, burst: 2, isPerKey: true };
    const [one, two] = await workers(world, 2, { rate, perKey: 10 });
    for (let i = 0; i < 4; i++) {
      for (const key of ["x", "y"]) await one.add(`${key}${i}`, { key });
    }
    await one.add("free0");
    const first = ids(await two.claim(20));
    assert.deepEqual([...first].sort(), ["free0", "x0", "x1", "y0", "y1"]);
    const nextMs = await two.none();
    assert.ok(nextMs !== null && nextMs <= perMs);
    if (!world.isManual) return;
    await world.pass(49);
    await two.none();
    await world.pass(1);
    assert.deepEqual(ids(await two.claim(20)), ["x2", "y2"]);
    await world.pass(50);
    assert.deepEqual(ids(await two.claim(20)), ["x3", "y3"]);
  },

  "A queue that holds `maxWaiting` waiting jobs refuses more with `OVERLOADED`, and takes them again when there is room.":
    async (world) => {
      const [one, two] = await workers(world, 2, { maxWaiting: 4 });
      await one.add("ready");
      await one.add("delayed", { delayMs: 60_000 });
      await one.add("head", { key: "k" });
      await one.add("blocked", { key: "k" });
      const error = await refuses(two.queue.add({ id: "more", payload: "" }), "OVERLOADED");
      assert.equal(error.retryable, true);
      assert.equal(await one.queue.get("more"), null);
      const same = await two.queue.add({ id: "ready", payload: "ready" });
      assert.equal(same.status, "exists", "what adds nothing is not refused");
      const jobs = await one.claim(10);
      assert.deepEqual(ids(jobs), ["ready", "head"], "what is leased does not wait");
      await one.add("fifth");
      await one.add("sixth");
      await refuses(two.queue.add({ payload: "" }), "OVERLOADED");
      for (const job of jobs) await one.settle(job, { outcome: "released" });
      assert.equal((await one.queue.stats()).counts.ready, 4, "what was let in comes back");
    },

  "`maxWaiting` is exact for 64 concurrent callers, and for the jobs of one group together.":
    async (world) => {
      const all = await workers(world, 3, { maxWaiting: 40 });
      const [one] = all;
      let added = 0;
      await concurrently(64, async (i) => {
        const { queue } = all[i % 3] as Worker;
        try {
          await queue.add({ payload: "" });
          added++;
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "OVERLOADED");
        }
      });
      assert.equal(added, 40);
      assert.equal((await one.queue.stats()).counts.ready, 40);
      await one.claim(3);
      const four = Array.from({ length: 4 }, () => one.queue.op.enqueue({ payload: "" }));
      const refused = await one.store.commitAll(four);
      assert.ok(
        !refused.ok && refused.refusal.code === "OVERLOADED" && refused.refusal.index === 3,
      );
      assert.ok((await one.store.commitAll(four.slice(1))).ok);
      assert.equal((await one.queue.stats()).counts.ready, 40);
      for (const mix of MIXES) {
        const [change, ...ops] = await mix(one);
        await assertExact(one, change, ops);
      }
    },

  "A repeat of a dedupe key that adds no job is taken by a full queue too.": async (world) => {
    const [one] = await workers(world, 2, { maxWaiting: 1 });
    for (const mode of ["first", "last", "debounce"] as const) {
      const dedupe = { key: mode, ttlMs: 60_000, mode };
      await one.add(mode, { dedupe });
      const repeat = await one.queue.add({ payload: "again", dedupe });
      assert.equal(repeat.status, mode === "first" ? "deduped" : "replaced");
      await refuses(one.queue.add({ payload: "" }), "OVERLOADED");
      await drain(one);
    }
  },

  "A rule out of range is refused with a `TypeError` or `RangeError`, and the rules stay.": async (
    world,
  ) => {
    const [one] = await workers(world, 2, { maxLeased: 2 });
    const wrong = [
      { perKey: 0 },
      { maxLeased: 0 },
      { maxLeased: 1.5 },
      { maxWaiting: 0 },
      { maxDeliveries: 0 },
      { ageMs: -1 },
      { keepMs: LIMITS.durationMs + 1 },
      { keepCount: -1 },
      { rate: { count: 0, perMs: 1 } },
      { rate: { count: 1, perMs: 0 } },
      { rate: { count: 1, perMs: 1, burst: 0 } },
      { maxLeases: 3 },
    ];
    for (const rules of wrong) await rejectsArgument(() => one.queue.configure(rules));
    assert.equal((await one.queue.stats()).config.maxLeased, 2);
  },

  "Of more finished jobs than `keepCount` those that finished first go, whenever they were added: no job loses its result by the settle that wrote it.":
    async (world) => {
      const keepCount = 50;
      const [one] = await workers(world, 2, { keepCount });
      for (const state of ["completed", "cancelled"] as const) {
        await one.add(`slow-${state}`);
        const slow = await one.one(`slow-${state}`);
        // As many as there may be without any being removed, and one more.
        for (let i = 0; i < keepCount + 255; i++) await one.add(`${state}-${i}`);
        for (const job of await one.claim(1_000)) await one.settle(job, { outcome: state });
        await world.pass(2);
        await one.settle(slow, { outcome: state, ...(state === "completed" && { result: "r" }) });
        const { result } = await one.view(slow.id);
        assert.equal(result, state === "completed" ? "r" : null);
        assert.equal(await one.queue.get(`${state}-0`), null, "the first to finish went");
        assert.equal(await one.state(`${state}-${keepCount + 254}`), state);
        await assertCounts(one.queue);
      }
    },
};
