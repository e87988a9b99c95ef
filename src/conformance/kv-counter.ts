/** Counters of the kv port. */
import assert from "node:assert/strict";
import { MAX_INTEGER } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import { concurrently, draw, refuses, rejectsArgument, type Cases, type World } from "./kit.ts";

async function counters(world: World, processes: number): Promise<readonly Kv<number>[]> {
  const stores = await Promise.all(Array.from({ length: processes }, () => world.store()));
  return stores.map((store) => new Kv<number>(store));
}

export const kvCounterCases: Cases = {
  "An add gives the sum; an absent key counts as 0, and concurrent adds of any number of callers all count.":
    async (world) => {
      const views = await counters(world, 3);
      const [kv] = views as [Kv<number>];
      assert.equal(await kv.add("k", 5), 5);
      assert.equal(await kv.add("k", -7), -2);
      assert.equal((await kv.get("k"))?.value, -2);
      const sums = new Set<number>();
      await concurrently(64, async (client) => {
        for (let i = 0; i < 5; i++) sums.add(await (views[client % 3] as Kv<number>).add("n", 1));
      });
      assert.equal((await kv.get("n"))?.value, 320);
      assert.equal(sums.size, 320, "no two adds gave the same sum");
    },

  "A bounded add is refused exactly where the sum would cross the bound, and leaves the counter as it was.":
    async (world) => {
      const [kv] = (await counters(world, 1)) as [Kv<number>];
      assert.deepEqual(await pickOk(kv.tryAdd("k", 10, { max: 10 })), [true, 10]);
      assert.deepEqual(await pickOk(kv.tryAdd("k", 1, { max: 10 })), [false, 10]);
      assert.deepEqual(await pickOk(kv.tryAdd("k", -10, { min: 0 })), [true, 0]);
      assert.deepEqual(await pickOk(kv.tryAdd("k", -1, { min: 0 })), [false, 0]);
      await refuses(kv.add("k", -1, { min: 0 }), "LIMITED");
      assert.equal((await kv.get("k"))?.value, 0);
      await refuses(kv.add("none", -1, { min: 0 }), "LIMITED");
      assert.equal(await kv.get("none"), null, "a refused add makes no key");
    },

  "A bound holds at every instant: 64 concurrent callers never cross it, and none is refused for nothing.":
    async (world) => {
      const views = await counters(world, 3);
      const [kv] = views as [Kv<number>];
      await kv.put("stock", 40);
      let taken = 0;
      let refused = 0;
      await concurrently(64, async (client) => {
        const view = views[client % 3] as Kv<number>;
        const result = await view.tryAdd("stock", -1, { min: 0 });
        assert.ok(result.value >= 0, "the counter is below its bound");
        if (result.ok) taken++;
        else refused++;
      });
      assert.deepEqual([taken, refused], [40, 24]);
      assert.equal((await kv.get("stock"))?.value, 0);
    },

  "Of concurrent adds up and down under two bounds the counter is the sum of those that were taken, and is never outside.":
    async (world) => {
      const views = await counters(world, 3);
      let sum = 0;
      const deltas = Array.from({ length: 400 }, () => draw(world.random, 21) - 10);
      await concurrently(16, async (client) => {
        for (let i = client; i < deltas.length; i += 16) {
          const delta = deltas[i] as number;
          const view = views[i % 3] as Kv<number>;
          const result = await view.tryAdd("k", delta, { min: -12, max: 12 });
          assert.ok(result.value >= -12 && result.value <= 12, `outside: ${result.value}`);
          if (result.ok) sum += delta;
        }
      });
      assert.equal((await (views[0] as Kv<number>).get("k"))?.value ?? 0, sum);
    },

  "A sum beyond the safe integers is refused with `LIMITED`.": async (world) => {
    const [kv] = (await counters(world, 1)) as [Kv<number>];
    assert.equal(await kv.add("k", MAX_INTEGER), MAX_INTEGER);
    await refuses(kv.add("k", 1), "LIMITED");
    assert.equal(await kv.add("k", -MAX_INTEGER), 0);
    assert.equal(await kv.add("k", -MAX_INTEGER), -MAX_INTEGER);
    await refuses(kv.add("k", -1), "LIMITED");
    assert.equal((await kv.get("k"))?.value, -MAX_INTEGER);
    for (const delta of [0.5, Number.NaN, Infinity, MAX_INTEGER + 1]) {
      await rejectsArgument(() => kv.add("k", delta));
    }
    await rejectsArgument(() => kv.add("k", 1, { min: 2, max: 1 }));
  },

  "An add to a key that holds no integer is refused with `INVALID_DATA` and changes nothing.":
    async (world) => {
      const store = await world.store();
      const kv = new Kv<unknown>(store);
      for (const value of ["1", "one", 1.5, null, [1], true]) {
        const { revision } = await kv.put("k", value);
        await refuses(kv.add("k", 1), "INVALID_DATA");
        assert.deepEqual(await kv.get("k"), { key: "k", value, revision });
      }
      for (const value of ["", " 1", "1e3", "0x10", "١", Uint8Array.of(0x31)]) {
        await store.commit(store.namespace, [{ op: "kv.put", key: "k", value }]);
        await refuses(kv.add("k", 1), "INVALID_DATA");
      }
    },

  "Bounds see the adds before them in the same group.": async (world) => {
    const store = await world.store();
    const kv = new Kv<number>(store);
    const take = kv.op.add("k", -2, { min: 0 });
    await kv.put("k", 4);
    const three = await store.commitAll([take, take, take]);
    assert.ok(!three.ok && three.refusal.code === "LIMITED" && three.refusal.index === 2);
    assert.equal((await kv.get("k"))?.value, 4);
    const two = await store.commitAll([take, take] as const);
    assert.ok(two.ok);
    assert.deepEqual([...two.results], [2, 0]);
  },
};

async function pickOk(
  result: Promise<{ readonly ok: boolean; readonly value: number }>,
): Promise<readonly [boolean, number]> {
  const { ok, value } = await result;
  return [ok, value];
}
