/**
 * A program on Store and Kv: a stock that must not go below zero, a counter by compare-and-set,
 * keys with a TTL, an office that one session holds at a time, watchers that must end up with the
 * store's own view, and messages on the bus.
 */
import { isHoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import type { Clock } from "../../src/core/clock.ts";
import { isLive } from "../../src/engines/shared/embedded/kv-ops.ts";
import { Bus } from "../../src/ports/bus/index.ts";
import { Kv } from "../../src/ports/kv/index.ts";
import {
  simulate,
  type FaultPlan,
  type Instance,
  type SimulationResult,
  type World,
} from "../../src/sim/index.ts";
import type { Session } from "../../src/store/session.ts";
import type { Store } from "../../src/store/store.ts";

const NAMESPACE = "shop";
const WATCHED = "w/";
const OFFICE = `${WATCHED}office`;
const STOCK = "stock";
const COUNTER = "counter";

export interface KvWorkloadOptions {
  readonly faults?: "swarm" | "none" | Partial<FaultPlan>;
  /** A store that is broken on purpose. */
  readonly state?: (clock: Clock) => MemoryState;
}

interface Shape {
  readonly nodes: number;
  readonly steps: number;
  readonly stock: number;
  readonly sessionTtlMs: number;
}

function shapeOf(seed: number): Shape {
  const random = new SeededRandom(seed ^ 0x4b56);
  const draw = (min: number, max: number): number =>
    min + Math.floor(random.next() * (max - min + 1));
  return {
    nodes: draw(2, 4),
    steps: draw(20, 60),
    stock: draw(5, 60),
    sessionTtlMs: draw(300, 3_000),
  };
}

/** How often something was told to have happened, and how often nobody could tell. */
class Outcomes {
  #done = 0;
  /** Begun and not answered: failed with an unknown outcome, or its process died. */
  #open = 0;

  /** `call` gives whether it happened. */
  async count(call: () => Promise<boolean>): Promise<void> {
    this.#open++;
    try {
      const hasHappened = await call();
      this.#open--;
      if (hasHappened) this.#done++;
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      if (error.outcome !== "unknown") this.#open--;
    }
  }
  /** Whether the store's own number fits what programs were told. */
  check(what: string, found: number): void {
    if (found >= this.#done && found <= this.#done + this.#open) return;
    const told = `${this.#done} times told, ${this.#open} times unknown`;
    throw new Error(`${what}: happened ${found} times, ${told}`);
  }
}

/** What all instances together know; outlives their deaths. */
class Known {
  readonly stepsLeft = new Map<string, number>();
  readonly sold = new Outcomes();
  readonly counted = new Outcomes();
  /** The greatest revision that somebody was told of, by key: later reads must not show less. */
  readonly floors = new Map<string, number>();
  /** What each running process sees by watching: key → value. */
  readonly views = new Map<string, Map<string, string>>();
  readonly holds = new Map<string, Hold>();
  readonly published = new Set<string>();
  hadStock = false;
}

/**
 * An instance that believes in its office: the session that it is bound to, and the revision of its
 * taking.
 */
interface Hold {
  readonly session: Session;
  readonly revision: number;
}

class Program {
  readonly #instance: Instance;
  readonly #known: Known;
  readonly #shape: Shape;
  readonly #store: Store;
  readonly #kv: Kv;
  readonly #bus: Bus;

  constructor(instance: Instance, known: Known, shape: Shape, store: Store) {
    this.#instance = instance;
    this.#known = known;
    this.#shape = shape;
    this.#store = store;
    this.#kv = new Kv(store);
    this.#bus = new Bus(store);
  }

  async run(): Promise<void> {
    await Promise.all([this.#steps(), this.#watch(), this.#office(), this.#listen()]);
  }

  async #steps(): Promise<void> {
    const { name, random } = this.#instance;
    const { stepsLeft } = this.#known;
    for (;;) {
      const left = stepsLeft.get(name) as number;
      if (left === 0) return;
      stepsLeft.set(name, left - 1);
      await this.#step(random.next(), left);
      await this.#instance.sleep(random.next() * 100);
    }
  }

  async #step(chance: number, left: number): Promise<void> {
    if (chance < 0.2) return this.#sell();
    if (chance < 0.4) return this.#count();
    if (chance < 0.5) return this.#publish(left);
    return this.#touch();
  }

  /** Takes some of the stock, never more than there is. */
  #sell(): Promise<void> {
    return this.#known.sold.count(async () => (await this.#kv.tryAdd(STOCK, -1, { min: 0 })).ok);
  }

  /** Adds one by read and compare-and-set. */
  #count(): Promise<void> {
    const { counted, floors } = this.#known;
    const floor = floors.get(COUNTER) ?? 0;
    return counted.count(async () => {
      const entry = await this.#kv.get(COUNTER);
      this.#checkFloor(COUNTER, entry?.revision ?? 0, floor);
      const value = Number(entry?.value ?? 0) + 1;
      const put = await this.#kv.tryPut(COUNTER, value, { ifRevision: entry?.revision ?? 0 });
      if (put.ok) floors.set(COUNTER, Math.max(floors.get(COUNTER) ?? 0, put.revision));
      return put.ok;
    });
  }

  #checkFloor(key: string, revision: number, floor: number): void {
    if (revision >= floor) return;
    throw new Error(`A read of ${key} showed revision ${revision} after ${floor} was told`);
  }

  /** Writes, deletes or lets expire one of the watched keys. */
  async #touch(): Promise<void> {
    const { random } = this.#instance;
    const key = `${WATCHED}${Math.floor(random.next() * 6)}`;
    try {
      if (random.next() < 0.2) await this.#kv.delete(key);
      else {
        const ttlMs = random.next() < 0.3 ? 1 + Math.floor(random.next() * 2_000) : undefined;
        await this.#kv.put(key, random.text(6), { ttlMs });
      }
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
    }
  }

  // -------------------------------------------------------------- watching

  async #watch(): Promise<void> {
    const view = new Map<string, string>();
    this.#known.views.set(this.#instance.name, view);
    for (;;) {
      try {
        await this.#watchOnce(view);
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
      }
      await this.#instance.sleep(10);
    }
  }

  /** Lists, then follows; ends when changes were lost to it. */
  async #watchOnce(view: Map<string, string>): Promise<void> {
    const list = await this.#kv.list(WATCHED);
    view.clear();
    const revisions = new Map<string, number>();
    for (const { key, value, revision } of list.entries) {
      view.set(key, value as string);
      revisions.set(key, revision);
    }
    let cursor = list.revision;
    for await (const batch of this.#kv.watch(WATCHED, { cursor })) {
      if (batch.cursor < cursor)
        throw new Error(`A watch's cursor went from ${cursor} to ${batch.cursor}`);
      cursor = batch.cursor;
      if (batch.isResync) return;
      for (const change of batch.changes) {
        const { key, revision } = change;
        const before = revisions.get(key) ?? 0;
        if (revision < before)
          throw new Error(`A watch of ${key} went from ${before} to ${revision}`);
        revisions.set(key, revision);
        if (change.type === "put") view.set(key, change.value as string);
        else view.delete(key);
      }
    }
  }

  // -------------------------------------------------------------- one at a time

  /** Takes the office if it is free, bound to the session; holds it for a while. */
  async #office(): Promise<void> {
    const { name, random } = this.#instance;
    for (;;) {
      await this.#instance.sleep(20 + random.next() * 200);
      try {
        const session = await this.#store.session();
        const taken = await this.#kv.tryPut(OFFICE, name, { session, ifRevision: 0 });
        if (!taken.ok) continue;
        this.#known.holds.set(name, { session, revision: taken.revision });
        await this.#instance.sleep(random.next() * 2 * this.#shape.sessionTtlMs);
        this.#known.holds.delete(name);
        if (session.isOver) continue;
        await this.#kv.tryDelete(OFFICE, { ifRevision: taken.revision });
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        // What nobody knows of ends with the session.
        if (error.outcome === "unknown") await (await this.#session())?.close();
      }
    }
  }

  async #session(): Promise<Session | undefined> {
    try {
      return await this.#store.session();
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      return undefined;
    }
  }

  // -------------------------------------------------------------- messages

  async #publish(left: number): Promise<void> {
    const message = `${this.#instance.name}/${left}`;
    this.#known.published.add(message);
    try {
      await this.#bus.publish("news", message);
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
    }
  }

  async #listen(): Promise<void> {
    const heard = new Set<string>();
    for await (const message of this.#bus.subscribe("news")) {
      const text = message as string;
      if (!this.#known.published.has(text)) throw new Error(`Heard what nobody said: ${text}`);
      if (heard.has(text)) throw new Error(`Heard twice: ${text}`);
      heard.add(text);
    }
  }
}

/** The watched keys as the store has them, by its own clock. */
function truth({ state }: World): Map<string, string> {
  const found = new Map<string, string>();
  const partition = state.tables.partitionByName(NAMESPACE);
  if (partition === undefined) return found;
  const nowMs = state.nowMs();
  for (const row of state.tables.kvRange(partition.no, WATCHED, null, 1_000)) {
    if (!isLive(state.tables, row, nowMs)) continue;
    found.set(row.key, JSON.parse(row.value as string) as string);
  }
  return found;
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

function valueOf({ state }: World, key: string): number {
  const partition = state.tables.partitionByName(NAMESPACE)?.no ?? 0;
  return Number(state.tables.kv(partition, key)?.value ?? 0);
}

/** Whoever believes in its office must be right, as long as clocks run as clocks do. */
function checkOffice(world: World, known: Known, name: string): void {
  const { plan, state } = world;
  const isFair =
    plan.storeJumpEveryMs === 0 && (plan.wallJumpEveryMs === 0 || plan.suspendEveryMs === 0);
  const hold = known.holds.get(name);
  if (!isFair || hold === undefined) return;
  const partition = state.tables.partitionByName(NAMESPACE)?.no ?? 0;
  const row = state.tables.kv(partition, OFFICE);
  if (row?.revision === hold.revision || hold.session.isOver) return;
  throw new Error(`${name} believes that it holds the office, but ${String(row?.value)} does`);
}

/** Runs the workload under a seed; throws `SimulationError` if anything is wrong. */
export function kvWorkload(
  seed: number,
  options: KvWorkloadOptions = {},
): Promise<SimulationResult> {
  const shape = shapeOf(seed);
  const { stock, sessionTtlMs } = shape;
  const known = new Known();
  for (let i = 1; i <= shape.nodes; i++) known.stepsLeft.set(`n${i}`, shape.steps);
  const program = async (instance: Instance): Promise<void> => {
    known.holds.delete(instance.name);
    known.views.delete(instance.name);
    const store = await instance.open({ namespace: NAMESPACE, sessionTtlMs });
    await new Program(instance, known, shape, store).run();
  };
  const start = (world: World): void => {
    if (known.hadStock) return;
    known.hadStock = true;
    const add = { op: "kv.add", key: STOCK, delta: stock } as const;
    world.state.commit([{ partition: NAMESPACE, ops: [add] }]);
  };
  const isDone = (world: World): boolean => {
    start(world);
    if ([...known.stepsLeft.values()].some((left) => left > 0)) return false;
    const now = truth(world);
    return world.nodes.every(({ name }) => isSame(known.views.get(name) ?? new Map(), now));
  };
  return simulate(program, {
    ...{ seed, nodes: shape.nodes, untilMs: 10_000, healMs: 30_000, isDone },
    replay: "npm run test:sim -- --seed {seed} test/sim/kv.test.ts",
    ...{ faults: options.faults ?? "swarm", state: options.state },
    always: (world) => {
      if (valueOf(world, STOCK) < 0) throw new Error("The stock is below zero");
    },
    onStep: (world, name) => checkOffice(world, known, name),
    describeRest: (world) => {
      const views = [...known.views].map(([name, view]) => [name, [...view]]);
      return JSON.stringify({ views, truth: [...truth(world)], left: [...known.stepsLeft] });
    },
    finally: (world) => {
      known.sold.check("Selling", stock - valueOf(world, STOCK));
      known.counted.check("Counting", valueOf(world, COUNTER));
    },
  });
}
