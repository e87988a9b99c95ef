/**
 * Virtual time: a queue of events, run one after another in the order of their instants; those of
 * one instant in an order that the seed decides. After each event the host's loop is let go once (a
 * macrotask boundary, through core's clock), so that every promise that can go on has gone on
 * before the next event: a whole program of promises moves between two events, and none of it by
 * real time.
 *
 * What it cannot do: reorder the microtasks between two events, or stop synchronous code in its
 * middle. An instance crashes, pauses and resumes between events.
 *
 */
import { systemClock } from "../core/clock.ts";
import type { Chance, DrawCount } from "./chance.ts";
import { Trace } from "./trace.ts";

/**
 * Whom an event belongs to. An event of an epoch that is over never happens; one of a halted owner
 * is held.
 */
export interface Owner {
  readonly name: string;
  readonly epoch: number;
  readonly isHalted: boolean;
  /** Takes an event that came while the owner was halted. */
  hold(event: Planned): void;
}

export interface PlannedOptions {
  /** Absolute virtual time; the past counts as now. */
  readonly atMs: number;
  readonly kind: string;
  readonly label: string;
  readonly owner?: Owner | undefined;
  readonly detail?: (() => string) | undefined;
}

/** A planned event. */
export class Planned {
  readonly kind: string;
  readonly label: string;
  readonly owner: Owner | undefined;
  readonly epoch: number;
  readonly detail: (() => string) | undefined;
  atMs: number;
  order: number;
  run: (() => void) | undefined;

  constructor(options: PlannedOptions, atMs: number, order: number, run: () => void) {
    this.kind = options.kind;
    this.label = options.label;
    this.owner = options.owner;
    this.epoch = options.owner?.epoch ?? 0;
    this.detail = options.detail;
    this.atMs = atMs;
    this.order = order;
    this.run = run;
  }
  /** It will not happen. */
  cancel(): void {
    this.run = undefined;
  }
}

export interface SchedulerOptions {
  /** Orders the events of one instant. */
  readonly chance: Chance;
  readonly count: DrawCount;
  /** More events than this are an error: something goes round without end. */
  readonly maxEvents: number;
  /** Called after each event of an owner, when all that followed from it has run; may throw. */
  readonly onStep?: ((owner: Owner) => void) | undefined;
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

export class Scheduler {
  readonly trace: Trace = new Trace();
  readonly #chance: Chance;
  readonly #count: DrawCount;
  readonly #maxEvents: number;
  readonly #onStep: ((owner: Owner) => void) | undefined;
  /** A binary heap by (instant, order). */
  readonly #heap: Planned[] = [];
  #nowMs = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: SchedulerOptions) {
    this.#chance = options.chance;
    this.#count = options.count;
    this.#maxEvents = options.maxEvents;
    this.#onStep = options.onStep;
  }

  /** Virtual milliseconds since the world began, with fractions. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that are planned, cancelled ones included. */
  get planned(): number {
    return this.#heap.length;
  }

  /** Plans `run`. It may throw: that ends the world. */
  at(options: PlannedOptions, run: () => void): Planned {
    const atMs = Math.max(this.#nowMs, options.atMs);
    const event = new Planned(options, atMs, this.#chance.next(), run);
    this.#push(event);
    return event;
  }

  /** Plans a held event anew, now or later, in a new place among its neighbours. */
  again(event: Planned, atMs: number): void {
    event.atMs = Math.max(this.#nowMs, atMs);
    event.order = this.#chance.next();
    this.#push(event);
  }

  /** Writes a line into the timeline. */
  note(node: string, kind: string, label: string, detail?: () => string): void {
    this.trace.note({ timeMs: this.#nowMs, node, kind, label, detail });
  }

  /** Ends the run with this error after the event under way; the first one counts. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /**
   * Runs events until `isDone`, or until none is left before `untilMs`. Gives true if done; virtual
   * time stands at the last event then, else at `untilMs`. Throws what an event threw, or the first
   * failure reported.
   */
  async run(untilMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    await systemClock.yield();
    for (;;) {
      this.#check();
      if (isDone()) return true;
      const event = this.#next(untilMs);
      if (event === undefined) break;
      this.#step(event);
      await systemClock.yield();
      if (event.owner !== undefined) this.#onStep?.(event.owner);
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    return false;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.trace.count <= this.#maxEvents) return;
    const at = this.#nowMs.toFixed(0);
    throw new Error(
      `Expected the world to need at most ${this.#maxEvents} events, it ran more by ${at} ms of ` +
        "virtual time: something goes round without end, or maxEvents is too small",
    );
  }

  /**
   * The next event that is to happen by `untilMs`; those of dead owners are dropped, those of
   * halted ones held.
   */
  #next(untilMs: number): Planned | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.atMs > untilMs) return undefined;
      this.#pop();
      const { owner } = first;
      if (first.run === undefined || (owner !== undefined && owner.epoch !== first.epoch)) continue;
      if (owner?.isHalted !== true) return first;
      this.#nowMs = first.atMs;
      owner.hold(first);
    }
  }

  #step(event: Planned): void {
    this.#nowMs = event.atMs;
    const { owner, kind, label, detail, run } = event;
    const timeMs = this.#nowMs;
    this.trace.add({ timeMs, node: owner?.name ?? "", kind, label, detail }, this.#count.draws);
    event.run = undefined;
    run?.();
  }

  #push(event: Planned): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Planned;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Planned;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= length) break;
      if (down + 1 < length && isBefore(heap[down + 1] as Planned, heap[down] as Planned)) down++;
      const child = heap[down] as Planned;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}
