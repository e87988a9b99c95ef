/** A simulated world: one store, some instances, the network between them, and what goes wrong. */
import { SeededRandom, type Random } from "../core/random.ts";
import type { Clock } from "../core/clock.ts";
import { checkFunction, checkInteger } from "../core/options.ts";
import { sleep } from "../core/signal.ts";
import { memory, MemoryState } from "../engines/memory/index.ts";
import type { StoreDriver } from "../store/driver.ts";
import { Store, type StoreOptions } from "../store/index.ts";
import { Chance, type DrawCount } from "./chance.ts";
import { CALM, swarm, type FaultPlan } from "./faults.ts";
import { Nemesis } from "./nemesis.ts";
import { Network, SimDriver, type CommitEvent } from "./network.ts";
import { SimNode, StoreHostClock } from "./node.ts";
import { Scheduler, type Owner } from "./scheduler.ts";

/**
 * What a program gets of the instance that it runs on. Everything of it is dead once the instance
 * crashes: a new process gets a new one.
 */
export interface Instance {
  /** `n1`, `n2` ... the same after a restart. */
  readonly name: string;
  /** From 0. */
  readonly index: number;
  /** 1 for the first process of the instance, one more for each restart. */
  readonly boot: number;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * Opens a store as `connect` does, with the instance's clock and chance; the options are the
   * store's.
   */
  open(options?: Omit<StoreOptions, "clock" | "random">): Promise<Store>;
  /** A bare driver behind the network. */
  driver(): StoreDriver;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A line in the timeline. */
  log(text: string): void;
}

/**
 * Runs on each instance, anew after each crash. It may run for ever, or end; a rejection ends the
 * world as a failure.
 */
export type Program = (instance: Instance, world: World) => Promise<void>;

export interface WorldOptions {
  readonly seed: number;
  /** 1 to 64; default 3. */
  readonly nodes?: number | undefined;
  /** `"swarm"` (default): drawn from the seed. `"none"`, or what differs from none. */
  readonly faults?: "swarm" | "none" | Partial<FaultPlan> | undefined;
  readonly maxEvents?: number | undefined;
  /** Called at the instant of each commit's effect; throws if something is wrong. */
  readonly onCommit?: ((world: World, event: CommitEvent) => void) | undefined;
  /**
   * Called after each event of an instance, when all that followed from it has run; throws if
   * something is wrong.
   */
  readonly onStep?: ((world: World, instance: string) => void) | undefined;
  /** Makes the store's state; for stores that are broken on purpose. */
  readonly state?: ((clock: Clock) => MemoryState) | undefined;
}

interface Machine {
  readonly node: SimNode;
  readonly index: number;
  /** The source of its processes' chance. */
  readonly chance: Chance;
  boots: number;
  hasEnded: boolean;
}

const DEFAULT_NODES = 3;
const MOST_NODES = 64;
const DEFAULT_MAX_EVENTS = 1_000_000;

export class World {
  readonly seed: number;
  readonly plan: FaultPlan;
  readonly scheduler: Scheduler;
  /** The store's tables, for invariants. */
  readonly state: MemoryState;
  readonly network: Network;
  readonly #machines: readonly Machine[];
  readonly #program: Program;
  readonly #nemesis: Nemesis;
  #current: FaultPlan;

  constructor(program: Program, options: WorldOptions) {
    const { nodes = DEFAULT_NODES, maxEvents = DEFAULT_MAX_EVENTS } = options;
    this.seed = checkInteger("seed", options.seed);
    // Without an instance nothing is left to do at once, and all would seem well.
    checkInteger("nodes", nodes, 1, MOST_NODES);
    checkInteger("maxEvents", maxEvents, 1);
    checkFunction("program", program);
    this.#program = program;
    const count: DrawCount = { draws: 0 };
    // One stream a purpose, always split in this order.
    const root = new Chance(new SeededRandom(this.seed), count);
    const chance = {
      plan: root.split(),
      schedule: root.split(),
      network: root.split(),
      nemesis: root.split(),
      machines: root.split(),
      programs: root.split(),
    };
    const { faults = "swarm" } = options;
    this.plan = faults === "swarm" ? swarm(chance.plan) : planOf(faults);
    this.#current = this.plan;
    const plan = (): FaultPlan => this.#current;
    const onStep = ({ name }: Owner): void => options.onStep?.(this, name);
    this.scheduler = new Scheduler({ chance: chance.schedule, count, maxEvents, onStep });
    const storeClock = new StoreHostClock(this.scheduler);
    this.state = (options.state ?? ((clock) => new MemoryState({ clock })))(storeClock);
    const onCommit = (event: CommitEvent): void => options.onCommit?.(this, event);
    this.network = new Network({
      ...{ scheduler: this.scheduler, chance: chance.network, plan, onCommit },
    });
    const { scheduler, network } = this;
    this.#machines = Array.from({ length: nodes }, (_, index) => {
      const machineChance = chance.machines.split();
      const name = `n${index + 1}`;
      const node = new SimNode({ name, scheduler, chance: machineChance, plan });
      const own = chance.programs.split();
      return { node, index, chance: own, boots: 0, hasEnded: false };
    });
    this.#nemesis = new Nemesis({
      ...{ scheduler, network, storeClock, chance: chance.nemesis, plan: this.plan },
      nodes: this.nodes,
      restart: (node) => this.start(node),
      isTarget: (node) => !this.#machineOf(node).hasEnded,
    });
    for (const node of this.nodes) this.start(node);
  }

  get nodes(): readonly SimNode[] {
    return this.#machines.map(({ node }) => node);
  }
  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.scheduler.nowMs;
  }
  /** True when the program has ended on every instance. */
  get hasEnded(): boolean {
    return this.#machines.every(({ node, hasEnded }) => hasEnded && node.state !== "down");
  }
  /** Names of instances whose program has not ended. */
  get unfinished(): readonly string[] {
    return this.#machines.filter(({ hasEnded }) => !hasEnded).map(({ node }) => node.name);
  }

  /** Starts the program on a machine that is down. */
  start(node: SimNode): void {
    if (node.state !== "down") return;
    const machine = this.#machineOf(node);
    const clock = node.boot();
    const { epoch } = node;
    machine.boots++;
    machine.hasEnded = false;
    const instance = this.#instance(machine, clock, epoch);
    const { scheduler } = this;
    scheduler.at({ atMs: scheduler.nowMs, kind: "start", label: "", owner: node }, () => {
      this.#program(instance, this).then(
        () => {
          if (!node.isAlive(epoch)) return;
          machine.hasEnded = true;
          scheduler.note(node.name, "ended", "the program returned");
        },
        (error: unknown) => {
          if (node.isAlive(epoch)) scheduler.fail(error);
        },
      );
    });
  }

  /** Ends all faults for good. */
  heal(): void {
    this.scheduler.note("", "heal", "no faults from here on");
    const { commitsInFlight } = this.plan;
    this.#current = { ...CALM, commitsInFlight };
    this.#nemesis.heal();
  }

  #machineOf(node: SimNode): Machine {
    return this.#machines.find((machine) => machine.node === node) as Machine;
  }

  #instance(machine: Machine, clock: Clock, epoch: number): Instance {
    const { node, index, boots: boot } = machine;
    const { name } = node;
    const random = machine.chance.split();
    const driver = (): StoreDriver => {
      if (!node.isAlive(epoch)) throw new Error(`The process ${boot} of ${name} is gone`);
      return new SimDriver(memory({ state: this.state }), this.network, node);
    };
    return {
      ...{ name, index, boot, clock, random, driver },
      open: (options = {}) =>
        Store.open(driver(), { label: `${name}/${boot}`, ...options, clock, random }),
      sleep: (ms, signal) => sleep(clock, ms, signal),
      log: (text) => this.scheduler.note(name, "log", text),
    };
  }
}

function planOf(faults: "none" | Partial<FaultPlan>): FaultPlan {
  return Object.freeze({ ...CALM, ...(faults === "none" ? {} : faults) });
}
