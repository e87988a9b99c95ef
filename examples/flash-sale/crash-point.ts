/**
 * Where a worker dies by its own hand: each order of the plan that comes to the point waits there,
 * and when all of them are there or have ended, the process ends as `kill -9` ends it. So a crash
 * is had at one boundary of a step for as many orders at once as come there.
 *
 *   STEP: before    nothing of it is done
 *   STEP: done      it is done; it is on record too if that was one commit, and else is not
 */
import { setTimeout as sleep } from "node:timers/promises";
import { POINTS } from "./till.ts";
import type { CrashPlan, WorkerNews } from "./settings.ts";

/** Every boundary of every step and compensation that comes without a customer's cancel. */
export const CRASH_POINTS: readonly string[] = POINTS.filter(
  (point) => point !== "undo confirm",
).flatMap((point) => [`${point}: before`, `${point}: done`]);

const LOOK_MS = 20;

export class CrashPoint {
  readonly #plan: CrashPlan;
  #waiting = 0;

  constructor(plan: CrashPlan) {
    this.#plan = plan;
  }

  /** For ever, if this is the point. */
  async at(point: string): Promise<void> {
    if (point !== this.#plan.point) return;
    this.#waiting += 1;
    await new Promise(() => {});
  }

  /** Ends the process when no order of the plan is on its way; `ended` says how many have ended. */
  async watch(ended: () => Promise<number>, signal: AbortSignal): Promise<void> {
    for (;;) {
      const waiting = this.#waiting;
      if (waiting > 0 && waiting + (await ended()) >= this.#plan.orders) {
        const news: WorkerNews = { dying: waiting };
        process.send?.(news, () => process.kill(process.pid, "SIGKILL"));
        return;
      }
      await sleep(LOOK_MS, undefined, { signal });
    }
  }
}
