/**
 * Bad input: each fault is a typed error that says what was expected, what was got and what to do,
 * and leaves nothing half-written.
 */
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { folder, job } from "../../../test/kit/sqlite.ts";
import { ManualClock } from "../../core/clock.ts";
import type { Group } from "../../store/ops.ts";
import { checkFileSystem } from "./connect.ts";
import { openReader } from "./database.ts";
import { sqlite } from "./index.ts";

const partition = "p";
const inline = { thread: "off" } as const;
const add: Group = { partition, ops: [{ op: "kv.add", key: "n", delta: 1 }] };
const misconfigured = { code: "MISCONFIGURED", outcome: "not-applied", retryable: false };

async function value(path: string): Promise<unknown> {
  const store = await sqlite(path, inline);
  const [[entry]] = await store.read([{ read: "kv.get", partition, keys: ["n"] }]);
  await store.close();
  return entry?.value;
}

test.each([
  [{ modus: "ro" }, "modus"],
  [{ mode: "readonly" }, "mode"],
  [{ max_page_count: "-1" }, "max_page_count"],
  [{ max_page_count: "1e3" }, "max_page_count"],
  [{ lockTimeoutMs: "0" }, "lockTimeoutMs"],
  [{ thread: "yes" }, "thread"],
  [{ network: "on" }, "network"],
])("parameters %o of a URL are refused by name", async (params, name) => {
  const path = join(folder(), "a.db");
  const refused = sqlite(path, { params });
  await expect(refused).rejects.toMatchObject(misconfigured);
  await expect(refused).rejects.toThrow(name);
});

test("options from code are checked as arguments", async () => {
  const path = join(folder(), "a.db");
  const wrong = (options: object): Promise<unknown> => sqlite(path, options);
  await expect(wrong({ mod: "ro" })).rejects.toThrow(TypeError);
  await expect(wrong({ mode: "readonly" })).rejects.toThrow(RangeError);
  await expect(wrong({ maxPageCount: 1.5 })).rejects.toThrow(RangeError);
  await expect(wrong({ allow: "fast" })).rejects.toThrow(RangeError);
  await expect(wrong({ thread: "on", clock: new ManualClock() })).rejects.toThrow("host's");
});

test.each(["", ":memory:"])("the path %j names no file", async (path) => {
  await expect(sqlite(path)).rejects.toMatchObject(misconfigured);
});

test("a folder in the file's place, and a missing folder", async () => {
  const path = folder();
  await expect(sqlite(path)).rejects.toThrow("got a folder");
  const missing = sqlite(join(path, "none", "a.db"));
  await expect(missing).rejects.toMatchObject(misconfigured);
  await expect(missing).rejects.toThrow("make it first");
});

test("a path that the system does not take is MISCONFIGURED, with its reason", async () => {
  const here = folder();
  symlinkSync(join(here, "b"), join(here, "a"));
  symlinkSync(join(here, "a"), join(here, "b"));
  const wrong = { ELOOP: join(here, "a"), ENAMETOOLONG: join(here, "x".repeat(300)) };
  for (const [native, path] of Object.entries(wrong)) {
    await expect(sqlite(path)).rejects.toMatchObject({
      code: "MISCONFIGURED",
      outcome: "not-applied",
      details: { native },
    });
  }
  await expect(sqlite(`${here}/a\u0000b`)).rejects.toMatchObject({ code: "MISCONFIGURED" });
});

test.each([inline, {}, { mode: "ro" }] as const)(
  "a file that is no database is not touched (%o)",
  async (options) => {
    const path = join(folder(), "a.db");
    const text = "These are notes, and no database at all. ".repeat(200);
    writeFileSync(path, text);
    const refused = sqlite(path, options);
    await expect(refused).rejects.toMatchObject({
      ...misconfigured,
      details: { native: "SQLITE_NOTADB" },
    });
    await expect(refused).rejects.toThrow("name another file");
    expect(readFileSync(path, "utf8")).toBe(text);
  },
);

test("damaged pages are CORRUPT, for reads and for commits", async () => {
  const path = join(folder(), "a.db");
  const first = await sqlite(path, inline);
  for (let i = 0; i < 20; i++) {
    const jobs = Array.from({ length: 50 }, (_, k) =>
      job(`j${i}-${k}`, { payload: "x".repeat(300) }),
    );
    await first.commit([{ partition, ops: jobs }]);
  }
  await first.close();
  const bytes = readFileSync(path);
  // All but the first page, which holds the schema.
  bytes.fill(0xa5, 4_096);
  writeFileSync(path, bytes);
  const store = await sqlite(path, inline).catch((error: unknown) => error);
  if (store instanceof Error) expect(store).toMatchObject({ code: "CORRUPT" });
  else throw new Error("Expected damaged tables to be refused at once");
});

test("a damaged page met later fails that commit, not applied, and that read", async () => {
  const path = join(folder(), "a.db");
  const first = await sqlite(path, inline);
  await first.commit([add]);
  await first.close();
  const raw = new Database(path);
  const root = raw.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'hf_kv'").pluck();
  const page = root.get() as number;
  raw.close();
  const bytes = readFileSync(path);
  bytes.fill(0xa5, (page - 1) * 4_096, page * 4_096);
  writeFileSync(path, bytes);
  const store = await sqlite(path, inline);
  const keys = { read: "kv.get", partition, keys: ["n"] } as const;
  await expect(store.read([keys])).rejects.toMatchObject({ code: "CORRUPT" });
  await expect(store.commit([add])).rejects.toMatchObject({
    code: "CORRUPT",
    outcome: "not-applied",
  });
  // What does not touch the page goes on.
  const enqueue: Group = { partition, ops: [job("a")] };
  await expect(store.commit([enqueue])).resolves.toMatchObject([{ ok: true }]);
  await store.close();
});

test("text in another encoding than UTF-8 is refused: keys would be in another order", async () => {
  const path = join(folder(), "a.db");
  const own = new Database(path);
  own.exec("PRAGMA encoding = 'UTF-16le'; CREATE TABLE own (x)");
  own.close();
  const refused = sqlite(path, inline);
  await expect(refused).rejects.toMatchObject(misconfigured);
  await expect(refused).rejects.toThrow("UTF-8");
});

test("a binary that does not load is named as the fault", () => {
  function Broken(): never {
    throw new Error("Could not locate the bindings file");
  }
  const settings = { path: "a.db", mode: "rwc", isSynced: true, maxPageCount: null } as const;
  const open = (): unknown => openReader(Broken as never, { ...settings, lockTimeoutMs: 1 });
  expect(open).toThrow("npm rebuild better-sqlite3");
});

test("mode=ro reads, and refuses to write", async () => {
  const path = join(folder(), "a.db");
  const ro = { params: { mode: "ro" } };
  await expect(sqlite(path, ro)).rejects.toThrow("to exist for mode=ro");
  const writer = await sqlite(path, inline);
  await writer.commit([add]);
  const reader = await sqlite(path, ro);
  const [[entry]] = await reader.read([{ read: "kv.get", partition, keys: ["n"] }]);
  expect(entry?.value).toBe("1");
  const refused = reader.commit([add]);
  await expect(refused).rejects.toMatchObject(misconfigured);
  await expect(refused).rejects.toThrow("mode=ro");
  expect(await reader.durability()).toMatchObject({ synced: "unknown" });
  await reader.close();
  await writer.close();
  expect(await value(path)).toBe("1");
});

test("mode=ro on a database without our tables, and mode=rw on a missing file", async () => {
  const path = join(folder(), "a.db");
  new Database(path).exec("CREATE TABLE own (x)").close();
  await expect(sqlite(path, { mode: "ro" })).rejects.toThrow("found none");
  await expect(sqlite(`${path}2`, { mode: "rw" })).rejects.toMatchObject(misconfigured);
});

test.each([inline, {}] as const)(
  "a full file refuses what does not fit, and goes on (%o)",
  async (thread) => {
    const path = join(folder(), "a.db");
    const full = { ...thread, params: { max_page_count: "120" } };
    const store = await sqlite(path, full);
    await store.commit([add]);
    let acknowledged = 0;
    let refusal: unknown;
    while (refusal === undefined && acknowledged < 500) {
      const ops = [job(`j${acknowledged}`, { payload: "x".repeat(4_000) }), add.ops[0] as never];
      try {
        await store.commit([{ partition, ops }]);
        acknowledged++;
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toMatchObject({ code: "UNAVAILABLE", outcome: "not-applied", retryable: true });
    // Smaller things fit still, and both ops of what failed left no trace.
    await store.commit([add]);
    await store.close();
    expect(await value(path)).toBe(String(acknowledged + 2));
    const raw = new Database(path);
    expect(raw.prepare("SELECT count(*) FROM hf_job").pluck().get()).toBe(acknowledged);
    expect(raw.prepare("SELECT ready FROM hf_queue").pluck().get()).toBe(acknowledged);
    expect(raw.pragma("integrity_check", { simple: true })).toBe("ok");
    raw.close();
    // With room again, all is well.
    const again = await sqlite(path, inline);
    await again.commit([{ partition, ops: [job("more", { payload: "x".repeat(4_000) })] }]);
    await again.close();
  },
);

test("network file systems are refused by name unless allowed", () => {
  expect(() => checkFileSystem("/mnt/a.db", 0x6969)).toThrow("NFS");
  // As a signed number, as some systems give it.
  expect(() => checkFileSystem("/mnt/a.db", 0xff534d42 | 0)).toThrow("CIFS");
  expect(() => checkFileSystem("/mnt/a.db", 0x65735546)).toThrow("network=allow");
  expect(() => checkFileSystem("/tmp/a.db", 0xef53)).not.toThrow();
});

test("a handle is not used in another process", async () => {
  const store = await sqlite(join(folder(), "a.db"), inline);
  const { pid } = process;
  try {
    Object.defineProperty(process, "pid", { value: pid + 1, configurable: true });
    await expect(store.commit([add])).rejects.toMatchObject(misconfigured);
    await expect(store.read([{ read: "store.info" }])).rejects.toThrow("fork");
  } finally {
    Object.defineProperty(process, "pid", { value: pid, configurable: true });
  }
  await store.commit([add]);
  await store.close();
});

test("a file that is moved away takes no more commits", async () => {
  const path = join(folder(), "a.db");
  const clock = new ManualClock();
  const store = await sqlite(path, { clock });
  await store.commit([add]);
  renameSync(path, `${path}.old`);
  clock.block(1_001);
  await expect(store.commit([add])).rejects.toMatchObject(misconfigured);
  renameSync(`${path}.old`, path);
  await store.commit([add]);
  await store.close();
});

test("a symbolic link and its file are one store", async () => {
  const path = folder();
  mkdirSync(join(path, "real"));
  symlinkSync(join(path, "real"), join(path, "link"));
  const one = await sqlite(join(path, "real", "a.db"), inline);
  const two = await sqlite(join(path, "link", "a.db"), inline);
  await one.commit([add]);
  await two.commit([add]);
  await one.close();
  await two.close();
  expect(await value(join(path, "link", "a.db"))).toBe("2");
});

test("durability is read from the settings", async () => {
  const path = join(folder(), "a.db");
  const synced = await sqlite(path);
  expect(await synced.durability()).toEqual({
    ...{ copies: 1, synced: "yes", source: "SQLite journal_mode=wal synchronous=FULL" },
  });
  await synced.close();
  const unsynced = await sqlite(path, { allow: "unsynced" });
  expect(await unsynced.durability()).toMatchObject({ copies: 1, synced: "unknown" });
  await unsynced.close();
});

test("after close everything is refused, and closing again is no error", async () => {
  for (const options of [inline, {}] as const) {
    const store = await sqlite(join(folder(), "a.db"), options);
    await store.close();
    await store.close();
    const closed = { code: "CLOSED", outcome: "not-applied" };
    await expect(store.commit([add])).rejects.toMatchObject(closed);
    await expect(store.read([{ read: "store.info" }])).rejects.toMatchObject(closed);
    expect(() => store.subscribe({ kind: "queue", partition, name: "q" }, () => {})).toThrow(
      "closed",
    );
  }
});
