/** Keys that end by themselves: TTLs, and keys bound to a session. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import { commitMany, refuses, rejectsArgument, type Cases, type World } from "./kit.ts";
import { loseSession } from "./sessions.ts";

/** All the ways to look at a key; each gives true if it is seen. */
async function ways(kv: Kv<number>, key: string): Promise<readonly boolean[]> {
  const { store } = kv;
  const [one, many, list, group] = await Promise.all([
    kv.get(key),
    kv.get([key]),
    kv.list(key),
    store.commitAll([kv.op.get(key)] as const),
  ]);
  assert.ok(group.ok);
  return [one !== null, many[0] !== null, list.entries.length > 0, group.results[0] !== null];
}

/**
 * Follows a key that was put between the instants `fromMs` and `toMs` through the end of its TTL:
 * until the first instant at which it may be gone it must be seen, from the last one on it must
 * not.
 */
async function followEnd(
  world: World,
  times: { readonly fromMs: number; readonly toMs: number; readonly ttlMs: number },
  sees: () => Promise<readonly boolean[]>,
): Promise<void> {
  for (;;) {
    const beforeMs = await world.now();
    const seen = await sees();
    const afterMs = await world.now();
    if (afterMs < times.fromMs + times.ttlMs)
      assert.ok(seen.every(Boolean), "gone before its time");
    if (beforeMs >= times.toMs + times.ttlMs) {
      return assert.deepEqual(new Set(seen), new Set([false]), "seen after its time");
    }
    await world.pass(1);
  }
}

async function putFor(
  world: World,
  kv: Kv<number>,
  key: string,
  askedMs: number,
): Promise<{ readonly fromMs: number; readonly toMs: number; readonly ttlMs: number }> {
  const fromMs = await world.now();
  const { ttlMs } = await kv.put(key, 1, { ttlMs: askedMs });
  const toMs = await world.now();
  assert.ok(ttlMs !== undefined && ttlMs >= askedMs);
  return { fromMs, toMs, ttlMs };
}

export const kvTimeCases: Cases = {
  "A key is seen until the end of its TTL by the store's clock, and never after, removed or not.":
    async (world) => {
      const [kv, other] = [
        new Kv<number>(await world.store()),
        new Kv<number>(await world.store()),
      ];
      const times = await putFor(world, kv, "k", 40);
      await followEnd(world, times, () => ways(other, "k"));
      assert.deepEqual(await kv.tryPut("k", 2, { ifRevision: 1_000_000 }), {
        ok: false,
        revision: 0,
      });
      assert.equal(await kv.delete("k"), false);
      await putFor(world, kv, "n", 1);
      await world.pass(world.capabilities.ttlGranularityMs + 1);
      assert.equal(await kv.add("n", 5), 5, "an expired counter counts as 0");
    },

  "However many keys end at once, none of them is seen.": async (world) => {
    const store = await world.store();
    const kv = new Kv<number>(store);
    const ttlMs = world.capabilities.ttlGranularityMs * 20;
    const ops = Array.from({ length: 3_000 }, (_, i) => kv.op.put(`k${i}`, i, { ttlMs }).op);
    await commitMany(world, store, ops);
    await kv.put("l", 1);
    await world.pass(ttlMs);
    for (let i = 0; i < 5; i++) {
      const { entries, next } = await kv.list("", { limit: 10 });
      assert.deepEqual([entries.map((entry) => entry.key), next], [["l"], null]);
      assert.deepEqual(await kv.get(["k0", "k1500", "k2999"]), [null, null, null]);
      // A commit removes a bounded number of them: some are left for a while.
      assert.equal(await kv.add(`k${2_999 - i}`, 1), 1);
      assert.equal(await kv.delete(`k${2_999 - i}`), true);
    }
  },

  "A TTL is rounded up to the engine's granularity, and the one in effect is returned.": async (
    world,
  ) => {
    const kv = new Kv<number>(await world.store());
    const step = world.capabilities.ttlGranularityMs;
    assert.equal((await kv.put("k", 1, { ttlMs: 1 })).ttlMs, step);
    assert.equal((await kv.put("k", 1, { ttlMs: step * 3 })).ttlMs, step * 3);
    assert.equal((await kv.put("k", 1, { ttlMs: step * 3 + 1 })).ttlMs, step * 4);
    assert.equal((await kv.put("k", 1)).ttlMs, undefined);
    for (const ttlMs of [0, -1, 1.5, Number.NaN, 401 * 86_400_000]) {
      await rejectsArgument(() => kv.put("k", 1, { ttlMs }));
    }
  },

  "A put begins the TTL anew, and one without it takes it away; an add keeps it.": async (
    world,
  ) => {
    const kv = new Kv<number>(await world.store());
    const step = world.capabilities.ttlGranularityMs;
    for (const key of ["kept", "longer"]) await kv.put(key, 1, { ttlMs: step });
    // Were these two late on a slow machine, they would write new keys: the outcome is the same.
    await kv.put("kept", 2);
    await kv.put("longer", 2, { ttlMs: 600_000 });
    const times = await putFor(world, kv, "counted", step + 20);
    const isInTime = (await kv.add("counted", 1)) === 2;
    await world.pass(step + 1);
    assert.equal((await kv.get("kept"))?.value, 2);
    assert.equal((await kv.get("longer"))?.value, 2);
    const leftMs = times.toMs + times.ttlMs - (await world.now());
    if (leftMs > 0) await world.pass(leftMs);
    if (isInTime) assert.equal(await kv.get("counted"), null, "an add made the key stay longer");
  },

  "A key that is bound to a session is gone as soon as the session has ended.": async (world) => {
    const [store, other] = [await world.store(), new Kv<number>(await world.store())];
    const kv = new Kv<number>(store);
    const session = await store.session();
    await kv.put("bound", 1, { session });
    await kv.put("rebound", 1, { session });
    await kv.put("free", 1);
    await kv.put("rebound", 2);
    assert.deepEqual(await ways(other, "bound"), [true, true, true, true]);
    await session.close();
    assert.deepEqual(await ways(other, "bound"), [false, false, false, false]);
    const left = (await other.list()).entries.map((entry) => entry.key);
    assert.deepEqual(left, ["free", "rebound"], "only what is bound goes");
  },

  "A key that is bound to a session is gone as soon as the session's process was silent for its TTL.":
    async (world) => {
      const [store, other] = [await world.store(), new Kv<number>(await world.store())];
      const kv = new Kv<number>(store);
      const session = await store.session();
      await kv.put("bound", 1, { session });
      await kv.put("both", 1, { session, ttlMs: 600_000 });
      await loseSession(world, session);
      assert.deepEqual(await ways(other, "bound"), [false, false, false, false]);
      assert.deepEqual(await ways(other, "both"), [false, false, false, false]);
      assert.equal(await other.delete("bound"), false);
    },

  "A put that is bound to a session which is over is refused with `LEASE_LOST` and writes nothing.":
    async (world) => {
      const store = await world.store();
      const kv = new Kv<number>(store);
      const session = await store.session();
      await kv.put("k", 1);
      await loseSession(world, session);
      await refuses(kv.put("k", 2, { session }), "LEASE_LOST");
      await refuses(kv.put("new", 2, { session }), "LEASE_LOST");
      assert.equal((await kv.get("k"))?.value, 1);
      assert.equal(await kv.get("new"), null);
      const another = await world.store();
      const elsewhere = await another.session(another.partitionName("other"));
      await rejectsArgument(() => new Kv<number>(another).put("new", 2, { session: elsewhere }));
    },
};
