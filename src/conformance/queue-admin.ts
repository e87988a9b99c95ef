/** What operators do: cancel, pause, redrive, purge, look. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import { listQueues, Queue, type ListOptions } from "../ports/queue/index.ts";
import type { JobState, QueueEnqueue } from "../store/ops.ts";
import { LIMITS } from "../core/limits.ts";
import { draw, pick, rejectsArgument, type Cases, type World } from "./kit.ts";
import { assertCounts, drain, ids, Worker, workers } from "./queue-kit.ts";

/** Brings jobs into every state: the names tell which. */
async function inEveryState(world: World): Promise<Worker> {
  const [one] = await workers(world, 2);
  for (const id of ["completed", "cancelled", "dead", "leased"]) await one.add(id);
  const [a, b, c] = (await one.claim(4)) as [never, never, never];
  await one.settle(a, { outcome: "completed" });
  await one.settle(b, { outcome: "cancelled" });
  await one.settle(c, { outcome: "dead", error: "no" });
  await one.add("ready", { key: "k" });
  await one.add("blocked", { key: "k" });
  await one.add("scheduled", { delayMs: 60_000 });
  return one;
}

async function listed(queue: Queue, state: JobState): Promise<string[]> {
  return ids((await queue.list(state)).jobs);
}

export const queueAdminCases: Cases = {
  "A cancel of a waiting job finishes it as `cancelled`, it is never delivered, and its key goes on.":
    async (world) => {
      const one = await inEveryState(world);
      const two = await Worker.start(world);
      for (const id of ["scheduled", "blocked", "ready"]) {
        assert.equal(await two.queue.cancel(id, { reason: `not ${id}` }), "cancelled", id);
        const view = await one.view(id);
        assert.deepEqual([view.state, view.error], ["cancelled", `not ${id}`]);
        assert.ok(view.finishedMs !== null);
      }
      for (const id of ["k1", "k2", "k3"]) await one.add(id, { key: "k" });
      assert.equal(await two.queue.cancel("k2"), "cancelled");
      assert.equal(await two.queue.cancel("k1"), "cancelled");
      await two.one("k3");
      await world.pass(1);
      await assertCounts(one.queue);
    },

  "A cancel of a held job is durable and reaches its holder with the next renewal of the session, wherever that runs.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const [a] = await one.claim(2);
      const asked: number[] = [];
      one.session.onCancels(({ partition, cancels }) => {
        assert.equal(partition, world.namespace);
        for (const each of cancels) {
          assert.equal(each.queue, "q");
          asked.push(each.seq, each.token);
        }
      });
      assert.equal(await two.queue.cancel("a", { reason: "enough" }), "requested");
      assert.equal((await two.view("a")).isCancelRequested, true);
      assert.equal((await two.view("a")).state, "leased");
      await one.session.renew();
      assert.deepEqual(asked, [a?.seq, a?.token]);
      assert.equal(await two.queue.cancel("a"), "requested");
      await one.session.renew();
      assert.deepEqual(asked, [a?.seq, a?.token, a?.seq, a?.token], "as long as it is held");
    },

  "A held job whose cancel was asked is never delivered again: retried, released or lost, it ends as `cancelled`.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["retried", "released", "lost", "ended", "done"])
        await one.add(id, { key: id });
      const [retried, released, , , done] = (await one.claim(5)) as never[];
      for (const id of ["retried", "released", "lost", "ended", "done"]) {
        await two.queue.cancel(id, { reason: "enough" });
      }
      assert.equal(await one.settle(retried as never, { outcome: "retry" }), "cancelled");
      assert.equal(await one.settle(released as never, { outcome: "released" }), "cancelled");
      assert.equal(await one.settle(done as never), "completed", "its holder may finish it");
      await one.lose();
      await two.none();
      for (const id of ["retried", "released", "lost", "ended"]) {
        const view = await two.view(id);
        assert.deepEqual([view.state, view.error], ["cancelled", "enough"], id);
      }
      await two.add("next", { key: "lost" });
      await two.one("next");
      await two.queue.cancel("next");
      await two.session.close();
      assert.equal(await one.state("next"), "cancelled", "ended in order");
    },

  "A cancel says `finished` of a finished job and `missing` of an unknown one, and changes neither.":
    async (world) => {
      const one = await inEveryState(world);
      for (const id of ["completed", "cancelled", "dead"] as const) {
        const before = await one.view(id);
        assert.equal(await one.queue.cancel(id, { reason: "late" }), "finished");
        assert.deepEqual(await one.view(id), before);
      }
      assert.equal(await one.queue.cancel("none"), "missing");
      assert.equal(await new Queue(one.store, "unused").cancel("ready"), "missing");
    },

  "A paused queue gives no job to any process until it is resumed; held jobs can be settled, and jobs can be added.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      for (const id of ["a", "b"]) await one.add(id);
      const job = await one.one("a");
      await two.queue.pause();
      assert.equal((await one.queue.stats()).isPaused, true);
      await one.none();
      await two.none();
      await two.add("c", { delayMs: 5 });
      assert.equal(await one.settle(job), "completed");
      await world.pass(10);
      await one.none();
      const three = await Worker.start(world);
      await three.none();
      await three.queue.resume();
      assert.deepEqual(ids(await two.claim(10)), ["b", "c"]);
    },

  "Redriven jobs are ready again with their attempts at zero: those of the ids, or the oldest, and dead ones alone.":
    async (world) => {
      const [one, two] = await workers(world, 2, { maxDeliveries: 2 });
      for (let i = 0; i < 6; i++) await one.add(`j${i}`, { key: "k" });
      for (let i = 0; i < 5; i++) {
        const job = await one.one(`j${i}`);
        await one.settle(job, i < 4 ? { outcome: "dead", error: "no" } : { outcome: "completed" });
      }
      assert.equal(await two.queue.redrive({ ids: ["j3", "j4", "j5", "none", "j3"] }), 1);
      assert.equal(await two.queue.redrive({ max: 2 }), 2);
      assert.deepEqual(await listed(one.queue, "dead"), ["j2"]);
      const view = await one.view("j1");
      assert.deepEqual([view.attempts, view.lost, view.error, view.result], [0, 0, null, null]);
      assert.equal(view.finishedMs, null);
      assert.equal(await two.queue.redrive(), 1);
      assert.equal(await two.queue.redrive(), 0);
      const order = await drain(two);
      assert.deepEqual([...order].sort(), ["j0", "j1", "j2", "j3", "j5"]);
      assert.deepEqual(order.slice(-4), [...order.slice(-4)].sort(), "by their numbers again");
      await assertCounts(one.queue);
    },

  "A purge removes the jobs of the named state and no others, and lets the next job of a key follow.":
    async (world) => {
      const one = await inEveryState(world);
      const states = ["scheduled", "completed", "cancelled", "dead", "blocked"] as const;
      for (const state of states) {
        const before = (await one.queue.stats()).counts;
        assert.equal(await one.queue.purge(state), 1, state);
        assert.equal(await one.queue.get(state), null);
        assert.deepEqual((await one.queue.stats()).counts, { ...before, [state]: 0 });
      }
      await one.add("behind", { key: "k" });
      assert.equal(await one.queue.purge("ready", { max: 1 }), 1);
      assert.deepEqual(await listed(one.queue, "ready"), ["behind"]);
      assert.equal((await one.queue.add({ id: "ready", payload: "new" })).status, "added");
      assert.equal(await one.queue.purge("dead"), 0);
      await rejectsArgument(() => one.queue.purge("leased" as never));
      await one.queue.addMany(Array.from({ length: 2_300 }, () => ({ payload: "" })));
      assert.equal(await one.queue.purge("ready"), 2_302, "in steps");
      await assertCounts(one.queue);
    },

  "The counts of a queue are exact.": async (world) => {
    const all = await workers(world, 3, { maxDeliveries: 4, maxLeased: 9 });
    const { random } = world;
    let added = 0;
    for (let i = 0; i < 300; i++) {
      const worker = pick(random, all);
      const { queue } = worker;
      const kind = draw(random, 12);
      if (kind < 5) {
        const more = [{}, { key: `k${draw(random, 4)}` }, { delayMs: draw(random, 50) }];
        await worker.add(`j${added++}`, pick(random, more));
      } else if (kind < 9) {
        const jobs = await worker.claim(1 + draw(random, 4));
        const outcomes = ["completed", "retry", "dead", "cancelled", "released"] as const;
        for (const job of jobs) {
          if (draw(random, 4) > 0) await worker.settle(job, { outcome: pick(random, outcomes) });
        }
      } else if (kind === 9) await queue.cancel(`j${draw(random, added + 1)}`);
      else if (kind === 10) await worker.replace();
      else if (draw(random, 2) === 0) await queue.redrive({ max: 2 });
      else await queue.purge(pick(random, ["ready", "blocked", "completed", "dead"]), { max: 1 });
      if (i % 50 === 0) await assertCounts(queue);
      await world.pass(draw(random, 4));
    }
    await assertCounts(all[0].queue);
    for (const worker of all) await worker.replace();
    await drain(all[0]);
    await assertCounts(all[1].queue);
  },

  "A list that asks for attributes, a time of adding or a beginning of the id shows the jobs of the state of which all that holds, each once, however few they are among others.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const names = Object.fromEntries([
        ["constructor", "a"],
        ["__proto__", "b"],
        ["ünï", "ö"],
      ]);
      for (let i = 0; i < 130; i++) {
        const more = i % 50 === 7 ? { attributes: { ...names, city: `c${i % 100}` } } : {};
        await one.queue.add({ id: `${i < 100 ? "x" : "y"}${i}`, payload: "", ...more });
      }
      const find = async (options: ListOptions): Promise<string[]> => {
        const ids: string[] = [];
        for await (const job of two.queue.scan("ready", { limit: 20, ...options })) {
          ids.push(job.id);
        }
        return ids;
      };
      assert.equal((await find({})).length, 130);
      assert.deepEqual(await find({ attributes: names }), ["x7", "x57", "y107"]);
      assert.deepEqual(await find({ attributes: { city: "c7" } }), ["x7", "y107"]);
      assert.deepEqual(await find({ attributes: { city: "c7" }, idPrefix: "y" }), ["y107"]);
      assert.deepEqual(await find({ attributes: { city: "c7", other: "x" } }), []);
      assert.deepEqual(await find({ attributes: { toString: "x" } }), []);
      assert.deepEqual({ ...(await two.view("x57")).attributes }, { ...names, city: "c57" });
      const { createdMs } = await two.view("x57");
      await world.pass(1_000);
      await one.queue.add({ id: "late", payload: "" });
      const lateMs = (await two.view("late")).createdMs;
      assert.deepEqual(await find({ fromMs: lateMs }), ["late"]);
      const [first] = await find({ fromMs: createdMs, beforeMs: createdMs + 1 });
      assert.ok(first !== undefined);
      assert.equal((await find({ beforeMs: lateMs })).length, 130);
      const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`${i}`, ""]));
      for (const attributes of [many, { "": "x" }, { a: "x".repeat(201) }, { a: 1 }, [], null]) {
        const job = { payload: "", attributes: attributes as never };
        await rejectsArgument(() => one.queue.add(job));
      }
    },

  "A list shows the jobs of a state in the order of their adding, whatever the size of its pages.":
    async (world) => {
      const [one] = await workers(world, 2);
      const one20 = Array.from({ length: 20 }, (_, i) => `j${i}`);
      for (const id of one20) await one.add(id, { priority: draw(world.random, 101) });
      for (const limit of [1, 7, 20, 100]) {
        const seen: string[] = [];
        for await (const job of one.queue.scan("ready", { limit })) seen.push(job.id);
        assert.deepEqual(seen, one20);
      }
      const page = await one.queue.list("ready", { limit: 20 });
      assert.equal(page.next, null);
      assert.deepEqual((await one.queue.list("dead")).jobs, []);
      for (const limit of [0, 1_001])
        await rejectsArgument(() => one.queue.list("ready", { limit }));
      const names = (await listQueues(one.store)).map((view) => view.queue);
      assert.deepEqual(names, ["q"]);
      const unused = await new Queue(one.store, "unused").stats();
      assert.equal(
        Object.values(unused.counts).reduce((sum, count) => sum + count),
        0,
      );
    },

  "Changes after a cursor show each changed job that is still there with its last state, whatever the size of their pages, and tell nothing of one that is gone.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      await one.add("before");
      const start = (await one.queue.changes(0)).cursor;
      const states = new Map<string, JobState>();
      let cursor = start;
      for (let round = 0; round < 20; round++) {
        await two.add(`j${round}`, draw(world.random, 2) === 0 ? {} : { key: "k" });
        for (const job of await one.claim(draw(world.random, 3) + 1)) {
          const outcomes = ["completed", "released", "dead"] as const;
          await one.settle(job, { outcome: pick(world.random, outcomes) });
        }
        if (draw(world.random, 3) > 0) continue;
        cursor = await follow(two.queue, cursor, states);
      }
      await follow(two.queue, cursor, states);
      const again = new Map<string, JobState>();
      await follow(two.queue, start, again);
      for (const feed of [states, again]) {
        for (const [id, state] of feed) assert.equal(await one.state(id), state, id);
        for (let i = 0; i < 20; i++) assert.ok(feed.has(`j${i}`), `j${i} changed`);
      }
      const other = await new Queue(one.store, "other").changes(start);
      assert.deepEqual(other.changes, [], "of this queue alone");
      await endsAtLimit(one);
      await tellsNothingOfGone(one);
    },

  "A cursor of changes that were trimmed, or that the store has not reached, gives one resync.":
    async (world) => {
      const [one] = await workers(world, 2);
      await one.add("a");
      const { cursor } = await one.queue.changes(0);
      const future = await one.queue.changes(cursor + 1_000_000);
      assert.deepEqual([future.isResync, future.changes], [true, []]);
      assert.equal((await one.queue.changes(future.cursor)).isResync, false);
      await overflowChanges(world, one);
      const trimmed = await one.queue.changes(cursor);
      assert.equal(trimmed.isResync, true);
      await one.add("b");
      const { changes, isResync } = await one.queue.changes(trimmed.cursor);
      assert.deepEqual([ids(changes), isResync], [["b"], false]);
      // A store that lost even the partition, as a file that was deleted.
      const lost = new Queue(one.store, "q", { partition: "lost" });
      assert.deepEqual(await lost.changes(7), { changes: [], cursor: 0, isResync: true });
      assert.deepEqual(await lost.changes(0), { changes: [], cursor: 0, isResync: false });
    },

  "A hint comes when a job becomes claimable, finishes, or is asked to stop, and a lost hint costs time only.":
    async (world) => {
      const [one, two] = await workers(world, 2);
      const heard = { ready: 0, done: 0, cancel: 0 };
      const stops = [
        two.queue.onReady(() => heard.ready++),
        two.queue.onDone(() => heard.done++),
        two.queue.onCancel(() => heard.cancel++),
      ];
      const act = { ready: 0, cancel: 0, done: 0 };
      // One may be lost, as while the other process has only begun to listen: what is done again is
      // told again.
      await hears(world, "ready", heard, () => one.add(`ready-${act.ready++}`));
      await hears(world, "cancel", heard, async () => {
        await one.add(`cancel-${act.cancel}`, { priority: 100 });
        await one.one(`cancel-${act.cancel}`);
        assert.equal(await one.queue.cancel(`cancel-${act.cancel++}`), "requested");
      });
      await hears(world, "done", heard, async () => {
        await one.settle(await one.one());
        await one.add(`done-${act.done++}`);
      });
      for (const stop of stops) stop();
      const before = { ...heard };
      await one.add("last", { priority: 100 });
      await two.one("last");
      await world.pass(10);
      assert.deepEqual(heard, before, "nothing after the stop, and the job is found all the same");
    },

  "Jobs added in a group are there exactly if the group holds.": async (world) => {
    const [one, two] = await workers(world, 2);
    const kv = new Kv<number>(one.store);
    const enqueue = (id: string) => one.queue.op.enqueue({ id, payload: "", key: "k" });
    const refused = await one.store.commitAll([enqueue("a"), kv.op.check("k", 7), enqueue("b")]);
    assert.ok(!refused.ok);
    assert.deepEqual(await one.queue.get(["a", "b"]), [null, null]);
    const { counts } = await one.queue.stats();
    assert.equal(counts.ready + counts.blocked, 0);
    assert.ok((await one.store.commitAll([enqueue("a"), kv.op.check("k", 0), enqueue("b")])).ok);
    assert.deepEqual(await drain(two), ["a", "b"]);
  },
};

/** Does it, again and again if need be, until a hint of the kind is heard. */
async function hears<K extends string>(
  world: World,
  kind: K,
  heard: Readonly<Record<K, number>>,
  act: () => Promise<void>,
): Promise<void> {
  const before = heard[kind];
  for (let tries = 0; tries < 5; tries++) {
    await act();
    const isHeard = world.until(`the hint "${kind}"`, () => heard[kind] > before, 2_000);
    if (await isHeard.catch(() => false)) return;
  }
  assert.fail(`No hint "${kind}" came in five times`);
}

/** Reads all changes after the cursor in small pages, and gives the cursor reached. */
async function follow(queue: Queue, from: number, states: Map<string, JobState>): Promise<number> {
  let cursor = from;
  for (;;) {
    const page = await queue.changes(cursor, { limit: 3 });
    assert.equal(page.isResync, false);
    let last = cursor;
    for (const { id, state, revision } of page.changes) {
      assert.ok(revision > cursor && revision >= last, "in the order of their revisions");
      states.set(id, state);
      last = revision;
    }
    if (page.cursor === cursor) return cursor;
    assert.ok(page.cursor > cursor);
    cursor = page.cursor;
  }
}

/** A page ends with the group that fills it: whatever travelled in one commit, or none smaller. */
async function endsAtLimit({ queue, store, world }: Worker): Promise<void> {
  let { cursor } = await queue.changes(0);
  for (let page = await queue.changes(cursor); page.cursor > cursor;) {
    ({ cursor } = page);
    page = await queue.changes(cursor);
  }
  const add = (id: string) => queue.op.enqueue({ id, payload: "" }).op;
  // Sent at once, so that they travel in few commits.
  const names = Array.from({ length: 60 }, (_, i) => `page-${i}`);
  await Promise.all(names.map((id) => store.commit(world.namespace, [add(id)])));
  const group = Array.from({ length: 9 }, (_, i) => `group-${i}`);
  assert.ok((await store.commit(world.namespace, group.map(add))).ok);
  const seen: string[] = [];
  for (const name of names) {
    const page = await queue.changes(cursor, { limit: 1 });
    assert.equal(page.changes.length, 1, `one job a page, ${name}`);
    seen.push(...ids(page.changes));
    ({ cursor } = page);
  }
  assert.deepEqual(seen, names);
  const last = await queue.changes(cursor, { limit: 1 });
  assert.deepEqual(ids(last.changes), group, "the jobs of one group come together");
}

/** Jobs that were removed: the changes name none of them, not even those that led there. */
async function tellsNothingOfGone(worker: Worker): Promise<void> {
  const { queue } = worker;
  await queue.purge("ready");
  await queue.purge("blocked");
  await queue.purge("ready");
  const { seq } = await queue.add({ id: "purged", payload: "" });
  const told = async (): Promise<string[]> => {
    const gone: string[] = [];
    for (let cursor = 0; ;) {
      const page = await queue.changes(cursor);
      gone.push(...page.changes.filter((each) => each.seq >= seq).map((each) => each.id));
      if (page.cursor === cursor) return gone;
      ({ cursor } = page);
    }
  };
  assert.deepEqual(await told(), ["purged"]);
  assert.equal(await queue.purge("ready"), 1);
  assert.deepEqual(await told(), []);
  await queue.configure({ keepMs: 0 });
  await worker.add("done");
  await worker.settle(await worker.one("done"));
  assert.deepEqual(await told(), []);
  await queue.configure({ keepMs: 1 });
  await worker.add("kept");
  await worker.settle(await worker.one("kept"));
  await worker.world.pass(2);
  assert.deepEqual(await told(), []);
}

/** So many changes of a queue that the store keeps no longer what came before them. */
async function overflowChanges(world: World, worker: Worker): Promise<void> {
  const size = Math.min(world.capabilities.maxOpsPerGroup, 4_096);
  const dedupe = { key: "filler", ttlMs: 3_600_000, mode: "last" } as const;
  const { op } = worker.queue.op.enqueue({ payload: "", dedupe });
  const ops = Array.from({ length: size }, (): QueueEnqueue => op);
  const groups = Math.ceil((LIMITS.journalEntries + 3 * 8_192) / size);
  for (let i = 0; i < groups; i++) await worker.store.commit(world.namespace, ops);
}
