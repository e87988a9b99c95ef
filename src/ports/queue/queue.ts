/**
 * The queue port: jobs of text or bytes, added, leased to a session, settled under a fencing token.
 * It is the low-level class that the feature `jobs` (handlers, retries, schemas) is made of;
 * `README.md` beside it states what it guarantees.
 */
import type { Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import { newId } from "../../core/random.ts";
import { stepsWithin, type Wait } from "../../core/signal.ts";
import type { JobPage, QueueChanges } from "../../store/driver.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import {
  DEFAULT_QUEUE_CONFIG,
  JOB_STATES,
  type Cancelled,
  type Claimed,
  type Enqueued,
  type JobState,
  type JobView,
  type Op,
  type QueueCancel,
  type QueueConfigure,
  type QueueEnqueue,
  type QueuePause,
  type QueueProgress,
  type QueueSettle,
  type QueueView,
} from "../../store/ops.ts";
import { checkWaitOnly } from "../../store/options.ts";
import type { Session } from "../../store/session.ts";
import type { Store } from "../../store/store.ts";
import { filterOf, LIST_KEYS, type ListOptions } from "./list.ts";
import * as ops from "./ops.ts";
import type { JobInput, QueueRules, Receipt, Settlement } from "./ops.ts";

export interface QueueOptions {
  /** A partition of the namespace; default: the namespace's own. */
  readonly partition?: string | undefined;
  /** For Holdfast's own queues: the name may begin with `$`. Default false. */
  readonly isReserved?: boolean | undefined;
}

export interface SettleOptions extends Wait {
  /**
   * Ops of the same partition that hold or fall together with the settling: a follow-up job, an
   * effect in `kv`.
   */
  readonly also?: readonly Placed[] | undefined;
}

export interface JobList {
  readonly jobs: readonly JobView[];
  /** Give it as `after` for the next page; null: this was the last. */
  readonly next: number | null;
}

export interface BulkOptions extends Wait {
  /** At most this many; default: as many as there are at the call. */
  readonly max?: number | undefined;
}

/** The ops of one queue, for groups that hold other ops too. */
export interface QueueOps {
  configure(rules: QueueRules): Placed<QueueConfigure>;
  enqueue(job: JobInput): Placed<QueueEnqueue>;
  settle(session: Session, job: Receipt, settlement: Settlement): Placed<QueueSettle>;
  progress(session: Session, job: Receipt, value: Data): Placed<QueueProgress>;
  cancel(id: string, reason?: string): Placed<QueueCancel>;
  pause(isPaused: boolean): Placed<QueuePause>;
}

const SETTLE_KEYS = ["also", "signal", "timeoutMs"] as const;
const CANCEL_KEYS = ["reason", "signal", "timeoutMs"] as const;
const REDRIVE_KEYS = ["ids", "max", "signal", "timeoutMs"] as const;
const PURGE_KEYS = ["max", "signal", "timeoutMs"] as const;
const CHANGES_KEYS = ["limit", "signal", "timeoutMs"] as const;
const PAGE_ROWS = 100;
/**
 * Jobs and bytes of one group of a long add: large enough for the disk's best rate, small enough to
 * let others in between.
 */
const CHUNK_JOBS = 1_000;
const CHUNK_BYTES = 1_048_576;
/** Jobs of a long add that are checked in one turn of the loop: some 5 ms. */
const CHECKED_PER_TURN = 4_096;

const NO_COUNTS: QueueView["counts"] = Object.freeze({
  ready: 0,
  leased: 0,
  scheduled: 0,
  blocked: 0,
  completed: 0,
  cancelled: 0,
  dead: 0,
});

export class Queue {
  readonly store: Store;
  readonly name: string;
  /** The full name of the partition it lives in. */
  readonly partition: string;
  readonly op: QueueOps;

  constructor(store: Store, name: string, options: QueueOptions = {}) {
    checkOptions("options", options, ["partition", "isReserved"]);
    this.store = store;
    this.name = ops.checkQueue(name, options.isReserved === true);
    this.partition = store.partitionName(options.partition);
    this.op = this.#builders();
  }

  #builders(): QueueOps {
    const { name: queue, partition } = this;
    const place = <O extends Op>(op: O): Placed<O> => ({ partition, op });
    return {
      configure: (rules) => place(ops.configure(queue, rules)),
      enqueue: (job) => place(ops.enqueue(queue, job, this.#freshId)),
      settle: (session, job, how) => place(ops.settle(queue, idOf(session), job, how)),
      progress: (session, job, value) => place(ops.progress(queue, idOf(session), job, value)),
      cancel: (id, reason) => place(ops.cancel(queue, id, reason)),
      pause: (isPaused) => place(ops.pause(queue, isPaused)),
    };
  }

  readonly #freshId = (): string => newId(this.store.clock.wallMs(), this.store.random);

  async #one<O extends Op>(op: O, wait: Wait | undefined): Promise<unknown> {
    const results = resultsOf(await this.store.commit(this.partition, [op], wait));
    return results[0];
  }

  /** The waits of a call's steps, under its one `timeoutMs`. */
  #steps(wait: Wait | undefined, what: string): () => Wait | undefined {
    checkWaitOnly(wait);
    return stepsWithin(this.store.clock, wait, what);
  }

  /**
   * Sets the queue's rules for all processes; the last writer wins. What `rules` leaves out gets
   * its default.
   */
  async configure(rules: QueueRules, wait?: Wait): Promise<void> {
    await this.#one(ops.configure(this.name, rules), wait);
  }

  /**
   * Adds a job. Once it resolves the job is never lost, to the degree that `store.durability()`
   * says.
   *
   * Errors: `ALREADY_EXISTS` (its id is taken by a job with another payload), `OVERLOADED`
   * (`maxWaiting`), `TOO_LARGE`.
   * On abort: see `Store.commit`; with an `id` or a dedupe key adding again is safe. Complexity: a
   * share of one round trip.
   */
  async add(job: JobInput, wait?: Wait): Promise<Enqueued> {
    return (await this.#one(ops.enqueue(this.name, job, this.#freshId), wait)) as Enqueued;
  }

  /**
   * Adds up to 100,000 jobs, in order, in groups of up to 1,000 jobs or 1 MiB. All are validated
   * before the first group leaves.
   * The groups commit one after another: after a failure the first `details.added` jobs were added,
   * none after them, and of the group that failed the error's `outcome` tells. `timeoutMs` bounds
   * the whole call.
   *
   * On abort: the signal's reason is rethrown as it is, so nothing tells how many were added; the
   * jobs that were are the first ones of the list, and adding those with an `id` again is safe.
   */
  async addMany(jobs: readonly JobInput[], wait?: Wait): Promise<readonly Enqueued[]> {
    if (!Array.isArray(jobs)) throw new TypeError(expected("jobs", "an array", jobs));
    checkInteger("jobs.length", jobs.length, 0, LIMITS.addMany);
    const step = this.#steps(wait, "Adding the jobs");
    const enqueues: QueueEnqueue[] = [];
    for (const job of jobs as readonly JobInput[]) {
      enqueues.push(ops.enqueue(this.name, job, this.#freshId));
      // A long list must not block the loop, or the session with it.
      if (enqueues.length % CHECKED_PER_TURN === 0) await this.store.clock.yield();
    }
    const added: Enqueued[] = [];
    while (added.length < enqueues.length) {
      const chunk = this.#chunk(enqueues, added.length);
      try {
        const results = resultsOf(await this.store.commit(this.partition, chunk, step()));
        for (const result of results) added.push(result);
      } catch (error) {
        throw withAdded(error, added.length);
      }
    }
    return added;
  }

  #chunk(enqueues: readonly QueueEnqueue[], from: number): QueueEnqueue[] {
    const maxJobs = Math.min(CHUNK_JOBS, this.store.capabilities.maxOpsPerGroup);
    const chunk: QueueEnqueue[] = [];
    let bytes = 0;
    for (let i = from; i < enqueues.length && chunk.length < maxJobs; i++) {
      const op = enqueues[i] as QueueEnqueue;
      bytes += op.payload.length;
      if (bytes > CHUNK_BYTES && chunk.length > 0) break;
      chunk.push(op);
    }
    return chunk;
  }

  /**
   * Leases up to `max` (1 to 1,000) ready jobs to the session, best rank first. An empty answer
   * says when to ask again (`nextMs`); `onReady` hints in between. `timeoutMs` bounds the opening
   * of the session in this partition, if it comes to that, and the claim together. Errors:
   * `LEASE_LOST` if the session is over.
   * On abort after it has left: the jobs may be leased to the session without its knowing, until
   * the session ends.
   */
  async claim(session: Session, max: number, wait?: Wait): Promise<Claimed> {
    const op = ops.claim(this.name, session.id, max);
    session.check();
    if (session.isOpenIn(this.partition)) return (await this.#one(op, wait)) as Claimed;
    const step = this.#steps(wait, "The claim");
    await session.openIn(this.partition, step());
    return (await this.#one(op, step())) as Claimed;
  }

  /**
   * Ends the lease of a claimed job, together with `also`: all of it holds or nothing does. Gives
   * the state the job has now.
   *
   * Errors: `LEASE_LOST` if the session is over, `FENCED` if the job is no longer held under the
   * token, and what refuses an op of
   * `also`. Sending it again after an unknown outcome is safe: it answers `FENCED` if the first one
   * was applied.
   */
  async settle(
    session: Session,
    job: Receipt,
    settlement: Settlement,
    options: SettleOptions = {},
  ): Promise<JobState> {
    const placed = this.op.settle(session, job, settlement);
    checkOptions("options", options, SETTLE_KEYS);
    const { also, ...wait } = options;
    if (also === undefined || also.length === 0)
      return (await this.#one(placed.op, wait)) as JobState;
    const results = resultsOf(await this.store.commitAll([placed, ...also], wait));
    return results[0];
  }

  /** Notes how far a held job is: text or bytes of at most 16 KiB. Refused like `settle`. */
  async progress(session: Session, job: Receipt, value: Data, wait?: Wait): Promise<void> {
    await this.#one(this.op.progress(session, job, value).op, wait);
  }

  /** Cancels a waiting job, or asks the holder of a leased one to stop; durable either way. */
  async cancel(
    id: string,
    options: Wait & { readonly reason?: string | undefined } = {},
  ): Promise<Cancelled> {
    checkOptions("options", options, CANCEL_KEYS);
    const { reason, ...wait } = options;
    return (await this.#one(ops.cancel(this.name, id, reason), wait)) as Cancelled;
  }

  /**
   * Makes dead jobs ready again, attempts at zero: those of the ids (up to 1,000), or the oldest,
   * up to `max` of them. Gives how many. `ids` and `max` together are refused: the ids say how
   * many.
   * Without `ids` it goes in steps as `purge` does.
   */
  async redrive(
    options: BulkOptions & { readonly ids?: readonly string[] | undefined } = {},
  ): Promise<number> {
    checkOptions("options", options, REDRIVE_KEYS);
    const { ids, max, ...wait } = options;
    if (ids !== undefined) {
      if (max !== undefined)
        throw new TypeError(expected("max", "left out where ids are given", max));
      const result = await this.#one(ops.redrive(this.name, { ids }), wait);
      return (result as { readonly count: number }).count;
    }
    return this.#inSteps("dead", max, wait, (step) => ops.redrive(this.name, { max: step }));
  }

  /** Stops claims of this queue, in all processes, until `resume()`. What is leased goes on. */
  async pause(wait?: Wait): Promise<void> {
    await this.#one(ops.pause(this.name, true), wait);
  }

  async resume(wait?: Wait): Promise<void> {
    await this.#one(ops.pause(this.name, false), wait);
  }

  /**
   * Removes jobs in that state, in steps of up to 1,000. Gives how many. Leased jobs can't be
   * purged: cancel them. `timeoutMs` bounds the whole call; what the steps before a failure or an
   * abort did stands, and calling again goes on from there.
   */
  async purge(state: Exclude<JobState, "leased">, options: BulkOptions = {}): Promise<number> {
    checkOptions("options", options, PURGE_KEYS);
    const { max, ...wait } = options;
    ops.purge(this.name, state, 1);
    return this.#inSteps(state, max, wait, (step) => ops.purge(this.name, state, step));
  }

  /**
   * Repeats a bounded op. Without `max` it stops after as many as there were at the call, so that
   * it ends under load.
   */
  async #inSteps(
    state: JobState,
    max: number | undefined,
    wait: Wait,
    build: (step: number) => Op,
  ): Promise<number> {
    if (max !== undefined) checkInteger("max", max, 1);
    const next = this.#steps(wait, "The call");
    const target = max ?? (await this.stats(next())).counts[state];
    let count = 0;
    while (count < target) {
      const step = Math.min(LIMITS.reapRows, LIMITS.pageRows, target - count);
      const result = (await this.#one(build(step), next())) as { readonly count: number };
      count += result.count;
      if (result.count === 0) break;
    }
    return count;
  }

  /**
   * The job, or null if it is not there (any more); for an array of ids (up to 1,000), each in its
   * place.
   */
  get(id: string, wait?: Wait): Promise<JobView | null>;
  get(ids: readonly string[], wait?: Wait): Promise<readonly (JobView | null)[]>;
  async get(
    id: string | readonly string[],
    wait?: Wait,
  ): Promise<JobView | null | readonly (JobView | null)[]> {
    const ids = typeof id === "string" ? [id] : id;
    if (!Array.isArray(ids)) throw new TypeError(expected("id", "a string or an array", id));
    checkInteger("ids.length", ids.length, 0, LIMITS.getKeys);
    for (const each of ids) checkText("id", each, LIMITS.idChars);
    const { name: queue, partition } = this;
    const [jobs] = await this.store.read([{ read: "queue.get", partition, queue, ids }], wait);
    return typeof id === "string" ? (jobs[0] ?? null) : jobs;
  }

  /** A page of the jobs in that state, in the order of their adding. */
  async list(state: JobState, options: ListOptions = {}): Promise<JobList> {
    checkOptions("options", options, LIST_KEYS);
    const { after, limit = PAGE_ROWS, signal, timeoutMs } = options;
    const wait = { signal, timeoutMs };
    checkOneOf("state", state, JOB_STATES);
    const read = {
      read: "queue.list",
      partition: this.partition,
      queue: this.name,
      state,
      after: after === undefined ? null : checkInteger("after", after),
      limit: checkInteger("limit", limit, 1, LIMITS.pageRows),
      where: filterOf(options),
    } as const;
    const [page]: readonly [JobPage] = await this.store.read([read], wait);
    return { jobs: page.jobs, next: page.hasMore ? page.last : null };
  }

  /**
   * All jobs in that state, page by page; a job that changes its state meanwhile may be seen or
   * not. `timeoutMs` bounds each page: the time between them is the caller's.
   */
  async *scan(
    state: JobState,
    options: Omit<ListOptions, "after"> = {},
  ): AsyncGenerator<JobView, void, void> {
    let after: number | undefined;
    for (;;) {
      const page: JobList = await this.list(state, { ...options, after });
      yield* page.jobs;
      if (page.next === null) return;
      after = page.next;
    }
  }

  /**
   * Counts, rules and the age of the longest-waiting ready job; a queue that was never used is
   * empty.
   */
  async stats(wait?: Wait): Promise<QueueView> {
    const { name: queue, partition } = this;
    const [views] = await this.store.read(
      [{ read: "queue.stats", partition, queues: [queue] }],
      wait,
    );
    const none = { counts: NO_COUNTS, isPaused: false, config: DEFAULT_QUEUE_CONFIG };
    return views[0] ?? { queue, ...none, oldestReadyMs: null };
  }

  /**
   * Jobs that changed after the cursor and are still there, each with its last state; of a job that
   * is gone (purged, or not kept any longer) it tells nothing. `isResync`: the cursor is older than
   * what is kept, or of a state that the store has lost; list anew, then go on from the cursor
   * given.
   */
  async changes(
    cursor: number,
    options: Wait & { readonly limit?: number | undefined } = {},
  ): Promise<QueueChanges> {
    checkOptions("options", options, CHANGES_KEYS);
    const { limit = LIMITS.pageRows, ...wait } = options;
    const read = {
      read: "queue.changes",
      partition: this.partition,
      queue: this.name,
      cursor: checkInteger("cursor", cursor),
      limit: checkInteger("limit", limit, 1, LIMITS.pageRows),
    } as const;
    const [changes]: readonly [QueueChanges] = await this.store.read([read], wait);
    return changes;
  }

  /**
   * Calls `listen` when jobs may have become claimable. A hint: it may come for nothing, or be
   * lost. Gives the way to stop.
   */
  onReady(listen: () => void): () => void {
    return this.#on("queue", listen);
  }

  /** Calls `listen` when jobs finished; a hint. `onClose` is told when the store closes. */
  onDone(listen: () => void, onClose?: () => void): () => void {
    return this.#on("done", listen, onClose);
  }

  /**
   * Calls `listen` when the cancel of a held job was asked; a hint: `session.renew()` tells which.
   */
  onCancel(listen: () => void): () => void {
    return this.#on("cancel", listen);
  }

  #on(kind: "queue" | "done" | "cancel", listen: () => void, onClose?: () => void): () => void {
    checkFunction("listen", listen);
    const { name, partition } = this;
    return this.store.subscribe({ kind, partition, name }, () => listen(), onClose);
  }
}

/** All queues of a partition. */
export async function listQueues(
  store: Store,
  options: QueueOptions & Wait = {},
): Promise<readonly QueueView[]> {
  const { partition: name, ...wait } = options;
  const partition = store.partitionName(name);
  const [views] = await store.read([{ read: "queue.stats", partition, queues: null }], wait);
  return views;
}

/** Judged before it is used: a session that is over is told so at once. */
function idOf(session: Session): string {
  session.check();
  return session.id;
}

/** The error of a long add, with how many went before it. */
function withAdded(error: unknown, added: number): unknown {
  if (!isHoldfastError(error)) return error;
  const { code, retryable, outcome, retryAfterMs } = error;
  const details = { ...error.details, added };
  const message = `${error.message} (the first ${added} jobs of the call were added)`;
  return new HoldfastError(code, message, {
    retryable,
    outcome,
    retryAfterMs,
    details,
    cause: error,
  });
}
