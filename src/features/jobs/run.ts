/**
 * Calling handlers: one job a call, or a batch. What they return or throw goes to the loop as one
 * outcome for each job.
 */
import { ATTRIBUTES, inSpan, SpanKind } from "../../core/telemetry.ts";
import { HoldfastError } from "../../core/errors.ts";
import { Completion, type Call, type HeldJob, type Job } from "./job.ts";
import type { Loop, Runner } from "./loop.ts";
import { Verdict } from "./outcome.ts";
import { readInput, storeOutput } from "./payload.ts";
import type { QueueSettings } from "./settings.ts";

/** What a handler gives back: an output, or the completion that it made itself. */
export type Returned<R> = R | Completion;
export type Handler<P, R> = (input: P, job: Job<R>) => Promise<Returned<R>> | Returned<R>;

/** A job of a batch. */
export interface BatchItem<P, R = unknown> {
  readonly input: P;
  readonly job: Job<R>;
}
/** The batch as a whole. */
export interface Batch {
  /**
   * Aborts when all of the batch must stop: timeout, the end of a drain, a lost lease. A cancel
   * aborts its job's own signal.
   */
  readonly signal: AbortSignal;
}
/**
 * Gives one settled result for each item, in their order (what `Promise.allSettled` gives), or
 * nothing: then all are completed. If it throws, every job of the batch that is not completed yet
 * has failed.
 */
export type BatchHandler<P, R> = (
  items: readonly BatchItem<P, R>[],
  batch: Batch,
) => Promise<readonly PromiseSettledResult<Returned<R>>[] | void>;

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (typeof value !== "object" || value === null) return false;
  return typeof (value as { readonly then?: unknown }).then === "function";
}

/** Encodes the output and completes the job; what can't be stored makes it dead. */
function complete(held: HeldJob, output: unknown, loop: Loop): void | Promise<void> {
  if (held.stage === "over") return;
  if (held.completing !== undefined) return afterCompleting(held, output, loop);
  if (output instanceof Verdict) return loop.completed(held, output);
  try {
    const result = storeOutput(loop.settings, output);
    if (!(result instanceof Promise)) return loop.completed(held, result);
    return result.then(
      (data) => loop.completed(held, data),
      (error: unknown) => loop.unusable(held, error),
    );
  } catch (error) {
    loop.unusable(held, error);
  }
}

/** The handler returned without awaiting its own completion, which goes first. */
async function afterCompleting(held: HeldJob, output: unknown, loop: Loop): Promise<void> {
  await Promise.allSettled([held.completing]);
  await complete(held, output, loop);
}

/**
 * False if the job was told to stop, or was lost, while its input was read: its handler must not
 * begin. What it was told decides how it ends.
 */
function mayBegin(held: HeldJob, loop: Loop): boolean {
  if (held.stage === "running") return true;
  loop.failed(held, held.reason);
  return false;
}

/** What every span of a call says; `more` is what sets a single job and a batch apart. */
function spanOf(queue: string, more: Record<string, string | number>) {
  const attributes = {
    [ATTRIBUTES.system]: "holdfast",
    [ATTRIBUTES.destination]: queue,
    [ATTRIBUTES.operation]: "process",
    ...more,
  };
  return { kind: SpanKind.CONSUMER, attributes };
}

/** One job a call. */
export class SingleRunner implements Runner {
  readonly batch = 1;
  readonly #settings: QueueSettings;
  readonly #handler: Handler<unknown, unknown>;

  constructor(settings: QueueSettings, handler: Handler<unknown, unknown>) {
    this.#settings = settings;
    this.#handler = handler;
  }

  start(call: Call, loop: Loop): void {
    const held = call.jobs[0] as HeldJob;
    try {
      const input = readInput(this.#settings, held.claimed.payload);
      if (!(input instanceof Promise)) return this.#call(call, held, input, loop);
      input.then(
        (value) => this.#call(call, held, value, loop),
        (error: unknown) => this.#poisoned(call, held, error, loop),
      );
    } catch (error) {
      this.#poisoned(call, held, error, loop);
    }
  }

  #poisoned(call: Call, held: HeldJob, error: unknown, loop: Loop): void {
    loop.unusable(held, error);
    loop.ended(call);
  }

  #call(call: Call, held: HeldJob, input: unknown, loop: Loop): void {
    if (!mayBegin(held, loop)) return loop.ended(call);
    let returned: unknown;
    try {
      returned = loop.isTracing ? this.#traced(held, input) : this.#handler(input, held);
    } catch (error) {
      return this.#threw(call, held, error, loop);
    }
    if (!isThenable(returned)) return this.#returned(call, held, returned, loop);
    returned.then(
      (value) => this.#returned(call, held, value, loop),
      (error: unknown) => this.#threw(call, held, error, loop),
    );
  }

  #traced(held: HeldJob, input: unknown): Promise<unknown> {
    const { name } = this.#settings;
    const trace = held.claimed.trace ?? undefined;
    const options = { ...spanOf(name, { [ATTRIBUTES.messageId]: held.id }), trace };
    return inSpan(`process ${name}`, options, () => this.#handler(input, held));
  }

  #returned(call: Call, held: HeldJob, value: unknown, loop: Loop): void {
    // A completion that was returned is one that holds: the job is over already.
    const output = value instanceof Completion ? undefined : value;
    const completing = complete(held, output, loop);
    if (completing === undefined) return loop.ended(call);
    void completing.then(() => loop.ended(call));
  }

  #threw(call: Call, held: HeldJob, error: unknown, loop: Loop): void {
    if (held.completing === undefined) {
      loop.failed(held, error);
      return loop.ended(call);
    }
    // It threw while its own completion was under way: that one decides.
    void Promise.allSettled([held.completing]).then(() => {
      loop.failed(held, error);
      loop.ended(call);
    });
  }
}

/** A job of a batch, as its worker has it. */
interface Item {
  readonly input: unknown;
  readonly job: HeldJob;
}

/** Many jobs a call, with a result for each. */
export class BatchRunner implements Runner {
  readonly batch: number;
  readonly #settings: QueueSettings;
  readonly #handler: BatchHandler<unknown, unknown>;

  constructor(settings: QueueSettings, batch: number, handler: BatchHandler<unknown, unknown>) {
    this.#settings = settings;
    this.batch = batch;
    this.#handler = handler;
  }

  start(call: Call, loop: Loop): void {
    void this.#run(call, loop).finally(() => loop.ended(call));
  }

  async #run(call: Call, loop: Loop): Promise<void> {
    const items: Item[] = [];
    for (const job of call.jobs) {
      try {
        items.push({ input: await readInput(this.#settings, job.claimed.payload), job });
      } catch (error) {
        loop.unusable(job, error);
      }
    }
    const live = items.filter(({ job }) => mayBegin(job, loop));
    if (live.length === 0) return;
    let results: readonly PromiseSettledResult<unknown>[];
    try {
      const signal = new BatchSignal(call);
      results = await (loop.isTracing ? this.#traced(live, signal) : this.#handle(live, signal));
    } catch (error) {
      for (const { job } of live) await failAfterCompleting(job, error, loop);
      return;
    }
    for (let i = 0; i < live.length; i++) {
      const { job } = live[i] as Item;
      const result = results[i] as PromiseSettledResult<unknown>;
      if (result.status === "rejected") await failAfterCompleting(job, result.reason, loop);
      else await complete(job, result.value instanceof Completion ? undefined : result.value, loop);
    }
  }

  async #handle(
    items: readonly Item[],
    batch: Batch,
  ): Promise<readonly PromiseSettledResult<unknown>[]> {
    return checkResults(await this.#handler(items, batch), items.length);
  }

  #traced(items: readonly Item[], batch: Batch): Promise<readonly PromiseSettledResult<unknown>[]> {
    const { name } = this.#settings;
    // Many parents can't be one: the spans in which the jobs were added are linked.
    const links = items.flatMap(({ job }) => job.claimed.trace ?? []);
    const options = { ...spanOf(name, { [ATTRIBUTES.batch]: items.length }), links };
    return inSpan(`process ${name}`, options, () => this.#handle(items, batch));
  }
}

async function failAfterCompleting(held: HeldJob, error: unknown, loop: Loop): Promise<void> {
  if (held.completing !== undefined) await Promise.allSettled([held.completing]);
  loop.failed(held, error);
}

function checkResults(
  returned: readonly PromiseSettledResult<unknown>[] | void,
  count: number,
): readonly PromiseSettledResult<unknown>[] {
  if (returned === undefined) {
    return Array.from({ length: count }, () => ({ status: "fulfilled", value: undefined }));
  }
  const isList =
    Array.isArray(returned) &&
    returned.length === count &&
    returned.every((each) => each?.status === "fulfilled" || each?.status === "rejected");
  if (isList) return returned;
  const got = Array.isArray(returned)
    ? `${returned.length} of them or other values`
    : typeof returned;
  const message = `Expected a batch handler to return ${count} settled results (what \`Promise.allSettled\` gives) or nothing, got ${got}`;
  throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
}

/** The batch's signal, made when it is first read. */
class BatchSignal implements Batch {
  #controller: AbortController | undefined;
  #reason: unknown;
  #isStopped = false;

  constructor(call: Call) {
    call.onStop = (reason) => {
      if (this.#isStopped) return;
      this.#isStopped = true;
      this.#reason = reason;
      this.#controller?.abort(reason);
    };
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isStopped) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }
}
