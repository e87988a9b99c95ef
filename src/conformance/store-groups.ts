/** Groups: all or nothing, apart from their neighbours, within limits. */
import assert from "node:assert/strict";
import { LIMITS } from "../core/limits.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { GroupResult, KvPut, Op } from "../store/ops.ts";
import type { Store } from "../store/store.ts";
import {
  concurrently,
  draw,
  isRefused,
  whole,
  refuses,
  rejectsArgument,
  type Cases,
  type World,
} from "./kit.ts";
import { dump, timeless } from "./partition.ts";
import { Worker } from "./queue-kit.ts";
import { loseSession } from "./sessions.ts";

async function values(store: Store, keys: readonly string[]): Promise<(number | null)[]> {
  const entries = await new Kv<number>(store).get(keys);
  return entries.map((entry) => entry?.value ?? null);
}

const put = (key: string, value: number): KvPut => ({ op: "kv.put", key, value: String(value) });

/** Ops that are refused, each for a reason of its own, with the code that they are refused with. */
async function refusedOps(world: World): Promise<readonly (readonly [string, Op])[]> {
  const worker = await Worker.start(world, "full");
  const { queue } = worker;
  await queue.configure({ maxWaiting: 1 });
  await worker.add("taken");
  const job = await worker.one("taken");
  await worker.add("waits");
  const dead = await Worker.start(world, "full");
  const deadSession = dead.session.id;
  await loseSession(world, dead.session);
  const kv = new Kv<unknown>(worker.store);
  await kv.put("text", "no number");
  const stale = queue.op.settle(worker.session, { ...job, token: 0 }, { outcome: "completed" }).op;
  return [
    ["CONFLICT", { op: "kv.check", key: "none", revision: 1 }],
    ["LIMITED", { op: "kv.add", key: "counter", delta: -1, min: 0 }],
    ["INVALID_DATA", { op: "kv.add", key: "text", delta: 1 }],
    ["LEASE_LOST", { ...put("bound", 1), session: deadSession }],
    ["LEASE_LOST", { op: "queue.claim", queue: "full", session: deadSession, max: 1 }],
    ["LEASE_LOST", { op: "session.renew", session: deadSession, ttlMs: 1_000 }],
    ["LEASE_LOST", { ...stale, session: deadSession }],
    ["FENCED", stale],
    ["ALREADY_EXISTS", queue.op.enqueue({ id: "waits", payload: "another" }).op],
    ["OVERLOADED", queue.op.enqueue({ payload: "" }).op],
  ];
}

export const storeGroupCases: Cases = {
  "All ops of a group hold or none does: a refused group leaves no trace, whichever op was refused.":
    whole(async (world) => {
      const refused = await refusedOps(world);
      const store = await world.store();
      const worker = await Worker.start(world, "side");
      const kv = new Kv<number>(store);
      await kv.put("kept", 1);
      await worker.add("held");
      const held = await worker.one("held");
      await worker.add("waits");
      const effects: readonly Op[] = [
        put("a", 1),
        put("kept", 2),
        { op: "kv.delete", key: "kept" },
        { op: "kv.add", key: "sum", delta: 5 },
        worker.queue.op.enqueue({ id: "new", payload: "" }).op,
        worker.queue.op.settle(worker.session, held, { outcome: "completed" }).op,
        worker.queue.op.cancel("waits").op,
        worker.queue.op.pause(true).op,
        worker.queue.op.configure({ maxLeased: 1 }).op,
        { op: "queue.claim", queue: "side", session: worker.session.id, max: 1 },
        { op: "session.open", session: "new-session", ttlMs: 60_000, label: "test" },
      ];
      const before = await snapshot(world);
      for (const [code, op] of refused) {
        for (const at of [0, 4, effects.length]) {
          const ops = [...effects.slice(0, at), op, ...effects.slice(at)];
          isRefused(await store.commit(world.namespace, ops), code as never, at);
          assert.deepEqual(await snapshot(world), before, `${code} at ${at}`);
        }
      }
      assert.ok((await store.commit(world.namespace, effects)).ok, "without it they hold");
      await leavesNoPartition(world, store);
    }),

  "A refusal is an answer that names the op, the code and the reason; only the throwing calls throw it.":
    whole(async (world) => {
      const store = await world.store();
      const kv = new Kv<number>(store);
      const ops = [kv.op.put("k", 1), kv.op.check("none", 5)];
      const committed = await store.commitAll(ops);
      assert.ok(!committed.ok);
      const { index, code, message, details } = committed.refusal;
      assert.deepEqual([index, code], [1, "CONFLICT"]);
      assert.ok(message.length > 20, "what was expected, what was found, what to do");
      assert.deepEqual(details, { key: "none", expected: 5, found: 0 });
      const error = await refuses(kv.add("k", -1, { min: 0 }), "LIMITED");
      assert.equal(error.details["key"], "k");
      // Of a newer library, through something that both share.
      const future = { op: "kv.future", key: "k" } as unknown as Op;
      const driver = await world.driver();
      const groups = [[put("k", 1), future], [put("after", 1)]];
      const partition = world.namespace;
      const [newer, next] = await driver.commit(groups.map((ops) => ({ partition, ops })));
      assert.ok(newer?.ok === false && next?.ok === true);
      assert.deepEqual([newer.refusal.index, newer.refusal.code], [1, "INCOMPATIBLE"]);
      assert.match(newer.refusal.message, /kv\.future/);
      assert.deepEqual(await values(store, ["k", "after"]), [null, 1]);
    }),

  "Groups that travel in one commit are apart: a refused one changes nothing for its neighbours.":
    whole(async (world) => {
      const refused = await refusedOps(world);
      const driver = await world.driver();
      const partition = world.namespace;
      const groups = refused.flatMap(([, op], i) => [
        { partition, ops: [put(`a${i}`, i)] },
        { partition, ops: [put(`b${i}`, i), op, put(`c${i}`, i)] },
        { partition, ops: [put(`d${i}`, i)] },
      ]);
      const results = await driver.commit(groups);
      assert.equal(results.length, groups.length);
      const codes = results.map((each) => (each.ok ? "ok" : each.refusal.code));
      const wanted = refused.flatMap(([code]) => ["ok", code, "ok"]);
      assert.deepEqual(codes, wanted);
      const store = await world.store();
      for (const i of refused.keys()) {
        assert.deepEqual(await values(store, [`a${i}`, `b${i}`, `c${i}`, `d${i}`]), [
          i,
          null,
          null,
          i,
        ]);
      }
    }),

  "Groups of one commit take effect in their order, each on what the ones before it left.": async (
    world,
  ) => {
    const driver = await world.driver();
    const partition = world.namespace;
    const make = (ops: readonly Op[]) => ({ partition, ops });
    const take: Op = { op: "kv.add", key: "k", delta: -1, min: 0 };
    const groups = [put("k", 2), take, take, take, put("k", 1), take].map((op) => make([op]));
    const results = await driver.commit(groups);
    assert.deepEqual(
      results.map((each) => each.ok),
      [true, true, true, false, true, true],
    );
    const revisions = results.flatMap((each: GroupResult) => (each.ok ? [each.revision] : []));
    assert.deepEqual(
      revisions,
      [...new Set(revisions)].sort((a, b) => a - b),
    );
    const store = await world.store();
    assert.deepEqual(await values(store, ["k"]), [0]);
  },

  "Every group that writes has a revision above those of all groups of its partition that were answered before it began.":
    whole(async (world) => {
      const stores = [await world.store(), await world.store(), await world.store()];
      let last = 0;
      const seen = new Set<number>();
      await concurrently(12, async (client) => {
        const store = stores[client % 3] as Store;
        for (let i = 0; i < 20; i++) {
          const floor = last;
          const committed = await store.commit(world.namespace, [put(`k${client}`, i)]);
          assert.ok(committed.ok);
          assert.ok(committed.revision > floor, `revision ${committed.revision} after ${floor}`);
          assert.ok(!seen.has(committed.revision), "no two groups share one");
          seen.add(committed.revision);
          last = Math.max(last, committed.revision);
        }
      });
    }),

  "Ops of a group see the group's earlier ops: sessions opened or ended, jobs added, rules set.":
    whole(async (world) => {
      const store = await world.store();
      const queue = new Queue(store, "q");
      const open = { op: "session.open", session: "s", ttlMs: 60_000, label: "test" } as const;
      const claim = { op: "queue.claim", queue: "q", session: "s", max: 5 } as const;
      const end = { op: "session.end", session: "s" } as const;
      const two = [
        queue.op.enqueue({ id: "a", payload: "" }).op,
        queue.op.enqueue({ payload: "" }).op,
      ];
      const first = await store.commit(world.namespace, [...two, open, claim, end] as const);
      assert.ok(first.ok);
      assert.equal((await queue.stats()).counts.ready, 2, "claimed and given back");
      isRefused(await store.commit(world.namespace, [open, end, claim]), "LEASE_LOST", 2);
      isRefused(await store.commit(world.namespace, [open, end, open]), "LEASE_LOST", 2);
      const bound = { ...put("bound", 1), session: "s" };
      isRefused(await store.commit(world.namespace, [open, end, bound]), "LEASE_LOST", 2);
      const take: Op = { op: "kv.add", key: "bound", delta: -5, min: 0 };
      const nine = { ...bound, value: "9" };
      isRefused(await store.commit(world.namespace, [open, nine, end, take]), "LIMITED", 3);
      const held = { ...open, session: "holder" };
      const kept = { ...nine, session: "holder" };
      assert.ok((await store.commit(world.namespace, [held, kept])).ok);
      const gone = { op: "session.end", session: "holder" } as const;
      isRefused(await store.commit(world.namespace, [gone, take]), "LIMITED", 1);
      assert.deepEqual(await values(store, ["bound"]), [9]);
      const one: Op = { op: "kv.add", key: "bound", delta: 1 };
      assert.ok((await store.commit(world.namespace, [gone, one])).ok);
      assert.deepEqual(await values(store, ["bound"]), [1], "it counted as absent");
      const rules = queue.op.configure({ maxWaiting: 3 }).op;
      isRefused(
        await store.commit(world.namespace, [rules, ...two.slice(1), ...two.slice(1)]),
        "OVERLOADED",
        2,
      );
    }),

  "A group that is under way when all processes die took effect whole or not at all.": whole(
    async (world) => {
      let dies: Promise<void> | undefined;
      const acknowledged = new Set<number>();
      const sent = new Set<number>();
      const first = await Worker.start(world);
      const kv = new Kv<number>(first.store);
      let count = 0;
      await concurrently(8, async (client) => {
        for (let i = 0; i < 30 && dies === undefined; i++) {
          const n = client * 100 + i;
          const ops = [kv.op.put(`a${n}`, n), kv.op.put(`b${n}`, n), kv.op.add("sum", 1)];
          sent.add(n);
          const call = first.store.commitAll([
            ...ops,
            first.queue.op.enqueue({ id: `${n}`, payload: "" }),
          ]);
          if (++count === 40 + draw(world.random, 60)) dies = world.crash();
          await call.then(
            () => acknowledged.add(n),
            () => undefined,
          );
        }
      });
      await dies;
      const store = await world.store();
      const queue = new Queue(store, "q");
      let whole = 0;
      for (const n of sent) {
        const [a, b] = await values(store, [`a${n}`, `b${n}`]);
        const job = await queue.get(`${n}`);
        const parts = [a === n, b === n, job !== null];
        assert.equal(new Set(parts).size, 1, `group ${n} is there in part: ${parts.join()}`);
        if (a === n) whole++;
        else assert.ok(!acknowledged.has(n), `group ${n} was acknowledged`);
      }
      assert.deepEqual(await values(store, ["sum"]), [whole]);
    },
  ),

  "A group of as many ops as `maxOpsPerGroup` holds; more ops, or more bytes than 8 MiB, are refused with `TOO_LARGE`, none with a `RangeError`.":
    whole(async (world) => {
      const store = await world.store();
      const most = Math.min(world.capabilities.maxOpsPerGroup, LIMITS.opsPerGroup);
      const ops = Array.from({ length: most }, (_, i) => put(`k${i}`, i));
      assert.ok((await store.commit(world.namespace, ops)).ok);
      assert.deepEqual(await values(store, ["k0", `k${most - 1}`]), [0, most - 1]);
      await refuses(store.commit(world.namespace, [...ops, put("more", 1)]), "TOO_LARGE");
      const value = "x".repeat(LIMITS.valueBytes);
      const large = Array.from({ length: 9 }, (_, i): Op => ({
        op: "kv.put",
        key: `l${i}`,
        value,
      }));
      await refuses(store.commit(world.namespace, large), "TOO_LARGE");
      assert.ok((await store.commit(world.namespace, large.slice(0, 7))).ok);
      assert.deepEqual(await values(store, ["more"]), [null]);
      await rejectsArgument(() => store.commit(world.namespace, []));
    }),

  "A group that crosses partitions is refused with `UNSUPPORTED` before anything is sent.": async (
    world,
  ) => {
    const store = await world.store();
    const kv = new Kv<number>(store);
    const there = kv.partition("there");
    await refuses(store.commitAll([kv.op.put("k", 1), there.op.put("k", 1)]), "UNSUPPORTED");
    assert.deepEqual([await kv.get("k"), await there.get("k")], [null, null]);
    for (const name of ["", "a/b", "$own", "a\nb", "x".repeat(LIMITS.nameChars + 1)]) {
      await rejectsArgument(() => kv.partition(name));
      await rejectsArgument(() => world.store({ namespace: name }));
    }
  },
};

/**
 * Nor is there a trace of a group that was refused, or wrote nothing, in a partition of its own.
 */
async function leavesNoPartition(world: World, store: Store): Promise<void> {
  const { driver } = await world.aside();
  const there = async () => (await driver.read([{ read: "store.info" }]))[0].partitions.length;
  const before = await there();
  const claim: Op = { op: "queue.claim", queue: "q", session: "none", max: 1 };
  const groups: readonly (readonly Op[])[] = [
    [put("a", 1), { op: "kv.check", key: "none", revision: 1 }],
    [{ op: "queue.pause", queue: "q", isPaused: true }, claim],
    [{ op: "session.renew", session: "none", ttlMs: 1_000 }],
    [{ op: "kv.get", key: "a" }],
    [{ op: "kv.delete", key: "a" }],
    [{ op: "queue.cancel", queue: "q", id: "a", reason: null }],
    [{ op: "queue.purge", queue: "q", state: "ready", max: 1 }],
    [{ op: "session.end", session: "none" }],
  ];
  for (const [i, ops] of groups.entries()) {
    const { ok } = await store.commit(`${world.namespace}-${i}`, ops);
    assert.equal(ok, i > 2, `${ops[0]?.op}`);
    assert.equal(await there(), before, `${ops[0]?.op}`);
  }
}

/** All that the partition holds, without the store's clock. */
async function snapshot(world: World): Promise<unknown> {
  const { driver } = await world.aside();
  return timeless(await dump(driver, world.namespace));
}
