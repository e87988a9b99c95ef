/**
 * Time-driven work while somebody needs it: an empty commit every 500 ms, so that expiry events
 * come within 1 s.
 */
import type { Clock, Timer } from "../core/clock.ts";

/** What the ticker drives. */
export interface Ticked {
  /** When the last commit left, by the monotonic clock. */
  readonly lastCommitMs: number;
  tick(): Promise<void>;
}

const TICK_MS = 500;
/** A commit this recent has done the tick's work. Tick and skip together stay under 1 s. */
const SKIP_MS = 250;

export class Ticker {
  readonly #clock: Clock;
  readonly #ticked: Ticked;
  #needs = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, ticked: Ticked) {
    this.#clock = clock;
    this.#ticked = ticked;
  }

  /** Ticks until the returned function is called; does not keep the process alive. */
  need(): () => void {
    this.#needs++;
    if (this.#timer === undefined) this.#arm();
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#needs--;
      if (this.#needs === 0) this.stop();
    };
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const onTimer = (): void => {
      const idleMs = this.#clock.monotonicMs() - this.#ticked.lastCommitMs;
      if (idleMs >= SKIP_MS) void this.#ticked.tick();
      this.#arm();
    };
    this.#timer = this.#clock.timer(TICK_MS, onTimer, { keepAlive: false });
  }
}
