/**
 * What the tests of the jobs feature share: stores on one memory state, each a process that can
 * crash or lose replies.
 */
import { ManualClock, systemClock } from "../../src/core/clock.ts";
import { HoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { memory, MemoryState } from "../../src/engines/memory/index.ts";
import type { Read, ReadResult, StoreDriver } from "../../src/store/driver.ts";
import type { Group, GroupResult, Op } from "../../src/store/ops.ts";
import { Store, type StoreOptions } from "../../src/store/store.ts";

/** A process: a store on the shared state, with faults between the two. */
export class Process {
  /**
   * Commits whose groups hold an op of this kind are applied, and their answers lost. Counts down.
   */
  lostReplies: { op: Op["op"]; count: number } = { op: "queue.claim", count: 0 };
  /** Commits that fail without being applied. Counts down. */
  refusals = 0;
  /** Every commit and read fails while true. */
  isDown = false;
  /** Nothing is sent or answered any more. */
  isCrashed = false;
  /** Called with each commit before it is applied: it may crash the process. */
  onCommit: ((groups: readonly Group[]) => void) | undefined;
  /** Called with each commit that was applied, before its answer, which waits for it. */
  onAnswer: ((groups: readonly Group[]) => Promise<void> | void) | undefined;
  /** Called with each read before its answer, which waits for it. */
  onAfterRead: ((reads: readonly Read[]) => Promise<void> | void) | undefined;
  /** Every read fails while true. */
  isReadDown = false;
  /** No hint comes while true. */
  isDeaf = false;
  readonly sent: (readonly Group[])[] = [];
  store!: Store;
  readonly #inner: StoreDriver;

  constructor(inner: StoreDriver) {
    this.#inner = inner;
  }
  async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    if (this.isCrashed) return new Promise(() => {});
    if (this.isDown || this.refusals > 0) {
      if (!this.isDown) this.refusals--;
      throw new HoldfastError("UNAVAILABLE", "The store is down", {
        retryable: true,
        outcome: "not-applied",
      });
    }
    this.onCommit?.(groups);
    if (this.#isGone) return new Promise(() => {});
    this.sent.push(groups);
    const results = await this.#inner.commit(groups);
    await this.onAnswer?.(groups);
    if (this.#isGone) return new Promise(() => {});
    const { op: kind, count } = this.lostReplies;
    const isLost = count > 0 && groups.some((group) => group.ops.some((op) => op.op === kind));
    if (!isLost) return results;
    this.lostReplies = { op: kind, count: count - 1 };
    throw new HoldfastError("UNAVAILABLE", "The reply was lost", {
      retryable: true,
      outcome: "unknown",
    });
  }
  /** As `isCrashed`, which may have come true meanwhile. */
  get #isGone(): boolean {
    return this.isCrashed;
  }
  async #read<const R extends readonly Read[]>(
    reads: R,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    if (this.isCrashed) return new Promise(() => {});
    if (this.isDown || this.isReadDown) {
      throw new HoldfastError("UNAVAILABLE", "The store is down", { retryable: true });
    }
    const results = await this.#inner.read(reads);
    await this.onAfterRead?.(reads);
    return this.#isGone ? new Promise(() => {}) : results;
  }
  /** All ops of a kind that were sent. */
  ops<K extends Op["op"]>(kind: K): Extract<Op, { op: K }>[] {
    const all = this.sent.flatMap((groups) => groups.flatMap((group) => group.ops));
    return all.filter((op): op is Extract<Op, { op: K }> => op.op === kind);
  }
  driver(): StoreDriver {
    const inner = this.#inner;
    return {
      capabilities: inner.capabilities,
      commit: (groups) => this.commit(groups),
      read: (reads) => this.#read(reads),
      watch: (...args) => inner.watch(...args),
      subscribe: (channel, listen) =>
        inner.subscribe(channel, (message) => {
          if (!this.isCrashed && !this.isDeaf) listen(message);
        }),
      export: (...args) => inner.export(...args),
      import: (...args) => inner.import(...args),
      seal: (...args) => inner.seal(...args),
      durability: () => inner.durability(),
      close: () => inner.close(),
    };
  }
}

/** How the next worlds open their stores; `test/engines/jobs-sqlite.test.ts` sets another way. */
export const engine: {
  open(state: MemoryState, clock: ManualClock): Promise<StoreDriver>;
  /** Sweeps over all instants take every so many-th: some engines take their time. */
  stride: number;
} = {
  open: async (state) => memory({ state }),
  stride: 1,
};

/** One state, a manual clock, and as many processes on it as a test wants. */
export class World {
  readonly clock: ManualClock = new ManualClock();
  readonly state: MemoryState = new MemoryState({ clock: this.clock });
  readonly processes: Process[] = [];

  async process(options: StoreOptions = {}): Promise<Process> {
    const process = new Process(await engine.open(this.state, this.clock));
    const random = new SeededRandom(this.processes.length + 1);
    process.store = await Store.open(process.driver(), { clock: this.clock, random, ...options });
    this.processes.push(process);
    return process;
  }

  async store(options: StoreOptions = {}): Promise<Store> {
    return (await this.process(options)).store;
  }

  /** Waits for the promise while time passes: between processes of one file a hint takes some. */
  async pass<T>(promise: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => void (isOver = true);
    promise.then(over, over);
    for (let i = 0; i < 400 && !isOver; i++) await this.clock.advance(10);
    return promise;
  }

  /** Closes every store, moving the clock so that drains end. */
  async close(): Promise<void> {
    const closing = Promise.all(this.processes.map(({ store }) => store.close()));
    let isClosed = false;
    void closing.then(() => (isClosed = true));
    for (let i = 0; i < 200 && !isClosed; i++) await this.clock.advance(250);
    await closing;
  }
}

/** Lets everything that is ready run, several turns of the loop. */
export async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await systemClock.yield();
}

/**
 * Waits until it holds, letting ready work run; for manual clocks, where nothing else takes time.
 */
export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000; i++) {
    if (what()) return;
    await systemClock.yield();
  }
  throw new Error(`Expected it to come true: ${String(what)}`);
}
