/**
 * Time, as a seam. This file and `random.ts` are the only ones that touch the host's clock, timers
 * or chance; all other code takes a `Clock`, so that tests and the simulator govern time.
 *
 * Two clocks, because each lies in its own way: wall time jumps when it is set, monotonic time
 * stops while the machine is suspended. A deadline that must not be overrun is judged by both, and
 * whichever is ahead ends it.
 */

/** A pending timer. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time in integer milliseconds since 1970. May jump both ways. */
  wallMs(): number;
  /**
   * Time since some fixed instant in milliseconds, with fractions. Never goes back; stops in
   * suspend.
   */
  monotonicMs(): number;
  /**
   * Calls `fire` once, not before `delayMs` of this clock. `keepAlive: false` lets the process end
   * meanwhile.
   * Delays above 24 days are cut into pieces (a host timer would fire at once).
   */
  timer(delayMs: number, fire: () => void, options?: { readonly keepAlive?: boolean }): Timer;
  /** Resolves after all work that is ready now has run (a macrotask boundary). */
  yield(): Promise<void>;
}

const LONGEST_HOST_TIMER_MS = 2_000_000_000;

class HostTimer implements Timer {
  #handle: NodeJS.Timeout | undefined;
  constructor(delayMs: number, fire: () => void, keepAlive: boolean) {
    this.#arm(Math.max(0, delayMs), fire, keepAlive);
  }
  #arm(leftMs: number, fire: () => void, keepAlive: boolean): void {
    const stepMs = Math.min(leftMs, LONGEST_HOST_TIMER_MS);
    this.#handle = setTimeout(() => {
      if (leftMs > stepMs) this.#arm(leftMs - stepMs, fire, keepAlive);
      else fire();
    }, stepMs);
    if (!keepAlive) this.#handle.unref();
  }
  cancel(): void {
    clearTimeout(this.#handle);
  }
}

/** The host's clock. */
export const systemClock: Clock = Object.freeze({
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  timer: (delayMs: number, fire: () => void, options?: { readonly keepAlive?: boolean }) =>
    new HostTimer(delayMs, fire, options?.keepAlive ?? true),
  yield: () => new Promise<void>((resolve) => setImmediate(resolve)),
});

interface ManualTimer extends Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * A clock that moves only when told. Wall and monotonic time can be moved apart: `jumpWall` is a
 * set clock,
 * `suspend` is a machine that slept.
 */
export class ManualClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #order = 0;
  readonly #timers = new Set<ManualTimer>();

  constructor(startWallMs = 1_700_000_000_000) {
    this.#wallMs = startWallMs;
  }
  wallMs(): number {
    return Math.floor(this.#wallMs);
  }
  monotonicMs(): number {
    return this.#monotonicMs;
  }
  timer(delayMs: number, fire: () => void): Timer {
    const timer: ManualTimer = {
      dueMs: this.#monotonicMs + Math.max(0, delayMs),
      order: this.#order++,
      fire,
      cancel: () => void this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }
  yield(): Promise<void> {
    return systemClock.yield();
  }
  /** How many timers are pending. */
  get pending(): number {
    return this.#timers.size;
  }
  /** Sets the wall clock forward or back; monotonic time and timers do not feel it. */
  jumpWall(byMs: number): void {
    this.#wallMs += byMs;
  }
  /** The machine sleeps: wall time goes on, monotonic time and timers stand. */
  suspend(forMs: number): void {
    this.#wallMs += forMs;
  }
  /** The main loop is blocked: both clocks go on, no timer fires. */
  block(forMs: number): void {
    this.#wallMs += forMs;
    this.#monotonicMs += forMs;
  }
  /** Moves both clocks and fires due timers in order, letting all ready work run between them. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#monotonicMs + byMs;
    await this.yield();
    for (;;) {
      const next = this.#next(endMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      const stepMs = Math.max(0, next.dueMs - this.#monotonicMs);
      this.#monotonicMs += stepMs;
      this.#wallMs += stepMs;
      next.fire();
      await this.yield();
    }
    const restMs = Math.max(0, endMs - this.#monotonicMs);
    this.#monotonicMs += restMs;
    this.#wallMs += restMs;
    await this.yield();
  }
  #next(endMs: number): ManualTimer | undefined {
    let best: ManualTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > endMs) continue;
      const isSooner =
        best === undefined ||
        timer.dueMs < best.dueMs ||
        (timer.dueMs === best.dueMs && timer.order < best.order);
      if (isSooner) best = timer;
    }
    return best;
  }
}
