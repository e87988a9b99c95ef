/** The write lock between processes: fair, bounded, and never held by waiting for it. */
import { statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { folder, Program } from "../../../test/kit/sqlite.ts";
import type { Group } from "../../store/ops.ts";
import { sqlite, WAL_BOUND_BYTES } from "./index.ts";
import type { WriterStats } from "./index.ts";

const add: Group = { partition: "p", ops: [{ op: "kv.add", key: "n", delta: 1 }] };

/** Adds, claims and completes jobs without a pause, two commits in flight, until the time is up. */
const SATURATE = `
  const [path, me, ms] = args;
  const store = await sqlite(path);
  const [partition, queue, session] = ["p", "q" + me, "s" + me];
  const open = { op: "session.open", session, ttlMs: 60_000, label: me };
  await store.commit([{ partition, ops: [open] }]);
  say("up");
  await heard();
  let settled = 0;
  let ids = 0;
  const endMs = performance.now() + ms;
  const settle = ({ seq, token }) => ({ op: "queue.settle", queue, session, seq, token,
    outcome: "completed", result: null, error: null, delayMs: 0, holdsKey: false });
  async function lane() {
    let held = [];
    while (performance.now() < endMs) {
      const groups = held.map((one) => ({ partition, ops: [settle(one)] }));
      const add = () => job(me + "-" + ids++, { queue, payload: "x".repeat(200) });
      groups.push({ partition, ops: Array.from({ length: 50 }, add) });
      groups.push({ partition, ops: [{ op: "queue.claim", queue, session, max: 50 }] });
      const results = await store.commit(groups);
      settled += held.length;
      held = results.at(-1).results[0].jobs;
    }
  }
  await Promise.all([lane(), lane()]);
  say({ settled, ...(await store.stats()) });
  await store.close();`;

interface Outcome extends WriterStats {
  readonly settled: number;
}

async function saturate(path: string, processes: number, ms: number): Promise<readonly Outcome[]> {
  const programs = Array.from(
    { length: processes },
    (_, i) => new Program(SATURATE, path, String(i), ms),
  );
  for (const program of programs) await program.hear();
  for (const program of programs) program.go();
  const outcomes = await Promise.all(programs.map((program) => program.hear()));
  await Promise.all(programs.map((program) => program.ended));
  return outcomes as readonly Outcome[];
}

test(
  "four saturating processes get their share, and the write-ahead file stays bounded",
  { timeout: 60_000 },
  async () => {
    const path = join(folder(), "a.db");
    let largest = 0;
    const timer = setInterval(() => {
      largest = Math.max(largest, statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
    }, 20);
    const outcomes = await saturate(path, 4, 4_000).finally(() => clearInterval(timer));
    const settled = outcomes.map((outcome) => outcome.settled);
    const longest = Math.max(...outcomes.map((outcome) => outcome.lock.longestWaitMs));
    console.log(
      `settled ${settled.join(" ")}, longest wait for the lock ${longest} ms, -wal ${largest} bytes`,
    );
    expect(Math.max(...settled) / Math.min(...settled)).toBeLessThanOrEqual(3);
    expect(longest).toBeLessThan(4_000);
    // They did meet.
    for (const { lock } of outcomes) expect(lock.waited).toBeGreaterThan(10);
    expect(largest).toBeGreaterThan(1_000_000);
    expect(largest).toBeLessThan(WAL_BOUND_BYTES);
    const raw = new Database(path);
    expect(raw.prepare("SELECT sum(completed) FROM hf_queue").pluck().get()).toBe(
      settled.reduce((sum, one) => sum + one, 0),
    );
    raw.close();
  },
);

test.each([{ thread: "off" }, {}] as const)(
  "a lock held by somebody else ends the wait at its bound (%o)",
  async (options) => {
    const path = join(folder(), "a.db");
    const store = await sqlite(path, { ...options, lockTimeoutMs: 120 });
    await store.commit([add]);
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    const refused = store.commit([add]);
    await expect(refused).rejects.toMatchObject({
      ...{ code: "UNAVAILABLE", retryable: true, outcome: "not-applied" },
      details: { lockTimeoutMs: 120 },
    });
    await expect(refused).rejects.toThrow("lockTimeoutMs 120");
    // Reads are not held up.
    const [[entry]] = await store.read([{ read: "kv.get", partition: "p", keys: ["n"] }]);
    expect(entry?.value).toBe("1");
    const waiting = store.commit([add]);
    other.exec("COMMIT");
    await waiting;
    const { lock } = await store.stats();
    expect(lock.waited).toBeGreaterThanOrEqual(1);
    expect(lock.longestWaitMs).toBeGreaterThanOrEqual(120);
    other.close();
    await store.close();
  },
);

test("a process that is alone leaves no gaps and never waits", async () => {
  const store = await sqlite(join(folder(), "a.db"), { thread: "off", allow: "unsynced" });
  for (let i = 0; i < 500; i++) await store.commit([add]);
  expect((await store.stats()).lock).toEqual({ acquired: 500, waited: 0, longestWaitMs: 0 });
  await store.close();
});
