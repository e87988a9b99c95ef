/**
 * A simulated machine with one process of the program on it.
 *
 *            boot                    pause, suspend
 *   down ───────────► up (epoch n) ◄────────────────► halted
 *     ▲     crash      │   resume                       │
 *     └────────────────┴────────────────────────────────┘
 *
 * down    Nothing of the process is left: its timers are dropped, calls of its late code never
 *         reach the store, its promises never resolve. The machine's clocks go on.
 * up      Its events happen.
 * halted  Its events are held until it resumes. Paused: both clocks go on, timers are overdue then.
 *         Suspended: the monotonic clock stands, and timers with it; wall time goes on.
 */
import type { Clock, Timer } from "../core/clock.ts";
import type { Chance } from "./chance.ts";
import type { FaultPlan } from "./faults.ts";
import type { Owner, Planned, Scheduler } from "./scheduler.ts";

/** The store's wall clock when the world begins; the instances' are near it. */
export const START_WALL_MS = 1_700_000_000_000;

/** Float dust in sums of times; a timer this close to its time is due. */
const DUST_MS = 1e-6;
/** As the host's timers: never sooner than this. */
const SHORTEST_TIMER_MS = 1;

/** A clock of virtual time that can be set; timers follow its monotonic side. */
abstract class VirtualClock implements Clock {
  protected readonly scheduler: Scheduler;
  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }
  abstract wallMs(): number;
  abstract monotonicMs(): number;
  abstract timer(delayMs: number, fire: () => void): Timer;
  abstract yield(): Promise<void>;
}

/** The store's clock: true time, but for its wall side being set. */
export class StoreHostClock extends VirtualClock {
  #offsetMs = 0;
  wallMs(): number {
    return Math.floor(START_WALL_MS + this.scheduler.nowMs + this.#offsetMs);
  }
  monotonicMs(): number {
    return this.scheduler.nowMs;
  }
  jump(byMs: number): void {
    this.#offsetMs += byMs;
  }
  timer(delayMs: number, fire: () => void): Timer {
    const atMs = this.scheduler.nowMs + Math.max(SHORTEST_TIMER_MS, delayMs);
    return this.scheduler.at({ atMs, kind: "timer", label: "store" }, fire);
  }
  yield(): Promise<void> {
    const atMs = this.scheduler.nowMs;
    return new Promise((resolve) => {
      this.scheduler.at({ atMs, kind: "yield", label: "store" }, resolve);
    });
  }
}

const INERT: Timer = Object.freeze({ cancel: () => undefined });

/** What one process sees of its machine's clocks; inert once that process is gone. */
class ProcessClock extends VirtualClock {
  readonly #node: SimNode;
  readonly #epoch: number;

  constructor(scheduler: Scheduler, node: SimNode) {
    super(scheduler);
    this.#node = node;
    this.#epoch = node.epoch;
  }
  wallMs(): number {
    return this.#node.wallMs();
  }
  monotonicMs(): number {
    return this.#node.monotonicMs();
  }
  timer(delayMs: number, fire: () => void): Timer {
    const node = this.#node;
    if (!node.isAlive(this.#epoch)) return INERT;
    const lagMs = node.drawLagMs();
    const dueMs = node.monotonicMs() + Math.max(SHORTEST_TIMER_MS, delayMs) + lagMs;
    const run = (): void => {
      // A clock that stood meanwhile is not there yet: the timer stood with it.
      const leftMs = node.leftMs(dueMs);
      if (leftMs <= DUST_MS) return fire();
      current = this.scheduler.at({ ...options, atMs: this.scheduler.nowMs + leftMs }, run);
    };
    const atMs = this.scheduler.nowMs + node.leftMs(dueMs);
    const options = { atMs, kind: "timer", label: "", owner: node };
    let current = this.scheduler.at(options, run);
    return { cancel: () => current.cancel() };
  }
  yield(): Promise<void> {
    const node = this.#node;
    return new Promise((resolve) => {
      if (!node.isAlive(this.#epoch)) return;
      const atMs = this.scheduler.nowMs;
      this.scheduler.at({ atMs, kind: "yield", label: "", owner: node }, resolve);
    });
  }
}

export interface NodeOptions {
  readonly name: string;
  readonly scheduler: Scheduler;
  /** The machine's own bad luck: clock rates, late timers. */
  readonly chance: Chance;
  /** The faults of now. */
  readonly plan: () => FaultPlan;
}

export class SimNode implements Owner {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #plan: () => FaultPlan;
  readonly #rate: number;
  #wallOffsetMs: number;
  #epoch = 0;
  #state: "down" | "up" | "paused" | "suspended" = "down";
  #halts = 0;
  #held: Planned[] = [];
  #suspendedMs = 0;
  #suspendedAtMs = 0;
  readonly #onDeath = new Set<() => void>();

  constructor(options: NodeOptions) {
    this.name = options.name;
    this.#scheduler = options.scheduler;
    this.#chance = options.chance;
    this.#plan = options.plan;
    const { driftRatio, skewMs } = options.plan();
    this.#rate = 1 + options.chance.between(-driftRatio, driftRatio);
    this.#wallOffsetMs = options.chance.between(-skewMs, skewMs);
  }

  /** The number of the process that runs, or ran last: grows with each start and each death. */
  get epoch(): number {
    return this.#epoch;
  }
  get state(): "down" | "up" | "paused" | "suspended" {
    return this.#state;
  }
  get isHalted(): boolean {
    return this.#state === "paused" || this.#state === "suspended";
  }
  /** True while the process of that epoch has not died; a halted one is alive. */
  isAlive(epoch: number): boolean {
    return this.#epoch === epoch && this.#state !== "down";
  }

  // -------------------------------------------------------------- life

  /** A new process; gives its clock. */
  boot(): Clock {
    this.#epoch++;
    this.#state = "up";
    this.#scheduler.note(this.name, "boot", `process ${this.#epoch}`);
    return new ProcessClock(this.#scheduler, this);
  }
  /** The process dies at once, with all it had in memory. */
  crash(): void {
    if (this.#state === "down") return;
    this.#awake();
    this.#state = "down";
    this.#epoch++;
    this.#held = [];
    this.#scheduler.note(this.name, "crash", "");
    for (const tell of this.#onDeath) tell();
    this.#onDeath.clear();
  }
  /** Calls `tell` when the process dies; gives the way to stop. */
  onDeath(tell: () => void): () => void {
    this.#onDeath.add(tell);
    return () => void this.#onDeath.delete(tell);
  }
  /** Nothing of the process runs; its clocks go on. */
  pause(): number {
    return this.#halt("paused");
  }
  /** The machine sleeps: nothing runs, monotonic time stands. */
  suspend(): number {
    return this.#halt("suspended");
  }
  /** Gives the halt's number: only its own `resume` ends it. 0: there was nothing to halt. */
  #halt(state: "paused" | "suspended"): number {
    if (this.#state !== "up") return 0;
    this.#state = state;
    this.#suspendedAtMs = this.#scheduler.nowMs;
    this.#scheduler.note(this.name, state, "");
    return ++this.#halts;
  }
  /** Ends that halt, or whichever there is. What was held happens now, in any order. */
  resume(halt: number = this.#halts): void {
    if (!this.isHalted || halt !== this.#halts) return;
    this.#awake();
    this.#state = "up";
    this.#scheduler.note(this.name, "resume", "");
    const held = this.#held;
    this.#held = [];
    for (const event of held) this.#scheduler.again(event, this.#scheduler.nowMs);
  }
  #awake(): void {
    if (this.#state !== "suspended") return;
    this.#suspendedMs += this.#scheduler.nowMs - this.#suspendedAtMs;
  }
  hold(event: Planned): void {
    this.#held.push(event);
  }

  // -------------------------------------------------------------- clocks

  wallMs(): number {
    const { nowMs } = this.#scheduler;
    return Math.floor(START_WALL_MS + nowMs * this.#rate + this.#wallOffsetMs);
  }
  monotonicMs(): number {
    const asleepMs = this.#state === "suspended" ? this.#scheduler.nowMs - this.#suspendedAtMs : 0;
    return (this.#scheduler.nowMs - this.#suspendedMs - asleepMs) * this.#rate;
  }
  /** True time until the machine's monotonic clock shows `dueMs`, if it runs on. */
  leftMs(dueMs: number): number {
    return (dueMs - this.monotonicMs()) / this.#rate;
  }
  /** Somebody sets the machine's wall clock. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.#scheduler.note(this.name, "wall", `set by ${byMs.toFixed(0)} ms`);
  }
  drawLagMs(): number {
    const { lagRate, lagMs } = this.#plan();
    return this.#chance.hits(lagRate) ? this.#chance.between(0, lagMs) : 0;
  }
}
