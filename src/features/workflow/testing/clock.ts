/**
 * Virtual time. It moves only when told, from timer to timer, and lets whatever a timer set going
 * come to rest before the next one fires: a month takes as long as what happens in it.
 *
 * Where nothing happens it jumps. The timers of an idle store (heartbeats, polls, samples) come
 * several times a second, and nobody waits for them to the millisecond; they are carried over a
 * jump, as on a machine that slept. Longer timers are somebody's own: no jump passes one.
 */
import { systemClock, type Clock, type Timer } from "../../../core/clock.ts";

/** Shorter timers are carried over a jump. */
const CARRIED_MS = 5_000;
/** How often it asks whether it may jump. */
const LOOK_EVERY_MS = 1_000;
/** Of monotonic time in a jump: what is sent after it was sent later than what came before. */
const TICK_MS = 0.001;
/** After so many turns of the loop without a sign of life, all has come to rest. */
const REST_TURNS = 3;
/** A program that never rests does not stop time. */
const MOST_TURNS = 10_000;

interface VirtualTimer extends Timer {
  dueMs: number;
  readonly order: number;
  readonly fire: () => void;
  readonly isCarried: boolean;
}

/** What the clock asks of the world that it belongs to. */
export interface Surroundings {
  /** Grows with everything that happens. */
  readonly signs: number;
  /** How long nothing will happen by itself, for all that is known; 0: something is under way. */
  idleMs(): Promise<number>;
  /** The longest jump at once. */
  readonly longestJumpMs: number;
  /** Time has jumped. */
  onJump(): Promise<void>;
}

export class VirtualClock implements Clock {
  readonly #startMs: number;
  #elapsedMs = 0;
  /** All but stands in jumps, so that nothing finds itself late. */
  #monotonicMs = 0;
  #order = 0;
  readonly #timers = new Set<VirtualTimer>();

  constructor(startMs: number) {
    this.#startMs = startMs;
  }
  wallMs(): number {
    return Math.floor(this.#startMs + this.#elapsedMs);
  }
  monotonicMs(): number {
    return this.#monotonicMs;
  }
  /** Virtual milliseconds since it was made. */
  get elapsedMs(): number {
    return this.#elapsedMs;
  }
  timer(delayMs: number, fire: () => void): Timer {
    const timer: VirtualTimer = {
      dueMs: this.#monotonicMs + Math.max(0, delayMs),
      order: this.#order++,
      fire,
      isCarried: delayMs < CARRIED_MS,
      cancel: () => void this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }
  yield(): Promise<void> {
    return systemClock.yield();
  }

  /** Lets everything that is ready run, until all of it waits for time. */
  async rest(around: Surroundings): Promise<void> {
    let signs = around.signs;
    for (let turn = 0, still = 0; still < REST_TURNS && turn < MOST_TURNS; turn++) {
      await systemClock.yield();
      still = around.signs === signs ? still + 1 : 0;
      ({ signs } = around);
    }
  }

  /**
   * Moves on by so much, or until it is done. True: it is. Nothing is due any more at the instant
   * at which it ends.
   */
  async advance(byMs: number, around: Surroundings, isDone: () => boolean): Promise<boolean> {
    const endMs = this.#elapsedMs + byMs;
    let lookAtMs = this.#elapsedMs;
    await this.rest(around);
    while (!isDone()) {
      if (this.#elapsedMs >= lookAtMs) {
        await this.#jump(endMs, around);
        lookAtMs = this.#elapsedMs + LOOK_EVERY_MS;
      }
      const next = this.#next(this.#monotonicMs + endMs - this.#elapsedMs);
      if (next === undefined) {
        this.#move(endMs - this.#elapsedMs);
        return isDone();
      }
      this.#timers.delete(next);
      this.#move(Math.max(0, next.dueMs - this.#monotonicMs));
      next.fire();
      await this.rest(around);
    }
    return true;
  }

  #move(byMs: number): void {
    this.#elapsedMs += byMs;
    this.#monotonicMs += byMs;
  }

  /** As far as nothing happens; short of it, so that what comes then comes at its time. */
  async #jump(endMs: number, around: Surroundings): Promise<void> {
    const toEndMs = endMs - this.#elapsedMs;
    if (toEndMs <= CARRIED_MS) return;
    const idleMs = Math.min(await around.idleMs(), this.#toOwnTimerMs());
    const { signs } = around;
    let freeMs = Math.min(toEndMs, idleMs - CARRIED_MS);
    if (freeMs <= 0) return;
    while (freeMs > 0 && around.signs === signs) {
      const stepMs = Math.min(freeMs, around.longestJumpMs);
      freeMs -= stepMs;
      this.#elapsedMs += stepMs;
      this.#monotonicMs += TICK_MS;
      for (const timer of this.#timers) timer.dueMs += TICK_MS - (timer.isCarried ? 0 : stepMs);
      await around.onJump();
    }
    await this.rest(around);
  }

  #toOwnTimerMs(): number {
    let leastMs = Infinity;
    for (const { isCarried, dueMs } of this.#timers) {
      if (!isCarried) leastMs = Math.min(leastMs, dueMs - this.#monotonicMs);
    }
    return leastMs;
  }

  #next(untilMs: number): VirtualTimer | undefined {
    let best: VirtualTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > untilMs) continue;
      const isSooner =
        best === undefined ||
        timer.dueMs < best.dueMs ||
        (timer.dueMs === best.dueMs && timer.order < best.order);
      if (isSooner) best = timer;
    }
    return best;
  }
}

/** The clock as one process has it: of a process that is dead nothing goes on. */
export class ProcessClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #onSign: () => void;
  #isStopped = false;

  constructor(clock: VirtualClock, onSign: () => void) {
    this.#clock = clock;
    this.#onSign = onSign;
  }
  wallMs(): number {
    return this.#clock.wallMs();
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }
  timer(delayMs: number, fire: () => void): Timer {
    return this.#clock.timer(delayMs, () => {
      if (!this.#isStopped) fire();
    });
  }
  async yield(): Promise<void> {
    this.#onSign();
    await this.#clock.yield();
    if (this.#isStopped) await new Promise<never>(() => {});
  }
  stop(): void {
    this.#isStopped = true;
  }
}
