/**
 * The writer on a clock that the tests move: the store's time, whole commits, and what a commit of
 * nothing costs.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { folder, job } from "../../../test/kit/sqlite.ts";
import { ManualClock } from "../../core/clock.ts";
import type { Group } from "../../store/ops.ts";
import { sqlite } from "./index.ts";
import type { SqliteStore } from "./index.ts";

const partition = "p";
const add: Group = { partition, ops: [{ op: "kv.add", key: "n", delta: 1 }] };

async function nowOf(store: SqliteStore): Promise<number> {
  const [info] = await store.read([{ read: "store.info" }]);
  return info.clockMs;
}

test("a clock set back does not take the store's time back, nor stop it", async () => {
  const path = join(folder(), "a.db");
  const clock = new ManualClock();
  const store = await sqlite(path, { clock });
  await store.commit([add]);
  const beforeMs = await nowOf(store);
  clock.jumpWall(-3_600_000);
  await store.commit([add]);
  expect(await nowOf(store)).toBe(beforeMs);
  clock.block(500);
  await store.commit([add]);
  expect(await nowOf(store)).toBe(beforeMs + 500);
  await store.close();
});

test("a clock set forward moves the store's time for good, across processes and restarts", async () => {
  const path = join(folder(), "a.db");
  const fast = new ManualClock();
  const one = await sqlite(path, { clock: fast });
  fast.jumpWall(3_600_000);
  await one.commit([add]);
  const aheadMs = await nowOf(one);
  await one.close();
  // A process whose clock is right opens the file later: it never sees time go back.
  const clock = new ManualClock();
  const two = await sqlite(path, { clock });
  expect(await nowOf(two)).toBe(aheadMs);
  const put = { op: "kv.put", key: "t", value: "v", ttlMs: 1_000 } as const;
  await two.commit([{ partition, ops: [put] }]);
  const keys = { read: "kv.get", partition, keys: ["t"] } as const;
  clock.block(999);
  await two.commit([]);
  expect((await two.read([keys]))[0][0]?.value).toBe("v");
  // Leases and TTLs end although the wall clock is an hour behind the store's.
  clock.block(1);
  expect((await two.read([keys]))[0][0]).toBeNull();
  await two.close();
});

test("two processes with clocks apart agree on the later one", async () => {
  const path = join(folder(), "a.db");
  const early = new ManualClock(1_700_000_000_000);
  const late = new ManualClock(1_700_000_060_000);
  const one = await sqlite(path, { clock: early });
  const two = await sqlite(path, { clock: late });
  await one.commit([add]);
  expect(await nowOf(one)).toBe(1_700_000_000_000);
  await two.commit([add]);
  await one.commit([add]);
  expect(await nowOf(one)).toBe(1_700_000_060_000);
  expect(await nowOf(two)).toBe(1_700_000_060_000);
  await one.close();
  await two.close();
});

test("every commit that changes something stores the clock, whatever it changes", async () => {
  const path = join(folder(), "a.db");
  const clock = new ManualClock();
  const store = await sqlite(path, { clock });
  const raw = new Database(path, { readonly: true });
  const stored = raw.prepare("SELECT max(clock_ms) FROM hf_partition").pluck();
  const session = { op: "session.open", session: "s", ttlMs: 60_000, label: "l" } as const;
  const renew = { op: "session.renew", session: "s", ttlMs: 60_000 } as const;
  const pause = { op: "queue.pause", queue: "q", isPaused: true } as const;
  const publish = { op: "bus.publish", topic: "t", message: "m" } as const;
  for (const op of [session, renew, pause, publish, job("a")]) {
    clock.block(10);
    await store.commit([{ partition, ops: [op] }]);
    expect(stored.get(), op.op).toBe(clock.wallMs());
  }
  raw.close();
  await store.close();
});

test("a commit that changes nothing writes nothing", async () => {
  const path = join(folder(), "a.db");
  const clock = new ManualClock();
  const store = await sqlite(path, { clock });
  const open = { op: "session.open", session: "s", ttlMs: 60_000, label: "l" } as const;
  await store.commit([{ partition, ops: [open, job("a", { delayMs: 50_000 })] }]);
  const raw = new Database(path, { readonly: true });
  const version = raw.prepare("PRAGMA data_version").pluck();
  const before = [version.get(), statSync(`${path}-wal`).mtimeMs];
  clock.block(10);
  await store.commit([]);
  const claim = { op: "queue.claim", queue: "q", session: "s", max: 10 } as const;
  const check = { op: "kv.check", key: "k", revision: 0 } as const;
  const refused = { op: "kv.check", key: "k", revision: 9 } as const;
  await store.commit([claim, check, refused].map((op) => ({ partition, ops: [op] })));
  expect([version.get(), statSync(`${path}-wal`).mtimeMs]).toEqual(before);
  raw.close();
  await store.close();
});

test("an error in the middle of a commit takes all of it back, and the next one works", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, { clock: new ManualClock() });
  await store.commit([add]);
  // An op that no port builds: the defect comes after the first group was written.
  const broken = { partition, ops: [{ op: "queue.enqueue", queue: "q" }] } as unknown as Group;
  await expect(store.commit([add, broken])).rejects.toThrow();
  const [[entry]] = await store.read([{ read: "kv.get", partition, keys: ["n"] }]);
  expect(entry?.value).toBe("1");
  const [result] = await store.commit([add]);
  expect(result).toMatchObject({ ok: true, results: [2] });
  await store.close();
});

test("commits that are called at once run in the order of the calls", async () => {
  for (const options of [{ thread: "off" }, {}] as const) {
    const store = await sqlite(join(folder(), "a.db"), options);
    const commits = Array.from({ length: 30 }, () => store.commit([add]));
    const results = await Promise.all(commits);
    const sums = results.map(([result]) => (result?.ok === true ? result.results[0] : undefined));
    expect(sums).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    await store.close();
  }
});

test("closing lets commits that were called before end", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path);
  const commits = Array.from({ length: 10 }, () => store.commit([add]));
  await store.close();
  await Promise.all(commits);
  const again = await sqlite(path, { thread: "off" });
  const [[entry]] = await again.read([{ read: "kv.get", partition, keys: ["n"] }]);
  expect(entry?.value).toBe("10");
  await again.close();
});

test("ready jobs are listed by number, few or many", async () => {
  const store = await sqlite(join(folder(), "a.db"), {
    clock: new ManualClock(),
    allow: "unsynced",
  });
  const more = (i: number): object => ({ priority: i % 3, delayMs: i % 4 === 3 ? 60_000 : 0 });
  for (let i = 0; i < 16; i++) {
    const ops = Array.from({ length: 1_000 }, (_, k) => job(`j${i}-${k}`, more(k)));
    await store.commit([{ partition, ops }]);
    const list = { read: "queue.list", partition, queue: "q", limit: 5 } as const;
    const after = i * 1_000 - 3;
    const [ready, scheduled] = await store.read([
      { ...list, state: "ready", after: Math.max(0, after) },
      { ...list, state: "scheduled", after: Math.max(0, after) },
    ]);
    const first = ready.jobs.map((view) => view.seq);
    const start = Math.max(0, after);
    const expected = Array.from({ length: 20 }, (_, k) => start + 1 + k);
    expect(first).toEqual(expected.filter((seq) => (seq - 1) % 4 !== 3).slice(0, 5));
    const due = scheduled.jobs.map((view) => view.seq);
    expect(due).toEqual(expected.filter((seq) => (seq - 1) % 4 === 3).slice(0, 5));
  }
  await store.close();
});
