/** Seals, exports and imports: how a partition moves to another store. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import { LIMITS } from "../core/limits.ts";
import type { ExportRecord, StoreDriver } from "../store/driver.ts";
import type { Op } from "../store/ops.ts";
import type { Store } from "../store/store.ts";
import { isRefused, refuses, type Cases, type World, whole } from "./kit.ts";
import { dump, fillPartition, timeless, type Filled } from "./partition.ts";
import { ids, Worker } from "./queue-kit.ts";

/**
 * Records by kind, without what differs by right: the head, the order of sections, and the span by
 * which a move took all instants along.
 */
function comparable(records: readonly ExportRecord[], byMs: number = 0): readonly string[] {
  const rest = records.filter((each) => each.record !== "partition");
  return rest.map((each) => JSON.stringify(movedBack(each, byMs), bytesAsText)).sort();
}

function movedBack(record: ExportRecord, byMs: number): ExportRecord {
  const back = <T extends number | null>(ms: T): T => (ms === null ? ms : ((ms - byMs) as T));
  switch (record.record) {
    case "partition":
      return record;
    case "session":
      return { ...record, untilMs: back(record.untilMs) };
    case "kv":
      return { ...record, expiresMs: back(record.expiresMs) };
    case "queue":
      return { ...record, rateMs: record.rateMs === 0 ? 0 : back(record.rateMs) };
    case "mark": {
      const value = record.kind === "rate" ? back(record.value) : record.value;
      return { ...record, value, expiresMs: back(record.expiresMs) };
    }
    case "run-record":
      return { ...record, atMs: back(record.atMs), dueMs: back(record.dueMs) };
    case "run-event":
      return { ...record, atMs: back(record.atMs) };
    case "job": {
      const { createdMs, dueMs, finishedMs } = record.view;
      const times = {
        ...{ createdMs: back(createdMs), dueMs: back(dueMs) },
        finishedMs: back(finishedMs),
      };
      const view = { ...record.view, ...times };
      // What no time makes due stays where it is.
      const at = record.isSuspended && dueMs === null ? record.at : back(record.at);
      return { ...record, view, at, expiresMs: back(record.expiresMs) };
    }
  }
}

/** By how much a move took instants along: one job's tells it for all. */
function movedBy(was: readonly ExportRecord[], is: readonly ExportRecord[]): number {
  const createdMs = (records: readonly ExportRecord[]): number => {
    const job = records.find((each) => each.record === "job" && each.view.id === "held");
    assert.ok(job?.record === "job");
    return job.view.createdMs;
  };
  return createdMs(is) - createdMs(was);
}

function bytesAsText(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? `bytes ${[...value].join()}` : value;
}

function headOf(records: readonly ExportRecord[]): Extract<ExportRecord, { record: "partition" }> {
  const [head] = records;
  assert.ok(head?.record === "partition", "the first record is the partition's");
  return head;
}

interface Moved {
  readonly to: World;
  readonly source: StoreDriver;
  readonly target: StoreDriver;
}

/** Moves the test's partition into one of another store: sealed, page by page. */
async function move(
  world: World,
  options: { readonly limit: number; readonly repeats: number },
  given?: World,
): Promise<Moved> {
  const to = given ?? (await world.other());
  const source = (await world.aside()).driver;
  const target = (await to.aside()).driver;
  await source.seal(world.namespace, { isSealed: true, movedTo: "holdfast://there" });
  let cursor: string | null = null;
  do {
    const page = await source.export(world.namespace, cursor, options.limit);
    for (let i = 0; i < options.repeats; i++) await target.import(to.namespace, page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  return { to, source, target };
}

async function assertTakesNothing(world: World, store: Store, filled: Filled): Promise<void> {
  const { queue, session, held } = filled;
  const ops: readonly Op[] = [
    { op: "kv.put", key: "k", value: "" },
    { op: "kv.get", key: "plain" },
    { op: "kv.add", key: "counter", delta: 1 },
    { op: "bus.publish", topic: "t", message: "" },
    { op: "session.open", session: "new", ttlMs: 1_000, label: "new" },
    { op: "session.renew", session: session.id, ttlMs: 60_000 },
    { op: "queue.claim", queue: "jobs", session: session.id, max: 1 },
    queue.op.enqueue({ payload: "" }).op,
    queue.op.settle(session, held, { outcome: "completed" }).op,
    queue.op.cancel("ready-0").op,
  ];
  for (const op of ops) {
    const committed = await store.commit(world.namespace, [op]);
    isRefused(committed, "MOVED");
    assert.ok(!committed.ok);
    assert.equal(committed.refusal.details?.["movedTo"], "holdfast://there");
    assert.ok(committed.refusal.message.includes("holdfast://there"), "it names the new place");
  }
}

export const storeMoveCases: Cases = {
  "A sealed partition refuses every group with `MOVED` and its new place, its reads go on, and other partitions do not feel it.":
    whole(async (world) => {
      const filled = await fillPartition(world);
      const { driver } = await world.aside();
      const before = await dump(driver, world.namespace);
      await driver.seal(world.namespace, { isSealed: true, movedTo: "holdfast://there" });
      const store = await world.store();
      await assertTakesNothing(world, store, filled);
      assert.deepEqual(timeless(await dump(driver, world.namespace)), timeless(before));
      const kv = new Kv<number>(store);
      assert.equal((await kv.get("plain"))?.value, 1);
      await new Kv<number>(store, { partition: "other" }).put("k", 1);
      const info = (await store.info()).partitions.find(
        (each) => each.partition === world.namespace,
      );
      assert.deepEqual([info?.isSealed, info?.movedTo], [true, "holdfast://there"]);
    }),

  "A partition that is unsealed takes groups again, and a seal holds for all processes, also after a restart.":
    async (world) => {
      const store = await world.store();
      const kv = new Kv<number>(store);
      await kv.put("k", 1);
      await store.seal(world.namespace, { isSealed: true, movedTo: null });
      await world.restart();
      const again = new Kv<number>(await world.store());
      await refuses(again.put("k", 2), "MOVED");
      await again.store.seal(world.namespace, { isSealed: false, movedTo: null });
      const other = new Kv<number>(await world.store());
      assert.equal((await other.put("k", 3)).revision > 0, true);
    },

  "A partition that is exported and imported is the same: keys, TTLs, sessions, queues, rules, marks, and jobs in every state.":
    whole(async (world) => {
      await fillPartition(world);
      const { source, target, to } = await move(world, { limit: 100, repeats: 1 });
      const [was, is] = [await dump(source, world.namespace), await dump(target, to.namespace)];
      assert.deepEqual(comparable(is, movedBy(was, is)), comparable(was));
      const kinds = new Set(was.map((each) => each.record));
      assert.deepEqual([...kinds].sort(), ["job", "kv", "mark", "partition", "queue", "session"]);
      const sessions = async (driver: StoreDriver, { namespace: partition }: World) => {
        const [views] = await driver.read([{ read: "session.list", partition }]);
        return views.map((view) => view.session).sort();
      };
      assert.deepEqual(await sessions(target, to), await sessions(source, world), "none besides");
      const queues = async (of: World) =>
        (await new Queue((await of.aside()).store, "jobs").stats()).counts;
      assert.deepEqual(await queues(to), await queues(world), "counts too");
    }),

  "Pages may be of any size, and a page that is imported again does no harm.": whole(
    async (world) => {
      await fillPartition(world);
      const { source, target, to } = await move(world, { limit: 1, repeats: 2 });
      const was = await dump(source, world.namespace);
      const once = await dump(target, to.namespace, 3);
      assert.deepEqual(comparable(once, movedBy(was, once)), comparable(was));
      await to.pass(7);
      // The whole import once more, as after a mover's crash.
      let cursor: string | null = null;
      do {
        const page = await source.export(world.namespace, cursor, 5);
        await target.import(to.namespace, page.records);
        ({ cursor } = page);
      } while (cursor !== null);
      assert.deepEqual(comparable(await dump(target, to.namespace)), comparable(once));
      const queue = new Queue((await to.aside()).store, "jobs");
      assert.deepEqual(
        (await queue.stats()).counts,
        (await new Queue((await world.aside()).store, "jobs").stats()).counts,
      );
    },
  ),

  "After a move revisions, tokens and job numbers go on above the source's.": whole(
    async (world) => {
      const filled = await fillPartition(world);
      const { source, to } = await move(world, { limit: 7, repeats: 1 });
      const head = headOf(await dump(source, world.namespace));
      const worker = await Worker.start(to, "jobs");
      const kv = new Kv<number>(worker.store);
      const job = await worker.one();
      assert.ok(job.token > head.revision && job.token > filled.held.token);
      assert.ok((await kv.put("plain", 2)).revision > head.revision);
      const added = await worker.queue.add({ id: "new", payload: "" });
      assert.ok(added.seq >= head.nextSeq);
    },
  ),

  "After a move ids, dedupe windows, TTLs, due times and rates are what they were.": whole(
    async (world) => {
      await fillPartition(world);
      const { to } = await move(world, { limit: 7, repeats: 1 });
      const { queue, store } = await Worker.start(to, "jobs");
      for (const id of ["completed", "dead", "held", "ready-0", "due-later"]) {
        assert.equal((await queue.add({ id, payload: `"${id}"` })).status, "exists", id);
        await refuses(queue.add({ id, payload: "another" }), "ALREADY_EXISTS");
      }
      const dedupe = (key: string, mode: "first" | "last") => ({ key, mode, ttlMs: 300_000 });
      const first = await queue.add({ payload: "", dedupe: dedupe("first", "first") });
      assert.deepEqual([first.id, first.status], ["deduped", "deduped"]);
      const last = await queue.add({ payload: "2", dedupe: dedupe("last", "last") });
      assert.deepEqual([last.id, last.status], ["last", "replaced"]);
      const session = await store.session();
      for (const name of ["paused", "paced", "keyed"]) {
        const { jobs } = await new Queue(store, name).claim(session, 5);
        assert.deepEqual(ids(jobs), [], name);
      }
      const kv = new Kv<unknown>(store);
      assert.equal((await kv.get("ttl"))?.value, "ends");
      const there = new Queue((await world.aside()).store, "jobs");
      for (const id of ["due-later", "retried"]) {
        const [dueMs, wasMs] = [(await queue.get(id))?.dueMs, (await there.get(id))?.dueMs];
        assert.ok(typeof dueMs === "number" && typeof wasMs === "number");
        const byMs = dueMs - wasMs;
        assert.ok(world.isManual ? byMs === 0 : byMs >= 0 && byMs < 10_000, `${id} by ${byMs} ms`);
      }
      if (!world.isManual) return;
      await to.fixture.advance?.(250_000);
      assert.equal(await kv.get("ttl"), null);
      assert.equal(
        (await new Queue(store, "paced").claim(await store.session(), 5)).jobs.length,
        1,
      );
      for (const aheadMs of [1_000_000, -1_000_000]) await movesAcrossClocks(world, aheadMs);
    },
  ),

  "After a move jobs come in the order in which they would have come, and their keys hold.": whole(
    async (world) => {
      await fillPartition(world);
      const { to } = await move(world, { limit: 7, repeats: 1 });
      const worker = await Worker.start(to, "jobs");
      const order = ids(await worker.claim(100));
      assert.deepEqual(order, [
        "ready-1",
        "ready-3",
        "ready-2",
        "behind",
        "ready-0",
        "bytes",
        "deduped",
        "last",
      ]);
      assert.equal(await worker.state("blocked-1"), "blocked", "its key is taken by held jobs");
      assert.equal(
        await worker.state("behind-too"),
        "blocked",
        "its key is taken by a waiting retry",
      );
    },
  ),

  "After a move a holder goes on under its session and its token, and loses them as it would have.":
    whole(async (world) => {
      const { session, held, cancelled } = await fillPartition(world);
      const { to } = await move(world, { limit: 7, repeats: 1 });
      const { store } = await to.aside();
      const queue = new Queue(store, "jobs");
      const base = {
        op: "queue.settle",
        queue: "jobs",
        session: session.id,
        result: null,
      } as const;
      const idle = { ...base, error: null, delayMs: 0, holdsKey: true } as const;
      const renew = { op: "session.renew", session: session.id, ttlMs: 60_000 } as const;
      const renewed = await store.commit(to.namespace, [renew] as const);
      assert.ok(renewed.ok);
      assert.deepEqual(renewed.results[0].cancels, [
        { queue: "jobs", seq: cancelled.seq, token: cancelled.token },
      ]);
      const done = { ...idle, seq: held.seq, token: held.token, outcome: "completed" } as const;
      const stale = await store.commit(to.namespace, [{ ...done, token: held.token - 1 }]);
      isRefused(stale, "FENCED");
      assert.equal((await queue.get("held"))?.progress, "50");
      assert.ok((await store.commit(to.namespace, [done])).ok);
      assert.equal((await new Kv<unknown>(store).get("bound"))?.value, "session");
      await store.commit(to.namespace, [{ ...renew, ttlMs: 1 }]);
      await to.pass(2);
      assert.equal(await new Kv<unknown>(store).get("bound"), null);
      const after = await store.commit(to.namespace, [{ op: "session.end", session: "none" }]);
      assert.ok(after.ok);
      assert.equal(
        (await queue.get("held-cancelled"))?.state,
        "cancelled",
        "its cancel came along",
      );
      await keepsEnded(world);
    }),

  "After a move a cursor of the source gives one resync.": whole(async (world) => {
    await fillPartition(world);
    const { source, target, to } = await move(world, { limit: 100, repeats: 1 });
    const { revision } = headOf(await dump(source, world.namespace));
    const queue = new Queue((await to.aside()).store, "jobs");
    assert.equal((await queue.changes(revision)).isResync, true);
    const abort = new AbortController();
    for await (const batch of target.watch(to.namespace, "", revision, abort.signal)) {
      assert.equal(batch.isResync, true);
      abort.abort();
    }
  }),

  "An import into a partition that is in use is refused with `ALREADY_EXISTS` and changes nothing.":
    whole(async (world) => {
      await fillPartition(world);
      const to = await world.other();
      const kv = new Kv<number>((await to.aside()).store);
      await kv.put("mine", 1);
      const source = (await world.aside()).driver;
      const target = (await to.aside()).driver;
      const page = await source.export(world.namespace, null, 100);
      const before = await dump(target, to.namespace);
      await refuses(target.import(to.namespace, page.records), "ALREADY_EXISTS");
      assert.deepEqual(timeless(await dump(target, to.namespace)), timeless(before));
      await refusesLatePages(world);
    }),

  "An export of a partition that was never used is empty, and a cursor that no page gave is refused with `INVALID_DATA`.":
    async (world) => {
      const { driver } = await world.aside();
      const empty = await driver.export(`${world.namespace}/never`, null, 10);
      assert.deepEqual([empty.records, empty.cursor], [[], null]);
      await new Kv<number>(await world.store()).put("k", 1);
      for (const cursor of ["", "x", "7", "null", "{}", "[]", ...FORGED.map(forged)]) {
        await refuses(driver.export(world.namespace, cursor, 10), "INVALID_DATA");
      }
      // A cursor of a store that was lost: an empty last page would end a move that moved nothing.
      const kv = forged(["kv", 0, "k"]);
      assert.deepEqual((await driver.export(world.namespace, kv, 10)).records, []);
      await refuses(driver.export(`${world.namespace}/never`, kv, 10), "INVALID_DATA");
    },
};

type Place = readonly [section: unknown, queue: unknown, after: unknown];

/** Cursors of the right form that no page of a partition without queues gives. */
const FORGED: readonly Place[] = [
  ["job", undefined, undefined],
  ["job", 0, null],
  ["job", 7, null],
  ["mark", 7, { kind: "dedupe", name: "k" }],
  ["kv", 0, 5],
  ["kv", 1, "k"],
  ["kv", 0, undefined],
  ["partition", 0, "k"],
  ["everything", 0, null],
];

function forged([name, queue, after]: Place): string {
  return JSON.stringify({ section: name, queue, after });
}

/** Hosts' clocks differ: every span is what it was, none ends early or late by the difference. */
async function movesAcrossClocks(world: World, aheadMs: number): Promise<void> {
  const from = await world.other();
  const to = await world.other();
  await (aheadMs > 0 ? to : from).fixture.advance?.(Math.abs(aheadMs));
  const { session } = await fillPartition(from);
  const { source, target } = await move(from, { limit: 7, repeats: 2 }, to);
  const [was, is] = [await dump(source, from.namespace), await dump(target, to.namespace)];
  assert.equal(movedBy(was, is), aheadMs);
  assert.deepEqual(comparable(is, aheadMs), comparable(was));
  const { store } = await to.aside();
  const [kv, queue] = [new Kv<unknown>(store), new Queue(store, "jobs")];
  const renew = { op: "session.renew", session: session.id, ttlMs: 900_000 } as const;
  assert.ok((await store.commit(to.namespace, [renew])).ok, "its lease is what it was");
  const dedupe = { key: "first", mode: "first", ttlMs: 300_000 } as const;
  const repeat = async () => (await queue.add({ payload: "", dedupe })).status;
  const nextMs = async (name: string) =>
    (await new Queue(store, name).claim(await store.session(), 1)).nextMs;
  assert.deepEqual([await nextMs("paced"), await nextMs("keyed")], [200_000, 200_000]);
  await to.fixture.advance?.(249_999);
  assert.equal((await kv.get("ttl"))?.value, "ends");
  await to.fixture.advance?.(1);
  assert.equal(await kv.get("ttl"), null);
  await to.fixture.advance?.(49_999);
  assert.equal(await repeat(), "deduped");
  await to.fixture.advance?.(1);
  assert.equal(await repeat(), "added");
}

/** A session that was ended and still holds something when its partition moves has ended there. */
async function keepsEnded(world: World): Promise<void> {
  const here = await world.other();
  const { store } = await here.aside();
  const [session, count] = ["ends", 4 * LIMITS.reapRows];
  const open: Op = { op: "session.open", session, ttlMs: 60_000, label: "ends" };
  const puts = Array.from({ length: count }, (_, i): Op => {
    return { op: "kv.put", key: `k${i}`, value: "", session };
  });
  for (const ops of [[open], puts, [{ op: "session.end", session } as const]]) {
    assert.ok((await store.commit(here.namespace, ops)).ok);
  }
  const { to, source } = await move(here, { limit: 1_000, repeats: 1 });
  const records = await dump(source, here.namespace);
  const left = records.filter((each) => each.record === "session" && each.session === session);
  assert.equal(left.length, 1, "not removed yet");
  const there = (await to.aside()).store;
  assert.deepEqual((await new Kv<unknown>(there).list("k")).entries, []);
  isRefused(await there.commit(to.namespace, [open]), "LEASE_LOST");
}

/** Pages that come again when the partition was opened for work: what was done since stands. */
async function refusesLatePages(world: World): Promise<void> {
  for (const work of ["a put", "the opening"] as const) {
    const { to, source, target } = await move(world, { limit: 7, repeats: 1 });
    const { store } = await to.aside();
    if (work === "a put") await new Kv<number>(store).put("plain", 2);
    else await target.seal(to.namespace, { isSealed: false, movedTo: null });
    await new Queue(store, "jobs").purge("dead");
    await new Queue(store, "paused").resume();
    const before = timeless(await dump(target, to.namespace));
    let cursor: string | null = null;
    do {
      const page = await source.export(world.namespace, cursor, 7);
      if (page.records.length > 0) {
        await refuses(target.import(to.namespace, page.records), "ALREADY_EXISTS");
      }
      ({ cursor } = page);
    } while (cursor !== null);
    assert.deepEqual(timeless(await dump(target, to.namespace)), before, work);
  }
}
