/**
 * plainjob at its best settings: WAL and synchronous=NORMAL (its own: it doesn't sync at
 * acknowledgement), sixteen workers.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { better, defineQueue, defineWorker, JobStatus } from "plainjob";
import type { Queue } from "plainjob";
import { check, PAYLOAD, percentile, timed } from "./kit.ts";
import type { Contender, Sample } from "./kit.ts";

const silent = { error() {}, warn() {}, info() {}, debug() {} };
const NAME = "plainjob (not synced)";

function open(folder: string): Queue {
  const connection = better(new Database(join(folder, "plainjob.db")));
  return defineQueue({ connection, logger: silent });
}

function count(queue: Queue, status: JobStatus, type = "bench"): number {
  return queue.countJobs({ type, status });
}

export function add(jobs: number): Contender {
  return {
    name: NAME,
    async run(folder) {
      const queue = open(folder);
      const sample = await timed(jobs, () => {
        for (let i = 0; i < jobs; i++) queue.add("bench", PAYLOAD);
      });
      check(count(queue, JobStatus.Pending) === jobs, "plainjob adds");
      queue.close();
      return sample;
    },
  };
}

export function addMany(jobs: number, chunk: number): Contender {
  return {
    name: NAME,
    async run(folder) {
      const queue = open(folder);
      const chunks = Array.from({ length: chunk }, () => PAYLOAD);
      const sample = await timed(jobs, () => {
        for (let i = 0; i < jobs; i += chunk) queue.addMany("bench", chunks);
      });
      check(count(queue, JobStatus.Pending) === jobs, "plainjob addMany");
      queue.close();
      return sample;
    },
  };
}

/**
 * Works until `jobs` handlers ran and all are stored as done. The store is asked only when the
 * handlers ran: the count walks all jobs that are done, and every one of its milliseconds is
 * plainjob's own.
 */
async function drain(
  queue: Queue,
  jobs: number,
  handle: () => void,
  workers = 16,
): Promise<Sample> {
  let done = 0;
  let resolve!: () => void;
  const ran = new Promise<void>((end) => {
    resolve = end;
  });
  const all = Array.from({ length: workers }, () =>
    defineWorker(
      "bench",
      async () => {
        done++;
        handle();
        if (done === jobs) resolve();
      },
      { queue, logger: silent, pollIntervall: 1 },
    ),
  );
  const sample = await timed(jobs, async () => {
    for (const worker of all) void worker.start();
    await ran;
    while (count(queue, JobStatus.Done) < jobs) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  await Promise.all(all.map((worker) => worker.stop()));
  check(done === jobs, `expected ${jobs} handler runs, got ${done}`);
  return sample;
}

export function processAll(jobs: number): Contender {
  return {
    name: NAME,
    async run(folder) {
      const queue = open(folder);
      queue.addMany(
        "bench",
        Array.from({ length: jobs }, () => PAYLOAD),
      );
      const sample = await drain(queue, jobs, () => {});
      queue.close();
      return sample;
    },
  };
}

export function processAndAdd(jobs: number): Contender {
  return {
    name: NAME,
    async run(folder) {
      const queue = open(folder);
      queue.addMany(
        "bench",
        Array.from({ length: jobs }, () => PAYLOAD),
      );
      const sample = await drain(queue, jobs, () => void queue.add("next", PAYLOAD));
      check(count(queue, JobStatus.Pending, "next") === jobs, "plainjob follow-ups");
      queue.close();
      return sample;
    },
  };
}

/**
 * Open loop at `perSecond`, from just before the add to the handler's first line: p99 in ms,
 * polling each 1 ms.
 */
export function latency(jobs: number, perSecond: number): Contender {
  return {
    name: `${NAME}, 1 ms poll`,
    async run(folder) {
      const queue = open(folder);
      const started = new Map<number, number>();
      const waits: number[] = [];
      const worker = defineWorker(
        "bench",
        async (job) => {
          const { at } = JSON.parse(job.data) as { at: number };
          waits.push(performance.now() - (started.get(at) as number));
        },
        { queue, logger: silent, pollIntervall: 1 },
      );
      void worker.start();
      const sample = await timed(jobs, async () => {
        for (let i = 0; i < jobs; i++) {
          started.set(i, performance.now());
          queue.add("bench", { ...PAYLOAD, at: i });
          await new Promise((resolve) => setTimeout(resolve, 1_000 / perSecond));
        }
        while (waits.length < jobs) await new Promise((resolve) => setTimeout(resolve, 5));
      });
      await worker.stop();
      queue.close();
      return { value: percentile(waits, 0.99), cpuUs: sample.cpuUs };
    },
  };
}
