/** The file's own bound on partitions, and ops in it that a newer library wrote. */
import Database from "better-sqlite3";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folder } from "../../../test/kit/sqlite.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Group } from "../../store/ops.ts";
import { sqlite } from "./index.ts";

const FILL = `
  WITH RECURSIVE n(no) AS (SELECT 2 UNION ALL SELECT no + 1 FROM n WHERE no < ?)
  INSERT INTO hf_partition (no, name, revision, next_seq, is_sealed, journal_count, journal_floor,
    clock_ms)
  SELECT no, 'p' || no, 0, 1, 0, 0, 0, 0 FROM n`;

const put = (partition: string): Group => {
  return { partition, ops: [{ op: "kv.put", key: "k", value: "v" }] };
};

test("a file that is full of partitions refuses one more, and with it nothing is written", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, { thread: "off" });
  await store.commit([put("p1")]);
  const database = new Database(path);
  database.prepare(FILL).run(LIMITS.sqlitePartitions - 1);
  const [last] = await store.commit([put("last")]);
  expect(last?.ok).toBe(true);
  const all = (): unknown[] =>
    ["partition", "kv", "journal"].map((name) =>
      database.prepare(`SELECT * FROM hf_${name}`).all(),
    );
  const before = all();
  expect(before[0]).toHaveLength(LIMITS.sqlitePartitions);
  // What fails as a whole is sent again in halves by the store's batcher.
  await expect(store.commit([put("last"), put("more")])).rejects.toMatchObject({
    ...{ code: "TOO_LARGE", outcome: "not-applied" },
  });
  const check: Group = { partition: "more", ops: [{ op: "kv.check", key: "k", revision: 0 }] };
  expect(await store.commit([check])).toMatchObject([{ ok: true, revision: 0 }]);
  expect(all()).toEqual(before);
  expect(await store.commit([put("last")])).toMatchObject([{ ok: true }]);
  database.close();
  await store.close();
});

test("an op of a newer library stays in the intake, and every commit says why it fails", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path, { thread: "off" });
  await store.commit([put("p")]);
  const database = new Database(path);
  const ops = JSON.stringify([{ op: "queue.later", queue: "q", id: "a", payload: "" }]);
  database.prepare("INSERT INTO hf_intake (partition, ops) VALUES ('p', ?)").run(ops);
  for (let tries = 0; tries < 2; tries++) {
    await expect(store.commit([put("p")])).rejects.toMatchObject({
      ...{ code: "INCOMPATIBLE", outcome: "not-applied" },
      message: expect.stringMatching(/queue\.later.*version/),
    });
  }
  expect(database.prepare("SELECT revision FROM hf_partition").pluck().get()).toBe(1);
  expect(database.prepare("DELETE FROM hf_intake").run().changes).toBe(1);
  expect(await store.commit([put("p")])).toMatchObject([{ ok: true, revision: 2 }]);
  database.close();
  await store.close();
});
