/**
 * A long backlog: how fast its first jobs are worked, and in how much memory. One process fills the
 * queue and ends, another one works, so that what it takes is the worker's own.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { check } from "./kit.ts";
import type { Contender } from "./kit.ts";

/** What the working process tells in the end. */
export interface Worked {
  readonly perSecond: number;
  readonly cpuUs: number;
  /** Handlers that ran. */
  readonly ran: number;
  /** Jobs that the store says are completed. */
  readonly completed: number;
  /** Jobs that the store says still wait. */
  readonly ready: number;
  /** The most that was seen while it worked. */
  readonly rssMb: number;
}

/** At equal counts the rates compare; a backlog of less than twice as many is worked by half. */
const JOBS = 20_000;
const RSS_MB = 300;

/** Runs the worker's module in a process of its own; gives what it told, when it has ended. */
function runChild(folder: string, mode: "fill" | "work", jobs: number): Promise<unknown> {
  const module = fileURLToPath(new URL("backlog-worker.js", import.meta.url));
  return new Promise((resolve, reject) => {
    const child = fork(module, [folder, mode, String(jobs)]);
    let told: unknown;
    child.on("message", (message) => (told = message));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0 && told !== undefined) resolve(told);
      else reject(new Error(`Expected the process to ${mode}, it ended (${signal ?? code})`));
    });
  });
}

export function backlog(name: string, waiting: number): Contender {
  const jobs = Math.min(JOBS, Math.floor(waiting / 2));
  return {
    name,
    async run(folder) {
      await runChild(folder, "fill", waiting);
      const worked = (await runChild(folder, "work", jobs)) as Worked;
      const { perSecond, cpuUs, ran, completed, ready, rssMb } = worked;
      check(completed >= jobs, `${completed} of ${jobs} jobs are stored as completed`);
      check(ran === completed, `${ran} handlers ran, ${completed} jobs are completed`);
      check(ready === waiting - completed, `${ready} of ${waiting} jobs still wait`);
      const memory = `${Math.round(rssMb)} MB resident`;
      check(rssMb <= RSS_MB, `the worker takes at most ${RSS_MB} MB, it took ${memory}`);
      process.stderr.write(`  ${waiting} waiting, ${completed} completed: ${memory}\n`);
      return { value: perSecond, cpuUs };
    },
  };
}
