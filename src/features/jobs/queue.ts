/** The queue as a program holds it: adding, working, looking, steering. */
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { checkFunction } from "../../core/options.ts";
import { newId } from "../../core/random.ts";
import { sleep, type Wait } from "../../core/signal.ts";
import { currentTrace } from "../../core/telemetry.ts";
import { Queue, type BulkOptions, type ListOptions } from "../../ports/queue/index.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import type { QueueChanges } from "../../store/driver.ts";
import type {
  Cancelled,
  Enqueued,
  JobState,
  QueueCounts,
  QueueEnqueue,
  QueueView,
} from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import {
  atIndex,
  checkAddCall,
  checkAddMany,
  checkAddOptions,
  enqueueOp,
  mayRepeatAdd,
  nextChunk,
  optionsOf,
  REPEAT,
  withAdded,
  type AddCallOptions,
  type AddManyOptions,
  type AddOptions,
  type EnqueueContext,
} from "./add.ts";
import { JobInfo } from "./info.ts";
import { asUnknown, troubleDelayMs } from "./leases.ts";
import { prepareInput, readOutput, type Prepared } from "./payload.ts";
import { ResultHub } from "./results.ts";
import { Rules } from "./rules.ts";
import { BatchRunner, SingleRunner, type BatchHandler, type Handler } from "./run.ts";
import type { QueueSettings } from "./settings.ts";
import { checkBatch, checkWork, Worker, type BatchOptions, type WorkOptions } from "./worker.ts";

/** A job that was added, or the one that stands for it. */
export class AddedJob<O> {
  readonly id: string;
  /**
   * `"added"`: it is new; `"exists"`: a job of that id and input was there; `"deduped"`: the dedupe
   * key's first job stands; `"replaced"`: its input was replaced.
   */
  readonly status: Enqueued["status"];
  readonly #queue: { result(id: string, wait?: Wait): Promise<O> };

  constructor(queue: { result(id: string, wait?: Wait): Promise<O> }, added: Enqueued) {
    this.id = added.id;
    this.status = added.status;
    this.#queue = queue;
  }
  /** Waits for its result: see `JobQueue.result`. */
  result(wait?: Wait): Promise<O> {
    return this.#queue.result(this.id, wait);
  }
}

export interface JobList {
  readonly jobs: readonly JobInfo[];
  /** Give it as `after` for the next page; null: this was the last. */
  readonly next: number | null;
}

export interface QueueStats {
  readonly counts: QueueCounts;
  readonly isPaused: boolean;
  /** Age of the longest-waiting ready job; null if none is ready. */
  readonly oldestReadyMs: number | null;
}

/** Ops of this queue for groups with other ops, of this queue's partition. */
export interface JobOps<I> {
  /**
   * The op that adds a job: commit it with `store.commit`, or as a follow-up with `job.complete`.
   * Throws what `add` throws for wrong options and inputs, and `UNSUPPORTED` if the schema is
   * asynchronous.
   */
  add(input: I, options?: AddOptions): Placed<QueueEnqueue>;
}

/** Inputs prepared in one turn of the event loop. */
const PREPARED_PER_TURN = 2_000;

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return value instanceof Promise;
}

function waitOf(options: Wait | undefined): Wait | undefined {
  if (options === undefined) return undefined;
  const { signal, timeoutMs } = options;
  return signal === undefined && timeoutMs === undefined ? undefined : { signal, timeoutMs };
}

/**
 * A queue on one store: `hf.open(definition)`. `I` is what `add` takes, `P` what the handler sees,
 * `R` what it returns, `O` what the awaiting side gets.
 */
export class JobQueue<I, P = I, O = unknown, R = O> {
  readonly name: string;
  readonly op: JobOps<I>;
  readonly #store: Store;
  readonly #settings: QueueSettings;
  readonly #queue: Queue;
  readonly #rules: Rules;
  readonly #results: ResultHub;

  constructor(store: Store, settings: QueueSettings) {
    this.name = settings.name;
    this.#store = store;
    this.#settings = settings;
    const { partition, name: queueName } = settings;
    // Only a feature of Holdfast can have made settings with such a name.
    const queue = new Queue(store, queueName, { partition, isReserved: queueName.startsWith("$") });
    this.#queue = queue;
    const { config, name } = settings;
    this.#rules = new Rules(store, queue.partition, { op: "queue.configure", queue: name, config });
    this.#results = new ResultHub(queue);
    this.op = {
      add: (input, options) => {
        checkAddOptions(options);
        const op = enqueueOp(this.#context(), this.#prepareNow(input, "op.add"), options);
        this.#rules.sendAhead();
        return { partition: queue.partition, op };
      },
    };
  }

  // -------------------------------------------------------------- adding

  /**
   * Adds a job.
   *
   * Guarantee: once it resolves the job is never lost, to the degree that `store.durability()`
   * says, and it runs at least once. An add whose outcome is unknown is sent again under the same
   * id for half a second, so that it is added once. That is done only where the queue surely keeps
   * the job for so long, done or not: with a `keep.ms` and `keep.deadMs` of at least 1 minute and a
   * `keep.count` of at least 100,000, as by default. Otherwise, and if no answer comes, it fails
   * with outcome `unknown`.
   * Errors: `INVALID_DATA` and `TOO_LARGE` (input), `ALREADY_EXISTS` (`id` taken by a job with
   * another input), `OVERLOADED` (`maxWaiting`, or too much waits for the store), `UNAVAILABLE`,
   * `TIMEOUT`; `TypeError` and `RangeError` for options.
   * On abort: a job that has not left is not added; else it may have been. Complexity: a share of
   * one round trip.
   */
  async add(input: I, options?: AddCallOptions): Promise<AddedJob<O>> {
    checkAddCall(options, this.#store.capabilities.engine);
    const made = prepareInput(this.#settings, input);
    const prepared = isPromise(made) ? await made : made;
    const mayRepeat = mayRepeatAdd(this.#settings.config);
    const op = enqueueOp(this.#context(mayRepeat), prepared, options);
    const added = await this.#enqueue(op, mayRepeat, waitOf(options));
    // After a lost answer: this is the job that an earlier try of this call added.
    const isOwn = options?.id === undefined && added.id === op.id && added.status !== "replaced";
    return new AddedJob<O>(this, isOwn ? { ...added, status: "added" } : added);
  }

  /**
   * Adds up to 100,000 jobs, in order. All are validated before anything is written.
   *
   * Guarantee: up to 1,000 jobs and 1 MiB of payload are one group: all or nothing. More are cut
   * into such groups, which commit one after another: after a failure the first `details.added`
   * jobs were added, none after the group that failed, and of that group the error's `outcome`
   * tells. With `id` the whole call may be repeated safely.
   * Errors: as `add`; `details.index` names the input that is wrong.
   * On abort: the signal's reason, which does not say how many were added: give `id`, and repeat.
   */
  async addMany(
    inputs: readonly I[],
    options?: AddManyOptions<I>,
  ): Promise<readonly AddedJob<O>[]> {
    checkAddMany(inputs, options);
    const ops = await this.#prepareMany(inputs, options);
    const added: AddedJob<O>[] = [];
    const wait = waitOf(options);
    const maxOps = this.#store.capabilities.maxOpsPerGroup - 1;
    while (added.length < ops.length) {
      const chunk = nextChunk(ops, added.length, maxOps);
      try {
        for (const each of resultsOf(await this.#rules.commit(chunk, wait))) {
          added.push(new AddedJob<O>(this, each));
        }
      } catch (error) {
        throw withAdded(error, added.length);
      }
    }
    return added;
  }

  async #prepareMany(
    inputs: readonly I[],
    options: AddManyOptions<I> | undefined,
  ): Promise<QueueEnqueue[]> {
    const context = this.#context();
    const ops: QueueEnqueue[] = [];
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i] as I;
      try {
        const made = prepareInput(this.#settings, input);
        const prepared = isPromise(made) ? await made : made;
        ops.push(enqueueOp(context, prepared, optionsOf(options, input, i)));
      } catch (error) {
        throw atIndex(error, i);
      }
      // A long list must not block the loop, or the session with it.
      if ((i + 1) % PREPARED_PER_TURN === 0) await this.#store.clock.yield();
    }
    return ops;
  }

  /**
   * Adds a job inside the caller's own synchronous SQLite transaction: it is there if and when that
   * commits. `tx` is the better-sqlite3 database in whose transaction this is called. What an `id`
   * or `dedupe` makes of it is decided when the store takes it in, after the commit: `status` is
   * "added" in any case.
   *
   * Errors: `UNSUPPORTED` on other engines and for asynchronous schemas; `MISCONFIGURED` (no
   * transaction, another file, another copy of SQLite, an `await` inside the transaction),
   * `ALREADY_EXISTS` (an id that another payload has), `MOVED`, `UNAVAILABLE` (the file's lock);
   * what `add` throws for wrong options and inputs.
   */
  addIn(tx: unknown, input: I, options?: AddOptions): AddedJob<O> {
    checkAddOptions(options);
    const op = enqueueOp(this.#context(), this.#prepareNow(input, "addIn"), options);
    this.#store.enqueueIn(tx, this.#queue.partition, [op]);
    this.#rules.sendAhead();
    const result = async (id: string, wait?: Wait): Promise<O> => {
      // The next commit after the caller's takes the job in; until then nobody sees it.
      await this.#rules.touch(wait);
      return this.result(id, wait);
    };
    return new AddedJob<O>({ result }, { id: op.id, seq: 0, status: "added" });
  }

  #context(mayRepeat = false): EnqueueContext {
    const { clock, random } = this.#store;
    const freshId = (): string => newId(clock.wallMs(), random);
    return { queue: this.name, trace: currentTrace() ?? null, mayRepeat, freshId };
  }

  #prepareNow(input: I, what: string): Prepared {
    const prepared = prepareInput(this.#settings, input);
    if (!isPromise(prepared)) return prepared;
    prepared.catch(() => {});
    const message = `Expected a synchronous schema for \`${what}\`, got an asynchronous one: use \`add\`, or check the input before`;
    throw new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied" });
  }

  /** Adds; sends the same again for a while if nobody knows whether it was applied. */
  async #enqueue(op: QueueEnqueue, mayRepeat: boolean, wait: Wait | undefined): Promise<Enqueued> {
    const { clock, random } = this.#store;
    const startMs = clock.monotonicMs();
    const startWallMs = clock.wallMs();
    let lost: unknown;
    for (let tries = 0; ; tries++) {
      try {
        const [added] = resultsOf(await this.#rules.commit([op] as const, wait));
        return added;
      } catch (error) {
        const isLost = isHoldfastError(error, "UNAVAILABLE") && error.outcome === "unknown";
        if (!isLost || !mayRepeat || tries >= REPEAT.times) {
          // Whatever ended this try, an earlier one may have been applied.
          throw lost === undefined ? error : asUnknown(error);
        }
        lost = error;
      }
      await sleep(clock, troubleDelayMs(tries, random), wait?.signal);
      // By both clocks: after a suspend, the job may be done and forgotten.
      const passedMs = Math.max(clock.monotonicMs() - startMs, clock.wallMs() - startWallMs);
      if (passedMs > REPEAT.withinMs) throw lost;
    }
  }

  // -------------------------------------------------------------- working

  /**
   * Works on the queue's jobs until the worker is closed.
   *
   * Guarantee: at least once for each job; jobs of one key one after another, in the order of their
   * adding. A handler's outcome is written under its fencing token: one whose lease was lost
   * changes nothing. What a handler returns is stored as the result; what it throws is a failed
   * attempt (see `retry`), `permanent(error)` one without retry.
   * Errors: `TypeError` and `RangeError` for options, `CLOSED`.
   */
  work(handler: Handler<P, R>, options?: WorkOptions): Worker {
    checkFunction("handler", handler);
    const settings = this.#settings;
    const checked = checkWork(options, settings);
    const runner = new SingleRunner(settings, handler as Handler<unknown, unknown>);
    return new Worker(this.#queue, { settings, rules: this.#rules, runner }, checked);
  }

  /** As `work`, with up to `max` jobs a call: see `BatchHandler` for what it returns. */
  workBatch(handler: BatchHandler<P, R>, options?: BatchOptions): Worker {
    checkFunction("handler", handler);
    const settings = this.#settings;
    const checked = checkBatch(options, settings);
    const untyped = handler as BatchHandler<unknown, unknown>;
    const runner = new BatchRunner(settings, checked.batch, untyped);
    return new Worker(this.#queue, { settings, rules: this.#rules, runner }, checked);
  }

  // -------------------------------------------------------------- looking

  /**
   * The result of a job, once it is completed.
   *
   * Errors: `FAILED` (it ended dead or cancelled; details: `state`, `error`), `NOT_FOUND` (it was
   * never there, or was kept no longer than `keep` says), `TIMEOUT`, `CLOSED`; the signal's reason.
   * On abort: the job goes on.
   */
  async result(id: string, wait?: Wait): Promise<O> {
    const view = await this.#results.wait(id, wait);
    return (await readOutput(this.#settings, view.result)) as O;
  }

  /** The job, or null if it is not there (any more). */
  async get(id: string, wait?: Wait): Promise<JobInfo | null> {
    const view = await this.#queue.get(id, wait);
    return view === null ? null : new JobInfo(this.#settings, view);
  }

  /**
   * A page of the jobs in that state, in the order of their adding; of all, or of those that
   * `attributes`, `fromMs`, `beforeMs` and `idPrefix` mean. Complexity: a look at each job of the
   * state, up to about 10,000 for one page, which may so be short though `next` is there.
   */
  async list(state: JobState, options?: ListOptions): Promise<JobList> {
    const { jobs, next } = await this.#queue.list(state, options);
    return { jobs: jobs.map((view) => new JobInfo(this.#settings, view)), next };
  }

  /** Counts by state, whether it is paused, and the age of the longest-waiting ready job. */
  async stats(wait?: Wait): Promise<QueueStats> {
    const { counts, isPaused, oldestReadyMs }: QueueView = await this.#queue.stats(wait);
    return { counts, isPaused, oldestReadyMs };
  }

  async counts(wait?: Wait): Promise<QueueCounts> {
    return (await this.#queue.stats(wait)).counts;
  }

  /**
   * Jobs that changed after the cursor, each with its last state. `isResync`: the cursor is older
   * than what is kept; list anew, then go on from the cursor given.
   */
  changes(
    cursor: number,
    options?: Wait & { readonly limit?: number | undefined },
  ): Promise<QueueChanges> {
    return this.#queue.changes(cursor, options);
  }

  // -------------------------------------------------------------- steering

  /**
   * Cancels a job: a waiting one is finished at once (`"cancelled"`); the holder of a running one
   * is told (`"requested"`), its signal aborts wherever it runs, within a third of the session's
   * TTL at the latest. A job that completes nevertheless is completed. Durable either way.
   * `"finished"`: too late; `"missing"`: there is none.
   */
  cancel(
    id: string,
    options?: Wait & { readonly reason?: string | undefined },
  ): Promise<Cancelled> {
    return this.#queue.cancel(id, options);
  }

  /**
   * Makes one dead job ready again, its attempts at zero. False: there is no dead job of that id.
   */
  async retry(id: string, wait?: Wait): Promise<boolean> {
    return (await this.#queue.redrive({ ...wait, ids: [id] })) === 1;
  }

  /**
   * Makes dead jobs ready again, attempts at zero: those of the ids (up to 1,000), or the oldest
   * (up to `max`; both together are a TypeError). Gives how many.
   */
  redrive(
    options?: BulkOptions & { readonly ids?: readonly string[] | undefined },
  ): Promise<number> {
    return this.#queue.redrive(options);
  }

  /** Stops claims in all processes until `resume()`; what runs goes on. Jobs can still be added. */
  pause(wait?: Wait): Promise<void> {
    return this.#queue.pause(wait);
  }

  resume(wait?: Wait): Promise<void> {
    return this.#queue.resume(wait);
  }

  /** Removes the jobs in that state (not running ones: cancel them). Gives how many. */
  purge(state: Exclude<JobState, "leased">, options?: BulkOptions): Promise<number> {
    return this.#queue.purge(state, options);
  }
}
