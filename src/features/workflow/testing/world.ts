/**
 * A world for tests: one store in memory, virtual time, and as many processes as a test wants, each
 * of which may die.
 */
import type { Clock } from "../../../core/clock.ts";
import type { Holdfast } from "../../../connect.ts";
import { HoldfastError } from "../../../core/errors.ts";
import { LIMITS } from "../../../core/limits.ts";
import { checkInteger, checkMs, checkOptions } from "../../../core/options.ts";
import { memory, MemoryState } from "../../../engines/memory/index.ts";
import type { JobPage, StoreDriver } from "../../../store/driver.ts";
import type { JobState } from "../../../store/ops.ts";
import { VirtualClock, type Surroundings } from "./clock.ts";
import { openProcess, type TestProcess } from "./process.ts";

export interface TestWorldOptions {
  /** Decides all that is left to chance, such as the jitter of retries. Default 1. */
  readonly seed?: number | undefined;
  /** The instant at which it begins, in milliseconds since 1970. Default: one in November 2023. */
  readonly startMs?: number | undefined;
  /** Of all its processes. Default `"default"`. */
  readonly namespace?: string | undefined;
  /**
   * How long after a process died what it held goes to others. 100 ms to 1 h; default 10 s, as for
   * a store that was opened without options.
   */
  readonly takeoverMs?: number | undefined;
}

export interface UntilOptions {
  /** How much virtual time it may take. Default 30 days. */
  readonly withinMs?: number | undefined;
}

const DEFAULTS = Object.freeze({
  seed: 1,
  startMs: 1_700_000_000_000,
  namespace: "default",
  takeoverMs: 10_000,
  withinMs: 30 * 86_400_000,
});

/** A session lives through a jump: it is renewed after each, and at a third of its TTL besides. */
const LONGEST_JUMP_MS = LIMITS.sessionTtlMaxMs / 2;
/** What is ready and is claimed by nobody for so long will not be. */
const UNCLAIMED_MS = 4_000;
/** Above this a run waits for an event alone. */
const FOR_EVER_MS = 100 * 365 * 86_400_000;
const CLOSE_WITHIN_MS = 120_000;
const PAGE = 1_000;
const GOING_ON: readonly JobState[] = ["ready", "leased"];

/** Opened by `testWorld`. */
export class TestWorld implements AsyncDisposable {
  readonly #clock: VirtualClock;
  readonly #state: MemoryState;
  readonly #driver: StoreDriver;
  readonly #options: Required<{ [K in keyof TestWorldOptions]: number | string }>;
  readonly #processes: TestProcess[] = [];
  readonly #around: Surroundings;
  #signs = 0;
  #picture = "";
  #pictureAtMs = 0;
  #isMoving = false;
  #client: TestProcess | undefined;

  /** Made by `testWorld`. */
  constructor(options: TestWorldOptions = {}) {
    checkOptions("options", options, ["seed", "startMs", "namespace", "takeoverMs"]);
    const { seed, startMs, namespace, takeoverMs } = options;
    const { sessionTtlMinMs, sessionTtlMaxMs } = LIMITS;
    this.#options = {
      seed: checkInteger("seed", seed ?? DEFAULTS.seed),
      startMs: checkInteger("startMs", startMs ?? DEFAULTS.startMs),
      namespace: namespace ?? DEFAULTS.namespace,
      takeoverMs: checkInteger(
        "takeoverMs",
        takeoverMs ?? DEFAULTS.takeoverMs,
        sessionTtlMinMs,
        sessionTtlMaxMs,
      ),
    };
    this.#clock = new VirtualClock(Number(this.#options.startMs));
    this.#state = new MemoryState({ clock: this.#clock });
    this.#driver = memory({ state: this.#state });
    this.#around = this.#surroundings();
  }

  #surroundings(): Surroundings {
    const signs = (): number => this.#signs;
    return {
      get signs() {
        return signs();
      },
      idleMs: () => this.#idleMs(),
      longestJumpMs: LONGEST_JUMP_MS,
      onJump: async () => {
        await Promise.all(this.#processes.map((process) => process.renewSessions()));
      },
    };
  }

  /** The virtual clock, for fakes that need one. */
  get clock(): Clock {
    return this.#clock;
  }
  /** Virtual milliseconds since the world began. */
  get elapsedMs(): number {
    return Math.floor(this.#clock.elapsedMs);
  }
  /** A handle that no crash of a process concerns: for starting runs and looking at them. */
  get hf(): Holdfast {
    return (this.#client as TestProcess).hf;
  }

  /** Opens the world's own handle. */
  async open(): Promise<this> {
    this.#client ??= await this.process("client");
    return this;
  }

  /** Another process on the store. `name` is for people; default: "p1", "p2" ... */
  async process(name: string = `p${this.#processes.length}`): Promise<TestProcess> {
    const { seed, namespace, takeoverMs } = this.#options;
    const process = await openProcess({
      name,
      state: this.#state,
      clock: this.#clock,
      seed: Number(seed) * 1_000 + this.#processes.length,
      namespace: String(namespace),
      takeoverMs: Number(takeoverMs),
      sessionTtlMs: LIMITS.sessionTtlMaxMs,
      onSign: () => void this.#signs++,
    });
    this.#processes.push(process);
    return process;
  }

  /**
   * Lets so much time pass: sleeps end, retries and time-outs come when they are due, one after
   * another. Integer milliseconds, up to 400 days. Complexity: what happens in it, and some
   * milliseconds for each day in which nothing does.
   */
  async advance(ms: number): Promise<void> {
    checkMs("ms", ms);
    await this.#pass(ms, () => false);
  }

  /**
   * Lets time pass until the promise is settled, and gives what it gives: `await
   * world.until(run.result())`.
   *
   * Errors: what the promise rejects with; `TIMEOUT` if it takes more than `withinMs` of virtual
   * time.
   */
  async until<T>(promise: Promise<T>, options?: UntilOptions): Promise<T> {
    checkOptions("options", options, ["withinMs"]);
    const withinMs = checkMs("withinMs", options?.withinMs ?? DEFAULTS.withinMs);
    let isOver = false;
    const over = (): void => void (isOver = true);
    promise.then(over, over);
    if (await this.#pass(withinMs, () => isOver)) return promise;
    const message = `Expected it within ${withinMs} ms of virtual time, it did not come: ${await this.describe()}`;
    throw new HoldfastError("TIMEOUT", message, { details: { withinMs } });
  }

  async #pass(byMs: number, isDone: () => boolean): Promise<boolean> {
    if (this.#isMoving) {
      const message = "Time passes already: await the call before, and have one mover of time";
      throw new HoldfastError("CONFLICT", message, { outcome: "not-applied" });
    }
    this.#isMoving = true;
    try {
      return await this.#clock.advance(byMs, this.#around, isDone);
    } finally {
      this.#isMoving = false;
    }
  }

  // -------------------------------------------------------------- looking

  /** What waits in the store, in words. */
  async describe(): Promise<string> {
    const lines = (await this.#queues()).flatMap(({ queue, counts }) => {
      const some = Object.entries(counts).filter(([, count]) => count > 0);
      const text = some.map(([state, count]) => `${count} ${state}`).join(", ");
      return text === "" ? [] : [`${queue}: ${text}`];
    });
    return lines.length === 0 ? "nothing is in the store" : lines.join("; ");
  }

  async #queues(): Promise<
    readonly {
      readonly partition: string;
      readonly queue: string;
      readonly counts: Readonly<Record<JobState, number>>;
    }[]
  > {
    const [{ partitions }] = await this.#driver.read([{ read: "store.info" }]);
    const found = partitions.map(async ({ partition }) => {
      const [views] = await this.#driver.read([{ read: "queue.stats", partition, queues: null }]);
      return views.map(({ queue, counts }) => ({ partition, queue, counts }));
    });
    return (await Promise.all(found)).flat();
  }

  /** True when nothing is held, and nothing is ready that somebody would take. */
  async isIdle(): Promise<boolean> {
    return (await this.#idleMs()) > 0;
  }

  async #idleMs(): Promise<number> {
    const queues = await this.#queues();
    const picture = JSON.stringify(
      queues.map(({ counts }) => GOING_ON.map((each) => counts[each])),
    );
    if (picture !== this.#picture) {
      this.#picture = picture;
      this.#pictureAtMs = this.#clock.elapsedMs;
    }
    if (queues.some(({ counts }) => counts.leased > 0)) return 0;
    const isReady = queues.some(({ counts }) => counts.ready > 0);
    if (isReady && this.#clock.elapsedMs - this.#pictureAtMs < UNCLAIMED_MS) return 0;
    const waiting = queues.filter(({ counts }) => counts.scheduled > 0);
    const dues = await Promise.all(waiting.map((queue) => this.#nextDueMs(queue)));
    const idleMs = Math.min(Infinity, ...dues) - this.#clock.wallMs();
    return idleMs > FOR_EVER_MS ? Infinity : Math.max(0, idleMs);
  }

  async #nextDueMs(place: { readonly partition: string; readonly queue: string }): Promise<number> {
    const { partition, queue } = place;
    let least = Infinity;
    let after: number | null = null;
    for (;;) {
      const list = {
        read: "queue.list",
        partition,
        queue,
        state: "scheduled",
        limit: PAGE,
      } as const;
      const [page]: readonly [JobPage] = await this.#driver.read([{ ...list, after }]);
      for (const { dueMs } of page.jobs) least = Math.min(least, dueMs ?? Infinity);
      if (!page.hasMore) return least;
      after = page.last;
    }
  }

  // -------------------------------------------------------------- end

  /** Closes every process that lives, as `hf.close()` does, while time passes. */
  async close(): Promise<void> {
    const living = this.#processes.filter(({ isCrashed }) => !isCrashed);
    const closing = Promise.all(living.map(({ hf }) => hf.close()));
    await this.until(closing, { withinMs: CLOSE_WITHIN_MS });
    await this.#driver.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens a world for a test.
 *
 * ```ts
 * await using world = await testWorld();
 * const worker = await world.process();
 * worker.hf.open(reminder).work(remind);
 * const run = await world.hf.open(reminder).start({ to: "ann" });
 * await world.advance(30 * 86_400_000);
 * ```
 */
export async function testWorld(options?: TestWorldOptions): Promise<TestWorld> {
  return new TestWorld(options).open();
}
