/**
 * Ops in the caller's own transaction: with its rows or not at all, never across an await, taken in
 * at once.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { folder, job, Program } from "../../../test/kit/sqlite.ts";
import { ManualClock } from "../../core/clock.ts";
import { LIMITS } from "../../core/limits.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../store/ops.ts";
import type { JobView, QueueEnqueue, QueueSettle } from "../../store/ops.ts";
import { sqlite } from "./index.ts";
import type { SqliteStore } from "./index.ts";

const partition = "p";

interface Setup {
  readonly path: string;
  readonly store: SqliteStore;
  readonly own: Database.Database;
}

async function setup(options: object = { thread: "off" }): Promise<Setup> {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, options);
  const own = new Database(path);
  own.exec("CREATE TABLE orders (id TEXT PRIMARY KEY)");
  onTestFinished(async () => {
    own.close();
    await store.close();
  });
  return { path, store, own };
}

const order = (own: Database.Database, id: string): unknown =>
  own.prepare("INSERT INTO orders VALUES (?)").run(id);
const orders = (own: Database.Database): unknown[] =>
  own.prepare("SELECT id FROM orders ORDER BY id").pluck().all();

async function jobs(store: SqliteStore, ...ids: string[]): Promise<(string | undefined)[]> {
  const [views] = await store.read([{ read: "queue.get", partition, queue: "q", ids }]);
  return views.map((view) => view?.id);
}

/**
 * A macrotask: the microtasks after a transaction, and an inline commit they ask for, are over
 * then.
 */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what is put in stands with the caller's rows, and is taken in at once, in order", async () => {
  const { store, own } = await setup();
  const heard: unknown[] = [];
  store.subscribe({ kind: "queue", partition, name: "q" }, () => heard.push("queue"));
  own.transaction(() => {
    order(own, "1");
    store.enqueueIn(own, partition, [job("a"), job("b", { payload: new Uint8Array([0, 255]) })]);
    store.enqueueIn(own, partition, [job("c")]);
  })();
  await turn();
  expect(orders(own)).toEqual(["1"]);
  const [views] = await store.read([
    { read: "queue.list", partition, queue: "q", state: "ready", after: null, limit: 9 },
  ]);
  expect(views.jobs.map((view) => view.id)).toEqual(["a", "b", "c"]);
  expect(Buffer.from(views.jobs[1]?.payload as Uint8Array)).toEqual(Buffer.from([0, 255]));
  expect(heard).toEqual(["queue"]);
  expect(own.prepare("SELECT count(*) FROM hf_intake").pluck().get()).toBe(0);
});

test("in the writer's thread as well", async () => {
  const { store, own } = await setup({});
  const ready = new Promise<void>((resolve) => {
    store.subscribe({ kind: "queue", partition, name: "q" }, () => resolve());
  });
  own.transaction(() => store.enqueueIn(own, partition, [job("a")]))();
  await ready;
  expect(await jobs(store, "a")).toEqual(["a"]);
});

test("a rollback takes both", async () => {
  const { store, own } = await setup();
  const broken = own.transaction(() => {
    order(own, "1");
    store.enqueueIn(own, partition, [job("a")]);
    throw new Error("no");
  });
  expect(broken).toThrow("no");
  await turn();
  await store.commit([]);
  expect(orders(own)).toEqual([]);
  expect(await jobs(store, "a")).toEqual([undefined]);
});

test("an await inside the transaction rolls it back, and nothing after it is written by itself", async () => {
  const { store, own } = await setup();
  const late = own.prepare("INSERT INTO orders VALUES ('late')");
  const refused = { code: "MISCONFIGURED", outcome: "not-applied" };
  own.exec("BEGIN IMMEDIATE");
  order(own, "1");
  store.enqueueIn(own, partition, [job("a")]);
  await Promise.resolve();
  expect(own.inTransaction).toBe(false);
  // The lock is free again: others write at once.
  const [result] = await store.commit([{ partition, ops: [{ op: "kv.add", key: "n", delta: 1 }] }]);
  expect(result?.ok).toBe(true);
  expect(() => late.run()).toThrow("readonly");
  expect(() => order(own, "2")).toThrow("awaited");
  expect(() => store.enqueueIn(own, partition, [job("b")])).toThrow("open transaction");
  expect(() => own.exec("COMMIT")).toThrow(expect.objectContaining(refused));
  // The program has seen the end of the broken transaction: the connection is whole again.
  expect(orders(own)).toEqual([]);
  own.transaction(() => {
    order(own, "3");
    store.enqueueIn(own, partition, [job("c")]);
  })();
  await turn();
  expect(orders(own)).toEqual(["3"]);
  expect(await jobs(store, "a", "b", "c")).toEqual([undefined, undefined, "c"]);
});

test("an await while a statement is iterated: rolled back as soon as the connection is free", async () => {
  const { store, own } = await setup();
  const numbers = own.prepare("VALUES (1), (2), (3)").pluck();
  const late = own.prepare("INSERT INTO orders VALUES ('late')");
  own.exec("BEGIN IMMEDIATE");
  order(own, "1");
  store.enqueueIn(own, partition, [job("a")]);
  for (const number of numbers.iterate()) {
    await turn();
    expect(() => own.exec(`INSERT INTO orders VALUES ('${String(number)}')`)).toThrow("awaited");
  }
  // The lock is given back, and with it the others may write.
  const [result] = await store.commit([{ partition, ops: [{ op: "kv.add", key: "n", delta: 1 }] }]);
  expect(result?.ok).toBe(true);
  expect(() => late.run()).toThrow("readonly");
  expect(() => own.exec("COMMIT")).toThrow("awaited");
  expect(orders(own)).toEqual([]);
  expect(await jobs(store, "a")).toEqual([undefined]);
});

test("an id that another job has is refused in the transaction, the same job is not", async () => {
  const { store, own } = await setup();
  const named = (id: string, payload: string): ReturnType<typeof job> =>
    job(id, { isFresh: false, payload });
  await store.commit([{ partition, ops: [named("a", "x")] }]);
  const refused = { code: "ALREADY_EXISTS", outcome: "not-applied" };
  const put = own.transaction((payload: string) => {
    order(own, payload);
    store.enqueueIn(own, partition, [named("b", "x"), named("a", payload)]);
  });
  expect(() => put("y")).toThrow(expect.objectContaining(refused));
  put("x");
  await turn();
  expect(orders(own)).toEqual(["x"]);
  expect(await jobs(store, "a", "b")).toEqual(["a", "b"]);
});

test("the id of a job that was replaced, or is over, is not another's", async () => {
  const { store, own } = await setup();
  const named = (id: string, payload: string, more: Partial<QueueEnqueue> = {}): QueueEnqueue =>
    job(id, { isFresh: false, payload, ...more });
  const config = { ...DEFAULT_QUEUE_CONFIG, keepMs: 1 };
  const dedupe = { key: "k", ttlMs: 600_000, mode: "last" } as const;
  await store.commit([
    {
      partition,
      ops: [
        { op: "queue.configure", queue: "q", config },
        { op: "session.open", session: "s", ttlMs: 60_000, label: "" },
        named("over", "x"),
        { op: "queue.claim", queue: "q", session: "s", max: 1 },
      ],
    },
  ]);
  await store.commit([
    { partition, ops: [named("a", "x", { dedupe }), named("b", "y", { dedupe })] },
  ]);
  const put = own.transaction((...ops: QueueEnqueue[]) => store.enqueueIn(own, partition, ops));
  // Repeats the add whose payload was replaced since.
  put(named("a", "x"));
  const view = async (id: string): Promise<JobView | null> => {
    const [views] = await store.read([{ read: "queue.get", partition, queue: "q", ids: [id] }]);
    return views[0] ?? null;
  };
  await turn();
  expect(await view("a")).toMatchObject({ payload: "y" });
  const { seq, token } = (await view("over")) as JobView;
  const settle: QueueSettle = {
    ...{ op: "queue.settle", queue: "q", session: "s", seq, token: token as number },
    ...{ outcome: "completed", result: null, error: null, delayMs: 0, holdsKey: true },
  };
  expect(() => put(named("over", "new"))).toThrow("another payload");
  const results = await store.commit([{ partition, ops: [settle] }]);
  expect(results[0]).toMatchObject({ ok: true });
  await expect.poll(() => view("over")).toBeNull();
  put(named("over", "new"));
  await turn();
  expect(await view("over")).toMatchObject({ state: "ready", payload: "new" });
});

test("a partition beyond the limit is refused in the transaction, and commits go on", async () => {
  const { store, own } = await setup();
  const fill = own.prepare(
    `INSERT INTO hf_partition SELECT value, 'p' || value, 0, 1, 0, NULL, 0, 0, 0
     FROM json_each(?)`,
  );
  fill.run(JSON.stringify(Array.from({ length: LIMITS.sqlitePartitions - 1 }, (_, i) => i + 1)));
  const put = (name: string): void =>
    own.transaction(() => store.enqueueIn(own, name, [job(name)]))();
  own.transaction(() => {
    store.enqueueIn(own, "last", [job("a")]);
    expect(() => store.enqueueIn(own, "more", [job("b")])).toThrow("at most 8192 partitions");
  })();
  put("last");
  expect(() => put("more")).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  put("p7");
  await turn();
  expect(own.prepare("SELECT count(*) FROM hf_intake").pluck().get()).toBe(0);
  const ops = [{ op: "kv.add", key: "n", delta: 1 }] as const;
  await expect(store.commit([{ partition: "more", ops }])).rejects.toMatchObject({
    code: "TOO_LARGE",
  });
  expect(await store.commit([{ partition: "last", ops }])).toMatchObject([{ ok: true }]);
});

test("a new transaction after a broken one works, though the old one was never ended", async () => {
  const { store, own } = await setup();
  own.exec("BEGIN");
  store.enqueueIn(own, partition, [job("a")]);
  await Promise.resolve();
  own.exec("BEGIN");
  order(own, "1");
  own.exec("COMMIT");
  expect(orders(own)).toEqual(["1"]);
});

test("each wrong connection is refused with its reason", async () => {
  const { store, own, path } = await setup();
  const put = (database: unknown): void =>
    store.enqueueIn(database as never, partition, [job("a")]);
  expect(() => put(own)).toThrow("between BEGIN and COMMIT");
  const other = new Database(`${path}-other`);
  other.exec("BEGIN");
  expect(() => put(other)).toThrow("open the store's own file");
  other.close();
  const memory = new Database(":memory:");
  expect(() => put(memory)).toThrow("in memory");
  memory.close();
  const readonly = new Database(path, { readonly: true });
  expect(() => put(readonly)).toThrow("read-only");
  readonly.close();
  expect(() => put({})).toThrow(TypeError);
  // Another library with the same face, such as libsql.
  const alike = { inTransaction: true, memory: false, readonly: false, name: path };
  expect(() => put(alike)).toThrow("two copies of SQLite");
});

test("a sealed partition takes nothing, and what was put in before goes under the seal", async () => {
  const { store, own } = await setup();
  own.transaction(() => store.enqueueIn(own, partition, [job("a")]))();
  // At once, before the microtask has asked for a commit.
  await store.seal(partition, { isSealed: true, movedTo: "there" });
  expect(await jobs(store, "a")).toEqual(["a"]);
  own.exec("BEGIN");
  const moved = { code: "MOVED", outcome: "not-applied", details: { partition, movedTo: "there" } };
  expect(() => store.enqueueIn(own, partition, [job("b")])).toThrow(expect.objectContaining(moved));
  own.exec("ROLLBACK");
});

test("a queue's bound does not refuse what is a fact already", async () => {
  const { store, own } = await setup();
  const config = { ...DEFAULT_QUEUE_CONFIG, maxWaiting: 1 };
  await store.commit([{ partition, ops: [{ op: "queue.configure", queue: "q", config }] }]);
  own.transaction(() => store.enqueueIn(own, partition, [job("a"), job("b"), job("c")]))();
  await turn();
  expect(await jobs(store, "a", "b", "c")).toEqual(["a", "b", "c"]);
  const [refused] = await store.commit([{ partition, ops: [job("d")] }]);
  expect(refused).toMatchObject({ ok: false, refusal: { code: "OVERLOADED" } });
});

test("a long intake is taken in by several commits, all of it", async () => {
  const { store, own } = await setup({ clock: new ManualClock() });
  own.transaction(() => {
    for (let i = 0; i < 2_500; i++) store.enqueueIn(own, partition, [job(`j${i}`)]);
  })();
  for (let i = 0; i < 20; i++) await turn();
  const [[view]] = await store.read([{ read: "queue.stats", partition, queues: ["q"] }]);
  expect(view?.counts.ready).toBe(2_500);
});

test(
  "a crash at any point leaves the caller's row and its job, or neither",
  { timeout: 60_000 },
  async () => {
    const path = join(folder(), "a.db");
    const store = await sqlite(path);
    onTestFinished(() => store.close());
    const own = new Database(path);
    own.exec("CREATE TABLE orders (id TEXT PRIMARY KEY)");
    for (let round = 0; round < 4; round++) {
      const program = new Program(
        `const store = await sqlite(args[0]);
       const own = new Database(args[0]);
       const order = own.prepare("INSERT INTO orders VALUES (?)");
       for (let i = 0; ; i++) {
         const id = args[1] + "-" + i;
         own.transaction(() => {
           order.run(id);
           store.enqueueIn(own, "p", [job(id)]);
         })();
         if (i === 20) say("busy");
         if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
       }`,
        path,
        round,
      );
      await program.hear();
      await new Promise((resolve) => setTimeout(resolve, round * 7));
      await program.kill();
    }
    // Any process takes in what the dead ones left, however many commits that needs.
    for (let i = 0; i < 1_000; i++) {
      await store.commit([]);
      if (own.prepare("SELECT count(*) FROM hf_intake").pluck().get() === 0) break;
    }
    const taken = own.prepare("SELECT id FROM hf_jobs ORDER BY id").pluck().all();
    expect(taken).toEqual(orders(own));
    expect(taken.length).toBeGreaterThan(80);
    own.close();
  },
);
