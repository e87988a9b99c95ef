/** A step that is really done: its attempts, and the record of how it ended. */
import { sleep } from "../../core/signal.ts";
import type { RetryPolicy } from "../../core/retry.ts";
import type { Placed } from "../../store/group.ts";
import {
  LiveAttempt,
  nextDelayMs,
  tryAttempt,
  type Attempt,
  type StepWork,
  type Tried,
} from "./attempts.ts";
import type { Execution, Request } from "./execution.ts";
import type { Appended } from "./journal.ts";
import { decode, encode, failureData, keyOf, type RetryData, type StepData } from "./records.ts";

/** `done`: what the step gave; undefined where nobody knows what became of it. */
export type Undo<T> = (done: T | undefined, attempt: Attempt) => unknown;

export interface Step<T> {
  readonly name: string;
  readonly work: StepWork<T>;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  readonly hasUndo: boolean;
}

/** Longer waits between attempts suspend the run. */
export const SUSPEND_ABOVE_MS = 1_000;

export class LiveStep<T> {
  readonly #execution: Execution;
  readonly #request: Request;
  readonly #step: Step<T>;

  constructor(execution: Execution, request: Request, step: Step<T>) {
    this.#execution = execution;
    this.#request = request;
    this.#step = step;
  }

  start(): void {
    const execution = this.#execution;
    execution.begin();
    const end = (): void => execution.end();
    // What it rejects with has ended the stretch already.
    this.#run().then(end, end);
  }

  async #run(): Promise<void> {
    const { name, hasUndo } = this.#step;
    const { journal } = this.#execution;
    const begin = keyOf("begin", name);
    if (hasUndo && journal.count(begin) === 0) await this.#execution.record(begin, null);
    const retry = keyOf("retry", name);
    const last = journal.find(retry);
    const next = last === undefined ? 1 : decode<RetryData>(last).next;
    const dueMs = last?.dueMs ?? 0;
    if (dueMs > journal.nowMs) this.#suspendUntil(dueMs, next);
    else await this.#attempts(next);
  }

  async #attempts(first: number): Promise<void> {
    const { store, stopper } = this.#execution;
    for (let attempt = first; ; attempt++) {
      const tried = await this.#try(attempt);
      if (tried === "recorded") return;
      if ("value" in tried) return this.#record({ v: tried.value });
      // Aborted: nobody knows what became of it.
      if (stopper.signal.aborted) return this.#execution.refuse(this.#request);
      const { error } = tried;
      const delayMs = nextDelayMs(this.#step.retry, attempt, error, store.random);
      if (delayMs === null) return this.#record({ e: failureData(error) });
      if (delayMs > SUSPEND_ABOVE_MS) return this.#putOff(delayMs, attempt + 1, error);
      await sleep(store.clock, delayMs, stopper.signal).catch(() => {});
    }
  }

  #try(attempt: number): Promise<Tried> {
    const { name, work, timeoutMs } = this.#step;
    const { store, held, stopper } = this.#execution;
    const names = { id: this.#execution.stepId(name), key: held.id, attempt, token: held.token };
    const record = async (v: unknown, ops: readonly Placed[]): Promise<Appended> =>
      this.#execution.recordWith(this.#request.key, { v } satisfies StepData, ops);
    const begin = (signal: AbortSignal): LiveAttempt => new LiveAttempt(names, signal, record);
    return tryAttempt(store.clock, { name, timeoutMs, signal: stopper.signal }, begin, work);
  }

  /** A value that can't be recorded fails the step: doing it again would not help. */
  async #record(data: StepData): Promise<void> {
    const { key } = this.#request;
    let sound = data;
    try {
      encode(key, data);
    } catch (error) {
      sound = { e: failureData(error) };
    }
    await this.#execution.record(key, sound);
  }

  async #putOff(delayMs: number, attempt: number, error: unknown): Promise<void> {
    const mark = keyOf("retry", this.#step.name);
    const data: RetryData = { ...failureData(error), next: attempt };
    await this.#execution.record(mark, data, delayMs);
    const dueMs = this.#execution.journal.find(mark)?.dueMs ?? 0;
    this.#suspendUntil(dueMs, attempt);
  }

  /** Waits as a sleep does: if nothing else is under way the run is suspended. */
  #suspendUntil(dueMs: number, attempt: number): void {
    const execution = this.#execution;
    const check = (): boolean => {
      if (execution.journal.nowMs < dueMs) return false;
      execution.begin();
      const end = (): void => execution.end();
      this.#attempts(attempt).then(end, end);
      return true;
    };
    execution.wait({ request: this.#request, dueMs, check });
  }
}
