/** Wake-ups between handles on one file: each is another process as far as they can tell. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { folder, job, Program } from "../../../test/kit/sqlite.ts";
import type { Channel } from "../../store/driver.ts";
import { sqlite } from "./index.ts";
import type { SqliteStore } from "./index.ts";

const partition = "p";
const queue = (name: string, kind: Channel["kind"] = "queue"): Channel => ({
  kind,
  partition,
  name,
});

async function open(path: string, options: object = {}): Promise<SqliteStore> {
  const store = await sqlite(path, { allow: "unsynced", ...options });
  onTestFinished(() => store.close());
  return store;
}

/** Resolves at the first hint or message of the channel. */
function next(store: SqliteStore, channel: Channel): Promise<unknown> {
  return new Promise((resolve) => {
    const stop = store.subscribe(channel, (message) => {
      stop();
      resolve(message);
    });
  });
}

test.each([{}, { thread: "off" }])(
  "a job added elsewhere wakes who waits for that queue, and nobody else (%o)",
  async (options) => {
    const path = join(folder(), "a.db");
    const one = await open(path, options);
    const two = await open(path, options);
    await two.commit([{ partition, ops: [job("0", { queue: "other" }), job("0")] }]);
    const others: string[] = [];
    one.subscribe(queue("other"), () => others.push("other"));
    one.subscribe(queue("q", "done"), () => others.push("done"));
    const woken = next(one, queue("q"));
    await two.commit([{ partition, ops: [job("a")] }]);
    expect(await woken).toBeNull();
    expect(others).toEqual([]);
  },
);

test("finished jobs, requests to cancel and messages come through as well", async () => {
  const path = join(folder(), "a.db");
  const one = await open(path);
  const two = await open(path);
  const ops = [
    { op: "session.open", session: "s", ttlMs: 60_000, label: "l" },
    ...[job("a"), job("b")],
    { op: "queue.claim", queue: "q", session: "s", max: 1 },
  ] as const;
  await one.commit([{ partition, ops }]);
  const cancel = next(one, queue("q", "cancel"));
  const done = next(one, queue("q", "done"));
  const bytes = next(one, queue("t", "bus"));
  const text = next(one, queue("u", "bus"));
  await two.commit([
    { partition, ops: [{ op: "queue.cancel", queue: "q", id: "a", reason: null }] },
    { partition, ops: [{ op: "queue.cancel", queue: "q", id: "b", reason: null }] },
    { partition, ops: [{ op: "bus.publish", topic: "t", message: new Uint8Array([1, 2]) }] },
    { partition, ops: [{ op: "bus.publish", topic: "u", message: "hello" }] },
  ]);
  expect([await cancel, await done, await text]).toEqual([null, null, "hello"]);
  expect([...((await bytes) as Uint8Array)]).toEqual([1, 2]);
});

test("a message is heard once by each listener: one's own is not picked up again, an old one never", async () => {
  const path = join(folder(), "a.db");
  const one = await open(path);
  const two = await open(path);
  const publish = (message: string): object => ({ op: "bus.publish", topic: "t", message });
  const say = (store: SqliteStore, message: string): Promise<unknown> =>
    store.commit([{ partition, ops: [publish(message) as never] }]);
  await say(two, "before");
  const heard: Record<string, unknown[]> = { one: [], two: [] };
  one.subscribe(queue("t", "bus"), (message) => heard["one"]?.push(message));
  two.subscribe(queue("t", "bus"), (message) => heard["two"]?.push(message));
  // The answer comes behind the request to watch: the thread takes them in order.
  await one.stats();
  await two.stats();
  for (let i = 0; i < 10; i++) {
    await say(one, `one ${i}`);
    await say(two, `two ${i}`);
  }
  const end = Promise.all([next(one, queue("end", "bus")), next(two, queue("end", "bus"))]);
  await one.commit([{ partition, ops: [{ op: "bus.publish", topic: "end", message: "" }] }]);
  await end;
  const all = Array.from({ length: 10 }, (_, i) => [`one ${i}`, `two ${i}`]).flat();
  for (const name of ["one", "two"]) {
    expect(heard[name]).toHaveLength(all.length);
    expect(new Set(heard[name])).toEqual(new Set(all));
  }
});

test("a watch sees keys that another process writes", async () => {
  const path = join(folder(), "a.db");
  const one = await open(path);
  const two = await open(path);
  const controller = new AbortController();
  const batches = one.watch(partition, "a/", null, controller.signal)[Symbol.asyncIterator]();
  const first = await batches.next();
  const waiting = batches.next();
  await two.commit([{ partition, ops: [{ op: "kv.put", key: "b/1", value: "no" }] }]);
  await two.commit([{ partition, ops: [{ op: "kv.put", key: "a/1", value: "yes" }] }]);
  expect(first.value).toMatchObject({ changes: [], isResync: false });
  const second = await waiting;
  expect(second.value).toMatchObject({ changes: [{ key: "a/1", value: "yes" }] });
  controller.abort();
  await batches.next();
});

test("mode=ro listens too", async () => {
  const path = join(folder(), "a.db");
  const writer = await open(path);
  const reader = await sqlite(path, { mode: "ro" });
  onTestFinished(() => reader.close());
  const woken = next(reader, queue("q"));
  await writer.commit([{ partition, ops: [job("a")] }]);
  expect(await woken).toBeNull();
});

test(
  "a process that dies right after its commit has still woken the others",
  { timeout: 30_000 },
  async () => {
    const path = join(folder(), "a.db");
    const store = await open(path);
    const woken = next(store, queue("q"));
    const program = new Program(
      `const store = await sqlite(args[0]);
     await store.commit([{ partition: "p", ops: [job("a")] }]);
     process.kill(process.pid, "SIGKILL");`,
      path,
    );
    await program.ended;
    expect(await woken).toBeNull();
  },
);
