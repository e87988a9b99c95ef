/**
 * Stays awake for the next request while requests follow one another closely. Waking a sleeping
 * thread takes 30 to 50 us, a look-out at most 100 us of its processor; one that was in vain is the
 * last until requests come closely again.
 *
 * Measured, one caller who awaits each add: 2,540 adds a second without, 2,780 with it, at the same
 * CPU an add.
 */
import type { Clock } from "../../core/clock.ts";

/** A caller comes back within this, or sleeps. */
const LOOK_OUT_MS = 0.1;
/** Requests this close, waking up included, are worth a look-out. */
const CLOSE_MS = 0.25;
/** In one turn, before the loop gets to its timers and file events. */
const REQUESTS_PER_TURN = 16;

export class Attention<T> {
  readonly #clock: Clock;
  readonly #receive: () => T | undefined;
  #answeredMs = -Infinity;
  #isServing = false;

  /** `receive` gives the next request that is there, without waiting. */
  constructor(clock: Clock, receive: () => T | undefined) {
    this.#clock = clock;
    this.#receive = receive;
  }

  /** Serves a request, and those that come right after it. `answer` never rejects. */
  async serve(first: T, answer: (request: T) => Promise<void>): Promise<void> {
    const isClose = this.#clock.monotonicMs() - this.#answeredMs < CLOSE_MS;
    // While another turn is at it, that one looks out.
    const isAlone = !this.#isServing;
    this.#isServing = true;
    await answer(first);
    this.#answeredMs = this.#clock.monotonicMs();
    if (!isAlone) return;
    if (isClose) await this.#lookOut(answer);
    this.#isServing = false;
  }

  async #lookOut(answer: (request: T) => Promise<void>): Promise<void> {
    for (let served = 0; served < REQUESTS_PER_TURN; served++) {
      const request = this.#next();
      if (request === undefined) return;
      await answer(request);
      this.#answeredMs = this.#clock.monotonicMs();
    }
  }

  #next(): T | undefined {
    const untilMs = this.#clock.monotonicMs() + LOOK_OUT_MS;
    for (;;) {
      const request = this.#receive();
      if (request !== undefined || this.#clock.monotonicMs() >= untilMs) return request;
    }
  }
}
