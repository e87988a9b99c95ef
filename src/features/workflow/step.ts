/** A step that is really done: its attempts, and the record of how it ended. */
import { sleep } from "../../core/signal.ts";
import type { RetryPolicy } from "../../core/retry.ts";
import { RUN_QUEUE } from "../../store/ops.ts";
import type { HeldJob } from "../jobs/index.ts";
import { nextDelayMs, tryOnce, type Attempt } from "./attempts.ts";
import type { Ended, Execution, Request } from "./execution.ts";
import { encode, failureData, keyOf, type StepData } from "./records.ts";

/** `done`: what the step gave; undefined where nobody knows what became of it. */
export type Undo<T> = (done: T | undefined, attempt: Attempt) => Promise<unknown> | unknown;

export interface Step<T> {
  readonly name: string;
  readonly work: (attempt: Attempt) => Promise<T> | T;
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
    const next = journal.count(retry) + 1;
    const dueMs = journal.find(retry)?.dueMs ?? 0;
    if (dueMs > journal.nowMs) this.#suspendUntil(dueMs, next);
    else await this.#attempts(next);
  }

  async #attempts(first: number): Promise<void> {
    const { store, stopper } = this.#execution;
    for (let attempt = first; ; attempt++) {
      const tried = await this.#try(attempt);
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

  async #try(attempt: number): Promise<Ended> {
    const { name, work, timeoutMs } = this.#step;
    const { store, held, stopper } = this.#execution;
    const id = stepId(held, name);
    const run = (signal: AbortSignal): Promise<T> | T =>
      work({ id, key: held.id, attempt, token: held.token, signal });
    try {
      return {
        value: await tryOnce(store.clock, { name, timeoutMs, signal: stopper.signal, run }),
      };
    } catch (error) {
      return { error };
    }
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
    await this.#execution.record(mark, failureData(error), delayMs);
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

/** Unique for the step of the run, whatever runs there are. */
export function stepId(held: Pick<HeldJob, "queue" | "id">, step: string): string {
  return `${held.queue.slice(RUN_QUEUE.length)}/${held.id}/${step}`;
}
