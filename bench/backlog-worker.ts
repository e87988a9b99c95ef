/** The processes of `backlog.ts`: `fill` adds the jobs, `work` completes the first of them. */
import type { Worked } from "./backlog.ts";
import { fill, open, work } from "./holdfast.ts";
import { timed } from "./kit.ts";

const [, , folder, mode, count] = process.argv as [string, string, string, string, string];
const jobs = Number(count);
const hf = await open(folder);
const queue = hf.open(work);
const SAMPLE_MS = 20;

async function workSome(): Promise<Worked> {
  let ran = 0;
  let rss = 0;
  const look = (): void => {
    rss = Math.max(rss, process.memoryUsage.rss());
  };
  const looking = setInterval(look, SAMPLE_MS);
  const startMs = performance.now();
  // It claims ahead, so it completes some more than it was asked for: all of them count.
  const sample = await timed(1, async () => {
    let resolve!: () => void;
    const enough = new Promise<void>((done) => {
      resolve = done;
    });
    const worker = queue.work(
      () => {
        if (++ran === jobs) resolve();
      },
      { concurrency: 100 },
    );
    await enough;
    await worker.close();
  });
  const seconds = (performance.now() - startMs) / 1_000;
  clearInterval(looking);
  look();
  const { completed, ready } = await queue.counts();
  return {
    perSecond: completed / seconds,
    cpuUs: (sample.cpuUs ?? 0) / completed,
    ran,
    completed,
    ready,
    rssMb: rss / 1e6,
  };
}

const told = mode === "fill" ? await fill(hf, jobs) : await workSome();
await hf.close();
process.send?.(told ?? {}, () => process.exit(0));
