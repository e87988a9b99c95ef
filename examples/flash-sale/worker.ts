/**
 * One worker process: opens the store and takes orders until it is told to stop, or killed. Started
 * by `processes.ts`, never by hand.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { connect } from "holdfast";
import { NAMESPACE } from "./books.ts";
import { orders } from "./definitions.ts";
import type { Order } from "./rules.ts";
import { takeOrder, takeOrderCarelessly } from "./till.ts";
import { READY, SETTINGS_VARIABLE, STOP } from "./worker-settings.ts";
import type { WorkerSettings } from "./worker-settings.ts";

const DRAIN_MS = 5_000;
/** A worker that can't even end in order ends like this. */
const LEAVE_MS = 9_000;

/** A stand-in for the calls that a real shop makes for an order: prices, addresses, fraud. */
async function checkPrices(order: Order, checkMs: number, signal: AbortSignal): Promise<void> {
  await sleep(checkMs + Math.min(order.items.length, checkMs), undefined, { signal });
}

async function main(settings: WorkerSettings): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => {
    setTimeout(() => process.exit(1), LEAVE_MS).unref();
    stopping.abort();
  };
  // A terminal sends its interrupt to all processes; the sale decides what becomes of its workers.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", stop);
  process.on("message", (message) => message === STOP && stop());
  // The sale is gone, whatever became of it: so is this worker.
  process.on("disconnect", stop);

  const { url, sessionTtlMs, concurrency, checkMs, isBroken } = settings;
  const take = isBroken ? takeOrderCarelessly : takeOrder;
  await using hf = await connect(url, { namespace: NAMESPACE, sessionTtlMs, drainMs: DRAIN_MS });
  await using worker = hf.open(orders).work(
    async (order, job) => {
      await checkPrices(order, checkMs, job.signal);
      return take(hf, order, job);
    },
    { concurrency, signal: stopping.signal },
  );
  process.send?.(READY);
  await worker.done;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main(JSON.parse(process.env[SETTINGS_VARIABLE] ?? "") as WorkerSettings);
  process.disconnect();
}
