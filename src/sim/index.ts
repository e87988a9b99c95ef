/**
 * Programs under simulation: some instances of a program, one store, a virtual clock, and faults,
 * all from one seed. A seed replays bit for bit: the same events in the same order, to the last
 * random number.
 *
 * This entry point is experimental: the simulator is what this repository tests itself with; the
 * form that it takes for programs of users is still open.
 */
import type { MemoryState } from "../engines/memory/index.ts";
import type { Clock } from "../core/clock.ts";
import { checkMs } from "../core/options.ts";
import { describePlan, type FaultPlan } from "./faults.ts";
import type { CommitEvent } from "./network.ts";
import { World, type Program } from "./world.ts";

export interface SimulationOptions {
  /** A whole number from 0; decides everything. */
  readonly seed: number;
  /** How many instances run the program. 1 to 64; default 3. */
  readonly nodes?: number | undefined;
  /**
   * `"swarm"` (default): a random subset of all faults, drawn from the seed. `"none"`, or what
   * differs from none.
   */
  readonly faults?: "swarm" | "none" | Partial<FaultPlan> | undefined;
  /** When the faults end, in virtual milliseconds. Default 20,000. */
  readonly untilMs?: number | undefined;
  /** How long after that the program may take to be done. Default 60,000. */
  readonly healMs?: number | undefined;
  /** More events than this are a failure. Default 1,000,000. */
  readonly maxEvents?: number | undefined;
  /** Judged at the instant of each commit's effect; throws if something is wrong. */
  readonly always?: ((world: World, event: CommitEvent) => void) | undefined;
  /**
   * Judged after each event of an instance, when all that followed from it has run; throws if
   * something is wrong.
   */
  readonly onStep?: ((world: World, instance: string) => void) | undefined;
  /** When the program has done its work. Default: it has returned on every instance. */
  readonly isDone?: ((world: World) => boolean) | undefined;
  /** What is left to do, in words: asked when the program was not done in time. */
  readonly describeRest?: ((world: World) => string) | undefined;
  /** Judged at the end; throws if something is wrong. */
  readonly finally?: ((world: World) => void) | undefined;
  /** Makes the store's state; for stores that are broken on purpose. */
  readonly state?: ((clock: Clock) => MemoryState) | undefined;
  /** The command that runs one seed again, with `{seed}` in the seed's place. */
  readonly replay?: string | undefined;
}

export interface SimulationResult {
  readonly seed: number;
  readonly plan: FaultPlan;
  /** Equal for equal histories. */
  readonly traceHash: string;
  readonly events: number;
  readonly virtualMs: number;
}

const DEFAULTS = Object.freeze({
  untilMs: 20_000,
  healMs: 60_000,
  replay: "npm run test:sim -- --seed {seed}",
});

/** Lines of the timeline in a failure's message. */
const LINES_SHOWN = 60;

/**
 * A world in which something was wrong: what, under which seed and faults, what came before, and
 * how to see it again.
 */
export class SimulationError extends Error {
  readonly seed: number;
  readonly plan: FaultPlan;
  readonly timeline: readonly string[];
  readonly traceHash: string;
  /** The command that replays it. */
  readonly replay: string;

  constructor(world: World, replay: string, cause: unknown) {
    const { seed, plan, scheduler } = world;
    const { trace, nowMs } = scheduler;
    const timeline = trace.lines(LINES_SHOWN);
    const why = cause instanceof Error ? cause.message : String(cause);
    const lines = [
      why,
      `Seed ${seed}, after ${trace.count} events, at ${nowMs.toFixed(3)} ms. Replay: ${replay}`,
      `Faults: ${describePlan(plan)}`,
      `The last ${timeline.length} lines:`,
      ...timeline,
      `Seed ${seed}: ${why}`,
      `Replay: ${replay}`,
    ];
    super(lines.join("\n"), { cause });
    this.name = "SimulationError";
    this.seed = seed;
    this.plan = plan;
    this.timeline = timeline;
    this.traceHash = trace.hash;
    this.replay = replay;
  }
}

/**
 * Runs a program on simulated instances under a seed.
 *
 * Shape: faults until `untilMs`, then none; the program must be done within `healMs` more. Times
 * are virtual milliseconds: a minute takes a few milliseconds. Guarantee: one seed and one program
 * give one history, in any process on any machine with the same Node major version, as long as the
 * program takes time and chance from its instance alone. Errors: `TypeError`, `RangeError` for the
 * options; `SimulationError`, with the seed,
 * the faults, the last lines of the timeline and the command that replays it, if an invariant, the
 * program or its convergence fails. Complexity: some microseconds an event, besides the program's
 * own work.
 *
 * @experimental
 * @example
 * const { traceHash } = await simulate(async (instance) => {
 *   const store = await instance.open({ namespace: "shop" });
 *   await store.commit("shop", [{ op: "kv.add", key: "starts", delta: 1 }]);
 * }, { seed: 42, faults: "none" });
 */
export async function simulate(
  program: Program,
  options: SimulationOptions,
): Promise<SimulationResult> {
  const { seed, nodes, faults, maxEvents, onStep, state } = options;
  timesOf(options);
  const world = new World(program, {
    ...{ seed, nodes, faults, maxEvents, onStep, state, onCommit: options.always },
  });
  try {
    await run(world, options);
    options.finally?.(world);
  } catch (error) {
    const replay = (options.replay ?? DEFAULTS.replay).replace("{seed}", String(seed));
    throw new SimulationError(world, replay, error);
  }
  const { trace, nowMs } = world.scheduler;
  const { plan } = world;
  return { seed, plan, traceHash: trace.hash, events: trace.count, virtualMs: nowMs };
}

function timesOf(options: SimulationOptions): {
  readonly untilMs: number;
  readonly healMs: number;
} {
  const { untilMs = DEFAULTS.untilMs, healMs = DEFAULTS.healMs } = options;
  return { untilMs: checkMs("untilMs", untilMs), healMs: checkMs("healMs", healMs) };
}

async function run(world: World, options: SimulationOptions): Promise<void> {
  const { untilMs, healMs } = timesOf(options);
  const { isDone = (each: World) => each.hasEnded } = options;
  const done = (): boolean => isDone(world);
  if (await world.scheduler.run(untilMs, done)) return;
  world.heal();
  if (await world.scheduler.run(untilMs + healMs, done)) return;
  const rest = options.describeRest?.(world) ?? `still running on ${world.unfinished.join(", ")}`;
  throw new Error(
    `Expected the program to be done within ${healMs} ms after the last fault, it was not: ${rest}`,
  );
}

export { CALM, describePlan, type FaultPlan } from "./faults.ts";
export type { CommitEvent, Cut, Network } from "./network.ts";
export type { SimNode } from "./node.ts";
export type { Scheduler } from "./scheduler.ts";
export type { Trace, Traced } from "./trace.ts";
export type { Instance, Program, World } from "./world.ts";
