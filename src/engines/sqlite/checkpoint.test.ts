/**
 * The write-ahead file: bounded when alone, and in spite of a reader as soon as it is gone. The
 * bound among several processes is in lock.test.ts.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { folder, job } from "../../../test/kit/sqlite.ts";
import { sqlite, WAL_BOUND_BYTES } from "./index.ts";
import type { SqliteStore } from "./index.ts";

const MIB = 1_048_576;

async function write(store: SqliteStore, name: string, mebibytes: number): Promise<void> {
  for (let i = 0; i < mebibytes; i++) {
    const payload = "x".repeat(4_000);
    const ops = Array.from({ length: 256 }, (_, k) => job(`${name}-${i}-${k}`, { payload }));
    await store.commit([{ partition: "p", ops }]);
  }
}

test("one process keeps it at a few megabytes, whatever it writes", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, { thread: "off", allow: "unsynced" });
  await write(store, "a", 40);
  expect(statSync(`${path}-wal`).size).toBeLessThan(8 * MIB);
  expect((await store.stats()).checkpoints.checkpoints).toBeGreaterThan(5);
  await store.close();
});

test("a reader that holds old pages lets it grow, and it is cut when the reader is gone", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, { thread: "off", allow: "unsynced" });
  await write(store, "a", 1);
  const reader = new Database(path, { readonly: true });
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM hf_job").get();
  await write(store, "b", 70);
  expect(statSync(`${path}-wal`).size).toBeGreaterThan(WAL_BOUND_BYTES);
  reader.exec("COMMIT");
  await write(store, "c", 12);
  expect(statSync(`${path}-wal`).size).toBeLessThanOrEqual(16 * MIB);
  const { checkpoints } = await store.stats();
  expect(checkpoints.hindered).toBeGreaterThan(0);
  // Not at every commit: a reader in the way costs little.
  expect(checkpoints.checkpoints).toBeLessThan(80);
  reader.close();
  await store.close();
});
