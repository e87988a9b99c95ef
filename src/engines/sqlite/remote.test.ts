/** The writer's thread: what crosses, and what becomes of calls when it dies. */
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import Database from "better-sqlite3";
import { beforeEach, expect, test, vi } from "vitest";
import { folder, job, Program } from "../../../test/kit/sqlite.ts";
import type { Group } from "../../store/ops.ts";
import { sqlite } from "./index.ts";
import { detach, packGroups } from "./messages.ts";

const threads: Worker[] = [];
vi.mock("node:worker_threads", async (original) => {
  const real = await original<{ readonly Worker: typeof Worker }>();
  class Seen extends real.Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...real, Worker: Seen };
});
beforeEach(() => void threads.splice(0));

const partition = "p";
const add: Group = { partition, ops: [{ op: "kv.add", key: "n", delta: 1 }] };

test("when the thread dies, calls under way end as unknown and later ones as not applied", async () => {
  const path = join(folder(), "a.db");
  const store = await sqlite(path);
  await store.commit([add]);
  // A held lock keeps the commit from ending first.
  const other = new Database(path);
  other.exec("BEGIN IMMEDIATE");
  // The thread dies of its own error: terminated within a call into SQLite, it takes the process
  // along at times.
  threads[0]?.postMessage(null);
  const underWay = store.commit([add]);
  const checked = expect(underWay).rejects.toMatchObject({
    code: "UNAVAILABLE",
    outcome: "unknown",
  });
  await checked;
  const later = { code: "UNAVAILABLE", outcome: "not-applied" };
  await expect(store.commit([add])).rejects.toMatchObject(later);
  await expect(store.commit([add])).rejects.toThrow("open the store again");
  other.exec("ROLLBACK");
  other.close();
  // Reads do without the thread, and closing ends.
  const [[entry]] = await store.read([{ read: "kv.get", partition, keys: ["n"] }]);
  expect(entry?.value).toBe("1");
  await store.close();
});

test("bytes and text cross as they are", async () => {
  const store = await sqlite(join(folder(), "a.db"));
  const bytes = Buffer.from([0, 1, 254, 255]);
  const text = "text with \u0001, \uD83D\uDE00 and \u2028";
  const put = (key: string, value: string | Uint8Array): Group => {
    return {
      partition,
      ops: [
        { op: "kv.put", key, value },
        { op: "kv.get", key },
      ],
    };
  };
  const results = await store.commit([put("a", bytes), put("b", text)]);
  const [a, b] = results.map((result) => (result.ok ? result.results[1] : undefined)) as {
    value: unknown;
  }[];
  expect(Buffer.from(a?.value as Uint8Array)).toEqual(bytes);
  expect(b?.value).toBe(text);
  await store.close();
});

test("a small buffer does not take its pool along", () => {
  const small = Buffer.from("abc");
  expect(small.buffer.byteLength).toBeGreaterThan(1_000);
  const groups: Group[] = [{ partition, ops: [job("a", { payload: small })] }];
  const [packed] = packGroups(groups) as readonly Group[];
  const { payload } = (packed as Group).ops[0] as { payload: Uint8Array };
  expect(payload.buffer.byteLength).toBe(3);
  expect(detach({ list: [small, null, 1, "x"] })).toEqual({
    list: [new Uint8Array([97, 98, 99]), null, 1, "x"],
  });
});

test("a defect in the thread comes back as a defect, not as an outage", async () => {
  const store = await sqlite(join(folder(), "a.db"));
  const broken = { partition, ops: [{ op: "queue.enqueue", queue: "q" }] } as unknown as Group;
  const error: unknown = await store.commit([broken]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Error);
  expect(error).not.toHaveProperty("code", "UNAVAILABLE");
  await store.commit([add]);
  await store.close();
});

test(
  "an open store that nobody waits for lets its process end; one that listens does not",
  { timeout: 30_000 },
  async () => {
    const path = join(folder(), "a.db");
    const idle = new Program(
      `const store = await sqlite(args[0]);
     await store.commit([{ partition: "p", ops: [job("a")] }]);
     say("up");
     await new Promise((resolve) => process.once("beforeExit", resolve));`,
      path,
    );
    await idle.hear();
    idle.process.stdin?.end();
    expect(await idle.ended).toBe(0);
    const listening = new Program(
      `const store = await sqlite(args[0]);
     const stop = store.subscribe({ kind: "queue", partition: "p", name: "q" }, () => {
       say("heard");
       stop();
     });
     say("up");
     await new Promise((resolve) => process.once("beforeExit", resolve));`,
      path,
    );
    await listening.hear();
    listening.process.stdin?.end();
    const store = await sqlite(path, { thread: "off" });
    await store.commit([{ partition, ops: [job("b")] }]);
    expect(await listening.hear()).toBe("heard");
    expect(await listening.ended).toBe(0);
    await store.close();
  },
);
