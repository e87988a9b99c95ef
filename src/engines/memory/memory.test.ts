/** What is the memory engine's alone; the ports' promises are tested by the conformance suites. */
import { expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import type { Claimed, Group, GroupResult, Op, QueueEnqueue } from "../../store/ops.ts";
import { memory, MemoryState } from "./index.ts";

const P = "test";
const group = (...ops: Op[]): Group => ({ partition: P, ops });
const job = (id: string, more: Partial<QueueEnqueue> = {}): QueueEnqueue => ({
  op: "queue.enqueue",
  ...{ queue: "q", id, isFresh: false, payload: `"${id}"`, delayMs: 0, priority: 0 },
  ...{ key: null, dedupe: null, trace: null },
  ...more,
});
const claim = (max = 10): Op => ({ op: "queue.claim", queue: "q", session: "s", max });
const open: Op = { op: "session.open", session: "s", ttlMs: 10_000, label: "test" };

function passed(result: GroupResult | undefined): readonly unknown[] {
  if (result?.ok !== true) throw new Error(`Refused: ${JSON.stringify(result)}`);
  return result.results;
}

test("a job goes from ready to leased to completed, and a lost lease brings it back", async () => {
  const clock = new ManualClock();
  const driver = memory({ clock });
  await driver.commit([group(open), group(job("a"), job("b"))]);
  const [claimed] = passed((await driver.commit([group(claim(1))]))[0]) as [Claimed];
  expect(claimed.jobs.map((one) => one.id)).toEqual(["a"]);
  clock.block(10_001);
  await driver.commit([]);
  await driver.commit([group({ ...open, session: "t" })]);
  const again = (await driver.commit([group({ ...claim(), session: "t" } as Op)]))[0];
  const [second] = passed(again) as [Claimed];
  expect(second.jobs.map((one) => [one.id, one.attempt, one.delivery])).toEqual([
    ["a", 1, 2],
    ["b", 1, 1],
  ]);
  expect(second.jobs[0]?.token).toBeGreaterThan(claimed.jobs[0]?.token as number);
});

test("two drivers on one state see each other, as two processes on a server do", async () => {
  const state = new MemoryState();
  const one = memory({ state });
  const two = memory({ state });
  await one.commit([group({ op: "kv.put", key: "k", value: "1" })]);
  await one.close();
  const [[entry]] = await two.read([{ read: "kv.get", partition: P, keys: ["k"] }]);
  expect(entry?.value).toBe("1");
  await expect(one.commit([])).rejects.toMatchObject({ code: "CLOSED" });
});
