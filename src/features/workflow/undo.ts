/**
 * Compensation: every step with an undo that was begun is taken back, the last first. The order is
 * that in which the steps ended, those with an unknown outcome before all others; one compensation
 * after another. Each that held is on record, so that whoever takes the run over goes on behind it.
 * One that keeps failing parks the run: it needs attention, and goes on when it is redriven.
 */
import { HoldfastError } from "../../core/errors.ts";
import { jsonCodec } from "../../core/codec.ts";
import { sleep } from "../../core/signal.ts";
import type { RetryPolicy } from "../../core/retry.ts";
import type { Placed } from "../../store/group.ts";
import { Verdict } from "../jobs/index.ts";
import { LiveAttempt, nextDelayMs, tryAttempt } from "./attempts.ts";
import type { Execution } from "./execution.ts";
import type { Appended, Journal } from "./journal.ts";
import { decode, failureData, keyOf, kindOf, nameOf, type StepData } from "./records.ts";
import { SUSPEND_ABOVE_MS, type Undo } from "./step.ts";

export interface UndoPlan {
  readonly undo: Undo<unknown>;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
}

/** What a run that did not complete stores in place of a result. */
export interface EndData {
  readonly ended: "failed" | "cancelled";
  readonly error: { readonly name: string; readonly message: string; readonly code?: string };
  /** The steps that were undone, in that order. */
  readonly undone: readonly string[];
}

/** A step that was begun and has to be taken back. */
interface Begun {
  readonly name: string;
  /** The record of its end; of its beginning, where it has none. */
  readonly no: number;
  readonly isKnown: boolean;
  readonly value: unknown;
}

function begunSteps({ records }: Journal): Begun[] {
  const begun = new Map<string, Begun>();
  for (const record of records) {
    const kind = kindOf(record.key);
    const name = nameOf(record.key);
    if (kind === "begin")
      begun.set(name, { name, no: record.no, isKnown: false, value: undefined });
    if (kind !== "step" || !begun.has(name)) continue;
    const data = decode<StepData>(record);
    const value = "e" in data ? undefined : data.v;
    begun.set(name, { name, no: record.no, isKnown: true, value });
  }
  return [...begun.values()].sort((a, b) =>
    a.isKnown === b.isKnown ? b.no - a.no : Number(a.isKnown) - Number(b.isKnown),
  );
}

export class Undos {
  readonly #plans = new Map<string, UndoPlan>();

  add(step: string, plan: UndoPlan): void {
    this.#plans.set(step, plan);
  }

  /** Steps to be undone whenever the run stops, to which the code has not come with an undo. */
  missing(journal: Journal): readonly { readonly name: string; readonly no: number }[] {
    return begunSteps(journal).filter(
      ({ name }) => journal.count(keyOf("undone", name)) === 0 && !this.#plans.has(name),
    );
  }

  /** Undoes what is not undone yet; gives how the run goes on from there. */
  async run(execution: Execution): Promise<Verdict> {
    const { journal, stop } = execution;
    if (stop === undefined) throw new Error("A run that goes on is not undone");
    if (journal.count(STOP) === 0) await execution.record(STOP, stop);
    if (journal.count(PARKED) > journal.count(REDRIVE)) await execution.record(REDRIVE, null);
    const steps = begunSteps(journal);
    for (const step of steps) {
      if (journal.count(keyOf("undone", step.name)) > 0) continue;
      const verdict = await this.#undo(execution, step);
      if (verdict !== undefined) return verdict;
    }
    const end: EndData = { ...(stop as EndData), undone: steps.map(({ name }) => name) };
    return new Verdict({
      outcome: "cancelled",
      error: `${stop.ended}: ${stop.error.message}`,
      result: jsonCodec.encode(end),
    });
  }

  /** Undefined: it held. */
  async #undo(execution: Execution, step: Begun): Promise<Verdict | undefined> {
    const { journal, store, held } = execution;
    const plan = this.#plans.get(step.name) ?? missing(execution, step.name);
    const unfit = keyOf("unfit", step.name);
    const dueMs = journal.find(unfit)?.dueMs ?? 0;
    if (dueMs > journal.nowMs && !isRedriven(journal, unfit)) return suspended(execution, dueMs);
    for (;;) {
      const attempt = attemptsSince(journal, unfit) + 1;
      const failure = await this.#try(execution, step, plan, attempt);
      if (failure === undefined) return undefined;
      if (held.signal.aborted) throw held.signal.reason;
      const { error } = failure;
      const delayMs = nextDelayMs(plan.retry, attempt, error, store.random);
      await execution.record(unfit, failureData(error), delayMs ?? 0);
      if (delayMs === null) return park(execution, step.name, error);
      if (delayMs > SUSPEND_ABOVE_MS) return suspended(execution, journal.nowMs + delayMs);
      await sleep(store.clock, delayMs, held.signal);
    }
  }

  async #try(
    execution: Execution,
    { name, value }: Begun,
    { undo, timeoutMs }: UndoPlan,
    attempt: number,
  ): Promise<{ readonly error: unknown } | undefined> {
    const { store, held } = execution;
    const { id: key, token, signal } = held;
    const names = { id: `${execution.stepId(name)}/undo`, key, attempt, token };
    const done = keyOf("undone", name);
    const record = async (_: unknown, ops: readonly Placed[]): Promise<Appended> =>
      execution.recordWith(done, null, ops);
    const tried = await tryAttempt(
      store.clock,
      { name: `undo of ${name}`, timeoutMs, signal },
      (aborts) => new LiveAttempt(names, aborts, record),
      (live) => undo(value, live),
    );
    if (tried === "recorded") return undefined;
    if ("error" in tried) return tried;
    await execution.record(done, null);
    return undefined;
  }
}

const STOP = keyOf("stop", "");
const PARKED = keyOf("parked", "");
const REDRIVE = keyOf("redrive", "");

/** Failures since somebody had the run go on. */
function attemptsSince({ records }: Journal, unfit: string): number {
  let count = 0;
  for (const { key } of records) {
    if (key === REDRIVE) count = 0;
    else if (key === unfit) count++;
  }
  return count;
}

function isRedriven(journal: Journal, unfit: string): boolean {
  return (journal.find(REDRIVE)?.no ?? 0) > (journal.find(unfit)?.no ?? 0);
}

function suspended({ journal }: Execution, untilMs: number): Verdict {
  return new Verdict({ outcome: "suspended", untilMs, seen: journal.events.length });
}

async function park(execution: Execution, step: string, error: unknown): Promise<Verdict> {
  const { message } = failureData(error);
  await execution.record(PARKED, { step, error: failureData(error) });
  const text = `The undo of step "${step}" keeps failing: ${message}`;
  return new Verdict({ outcome: "dead", error: text });
}

function missing({ held }: Execution, step: string): never {
  const message = `Expected the code of run "${held.id}" to come to step "${step}" again, which has to be undone, but it did not: bring the old code back, or let it go on as it was behind a patch`;
  const details = { run: held.id, expected: step };
  throw new HoldfastError("NON_DETERMINISTIC", message, { outcome: "not-applied", details });
}
