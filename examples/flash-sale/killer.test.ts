import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { Runs } from "holdfast/ports/runs";
import { NAMESPACE, ORDERS_WORKFLOW, PREFIX } from "./books.ts";
import { Killer } from "./killer.ts";
import type { KillerOptions, Victims } from "./killer.ts";

/** The session's label names the process: here the test's own, which nobody kills. */
const { pid } = process;
/** The payment service's, as it were. */
const PAYMENT = 1;
const { signal } = new AbortController();
let hf: Holdfast;
let runs: Runs;
let events: string[];
let killed: number[];

beforeEach(async () => {
  hf = await connect("memory:", { namespace: NAMESPACE });
  runs = new Runs(hf.store, ORDERS_WORKFLOW);
  events = [];
  killed = [];
});
afterEach(async () => {
  await hf.close();
});

function killerOf(victims: Partial<Victims> = {}, options: Partial<KillerOptions> = {}): Killer {
  const calm: Victims = {
    ...{ workers: [pid], compensating: [], payment: PAYMENT, openCalls: 0 },
    kill: async (victim) => void killed.push(victim),
  };
  // What is a getter stays one.
  const all: Victims = Object.defineProperties(calm, Object.getOwnPropertyDescriptors(victims));
  return new Killer(hf, all, {
    ...{ kills: 1, pauseMs: 1, mercyMs: 10, random: () => 0.5 },
    feed: async () => {},
    isOver: () => false,
    onEvent: (text) => events.push(text),
    ...options,
  });
}

/** Holds two runs, of which one is being undone, and gives the way to let go of them. */
async function holdTwo(): Promise<() => Promise<void>> {
  await runs.start({ id: "1", payload: "1" });
  await runs.start({ id: "2", payload: "2" });
  const session = await hf.store.session();
  const { jobs } = await runs.queue.claim(session, 2);
  const [, second] = jobs;
  if (second === undefined) throw new Error("Expected two runs");
  await runs.record(session, second, 0, [{ key: "stop:", data: "{}", delayMs: null }]);
  return async () => {
    for (const job of jobs) await runs.queue.settle(session, job, { outcome: "released" });
  };
}

test("a kill counts if the store shows the leases of the dead, and is written down", async () => {
  await holdTwo();
  const killer = killerOf();
  await killer.run(signal);
  expect(killed).toEqual([pid]);
  expect(killer.counted).toBe(1);
  const record = await hf.kv.get(`${PREFIX.kill}1`);
  expect(record?.value).toMatchObject({
    ...{ what: "worker", pid, leases: 2 },
    runs: [
      { id: "1", isCompensating: false },
      { id: "2", isCompensating: true },
    ],
  });
  expect(events).toEqual([
    `kill -9 of worker ${pid}, which held 2 leases, 1 in the middle of undoing`,
  ]);
});

test("a kill of a process that held nothing any more does not count", async () => {
  const release = await holdTwo();
  let isOver = false;
  const kill = async (): Promise<void> => {
    await release();
    isOver = true;
  };
  const killer = killerOf({ kill }, { isOver: () => isOver });
  await killer.run(signal);
  expect(killer.attempts).toBe(1);
  expect(killer.counted).toBe(0);
  expect((await hf.kv.list(PREFIX.kill)).entries).toEqual([]);
});

test("the second kill is of the payment service, while it has calls open", async () => {
  await holdTwo();
  let looks = 0;
  const killer = killerOf(
    {
      get openCalls() {
        return (looks += 1) < 5 ? 0 : 3;
      },
    },
    { kills: 2 },
  );
  await killer.run(signal);
  expect(killed).toEqual([pid, PAYMENT]);
  const record = await hf.kv.get(`${PREFIX.kill}2`);
  expect(record?.value).toEqual({ what: "payment", pid: PAYMENT, open: 3 });
  expect(events[1]).toBe("kill -9 of the payment service 1, which had 3 calls open");
});

test("the third is of a worker that says that it is undoing something, and of no other", async () => {
  await holdTwo();
  let looks = 0;
  const killer = killerOf(
    {
      openCalls: 1,
      get compensating() {
        return (looks += 1) < 5 ? [] : [pid];
      },
    },
    { kills: 3 },
  );
  await killer.run(signal);
  expect(killed).toEqual([pid, PAYMENT, pid]);
  expect(looks).toBe(5);
});

test("what was missed is aimed at again", async () => {
  const release = await holdTwo();
  const killer = killerOf(
    {
      openCalls: 1,
      compensating: [pid],
      kill: async (victim) => {
        killed.push(victim);
        // Whatever was undone is over, and another run is held.
        if (killed.length === 2) {
          await release();
          await runs.start({ id: "3", payload: "3", priority: 100 });
          await runs.queue.claim(await hf.store.session(), 1);
        }
      },
    },
    { kills: 4 },
  );
  await killer.run(signal);
  expect(killed).toEqual([pid, PAYMENT, pid, pid]);
  expect(killer.counted).toBe(4);
});

test("when nobody holds anything it asks for work first", async () => {
  let feeds = 0;
  const feed = async (): Promise<void> => {
    feeds += 1;
    if (feeds === 2) await holdTwo();
  };
  const killer = killerOf({}, { feed });
  await killer.run(signal);
  expect(feeds).toBeGreaterThanOrEqual(2);
  expect(killer.counted).toBe(1);
});

test("it ends when there is nothing left to be killed for", async () => {
  let looks = 0;
  const killer = killerOf({}, { isOver: () => (looks += 1) > 3 });
  await killer.run(signal);
  expect(killer.attempts).toBe(0);
});
