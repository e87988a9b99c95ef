/** The queue on SQLite, every job synced at add and at completion. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Holdfast } from "holdfast";
import { backlog } from "./backlog.ts";
import { fill, inFlight, next, open, work } from "./holdfast.ts";
import { check, PAYLOAD, percentile, rawCommits, timed } from "./kit.ts";
import type { Contender, Measure, Sample } from "./kit.ts";
import { liteque } from "./liteque.ts";
import * as plainjob from "./plainjob.ts";

const OURS = "holdfast";
const CONCURRENCY = 100;

async function waiting(hf: Holdfast): Promise<number> {
  return (await hf.open(work).counts()).ready;
}

function adds(jobs: number, width: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      const queue = hf.open(work);
      await inFlight(100, width, () => queue.add(PAYLOAD));
      const sample = await timed(jobs, () => inFlight(jobs, width, () => queue.add(PAYLOAD)));
      check((await waiting(hf)) === jobs + 100, "adds are waiting");
      await hf.close();
      return sample;
    },
  };
}

function addMany(jobs: number, chunk: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      const queue = hf.open(work);
      const payloads = Array.from({ length: chunk }, () => PAYLOAD);
      await queue.addMany(payloads.slice(0, 500));
      const sample = await timed(jobs, async () => {
        for (let i = 0; i < jobs; i += chunk) await queue.addMany(payloads);
      });
      check((await waiting(hf)) === jobs + 500, "added jobs are waiting");
      await hf.close();
      return sample;
    },
  };
}

/**
 * Fills the queue, then times from the worker's start until the last job is stored as completed.
 */
async function drain(
  hf: Holdfast,
  jobs: number,
  handle: () => Promise<void> | void,
): Promise<Sample> {
  const queue = hf.open(work);
  let ran = 0;
  let resolve!: () => void;
  const all = new Promise<void>((done) => {
    resolve = done;
  });
  const sample = await timed(jobs, async () => {
    const worker = queue.work(
      async () => {
        ran++;
        await handle();
        if (ran === jobs) resolve();
      },
      { concurrency: CONCURRENCY },
    );
    await all;
    while ((await queue.counts()).completed < jobs) {
      await new Promise((wait) => setTimeout(wait, 1));
    }
    await worker.close();
  });
  check(ran === jobs, `expected ${jobs} handler runs, got ${ran}`);
  return sample;
}

function processAll(jobs: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      await fill(hf, jobs);
      const sample = await drain(hf, jobs, () => {});
      await hf.close();
      return sample;
    },
  };
}

function processAndAdd(jobs: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      await fill(hf, jobs);
      const follow = hf.open(next);
      const sample = await drain(hf, jobs, async () => {
        await follow.add(PAYLOAD);
      });
      check((await follow.counts()).ready === jobs, "follow-up jobs are waiting");
      await hf.close();
      return sample;
    },
  };
}

/**
 * p99 in ms from just before the add to the handler's first line, open loop; the adder in this or
 * in another process.
 */
function latency(jobs: number, perSecond: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      const queue = hf.open(work);
      const started = new Map<number, number>();
      const waits: number[] = [];
      const worker = queue.work(
        (job) => {
          const at = started.get((job as typeof PAYLOAD).at);
          if (at !== undefined) waits.push(performance.now() - at);
        },
        { concurrency: 10 },
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
      const sample = await timed(jobs, async () => {
        for (let i = 0; i < jobs; i++) {
          started.set(i, performance.now());
          void queue.add({ ...PAYLOAD, at: i });
          await new Promise((resolve) => setTimeout(resolve, 1_000 / perSecond));
        }
        while (waits.length < jobs) await new Promise((resolve) => setTimeout(resolve, 5));
      });
      await worker.close();
      await hf.close();
      return { value: percentile(waits, 0.99), cpuUs: sample.cpuUs };
    },
  };
}

/**
 * As `latency`, the worker in another process on the same file; both read the host's wall clock.
 */
function latencyAcross(jobs: number, perSecond: number): Contender {
  return {
    name: OURS,
    async run(folder) {
      const hf = await open(folder);
      const queue = hf.open(work);
      const child = fork(fileURLToPath(new URL("latency-worker.js", import.meta.url)), [folder]);
      const waits: number[] = [];
      const ready = new Promise<void>((resolve) => {
        child.on("message", (message: { readonly waitMs?: number }) => {
          if (message.waitMs === undefined) resolve();
          else waits.push(message.waitMs);
        });
      });
      await ready;
      const sample = await timed(jobs, async () => {
        for (let i = 0; i < jobs; i++) {
          void queue.add({ ...PAYLOAD, at: performance.timeOrigin + performance.now() });
          await new Promise((resolve) => setTimeout(resolve, 1_000 / perSecond));
        }
        while (waits.length < jobs) await new Promise((resolve) => setTimeout(resolve, 5));
      });
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.send("stop");
      await gone;
      await hf.close();
      return { value: percentile(waits, 0.99), cpuUs: sample.cpuUs };
    },
  };
}

export const measures: readonly (() => Measure)[] = [
  () => ({
    bench: "queue.sqlite.add.1",
    unit: "jobs/s",
    better: "more",
    ours: adds(10_000, 1),
    peers: [plainjob.add(10_000), liteque(10_000, 1)],
    reference: [rawCommits(10_000)],
    note: "one awaited add at a time; plainjob and liteque don't sync at acknowledgement",
  }),
  () => ({
    bench: "queue.sqlite.add.64",
    unit: "jobs/s",
    better: "more",
    ours: adds(100_000, 64),
    peers: [plainjob.add(100_000), liteque(100_000, 64)],
    note: "64 awaited adds in flight (plainjob is synchronous)",
  }),
  () => ({
    bench: "queue.sqlite.addMany",
    unit: "jobs/s",
    better: "more",
    ours: addMany(300_000, 10_000),
    peers: [plainjob.addMany(300_000, 500)],
    note: "10,000 a call; plainjob 500, its own bench's size",
  }),
  () => ({
    bench: "queue.sqlite.process",
    unit: "jobs/s",
    better: "more",
    ours: processAll(100_000),
    peers: [plainjob.processAll(100_000)],
    note: "100,000 jobs of 200 bytes, no-op handler, concurrency 100, filled before",
  }),
  () => ({
    bench: "queue.sqlite.processAndAdd",
    unit: "jobs/s",
    better: "more",
    ours: processAndAdd(50_000),
    peers: [plainjob.processAndAdd(50_000)],
    note: "50,000 jobs; each handler awaits the add of one job to another queue",
  }),
  () => ({
    bench: "queue.sqlite.latency",
    unit: "ms p99",
    better: "less",
    ours: latency(800, 200),
    peers: [plainjob.latency(800, 200)],
    note: "add to handler on an idle queue, 200 a second, one process",
  }),
  () => ({
    bench: "queue.sqlite.latencyAcross",
    unit: "ms p99",
    better: "less",
    ours: latencyAcross(800, 200),
    peers: [],
    note: "as latency, the worker in another process on the same file",
  }),
  () => ({
    bench: "queue.sqlite.backlog",
    unit: "jobs/s",
    better: "more",
    ours: backlog(OURS, 1_000_000),
    peers: [backlog("holdfast with 40,000 waiting", 40_000)],
    note: "20,000 of 1,000,000 waiting jobs; the ratio is that to 20,000 of 40,000; at most 300 MB resident is asked of the worker, and checked",
  }),
];
