/** What is kept: durability as it is reported, restarts, the end of a store. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import { Store } from "../store/store.ts";
import { isHoldfastError } from "../core/errors.ts";
import { isWhole, refuses, type Cases } from "./kit.ts";
import { fillPartition, dump, timeless } from "./partition.ts";

export const storeLastingCases: Cases = {
  "Everything that was acknowledged is there after all processes died and the engine started again.":
    {
      when: (capabilities) => capabilities.isPersistent && isWhole(capabilities),
      run: async (world) => {
        assert.ok(
          world.fixture.restart !== undefined,
          "a persistent engine's fixture can restart it",
        );
        await fillPartition(world);
        const before = await dump((await world.aside()).driver, world.namespace);
        await world.crash();
        const after = await dump((await world.aside()).driver, world.namespace);
        assert.deepEqual(timeless(after), timeless(before));
        await world.crash();
        const kv = new Kv<number>(await world.store());
        assert.equal((await kv.get("plain"))?.value, 1);
        const { revision } = await kv.list("plain");
        assert.ok((await kv.put("more", 1)).revision > revision);
      },
    },

  "After a restart in order everything is there, and what sessions held is free.": {
    when: (capabilities) => capabilities.isPersistent && isWhole(capabilities),
    run: async (world) => {
      const store = await world.store();
      const [kv, queue] = [new Kv<number>(store), new Queue(store, "q")];
      const session = await store.session();
      await kv.put("kept", 1);
      await kv.put("bound", 1, { session });
      await queue.add({ id: "a", payload: "" });
      await queue.claim(session, 1);
      await world.restart();
      const again = await world.store();
      const [kept, bound] = await new Kv<number>(again).get(["kept", "bound"]);
      assert.deepEqual([kept?.value, bound], [1, null]);
      const { jobs } = await new Queue(again, "q").claim(await again.session(), 5);
      assert.deepEqual(
        jobs.map((job) => [job.id, job.delivery]),
        [["a", 1]],
      );
    },
  },

  "An engine that keeps nothing beyond the process says so: its writes are not synced.": {
    when: (capabilities) => !capabilities.isPersistent,
    run: async (world) => {
      const store = await world.store();
      assert.equal((await store.durability()).synced, "no");
    },
  },

  "`durability()` says how many copies had an acknowledged write and whether a disk had synced it, and where that was read.":
    async (world) => {
      const store = await world.store();
      const { copies, synced, source } = await store.durability();
      assert.ok(Number.isSafeInteger(copies) && copies >= 1);
      if (typeof synced === "string") assert.ok(["yes", "no", "unknown"].includes(synced));
      else assert.ok(Number.isSafeInteger(synced.withinMs) && synced.withinMs > 0);
      assert.ok(source.length > 0);
    },

  "A persistent store that does not sync before it answers opens only for who accepts that by name.":
    {
      when: (capabilities) => capabilities.isPersistent,
      run: async (world) => {
        const { synced } = await (await world.store()).durability();
        const { clock, namespace } = world;
        const opening = Store.open(await world.driver(), { clock, namespace });
        if (synced === "yes") await (await opening).close();
        else await refuses(opening, "MISCONFIGURED");
      },
    },

  "A store that closes answers what is under way, ends its session, and refuses all else with `CLOSED`.":
    async (world) => {
      const store = await world.store();
      const other = await world.store();
      const kv = new Kv<number>(store);
      const session = await store.session();
      await kv.put("bound", 1, { session });
      const puts = Array.from({ length: 50 }, (_, i) => kv.put(`k${i}`, i));
      const closing = store.close();
      await refuses(kv.put("late", 1), "CLOSED").catch((error: unknown) => {
        // It may still be taken: whoever is closed first may commit until then.
        assert.ok(!isHoldfastError(error) || error.code === "CLOSED", String(error));
      });
      await closing;
      const results = await Promise.allSettled(puts);
      const reader = new Kv<number>(other);
      for (const [i, result] of results.entries()) {
        if (result.status === "fulfilled") assert.equal((await reader.get(`k${i}`))?.value, i);
      }
      assert.ok(
        results.every((result) => result.status === "fulfilled"),
        "all were answered",
      );
      assert.equal(await reader.get("bound"), null);
      assert.equal(session.isOver, true);
      await refuses(kv.put("late", 1), "CLOSED");
      await refuses(kv.get("k0"), "CLOSED");
      await refuses(store.session(), "CLOSED");
      await store.close();
      assert.equal((await reader.get("k0"))?.value, 0, "others go on");
    },

  "An engine that joins no user transaction refuses `enqueueIn` with `UNSUPPORTED`.": {
    when: (capabilities) => !capabilities.joinsUserTransaction && isWhole(capabilities),
    run: async (world) => {
      const store = await world.store();
      const queue = new Queue(store, "q");
      const op = queue.op.enqueue({ payload: "" });
      const call = async (): Promise<void> => store.enqueueIn({}, op.partition, [op.op]);
      await refuses(call(), "UNSUPPORTED");
      assert.equal((await queue.stats()).counts.ready, 0);
    },
  },
};
