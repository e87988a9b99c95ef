/**
 * A worker: a loop that claims jobs and calls a handler, until it is closed.
 *
 * running    Claims and runs. `pause()` stops claiming, in this worker alone, and gives back what
 *            was claimed ahead.
 * draining   `close()` was called, the signal aborted, the store closes, or the store refuses for
 *            good. Nothing more is claimed, what was claimed ahead goes back at once. Handlers may
 *            end within `drainMs`; then they are aborted, and after the grace (`graceMs`, at most
 *            a quarter of `drainMs`) given up and their jobs handed back, which counts as no
 *            attempt.
 * closed     `done` has resolved. Ends within `drainMs` + 2 × `graceMs`.
 */
import type { Timer } from "../../core/clock.ts";
import { isHoldfastError } from "../../core/errors.ts";
import { Lifetime } from "../../core/lifetime.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkFunction,
  checkInteger,
  checkMs,
  checkOptions,
  expected,
} from "../../core/options.ts";
import { deferred } from "../../core/signal.ts";
import type { Queue } from "../../ports/queue/index.ts";
import { leasesOf } from "./leases.ts";
import { Loop, type Runner } from "./loop.ts";
import type { Rules } from "./rules.ts";
import type { QueueSettings } from "./settings.ts";
import { Tally, type WorkerCounts, type WorkerEvent } from "./tally.ts";

export interface WorkOptions {
  /** Handlers that run at once in this worker: 1 to 10,000; default 10. */
  readonly concurrency?: number | undefined;
  /**
   * Jobs that may be claimed ahead, at most: 0 to 10,000; default 1,000. How many really are is
   * what the worker would start within 20 ms at its present rate; one that could not be started
   * within 1 s is given back. Always 0 for queues with `rate` or `concurrency.max`, whose limits a
   * claimed job uses up.
   */
  readonly prefetch?: number | undefined;
  /** Closes the worker. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long handlers may go on once the worker closes. Default 3/4 of the store's `drainMs` (15 s
   * of 20 s).
   */
  readonly drainMs?: number | undefined;
  /**
   * The event loop's delay above which nothing is claimed. Integer milliseconds; default 200; null:
   * never.
   */
  readonly maxLoopDelayMs?: number | null | undefined;
  /** Told of failures and troubles as they happen; what it throws is ignored. */
  readonly observe?: ((event: WorkerEvent) => void) | undefined;
}

export interface BatchOptions extends Omit<WorkOptions, "concurrency"> {
  /** Jobs of one call, at most: 1 to 1,000; default 100. A call starts with what is there. */
  readonly max?: number | undefined;
  /** Calls at once: 1 to 1,000; default 1. */
  readonly concurrency?: number | undefined;
}

export interface WorkerStats extends WorkerCounts {
  /** Calls of the handler that run now. */
  readonly running: number;
  /** Jobs claimed ahead. */
  readonly prefetched: number;
  /** Outcomes that the store has not answered yet. */
  readonly unsettled: number;
  /**
   * Since the store last answered a claim; null: never yet. A worker that has room for more is
   * healthy while this is below a few seconds.
   */
  readonly sinceClaimMs: number | null;
  readonly loopDelayMs: number;
  readonly isOverloaded: boolean;
  readonly isPaused: boolean;
}

export const WORKER_DEFAULTS = {
  concurrency: 10,
  batch: 100,
  batchConcurrency: 1,
  prefetch: 1_000,
  maxLoopDelayMs: 200,
} as const;

const CONCURRENCY_MAX = 10_000;
const BATCH_MAX = 1_000;
const DRAIN_SHARE = 0.75;
const KNOWN = [
  "concurrency",
  "prefetch",
  "signal",
  "drainMs",
  "maxLoopDelayMs",
  "observe",
] as const;

export interface WorkerSettings {
  readonly concurrency: number;
  readonly batch: number;
  readonly prefetch: number;
  readonly signal: AbortSignal | undefined;
  readonly drainMs: number | undefined;
  readonly maxLoopDelayMs: number | null;
  readonly observe: ((event: WorkerEvent) => void) | undefined;
}

/** Validates and fills in; throws `TypeError` or `RangeError`. */
export function checkWork(options: WorkOptions | undefined, queue: QueueSettings): WorkerSettings {
  checkOptions("options", options, KNOWN);
  return checkShared(options, queue, 1, options?.concurrency ?? WORKER_DEFAULTS.concurrency);
}

export function checkBatch(
  options: BatchOptions | undefined,
  queue: QueueSettings,
): WorkerSettings {
  checkOptions("options", options, [...KNOWN, "max"]);
  const { max, concurrency, ...shared } = options ?? {};
  const batch = checkInteger("max", max ?? WORKER_DEFAULTS.batch, 1, BATCH_MAX);
  const calls = checkInteger(
    "concurrency",
    concurrency ?? WORKER_DEFAULTS.batchConcurrency,
    1,
    BATCH_MAX,
  );
  return checkShared(shared, queue, batch, calls);
}

function checkShared(
  options: Omit<WorkOptions, "concurrency"> | undefined,
  queue: QueueSettings,
  batch: number,
  calls: number,
): WorkerSettings {
  const { prefetch, signal, drainMs, maxLoopDelayMs, observe } = options ?? {};
  const concurrency = checkInteger("concurrency", calls, 1, CONCURRENCY_MAX);
  const ahead = prefetch ?? WORKER_DEFAULTS.prefetch;
  checkInteger("prefetch", ahead, 0, CONCURRENCY_MAX);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(expected("signal", "an AbortSignal", signal));
  }
  if (drainMs !== undefined) checkMs("drainMs", drainMs);
  const maxMs = maxLoopDelayMs === undefined ? WORKER_DEFAULTS.maxLoopDelayMs : maxLoopDelayMs;
  if (maxMs !== null) checkInteger("maxLoopDelayMs", maxMs, 1, LIMITS.durationMs);
  if (observe !== undefined) checkFunction("observe", observe);
  const isLimited = queue.config.rate !== null || queue.config.maxLeased !== null;
  const prefetchMax = isLimited ? 0 : ahead;
  return {
    concurrency,
    batch,
    prefetch: prefetchMax,
    signal,
    drainMs,
    maxLoopDelayMs: maxMs,
    observe,
  };
}

/**
 * What `work()` gives. It is closed by `close()`, by its signal, at the end of `await using`, or
 * with its store.
 */
export class Worker extends Lifetime {
  /**
   * Resolves when the worker has closed and nothing of it runs; rejects with the store's error if
   * that is what ended it (`MOVED`, `MISCONFIGURED` ...).
   */
  readonly done: Promise<void>;
  readonly #loop: Loop;
  readonly #tally: Tally;
  readonly #drainMs: number;
  readonly #graceMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #leave: () => void;
  readonly #done = deferred<void>();
  readonly #onAbort = (): void => void this.close();
  #fatal: { readonly error: unknown } | undefined;
  #isEnding = false;

  constructor(
    queue: Queue,
    parts: { readonly settings: QueueSettings; readonly rules: Rules; readonly runner: Runner },
    options: WorkerSettings,
  ) {
    super("The worker");
    const { store } = queue;
    const { settings } = parts;
    this.done = this.#done.promise;
    // Nobody has to look at it.
    this.done.catch(() => {});
    this.#drainMs = options.drainMs ?? Math.floor(store.drainMs * DRAIN_SHARE);
    this.#graceMs = Math.min(settings.graceMs, Math.max(1, Math.floor(this.#drainMs / 4)));
    this.#signal = options.signal;
    this.#leave = store.adopt(this);
    this.#tally = new Tally(queue.name, store.clock, options.observe);
    const { concurrency, prefetch, maxLoopDelayMs } = options;
    const onFatal = (error: unknown): void => this.#failed(error);
    const loopParts = { ...parts, leases: leasesOf(queue), tally: this.#tally, onFatal };
    this.#loop = new Loop(queue, loopParts, { concurrency, prefetch, maxLoopDelayMs });
    if (options.signal?.aborted === true) void this.close();
    else options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get stats(): WorkerStats {
    const loop = this.#loop;
    return {
      ...this.#tally.counts(),
      running: loop.running,
      prefetched: loop.ready,
      unsettled: loop.unsettled,
      sinceClaimMs: loop.sinceClaimMs,
      loopDelayMs: loop.loopDelayMs,
      isOverloaded: loop.isOverloaded,
      isPaused: loop.isPaused,
    };
  }

  /** Stops claiming in this worker and gives back what was claimed ahead; handlers go on. */
  pause(): void {
    this.#loop.pause();
  }

  resume(): void {
    this.#loop.resume();
  }

  #failed(error: unknown): void {
    // A store that was closed is the ordinary end of a worker.
    if (!isHoldfastError(error, "CLOSED")) this.#fatal ??= { error };
    void this.close();
  }

  protected async drain(): Promise<void> {
    const loop = this.#loop;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    loop.stop();
    const idle = loop.idle();
    if (!(await this.#within(idle, this.#drainMs))) {
      loop.abort(this.#graceMs);
      // The grace of the handlers, and as much for the store to take what they leave.
      await this.#within(idle, 2 * this.#graceMs);
    }
    loop.leave();
    this.#leave();
  }

  /**
   * Drains, then aborts what is left; the bound is stated above. Calling it again gives the same
   * promise.
   */
  override close(): Promise<void> {
    const closing = super.close();
    if (this.#isEnding) return closing;
    this.#isEnding = true;
    closing.then(
      () => {
        if (this.#fatal === undefined) this.#done.resolve();
        else this.#done.reject(this.#fatal.error);
      },
      (error: unknown) => this.#done.reject(error),
    );
    return closing;
  }

  /** True if it came within the bound. */
  #within(work: Promise<void>, boundMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer: Timer = this.#loop.queue.store.clock.timer(boundMs, () => resolve(false));
      void work.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }
}
