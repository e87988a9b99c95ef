/**
 * What makes the planned misfortunes of instances happen, from a world's fault plan, until it is
 * healed.
 */
import type { Chance } from "./chance.ts";
import type { FaultPlan } from "./faults.ts";
import type { Cut, Network } from "./network.ts";
import type { SimNode, StoreHostClock } from "./node.ts";
import type { Scheduler } from "./scheduler.ts";

export interface NemesisOptions {
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  readonly network: Network;
  readonly nodes: readonly SimNode[];
  readonly storeClock: StoreHostClock;
  readonly plan: FaultPlan;
  /** Starts the program anew on a machine that is down. */
  readonly restart: (node: SimNode) => void;
  /** False for an instance whose program has ended: it is left alone. */
  readonly isTarget: (node: SimNode) => boolean;
}

const CUTS: readonly Cut[] = ["both", "requests", "replies"];

export class Nemesis {
  readonly #o: NemesisOptions;
  #isOver = false;

  constructor(options: NemesisOptions) {
    this.#o = options;
    const { plan, chance } = options;
    const each = (kind: string, everyMs: number, strike: (chance: Chance) => void): void => {
      // A stream of its own: switching one kind off leaves the others where they are.
      const stream = chance.split();
      if (everyMs > 0) this.#repeat(kind, everyMs, stream, strike);
    };
    each("crash", plan.crashEveryMs, (c) => this.#crash(c));
    each("pause", plan.pauseEveryMs, (c) => this.#pause(c));
    each("suspend", plan.suspendEveryMs, (c) => this.#suspend(c));
    each("cut", plan.cutEveryMs, (c) => this.#cut(c));
    each("jump", plan.wallJumpEveryMs, (c) => this.#jump(c));
    each("store", plan.storeJumpEveryMs, (c) => this.#jumpStore(c));
  }

  /** No further misfortune, and the present ones end: everybody is joined, awake and up. */
  heal(): void {
    this.#isOver = true;
    for (const node of this.#o.nodes) {
      this.#o.network.join(node);
      node.resume();
      if (node.state === "down") this.#o.restart(node);
    }
  }

  #repeat(kind: string, everyMs: number, chance: Chance, strike: (chance: Chance) => void): void {
    this.#later(kind, chance.gapMs(everyMs), () => {
      strike(chance);
      this.#repeat(kind, everyMs, chance, strike);
    });
  }

  #later(label: string, delayMs: number, run: () => void): void {
    const { scheduler } = this.#o;
    scheduler.at({ atMs: scheduler.nowMs + delayMs, kind: "nemesis", label }, () => {
      if (!this.#isOver) run();
    });
  }

  #target(chance: Chance): SimNode | undefined {
    const node = chance.pick(this.#o.nodes);
    return node.state === "up" && this.#o.isTarget(node) ? node : undefined;
  }

  #crash(chance: Chance): void {
    const node = this.#target(chance);
    const downMs = chance.between(1, this.#o.plan.downMs);
    if (node === undefined) return;
    node.crash();
    this.#later("restart", downMs, () => this.#o.restart(node));
  }
  #pause(chance: Chance): void {
    const forMs = chance.between(1, this.#o.plan.pauseMs);
    const node = this.#target(chance);
    if (node === undefined) return;
    const halt = node.pause();
    this.#later("resume", forMs, () => node.resume(halt));
  }
  #suspend(chance: Chance): void {
    const forMs = chance.between(1, this.#o.plan.suspendMs);
    const node = this.#target(chance);
    if (node === undefined) return;
    const halt = node.suspend();
    this.#later("resume", forMs, () => node.resume(halt));
  }
  #cut(chance: Chance): void {
    const forMs = chance.between(1, this.#o.plan.cutMs);
    const way = chance.pick(CUTS);
    const node = chance.pick(this.#o.nodes);
    this.#o.network.cut(node, way);
    this.#later("join", forMs, () => this.#o.network.join(node));
  }
  #jump(chance: Chance): void {
    const { wallJumpMs } = this.#o.plan;
    const byMs = chance.between(-wallJumpMs, wallJumpMs);
    chance.pick(this.#o.nodes).jumpWall(byMs);
  }
  #jumpStore(chance: Chance): void {
    const { storeJumpMs } = this.#o.plan;
    const byMs = chance.between(-storeJumpMs, storeJumpMs);
    this.#o.storeClock.jump(byMs);
    this.#o.scheduler.note("", "wall", `store's clock set by ${byMs.toFixed(0)} ms`);
  }
}
