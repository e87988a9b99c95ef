/** Runs: events, suspension, and what is kept. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import type { ExportRecord } from "../store/driver.ts";
import { RUN_QUEUE } from "../store/ops.ts";
import { assertSame } from "./data.ts";
import { commitMany, isRefused, refuses, type Cases } from "./kit.ts";
import { entry, Holder, holders } from "./runs-kit.ts";

const event = (name: string, data: string = "") => ({ event: name, data });

export const runsWaitingCases: Cases = {
  "An event is kept until its run is gone, in the order of sending, whether the run waits, is held, or has not begun.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a", { delayMs: 1_000 });
      const bytes = Uint8Array.of(0, 255);
      assert.deepEqual(await two.runs.send("a", { event: "delayed", data: bytes }), {
        no: 1,
        status: "sent",
      });
      await world.pass(1_000);
      await two.runs.send("a", event("ready"));
      const run = await one.one("a");
      await two.runs.send("a", event("held", "x"));
      const { nowMs } = await one.record(run, 0, "seen up to 3");
      await one.suspend(run, nowMs + 60_000, 3);
      await two.runs.send("a", event("suspended"));
      await one.complete(await one.one("a"));
      const { events } = await two.journal("a");
      assert.deepEqual(
        events.map(({ no, event: name }) => [no, name]),
        ["delayed", "ready", "held", "suspended"].map((name, i) => [i + 1, name]),
      );
      assertSame(events[0]?.data, bytes);
      assert.deepEqual([events[2]?.data, events[2]?.id], ["x", null]);
      const rest = await two.runs.journal((await two.view("a")).seq, { afterEvent: 3 });
      assert.deepEqual(
        rest?.events.map(({ no }) => no),
        [4],
      );
    },

  "Sending an event again under its id changes nothing, and another event under the id is refused with `ALREADY_EXISTS`.":
    async (world) => {
      const [one] = await holders(world);
      for (const id of ["a", "b"]) await one.start(id);
      const send = (run: string, id: string, name: string, data: string) =>
        one.runs.send(run, { event: name, data, id });
      assert.deepEqual(await send("a", "1", "e", "x"), { no: 1, status: "sent" });
      assert.deepEqual(await send("a", "2", "e", "x"), { no: 2, status: "sent" });
      assert.deepEqual(await send("a", "1", "e", "x"), { no: 1, status: "exists" });
      await refuses(send("a", "1", "e", "y"), "ALREADY_EXISTS");
      await refuses(send("a", "1", "f", "x"), "ALREADY_EXISTS");
      assert.deepEqual(await send("b", "1", "f", "y"), { no: 1, status: "sent" }, "another run's");
      // Concurrent sendings of one id count once.
      const all = await Promise.all(Array.from({ length: 20 }, () => send("a", "3", "e", "z")));
      assert.equal(all.filter(({ status }) => status === "sent").length, 1);
      assert.ok(all.every(({ no }) => no === 3));
      const same = one.runs.op.send("b", { event: "g", data: "", id: "4" });
      const group = await one.store.commitAll([same, same]);
      assert.ok(group.ok);
      assert.deepEqual(
        group.results.map(({ status }) => status),
        ["sent", "exists"],
      );
      assert.equal((await one.events("a")).length, 3);
    },

  "An event to a run that is missing is refused with `NOT_FOUND`, and to one that has ended with `CONFLICT`; where the sender says so it is passed over, and refuses nothing.":
    async (world) => {
      const [one] = await holders(world);
      await refuses(one.runs.send("nobody", event("e")), "NOT_FOUND");
      for (const id of ["done", "stopped", "ending"]) await one.start(id);
      const [done, stopped, ending] = await one.claim(3);
      assert.ok(done !== undefined && stopped !== undefined && ending !== undefined);
      await one.complete(done);
      await one.runs.queue.settle(one.session, stopped, { outcome: "cancelled" });
      for (const id of ["done", "stopped"]) {
        await refuses(one.runs.send(id, event("e")), "CONFLICT");
      }
      for (const id of ["nobody", "done", "stopped"]) {
        const passed = await one.runs.send(id, { ...event("e"), isLenient: true });
        assert.deepEqual(passed, { no: 0, status: "passed-over" });
      }
      const { queue, op } = one.runs;
      const completed = queue.op.settle(one.session, ending, { outcome: "completed" });
      isRefused(await one.store.commitAll([completed, op.send("ending", event("e"))]), "CONFLICT");
      assert.equal((await one.view("ending")).state, "leased");
      assert.deepEqual(await one.events("done"), []);
    },

  "The start of a run and events to it may be one group.": async (world) => {
    const [one] = await holders(world);
    const { op } = one.runs;
    const start = op.start({ id: "a", payload: "a" });
    const send = op.send("a", { ...event("e"), id: "1" });
    isRefused(await one.store.commitAll([send, start]), "NOT_FOUND", 0);
    for (let i = 0; i < 2; i++) assert.ok((await one.store.commitAll([start, send])).ok);
    assert.equal((await one.one("a")).run?.lastEvent, 1);
  },

  "The holder of a run is told by a hint that an event came.": async (world) => {
    const [one, two] = await holders(world);
    await one.start("a");
    await one.one("a");
    let hints = 0;
    const stop = one.runs.onEvent(() => hints++);
    await two.runs.send("a", event("e"));
    await world.until("the hint comes", () => hints > 0);
    stop();
  },

  "A run takes 10,000 events, and more are refused with `LIMITED`.": async (world) => {
    const [one] = await holders(world);
    await one.start("a");
    const { op } = one.runs.op.send("a", event("e"));
    const ops = Array.from({ length: LIMITS.runEvents - 1 }, () => op);
    await commitMany(world, one.store, ops);
    isRefused(await one.store.commit(world.namespace, [op, op]), "LIMITED", 1);
    await one.runs.send("a", { ...event("last"), id: "1" });
    await refuses(one.runs.send("a", event("e")), "LIMITED");
    assert.equal((await one.runs.send("a", { ...event("last"), id: "1" })).status, "exists");
    assert.equal((await one.one("a")).run?.lastEvent, LIMITS.runEvents);
  },

  "A suspended run is never claimed before its instant by the store's clock, and may be from then on.":
    async (world) => {
      const [one] = await holders(world);
      await one.start("a");
      const waitMs = world.span(300);
      const run = await one.one("a");
      const { nowMs } = await one.record(run, 0, "1");
      await one.suspend(run, nowMs + waitMs);
      const view = await one.view("a");
      assert.deepEqual([view.state, view.dueMs], ["scheduled", nowMs + waitMs]);
      await one.none();
      const claimed = await world.until("it is due", async () => (await one.claim())[0]);
      assert.ok((claimed.run?.nowMs ?? 0) >= nowMs + waitMs);
      // An instant that has passed is now.
      await one.suspend(claimed, 1);
      await one.one("a");
    },

  "An event wakes a suspended run at once, and leaves every other run where it is.": async (
    world,
  ) => {
    const [one, two] = await holders(world);
    for (const id of ["suspended", "retried", "other"]) await one.start(id);
    const [suspended, retried, other] = await one.claim(3);
    assert.ok(suspended !== undefined && retried !== undefined && other !== undefined);
    const untilMs = (await world.now()) + 600_000;
    await one.suspend(suspended, untilMs);
    await one.suspend(other, untilMs);
    const later = { outcome: "retry", delayMs: 600_000 } as const;
    await one.runs.queue.settle(one.session, retried, later);
    await one.start("delayed", { delayMs: 600_000 });
    for (const id of ["retried", "delayed"]) await two.runs.send(id, event("e"));
    await two.none();
    let hints = 0;
    const stop = one.runs.queue.onReady(() => hints++);
    await two.runs.send("suspended", event("e"));
    assert.equal((await one.view("suspended")).state, "ready");
    await world.until("the workers are told", () => hints > 0);
    stop();
    const woken = await two.one("suspended");
    assert.equal(woken.run?.lastEvent, 1);
    await two.none();
    // Woken once, it sleeps again as it is told to.
    await two.suspend(woken, untilMs, 1);
    await two.none();
    const { scheduled } = (await one.runs.queue.stats()).counts;
    assert.equal(scheduled, 4);
  },

  "An event that the holder did not know ends the suspension as it begins, so that none is slept through.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const run = await one.one("a");
      const untilMs = (await world.now()) + 600_000;
      await two.runs.send("a", event("e"));
      assert.equal(await one.suspend(run, untilMs, 0), "ready");
      const again = await one.one("a");
      assert.equal(again.run?.lastEvent, 1);
      assert.equal(await one.suspend(again, untilMs, 1), "scheduled");
      await one.none();
    },

  "A run that is suspended without an instant waits for an event, however long.": async (world) => {
    const [one] = await holders(world);
    await one.start("a");
    assert.equal(await one.suspend(await one.one("a")), "scheduled");
    assert.equal((await one.view("a")).dueMs, null);
    await world.pass(world.isManual ? 3_600_000 : 1_000);
    const two = await Holder.start(world);
    await two.none();
    await two.runs.send("a", event("e"));
    await two.one("a");
  },

  "Suspending starts the counts of attempts and deliveries again, and keeps the place of the run's key.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.runs.queue.configure({ maxDeliveries: 3 });
      await one.start("a", { key: "k" });
      await one.start("b", { key: "k" });
      for (let round = 0; round < 4; round++) {
        await one.runs.queue.settle(one.session, await one.one("a"), { outcome: "retry" });
        const run = await one.one("a");
        assert.deepEqual([run.attempt, run.delivery], [2, 2]);
        await one.suspend(run, null, round);
        await two.none();
        await two.runs.send("a", event("e"));
      }
      const run = await one.one("a");
      assert.equal(run.attempt, 1);
      await one.complete(run);
      await one.one("b");
    },

  "What the holder of a run noted last can be read while the run is suspended.": async (world) => {
    const [one, two] = await holders(world);
    await one.start("a");
    const run = await one.one("a");
    await one.runs.queue.progress(one.session, run, "half");
    await one.suspend(run);
    assert.equal((await two.view("a")).progress, "half");
    await two.runs.send("a", { event: "e", data: "" });
    const again = await two.one("a");
    assert.equal((await two.view("a")).progress, "half");
    await two.runs.queue.progress(two.session, again, "more");
    await two.suspend(again, null, 1);
    assert.equal((await one.view("a")).progress, "more");
  },

  "A suspension under a token that is not the newest is refused with `FENCED` and changes nothing.":
    async (world) => {
      const [one, two] = await holders(world);
      await one.start("a");
      const stale = await one.one("a");
      await one.runs.queue.settle(one.session, stale, { outcome: "released" });
      await refuses(one.suspend(stale), "FENCED");
      const run = await two.one("a");
      await refuses(one.suspend(stale), "FENCED");
      await two.lose();
      await refuses(two.suspend(run), "LEASE_LOST");
      await one.one("a");
    },

  "The journal and the events of a run are gone with it: when it is not kept, kept no longer, or purged.":
    async (world) => {
      const [one, two] = await holders(world);
      const all = ["purged", "over", "at once"];
      const seqs: number[] = [];
      const fill = async (id: string) => {
        await one.start(id);
        const run = await one.one(id);
        await one.record(run, 0, "1", "2");
        await two.runs.send(id, event("e"));
        seqs.push(run.seq);
        return run;
      };
      await one.complete(await fill("purged"));
      await one.runs.queue.purge("completed");
      await one.runs.queue.configure({ keepMs: 1 });
      await one.complete(await fill("over"));
      await world.pass(2);
      await one.runs.queue.configure({ keepMs: 0 });
      await one.complete(await fill("at once"));
      // What is over is removed by a later commit.
      await one.start("another");
      for (const seq of seqs) assert.equal(await two.runs.journal(seq), null);
      const { driver } = await world.aside();
      let left: ExportRecord[] = [];
      await world.until("nothing is left of them", async () => {
        left = (await dumpRuns(driver, world.namespace)).filter(({ seq }) => seqs.includes(seq));
        return left.length === 0;
      });
      // The ids are free, and what they name now has nothing of what was there.
      await one.runs.queue.configure({});
      for (const id of all) {
        await one.start(id);
        const page = await one.journal(id);
        assert.deepEqual([page?.records, page?.events, page?.hasMore], [[], [], false]);
      }
    },

  "A dead run keeps its journal and takes events, and has both when it is redriven.": async (
    world,
  ) => {
    const [one, two] = await holders(world);
    await one.start("a");
    const run = await one.one("a");
    await one.record(run, 0, "1");
    await one.runs.queue.settle(one.session, run, { outcome: "dead", error: "look at it" });
    await two.runs.send("a", event("e"));
    await one.none();
    assert.equal(await one.runs.queue.redrive({ ids: ["a"] }), 1);
    const again = await two.one("a");
    assert.deepEqual([again.run?.lastRecord, again.run?.lastEvent], [1, 1]);
    await two.record(again, 1, "2");
    assert.deepEqual([await two.keys("a"), await two.events("a")], [["1", "2"], ["e"]]);
  },

  "After a restart, and after a move to another store, a run has its journal, its events and its waiting.":
    async (world) => {
      const one = await Holder.start(world);
      for (const id of ["a", "b", "c"]) await one.start(id);
      const [a, b, c] = await one.claim(3);
      assert.ok(a !== undefined && b !== undefined && c !== undefined);
      for (const run of [a, b, c]) await one.record(run, 0, "1", "2", "3");
      await one.runs.record(one.session, c, 3, [{ ...entry("4"), delayMs: 400_000 }]);
      for (const id of ["a", "b"]) await one.runs.send(id, { ...event("e", id), id: "1" });
      await one.suspend(a, null, 1);
      await one.suspend(b, (await world.now()) + 400_000, 1);
      await one.complete(c);
      await one.session.close();
      await world.restart();
      await check(await Holder.start(world));
      const to = await world.other();
      const source = (await world.aside()).driver;
      const target = (await to.aside()).driver;
      await source.seal(world.namespace, { isSealed: true, movedTo: null });
      let cursor: string | null = null;
      do {
        // Each page twice, and smaller than a journal.
        const page = await source.export(world.namespace, cursor, 2);
        for (let i = 0; i < 2; i++) await target.import(to.namespace, page.records);
        ({ cursor } = page);
      } while (cursor !== null);
      await target.seal(to.namespace, { isSealed: false, movedTo: null });
      const there = await Holder.start(to);
      await check(there);
      assert.equal((await there.runs.send("a", { ...event("e", "a"), id: "1" })).status, "exists");
      await there.runs.send("a", event("wake"));
      assert.equal((await there.one("a")).run?.lastEvent, 2);
    },
};

async function check(one: Holder): Promise<void> {
  await one.none();
  for (const id of ["a", "b"]) {
    assert.deepEqual([await one.keys(id), await one.events(id)], [["1", "2", "3"], ["e"]]);
    assert.equal((await one.view(id)).state, "scheduled");
  }
  assert.equal((await one.view("a")).dueMs, null);
  assert.ok(((await one.view("b")).dueMs ?? 0) > 0);
  const { records } = await one.journal("c");
  assert.equal((records[3]?.dueMs ?? 0) - (records[3]?.atMs ?? 0), 400_000);
}

type OfRun = Extract<ExportRecord, { record: "run-record" | "run-event" }>;

/** All records and events of runs in the partition. */
async function dumpRuns(
  driver: Awaited<ReturnType<Holder["world"]["driver"]>>,
  partition: string,
): Promise<OfRun[]> {
  const found: OfRun[] = [];
  let cursor: string | null = null;
  do {
    const page = await driver.export(partition, cursor, 100);
    for (const each of page.records) {
      if (each.record === "run-record" || each.record === "run-event") found.push(each);
    }
    ({ cursor } = page);
  } while (cursor !== null);
  assert.ok(found.every(({ queue }) => queue.startsWith(RUN_QUEUE)));
  return found;
}
