/**
 * The other process of `queue.sqlite.latencyAcross`: works the queue and tells how long each job
 * took to arrive.
 */
import { open, work } from "./holdfast.ts";

const folder = process.argv[2] as string;
const hf = await open(folder);
const worker = hf.open(work).work(
  (job) => {
    const nowMs = performance.timeOrigin + performance.now();
    process.send?.({ waitMs: nowMs - (job as { readonly at: number }).at });
  },
  { concurrency: 10 },
);
process.on("message", () => {
  void worker
    .close()
    .then(() => hf.close())
    .then(() => process.exit(0));
});
process.send?.({});
