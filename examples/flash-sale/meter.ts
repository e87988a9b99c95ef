/** How far the sale is: asked of the store, ten times a second, and put together for the view. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Holdfast } from "holdfast";
import { PREFIX, TALLIED } from "./books.ts";
import type { Ending } from "./books.ts";
import { confirmations, placeOrder } from "./definitions.ts";
import type { Progress } from "./view.ts";

/** What the meter needs of the parts of a sale. */
export interface Metered {
  readonly processes: { readonly pids: readonly number[]; readonly restarts: number };
  readonly killer: { readonly counted: number };
  readonly arrivals: { readonly total: number; readonly sent: number };
  readonly processesWanted: number;
  readonly killsWanted: number;
}

const EVERY_MS = 100;
/** The rate that is shown is that of the last two seconds. */
const RATE_SAMPLES = 20;

export class Meter {
  readonly #hf: Holdfast;
  readonly #parts: Metered;
  readonly #samples: { readonly atMs: number; readonly ended: number }[] = [];
  readonly #startMs: number = performance.now();
  #ended = 0;
  #mailsWaiting = 0;
  #movedMs: number = this.#startMs;

  constructor(hf: Holdfast, parts: Metered) {
    this.#hf = hf;
    this.#parts = parts;
  }

  /** Mails that are not sent yet. */
  get mailsWaiting(): number {
    return this.#mailsWaiting;
  }
  /** How long ago an order ended. */
  get idleMs(): number {
    return performance.now() - this.#movedMs;
  }

  /** The state every 100 ms, until the signal aborts. */
  async *run(signal: AbortSignal): AsyncGenerator<Progress> {
    for (;;) {
      yield await this.read();
      await sleep(EVERY_MS, undefined, { signal });
    }
  }

  /** The state now. */
  async read(): Promise<Progress> {
    const { processes, killer, arrivals, processesWanted, killsWanted } = this.#parts;
    const [{ counts, oldestReadyMs }, mails, tallies] = await Promise.all([
      this.#hf.open(placeOrder).stats(),
      this.#hf.open(confirmations).counts(),
      this.#hf.kv.get(TALLIED.map((ending) => PREFIX.tally + ending)),
    ]);
    const endings: Record<Ending, number> = {
      ...{ completed: 0, refused: 0, returned: 0, adjusted: 0 },
      failed: counts.cancelled,
    };
    TALLIED.forEach((ending, index) => (endings[ending] = Number(tallies[index]?.value ?? 0)));
    this.#mailsWaiting = mails.ready + mails.leased + mails.scheduled + mails.blocked;
    const ended = counts.completed + counts.cancelled + counts.dead;
    const nowMs = performance.now();
    return {
      seconds: (nowMs - this.#startMs) / 1_000,
      total: arrivals.total,
      arrived: arrivals.sent,
      ended,
      endings,
      perSecond: this.#rate(nowMs, ended),
      waiting: counts.ready + counts.scheduled + counts.blocked,
      held: counts.leased,
      oldestMs: oldestReadyMs,
      processes: processes.pids.length,
      processesWanted,
      kills: killer.counted,
      killsWanted,
      restarts: processes.restarts,
    };
  }

  #rate(nowMs: number, ended: number): number {
    if (ended > this.#ended) this.#movedMs = nowMs;
    this.#ended = ended;
    this.#samples.push({ atMs: nowMs, ended });
    if (this.#samples.length > RATE_SAMPLES) this.#samples.shift();
    const first = this.#samples[0] ?? { atMs: nowMs, ended };
    return nowMs > first.atMs ? ((ended - first.ended) * 1_000) / (nowMs - first.atMs) : 0;
  }
}
