/**
 * A workflow that is broken off at every instant at which its process may die. It runs once without
 * a crash, to see what it comes to and to count the instants; then once for each of them with a
 * crash there, and another process takes over. What it comes to must be the same each time.
 */
import { isDeepStrictEqual } from "node:util";
import type { Holdfast } from "../../../connect.ts";
import { describeError, isHoldfastError } from "../../../core/errors.ts";
import {
  checkFunction,
  checkInteger,
  checkMs,
  checkOptions,
  expected,
} from "../../../core/options.ts";
import { deferred } from "../../../core/signal.ts";
import type { AnyHandler, AnyImplementation, Implementation } from "../implementation.ts";
import type { HistoryEntry, RunStatus } from "../info.ts";
import type { Workflow } from "../workflow.ts";
import { watchCommits, watchRun, type OnPoint } from "./points.ts";
import { TestWorld, type TestWorldOptions } from "./world.ts";

/** What a run came to. */
export type RunOutcome<O = unknown> =
  | { readonly status: "completed"; readonly output: O }
  | {
      readonly status: Extract<RunStatus, "failed" | "cancelled" | "attention">;
      readonly error: string | undefined;
      /** The steps that were undone. */
      readonly undone: readonly string[];
    };

/** An event to send, of those of the definition. */
export type EventToSend<E> = {
  readonly [K in keyof E & string]: {
    readonly event: K;
    readonly value: E[K];
    /** So long after the run was started, in virtual milliseconds. Default 0. */
    readonly afterMs?: number | undefined;
  };
}[keyof E & string];

export interface CrashPlan<S, I, P, O, R, E> {
  /** Makes what lies outside of the store (a bank, a mail server), anew for each trial. */
  readonly setup: () => S | Promise<S>;
  /**
   * The workflow with its handler, and behind it those of its children. `hf` is the handle of the
   * process that runs it, for ops that go with a step.
   */
  readonly workflows: (
    outside: S,
    hf: Holdfast,
  ) => readonly [Implementation<I, P, O, R, E>, ...AnyImplementation[]];
  readonly input: I;
  /** What is sent to the run. */
  readonly events?: readonly EventToSend<E>[] | undefined;
  /**
   * Judges a trial: throws if something is wrong outside. What it gives must be the same in all
   * trials.
   */
  readonly check?: ((outside: S, outcome: RunOutcome<O>) => unknown) | undefined;
  /** What of the outcome must be the same. Default: all of it. */
  readonly compare?: ((outcome: RunOutcome<O>) => unknown) | undefined;
  /** These points alone, to look at one again. From 1; default: all. */
  readonly points?: readonly number[] | undefined;
  /** Virtual time that a trial may take. Default 30 days. */
  readonly withinMs?: number | undefined;
  readonly world?: TestWorldOptions | undefined;
}

export interface CrashReport<O = unknown> {
  /** What the run comes to, each time. */
  readonly outcome: RunOutcome<O>;
  /** The instants, by name, in their order. */
  readonly points: readonly string[];
  /** At how many of them it was broken off. */
  readonly trials: number;
}

/** The first instant at which a crash made a difference. */
export class CrashError extends Error {
  /** Its number, from 1; 0: it went wrong without a crash. */
  readonly point: number;
  readonly where: string;
  readonly expected: unknown;
  readonly got: unknown;
  /** What the run's journal said at the end of that trial. */
  readonly history: readonly HistoryEntry[];

  constructor(
    parts: Pick<CrashError, "point" | "where" | "expected" | "got" | "history" | "cause">,
  ) {
    const { point, where, expected: wanted, got, history, cause } = parts;
    const lines = history.map(({ atMs, kind, name, value }) => {
      const after = atMs - (history[0]?.atMs ?? 0);
      const text = value === undefined || value === null ? "" : ` ${short(value)}`;
      return `  +${after} ms ${kind} ${name}${text}`.trimEnd();
    });
    const at = point === 0 ? "without a crash" : `with a crash at point ${point}, ${where}`;
    const what =
      cause === undefined
        ? [`Expected the same as without: ${short(wanted)}`, `Got: ${short(got)}`]
        : [describeError(cause)];
    const message = [`The run went wrong ${at}`, ...what, "What the run did:", ...lines];
    super(message.join("\n"), cause === undefined ? undefined : { cause });
    this.name = "CrashError";
    this.point = point;
    this.where = where;
    this.expected = wanted;
    this.got = got;
    this.history = history;
  }
}

const SHOWN_CHARS = 400;
const DEFAULT_WITHIN_MS = 30 * 86_400_000;
/** What is left to do once the run has ended, such as the end of its children. */
const AFTER_MS = 1_000;
const RUN = "run-1";
const KNOWN = [
  ...["setup", "workflows", "input", "events", "check"],
  ...["compare", "points", "withinMs", "world"],
] as const;

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS - 1)}…` : text;
}

/**
 * Breaks a workflow off at every instant in turn: before and after each commit of its process, at
 * the call and the return of each function of a step or an undo.
 *
 * Shape: `setup` makes what is outside, `workflows` the handlers on it, `check` judges it at the
 * end. Everything runs in this process, in virtual time; let what is outside be plain code in
 * memory. Errors: `CrashError` for the first instant at which a crash changes the outcome, what
 * `check` gives, or whether it throws; `TypeError` and `RangeError` for the plan. Complexity: one
 * run for each instant, some milliseconds each; about six instants a step.
 *
 * ```ts
 * await crashEverywhere({
 *   setup: () => new FakeBank(),
 *   workflows: (bank) => [implement(placeOrder, saga(bank))],
 *   input: { id: "o-1", cents: 500 },
 *   events: [{ event: "approved", value: { by: "ann" } }],
 *   check: (bank) => bank.charges,
 * });
 * ```
 */
export async function crashEverywhere<S, I, P, O, R, E>(
  plan: CrashPlan<S, I, P, O, R, E>,
): Promise<CrashReport<O>> {
  checkPlan(plan);
  const whole = await trial(plan, 0);
  if ("error" in whole.judged) throw failed(whole, 0, undefined);
  const { points, outcome, judged } = whole;
  const chosen = plan.points ?? points.map((_, i) => i + 1);
  for (const point of chosen) {
    checkInteger("points", point, 1, points.length);
    const tried = await trial(plan, point);
    if (tried.points.length < point) throw failed(neverThere(tried), point, judged.value);
    const isSame = !("error" in tried.judged) && isDeepStrictEqual(tried.judged, judged);
    if (!isSame) throw failed(tried, point, judged.value);
  }
  return { outcome: outcome as RunOutcome<O>, points, trials: chosen.length };
}

function checkPlan<S, I, P, O, R, E>(plan: CrashPlan<S, I, P, O, R, E>): void {
  if (plan === undefined) throw new TypeError(expected("plan", "an object", plan));
  checkOptions("plan", plan, KNOWN);
  checkFunction("setup", plan.setup);
  checkFunction("workflows", plan.workflows);
  for (const name of ["check", "compare"] as const) {
    if (plan[name] !== undefined) checkFunction(name, plan[name]);
  }
  if (plan.withinMs !== undefined) checkMs("withinMs", plan.withinMs, 1);
  for (const { afterMs } of plan.events ?? []) {
    if (afterMs !== undefined) checkMs("afterMs", afterMs);
  }
}

function failed(tried: Tried, point: number, wanted: unknown): CrashError {
  const { judged, history, points } = tried;
  const where = points[point - 1] ?? "";
  const shared = { point, where, history, expected: wanted };
  if ("error" in judged) return new CrashError({ ...shared, got: undefined, cause: judged.error });
  return new CrashError({ ...shared, got: judged.value, cause: undefined });
}

/** A trial that was not broken off shows nothing. */
function neverThere(tried: Tried): Tried {
  const message = `Expected to come to it as in the run without a crash, got ${tried.points.length} points in all: let nothing in \`setup\`, \`workflows\` and the handlers depend on chance or on real time`;
  return { ...tried, judged: { error: new Error(message) } };
}

/** What a trial came to; `value` is what must be the same. */
interface Tried {
  readonly outcome: RunOutcome | undefined;
  readonly judged: { readonly value: unknown } | { readonly error: unknown };
  readonly history: readonly HistoryEntry[];
  readonly points: readonly string[];
}

async function trial<S, I, P, O, R, E>(
  plan: CrashPlan<S, I, P, O, R, E>,
  crashAt: number,
): Promise<Tried> {
  const world = await new TestWorld(plan.world).open();
  const points: string[] = [];
  let takeover: Promise<void> | undefined;
  try {
    const outside = await plan.setup();
    const [first] = plan.workflows(outside, world.hf);
    const onPoint: OnPoint = (process, what) => {
      if (process.isCrashed) return;
      points.push(what);
      if (points.length !== crashAt) return;
      process.crash();
      takeover = work(world, plan, outside, onPoint);
    };
    await work(world, plan, outside, onPoint);
    const runs = world.hf.open(first.definition);
    let outcome: RunOutcome<O> | undefined;
    let judged: Tried["judged"];
    try {
      outcome = await world.until(drive(world, plan, runs), {
        withinMs: plan.withinMs ?? DEFAULT_WITHIN_MS,
      });
      await world.advance(AFTER_MS);
      const seen = await plan.check?.(outside, outcome);
      judged = { value: [plan.compare === undefined ? outcome : plan.compare(outcome), seen] };
    } catch (error) {
      judged = { error };
    }
    const history = (await world.until(runs.history(RUN))) ?? [];
    return { outcome, judged, history, points };
  } finally {
    await takeover;
    await world.close();
  }
}

/** Opens a process that works on all of the workflows. */
async function work<S, I, P, O, R, E>(
  world: TestWorld,
  plan: CrashPlan<S, I, P, O, R, E>,
  outside: S,
  onPoint: OnPoint,
): Promise<void> {
  const process = await world.process();
  watchCommits(process, onPoint);
  const workflows: readonly AnyImplementation[] = plan.workflows(outside, process.hf);
  for (const { definition, handler } of workflows) {
    const watched: AnyHandler = (input, run) => handler(input, watchRun(run, process, onPoint));
    process.hf.open(definition).work(watched);
  }
}

/** Starts the run, sends its events, and waits for what it comes to. */
async function drive<S, I, P, O, R, E>(
  world: TestWorld,
  plan: CrashPlan<S, I, P, O, R, E>,
  runs: Workflow<I, P, O, R, E>,
): Promise<RunOutcome<O>> {
  await runs.start(plan.input, { id: RUN });
  const unsent = deferred<never>();
  // It is waited for below, when all of the timers are set.
  unsent.promise.catch(() => {});
  for (const { event, value, afterMs = 0 } of plan.events ?? []) {
    const send = async (): Promise<void> => {
      await runs.send(RUN, event, value).catch((error: unknown) => {
        // It has ended without it.
        if (!isHoldfastError(error, "CONFLICT")) throw error;
      });
    };
    if (afterMs === 0) await send();
    else world.clock.timer(afterMs, () => void send().catch(unsent.reject));
  }
  try {
    return { status: "completed", output: await Promise.race([runs.result(RUN), unsent.promise]) };
  } catch (error) {
    if (!isHoldfastError(error, "FAILED")) throw error;
    const info = await runs.get(RUN);
    if (info === null) throw error;
    const { status, error: why, undone } = info;
    return { status: status as "failed", error: why, undone };
  }
}
