/** Watches of the kv port. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { Kv, type KvChangeOf, type KvChangesOf, type WatchOptions } from "../ports/kv/index.ts";
import type { KvPut } from "../store/ops.ts";
import { commitMany, draw, pick, rejectsArgument, type Cases, type World } from "./kit.ts";
import { loseSession } from "./sessions.ts";

/** Reads a watch in the background, as a program would. */
class Watcher {
  readonly batches: KvChangesOf<number>[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #error: unknown;

  constructor(kv: Kv<number>, prefix: string, options: WatchOptions = {}) {
    this.#done = this.#run(kv.watch(prefix, { ...options, signal: this.#abort.signal }));
  }
  async #run(watch: AsyncIterable<KvChangesOf<number>>): Promise<void> {
    try {
      for await (const batch of watch) this.batches.push(batch);
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#error = error;
    }
  }
  get changes(): readonly KvChangeOf<number>[] {
    return this.batches.flatMap((batch) => batch.changes);
  }
  get cursor(): number {
    return (this.batches.at(-1) as KvChangesOf<number>).cursor;
  }
  /** The last state of each key as the changes tell it; null: gone. */
  get state(): ReadonlyMap<string, number | null> {
    const state = new Map<string, number | null>();
    for (const change of this.changes) {
      state.set(change.key, change.type === "put" ? change.value : null);
    }
    return state;
  }
  /** Waits for the first batch: from then on nothing may be missed. */
  async started(world: World): Promise<this> {
    await world.until("the first batch", () => this.#fails() || this.batches.length > 0, 2_000);
    return this;
  }
  async sees(world: World, what: string, ask: () => boolean, withinMs?: number): Promise<void> {
    await world.until(what, () => this.#fails() || ask(), withinMs);
  }
  #fails(): false {
    if (this.#error !== undefined) throw this.#error;
    return false;
  }
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }
}

/** A watch in a process of its own, or in that of the view. */
async function watching(
  world: World,
  prefix: string,
  options: WatchOptions = {},
  view?: Kv<number>,
): Promise<Watcher> {
  const kv = view ?? new Kv<number>(await world.store());
  return new Watcher(kv, prefix, options).started(world);
}

/** Each key's revisions grow, and no put comes twice. */
function assertOrdered(changes: readonly KvChangeOf<number>[]): void {
  const last = new Map<string, number>();
  for (const { key, revision } of changes) {
    const before = last.get(key) ?? 0;
    assert.ok(revision > before, `${key}: revision ${revision} after ${before}`);
    last.set(key, revision);
  }
}

/** So many changes that the store keeps no longer what came before them. */
async function overflowJournal(world: World, kv: Kv<number>): Promise<void> {
  const ops = Array.from({ length: LIMITS.opsPerGroup }, (_, i): KvPut => {
    return { op: "kv.put", key: `filler/${i}`, value: "0" };
  });
  const rounds = Math.ceil((LIMITS.journalEntries + 3 * 8_192) / ops.length);
  for (let i = 0; i < rounds; i++) await commitMany(world, kv.store, ops);
}

export const kvWatchCases: Cases = {
  "The first batch of a watch comes at once, possibly empty, and names the cursor that it starts from.":
    async (world) => {
      const kv = new Kv<number>(await world.store());
      await kv.put("k", 1);
      const watcher = await watching(world, "");
      assert.deepEqual(watcher.batches[0]?.changes, [], "from now on");
      const { revision } = await kv.put("k", 2);
      await watcher.sees(world, "the put", () => watcher.changes.length > 0);
      assert.deepEqual(watcher.changes[0], { type: "put", key: "k", value: 2, revision });
      assert.ok(watcher.cursor >= revision);
      await watcher.stop();
    },

  "A watch gives each key's changes in their order, intermediate ones possibly merged, and always its last state.":
    async (world) => {
      const views = [new Kv<number>(await world.store()), new Kv<number>(await world.store())];
      const [kv] = views as [Kv<number>];
      const watcher = await watching(world, "k");
      for (let i = 1; i <= 300; i++) {
        const view = pick(world.random, views);
        const key = `k${draw(world.random, 9)}`;
        if (draw(world.random, 4) === 0) await view.delete(key);
        else await view.put(key, i);
      }
      const { revision } = await kv.put("kept", -1);
      await watcher.sees(world, "the last change", () => watcher.cursor >= revision);
      assertOrdered(watcher.changes);
      const list = await kv.list("k");
      const live = new Map(list.entries.map(({ key, value }) => [key, value]));
      for (const [key, value] of watcher.state) assert.equal(value, live.get(key) ?? null, key);
      for (const [key, value] of live) assert.equal(watcher.state.get(key), value, key);
      await watcher.stop();
    },

  "A watch sees the keys of its prefix and no others.": async (world) => {
    const kv = new Kv<number>(await world.store());
    const watcher = await watching(world, "a/");
    const other = kv.partition("other");
    await kv.put("a", 1);
    await kv.put("a0", 1);
    await kv.put("A/1", 1);
    await other.put("a/1", 1);
    await kv.put("a/2", 2);
    await kv.put("a/\u{10FFFF}", 3);
    await watcher.sees(world, "the last change", () => watcher.changes.length >= 2);
    assert.deepEqual([...watcher.state.keys()], ["a/2", "a/\u{10FFFF}"]);
    await watcher.stop();
  },

  "A watch from a list's revision misses nothing that the list does not show.": async (world) => {
    const kv = new Kv<number>(await world.store());
    const view = new Kv<number>(await world.store());
    for (let i = 0; i < 10; i++) await kv.put(`k${i}`, 0);
    const write = async (count: number): Promise<void> => {
      for (let i = 1; i <= count; i++) await kv.put(`k${draw(world.random, 10)}`, i);
    };
    const during = write(50);
    const list = await view.list("k");
    await during;
    // Written after the list and before the watch: only the cursor can tell of it.
    await write(50);
    await kv.put("between", 1);
    const state = new Map<string, number | null>();
    for (const { key, value } of list.entries) state.set(key, value);
    const watcher = new Watcher(view, "", { cursor: list.revision });
    await write(50);
    const { revision } = await kv.put("k0", -1);
    await watcher.started(world);
    await watcher.sees(world, "the last change", () => watcher.cursor >= revision);
    for (const [key, value] of watcher.state) state.set(key, value);
    for (const { key, value } of (await kv.list()).entries) {
      assert.equal(state.get(key), value, key);
      state.delete(key);
    }
    assert.equal(state.size, 0, "no key that is not there");
    await watcher.stop();
  },

  "A watch from the cursor of an earlier batch goes on without a gap, in any process.": async (
    world,
  ) => {
    const kv = new Kv<number>(await world.store());
    const views = [kv, new Kv<number>(await world.store())];
    const state = new Map<string, number | null>();
    let watcher = await watching(world, "k");
    let cursor = watcher.cursor;
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 10; i++) {
        const key = `k${draw(world.random, 5)}`;
        if (draw(world.random, 3) === 0) await kv.delete(key);
        else await kv.put(key, round * 100 + i);
      }
      for (const [key, value] of watcher.state) state.set(key, value);
      // Cut off wherever it happens to be.
      cursor = watcher.cursor;
      await watcher.stop();
      watcher = await watching(world, "k", { cursor }, pick(world.random, views));
    }
    const { revision } = await kv.put("k0", -1);
    await watcher.sees(world, "the last change", () => watcher.cursor >= revision);
    for (const [key, value] of watcher.state) state.set(key, value);
    for (const { key, value } of (await kv.list("k")).entries) {
      assert.equal(state.get(key), value, key);
      state.delete(key);
    }
    for (const [key, value] of state) assert.equal(value, null, `${key} is gone`);
    await watcher.stop();
  },

  "The end of a TTL comes to a watch as a deletion within 1 s, though nobody writes or reads.": {
    when: (capabilities) => capabilities.hasExpiryEvents,
    run: async (world) => {
      const kv = new Kv<number>(await world.store());
      const watcher = await watching(world, "k");
      const { ttlMs = 0 } = await kv.put("k", 1, { ttlMs: 200 });
      await watcher.sees(world, "the put", () => watcher.changes.length > 0);
      await world.pass(ttlMs);
      await watcher.sees(
        world,
        "the end",
        () => watcher.state.get("k") === null,
        world.span(1_000),
      );
      assert.equal(watcher.changes.at(-1)?.type, "delete");
      assertOrdered(watcher.changes);
      await watcher.stop();
    },
  },

  "The end of a session's keys comes to a watch as deletions within 1 s.": {
    when: (capabilities) => capabilities.hasExpiryEvents,
    run: async (world) => {
      const [ending, silent] = [await world.store(), await world.store()];
      const one = await ending.session();
      const two = await silent.session();
      const watcher = await watching(world, "k");
      await new Kv<number>(ending).put("k1", 1, { session: one });
      await new Kv<number>(silent).put("k2", 2, { session: two });
      await one.close();
      await watcher.sees(
        world,
        "the end in order",
        () => watcher.state.get("k1") === null,
        world.span(1_000),
      );
      await loseSession(world, two);
      await watcher.sees(
        world,
        "the loss",
        () => watcher.state.get("k2") === null,
        world.span(1_000),
      );
      assertOrdered(watcher.changes);
      await watcher.stop();
    },
  },

  "Without expiry events a watch is silent about the end of a TTL, and the key is still never seen after it.":
    {
      when: (capabilities) => !capabilities.hasExpiryEvents,
      run: async (world) => {
        const kv = new Kv<number>(await world.store());
        const watcher = await watching(world, "k");
        const { ttlMs = 0 } = await kv.put("k", 1, { ttlMs: 1 });
        await world.pass(ttlMs + 1_000);
        assert.equal(await kv.get("k"), null);
        assert.equal(
          watcher.changes.some((change) => change.type === "delete"),
          false,
        );
        await watcher.stop();
      },
    },

  "A cursor whose changes were trimmed gives one resync, and the watch goes on from the cursor that it names.":
    async (world) => {
      const kv = new Kv<number>(await world.store());
      const { revision: cursor } = await kv.put("k", 1);
      await overflowJournal(world, kv);
      const watcher = await watching(world, "k", { cursor });
      assert.equal(watcher.batches[0]?.isResync, true);
      const { revision } = await kv.put("k", 2);
      await watcher.sees(world, "what comes after", () => watcher.cursor >= revision);
      assert.deepEqual(watcher.changes, [{ type: "put", key: "k", value: 2, revision }]);
      assert.equal(watcher.batches.filter((batch) => batch.isResync).length, 1);
      await watcher.stop();
    },

  "A cursor that the store has not reached, as after a failover, gives one resync.": async (
    world,
  ) => {
    const kv = new Kv<number>(await world.store());
    const { revision } = await kv.put("k", 1);
    const watcher = await watching(world, "k", { cursor: revision + 1_000_000 });
    assert.equal(watcher.batches[0]?.isResync, true);
    const put = await kv.put("k", 2);
    await watcher.sees(world, "what comes after", () => watcher.cursor >= put.revision);
    assert.equal(watcher.state.get("k"), 2);
    assert.equal(watcher.batches.filter((batch) => batch.isResync).length, 1);
    await watcher.stop();
    // A store that lost even the partition, as a file that was deleted.
    const lost = kv.partition("lost");
    const again = await watching(world, "k", { cursor: 7 }, lost);
    assert.deepEqual([again.batches[0]?.isResync, again.cursor], [true, 0]);
    const first = await lost.put("k", 3);
    await again.sees(world, "what comes after", () => again.cursor >= first.revision);
    assert.equal(again.state.get("k"), 3);
    assert.equal(again.batches.filter((batch) => batch.isResync).length, 1);
    await again.stop();
    const unused = await watching(world, "k", { cursor: 0 }, kv.partition("unused"));
    assert.deepEqual([unused.batches[0]?.isResync, unused.cursor], [false, 0]);
    await unused.stop();
  },

  "A batch of more changes than the watch's `buffer` becomes one resync.": async (world) => {
    const store = await world.store();
    const kv = new Kv<number>(store);
    const { revision: cursor } = await kv.put("k", 0);
    for (let i = 0; i < 5; i++) await kv.put(`k${i}`, i);
    const watcher = await watching(world, "k", { cursor, buffer: 4 }, kv);
    const { revision } = await kv.put("last", 1);
    assert.deepEqual(watcher.batches[0]?.changes, []);
    assert.equal(watcher.batches[0]?.isResync, true);
    assert.ok(watcher.cursor < revision);
    const all = await watching(world, "k", { cursor, buffer: 5 }, kv);
    assert.equal(all.changes.length, 5);
    for (const buffer of [0, 10_001]) {
      await rejectsArgument(() => kv.watch("", { buffer }).next());
    }
    await Promise.all([watcher.stop(), all.stop()]);
  },

  "A watch ends by `break`, and by its signal with the signal's own reason.": async (world) => {
    const kv = new Kv<number>(await world.store());
    for await (const batch of kv.watch()) {
      assert.deepEqual(batch.changes, []);
      break;
    }
    const abort = new AbortController();
    const watch = kv.watch("", { signal: abort.signal });
    await watch.next();
    const waiting = watch.next();
    const reason = new Error("enough");
    abort.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    await assert.rejects(
      kv.watch("", { signal: abort.signal }).next(),
      (error) => error === reason,
    );
  },
};
