/**
 * The store's clock for an engine whose store is on this host: the host's wall clock, never below
 * the greatest instant that the store has seen, and never standing still. A wall clock that was set
 * forward and back again would else leave the store frozen for that span, and no lease would end in
 * it; so behind the high-water mark time goes on at the monotonic clock's pace.
 */
import type { Clock } from "../../../core/clock.ts";

export class StoreClock {
  readonly #clock: Clock;
  #lastMs = 0;
  #atMonotonicMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMonotonicMs = clock.monotonicMs();
  }

  /** The store's now in integer milliseconds, given the greatest instant stored so far. */
  nowMs(highWaterMs: number): number {
    const monotonicMs = this.#clock.monotonicMs();
    const passedMs = Math.max(0, monotonicMs - this.#atMonotonicMs);
    const carriedMs = this.#lastMs + passedMs;
    const nowMs = Math.max(this.#clock.wallMs(), highWaterMs, carriedMs);
    // Keep the fraction that is carried: rounding it away at every call would slow the clock down.
    this.#lastMs = nowMs;
    this.#atMonotonicMs = monotonicMs;
    return Math.floor(nowMs);
  }
}
