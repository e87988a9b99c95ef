/** Values, revisions and compare-and-set of the kv port. */
import assert from "node:assert/strict";
import { bytesCodec, type Codec, type Data, type Schema } from "../core/codec.ts";
import { LIMITS } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import type { KvEntry } from "../store/ops.ts";
import type { Store } from "../store/store.ts";
import { assertSame, AWKWARD_TEXT, awkwardBytes, largest, UNSTORABLE_TEXT } from "./data.ts";
import { concurrently, refuses, rejectsArgument, type Cases, type World } from "./kit.ts";

async function putData(store: Store, key: string, value: Data): Promise<number> {
  const committed = await store.commit(store.namespace, [{ op: "kv.put", key, value }]);
  assert.ok(committed.ok);
  return committed.revision;
}

async function getData(store: Store, key: string): Promise<KvEntry | null> {
  const read = { read: "kv.get", partition: store.namespace, keys: [key] } as const;
  const [[entry]] = await store.read([read]);
  return entry ?? null;
}

async function twoViews(world: World): Promise<readonly [Kv<number>, Kv<number>]> {
  const [one, two] = await Promise.all([world.store(), world.store()]);
  return [new Kv<number>(one), new Kv<number>(two)];
}

/** Text as it is. */
const textCodec: Codec = {
  name: "text",
  encode: (value) => value as string,
  decode: (data) => data,
};

/** Only numbers, and a letter as a number of its own on the way in. */
const positive: Schema<unknown, number> = {
  "~standard": {
    version: 1,
    vendor: "holdfast-conformance",
    validate: (value) =>
      typeof value === "number" && value > 0
        ? { value }
        : { issues: [{ message: "expected a number above 0" }] },
  },
};

export const kvBasicCases: Cases = {
  "A get sees every write that was acknowledged before it began, whichever process made it.":
    async (world) => {
      const [one, two] = await twoViews(world);
      for (let i = 0; i < 50; i++) {
        const { revision } = await (i % 2 === 0 ? one : two).put("k", i);
        const seen = await (i % 2 === 0 ? two : one).get("k");
        assert.deepEqual(seen, { key: "k", value: i, revision });
      }
      assert.equal(await two.get("never"), null);
    },

  "A get of several keys sees all of them as of one instant.": {
    when: (capabilities) => capabilities.atomic !== "key",
    run: async (world) => {
      const store = await world.store();
      const [kv, reader] = [new Kv<number>(store), new Kv<number>(await world.store())];
      await store.commitAll([kv.op.put("a", 0), kv.op.put("b", 0)]);
      let isDone = false;
      const write = async (): Promise<void> => {
        for (let i = 1; i <= 50; i++) {
          await store.commitAll([kv.op.put("a", i), kv.op.put("b", i)]);
        }
        isDone = true;
      };
      const read = async (): Promise<void> => {
        while (!isDone) {
          const [a, b] = await reader.get(["a", "b", "none"]);
          assert.equal(a?.value, b?.value, "two keys of one group differ");
          assert.equal(a?.revision, b?.revision);
          await world.clock.yield();
        }
      };
      await concurrently(3, (client) => (client === 0 ? write() : read()));
      const keys = await reader.get(["b", "none", "a"]);
      assert.deepEqual(
        keys.map((entry) => entry?.key ?? null),
        ["b", null, "a"],
        "each in its place",
      );
    },
  },

  "Every write of a key gives it a revision above all that the key had before, also after it was deleted.":
    async (world) => {
      const [one, two] = await twoViews(world);
      let last = 0;
      for (let i = 0; i < 10; i++) {
        const { revision } = await (i % 2 === 0 ? one : two).put("k", i);
        assert.ok(revision > last, `revision ${revision} after ${last}`);
        assert.equal((await two.get("k"))?.revision, revision);
        last = revision;
        if (i % 3 === 2) assert.equal(await one.delete("k"), true);
      }
    },

  "Text and bytes come back byte for byte, as the kind that was put.": async (world) => {
    const store = await world.store();
    const reader = await world.store();
    const values: readonly Data[] = [...AWKWARD_TEXT, ...awkwardBytes(), ...largest()];
    for (const [i, value] of values.entries()) {
      await putData(store, `k${i}`, value);
      assertSame((await getData(reader, `k${i}`))?.value, value);
    }
    const kv = new Kv<unknown>(store, { codec: bytesCodec });
    await kv.put("bytes", Uint8Array.of(0, 255));
    assertSame((await kv.get("bytes"))?.value, Uint8Array.of(0, 255));
  },

  "A stored value is the store's own: what the caller does to its buffers afterwards changes nothing.":
    async (world) => {
      const store = await world.store();
      const buffer = Uint8Array.of(1, 2, 3);
      await putData(store, "k", buffer);
      buffer.fill(9);
      const read = (await getData(store, "k"))?.value as Uint8Array;
      assertSame(read, Uint8Array.of(1, 2, 3));
      read.fill(9);
      assertSame((await getData(store, "k"))?.value, Uint8Array.of(1, 2, 3));
    },

  "Keys are told apart by every byte: case, accents, spaces and look-alikes are different keys.":
    async (world) => {
      const kv = new Kv<number>(await world.store());
      const keys = ["a", "A", "a ", " a", "é", "e\u0301", "ß", "ss", "%", "_", "a%", "\uE000"];
      keys.push("\u{1F680}", "\uFFFF", "a/b", "a\\b", "'", '"', "\n", "k".repeat(LIMITS.keyBytes));
      for (const [i, key] of keys.entries()) await kv.put(key, i);
      const values = await kv.get(keys);
      assert.deepEqual(
        values.map((entry) => entry?.value),
        keys.map((_, i) => i),
      );
    },

  "A conditional put writes only if the key's revision is the one named; 0 means that there is no such key.":
    async (world) => {
      const kv = new Kv<number>(await world.store());
      const made = await kv.tryPut("k", 1, { ifRevision: 0 });
      assert.ok(made.ok);
      const again = await kv.tryPut("k", 2, { ifRevision: 0 });
      assert.deepEqual(again, { ok: false, revision: made.revision });
      const next = await kv.tryPut("k", 3, { ifRevision: made.revision });
      assert.ok(next.ok);
      const stale = await kv.tryPut("k", 4, { ifRevision: made.revision });
      assert.deepEqual(stale, { ok: false, revision: next.revision });
      assert.deepEqual(await kv.get("k"), { key: "k", value: 3, revision: next.revision });
      const missing = await kv.tryPut("none", 1, { ifRevision: next.revision });
      assert.deepEqual(missing, { ok: false, revision: 0 });
      assert.equal(await kv.get("none"), null);
    },

  "Of many conditional puts on one revision exactly one is taken.": async (world) => {
    const views = await twoViews(world);
    let revision = 0;
    for (let round = 0; round < 10; round++) {
      const tries = Array.from({ length: 16 }, (_, i) =>
        (views[i % 2] as Kv<number>).tryPut("k", i, { ifRevision: revision }),
      );
      const taken = (await Promise.all(tries)).filter((result) => result.ok);
      assert.equal(taken.length, 1, `round ${round}`);
      revision = taken[0]?.revision as number;
      assert.equal((await views[0].get("k"))?.revision, revision);
    }
  },

  "A delete says whether there was such a key, and a conditional one deletes only the revision named.":
    async (world) => {
      const [one, two] = await twoViews(world);
      assert.equal(await one.delete("k"), false);
      const { revision } = await one.put("k", 1);
      const stale = await two.tryDelete("k", { ifRevision: revision + 1 });
      assert.deepEqual(stale, { ok: false, revision });
      assert.deepEqual(await two.tryDelete("k", { ifRevision: revision }), {
        ok: true,
        existed: true,
      });
      assert.equal(await one.get("k"), null);
      assert.equal(await one.delete("k"), false);
      assert.deepEqual(await two.tryDelete("k", { ifRevision: revision }), {
        ok: false,
        revision: 0,
      });
    },

  "A read inside a group sees the group's earlier writes, and its revision is the group's.": async (
    world,
  ) => {
    const store = await world.store();
    const kv = new Kv<number>(store);
    await kv.put("k", 1);
    const group = [kv.op.get("k"), kv.op.put("k", 2), kv.op.get("k"), kv.op.delete("k")] as const;
    const committed = await store.commitAll([...group, kv.op.get("k")] as const);
    assert.ok(committed.ok);
    const [before, , between, existed, after] = committed.results;
    assert.equal(kv.decode(before)?.value, 1);
    assert.deepEqual(kv.decode(between), { key: "k", value: 2, revision: committed.revision });
    assert.deepEqual([existed, after], [true, null]);
  },

  "A value that fails its schema is refused with `INVALID_DATA`, on write before anything is sent, and on read.":
    async (world) => {
      const store = await world.store();
      const strict = new Kv<number>(store, { schema: positive });
      const loose = new Kv<number>(store);
      await refuses(strict.put("k", -1), "INVALID_DATA");
      assert.equal(await loose.get("k"), null);
      await loose.put("k", -1);
      await assert.rejects(strict.get("k"), { code: "INVALID_DATA" });
      const circle: { self?: unknown } = {};
      circle.self = circle;
      await refuses(new Kv<unknown>(store).put("c", circle), "INVALID_DATA");
      assert.equal(await loose.get("c"), null);
    },

  "Text that has a lone surrogate or NUL is refused with `INVALID_DATA` before anything is written: no engine would alter it in silence.":
    async (world) => {
      const kv = new Kv<string>(await world.store(), { codec: textCodec });
      for (const text of UNSTORABLE_TEXT) {
        await refuses(kv.put("k", text), "INVALID_DATA");
        await refuses(kv.tryPut("k", text, { ifRevision: 0 }), "INVALID_DATA");
      }
      assert.equal(await kv.get("k"), null);
      const json = new Kv<string>(kv.store);
      for (const text of UNSTORABLE_TEXT) {
        await json.put("k", text);
        assert.equal((await json.get("k"))?.value, text, "JSON escapes it");
      }
    },

  "A value above 1 MiB is refused with `TOO_LARGE`, a key above 1,024 bytes with a `RangeError`, before anything is written.":
    async (world) => {
      const store = await world.store();
      const kv = new Kv<Uint8Array>(store, { codec: bytesCodec });
      await kv.put("fits", new Uint8Array(LIMITS.valueBytes));
      await refuses(kv.put("k", new Uint8Array(LIMITS.valueBytes + 1)), "TOO_LARGE");
      const longest = "é".repeat(LIMITS.keyBytes / 2);
      await kv.put(longest, Uint8Array.of(1));
      assert.deepEqual((await kv.get(longest))?.key, longest);
      await rejectsArgument(() => kv.put(`${longest}x`, Uint8Array.of(1)));
      assert.equal(await kv.get("k"), null);
    },

  "A key that is empty, has NUL or a lone surrogate, or begins with `$` is refused with a `RangeError`.":
    async (world) => {
      const kv = new Kv<number>(await world.store());
      for (const key of ["", "a\u0000b", "\uD800", "a\uDC00", "$own"]) {
        await rejectsArgument(() => kv.put(key, 1));
        await rejectsArgument(() => kv.tryPut(key, 1, { ifRevision: 0 }));
        await rejectsArgument(() => kv.add(key, 1));
        await rejectsArgument(() => kv.delete(key));
        await rejectsArgument(() => kv.get(key));
      }
      await rejectsArgument(() => kv.put(7 as never, 1));
      assert.deepEqual((await kv.list()).entries, []);
      const own = new Kv<number>(kv.store, { hasReserved: true });
      await own.put("$own", 1);
      assert.deepEqual((await kv.list()).entries, [], "reserved keys are not shown");
      assert.equal((await own.list()).entries.length, 1);
    },

  "Where `atomic` is `key`, a group of more than one key is refused with `UNSUPPORTED` before anything is written.":
    {
      when: (capabilities) => capabilities.atomic === "key",
      run: async (world) => {
        const store = await world.store();
        const kv = new Kv<number>(store);
        await refuses(store.commitAll([kv.op.put("a", 1), kv.op.put("b", 1)]), "UNSUPPORTED");
        await refuses(store.commitAll([kv.op.check("a", 0), kv.op.add("b", 1)]), "UNSUPPORTED");
        assert.deepEqual(await kv.get(["a", "b"]), [null, null]);
        assert.ok((await store.commitAll([kv.op.check("a", 0), kv.op.put("a", 1)])).ok);
      },
    },

  "Partitions are apart: a key of one is not seen in another.": async (world) => {
    const kv = new Kv<number>(await world.store());
    const other = kv.partition("other");
    await kv.put("k", 1);
    await other.put("k", 2);
    assert.equal((await kv.get("k"))?.value, 1);
    assert.equal((await other.get("k"))?.value, 2);
    await other.delete("k");
    assert.equal((await kv.list()).entries.length, 1);
  },
};
