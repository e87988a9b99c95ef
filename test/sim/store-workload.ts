/**
 * A program on Store, Session, Queue and Kv as a user of the ports would write it: producers that
 * add with their own ids until they are told, workers that settle with an effect in the same group,
 * instances that now and then close in order and open again.
 */
import { isHoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import type { Clock } from "../../src/core/clock.ts";
import { Kv } from "../../src/ports/kv/index.ts";
import { Queue, type QueueRules, type Settlement } from "../../src/ports/queue/index.ts";
import {
  simulate,
  type FaultPlan,
  type Instance,
  type SimulationResult,
  type World,
} from "../../src/sim/index.ts";
import type { ClaimedJob, QueueConfig } from "../../src/store/ops.ts";
import type { Session } from "../../src/store/session.ts";
import type { Store } from "../../src/store/store.ts";
import { QueueModel } from "./model.ts";

const NAMESPACE = "shop";
const QUEUE = "work";
const EFFECT = "effects";

export interface StoreWorkloadOptions {
  readonly faults?: "swarm" | "none" | Partial<FaultPlan>;
  /** A store that is broken on purpose. */
  readonly state?: (clock: Clock) => MemoryState;
  /** False: judged by what programs could see, without looking into the tables. Default true. */
  readonly isAudited?: boolean;
}

/** What the seed makes of the workload, besides the faults. */
interface Shape {
  readonly rules: QueueRules & Pick<QueueConfig, "maxLeased" | "rate">;
  readonly nodes: number;
  readonly jobs: number;
  readonly keys: number;
  readonly keyedShare: number;
  readonly delayedShare: number;
  readonly holdsKey: boolean;
  readonly sessionTtlMs: number;
  readonly workMs: number;
  readonly workers: number;
  /** Mean time until an instance closes in order and opens again; 0: never. */
  readonly reopenEveryMs: number;
}

function shapeOf(seed: number): Shape {
  const random = new SeededRandom(seed ^ 0x570e);
  const draw = (min: number, max: number): number =>
    min + Math.floor(random.next() * (max - min + 1));
  const maybe = (share: number): boolean => random.next() < share;
  return {
    rules: {
      maxLeased: maybe(0.5) ? draw(1, 4) : null,
      maxDeliveries: maybe(0.2) ? draw(2, 5) : 20,
      rate: maybe(0.2)
        ? { count: draw(10, 30), perMs: 1_000, burst: draw(1, 5), isPerKey: maybe(0.3) }
        : null,
    },
    nodes: draw(2, 4),
    jobs: draw(4, 10),
    keys: draw(1, 4),
    keyedShare: random.next(),
    delayedShare: maybe(0.5) ? 0 : random.next() / 2,
    holdsKey: maybe(0.5),
    sessionTtlMs: draw(800, 5_000),
    workMs: draw(10, 1_200),
    workers: draw(1, 3),
    reopenEveryMs: maybe(0.4) ? draw(1_500, 8_000) : 0,
  };
}

/** What the program was told, over all instances and their deaths. */
interface Told {
  readonly added: Set<string>;
  readonly completed: Set<string>;
  /** Jobs that each instance has yet to add. */
  readonly left: Map<string, number>;
}

interface Setting {
  readonly shape: Shape;
  readonly told: Told;
  readonly model: QueueModel;
  /** What each instance's code believes to hold. */
  readonly holds: Map<string, Set<Hold>>;
}

interface Hold {
  readonly session: Session;
  readonly job: ClaimedJob;
}

/** Errors after which a program tries again, or lets a job go. */
const PASSING = new Set(["UNAVAILABLE", "TIMEOUT", "OVERLOADED", "CLOSED", "LEASE_LOST", "FENCED"]);

function isPassing(error: unknown): boolean {
  return isHoldfastError(error) && PASSING.has(error.code);
}

/** One opening of the store on one process. */
class Opening {
  readonly #instance: Instance;
  readonly #setting: Setting;
  readonly #store: Store;
  readonly #queue: Queue;
  readonly #kv: Kv;
  #isOpen = true;

  constructor(instance: Instance, setting: Setting, store: Store) {
    this.#instance = instance;
    this.#setting = setting;
    this.#store = store;
    this.#queue = new Queue(store, QUEUE);
    this.#kv = new Kv(store);
  }

  async run(): Promise<void> {
    const { workers, reopenEveryMs } = this.#setting.shape;
    await this.#insist(() => this.#queue.configure(this.#setting.shape.rules));
    const work = Array.from({ length: workers }, () => this.#work());
    const ends: Promise<void>[] = [this.#produce(), ...work];
    if (reopenEveryMs > 0) {
      await this.#instance.sleep(this.#instance.random.next() * 2 * reopenEveryMs);
      this.#isOpen = false;
      this.#instance.log("closes in order");
      await this.#store.close();
    }
    await Promise.all(ends);
  }

  async #insist<T>(call: () => Promise<T>): Promise<T | undefined> {
    while (this.#isOpen) {
      try {
        return await call();
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      await this.#instance.sleep(20 + this.#instance.random.next() * 200);
    }
    return undefined;
  }

  async #produce(): Promise<void> {
    const { name, random, index } = this.#instance;
    const { told, shape } = this.#setting;
    while (this.#isOpen) {
      const left = told.left.get(name) as number;
      if (left === 0) return;
      const id = `${name}-${left}`;
      const own = new SeededRandom(left * 64 + index);
      const key =
        own.next() < shape.keyedShare ? `k${Math.floor(own.next() * shape.keys)}` : undefined;
      const delayMs = own.next() < shape.delayedShare ? 1 + Math.floor(own.next() * 2_000) : 0;
      const priority = Math.floor(own.next() * 3);
      const added = await this.#insist(() =>
        this.#queue.add({ id, payload: id, key, delayMs, priority }),
      );
      if (added === undefined) return;
      told.added.add(id);
      told.left.set(name, left - 1);
      await this.#instance.sleep(random.next() * 150);
    }
  }

  async #work(): Promise<void> {
    const { random } = this.#instance;
    let isReady = false;
    let wake = (): void => {};
    const stop = this.#queue.onReady(() => {
      isReady = true;
      wake();
    });
    try {
      while (this.#isOpen) {
        const nextMs = await this.#turn();
        if (nextMs === 0 || isReady) {
          isReady = false;
          continue;
        }
        const nap = new AbortController();
        wake = () => nap.abort(null);
        const napMs = Math.min(nextMs ?? Infinity, 300 + random.next() * 700);
        await this.#instance.sleep(napMs, nap.signal).catch(() => undefined);
      }
    } finally {
      stop();
    }
  }

  /** Claims and handles; gives how long to wait before the next turn. */
  async #turn(): Promise<number | null> {
    let session: Session;
    try {
      session = await this.#store.session();
    } catch (error) {
      if (!isPassing(error)) throw error;
      return 100;
    }
    try {
      const max = 1 + Math.floor(this.#instance.random.next() * 3);
      const { jobs, nextMs } = await this.#queue.claim(session, max);
      await Promise.all(jobs.map((job) => this.#handle(session, job)));
      return jobs.length > 0 ? 0 : nextMs;
    } catch (error) {
      if (!isPassing(error)) throw error;
      // Jobs may be leased to this session that nobody here knows of: only its end gives them back.
      if (isHoldfastError(error) && error.outcome === "unknown") await session.close();
      return 50;
    }
  }

  async #handle(session: Session, job: ClaimedJob): Promise<void> {
    const { random, name } = this.#instance;
    const hold = { session, job };
    const holds = this.#setting.holds.get(name);
    holds?.add(hold);
    await this.#instance.sleep(random.next() * this.#setting.shape.workMs);
    // From here on it lets go: the settling may have happened before its answer comes.
    holds?.delete(hold);
    const settlement = this.#settlement();
    const isDone = settlement.outcome === "completed";
    const also = isDone ? [this.#kv.op.add(EFFECT, 1)] : [];
    for (;;) {
      try {
        await this.#queue.settle(session, job, settlement, { also });
        if (isDone) this.#setting.told.completed.add(job.id);
        return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (!isHoldfastError(error, "UNAVAILABLE")) return;
      }
      await this.#instance.sleep(10 + random.next() * 100);
    }
  }

  #settlement(): Settlement {
    const { random } = this.#instance;
    const chance = random.next();
    if (chance < 0.75) return { outcome: "completed", result: `"${this.#instance.name}"` };
    if (chance < 0.92) {
      const { holdsKey } = this.#setting.shape;
      const delayMs = Math.floor(random.next() * 500);
      return { outcome: "retry", delayMs, holdsKey, error: "not this time" };
    }
    if (chance < 0.95) return { outcome: "dead", error: "never" };
    return { outcome: "released" };
  }
}

/** Whoever still believes in its lease must be right, as long as clocks run as clocks do. */
function checkHolds({ holds, model }: Setting, name: string): void {
  for (const { session, job } of holds.get(name) ?? []) {
    const now = model.byId(job.id);
    if (now === undefined || now.token === job.token || session.isOver) continue;
    throw new Error(
      `${name} believes that it holds ${job.id} under token ${job.token}, ` +
        `but token ${now.token} was given out`,
    );
  }
}

async function program(instance: Instance, setting: Setting): Promise<void> {
  const { sessionTtlMs } = setting.shape;
  setting.holds.set(instance.name, new Set());
  for (;;) {
    const store = await instance.open({ namespace: NAMESPACE, sessionTtlMs, drainMs: 5_000 });
    await new Opening(instance, setting, store).run();
    await instance.sleep(10 + instance.random.next() * 500);
  }
}

function checkTold({ told, model }: Setting): void {
  for (const id of told.added) {
    if (model.byId(id) === undefined) throw new Error(`Lost: ${id} was added and is nowhere`);
  }
  for (const id of told.completed) {
    if (model.byId(id)?.completions === 1) continue;
    throw new Error(`Lost: the completion of ${id} was acknowledged and is nowhere`);
  }
}

/**
 * False where clocks lie more than a lease can know: a takeover may come before the holder learns
 * of it.
 */
function areClocksFair(plan: FaultPlan): boolean {
  // The store's clock set forward ends leases early; a holder whose wall clock was set back while
  // its monotonic one stood can't know how long it slept.
  return plan.storeJumpEveryMs === 0 && (plan.wallJumpEveryMs === 0 || plan.suspendEveryMs === 0);
}

/** Runs the workload under a seed; throws `SimulationError` if anything is wrong. */
export function storeWorkload(
  seed: number,
  options: StoreWorkloadOptions = {},
): Promise<SimulationResult> {
  const shape = shapeOf(seed);
  const { maxLeased, rate } = shape.rules;
  const model = new QueueModel({
    ...{ partition: NAMESPACE, queue: QUEUE, effectKey: EFFECT, maxLeased, rate },
    isAudited: options.isAudited ?? true,
  });
  const left = new Map<string, number>();
  for (let i = 1; i <= shape.nodes; i++) left.set(`n${i}`, shape.jobs);
  const told: Told = { added: new Set(), completed: new Set(), left };
  const setting: Setting = { shape, told, model, holds: new Map() };
  const isDone = ({ state }: World): boolean =>
    [...left.values()].every((count) => count === 0) && model.unfinished(state).length === 0;
  return simulate((instance) => program(instance, setting), {
    ...{ seed, nodes: shape.nodes, untilMs: 15_000, healMs: 120_000, isDone },
    replay: "npm run test:sim -- --seed {seed} test/sim/store.test.ts",
    ...{ faults: options.faults ?? "swarm", state: options.state },
    always: (world, event) => model.commit(world.state, event),
    onStep: ({ plan }, name) => {
      if (areClocksFair(plan)) checkHolds(setting, name);
    },
    describeRest: ({ state }) => JSON.stringify({ left: [...left], jobs: model.unfinished(state) }),
    finally: ({ state }) => {
      model.end(state);
      checkTold(setting);
    },
  });
}
