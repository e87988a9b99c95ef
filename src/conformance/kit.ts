/**
 * What the suites share: how an engine is handed to them, what a test gets, and how time passes.
 *
 * A suite is a table of guarantee sentences (the words of the port's README), each with its test.
 * It is bound to no test runner:
 * it calls the `test` it was given. Engine by engine, the capability record says whether a sentence
 * or its negative is tested.
 */
import assert from "node:assert/strict";
import { systemClock, type Clock } from "../core/clock.ts";
import type { HoldfastError } from "../core/errors.ts";
import { isHoldfastError, type ErrorCode } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { SeededRandom, systemRandom } from "../core/random.ts";
import { sleep } from "../core/signal.ts";
import type { Capabilities } from "../store/capabilities.ts";
import type { StoreDriver } from "../store/driver.ts";
import type { Committed } from "../store/group.ts";
import type { Op } from "../store/ops.ts";
import { Store, type StoreOptions } from "../store/store.ts";
import { CutDriver } from "./cut.ts";

/** A test runner's `test`: vitest's, node:test's, or one's own. */
export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** One engine state, made for one test. */
export interface Fixture {
  /**
   * The clock that the engine takes its time from, if it takes one: stores of the test get the
   * same. Default: the host's.
   */
  readonly clock?: Clock | undefined;
  /**
   * A handle of its own on the state: another process as far as the engine can tell. The kit closes
   * it.
   */
  open(): Promise<StoreDriver>;
  /**
   * Moves the engine's clock and the stores' by so many ms, timers included. Left out where time
   * can't be moved.
   */
  advance?: ((ms: number) => Promise<void>) | undefined;
  /** Restarts the engine; all handles were closed. Must be there for a persistent engine. */
  restart?: (() => Promise<void>) | undefined;
  /** Frees what the state holds; all handles were closed. */
  dispose(): Promise<void>;
}

export interface ConformanceOptions {
  readonly test: TestFunction;
  /**
   * Called once a test. Tests use names of their own, so that it may hand out one server again and
   * again.
   */
  readonly create: () => Promise<Fixture>;
  /** What the engine says of itself; its drivers must say the same. */
  readonly capabilities: Capabilities;
  /** Of the random workloads; printed on failure. Default: drawn anew each time. */
  readonly seed?: number | undefined;
}

/** A guarantee's test, or one that is for some engines only. */
export type Case =
  | ((world: World) => Promise<void>)
  | {
      readonly when: (capabilities: Capabilities) => boolean;
      readonly run: (world: World) => Promise<void>;
    };

/** True where one group may write keys and jobs together. */
export function isWhole({ atomic, ports }: Capabilities): boolean {
  return atomic !== "key" && ports.includes("kv") && ports.includes("queue");
}

/** A test for engines on which one group may write keys and jobs together. */
export function whole(run: (world: World) => Promise<void>): Case {
  return { when: isWhole, run };
}

/** Sentences and their tests, in the README's order. */
export type Cases = Readonly<Record<string, Case>>;

/** Sessions of test stores live this long, so that no slow machine loses one by accident. */
const SESSION_TTL_MS = 60_000;
/** How long a test waits for what must come "soon", by the engine's clock. */
const SOON_MS = 10_000;
/** How late a busy machine may be in whatever it does. */
const BUSY_MS = 1_000;
const REAL_STEP_MS = 5;
const MANUAL_STEP_MS = 50;

/** What a test has: stores on the engine's state, time, chance. */
export class World {
  readonly capabilities: Capabilities;
  readonly fixture: Fixture;
  readonly clock: Clock;
  /** This test's own. */
  readonly namespace: string;
  readonly seed: number;
  readonly random: SeededRandom;
  #stores: Store[] = [];
  #drivers: CutDriver[] = [];
  #aside: Promise<{ readonly driver: StoreDriver; readonly store: Store }> | undefined;
  #names = 0;
  readonly #options: ConformanceOptions;
  readonly #others: World[] = [];

  constructor(options: ConformanceOptions, fixture: Fixture) {
    this.#options = options;
    this.capabilities = options.capabilities;
    this.fixture = fixture;
    this.clock = fixture.clock ?? systemClock;
    this.namespace = `conformance-${systemRandom.text(12)}`;
    this.seed = options.seed ?? Math.floor(systemRandom.next() * 0x1_0000_0000);
    this.random = new SeededRandom(this.seed);
  }

  /** True where time stands until the test moves it. */
  get isManual(): boolean {
    return this.fixture.advance !== undefined;
  }

  /**
   * A span that the test's next steps do not fill: so many ms where time stands meanwhile, longer
   * on a real clock, whose machine may be busy.
   */
  span(ms: number): number {
    return this.isManual ? ms : ms + BUSY_MS;
  }

  /** A store on a handle of its own, in the test's namespace: another process. */
  async store(options: StoreOptions = {}): Promise<Store> {
    return this.#storeOn(await this.driver(), options);
  }

  async #storeOn(driver: StoreDriver, options: StoreOptions): Promise<Store> {
    const { clock, namespace } = this;
    const defaults = { clock, namespace, sessionTtlMs: SESSION_TTL_MS, drainMs: 5_000 } as const;
    const store = await Store.open(driver, { ...defaults, allow: "unsynced", ...options });
    this.#stores.push(store);
    return store;
  }

  /** A process that has no part in the test, for what nobody in it does: the same one each time. */
  aside(): Promise<{ readonly driver: StoreDriver; readonly store: Store }> {
    this.#aside ??= this.driver().then(async (driver) => {
      return { driver, store: await this.#storeOn(driver, {}) };
    });
    return this.#aside;
  }

  /** A bare handle of its own. */
  async driver(): Promise<StoreDriver> {
    const inner = await this.fixture.open();
    const theirs = { ...inner.capabilities };
    assert.deepEqual(theirs, { ...this.capabilities }, "a driver has the capabilities stated");
    const driver = new CutDriver(inner);
    this.#drivers.push(driver);
    return driver;
  }

  /** A name that no other of the test has. */
  name(word: string): string {
    return `${word}-${++this.#names}`;
  }

  /** The store's now. */
  async now(): Promise<number> {
    const { driver } = await this.aside();
    const [info] = await driver.read([{ read: "store.info" }]);
    return info.clockMs;
  }

  /** Lets so much time pass by the engine's clock: moved where it can be, waited for where not. */
  async pass(ms: number): Promise<void> {
    const { advance } = this.fixture;
    if (advance !== undefined) {
      for (const world of [this, ...this.#others]) await world.fixture.advance?.(ms);
      return;
    }
    const endMs = (await this.now()) + ms;
    for (;;) {
      const leftMs = endMs - (await this.now());
      if (leftMs <= 0) return;
      // The time itself is what the test is about: nothing else could be waited for.
      await sleep(systemClock, Math.min(leftMs, 100));
    }
  }

  /**
   * Asks again and again until the answer is neither undefined nor false, within `withinMs` of the
   * engine's time. Polling, because what is awaited comes from another process, and no call of ours
   * is pending on it.
   */
  async until<T>(
    what: string,
    ask: () => Promise<T | undefined | false> | T | undefined | false,
    withinMs: number = SOON_MS,
  ): Promise<T> {
    const startMs = await this.now();
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      const spentMs = (await this.now()) - startMs;
      assert.ok(spentMs <= withinMs, `${what} within ${withinMs} ms, waited ${spentMs} ms`);
      if (this.fixture.advance === undefined) await sleep(systemClock, REAL_STEP_MS);
      else await this.fixture.advance(Math.min(MANUAL_STEP_MS, Math.max(1, withinMs - spentMs)));
    }
  }

  /**
   * All processes die at once: their handles answer nothing any more, nothing is said goodbye to,
   * and the engine starts again if it can. Stores opened afterwards find what it kept.
   */
  async crash(): Promise<void> {
    const dead = this.#drivers;
    this.#drivers = [];
    this.#aside = undefined;
    for (const driver of dead) driver.cut();
    await Promise.all(dead.map((driver) => driver.free()));
    await Promise.all(this.#stores.map((store) => store.close()));
    this.#stores = [];
    await this.fixture.restart?.();
  }

  /** All processes end in order, and the engine starts again if it can. */
  async restart(): Promise<void> {
    await this.#end();
    await this.fixture.restart?.();
  }

  async #end(): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()));
    await Promise.all(this.#drivers.map((driver) => driver.free()));
    this.#stores = [];
    this.#drivers = [];
    this.#aside = undefined;
  }

  /** Another store of the same engine, with a namespace of its own and the same time. */
  async other(): Promise<World> {
    const other = new World(this.#options, await this.#options.create());
    this.#others.push(other);
    const aheadMs = (await this.now()) - (await other.now());
    if (this.isManual && aheadMs > 0) await other.fixture.advance?.(aheadMs);
    return other;
  }

  /** Called by the kit, once. */
  async dispose(): Promise<void> {
    try {
      for (const other of this.#others) await other.dispose();
      await this.#end();
    } finally {
      await this.fixture.dispose();
    }
  }
}

/** Declares a test for each sentence that is for this engine. */
export function declare(options: ConformanceOptions, cases: Cases): void {
  for (const [sentence, one] of Object.entries(cases)) {
    if (typeof one !== "function" && !one.when(options.capabilities)) continue;
    const run = typeof one === "function" ? one : one.run;
    options.test(sentence, () => runCase(options, run));
  }
}

async function runCase(
  options: ConformanceOptions,
  run: (world: World) => Promise<void>,
): Promise<void> {
  const world = new World(options, await options.create());
  try {
    await run(world);
  } catch (error) {
    if (error instanceof Error) error.message += ` (seed ${world.seed})`;
    throw error;
  } finally {
    await world.dispose();
  }
}

// ---------------------------------------------------------------- assertions

/** The call is refused with this code, and says that nothing was applied. */
export async function refuses(call: Promise<unknown>, code: ErrorCode): Promise<HoldfastError> {
  const error = await call.then(
    (value) => assert.fail(`Expected ${code}, got an answer: ${show(value)}`),
    (caught: unknown) => caught,
  );
  if (!isHoldfastError(error)) throw error;
  assert.equal(error.code, code, `expected ${code}, got ${error.code}: ${error.message}`);
  assert.equal(error.outcome, "not-applied", `a refusal says that nothing was applied (${code})`);
  assert.ok(
    error.message.length > 0,
    "an error says what was expected, what was got and what to do",
  );
  return error;
}

/** The call throws a plain `TypeError` or `RangeError` before anything is sent. */
export async function rejectsArgument(call: () => unknown): Promise<void> {
  const run = async (): Promise<unknown> => call();
  const error = await run().then(
    (value) => assert.fail(`Expected a TypeError or RangeError, got an answer: ${show(value)}`),
    (caught: unknown) => caught,
  );
  const isPlain = error instanceof TypeError || error instanceof RangeError;
  if (!isPlain) throw error;
}

/** The group was refused with this code at this op. */
export function isRefused(committed: Committed, code: ErrorCode, index?: number): void {
  if (committed.ok) assert.fail(`Expected ${code}, the group was accepted`);
  const { refusal } = committed;
  assert.equal(refusal.code, code, `expected ${code}, got ${refusal.code}: ${refusal.message}`);
  if (index !== undefined) assert.equal(refusal.index, index, "the refusal names the op");
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 200) ?? String(value);
}

/** Commits the ops as few groups as the engine allows: each by itself where a group has one key. */
export async function commitMany(world: World, store: Store, ops: readonly Op[]): Promise<void> {
  const { atomic, maxOpsPerGroup } = world.capabilities;
  const size = atomic === "key" ? 1 : Math.min(maxOpsPerGroup, LIMITS.opsPerGroup);
  const groups: Promise<Committed>[] = [];
  for (let at = 0; at < ops.length; at += size) {
    groups.push(store.commit(world.namespace, ops.slice(at, at + size)));
    // A few at once: fast enough, and never more than may wait.
    if (groups.length % 1_000 === 0) await Promise.all(groups);
  }
  for (const committed of await Promise.all(groups)) assert.ok(committed.ok);
}

/** Runs the calls of several clients at once, each client's one after another. */
export async function concurrently(
  clients: number,
  run: (client: number) => Promise<void>,
): Promise<void> {
  const results = await Promise.allSettled(Array.from({ length: clients }, (_, i) => run(i)));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

/** An integer in [0, below). */
export function draw(random: SeededRandom, below: number): number {
  return Math.floor(random.next() * below);
}

/** One of the items. */
export function pick<T>(random: SeededRandom, items: readonly T[]): T {
  return items[draw(random, items.length)] as T;
}
