/**
 * A process of `processes.ts`: `saturate` adds and completes as fast as it can, `idle` waits,
 * `hold` takes jobs and never ends them.
 */
import { open, work } from "./holdfast.ts";
import { PAYLOAD } from "./kit.ts";

const [, , folder, mode] = process.argv as [string, string, string, string];
const hf = await open(folder, { sessionTtlMs: mode === "hold" ? 2_000 : 10_000 });
const queue = hf.open(work);
const tell = (message: object): void => void process.send?.(message);

let done = 0;
let holding = 0;
let isRunning = mode === "saturate";

async function feed(): Promise<void> {
  while (isRunning) await queue.addMany(Array.from({ length: 200 }, () => PAYLOAD));
}

const worker = queue.work(
  async (_payload, job) => {
    if (mode === "hold") {
      if (++holding === 10) tell({ holding });
      await new Promise<void>((resolve) => job.signal.addEventListener("abort", () => resolve()));
    }
    done++;
  },
  { concurrency: 100 },
);

process.on("message", (message: { readonly seconds: number } | "stop") => {
  if (message === "stop") {
    void stop();
    return;
  }
  done = 0;
  void feed();
  setTimeout(() => {
    isRunning = false;
    tell({ done });
  }, message.seconds * 1_000);
});

async function stop(): Promise<void> {
  await worker.close();
  const stats = (await hf.store.stats()) as { readonly lock: { readonly longestWaitMs: number } };
  await hf.close();
  tell({ lockWaitMs: Math.round(stats.lock.longestWaitMs) });
  process.exit(0);
}

tell({ ready: true });
