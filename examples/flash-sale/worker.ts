/**
 * One worker process: opens the store, takes orders and sends mails until it is told to stop, or
 * killed. Started by `processes.ts`, never by hand.
 */
import { connect } from "holdfast";
import { Bank } from "./bank.ts";
import { NAMESPACE } from "./books.ts";
import { takeOrderCarelessly } from "./careless.ts";
import { CrashPoint } from "./crash-point.ts";
import { confirmations, placeOrder } from "./definitions.ts";
import { sendMail, sendMailCarelessly } from "./mails.ts";
import { READY, SETTINGS_VARIABLE, STOP } from "./settings.ts";
import type { WorkerNews, WorkerSettings } from "./settings.ts";
import { takeOrder } from "./till.ts";
import type { Till } from "./till.ts";

const DRAIN_MS = 5_000;
/** A worker that can't even end in order ends like this. */
const LEAVE_MS = 9_000;

/** Calls around each step: counts compensations, and dies where the plan says so. */
function aroundSteps(crash: CrashPoint | null): Till["around"] {
  let compensating = 0;
  const tell = (change: 1 | -1): void => {
    compensating += change;
    process.send?.({ compensating } satisfies WorkerNews);
  };
  return async <T>(point: string, work: () => Promise<T>): Promise<T> => {
    const isUndo = point.startsWith("undo ");
    if (isUndo) tell(1);
    try {
      await crash?.at(`${point}: before`);
      const done = await work();
      await crash?.at(`${point}: done`);
      return done;
    } finally {
      if (isUndo) tell(-1);
    }
  };
}

async function main(settings: WorkerSettings): Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
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

  const { url, sessionTtlMs, concurrency, isBroken, payWithinMs } = settings;
  const bank = new Bank({ port: settings.paymentPort, timeoutMs: settings.paymentMs });
  await using hf = await connect(url, { namespace: NAMESPACE, sessionTtlMs, drainMs: DRAIN_MS });
  const orders = hf.open(placeOrder);
  const mails = hf.open(confirmations);
  const crash = settings.crash === null ? null : new CrashPoint(settings.crash);
  const till: Till = { hf, bank, mails, payWithinMs, around: aroundSteps(crash) };
  const take = isBroken ? takeOrderCarelessly : takeOrder;
  const send = isBroken ? sendMailCarelessly : sendMail;
  await using tills = orders.work((order, run) => take(till, order, run), { concurrency, signal });
  await using post = mails.work((mail, job) => send(hf, mail, job), { concurrency, signal });
  crash
    ?.watch(async () => {
      const { counts } = await orders.stats();
      return counts.completed + counts.cancelled + counts.dead;
    }, signal)
    .catch(() => {});
  process.send?.(READY);
  await Promise.all([tills.done, post.done]);
  bank.close();
}

await main(JSON.parse(process.env[SETTINGS_VARIABLE] ?? "") as WorkerSettings);
if (process.connected) process.disconnect();
