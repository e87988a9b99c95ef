/**
 * Measures of several processes on one SQLite file: fairness, idle cost, recovery after kill -9.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { open, work } from "./holdfast.ts";
import { check, PAYLOAD } from "./kit.ts";
import type { Contender, Measure } from "./kit.ts";

interface Told {
  readonly ready?: true;
  readonly done?: number;
  readonly lockWaitMs?: number;
  readonly holding?: number;
}

function start(folder: string, mode: string): ChildProcess {
  return fork(fileURLToPath(new URL("process-worker.js", import.meta.url)), [folder, mode]);
}

function told<K extends keyof Told>(child: ChildProcess, key: K): Promise<NonNullable<Told[K]>> {
  return new Promise((resolve) => {
    const listen = (message: Told): void => {
      const value = message[key];
      if (value === undefined) return;
      child.off("message", listen);
      resolve(value as NonNullable<Told[K]>);
    };
    child.on("message", listen);
  });
}

function gone(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Four processes that each add and complete jobs as fast as they can, for `seconds`: busiest over
 * idlest.
 */
function fairness(seconds: number): Contender {
  return {
    name: "holdfast",
    async run(folder) {
      const first = await open(folder);
      await first.close();
      const children = Array.from({ length: 4 }, () => start(folder, "saturate"));
      await Promise.all(children.map((child) => told(child, "ready")));
      for (const child of children) child.send({ seconds });
      const settled = await Promise.all(children.map((child) => told(child, "done")));
      const waits = await Promise.all(
        children.map(async (child) => {
          const wait = told(child, "lockWaitMs");
          const exit = gone(child);
          child.send("stop");
          const ms = await wait;
          await exit;
          return ms;
        }),
      );
      check(Math.min(...settled) > 0, `every process settles jobs: ${settled.join(", ")}`);
      const total = settled.reduce((sum, count) => sum + count, 0);
      process.stderr.write(
        `  settled ${settled.join(", ")} (${Math.round(total / seconds)}/s in all), longest wait for the lock ${Math.max(...waits)} ms\n`,
      );
      return { value: Math.max(...settled) / Math.min(...settled), cpuUs: null };
    },
  };
}

/** CPU time of a process from the kernel's books, in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Share of a core that a worker uses on an empty queue, in percent. */
function idle(seconds: number): Contender {
  return {
    name: "holdfast",
    async run(folder) {
      const child = start(folder, "idle");
      await told(child, "ready");
      await sleep(2_000);
      const before = cpuSeconds(child.pid as number);
      await sleep(seconds * 1_000);
      const used = cpuSeconds(child.pid as number) - before;
      const exit = gone(child);
      child.send("stop");
      await exit;
      return { value: (used / seconds) * 100, cpuUs: null };
    },
  };
}

/**
 * From kill -9 of a process that holds 10 jobs until the last of them runs elsewhere, with a
 * session of 2 s, in ms.
 */
function recovery(): Contender {
  return {
    name: "holdfast",
    async run(folder) {
      const child = start(folder, "hold");
      await told(child, "ready");
      const hf = await open(folder);
      const queue = hf.open(work);
      await queue.addMany(Array.from({ length: 10 }, () => PAYLOAD));
      await told(child, "holding");
      let ran = 0;
      let resolve!: () => void;
      const all = new Promise<void>((done) => {
        resolve = done;
      });
      const worker = queue.work(() => {
        if (++ran === 10) resolve();
      });
      const exit = gone(child);
      const killedMs = performance.now();
      child.kill("SIGKILL");
      await all;
      const value = performance.now() - killedMs;
      await exit;
      await worker.close();
      await hf.close();
      return { value, cpuUs: null };
    },
  };
}

export const measures: readonly (() => Measure)[] = [
  () => ({
    bench: "queue.sqlite.fairness",
    unit: "busiest / idlest",
    better: "less",
    ours: fairness(10),
    peers: [],
    note: "4 processes that add and complete as fast as they can on one file, 10 s; at most 3 is asked",
  }),
  () => ({
    bench: "queue.sqlite.idle",
    unit: "% of a core",
    better: "less",
    ours: idle(20),
    peers: [],
    note: "one worker on an empty queue, 20 s; under 1 is asked",
  }),
  () => ({
    bench: "queue.sqlite.recovery",
    unit: "ms",
    better: "less",
    ours: recovery(),
    peers: [],
    note: "kill -9 of a process that holds 10 jobs until all of them ran elsewhere; session TTL 2,000 ms",
  }),
];
