/** Lists of the kv port: order, prefixes, pages. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import { concurrently, draw, rejectsArgument, type Cases, type World } from "./kit.ts";

/** Keys whose order by UTF-8 bytes, by UTF-16 units and by locale all differ. */
const MIXED_KEYS: readonly string[] = [
  "a",
  "B",
  "b",
  "a/b",
  "a0",
  "a\uE000",
  "a\u{10000}",
  "a\uFFFF",
  "\uE000",
  "\uFFFF",
  "\u{10000}",
  "\u{10FFFF}",
  "\uD7FF",
  "é",
  "e\u0301",
  "z",
  "%",
  "_",
  "a%",
  "a_",
  "\u007F",
  "\u0080",
  "\t",
];

function byBytes(keys: readonly string[]): string[] {
  return [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function filled(world: World, keys: readonly string[]): Promise<Kv<number>> {
  const kv = new Kv<number>(await world.store());
  for (const [i, key] of keys.entries()) await kv.put(key, i);
  return kv;
}

async function keysOf(kv: Kv<number>, prefix: string, limit: number): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of kv.scan(prefix, { limit })) keys.push(key);
  return keys;
}

export const kvListCases: Cases = {
  "A list is in the order of the keys' UTF-8 bytes, whatever the size of its pages.": async (
    world,
  ) => {
    const kv = await filled(world, MIXED_KEYS);
    const sorted = byBytes(MIXED_KEYS);
    assert.notDeepEqual(sorted, [...MIXED_KEYS].sort(), "the keys tell the two orders apart");
    for (const limit of [1, 2, 7, 100]) assert.deepEqual(await keysOf(kv, "", limit), sorted);
  },

  "A list gives exactly the keys that begin with the prefix.": async (world) => {
    const kv = await filled(world, MIXED_KEYS);
    const sorted = byBytes(MIXED_KEYS);
    for (const prefix of [
      "",
      "a",
      "a/",
      "%",
      "_",
      "a%",
      "\uE000",
      "\u{10000}",
      "\u{10FFFF}",
      "none",
    ]) {
      const wanted = sorted.filter((key) => key.startsWith(prefix));
      for (const limit of [1, 3, 100]) assert.deepEqual(await keysOf(kv, prefix, limit), wanted);
    }
  },

  "A page ends at its limit, and says where the next one begins.": async (world) => {
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
    const kv = await filled(world, keys);
    const exact = await kv.list("k", { limit: 10 });
    assert.deepEqual([exact.entries.length, exact.next], [10, null]);
    const first = await kv.list("k", { limit: 4 });
    assert.deepEqual([first.entries.length, first.next], [4, "k3"]);
    // The key that a page ended at may be gone when the next one is asked for.
    await kv.delete("k3");
    const second = await kv.list("k", { limit: 4, after: "k3" });
    assert.deepEqual(
      second.entries.map((entry) => entry.key),
      ["k4", "k5", "k6", "k7"],
    );
    const gone = await kv.list("k", { after: "k9" });
    assert.deepEqual([gone.entries, gone.next], [[], null]);
    const before = await kv.list("k", { after: "a", limit: 2 });
    assert.deepEqual(
      before.entries.map((entry) => entry.key),
      ["k0", "k1"],
      "a start before the prefix",
    );
    for (const limit of [0, 1_001, 1.5]) await rejectsArgument(() => kv.list("k", { limit }));
  },

  "A page shows all its keys as of one revision, and names it.": {
    when: (capabilities) => capabilities.atomic !== "key",
    run: async (world) => {
      const store = await world.store();
      const kv = new Kv<number>(store);
      const reader = new Kv<number>(await world.store());
      const keys = Array.from({ length: 8 }, (_, i) => `k${i}`);
      const put = (value: number): Promise<unknown> =>
        store.commitAll(keys.map((key) => kv.op.put(key, value)));
      await put(0);
      let isDone = false;
      await concurrently(3, async (client) => {
        if (client === 0) {
          for (let i = 1; i <= 50; i++) await put(i);
          isDone = true;
        }
        while (!isDone) {
          const { entries, revision } = await reader.list("k");
          const values = new Set(entries.map((entry) => entry.value));
          assert.equal(values.size, 1, "a page of two states");
          const newest = Math.max(...entries.map((entry) => entry.revision));
          assert.ok(newest <= revision, "a page is not older than what it shows");
          await world.clock.yield();
        }
      });
      const last = await reader.list("k");
      const { revision } = await kv.put("k0", 99);
      assert.ok(revision > last.revision);
      assert.ok((await reader.list("k")).revision >= revision);
    },
  },

  "A list is complete after any history of puts and deletes.": async (world) => {
    const kv = new Kv<number>(await world.store());
    const reader = new Kv<number>(await world.store());
    const model = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const key = `k${draw(world.random, 40)}`;
      if (draw(world.random, 3) === 0) {
        assert.equal(await kv.delete(key), model.delete(key));
      } else {
        await kv.put(key, i);
        model.set(key, i);
      }
    }
    const seen: [string, number][] = [];
    for await (const { key, value } of reader.scan("k", { limit: 7 })) seen.push([key, value]);
    assert.deepEqual(
      seen,
      byBytes([...model.keys()]).map((key) => [key, model.get(key)]),
    );
  },
};
