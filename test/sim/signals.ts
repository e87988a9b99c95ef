/**
 * Whether handlers are told in time: once the store has given a job to another, the signal of
 * whoever still runs it must abort soon, as long as its process runs at all.
 */
import type { Job } from "../../src/features/jobs/index.ts";
import type { World } from "../../src/sim/index.ts";
import type { QueueModel } from "./model.ts";

/** Beyond the session's TTL: its beat (at most 500 ms) and timers that are late (400 ms). */
const SLACK_MS = 1_500;
/** A process that did nothing for so long stood still: what it must notice counts from then on. */
const STANDSTILL_MS = 300;

interface Running {
  readonly job: Job;
  /** Since when its process could have known. */
  sinceMs: number | undefined;
}

export class Signals {
  readonly #model: QueueModel;
  readonly #withinMs: number;
  readonly #running = new Map<string, Set<Running>>();
  readonly #lastStepMs = new Map<string, number>();

  constructor(model: QueueModel, sessionTtlMs: number) {
    this.#model = model;
    this.#withinMs = sessionTtlMs + SLACK_MS;
  }

  /** A new process: nothing of the old one runs. */
  boot(name: string): void {
    this.#running.set(name, new Set());
  }

  /** A handler begins; gives the way to say that it lets go. */
  start(name: string, job: Job): () => void {
    const running: Running = { job, sinceMs: undefined };
    const all = this.#running.get(name);
    all?.add(running);
    return () => void all?.delete(running);
  }

  /** After an event of the instance; throws if a handler should have been told. */
  step({ nowMs }: World, name: string): void {
    const stoodMs = nowMs - (this.#lastStepMs.get(name) ?? nowMs);
    this.#lastStepMs.set(name, nowMs);
    for (const running of this.#running.get(name) ?? []) {
      const { job } = running;
      if (this.#model.byId(job.id)?.token === Number(job.token) || job.signal.aborted) continue;
      if (stoodMs > STANDSTILL_MS) running.sinceMs = nowMs;
      running.sinceMs ??= nowMs;
      if (nowMs - running.sinceMs < this.#withinMs) continue;
      throw new Error(
        `${name} runs ${job.id} under token ${job.token} and was not told of its loss`,
      );
    }
  }
}
