import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { NAMESPACE, ORDERS_QUEUE, PREFIX } from "./books.ts";
import { Killer } from "./killer.ts";
import type { KillerOptions, Victims } from "./killer.ts";

/** The session's label names the process: here the test's own, which nobody kills. */
const pid = process.pid;
const signal = new AbortController().signal;
let hf: Holdfast;
let events: string[];

beforeEach(async () => {
  hf = await connect("memory:", { namespace: NAMESPACE });
  events = [];
});
afterEach(async () => {
  await hf.close();
});

function killerOf(kill: Victims["kill"], options: Partial<KillerOptions> = {}): Killer {
  return new Killer(
    hf,
    { pids: [pid], kill },
    {
      ...{ kills: 1, pauseMs: 1, mercyMs: 10, random: () => 0.5 },
      feed: async () => {},
      isOver: () => false,
      onEvent: (text) => events.push(text),
      ...options,
    },
  );
}

/** Holds two jobs, and gives the way to let go of them. */
async function holdTwo(): Promise<() => Promise<void>> {
  const queue = hf.queue(ORDERS_QUEUE);
  await queue.addMany([{ payload: "1" }, { payload: "2" }]);
  const session = await hf.store.session();
  const { jobs } = await queue.claim(session, 2);
  return async () => {
    for (const job of jobs) await queue.settle(session, job, { outcome: "released" });
  };
}

test("a kill counts if the store shows the leases of the dead, and is written down", async () => {
  await holdTwo();
  const killed: number[] = [];
  const killer = killerOf(async (victim) => void killed.push(victim));
  await killer.run(signal);
  expect(killed).toEqual([pid]);
  expect(killer.counted).toBe(1);
  const record = await hf.kv.get(`${PREFIX.kill}1`);
  expect(record?.value).toMatchObject({ pid, leases: 2 });
  expect(events).toEqual([`kill -9 of process ${pid}, which held 2 orders`]);
});

test("a kill of a process that held nothing any more does not count", async () => {
  const release = await holdTwo();
  let isOver = false;
  const killer = killerOf(
    async () => {
      await release();
      isOver = true;
    },
    { isOver: () => isOver },
  );
  await killer.run(signal);
  expect(killer.attempts).toBe(1);
  expect(killer.counted).toBe(0);
  expect((await hf.kv.list(PREFIX.kill)).entries).toEqual([]);
});

test("when nobody holds anything it asks for work first", async () => {
  let feeds = 0;
  const killer = killerOf(async () => {}, {
    feed: async () => {
      feeds += 1;
      if (feeds === 2) await holdTwo();
    },
  });
  await killer.run(signal);
  expect(feeds).toBeGreaterThanOrEqual(2);
  expect(killer.counted).toBe(1);
});

test("it ends when there is nothing left to be killed for", async () => {
  let looks = 0;
  const killer = killerOf(async () => {}, { isOver: () => (looks += 1) > 3 });
  await killer.run(signal);
  expect(killer.attempts).toBe(0);
});
