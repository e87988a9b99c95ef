/**
 * Natural batching: while one commit is under way, the groups that arrive gather, and leave
 * together as the next one. An idle store answers in one round trip; a busy one carries hundreds of
 * groups in a transaction or an fsync. No delay, no knob.
 *
 * When a group arrives and nothing is under way, it leaves at the end of the current microtask, so
 * that a synchronous burst leaves together. After a commit the next one leaves on the next turn of
 * the loop, not at once: the callers who were just answered come back within this turn, and travel
 * along. Measured with 64 callers in flight and one fsync a commit: leaving at once (in a
 * microtask) splits them into two alternating halves, 37 groups a commit and 0.6 times the rate;
 * the turn costs a lone caller 1.5 us. The batcher itself passes 1.5 million groups a second.
 *
 * Bounds: a commit carries at most `groupsPerCommit` groups, `opsPerCommit` ops and `commitBytes`
 * bytes (one larger group goes alone). When `groupsWaiting` groups or `bytesWaiting` bytes wait,
 * more are refused with `OVERLOADED` rather than held back: a queue of waiting callers would only
 * be the same memory under another name, and who is refused can shed load or slow down.
 *
 * Failure: a commit that fails as a whole fails each of its groups with its error and outcome. Two
 * cases are tried again here, both only when nothing was applied: a retryable error, up to 5 more
 * times within 5 s, with jittered backoff; and an error that is not retryable, in halves, so that
 * one group that an engine chokes on does not fail its neighbours.
 */
import type { Clock } from "../core/clock.ts";
import { HoldfastError, isHoldfastError, type ErrorCode } from "../core/errors.ts";
import { invariant } from "../core/invariant.ts";
import { LIMITS } from "../core/limits.ts";
import type { Random } from "../core/random.ts";
import { sleep, type Wait } from "../core/signal.ts";
import { Backlog, Pending, type BatchSize } from "./backlog.ts";
import { backoffMs, RETRY } from "./retry.ts";
import type { Group, GroupResult } from "./ops.ts";

export type { Pending } from "./backlog.ts";

export interface BatcherOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Commits under way at once. */
  readonly commitsInFlight: number;
  /** Smaller bounds, for tests. */
  readonly limits?: Partial<BatchLimits> | undefined;
}

export interface BatchLimits extends BatchSize {
  readonly groupsWaiting: number;
  readonly bytesWaiting: number;
}

/** Groups that leave together. */
interface Batch {
  entries: Pending[];
}

// One group's fault can't be the reason for these: halving would only ask again.
const OF_THE_STORE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CLOSED",
  "MISCONFIGURED",
  "INCOMPATIBLE",
  "MOVED",
  "UNAVAILABLE",
  "OVERLOADED",
]);

const noop = (): void => {};

export class Batcher {
  readonly #commit: (groups: readonly Group[]) => Promise<readonly GroupResult[]>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #commitsInFlight: number;
  readonly #limits: BatchLimits;
  readonly #backlog = new Backlog();
  /** Ahead of all others: a session must be renewed however much waits. */
  #urgent: Pending[] = [];
  #waiting = 0;
  #waitingBytes = 0;
  #inFlight = 0;
  #isScheduled = false;
  #lastCommitMs = -Infinity;
  #idle: (() => void)[] = [];
  readonly #aborted = new AbortController();
  readonly #sent = new Set<Batch>();

  constructor(
    commit: (groups: readonly Group[]) => Promise<readonly GroupResult[]>,
    options: BatcherOptions,
  ) {
    this.#commit = commit;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#commitsInFlight = options.commitsInFlight;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** Groups that have not left yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Commits under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** When the last commit left, by the monotonic clock. */
  get lastCommitMs(): number {
    return this.#lastCommitMs;
  }

  /**
   * Takes a group that was checked; throws `OVERLOADED` when too much waits. `bytes` is its size.
   */
  submit(group: Group, bytes: number): Pending {
    const limits = this.#limits;
    if (this.#waiting >= limits.groupsWaiting || this.#waitingBytes + bytes > limits.bytesWaiting) {
      throw this.#overloaded();
    }
    const pending = new Pending(group, bytes);
    this.#backlog.push(pending);
    this.#waiting++;
    this.#waitingBytes += bytes;
    this.#wake();
    return pending;
  }

  /** Takes a small group ahead of all that wait, never refused: for the store's own sessions. */
  submitUrgent(group: Group): Pending {
    const pending = new Pending(group, 0);
    this.#urgent.push(pending);
    this.#waiting++;
    this.#wake();
    return pending;
  }

  /**
   * Takes a group back if it has not left: true means that it never will, and its promise stays
   * pending.
   */
  withdraw(pending: Pending): boolean {
    if (pending.state !== "waiting") return false;
    pending.state = "done";
    this.#waiting--;
    this.#waitingBytes -= pending.bytes;
    this.#backlog.remove(pending);
    return true;
  }

  /**
   * The group's result, or the end of the caller's wait. Then a group that has not left is
   * withdrawn (a `TIMEOUT` says `not-applied`); one that has goes on without the caller.
   */
  follow(pending: Pending, wait: Wait | undefined): Promise<GroupResult> {
    const { signal, timeoutMs } = wait ?? {};
    if (signal === undefined && timeoutMs === undefined) return pending.promise;
    return new Promise((resolve, reject) => {
      const clean = (): void => {
        timer?.cancel();
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        clean();
        this.withdraw(pending);
        reject(signal?.reason);
      };
      const onTimeout = (): void => {
        clean();
        const outcome = this.withdraw(pending) ? "not-applied" : "unknown";
        const message = `The commit took longer than timeoutMs ${timeoutMs}`;
        reject(new HoldfastError("TIMEOUT", message, { retryable: true, outcome }));
      };
      const timer = timeoutMs === undefined ? undefined : this.#clock.timer(timeoutMs, onTimeout);
      signal?.addEventListener("abort", onAbort, { once: true });
      pending.promise.then(
        (result) => {
          clean();
          resolve(result);
        },
        (error: unknown) => {
          clean();
          reject(error);
        },
      );
    });
  }

  /** An empty commit, if none is under way: what is due by time is done. */
  async tick(): Promise<void> {
    if (this.#inFlight > 0) return;
    this.#lastCommitMs = this.#clock.monotonicMs();
    this.#inFlight++;
    try {
      await this.#commit([]);
    } catch {
      // The next commit meets the same trouble, and has somebody to tell.
    } finally {
      this.#done();
    }
  }

  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void> {
    if (this.#waiting === 0 && this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Fails all that waits (not applied) and all that is under way (outcome unknown). */
  abort(): void {
    this.#aborted.abort();
    const refuse = (entries: readonly Pending[], outcome: "not-applied" | "unknown"): void => {
      for (const pending of entries) {
        if (pending.state === "done") continue;
        this.#settle(pending);
        const message = "The store was closed before the commit was answered";
        pending.reject(new HoldfastError("CLOSED", message, { outcome }));
      }
    };
    refuse(this.#urgent, "not-applied");
    refuse(this.#backlog.takeAll(), "not-applied");
    for (const batch of this.#sent) {
      refuse(
        batch.entries.filter((pending) => pending.state === "waiting"),
        "not-applied",
      );
      refuse(batch.entries, "unknown");
    }
    this.#urgent = [];
  }

  #overloaded(): HoldfastError {
    const message = `${this.#waiting} groups (${this.#waitingBytes} bytes) wait for the store already: slow down, or try again later`;
    const details = { waiting: this.#waiting, bytes: this.#waitingBytes };
    return new HoldfastError("OVERLOADED", message, {
      retryable: true,
      outcome: "not-applied",
      details,
    });
  }

  #wake(): void {
    if (this.#isScheduled || this.#inFlight >= this.#commitsInFlight) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#isScheduled = false;
    while (this.#inFlight < this.#commitsInFlight) {
      const batch = this.#next();
      if (batch === undefined) break;
      void this.#run(batch);
    }
    if (this.#waiting === 0 && this.#inFlight === 0) this.#tellIdle();
  }

  #next(): Batch | undefined {
    const waiting = this.#backlog.take(this.#limits);
    let entries = waiting;
    if (this.#urgent.length > 0) {
      entries = this.#urgent.filter((pending) => pending.state === "waiting");
      this.#urgent = [];
      for (const pending of waiting) entries.push(pending);
    }
    return entries.length === 0 ? undefined : { entries };
  }

  async #run(batch: Batch): Promise<void> {
    this.#inFlight++;
    this.#sent.add(batch);
    try {
      await this.#send(batch);
    } finally {
      this.#sent.delete(batch);
      this.#done();
    }
  }

  #done(): void {
    this.#inFlight--;
    if (this.#waiting === 0 && this.#inFlight === 0) this.#tellIdle();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.yield().then(() => this.#flush(), noop);
  }

  #tellIdle(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const tell of idle) tell();
  }

  /** Sends until it is answered or given up; settles every entry; never rejects. */
  async #send(batch: Batch): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    for (let tries = 0; ; tries++) {
      const { entries } = batch;
      this.#leave(entries);
      let error: unknown;
      try {
        const results = await this.#commit(entries.map((pending) => pending.group));
        return this.#answer(entries, results);
      } catch (caught) {
        error = caught;
      }
      if (!isHoldfastError(error) || error.outcome !== "not-applied")
        return this.#fail(entries, error);
      if (!error.retryable) {
        if (OF_THE_STORE.has(error.code) || entries.length === 1) return this.#fail(entries, error);
        return this.#halve(entries);
      }
      const spentMs = this.#clock.monotonicMs() - startMs;
      if (tries >= RETRY.attempts || spentMs >= RETRY.withinMs) return this.#fail(entries, error);
      if (!(await this.#backOff(batch, tries, error))) return;
    }
  }

  /**
   * Waits before the next try; meanwhile entries can be withdrawn again. False: nobody waits any
   * more.
   */
  async #backOff(batch: Batch, tries: number, error: HoldfastError): Promise<boolean> {
    for (const pending of batch.entries) {
      if (pending.state !== "sent") continue;
      pending.state = "waiting";
      this.#waiting++;
      this.#waitingBytes += pending.bytes;
    }
    const askedMs = Math.min(error.retryAfterMs ?? 0, RETRY.withinMs);
    const delayMs = Math.max(askedMs, backoffMs(tries, this.#random));
    await sleep(this.#clock, delayMs, this.#aborted.signal).catch(noop);
    batch.entries = batch.entries.filter((pending) => pending.state === "waiting");
    return batch.entries.length > 0;
  }

  async #halve(entries: Pending[]): Promise<void> {
    const middle = entries.length >> 1;
    for (const part of [entries.slice(0, middle), entries.slice(middle)]) {
      const batch = { entries: part };
      this.#sent.add(batch);
      await this.#send(batch);
      this.#sent.delete(batch);
    }
  }

  #leave(entries: readonly Pending[]): void {
    this.#lastCommitMs = this.#clock.monotonicMs();
    for (const pending of entries) {
      if (pending.state !== "waiting") continue;
      pending.state = "sent";
      this.#waiting--;
      this.#waitingBytes -= pending.bytes;
    }
  }

  #settle(pending: Pending): void {
    if (pending.state === "waiting") {
      this.#waiting--;
      this.#waitingBytes -= pending.bytes;
    }
    pending.state = "done";
  }

  #answer(entries: readonly Pending[], results: readonly GroupResult[]): void {
    invariant(results.length === entries.length, "a commit answers each of its groups", {
      groups: entries.length,
      results: results.length,
    });
    for (let i = 0; i < entries.length; i++) {
      const pending = entries[i] as Pending;
      if (pending.state === "done") continue;
      pending.state = "done";
      pending.resolve(results[i] as GroupResult);
    }
  }

  #fail(entries: readonly Pending[], error: unknown): void {
    for (const pending of entries) {
      if (pending.state === "done") continue;
      this.#settle(pending);
      pending.reject(error);
    }
  }
}
