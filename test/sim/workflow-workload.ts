/**
 * A program on the feature `workflow`, as a user would write it: runs that follow scripts
 * (`saga.ts`) of steps, compensations, sleeps, waits and branches; who starts them, sends them
 * events, cancels them and has those go on that need attention. `run-audit.ts` judges.
 */
import { isHoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
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
import { RunAudit } from "./run-audit.ts";
import { Saga } from "./saga-run.ts";
import { EVENTS, scriptOf, type EventName, type Script } from "./saga.ts";
import {
  EFFECT,
  NAMESPACE,
  QUEUE,
  shapeOf,
  UNTIL_MS,
  type Payload,
  type SagaRun,
  type Sagas,
  type Setting,
  type Told,
} from "./workflow-setting.ts";

export interface WorkflowWorkloadOptions {
  readonly faults?: "swarm" | "none" | Partial<FaultPlan>;
  /** A store that is broken on purpose. */
  readonly state?: (clock: Clock) => MemoryState;
  /** False: judged without looking into the queue's tables. Default true. */
  readonly isAudited?: boolean;
  /** What a handler gets in place of its run: an execution that is broken on purpose. */
  readonly wrap?: (run: SagaRun) => SagaRun;
  /** Is added to: what happened, over all seeds. */
  readonly counts?: Record<string, number>;
}

/** Errors that a user of `workflow` must expect while the store is out of reach or closes. */
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
  readonly #sagas: Sagas;
  readonly #kv: Kv;
  #isOpen = true;

  constructor(instance: Instance, world: World, setting: Setting, store: Store) {
    this.#instance = instance;
    this.#world = world;
    this.#setting = setting;
    this.#store = store;
    this.#sagas = store.handle(setting.shape.definition);
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

  /** False if the store was out of reach; else it was done, or could not be. */
  async #try(work: () => Promise<unknown>, ...expected: readonly string[]): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (isHoldfastError(error) && expected.includes(error.code)) return true;
      if (!isPassing(error)) throw error;
      return false;
    }
  }

  // -------------------------------------------------------------- starting, awaiting

  async #produce(): Promise<void> {
    const { name, random, index } = this.#instance;
    const { told, shape, scripts, seed } = this.#setting;
    while (this.#isOpen) {
      const left = told.left.get(name) as number;
      if (left === 0) return;
      const id = `${name}-${left}`;
      scripts.set(id, scriptOf(seed, left * 64 + index));
      const own = new SeededRandom(left * 64 + index);
      const delayMs = own.next() < shape.delayedShare ? 1 + Math.floor(own.next() * 2_000) : 0;
      const start = (): Promise<unknown> => this.#sagas.start({ id }, { id, delayMs });
      if (await this.#try(start)) {
        told.started.add(id);
        told.left.set(name, left - 1);
        if (random.next() < shape.awaitedShare) void this.#await(id);
      }
      await this.#instance.sleep(random.next() * 300);
    }
  }

  async #await(id: string): Promise<void> {
    const facts = () => this.#setting.audit.runs.get(id);
    try {
      await this.#sagas.result(id);
      if (facts()?.ended === "completed") return;
      this.#world.scheduler.fail(new Error(`The result of ${id} was given: ${facts()?.ended}`));
    } catch (error) {
      if (!isHoldfastError(error, "FAILED")) {
        if (!isPassing(error)) this.#world.scheduler.fail(error);
        return;
      }
      const status = (error.details as { readonly status: string }).status;
      if (status === "attention" || status === facts()?.ended) return;
      // Of one that needed attention and has been looked at since.
      if (["ready", "running", "waiting"].includes(status)) return;
      this.#world.scheduler.fail(new Error(`Run ${id} was said to have ended as ${status}`));
    }
  }

  // -------------------------------------------------------------- steering

  async #steer(): Promise<void> {
    const { random } = this.#instance;
    while (this.#isOpen) {
      await this.#instance.sleep(100 + random.next() * (this.#isCalm ? 400 : 700));
      if (!this.#isOpen) return;
      if (this.#isCalm) await this.#settle();
      else await this.#disturb();
    }
  }

  async #disturb(): Promise<void> {
    const { random } = this.#instance;
    const { shape, told } = this.#setting;
    if (shape.isPausedAtTimes && random.next() < 0.3) await this.#try(() => this.#sagas.resume());
    else if (shape.isPausedAtTimes && random.next() < 0.1) {
      await this.#try(() => this.#sagas.pause());
    }
    const ids = [...told.started];
    const id = ids[Math.floor(random.next() * ids.length)];
    if (id === undefined) return;
    const event = EVENTS[Math.floor(random.next() * EVENTS.length)] as EventName;
    if (random.next() < 0.7) await this.#send(id, event);
    if (random.next() >= shape.cancelShare) return;
    this.#instance.log(`cancels ${id}`);
    await this.#try(() => this.#sagas.cancel(id, { reason: "no longer" }), "LIMITED");
  }

  /** Everybody sees to it that all runs come to an end. */
  async #settle(): Promise<void> {
    const { audit, scripts, told } = this.#setting;
    await this.#try(() => this.#sagas.resume());
    for (const id of told.started) {
      const facts = audit.runs.get(id);
      if (facts === undefined || facts.ended !== undefined || !this.#isOpen) continue;
      for (const event of EVENTS) if (!audit.hasEvent(id, event)) await this.#send(id, event);
      const isAsked = facts.events.some(({ event }) => event === "$cancel");
      const isEndless = scripts.get(id)?.isEndless === true && this.#world.nowMs > UNTIL_MS + 5_000;
      if (isEndless && !isAsked) await this.#try(() => this.#sagas.cancel(id));
      await this.#try(() => this.#sagas.redrive({ ids: [id] }));
    }
  }

  /** With an id it is sent until it was acknowledged, without one as often as it takes. */
  async #send(run: string, event: EventName): Promise<void> {
    const { told } = this.#setting;
    const { random, name } = this.#instance;
    const value = { from: name, no: ++told.payloads };
    const id = random.next() < 0.5 ? `id-${value.no}` : undefined;
    for (let isSent = false; !isSent && this.#isOpen;) {
      isSent = await this.#try(
        async () => {
          const no = await this.#sagas.send(run, event, value, { id });
          told.sent.push({ run, no, value });
        },
        "CONFLICT",
        "LIMITED",
      );
      if (!isSent) await this.#instance.sleep(random.next() * 100);
    }
  }

  // -------------------------------------------------------------- working

  async #workers(): Promise<void> {
    const { workerMs, concurrency } = this.#setting.shape;
    const { random } = this.#instance;
    while (this.#isOpen) {
      const drainMs = Math.floor(random.next() * 2_000);
      const worker = this.#sagas.work(
        (input, run) => {
          if (input.id !== run.id) {
            this.#world.scheduler.fail(new Error(`Run ${run.id} came with another's input`));
          }
          return new Saga(this.#instance, this.#world, this.#setting, this.#kv, run).run();
        },
        { concurrency, drainMs },
      );
      if (workerMs === 0 || this.#isCalm) return worker.done;
      await this.#instance.sleep(random.next() * 2 * workerMs);
      await worker.close();
      await this.#instance.sleep(random.next() * 200);
    }
  }
}

async function program(instance: Instance, world: World, setting: Setting): Promise<void> {
  const { sessionTtlMs } = setting.shape;
  for (;;) {
    const drainMs = 1_000 + Math.floor(instance.random.next() * 4_000);
    const store = await instance.open({ namespace: NAMESPACE, sessionTtlMs, drainMs });
    await new Opening(instance, world, setting, store).run();
    await instance.sleep(10 + instance.random.next() * 500);
  }
}

function checkTold({ told, audit }: Setting): void {
  for (const id of told.started) {
    if (audit.runs.get(id)?.ended === undefined) throw new Error(`Lost: run ${id} has no end`);
  }
  for (const { run, no, value } of told.sent) {
    const kept = audit.runs.get(run)?.events[no - 1]?.value as Payload | undefined;
    if (kept?.no !== value.no) throw new Error(`Lost: event ${no} of ${run} was acknowledged`);
  }
}

/** Runs the workload under a seed; throws `SimulationError` if anything is wrong. */
export function workflowWorkload(
  seed: number,
  options: WorkflowWorkloadOptions = {},
): Promise<SimulationResult> {
  const shape = shapeOf(seed);
  const { maxLeased } = shape;
  const isAudited = options.isAudited ?? true;
  const scripts = new Map<string, Script>();
  const model = new QueueModel({
    ...{ partition: NAMESPACE, queue: QUEUE, effectKey: null, maxLeased, isAudited },
  });
  const audit = new RunAudit({
    ...{ partition: NAMESPACE, queue: QUEUE, effectKey: EFFECT },
    scriptOf: (id) => scripts.get(id) as Script,
  });
  const left = new Map<string, number>();
  for (let i = 1; i <= shape.nodes; i++) left.set(`n${i}`, shape.runs);
  const told: Told = { started: new Set(), sent: [], left, payloads: 0 };
  const wrap = options.wrap ?? ((run: SagaRun): SagaRun => run);
  const setting: Setting = { seed, shape, told, model, audit, scripts, calls: new Map(), wrap };
  const isDone = (): boolean =>
    [...left.values()].every((count) => count === 0) &&
    [...audit.runs.values()].every(({ ended }) => ended !== undefined);
  return simulate((instance, world) => program(instance, world, setting), {
    ...{ seed, nodes: shape.nodes, untilMs: UNTIL_MS, healMs: 150_000, isDone },
    replay: "npm run test:sim -- --seed {seed} test/sim/workflow.test.ts",
    ...{ faults: options.faults ?? "swarm", state: options.state },
    always: (world, event) => {
      model.commit(world.state, event);
      audit.commit(world.state, event);
    },
    describeRest: ({ state }) => {
      const open = [...audit.runs.values()].filter(({ ended }) => ended === undefined);
      const rest = open.map(({ id, records, events, token }) => {
        return { id, token, records: records.slice(-8), events: events.slice(-4) };
      });
      return JSON.stringify({ left: [...left], jobs: model.unfinished(state), rest });
    },
    finally: ({ state }) => {
      model.end(state);
      checkTold(setting);
      const { counts } = options;
      if (counts === undefined) return;
      for (const [what, count] of Object.entries(audit.counts)) {
        counts[what] = (counts[what] ?? 0) + count;
      }
    },
  });
}
