/**
 * The tables' versions: several processes at once, newer files, and the user's own tables beside
 * ours.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { folder, Program } from "../../../../test/kit/sqlite.ts";
import type { Claimed, ClaimedJob } from "../../../store/ops.ts";
import { sqlite } from "../index.ts";
import { SCHEMA_VERSION } from "./migrate.ts";

const add = { op: "kv.add", key: "n", delta: 1 } as const;
const inline = { thread: "off" } as const;

test(
  "processes that start at once on a missing file make one set of tables",
  { timeout: 60_000 },
  async () => {
    const path = join(folder(), "a.db");
    const programs = Array.from(
      { length: 5 },
      () =>
        new Program(
          `say("up"); await heard();
         const store = await sqlite(args[0]);
         const ops = [{ op: "kv.add", key: "n", delta: 1 }];
         const [result] = await store.commit([{ partition: "p", ops }]);
         say(result.results[0]); await store.close();`,
          path,
        ),
    );
    for (const program of programs) await program.hear();
    for (const program of programs) program.go();
    const sums = await Promise.all(programs.map((program) => program.hear()));
    expect(new Set(sums)).toEqual(new Set([1, 2, 3, 4, 5]));
    expect(await Promise.all(programs.map((program) => program.ended))).toEqual([0, 0, 0, 0, 0]);
  },
);

test(
  "processes that open, write, leave and are killed at once meet no error",
  { timeout: 120_000 },
  async () => {
    // Each round ends with the write-ahead file removed by the last to leave, or in need of a
    // recovery: what the next ones meet when they open.
    const path = join(folder(), "a.db");
    const code = `say("up"); await heard();
      const add = { partition: "p", ops: [{ op: "kv.add", key: "n", delta: 1 }] };
      const [, rounds, isKilled] = args;
      for (let round = 0; round < rounds; round++) {
        const store = await sqlite(args[0], round % 2 === 0 ? {} : { thread: "off" });
        await store.commit([add]);
        if (isKilled && round === rounds - 1) process.kill(process.pid, "SIGKILL");
        await store.close();
      }`;
    const ROUNDS = 6;
    const programs = Array.from({ length: 6 }, (_, i) => new Program(code, path, ROUNDS, i < 3));
    for (const program of programs) await program.hear();
    for (const program of programs) program.go();
    const codes = await Promise.all(programs.map((program) => program.ended));
    expect(codes).toEqual([null, null, null, 0, 0, 0]);
    const store = await sqlite(path, inline);
    const [result] = await store.commit([{ partition: "p", ops: [add] }]);
    expect(result).toMatchObject({ results: [6 * ROUNDS + 1] });
    await store.close();
  },
);

test("a user's own tables in the file are left alone, and user_version is theirs", async () => {
  const path = join(folder(), "a.db");
  const own = new Database(path);
  own.exec(
    "CREATE TABLE orders (id TEXT); INSERT INTO orders VALUES ('1'); PRAGMA user_version = 7",
  );
  const store = await sqlite(path, inline);
  await store.commit([{ partition: "p", ops: [add] }]);
  await store.close();
  expect(own.prepare("SELECT id FROM orders").pluck().all()).toEqual(["1"]);
  expect(own.pragma("user_version", { simple: true })).toBe(7);
  const names = own.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all();
  expect(names.every((name) => name === "orders" || String(name).startsWith("hf_"))).toBe(true);
  own.close();
});

async function withMeta(set: string): Promise<string> {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, inline);
  await store.commit([{ partition: "p", ops: [add] }]);
  await store.close();
  const raw = new Database(path);
  raw.exec(`UPDATE hf_meta SET ${set}`);
  raw.close();
  return path;
}

test("a file that asks for a newer reader is not opened, in any mode", async () => {
  const newer = SCHEMA_VERSION + 1;
  const path = await withMeta(`version = ${newer}, min_reader = ${newer}, min_writer = ${newer}`);
  for (const options of [inline, {}, { mode: "ro" }] as const) {
    await expect(sqlite(path, options)).rejects.toMatchObject({
      code: "INCOMPATIBLE",
      outcome: "not-applied",
      details: { version: SCHEMA_VERSION, minReader: newer },
    });
  }
});

test.each([inline, {}])(
  "a file that asks for a newer writer alone can be read, not written (%o)",
  async (options) => {
    const path = await withMeta(
      `version = ${SCHEMA_VERSION + 1}, min_writer = ${SCHEMA_VERSION + 1}`,
    );
    const store = await sqlite(path, options);
    const [[entry]] = await store.read([{ read: "kv.get", partition: "p", keys: ["n"] }]);
    expect(entry?.value).toBe("1");
    const refusal = { code: "INCOMPATIBLE", outcome: "not-applied" };
    await expect(store.commit([{ partition: "p", ops: [add] }])).rejects.toMatchObject(refusal);
    await expect(store.seal("p", { isSealed: true, movedTo: null })).rejects.toMatchObject(refusal);
    await store.close();
  },
);

test("a newer version that both minima allow is used as it is", async () => {
  const path = await withMeta(`version = ${SCHEMA_VERSION + 1}`);
  const store = await sqlite(path, inline);
  const [result] = await store.commit([{ partition: "p", ops: [add] }]);
  expect(result).toMatchObject({ ok: true, results: [2] });
  await store.close();
});

test("a writer that was open when a newer library took the file over stops writing", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, inline);
  await store.commit([{ partition: "p", ops: [add] }]);
  const raw = new Database(path);
  raw.exec(`UPDATE hf_meta SET min_writer = ${SCHEMA_VERSION + 1}`);
  await expect(store.commit([{ partition: "p", ops: [add] }])).rejects.toMatchObject({
    code: "INCOMPATIBLE",
    outcome: "not-applied",
  });
  expect(raw.prepare("SELECT value FROM hf_keys").pluck().all()).toEqual(["1"]);
  raw.close();
  await store.close();
});

test("every table and view says in the file what it and its columns are", async () => {
  const path = join(folder(), "a.db");
  await (await sqlite(path, inline)).close();
  const raw = new Database(path);
  const texts = raw
    .prepare("SELECT sql FROM sqlite_schema WHERE type IN ('table', 'view')")
    .pluck()
    .all() as string[];
  expect(texts.length).toBeGreaterThan(15);
  for (const text of texts) expect(text.split("\n")[0]).toContain("--");
  raw.close();
});

test("the views for people show each job where it is", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, inline);
  const one = { op: "queue.enqueue", queue: "q", isFresh: true, payload: "x", delayMs: 0 } as const;
  const rest = { priority: 0, key: null, dedupe: null, trace: null } as const;
  const partition = "p";
  await store.commit([
    { partition: "other", ops: [add] },
    {
      partition,
      ops: [
        { op: "session.open", session: "s", ttlMs: 60_000, label: "l" },
        { ...one, ...rest, id: "a" },
        { ...one, ...rest, id: "b" },
        { ...one, ...rest, id: "c", delayMs: 60_000 },
        { ...one, ...rest, id: "d", key: "k" },
        { ...one, ...rest, id: "e", key: "k" },
      ],
    },
  ]);
  const claim = { op: "queue.claim", queue: "q", session: "s", max: 2 } as const;
  const [claimed] = await store.commit([{ partition, ops: [claim] }]);
  const jobs = (claimed as unknown as { results: [Claimed] }).results[0].jobs;
  const { seq, token } = jobs[0] as ClaimedJob;
  const settle = { op: "queue.settle", queue: "q", session: "s", seq, token } as const;
  const how = {
    outcome: "completed",
    result: "r",
    error: null,
    delayMs: 0,
    holdsKey: false,
  } as const;
  await store.commit([{ partition, ops: [{ ...settle, ...how }] }]);
  await store.close();
  const raw = new Database(path);
  const rows = raw
    .prepare("SELECT seq, id, state, session, result FROM hf_jobs ORDER BY seq")
    .raw()
    .all();
  expect(rows).toEqual([
    [1, "a", "completed", null, "r"],
    [2, "b", "leased", "s", null],
    [3, "c", "scheduled", null, null],
    [4, "d", "ready", null, null],
    [5, "e", "blocked", null, null],
  ]);
  raw.close();
});
