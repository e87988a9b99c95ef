/**
 * A store is what one opened URL is: partitions, one write call, sessions. The ports are views of
 * it, and features are made of ports; all of them commit through its one batcher.
 *
 * running    Commits, reads and watches are taken.
 * draining   `close()` was called. What was adopted (workers) is closed first and may commit until
 *            it is; then commits in flight are awaited and the session is ended. All of it within
 *            `drainMs`, of which up to 2 s are kept for the end.
 * closed     Everything is refused with `CLOSED`.
 */
import type { Clock } from "../core/clock.ts";
import type { Data } from "../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../core/errors.ts";
import { Lifetime } from "../core/lifetime.ts";
import { LIMITS } from "../core/limits.ts";
import { checkInteger, checkName, expected } from "../core/options.ts";
import { newId, type Random } from "../core/random.ts";
import { sleep, waitFor, type Wait } from "../core/signal.ts";
import { Batcher, type Pending } from "./batcher.ts";
import { noUserTransaction, type Capabilities, type Durability } from "./capabilities.ts";
import { isDefinition, opens, type Definition } from "./definition.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  Seal,
  StoreDriver,
  StoreInfo,
} from "./driver.ts";
import { GroupRules, partitionOf, type Committed, type OpsOf, type Placed } from "./group.ts";
import type { Op, QueueEnqueue, RunsRecord, RunState } from "./ops.ts";
import {
  checkPart,
  checkSynced,
  checkWaitOnly,
  settingsOf,
  type Settings,
  type StoreOptions,
} from "./options.ts";
import { backoffMs, RETRY } from "./retry.ts";
import { Session, type SessionHost } from "./session.ts";
import { Ticker } from "./ticker.ts";
import { checkCursor, checkRecords, checkSeal } from "./transfer.ts";

export type { Allow, StoreOptions } from "./options.ts";

/** Something that must be closed before the store: a worker, an elected leader. */
export interface Child {
  close(): Promise<void>;
}

/** Kept of `drainMs` for the last commits, the session's end and the driver. */
const CLOSE_RESERVE_MS = 2_000;
const NAMES_CACHED = 1_000;

const noop = (): void => {};

export class Store extends Lifetime implements SessionHost {
  readonly clock: Clock;
  readonly random: Random;
  /** The default partition's name. */
  readonly namespace: string;
  readonly sessionTtlMs: number;
  readonly drainMs: number;
  readonly capabilities: Capabilities;
  readonly label: string;

  readonly #driver: StoreDriver;
  readonly #batcher: Batcher;
  readonly #rules: GroupRules;
  readonly #ticker: Ticker;
  readonly #names = new Set<string>();
  readonly #handles = new WeakMap<object, unknown>();
  readonly #children = new Set<Child>();
  readonly #watches = new Set<AbortController>();
  readonly #subscriptions = new Set<() => void>();
  #session: Session | undefined;
  #sessionTicks: (() => void) | undefined;
  #isShut = false;

  private constructor(driver: StoreDriver, settings: Settings) {
    super("The store");
    this.clock = settings.clock;
    this.random = settings.random;
    this.namespace = settings.namespace;
    this.sessionTtlMs = settings.sessionTtlMs;
    this.drainMs = settings.drainMs;
    this.label = settings.label;
    this.capabilities = driver.capabilities;
    this.#driver = driver;
    this.#rules = new GroupRules(driver.capabilities);
    this.#batcher = new Batcher((groups) => driver.commit(groups), {
      clock: this.clock,
      random: this.random,
      commitsInFlight: driver.capabilities.commitsInFlight,
    });
    this.#ticker = new Ticker(this.clock, this.#batcher);
  }

  /**
   * Opens a store on a driver, which it owns from then on.
   *
   * Errors: `TypeError`, `RangeError` for the options; `MISCONFIGURED` if a persistent engine's
   * settings give less than one synced copy and `allow` does not say so. The driver is closed then.
   */
  static async open(driver: StoreDriver, options: StoreOptions = {}): Promise<Store> {
    try {
      const settings = settingsOf(options);
      const store = new Store(driver, settings);
      if (driver.capabilities.isPersistent && !settings.allow.includes("unsynced")) {
        checkSynced(driver.capabilities.engine, await driver.durability());
      }
      return store;
    } catch (error) {
      await driver.close().catch(noop);
      throw error;
    }
  }

  /** The full name of a partition of this namespace; without a name, the default one. */
  partitionName(name?: string): string {
    return name === undefined
      ? this.namespace
      : `${this.namespace}/${checkPart("partition", name)}`;
  }

  // -------------------------------------------------------------- writing

  /**
   * Commits one group: all of its ops hold, or none does and the result says which did not.
   *
   * Guarantee: what was acknowledged is as durable as `durability()` says; a refused group leaves
   * no trace.
   * Errors: `TOO_LARGE` and `UNSUPPORTED` before anything is sent, `OVERLOADED` when too much
   * waits, `UNAVAILABLE` and what else the engine raises, each with its `outcome`. A failure that
   * is retryable and not applied was tried again up to 5 times.
   * On abort or timeout: a group that has not left is withdrawn (`TIMEOUT` says `not-applied`); one
   * that has goes on, and its outcome is unknown to this caller.
   * Complexity: a share of one round trip; see `batcher.ts`.
   */
  commit<const O extends readonly Op[]>(
    partition: string,
    ops: O,
    wait?: Wait,
  ): Promise<Committed<O>> {
    let pending: Pending;
    try {
      this.#checkOpen();
      this.#checkPartition(partition);
      if (wait !== undefined) checkWaitOnly(wait);
      pending = this.#batcher.submit({ partition, ops }, this.#rules.check(ops));
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#batcher.follow(pending, wait) as Promise<Committed<O>>;
  }

  /**
   * Commits placed ops (from the ports' builders) as one group; ops of two partitions are refused
   * with `UNSUPPORTED`.
   */
  commitAll<const P extends readonly Placed[]>(
    placed: P,
    wait?: Wait,
  ): Promise<Committed<OpsOf<P>>> {
    let partition: string;
    try {
      partition = partitionOf(placed);
    } catch (error) {
      return Promise.reject(error);
    }
    const ops = placed.map((each) => each.op) as unknown as OpsOf<P>;
    return this.commit(partition, ops, wait);
  }

  /**
   * Writes jobs inside the caller's own synchronous transaction: they are there if and when it
   * commits. No bound of the queue refuses them. Errors: `UNSUPPORTED` where
   * `capabilities.joinsUserTransaction` is false.
   */
  enqueueIn(tx: unknown, partition: string, ops: readonly QueueEnqueue[]): void {
    this.#checkOpen();
    this.#checkPartition(partition);
    this.#rules.check(ops);
    if (this.#driver.enqueueIn === undefined) throw noUserTransaction(this.capabilities.engine);
    this.#driver.enqueueIn(tx, partition, ops);
  }

  /**
   * Appends to the journal of a held run inside the caller's own synchronous transaction: it stands
   * or falls with that. Errors: what refuses the op; `UNSUPPORTED` as `enqueueIn`.
   */
  recordIn(tx: unknown, partition: string, op: RunsRecord): RunState {
    this.#checkOpen();
    this.#rules.check([op]);
    if (this.#driver.recordIn === undefined) throw noUserTransaction(this.capabilities.engine);
    return this.#driver.recordIn(tx, partition, op);
  }

  /**
   * Commits ahead of the groups that wait, and also while the store closes: for the store's own
   * sessions.
   */
  commitUrgent<const O extends readonly Op[]>(partition: string, ops: O): Promise<Committed<O>> {
    if (this.state === "closed") return Promise.reject(this.#closed());
    return this.#batcher.submitUrgent({ partition, ops }).promise as Promise<Committed<O>>;
  }

  // -------------------------------------------------------------- reading

  /**
   * Reads, all as linearizable as the engine's contract says. A read that fails with a retryable
   * `UNAVAILABLE` is tried again up to 5 times within 5 s.
   */
  async read<const R extends readonly Read[]>(
    reads: R,
    wait?: Wait,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    this.#checkOpen();
    checkWaitOnly(wait);
    return waitFor(this.#read(reads, wait?.signal), this.clock, wait, "The read");
  }

  async #read<const R extends readonly Read[]>(
    reads: R,
    signal: AbortSignal | undefined,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    const startMs = this.clock.monotonicMs();
    for (let tries = 0; ; tries++) {
      try {
        return await this.#driver.read(reads);
      } catch (error) {
        const canRetry = isHoldfastError(error, "UNAVAILABLE") && error.retryable && !this.#isShut;
        const spentMs = this.clock.monotonicMs() - startMs;
        if (!canRetry || tries >= RETRY.attempts || spentMs >= RETRY.withinMs) throw error;
      }
      await sleep(this.clock, backoffMs(tries, this.random), signal);
    }
  }

  /** What the store knows of itself: its clock, its partitions. */
  async info(wait?: Wait): Promise<StoreInfo> {
    const [info] = await this.read([{ read: "store.info" }], wait);
    return info;
  }

  /**
   * Batches of changes of the keys with the prefix after the cursor (null: from now). The first
   * batch comes at once, possibly empty, and names the cursor it starts from. Nothing is buffered
   * but the batch in hand: what a slow reader leaves behind merges in the store, and becomes one
   * resync once it is trimmed there. A lost connection is taken up again from the last cursor,
   * until the signal aborts; then the iteration throws the signal's reason.
   */
  async *watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal?: AbortSignal,
  ): AsyncGenerator<KvChanges, void, void> {
    this.#checkOpen();
    this.#checkPartition(partition);
    signal?.throwIfAborted();
    const ended = new AbortController();
    const onAbort = (): void => ended.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#watches.add(ended);
    const release = this.needsTicks();
    try {
      let at = cursor;
      for (let tries = 0; ; tries++) {
        try {
          for await (const batch of this.#driver.watch(partition, prefix, at, ended.signal)) {
            at = batch.cursor;
            tries = 0;
            yield batch;
          }
        } catch (error) {
          ended.signal.throwIfAborted();
          if (!isHoldfastError(error) || !error.retryable) throw error;
        }
        await sleep(this.clock, backoffMs(tries, this.random), ended.signal);
      }
    } finally {
      release();
      this.#watches.delete(ended);
      signal?.removeEventListener("abort", onAbort);
      ended.abort();
    }
  }

  /**
   * Calls `listen` on each hint (`null`) or message of the channel until the returned function is
   * called, or the store closes, which `onClose` tells. A hint may come for nothing, and hints and
   * messages may be lost.
   */
  subscribe(
    channel: Channel,
    listen: (message: Data | null) => void,
    onClose?: () => void,
  ): () => void {
    this.#checkOpen();
    const unsubscribe = this.#driver.subscribe(channel, (message) => {
      try {
        listen(message);
      } catch (error) {
        // Engines call from inside a commit: a listener's fault is the process's, never that of the
        // commit or its neighbours.
        queueMicrotask(() => {
          throw error;
        });
      }
    });
    const end = (): void => {
      stop();
      onClose?.();
    };
    const stop = (): void => {
      if (this.#subscriptions.delete(end)) unsubscribe();
    };
    this.#subscriptions.add(end);
    return stop;
  }

  // -------------------------------------------------------------- sessions, time

  /**
   * This process's session, held in the partition (the default one if none is given). One session
   * serves the whole process; when it was lost, this opens another one, with another id: nothing
   * held before comes back.
   */
  async session(partition: string = this.namespace, wait?: Wait): Promise<Session> {
    this.#checkOpen();
    this.#checkPartition(partition);
    checkWaitOnly(wait);
    if (this.#session === undefined || this.#session.isOver) {
      const id = newId(this.clock.wallMs(), this.random);
      this.#session = new Session(this, { id, ttlMs: this.sessionTtlMs, label: this.label });
      this.#sessionTicks = this.needsTicks();
    }
    const session = this.#session;
    await session.openIn(partition, wait);
    return session;
  }

  /** Called by the session itself. */
  onSessionOver(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#sessionTicks?.();
    this.#sessionTicks = undefined;
  }

  /**
   * Asks for time-driven work (expiries, ended sessions) to be done every 500 ms by an empty
   * commit, unless another commit just did it, so that its events come within 1 s. Gives the way to
   * stop asking.
   */
  needsTicks(): () => void {
    return this.#ticker.need();
  }

  // -------------------------------------------------------------- the store as a whole

  /**
   * The definition's handle on this store, the same one each time; `TypeError` for what is no
   * definition.
   */
  handle<H>(definition: Definition<H>): H {
    if (!isDefinition(definition))
      throw new TypeError(expected("definition", "a definition", definition));
    if (this.#handles.has(definition)) return this.#handles.get(definition) as H;
    this.#checkOpen();
    const handle = definition[opens](this);
    this.#handles.set(definition, handle);
    return handle;
  }

  /**
   * What an acknowledged write has, read from the engine's real settings. Refused with `CLOSED`
   * once the store is.
   */
  async durability(): Promise<Durability> {
    this.#checkOpen();
    return this.#driver.durability();
  }

  /**
   * The engine's own counters (for SQLite: waits for the lock, checkpoints); empty where it keeps
   * none.
   */
  async stats(): Promise<object> {
    this.#checkOpen();
    return (await this.#driver.stats?.()) ?? {};
  }

  /**
   * A page of everything in the partition, of up to `limit` (1 to 1,000) records of a kind; exact
   * once it is sealed. `cursor` is that of the page before, or null. Errors: `INVALID_DATA` for a
   * cursor that no page gave.
   */
  async exportPage(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    this.#checkOpen();
    this.#checkPartition(partition);
    checkCursor(cursor);
    checkInteger("limit", limit, 1, LIMITS.pageRows);
    return this.#driver.export(partition, cursor, limit);
  }

  /**
   * Writes a page into a partition that is empty or under this import; a repeated page does no
   * harm. At most 100,000 records and 64 MiB. Errors: `TOO_LARGE`, `INVALID_DATA` for records that
   * no export gave, `ALREADY_EXISTS` if the partition is in use; nothing of the page is written.
   */
  async importPage(partition: string, records: readonly ExportRecord[]): Promise<void> {
    this.#checkOpen();
    this.#checkPartition(partition);
    checkRecords(records);
    await this.#driver.import(partition, records);
  }

  /**
   * Refuses every later group of the partition with `MOVED`, which names `movedTo` (1 to 2,000
   * characters, or null), or opens it again.
   */
  async seal(partition: string, seal: Seal): Promise<void> {
    this.#checkOpen();
    this.#checkPartition(partition);
    await this.#driver.seal(partition, checkSeal(seal));
  }

  /**
   * Closes the child before the store, when that is closed; gives the way to leave. Refused with
   * `CLOSED` once closing has begun: nobody would close it any more.
   */
  adopt(child: Child): () => void {
    this.checkRunning();
    this.#children.add(child);
    return () => void this.#children.delete(child);
  }

  /** Ends all of it, whatever fails on the way, and tells the first failure at the end. */
  protected async drain(): Promise<void> {
    const endMs = this.clock.monotonicMs() + this.drainMs;
    const reserveMs = Math.min(CLOSE_RESERVE_MS, Math.floor(this.drainMs / 4));
    const leftMs = (): number => Math.max(0, Math.floor(endMs - this.clock.monotonicMs()));
    const failures: unknown[] = [];
    const note = (error: unknown): void => void failures.push(error);
    const children = [...this.#children].map(async (child) => {
      try {
        await child.close();
      } catch (error) {
        note(error);
      }
    });
    await this.#within(Promise.all(children), leftMs() - reserveMs);
    this.#isShut = true;
    for (const watch of this.#watches) watch.abort(this.#closed());
    for (const end of this.#subscriptions) {
      try {
        end();
      } catch (error) {
        note(error);
      }
    }
    await this.#within(this.#batcher.idle(), leftMs() - Math.floor(reserveMs / 2));
    if (this.#session !== undefined) await this.#within(this.#session.close(), leftMs());
    this.#ticker.stop();
    this.#batcher.abort();
    await this.#within(this.#driver.close(), leftMs()).catch(note);
    if (failures.length > 0) throw failures[0];
  }

  /** Waits for the work, no longer than this. The work's own failure goes on to the caller. */
  async #within(work: Promise<unknown>, boundMs: number): Promise<void> {
    try {
      await waitFor(work, this.clock, { timeoutMs: Math.max(1, boundMs) }, "Closing");
    } catch (error) {
      if (!isHoldfastError(error, "TIMEOUT")) throw error;
    }
  }

  #closed(): HoldfastError {
    const message = `The store is ${this.state}: open a new one`;
    return new HoldfastError("CLOSED", message, { outcome: "not-applied" });
  }

  #checkOpen(): void {
    if (this.#isShut) throw this.#closed();
  }

  #checkPartition(partition: string): void {
    if (this.#names.has(partition)) return;
    checkName("partition", partition);
    if (this.#names.size >= NAMES_CACHED) this.#names.clear();
    this.#names.add(partition);
  }
}
