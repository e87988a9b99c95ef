/**
 * A program on the bare driver: no store, no batcher, no retries but its own. It shows what the
 * state machine does under faults with a client that is as naive as a client may be, and it is
 * fast.
 */
import { isHoldfastError } from "../../src/core/errors.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import {
  simulate,
  type FaultPlan,
  type Instance,
  type SimulationResult,
} from "../../src/sim/index.ts";
import type { Clock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { StoreDriver } from "../../src/store/driver.ts";
import {
  DEFAULT_QUEUE_CONFIG,
  type Claimed,
  type ClaimedJob,
  type GroupResult,
  type Op,
  type QueueConfig,
  type SettleOutcome,
} from "../../src/store/ops.ts";
import { QueueModel } from "./model.ts";

const PARTITION = "p";
const QUEUE = "work";
const EFFECT = "effects";

export interface RawOptions {
  readonly faults?: "swarm" | "none" | Partial<FaultPlan>;
  /** A store that is broken on purpose. */
  readonly state?: (clock: Clock) => MemoryState;
  /** False: judged by what programs could see, without looking into the tables. Default true. */
  readonly isAudited?: boolean;
  readonly jobsPerNode?: number;
}

/** What the seed makes of the workload, besides the faults. */
interface Shape {
  readonly config: QueueConfig;
  readonly keys: number;
  readonly keyedShare: number;
  readonly delayedShare: number;
  readonly holdsKey: boolean;
  readonly ttlMs: number;
  readonly workMs: number;
  readonly nodes: number;
}

function shapeOf(seed: number): Shape {
  const random = new SeededRandom(seed ^ 0x5eed);
  const draw = (max: number): number => Math.floor(random.next() * max);
  const maxLeased = random.next() < 0.5 ? 1 + draw(4) : null;
  return {
    config: {
      ...DEFAULT_QUEUE_CONFIG,
      maxLeased,
      maxWaiting: random.next() < 0.2 ? 2 + draw(8) : null,
      maxDeliveries: random.next() < 0.3 ? 2 + draw(3) : 20,
      rate:
        random.next() < 0.2
          ? { count: 5 + draw(20), perMs: 1_000, burst: 1 + draw(5), isPerKey: random.next() < 0.5 }
          : null,
    },
    keys: 1 + draw(4),
    keyedShare: random.next(),
    delayedShare: random.next() < 0.5 ? 0 : random.next() / 2,
    holdsKey: random.next() < 0.5,
    ttlMs: 1_000 + draw(4_000),
    workMs: 10 + draw(1_000),
    nodes: 2 + draw(3),
  };
}

/**
 * What the program was told, over all instances and their deaths: the oracle of "nothing
 * acknowledged is lost".
 */
interface Told {
  readonly added: Set<string>;
  readonly completed: Set<string>;
  /** Jobs that each instance has yet to add. */
  readonly left: Map<string, number>;
}

class Client {
  readonly #driver: StoreDriver;
  readonly #instance: Instance;
  readonly #shape: Shape;
  readonly #told: Told;
  #session = "";
  #sessions = 0;

  constructor(instance: Instance, shape: Shape, told: Told) {
    this.#driver = instance.driver();
    this.#instance = instance;
    this.#shape = shape;
    this.#told = told;
  }

  /** One group; null: nobody knows what became of it, or it was not applied. */
  async #commit(...ops: Op[]): Promise<GroupResult | null> {
    try {
      const [result] = await this.#driver.commit([{ partition: PARTITION, ops }]);
      return result ?? null;
    } catch (error) {
      if (isHoldfastError(error, "UNAVAILABLE")) return null;
      throw error;
    }
  }
  /** Tries the same group until it is answered: for ops that may be repeated. */
  async #insist(...ops: Op[]): Promise<GroupResult> {
    for (;;) {
      const result = await this.#commit(...ops);
      if (result !== null) return result;
      await this.#instance.sleep(20 + this.#instance.random.next() * 200);
    }
  }

  async run(): Promise<void> {
    const { config } = this.#shape;
    await this.#insist({ op: "queue.configure", queue: QUEUE, config });
    await Promise.all([this.#produce(), this.#renew(), this.#work(), this.#work()]);
  }

  async #produce(): Promise<void> {
    const { name, random } = this.#instance;
    const { keys, keyedShare, delayedShare } = this.#shape;
    for (;;) {
      const left = this.#told.left.get(name) as number;
      if (left === 0) return;
      const id = `${name}-${left}`;
      // All of a job is drawn from its id, so that adding it again after a crash is the same add.
      const own = new SeededRandom(left * 64 + this.#instance.index);
      const key = own.next() < keyedShare ? `k${Math.floor(own.next() * keys)}` : null;
      const delayMs = own.next() < delayedShare ? 1 + Math.floor(own.next() * 2_000) : 0;
      const priority = Math.floor(own.next() * 3);
      const added = await this.#insist({
        ...{ op: "queue.enqueue", queue: QUEUE, id, isFresh: false, payload: id },
        ...{ delayMs, priority, key, dedupe: null, trace: null },
      });
      // Refused for a while: too many wait.
      if (added.ok) {
        this.#told.added.add(id);
        this.#told.left.set(name, left - 1);
      }
      await this.#instance.sleep(random.next() * 200);
    }
  }

  async #open(): Promise<void> {
    const { name, boot } = this.#instance;
    const session = `${name}/${boot}/${++this.#sessions}`;
    const { ttlMs } = this.#shape;
    await this.#insist({ op: "session.open", session, ttlMs, label: name });
    this.#session = session;
  }

  async #reopen(session: string): Promise<void> {
    if (this.#session === session) this.#session = "";
    await this.#insist({ op: "session.end", session });
    if (this.#session === "") await this.#open();
  }

  async #renew(): Promise<void> {
    await this.#open();
    for (;;) {
      const { ttlMs } = this.#shape;
      await this.#instance.sleep(ttlMs / 3);
      const session = this.#session;
      if (session === "") continue;
      const renewed = await this.#commit({ op: "session.renew", session, ttlMs });
      if (renewed?.ok === false && this.#session === session) await this.#open();
    }
  }

  async #work(): Promise<void> {
    const { random } = this.#instance;
    for (;;) {
      await this.#instance.sleep(20 + random.next() * 200);
      const session = this.#session;
      if (session === "") continue;
      const max = 1 + Math.floor(random.next() * 3);
      const claimed = await this.#commit({ op: "queue.claim", queue: QUEUE, session, max });
      // Nobody knows whether jobs were leased to this session: give back what there may be.
      if (claimed === null) await this.#reopen(session);
      if (claimed?.ok !== true) continue;
      for (const job of (claimed.results[0] as Claimed).jobs) await this.#handle(session, job);
    }
  }

  async #handle(session: string, job: ClaimedJob): Promise<void> {
    const { random } = this.#instance;
    await this.#instance.sleep(random.next() * this.#shape.workMs);
    const { holdsKey } = this.#shape;
    const chance = random.next();
    // A client that heard nothing of its settle tries the same one again: the token makes that
    // harmless.
    const outcome: SettleOutcome =
      chance < 0.75 ? "completed" : chance < 0.92 ? "retry" : "released";
    const delayMs = outcome === "retry" ? Math.floor(random.next() * 500) : 0;
    const settle: Op = {
      ...{ op: "queue.settle", queue: QUEUE, session, seq: job.seq, token: job.token },
      ...{ outcome, result: null, error: null, delayMs, holdsKey },
    };
    const effect: Op = { op: "kv.add", key: EFFECT, delta: 1 };
    const ops = outcome === "completed" ? [settle, effect] : [settle];
    const settled = await this.#insist(...ops);
    if (settled.ok && outcome === "completed") this.#told.completed.add(job.id);
  }
}

/** Runs the workload under a seed; throws `SimulationError` if anything is wrong. */
export function rawWorkload(seed: number, options: RawOptions = {}): Promise<SimulationResult> {
  const shape = shapeOf(seed);
  const { maxLeased, rate } = shape.config;
  const model = new QueueModel({
    ...{ partition: PARTITION, queue: QUEUE, effectKey: EFFECT, maxLeased, rate },
    isAudited: options.isAudited ?? true,
  });
  const left = new Map<string, number>();
  for (let i = 1; i <= shape.nodes; i++) left.set(`n${i}`, options.jobsPerNode ?? 8);
  const told: Told = { added: new Set(), completed: new Set(), left };
  return simulate((instance) => new Client(instance, shape, told).run(), {
    ...{ seed, nodes: shape.nodes, untilMs: 15_000, healMs: 120_000 },
    replay: "npm run test:sim -- --seed {seed} test/sim/raw.test.ts",
    ...{ faults: options.faults ?? "swarm", state: options.state },
    always: (world, event) => model.commit(world.state, event),
    isDone: ({ state }) =>
      [...left.values()].every((count) => count === 0) && model.unfinished(state).length === 0,
    describeRest: ({ state }) => JSON.stringify({ left: [...left], jobs: model.unfinished(state) }),
    finally: ({ state }) => {
      model.end(state);
      for (const id of told.added) {
        if (model.byId(id) === undefined) throw new Error(`Lost: ${id} was added and is nowhere`);
      }
      for (const id of told.completed) {
        if (model.byId(id)?.completions === 1) continue;
        throw new Error(`Lost: the completion of ${id} was acknowledged and is nowhere`);
      }
    },
  });
}
