/**
 * How late the event loop is: a timer that is due every 100 ms, and how much later it fires. A
 * process whose loop is late can't renew its session in time nor answer anybody; it should finish
 * what it holds and claim no more.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { PACE } from "./pace.ts";

export class LoopDelay {
  readonly #clock: Clock;
  readonly #maxMs: number | null;
  readonly #onChange: (isOverloaded: boolean, delayMs: number) => void;
  #timer: Timer | undefined;
  #dueMs = Infinity;
  #delayMs = 0;
  #isOverloaded = false;

  /** `maxMs` null: it measures, and never calls it an overload. */
  constructor(
    clock: Clock,
    maxMs: number | null,
    onChange: (isOverloaded: boolean, delayMs: number) => void,
  ) {
    this.#clock = clock;
    this.#maxMs = maxMs;
    this.#onChange = onChange;
    this.#arm();
  }

  /** The last delay measured, in whole milliseconds. */
  get delayMs(): number {
    return Math.round(this.#delayMs);
  }

  /** Judged now: a timer that is overdue counts before it fires. */
  get isOverloaded(): boolean {
    if (!this.#isOverloaded) this.#judge(this.#clock.monotonicMs() - this.#dueMs, true);
    return this.#isOverloaded;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#dueMs = Infinity;
  }

  #arm(): void {
    this.#dueMs = this.#clock.monotonicMs() + PACE.sampleMs;
    // It keeps the process alive: an overloaded or paused worker has no other timer, and must not
    // end unseen.
    this.#timer = this.#clock.timer(PACE.sampleMs, () => this.#sample());
  }

  #sample(): void {
    const delayMs = Math.max(0, this.#clock.monotonicMs() - this.#dueMs);
    this.#arm();
    this.#judge(delayMs, false);
  }

  #judge(delayMs: number, isEarly: boolean): void {
    const isOver = this.#maxMs !== null && delayMs > this.#maxMs;
    if (isEarly && !isOver) return;
    this.#delayMs = delayMs;
    if (isOver === this.#isOverloaded) return;
    this.#isOverloaded = isOver;
    this.#onChange(isOver, this.delayMs);
  }
}
