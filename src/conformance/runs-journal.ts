/** Runs: starting them, and their journal. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { RunState } from "../store/ops.ts";
import { UNSTORABLE_TEXT } from "./data.ts";
import { isRefused, refuses, rejectsArgument, whole, type Cases } from "./kit.ts";
import { entry, Holder, holders } from "./runs-kit.ts";

export const runsJournalCases: Cases = {
  "A run is claimed as a job is, and settled as a job is; what refuses a job's add, claim or settle refuses a run's.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.runs.queue.configure({ maxWaiting: 2, keepMs: 3_600_000 });
      await one.start("a");
      await one.start("b", { delayMs: 60_000 });
      await refuses(one.runs.start({ id: "c", payload: "c" }), "OVERLOADED");
      const run = await two.one("a");
      assert.deepEqual([run.payload, run.attempt, run.delivery], ["a", 1, 1]);
      await one.none();
      const { queue } = two.runs;
      await queue.settle(two.session, run, { outcome: "completed", result: "done" });
      await refuses(queue.settle(two.session, run, { outcome: "completed" }), "FENCED");
      assert.deepEqual(
        [(await one.view("a")).state, (await one.view("a")).result],
        ["completed", "done"],
      );
      // Of another name, and of a queue that holds jobs: they know nothing of each other.
      await (await Holder.start(world, "other")).none();
      const jobs = new Queue(one.store, "order");
      await jobs.add({ id: "a", payload: "a job" });
      assert.equal((await jobs.claim(one.session, 5)).jobs[0]?.run, undefined);
    },

  "Starting a run again under its id with the same input changes nothing, and with another it is refused with `ALREADY_EXISTS`.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const run = await two.one("a");
      await two.record(run, 0, "x");
      assert.equal((await one.runs.start({ id: "a", payload: "a" })).status, "exists");
      await refuses(one.runs.start({ id: "a", payload: "b" }), "ALREADY_EXISTS");
      await two.complete(run);
      assert.equal((await one.runs.start({ id: "a", payload: "a" })).status, "exists");
      assert.deepEqual(await one.keys("a"), ["x"]);
    },

  "Records come back in the order of their appending, text and bytes byte for byte, page by page, each with the store's instant of its writing and that at which it is due.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      await one.start("b");
      const [a, b] = await one.claim();
      assert.ok(a !== undefined && b !== undefined);
      const beforeMs = await world.now();
      const bytes = Uint8Array.of(0, 255, 128);
      const text = "tab\t, ü, \u{1F600}, \u2028";
      const state = await one.runs.record(one.session, a, 0, [
        { key: "bytes", data: bytes, delayMs: null },
        { key: "text", data: text, delayMs: 5_000 },
      ]);
      assert.deepEqual([state.lastRecord, state.lastEvent], [2, 0]);
      const many = Array.from({ length: LIMITS.recordsPerOp }, (_, i) => entry(`k${i}`));
      await one.runs.record(one.session, a, 2, many);
      await one.record(b, 0, "of b");
      const page = await two.journal("a");
      const [first, second] = page.records;
      assert.ok(first !== undefined && second !== undefined);
      assert.deepEqual([...(first.data as Uint8Array)], [...bytes]);
      assert.equal(second.data, text);
      assert.ok(first.atMs >= beforeMs && first.atMs <= state.nowMs);
      assert.deepEqual([first.dueMs, second.dueMs], [null, second.atMs + 5_000]);
      assert.equal(page.hasMore, true);
      const rest = await two.runs.journal(a.seq, { afterRecord: page.records.at(-1)?.no });
      const all = [...page.records, ...(rest?.records ?? [])];
      assert.equal(rest?.hasMore, false);
      assert.deepEqual(
        all.map(({ no, key }) => [no, key]),
        ["bytes", "text", ...many.map(({ key }) => key)].map((key, i) => [i + 1, key]),
      );
      assert.deepEqual(await two.keys("b"), ["of b"]);
      assert.equal(await two.runs.journal(a.seq + 1_000), null);
    },

  "Only the holder appends: under a token that is not the newest it is refused with `FENCED`, by a session that is over with `LEASE_LOST`, and nothing is written.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const stale = await one.one("a");
      await one.runs.queue.settle(one.session, stale, { outcome: "released" });
      await refuses(one.record(stale, 0, "x"), "FENCED");
      const held = await one.one("a");
      await refuses(one.record(stale, 0, "x"), "FENCED");
      await refuses(two.record(held, 0, "x"), "FENCED");
      await one.record(held, 0, "kept");
      await one.lose();
      await refuses(one.record(held, 1, "x"), "LEASE_LOST");
      const next = await two.one("a");
      await refuses(one.record(held, 1, "x"), "LEASE_LOST");
      await two.record(next, 1, "next");
      assert.deepEqual(await two.keys("a"), ["kept", "next"]);
      await two.complete(next);
      await refuses(two.record(next, 2, "x"), "FENCED");
      const other = await Holder.start(world, "other");
      await other.start("a");
      const others = await other.one("a");
      await refuses(two.runs.record(other.session, others, 0, [entry("x")]), "FENCED");
    },

  "Records follow the last one that their writer knows, or they are refused with `CONFLICT`, all of them.":
    async (world) => {
      const [one] = await holders(world);
      await one.start("a");
      const run = await one.one("a");
      await refuses(one.record(run, 1, "x"), "CONFLICT");
      await one.record(run, 0, "1", "2");
      for (const after of [0, 1, 3]) await refuses(one.record(run, after, "x", "y"), "CONFLICT");
      // Partly a repeat is none.
      await refuses(one.record(run, 1, "2", "3"), "CONFLICT");
      const { op } = one.runs;
      const group = await one.store.commitAll([
        op.record(one.session, run, 2, [entry("3")]),
        op.record(one.session, run, 2, [entry("4")]),
      ]);
      isRefused(group, "CONFLICT", 1);
      assert.deepEqual(await one.keys("a"), ["1", "2"]);
      const whole = await one.store.commitAll([
        op.record(one.session, run, 2, [entry("3")]),
        op.record(one.session, run, 3, [entry("4")]),
      ]);
      assert.ok(whole.ok);
      assert.deepEqual(await one.keys("a"), ["1", "2", "3", "4"]);
    },

  "The same records again after the same one change nothing, so that an append without an answer took effect once or never.":
    async (world) => {
      const [one] = await holders(world);
      await one.start("a");
      const run = await one.one("a");
      const first = await one.record(run, 0, "1", "2");
      const again = await one.record(run, 0, "1", "2");
      assert.deepEqual([first.lastRecord, again.lastRecord], [2, 2]);
      assert.equal((await one.record(run, 0, "1")).lastRecord, 2);
      const other = { ...entry("2"), data: "other" };
      await refuses(one.runs.record(one.session, run, 1, [other]), "CONFLICT");
      assert.deepEqual(await one.keys("a"), ["1", "2"]);
    },

  "Records, other ops and the settling that are one group hold together or not at all.": whole(
    async (world) => {
      const [one, two] = await holders(world);
      const kv = new Kv<number>(one.store);
      await kv.put("stock", 1);
      await one.start("a");
      const run = await one.one("a");
      const take = kv.op.add("stock", -1, { min: 0 });
      await one.runs.record(one.session, run, 0, [entry("took")], { also: [take] });
      await refuses(
        one.runs.record(one.session, run, 1, [entry("again")], { also: [take] }),
        "LIMITED",
      );
      assert.deepEqual([await one.keys("a"), (await kv.get("stock"))?.value], [["took"], 0]);
      const { queue, op } = one.runs;
      const settled = op.record(one.session, run, 1, [entry("done")]);
      const send = op.send("nobody", { event: "e", data: "" });
      await refuses(
        queue.settle(one.session, run, { outcome: "completed" }, { also: [send] }),
        "NOT_FOUND",
      );
      // The lease ends with the settling: what follows it in the group is the holder's no more.
      const after = await one.store.commitAll([
        queue.op.settle(one.session, run, { outcome: "completed" }),
        settled,
      ]);
      isRefused(after, "FENCED", 1);
      assert.equal((await two.view("a")).state, "leased");
      const all = [settled, queue.op.settle(one.session, run, { outcome: "completed" })] as const;
      assert.ok((await one.store.commitAll(all)).ok);
      assert.deepEqual(await two.keys("a"), ["took", "done"]);
    },
  ),

  "Records that leave with other ops are refused with `CONFLICT` when they come again, so that the ops are done once.":
    async (world) => {
      const [one] = await holders(world);
      const kv = new Kv<number>(one.store);
      await one.start("a");
      const run = await one.one("a");
      const also = [kv.op.add("count", 1)];
      const once = (): Promise<RunState> =>
        one.runs.record(one.session, run, 0, [entry("1")], { also });
      assert.equal((await once()).lastRecord, 1);
      await refuses(once(), "CONFLICT");
      assert.deepEqual([await one.keys("a"), (await kv.get("count"))?.value], [["1"], 1]);
    },

  "A claim says where the run's journal and its events end, and what time it is by the store's clock.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const beforeMs = await world.now();
      const run = await one.one("a");
      assert.deepEqual([run.run?.lastRecord, run.run?.lastEvent], [0, 0]);
      assert.ok((run.run?.nowMs ?? 0) >= beforeMs);
      await one.record(run, 0, "1", "2", "3");
      await two.runs.send("a", { event: "e", data: "" });
      await one.runs.queue.settle(one.session, run, { outcome: "released" });
      const again = await two.one("a");
      assert.deepEqual([again.run?.lastRecord, again.run?.lastEvent], [3, 1]);
    },

  "A lost run comes to its next holder with every record that was acknowledged.": async (world) => {
    const [one] = await holders(world);
    await one.start("a");
    const run = await one.one("a");
    const keys: string[] = [];
    for (let i = 0; i < 5; i++) {
      keys.push(`${i}`);
      await one.record(run, i, `${i}`);
    }
    await world.crash();
    const two = await Holder.start(world);
    await loseAll(world, two);
    assert.equal((await two.one("a")).delivery, 2);
    assert.deepEqual(await two.keys("a"), keys);
  },

  "Records that say that the run got further start its counts of attempts and deliveries again, and others do not.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      await one.runs.queue.settle(one.session, await one.one("a"), { outcome: "retry" });
      await one.one("a");
      await one.lose();
      const third = await two.one("a");
      assert.deepEqual([third.attempt, third.delivery], [2, 3]);
      await two.record(third, 0, "plain");
      await two.runs.queue.settle(two.session, third, { outcome: "released" });
      const fourth = await two.one("a");
      assert.deepEqual([fourth.attempt, fourth.delivery], [2, 3]);
      await two.runs.record(two.session, fourth, 1, [entry("further")], { isProgress: true });
      await two.runs.queue.settle(two.session, fourth, { outcome: "released" });
      const fifth = await two.one("a");
      assert.deepEqual([fifth.attempt, fifth.delivery], [1, 1]);
    },

  "A run that begins anew stays held, with its id, another payload, an empty journal and those of its events that were named; if its journal ends elsewhere, or in another record, it is refused with `CONFLICT`, and nothing is written.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const run = await one.one("a");
      for (const name of ["x", "y", "z"]) {
        await two.runs.send("a", { event: name, data: name, id: `id of ${name}` });
      }
      await one.record(run, 0, "1", "2");
      const renewal = { after: 2, lastKey: "2", payload: "second", events: [1, 3] };
      await refuses(one.runs.restart(one.session, run, { ...renewal, after: 1 }), "CONFLICT");
      const other = { ...renewal, lastKey: "1" };
      await refuses(one.runs.restart(one.session, run, other), "CONFLICT");
      assert.deepEqual(await one.keys("a"), ["1", "2"]);
      const state = await one.runs.restart(one.session, run, renewal);
      assert.deepEqual([state.lastRecord, state.lastEvent], [0, 2]);
      await refuses(one.runs.restart(one.session, run, renewal), "CONFLICT");
      const journal = await one.runs.journal(run.seq);
      const events = journal?.events.map(({ no, event, data, id }) => [no, event, data, id]);
      assert.deepEqual(journal?.records, []);
      assert.deepEqual(events, [
        [1, "x", "x", "id of x"],
        [2, "z", "z", "id of z"],
      ]);
      await one.record(run, 0, "new");
      await two.runs.send("a", { event: "after", data: "" });
      await one.runs.queue.settle(one.session, run, { outcome: "released" });
      const again = await two.one("a");
      assert.deepEqual(
        [again.payload, again.run?.lastRecord, again.run?.lastEvent],
        ["second", 1, 3],
      );
      await refuses(
        one.runs.restart(one.session, run, { ...renewal, after: 1, lastKey: "new" }),
        "FENCED",
      );
      assert.equal((await two.runs.start({ payload: "a", id: "a" })).status, "exists");
    },

  "A record above its size limit is refused with `TOO_LARGE`, text that has a lone surrogate or NUL with `INVALID_DATA`, a wrong name, number or time with a `TypeError` or `RangeError`, before anything is written.":
    async (world) => {
      const [one] = await holders(world);
      await one.start("a");
      const run = await one.one("a");
      const record = (more: object) =>
        one.runs.record(one.session, run, 0, [{ ...entry("k"), ...more }]);
      await refuses(record({ data: "x".repeat(LIMITS.recordBytes + 1) }), "TOO_LARGE");
      for (const data of UNSTORABLE_TEXT) await refuses(record({ data }), "INVALID_DATA");
      for (const key of ["", "x".repeat(LIMITS.recordKeyChars + 1), 1]) {
        await rejectsArgument(() => record({ key }));
      }
      for (const delayMs of [-1, 0.5, "1"]) await rejectsArgument(() => record({ delayMs }));
      await rejectsArgument(() => record({ data: 1 }));
      await rejectsArgument(() => one.runs.record(one.session, run, 0, []));
      await rejectsArgument(() => one.record(run, -1, "k"));
      await rejectsArgument(() => one.runs.send("a", { event: "", data: "" }));
      await rejectsArgument(() => one.suspend(run, 0.5));
      await refuses(
        one.runs.send("a", { event: "e", data: "x".repeat(LIMITS.recordBytes + 1) }),
        "TOO_LARGE",
      );
      const page = await one.journal("a");
      assert.deepEqual([page?.records, page?.events, page?.hasMore], [[], [], false]);
    },
};

/** Ends all other sessions of the partition, as time would. */
async function loseAll(world: Parameters<typeof Holder.start>[0], own: Holder): Promise<void> {
  const { store } = own;
  const [views] = await store.read([{ read: "session.list", partition: world.namespace }]);
  for (const { session } of views) {
    if (session === own.session.id) continue;
    await store.commit(world.namespace, [{ op: "session.renew", session, ttlMs: 1 }]);
  }
  await world.pass(2);
}
