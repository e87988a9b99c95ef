/**
 * A program on the feature `jobs`, as a user would write it: definitions, workers with handlers
 * that fail, hang and ignore their signals, cancels, redrives, awaited results, drains, and workers
 * that come and go on a store that stays open.
 */
import { isHoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import {
  permanent,
  queue,
  unchecked,
  type Job,
  type JobQueue,
  type QueueDefinition,
  type QueueOptions,
  type Worker,
} from "../../src/features/jobs/index.ts";
import { Kv } from "../../src/ports/kv/index.ts";
import {
  simulate,
  type FaultPlan,
  type Instance,
  type SimulationResult,
  type World,
} from "../../src/sim/index.ts";
import type { Store } from "../../src/store/store.ts";
import { QueueModel } from "./model.ts";
import { Signals } from "./signals.ts";

const NAMESPACE = "shop";
const QUEUE = "mail";
const EFFECT = "effects";

/** When the faults end, and with them the program's own restlessness. */
const UNTIL_MS = 15_000;
/** A handler's longest work from then on. */
const CALM_WORK_MS = 300;

/** How long after its store was closed a caller may still wait for a result. */
const AWAITED_MS = 60_000;

export interface JobsWorkloadOptions {
  readonly faults?: "swarm" | "none" | Partial<FaultPlan>;
  /** A store that is broken on purpose. */
  readonly state?: (clock: Clock) => MemoryState;
  /** False: judged by what programs could see, without looking into the tables. Default true. */
  readonly isAudited?: boolean;
}

interface Mail {
  /** The job's own; null where a dedupe key may give it another's place. */
  readonly id: string | null;
  readonly key?: string | undefined;
}

type Definition = QueueDefinition<Mail, Mail, unknown, unknown>;
type Handle = JobQueue<Mail, Mail, unknown, unknown>;

/** What the seed makes of the workload, besides the faults. */
interface Shape {
  readonly definition: Definition;
  readonly perKey: number;
  readonly maxLeased: number | null;
  readonly nodes: number;
  readonly jobs: number;
  readonly keys: number;
  readonly keyedShare: number;
  readonly delayedShare: number;
  readonly awaitedShare: number;
  readonly cancelShare: number;
  readonly dedupedShare: number;
  readonly isPausedAtTimes: boolean;
  readonly sessionTtlMs: number;
  readonly workMs: number;
  /** Share of attempts that look away from their signal. */
  readonly deafShare: number;
  readonly concurrency: number;
  readonly isBatch: boolean;
  /**
   * Completions carry an effect in their group; else handlers return, and settles travel in
   * bundles.
   */
  readonly hasEffect: boolean;
  /** Mean life of a worker, and of a store; 0: for ever. */
  readonly workerMs: number;
  readonly storeMs: number;
}

function shapeOf(seed: number): Shape {
  const random = new SeededRandom(seed ^ 0x10b5);
  const draw = (min: number, max: number): number =>
    min + Math.floor(random.next() * (max - min + 1));
  const maybe = (share: number): boolean => random.next() < share;
  const perKey = maybe(0.8) ? 1 : 2;
  const maxLeased = maybe(0.4) ? draw(1, 4) : null;
  const options: QueueOptions<ReturnType<typeof unchecked<Mail>>, undefined> = {
    input: unchecked<Mail>(),
    key: (mail: Mail) => mail.key,
    concurrency: { perKey, max: maxLeased ?? undefined },
    rate: maybe(0.25)
      ? { count: draw(10, 40), perMs: 1_000, burst: draw(1, 5), per: maybe(0.5) ? "queue" : "key" }
      : undefined,
    retry: {
      attempts: draw(2, 6),
      backoff: { initialMs: draw(5, 100), maxMs: draw(100, 1_000) },
      key: maybe(0.5) ? "hold" : "release",
    },
    timeoutMs: maybe(0.3) ? draw(100, 1_500) : 60_000,
    graceMs: draw(10, 500),
  };
  return {
    ...{ definition: queue(QUEUE, options), perKey, maxLeased },
    nodes: draw(2, 4),
    jobs: draw(3, 9),
    keys: draw(1, 4),
    keyedShare: random.next(),
    delayedShare: maybe(0.5) ? 0 : random.next() / 2,
    awaitedShare: maybe(0.5) ? 0 : random.next() / 2,
    cancelShare: maybe(0.5) ? 0 : random.next() / 4,
    dedupedShare: maybe(0.5) ? 0 : random.next() / 2,
    isPausedAtTimes: maybe(0.3),
    sessionTtlMs: draw(600, 4_000),
    workMs: maybe(0.25) ? draw(2_000, 9_000) : draw(5, 1_500),
    deafShare: maybe(0.5) ? 0 : random.next() / 2,
    concurrency: draw(1, 6),
    isBatch: maybe(0.25),
    hasEffect: maybe(0.6),
    workerMs: maybe(0.4) ? draw(500, 6_000) : 0,
    storeMs: maybe(0.3) ? draw(1_500, 8_000) : 0,
  };
}

/** What the program was told, over all instances and their deaths. */
interface Told {
  readonly added: Set<string>;
  readonly completed: Set<string>;
  /** Jobs that each instance has yet to add. */
  readonly left: Map<string, number>;
  /** Results that each running process waits for. */
  readonly awaited: Map<string, Set<string>>;
}

interface Setting {
  readonly shape: Shape;
  readonly told: Told;
  readonly model: QueueModel;
  readonly signals: Signals;
}

/** Errors that a user of `jobs` must expect while the store is out of reach or closes. */
const PASSING = new Set(["UNAVAILABLE", "TIMEOUT", "OVERLOADED", "CLOSED", "LEASE_LOST", "FENCED"]);

function isPassing(error: unknown): boolean {
  return isHoldfastError(error) && PASSING.has(error.code);
}

/** One opening of the store on one process. */
class Opening {
  readonly #instance: Instance;
  readonly #setting: Setting;
  readonly #world: World;
  readonly #store: Store;
  readonly #queue: Handle;
  readonly #kv: Kv;
  #isOpen = true;

  constructor(instance: Instance, world: World, setting: Setting, store: Store) {
    this.#instance = instance;
    this.#world = world;
    this.#setting = setting;
    this.#store = store;
    this.#queue = store.handle(setting.shape.definition);
    this.#kv = new Kv(store);
  }

  get #isCalm(): boolean {
    return this.#world.nowMs >= UNTIL_MS;
  }

  async run(): Promise<void> {
    const { storeMs } = this.#setting.shape;
    const ends = [this.#produce(), this.#steer(), this.#workers()];
    if (storeMs > 0 && !this.#isCalm) {
      await this.#instance.sleep(this.#instance.random.next() * 2 * storeMs);
      this.#isOpen = false;
      this.#instance.log("closes in order");
      await this.#store.close();
      this.#instance.log("closed");
    }
    await Promise.all(ends);
  }

  // -------------------------------------------------------------- adding, awaiting

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
      try {
        await this.#queue.add({ id, key }, { id, delayMs, priority });
        told.added.add(id);
        told.left.set(name, left - 1);
        if (random.next() < shape.dedupedShare) await this.#addDeduped();
        if (random.next() < shape.awaitedShare) void this.#await(id);
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      await this.#instance.sleep(random.next() * 150);
    }
  }

  /** An add that another may stand for. */
  async #addDeduped(): Promise<void> {
    const { random } = this.#instance;
    const mode = (["first", "last", "debounce"] as const)[Math.floor(random.next() * 3)];
    const delayMs = 1 + Math.floor(random.next() * 500);
    const key = `d${Math.floor(random.next() * 3)}`;
    const dedupe = { key, ttlMs: delayMs + Math.floor(random.next() * 2_000), mode };
    const added = await this.#queue.add({ id: null }, { delayMs, dedupe });
    this.#setting.told.added.add(added.id);
  }

  async #await(id: string): Promise<void> {
    const awaited = this.#setting.told.awaited.get(this.#instance.name);
    awaited?.add(id);
    try {
      await this.#queue.result(id);
      const isCompleted = this.#setting.model.byId(id)?.completions === 1;
      if (!isCompleted) throw new Error(`The result of ${id} was given, but it is not completed`);
    } catch (error) {
      if (!isPassing(error) && !isHoldfastError(error, "FAILED")) throw error;
    }
    awaited?.delete(id);
  }

  // -------------------------------------------------------------- steering

  async #steer(): Promise<void> {
    const { random } = this.#instance;
    while (this.#isOpen) {
      await this.#instance.sleep(200 + random.next() * 1_000);
      if (!this.#isOpen) return;
      try {
        await this.#steerOnce(random.next());
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
    }
  }

  async #steerOnce(chance: number): Promise<void> {
    const { random } = this.#instance;
    const { cancelShare, isPausedAtTimes } = this.#setting.shape;
    // Everybody resumes more often than anybody pauses: who paused may be dead.
    if (isPausedAtTimes && chance < 0.3) await this.#queue.resume();
    else if (isPausedAtTimes && chance < 0.4 && !this.#isCalm) await this.#queue.pause();
    const ids = [...this.#setting.told.added];
    const id = ids[Math.floor(random.next() * ids.length)];
    if (id === undefined || cancelShare === 0 || this.#isCalm) return;
    if (random.next() < cancelShare) await this.#queue.cancel(id, { reason: "changed our mind" });
    else if (random.next() < 0.1) await this.#queue.retry(id);
  }

  // -------------------------------------------------------------- working

  async #workers(): Promise<void> {
    const { workerMs } = this.#setting.shape;
    const { random } = this.#instance;
    while (this.#isOpen) {
      const worker = this.#work();
      if (workerMs === 0 || this.#isCalm) return worker.done;
      await this.#instance.sleep(random.next() * 2 * workerMs);
      if (random.next() < 0.3) {
        worker.pause();
        await this.#instance.sleep(random.next() * 500);
        worker.resume();
      } else {
        await worker.close();
        await this.#instance.sleep(random.next() * 200);
      }
      if (worker.state === "running") await worker.close();
    }
  }

  #work(): Worker {
    const { concurrency, isBatch } = this.#setting.shape;
    const options = { concurrency, drainMs: Math.floor(this.#instance.random.next() * 2_000) };
    if (!isBatch) return this.#queue.work((mail, job) => this.#handle(mail, job), options);
    const batch = { ...options, max: 1 + concurrency, concurrency: 1 };
    return this.#queue.workBatch(
      (items) => Promise.allSettled(items.map(({ input, job }) => this.#handle(input, job))),
      batch,
    );
  }

  async #handle(mail: Mail, job: Job): Promise<unknown> {
    const { random, name } = this.#instance;
    const { workMs, deafShare, hasEffect } = this.#setting.shape;
    if (mail.id !== null && mail.id !== job.id) {
      this.#fail(`Job ${job.id} came with the input of ${mail.id}`);
    }
    const isDeaf = random.next() < deafShare;
    const forMs = random.next() * (this.#isCalm ? Math.min(workMs, CALM_WORK_MS) : workMs);
    if (random.next() < 0.2) job.progress({ soon: true });
    const letGo = this.#setting.signals.start(name, job);
    try {
      await this.#instance.sleep(forMs, isDeaf ? undefined : job.signal);
    } finally {
      letGo();
    }
    const chance = random.next();
    if (chance < 0.15) throw new Error("not this time");
    if (chance < 0.18) throw permanent("never");
    return hasEffect ? this.#complete(job) : { by: name };
  }

  async #complete(job: Job): Promise<unknown> {
    const { told, model } = this.#setting;
    const effect = this.#kv.op.add(EFFECT, 1);
    try {
      const done = await job.complete({ by: this.#instance.name }, [effect]);
      told.completed.add(job.id);
      return done;
    } catch (error) {
      const now = model.byId(job.id);
      const holds = now?.completions === 1 && now.token === Number(job.token);
      // "Fenced" says that another's word counts; a completion that holds is no such thing.
      if (holds && isHoldfastError(error, "FENCED")) {
        this.#fail(`The completion of ${job.id} holds, but its handler was told: ${error.message}`);
      }
      throw error;
    }
  }

  /** A handler's own error would only be a failed attempt. */
  #fail(message: string): void {
    this.#world.scheduler.fail(new Error(message));
  }
}

async function program(instance: Instance, world: World, setting: Setting): Promise<void> {
  setting.signals.boot(instance.name);
  const { sessionTtlMs } = setting.shape;
  const awaited = new Set<string>();
  setting.told.awaited.set(instance.name, awaited);
  for (;;) {
    const drainMs = 1_000 + Math.floor(instance.random.next() * 4_000);
    const store = await instance.open({ namespace: NAMESPACE, sessionTtlMs, drainMs });
    await new Opening(instance, world, setting, store).run();
    await instance.sleep(10 + instance.random.next() * 500);
    const endMs = instance.clock.monotonicMs() + AWAITED_MS;
    while (awaited.size > 0 && instance.clock.monotonicMs() < endMs) await instance.sleep(100);
    if (awaited.size === 0) continue;
    throw new Error(`A store that was closed left results awaited: ${[...awaited].join()}`);
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

/** Runs the workload under a seed; throws `SimulationError` if anything is wrong. */
export function jobsWorkload(
  seed: number,
  options: JobsWorkloadOptions = {},
): Promise<SimulationResult> {
  const shape = shapeOf(seed);
  const { maxLeased, perKey, hasEffect } = shape;
  const model = new QueueModel({
    ...{ partition: NAMESPACE, queue: QUEUE, maxLeased, perKey },
    effectKey: hasEffect ? EFFECT : null,
    rate: shape.definition.settings.config.rate,
    isAudited: options.isAudited ?? true,
  });
  const left = new Map<string, number>();
  for (let i = 1; i <= shape.nodes; i++) left.set(`n${i}`, shape.jobs);
  const told: Told = { added: new Set(), completed: new Set(), left, awaited: new Map() };
  const setting: Setting = { shape, told, model, signals: new Signals(model, shape.sessionTtlMs) };
  const isDone = ({ state }: World): boolean =>
    [...left.values()].every((count) => count === 0) &&
    [...told.awaited.values()].every((ids) => ids.size === 0) &&
    model.unfinished(state).length === 0;
  return simulate((instance, world) => program(instance, world, setting), {
    ...{ seed, nodes: shape.nodes, untilMs: UNTIL_MS, healMs: 120_000, isDone },
    replay: "npm run test:sim -- --seed {seed} test/sim/jobs.test.ts",
    ...{ faults: options.faults ?? "swarm", state: options.state },
    always: (world, event) => model.commit(world.state, event),
    onStep: (world, name) => setting.signals.step(world, name),
    describeRest: ({ state }) => {
      const awaited = [...told.awaited].map(([name, ids]) => [name, [...ids]]);
      return JSON.stringify({ left: [...left], awaited, jobs: model.unfinished(state) });
    },
    finally: ({ state }) => {
      model.end(state);
      checkTold(setting);
    },
  });
}
