/**
 * Awaited results: one hub a queue, whatever the number of callers. While somebody waits it listens
 * for hints that jobs finished, and reads all awaited jobs together; hints may be lost, so it also
 * looks every second.
 *
 * Cost: with n ids awaited a look reads n rows. Looks follow each other no faster than one in five
 * of the time is spent reading, so that many waiters and many hints do not turn into a load of
 * their own.
 */
import type { Timer } from "../../core/clock.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkWait, deferred, waitFor, type Deferred, type Wait } from "../../core/signal.ts";
import type { Queue } from "../../ports/queue/index.ts";
import type { JobView } from "../../store/ops.ts";
import { isFinished } from "./info.ts";

/** How often awaited jobs are looked at without a hint, and what is drawn at random on top. */
const POLL_MS = 1_000;
const POLL_JITTER_MS = 250;
/** The wait after a look is this many times what the look took. */
const REST = 4;

interface Waiter extends Deferred<JobView> {
  /** The reads that had begun before it: what they give may be older than what it knows. */
  readonly reads: number;
}

export class ResultHub {
  readonly #queue: Queue;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #unsubscribe: (() => void) | undefined;
  #poll: Timer | undefined;
  #rest: Timer | undefined;
  #reads = 0;
  #isReading = false;
  #isStale = false;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** How many ids are awaited. */
  get size(): number {
    return this.#waiters.size;
  }

  /**
   * The job once it is completed; rejects with `FAILED`, `NOT_FOUND`, `TIMEOUT`, or the signal's
   * reason.
   */
  async wait(id: string, wait?: Wait): Promise<JobView> {
    checkWait(wait);
    const waiter = { ...deferred<JobView>(), reads: this.#reads };
    this.#add(id, waiter);
    try {
      return await waitFor(
        waiter.promise,
        this.#queue.store.clock,
        wait,
        `The result of job "${id}"`,
      );
    } finally {
      this.#remove(id, waiter);
    }
  }

  #add(id: string, waiter: Waiter): void {
    if (this.#waiters.size === 0) {
      const onClose = (): void => this.#failed(storeClosed());
      this.#unsubscribe = this.#queue.onDone(() => this.#look(), onClose);
      this.#armPoll();
    }
    const set = this.#waiters.get(id);
    if (set === undefined) this.#waiters.set(id, new Set([waiter]));
    else set.add(waiter);
    this.#look();
  }

  #remove(id: string, waiter: Waiter): void {
    const set = this.#waiters.get(id);
    if (set === undefined || !set.delete(waiter)) return;
    if (set.size === 0) this.#waiters.delete(id);
    this.#rested();
  }

  /** Stops listening when nobody waits. */
  #rested(): void {
    if (this.#waiters.size > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#poll?.cancel();
    this.#rest?.cancel();
    this.#rest = undefined;
  }

  #armPoll(): void {
    const { clock, random } = this.#queue.store;
    const delayMs = POLL_MS + Math.floor(random.next() * POLL_JITTER_MS);
    this.#poll = clock.timer(delayMs, () => {
      this.#armPoll();
      this.#look();
    });
  }

  #look(): void {
    this.#isStale = true;
    if (this.#isReading || this.#rest !== undefined || this.#waiters.size === 0) return;
    this.#isReading = true;
    // At the end of this turn: those who begin to wait together are read together.
    queueMicrotask(() => void this.#read());
  }

  async #read(): Promise<void> {
    const { clock } = this.#queue.store;
    const startMs = clock.monotonicMs();
    this.#isStale = false;
    this.#reads++;
    try {
      const ids = [...this.#waiters.keys()];
      for (let from = 0; from < ids.length; from += LIMITS.getKeys) {
        const part = ids.slice(from, from + LIMITS.getKeys);
        const views = await this.#queue.get(part);
        for (let i = 0; i < part.length; i++) this.#tell(part[i] as string, views[i] ?? null);
      }
    } catch (error) {
      this.#failed(error);
    }
    this.#isReading = false;
    this.#rested();
    if (this.#waiters.size === 0) return;
    // No longer than a poll: an outage that made this look slow is no reason to be late after it.
    const restMs = Math.min(POLL_MS, Math.floor(REST * (clock.monotonicMs() - startMs)));
    // A cheap look needs no rest, and answers a hint at once.
    if (restMs === 0) return this.#again();
    this.#rest = clock.timer(restMs, () => {
      this.#rest = undefined;
      this.#again();
    });
  }

  #again(): void {
    if (this.#isStale) this.#look();
  }

  #tell(id: string, view: JobView | null): void {
    if (view !== null && !isFinished(view.state)) return;
    const set = this.#waiters.get(id);
    if (set === undefined) return;
    for (const waiter of set) {
      // It began to wait after this read did: the job may have been added in between. Its own look
      // is due already.
      if (waiter.reads === this.#reads) continue;
      set.delete(waiter);
      if (view?.state === "completed") waiter.resolve(view);
      else waiter.reject(view === null ? this.#missing(id) : failed(view));
    }
    if (set.size === 0) this.#waiters.delete(id);
  }

  /** A read that may succeed later leaves everybody waiting; any other ends all waits. */
  #failed(error: unknown): void {
    if (isHoldfastError(error) && error.retryable) return;
    const sets = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const set of sets) for (const waiter of set) waiter.reject(error);
    this.#rested();
  }

  #missing(id: string): HoldfastError {
    const { name } = this.#queue;
    const message = `Expected job "${id}" of queue "${name}" to be there, found none: it was never added, or it finished and was kept no longer than \`keep\` says`;
    return new HoldfastError("NOT_FOUND", message, { details: { queue: name, id } });
  }
}

function storeClosed(): HoldfastError {
  return new HoldfastError("CLOSED", "The store was closed while a result was awaited");
}

function failed(view: JobView): HoldfastError {
  const { queue, id, state, error, attempts } = view;
  const why = error === null ? "" : `: ${error}`;
  const message = `Job "${id}" of queue "${queue}" ended as ${state}${why}`;
  return new HoldfastError("FAILED", message, { details: { queue, id, state, error, attempts } });
}
