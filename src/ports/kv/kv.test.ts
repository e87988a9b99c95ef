import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ManualClock } from "../../core/clock.ts";
import { bytesCodec } from "../../core/codec.ts";
import { memory } from "../../engines/memory/index.ts";
import { Store } from "../../store/store.ts";
import { Kv } from "./kv.ts";

async function open(): Promise<{ store: Store; kv: Kv; clock: ManualClock }> {
  const clock = new ManualClock();
  const store = await Store.open(memory({ clock }), { clock });
  return { store, kv: new Kv(store), clock };
}

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

describe("keys and values that are refused", () => {
  test.each([
    ["an empty key", ""],
    ["a key of 1,025 bytes", "x".repeat(1_025)],
    ["a key of 342 characters and 1,026 bytes", "€".repeat(342)],
    ["a key with NUL", "a\u0000b"],
    ["a key with a lone surrogate", "a\uD800b"],
    ["a reserved key", "$lock"],
  ])("%s is a RangeError", async (_, key) => {
    const { kv } = await open();
    for (const work of [
      kv.get(key),
      kv.get(["fine", key]),
      kv.put(key, 1),
      kv.delete(key),
      kv.add(key, 1),
      kv.tryPut(key, 1, { ifRevision: 0 }),
    ]) {
      expect(await caught(work)).toBeInstanceOf(RangeError);
    }
    if (key === "") return;
    expect(await caught(kv.list(key))).toBeInstanceOf(RangeError);
    expect(await caught(kv.watch(key).next())).toBeInstanceOf(RangeError);
  });

  test("the longest keys are taken, and so is any other character", async () => {
    const { kv } = await open();
    for (const key of ["x".repeat(1_024), "€".repeat(341), "a\nb\u007F", "𝄞", "ends in $"]) {
      await kv.put(key, key);
      expect((await kv.get(key))?.value).toBe(key);
    }
  });

  test.each([
    ["a number", 7],
    ["null", null],
    ["undefined", undefined],
    ["an object", {}],
  ])("%s for a key is a TypeError", async (_, key) => {
    const { kv } = await open();
    expect(await caught(kv.put(key as never, 1))).toBeInstanceOf(TypeError);
    expect(await caught(kv.get(key as never))).toBeInstanceOf(TypeError);
  });

  test.each([0, -1, 1.5, Number.NaN, Infinity, 400 * 86_400_000 + 1, Number.MAX_SAFE_INTEGER + 1])(
    "a TTL of %s is a RangeError",
    async (ttlMs) => {
      const { kv } = await open();
      expect(await caught(kv.put("k", 1, { ttlMs }))).toBeInstanceOf(RangeError);
    },
  );

  test.each([1.5, Number.NaN, Infinity, 2 ** 53])(
    "a delta of %s is a RangeError",
    async (delta) => {
      const { kv } = await open();
      expect(await caught(kv.add("k", delta))).toBeInstanceOf(RangeError);
      expect(await caught(kv.add("k", 1, { min: delta }))).toBeInstanceOf(RangeError);
      expect(await caught(kv.add("k", 1, { max: delta }))).toBeInstanceOf(RangeError);
    },
  );

  test("crossed bounds, revisions below 0 and pages of none are RangeErrors", async () => {
    const { kv } = await open();
    expect(await caught(kv.add("k", 1, { min: 2, max: 1 }))).toBeInstanceOf(RangeError);
    expect(await caught(kv.tryPut("k", 1, { ifRevision: -1 }))).toBeInstanceOf(RangeError);
    expect(await caught(kv.list("", { limit: 0 }))).toBeInstanceOf(RangeError);
    expect(await caught(kv.list("", { limit: 1_001 }))).toBeInstanceOf(RangeError);
    const many = Array.from({ length: 1_001 }, (_, i) => `k${i}`);
    expect(await caught(kv.get(many))).toBeInstanceOf(RangeError);
  });

  test("a value above 1 MiB is TOO_LARGE, in UTF-8 bytes", async () => {
    const { store } = await open();
    const bytes = new Kv<Uint8Array>(store, { codec: bytesCodec });
    await bytes.put("k", new Uint8Array(1_048_576));
    expect(await caught(bytes.put("k", new Uint8Array(1_048_577)))).toMatchObject({
      code: "TOO_LARGE",
    });
    const text = "€".repeat(349_525);
    const kv = new Kv(store);
    expect(await caught(kv.put("k", text))).toMatchObject({
      code: "TOO_LARGE",
      outcome: "not-applied",
    });
    await kv.put("k", text.slice(2));
  });

  test("a value without a JSON form, or against its schema, is INVALID_DATA", async () => {
    const { store, kv } = await open();
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    for (const value of [cyclic, () => {}, 1n]) {
      expect(await caught(kv.put("k", value))).toMatchObject({ code: "INVALID_DATA" });
    }
    const typed = new Kv(store, { schema: z.object({ n: z.number() }) });
    expect(await caught(typed.put("k", { n: "1" } as never))).toMatchObject({
      code: "INVALID_DATA",
    });
    await kv.put("k", { n: "1" });
    expect(await caught(typed.get("k"))).toMatchObject({ code: "INVALID_DATA" });
    await typed.put("k", { n: 1 });
    expect((await typed.get("k"))?.value.n).toBe(1);
  });

  test("unknown options are TypeErrors", async () => {
    const { store, kv } = await open();
    for (const work of [
      kv.put("k", 1, { ttl: 1 } as never),
      kv.tryPut("k", 1, { revision: 1 } as never),
      kv.add("k", 1, { minimum: 0 } as never),
      kv.get("k", { timeout: 1 } as never),
      kv.delete("k", { timeout: 1 } as never),
      kv.list("k", { prefix: 1 } as never),
      kv.watch("k", { from: 1 } as never).next(),
    ]) {
      expect(await caught(work)).toBeInstanceOf(TypeError);
    }
    expect(() => new Kv(store, { schem: 1 } as never)).toThrow(TypeError);
  });

  test("a session that is not the store's, not open there, or over is refused", async () => {
    const { store, kv } = await open();
    expect(await caught(kv.put("k", 1, { session: "s1" as never }))).toBeInstanceOf(TypeError);
    const session = await store.session();
    const other = kv.partition("eu");
    expect(await caught(other.put("k", 1, { session }))).toBeInstanceOf(TypeError);
    await session.openIn(other.partitionName);
    await other.put("k", 1, { session });
    await session.close();
    expect(await caught(other.put("k", 1, { session }))).toMatchObject({ code: "LEASE_LOST" });
  });
});

describe("what the class adds to the driver", () => {
  test("get, put, delete and their kin", async () => {
    const { kv } = await open();
    expect(await kv.get("a")).toBeNull();
    const { revision } = await kv.put("a", { n: 1 });
    expect(await kv.get(["a", "b"])).toEqual([{ key: "a", value: { n: 1 }, revision }, null]);
    expect(await kv.tryPut("a", 2, { ifRevision: 0 })).toEqual({ ok: false, revision });
    expect(await kv.tryPut("b", 2, { ifRevision: 7 })).toEqual({ ok: false, revision: 0 });
    const put = await kv.tryPut("a", 2, { ifRevision: revision });
    expect(put).toMatchObject({ ok: true });
    expect(await kv.tryDelete("a", { ifRevision: revision })).toMatchObject({ ok: false });
    expect(await kv.delete("a")).toBe(true);
    expect(await kv.delete("a")).toBe(false);
    expect(await kv.tryDelete("a", { ifRevision: 0 })).toEqual({ ok: true, existed: false });
  });

  test("add throws what tryAdd answers", async () => {
    const { kv } = await open();
    expect(await kv.add("stock", 5)).toBe(5);
    expect(await caught(kv.add("stock", -6, { min: 0 }))).toMatchObject({
      code: "LIMITED",
      outcome: "not-applied",
    });
    expect(await kv.tryAdd("stock", -6, { min: 0 })).toEqual({ ok: false, value: 5 });
    expect(await kv.tryAdd("stock", -5, { min: 0 })).toMatchObject({ ok: true, value: 0 });
    await kv.put("text", "five");
    expect(await caught(kv.tryAdd("text", 1))).toMatchObject({ code: "INVALID_DATA" });
    expect((await kv.get("stock"))?.value).toBe(0);
  });

  test("a counter's value passes the JSON codec both ways", async () => {
    const { kv } = await open();
    await kv.put("n", 41);
    expect(await kv.add("n", 1)).toBe(42);
    expect((await kv.get("n"))?.value).toBe(42);
  });

  test("list and scan go page by page and hide reserved keys", async () => {
    const { store, kv } = await open();
    const all = new Kv(store, { hasReserved: true });
    await all.put("$own", 0);
    for (let i = 0; i < 7; i++) await kv.put(`k${i}`, i);
    const first = await kv.list("", { limit: 3 });
    expect(first.entries.map(({ key }) => key)).toEqual(["k0", "k1"]);
    expect(first.next).toBe("k1");
    const second = await kv.list("", { limit: 3, after: first.next as string });
    expect(second.entries.map(({ key }) => key)).toEqual(["k2", "k3", "k4"]);
    expect(second.revision).toBe(first.revision);
    const keys: string[] = [];
    for await (const { key } of kv.scan("", { limit: 2 })) keys.push(key);
    expect(keys).toEqual(["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    expect((await all.list("$")).entries).toHaveLength(1);
  });

  test("a batch above the buffer becomes one resync, with the cursor to go on from", async () => {
    const { kv } = await open();
    const { revision } = await kv.list();
    for (let i = 0; i < 4; i++) await kv.put(`k${i}`, i);
    const watch = kv.watch("", { cursor: revision, buffer: 3 });
    const batch = (await watch.next()).value;
    expect(batch).toMatchObject({ changes: [], isResync: true });
    expect(batch?.cursor).toBe((await kv.list()).revision);
    await watch.return();
    const whole = kv.watch("", { cursor: revision, buffer: 4 });
    expect((await whole.next()).value?.changes).toHaveLength(4);
    await whole.return();
  });

  test("ops of kv, placed and in one group, with decoded reads", async () => {
    const { store, kv } = await open();
    const group = [kv.op.put("a", [1]), kv.op.add("n", 2), kv.op.get("a")] as const;
    const committed = await store.commitAll(group);
    expect(committed.ok && committed.results[1]).toBe(2);
    expect(committed.ok && kv.decode(committed.results[2])?.value).toEqual([1]);
    const across = [kv.op.get("a"), kv.partition("eu").op.get("a")];
    expect(await caught(store.commitAll(across))).toMatchObject({ code: "UNSUPPORTED" });
  });
});
