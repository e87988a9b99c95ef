import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred } from "../../core/signal.ts";
import type { Store } from "../../store/store.ts";
import { queue } from "./definition.ts";

const numbers = queue("numbers", { input: unchecked<number>(), keep: { ms: 60_000 } });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

/** Holds back the answer of the next read until the gate opens. */
function holdRead(store: Store): { readonly isHeld: () => boolean; open(): void } {
  const gate = deferred<void>();
  const read: Store["read"] = store.read.bind(store);
  let isHeld = false;
  store.read = async (reads, wait) => {
    const answer = await read(reads, wait);
    store.read = read;
    isHeld = true;
    await gate.promise;
    return answer;
  };
  return { isHeld: () => isHeld, open: () => gate.resolve() };
}

/** How many ids were looked up so far. */
function looks(store: Store): { ids: number; reads: number } {
  const seen = { ids: 0, reads: 0 };
  const read: Store["read"] = store.read.bind(store);
  store.read = (reads, wait) => {
    for (const each of reads) {
      if (each.read !== "queue.get") continue;
      seen.reads++;
      seen.ids += each.ids.length;
    }
    return read(reads, wait);
  };
  return seen;
}

describe("an awaited result", () => {
  test("comes from any process, also to those who ask later and by id", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(21);
    const elsewhere = (await world.process()).store.handle(numbers);
    await using _ = elsewhere.work((n) => n * 2);
    expect(await world.pass(added.result())).toBe(42);
    expect(await added.result()).toBe(42);
    expect(await elsewhere.result(added.id)).toBe(42);
  });
  test("ends with CLOSED when its store closes", async () => {
    const added = await process.store.handle(numbers).add(1);
    const result = expect(added.result()).rejects.toMatchObject({ code: "CLOSED" });
    await turns(2);
    await world.pass(process.store.close());
    await result;
  });
  test("a thousand waits share one look", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.addMany(Array.from({ length: 1_000 }, (_, n) => n));
    const seen = looks(process.store);
    const results = Promise.all(added.map((job) => job.result()));
    await turns(2);
    expect(seen).toEqual({ ids: 1_000, reads: 1 });
    await using _ = jobs.work((n) => n);
    expect(await results).toHaveLength(1_000);
  });
  test("when the hint is lost, it comes with the next look: 1.25 s at the latest", async () => {
    const deaf = await world.process();
    deaf.store.subscribe = () => () => {};
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const waiting = deaf.store.handle(numbers).result(added.id);
    await turns();
    await using _ = jobs.work((n) => n);
    await turns();
    let result: unknown;
    void waiting.then((value) => (result = value));
    await world.clock.advance(999);
    expect(result).toBeUndefined();
    await world.clock.advance(251);
    expect(result).toBe(1);
  });
  test("is rejected with NOT_FOUND for a job that was never there", async () => {
    const jobs = process.store.handle(numbers);
    await expect(jobs.result("nobody")).rejects.toMatchObject({
      code: "NOT_FOUND",
      details: { id: "nobody" },
    });
  });
  test("a look that began before the job was added tells nothing to those who wait since then", async () => {
    const jobs = process.store.handle(numbers);
    const look = holdRead(process.store);
    const early = expect(jobs.result("soon")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await until(look.isHeld);
    const late = (await jobs.add(1, { id: "soon" })).result();
    look.open();
    await early;
    await using _ = jobs.work((n) => n);
    expect(await world.pass(late)).toBe(1);
  });
  test("nor does one that began before a dead job was made ready again", async () => {
    const jobs = process.store.handle(
      queue("again", { input: unchecked<number>(), retry: { attempts: 1 } }),
    );
    let isBroken = true;
    await using worker = jobs.work((n) => {
      if (isBroken) throw new Error("broken");
      return n;
    });
    await jobs.add(1, { id: "again" });
    await until(() => worker.stats.dead === 1);
    const look = holdRead(process.store);
    const early = expect(jobs.result("again")).rejects.toMatchObject({ code: "FAILED" });
    await until(look.isHeld);
    isBroken = false;
    expect(await jobs.retry("again")).toBe(true);
    const late = jobs.result("again");
    look.open();
    await early;
    expect(await world.pass(late)).toBe(1);
  });
  test("is kept for `keep.ms` and gone after it", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    await using _ = jobs.work((n) => n);
    expect(await added.result()).toBe(1);
    await world.clock.advance(59_000);
    expect(await added.result()).toBe(1);
    await world.clock.advance(2_000);
    await expect(added.result()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
  test("is rejected with NOT_FOUND where nothing is kept", async () => {
    const jobs = process.store.handle(
      queue("gone", { input: unchecked<number>(), keep: { ms: 0 } }),
    );
    const added = await jobs.add(1);
    const waiting = expect(added.result()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await turns();
    await using _ = jobs.work((n) => n);
    await waiting;
  });
  test("waits no longer than timeoutMs, or than its signal; the job goes on", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const stop = new AbortController();
    const reason = new Error("enough");
    const timed = expect(added.result({ timeoutMs: 500 })).rejects.toMatchObject({
      code: "TIMEOUT",
    });
    const aborted = expect(added.result({ signal: stop.signal })).rejects.toBe(reason);
    await turns();
    stop.abort(reason);
    await aborted;
    await world.clock.advance(500);
    await timed;
    await expect(added.result({ signal: stop.signal })).rejects.toBe(reason);
    await expect(added.result({ timeoutMs: -1 })).rejects.toThrow(RangeError);
    await using _ = jobs.work((n) => n);
    expect(await added.result()).toBe(1);
    // Nobody waits: nothing is left behind.
    const pending = world.clock.pending;
    await added.result();
    expect(world.clock.pending).toBe(pending);
  });
  test("survives a store that is down for a while", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const elsewhere = (await world.process()).store.handle(numbers);
    process.isDown = true;
    const waiting = added.result();
    await turns();
    await using _ = elsewhere.work((n) => n);
    await world.clock.advance(20_000);
    process.isDown = false;
    await world.clock.advance(10_000);
    expect(await waiting).toBe(1);
  });
  test("is rejected with CLOSED when the store closes", async () => {
    const jobs = process.store.handle(numbers);
    const added = await jobs.add(1);
    const waiting = expect(added.result()).rejects.toMatchObject({ code: "CLOSED" });
    await turns();
    await process.store.close();
    await world.clock.advance(1_500);
    await waiting;
    await expect(added.result()).rejects.toMatchObject({ code: "CLOSED" });
  });
  test("a handler may await another job of the same queue", async () => {
    const jobs = process.store.handle(numbers);
    const gate = deferred<void>();
    await using worker = jobs.work(
      async (n) => {
        if (n > 0) return n + Number(await (await jobs.add(n - 1)).result());
        await gate.promise;
        return 0;
      },
      { concurrency: 5 },
    );
    const added = await jobs.add(3);
    await until(() => worker.stats.running === 4);
    gate.resolve();
    expect(await added.result()).toBe(6);
  });
});
