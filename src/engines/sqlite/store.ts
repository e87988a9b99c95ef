/**
 * The driver: writes go to the executor (a thread, or this one), reads to a connection of this
 * thread, hints to whoever listens.
 *
 * Serves kv, queue and bus over one file; tables in `schema/`. Clock: the host's, read inside the
 * write transaction (`writer.ts`).
 * Cost: a commit is one message to the thread and back (about 50 us), one transaction and one sync;
 * a read is a transaction here.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Capabilities, Durability } from "../../store/capabilities.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  Seal,
  StoreDriver,
} from "../../store/driver.ts";
import type { Group, GroupResult, QueueEnqueue, RunsRecord, RunState } from "../../store/ops.ts";
import { Channels } from "../shared/embedded/channels.ts";
import { readKvChanges, runRead } from "../shared/embedded/read.ts";
import { exportPage } from "../shared/embedded/transfer.ts";
import { watchJournal } from "../shared/embedded/watch.ts";
import { CAPABILITIES } from "./capabilities.ts";
import type { Database, DatabaseClass } from "./database.ts";
import type { Executor } from "./executor.ts";

import { ForeignChanges, type Baseline, type Foreign } from "./foreign.ts";
import { IntakeDoor } from "./intake.ts";
import { Reader } from "./reader.ts";
import { RecordDoor } from "./record-door.ts";
import { Wake } from "./wake.ts";
import type { Committed, WriterStats } from "./writer.ts";

/** Writes go to the executor; without one they are refused with the reason. */
export type Writes = { readonly executor: Executor } | { readonly refusal: HoldfastError };

export interface SqliteStoreOptions {
  readonly path: string;
  readonly Class: DatabaseClass;
  readonly reader: Database;
  readonly writes: Writes;
  readonly clock: Clock;
}

/**
 * How long the look-out goes on when nobody listens any more: whoever waits for one thing after
 * another begins and ends each time.
 */
const LOOK_OUT_MS = 1_000;

const noop = (): void => {};

/** The hints of an open store: made before it, since its writer tells it of others' commits. */
export class Hints {
  readonly channels: Channels = new Channels();

  /**
   * A listener that throws is a defect of its own, and no failure of the commit that it hears of.
   */
  tell(news: Foreign, isDirty: boolean): void {
    try {
      this.#tell(news, isDirty);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
  #tell({ channels, messages }: Foreign, isDirty: boolean): void {
    for (const channel of channels) this.channels.emit(channel, null);
    for (const { channel, message } of messages) this.channels.emit(channel, message);
    if (isDirty) this.channels.emitChange();
  }
}

/**
 * A SQLite file as a store. Besides the driver's methods it takes ops in the caller's own
 * transaction.
 */
export class SqliteStore implements StoreDriver {
  readonly capabilities: Capabilities = CAPABILITIES;
  readonly #path: string;
  readonly #pid: number = process.pid;
  readonly #reader: Reader;
  readonly #writes: Writes;
  readonly #clock: Clock;
  readonly #channels: Channels;
  readonly #hints: Hints;
  readonly #door: IntakeDoor;
  readonly #records: RecordDoor;
  /** Looks for others' commits where there is no writer to do it. */
  readonly #wake: Wake;
  readonly #foreign: ForeignChanges;
  readonly #stops = new Set<() => void>();
  #isLookingOut = false;
  #end: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: SqliteStoreOptions, hints: Hints) {
    const { path, Class, reader, writes, clock } = options;
    this.#path = path;
    this.#reader = new Reader(reader, path, clock);
    this.#writes = writes;
    this.#clock = clock;
    this.#hints = hints;
    this.#channels = hints.channels;
    this.#foreign = new ForeignChanges(reader);
    this.#wake = new Wake(path, clock, () => this.#lookAround());
    this.#records = new RecordDoor({ path, Class }, clock);
    this.#door = new IntakeDoor({
      path,
      Class,
      clock,
      onPut: () => void this.commit([]).catch(noop),
    });
  }

  async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    const committed = await this.#executor().commit(groups);
    this.#tell(committed);
    return committed.results;
  }

  async read<const R extends readonly Read[]>(
    reads: R,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    this.#checkOpen();
    const results = this.#reader.run((tables, nowMs) =>
      reads.map((read) => runRead(tables, read, nowMs)),
    );
    return results as unknown as { [I in keyof R]: ReadResult<R[I]> };
  }

  watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncIterable<KvChanges> {
    this.#checkOpen();
    const readChanges = async (at: number | null): Promise<KvChanges> => {
      this.#checkOpen();
      return this.#reader.run((tables, nowMs) =>
        readKvChanges(tables, partition, prefix, at, nowMs),
      );
    };
    const onChange = (listen: () => void): (() => void) =>
      this.#listen(this.#channels.onChange(listen));
    return watchJournal(readChanges, onChange, cursor, signal);
  }

  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    this.#checkOpen();
    return this.#listen(this.#channels.subscribe(channel, listen));
  }

  async export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    this.#checkOpen();
    return this.#reader.run((tables, nowMs) => exportPage(tables, partition, cursor, limit, nowMs));
  }

  async import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    this.#tell(await this.#executor().import(partition, records));
  }

  async seal(partition: string, seal: Seal): Promise<void> {
    this.#tell(await this.#executor().seal(partition, seal));
  }

  async durability(): Promise<Durability> {
    this.#checkOpen();
    if ("executor" in this.#writes) return this.#writes.executor.durability();
    return { copies: 1, synced: "unknown", source: this.#reader.source() };
  }

  /** The writer's numbers: waits for the lock, checkpoints. */
  stats(): Promise<WriterStats> {
    try {
      return this.#executor().stats();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Adds jobs as one group inside the transaction that is open on the caller's own better-sqlite3
   * connection to this file.
   *
   * Guarantee: they stand or fall with that transaction; they can be claimed as soon as the next
   * commit has taken them in, which is asked for at once. Being facts by then, they are not refused
   * by `maxWaiting`.
   * Errors: `MISCONFIGURED` (no transaction, another file, another copy of SQLite, an `await`
   * inside the transaction), `ALREADY_EXISTS` (an id that another payload has), `MOVED`,
   * `TOO_LARGE` (the file's partitions), `UNAVAILABLE` (the file's lock); nothing of the group was
   * written then.
   * Complexity: one inserted row.
   */
  enqueueIn(tx: Database, partition: string, ops: readonly QueueEnqueue[]): void {
    this.#executor();
    this.#door.put(tx, partition, ops);
  }

  recordIn(tx: Database, partition: string, op: RunsRecord): RunState {
    this.#executor();
    return this.#records.write(tx, partition, op);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  async #close(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#stops.clear();
    this.#end?.cancel();
    this.#wake.stop();
    if ("executor" in this.#writes) await this.#writes.executor.close();
    this.#reader.close();
  }

  // ---------------------------------------------------------------- private

  #executor(): Executor {
    this.#checkOpen();
    if ("executor" in this.#writes) return this.#writes.executor;
    throw this.#writes.refusal;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) {
      const message = `The store ${this.#path} is closed: open a new one`;
      throw new HoldfastError("CLOSED", message, { outcome: "not-applied" });
    }
    if (process.pid !== this.#pid) {
      // A fork shares descriptors, and closing them in the one drops the locks of the other.
      const message = `Expected to be in process ${this.#pid}, which opened ${this.#path}, got process ${process.pid}: a SQLite connection can't be carried across a fork; open the store in each process`;
      throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
    }
  }

  #tell(committed: Committed): void {
    this.#hints.tell(committed, committed.isDirty);
  }

  /** Keeps the look-out for others' commits running while anybody listens. */
  #listen(stop: () => void): () => void {
    const end = (): void => {
      this.#stops.delete(end);
      stop();
      this.#lookOut();
    };
    this.#stops.add(end);
    this.#lookOut();
    return end;
  }

  #lookOut(): void {
    const isOn = this.#channels.isWatched && this.#closing === undefined;
    this.#end?.cancel();
    this.#end = undefined;
    if ("executor" in this.#writes) this.#writes.executor.keepAlive(isOn);
    if (isOn === this.#isLookingOut) return;
    if (isOn) return this.#watch(true);
    const end = (): void => this.#watch(false);
    this.#end = this.#clock.timer(LOOK_OUT_MS, end, { keepAlive: false });
  }

  #watch(isOn: boolean): void {
    this.#isLookingOut = isOn;
    // Taken here and now: what anybody commits after this call is news to whoever began to listen.
    const baseline = isOn ? this.#baseline() : null;
    if ("executor" in this.#writes) return this.#writes.executor.watch(baseline);
    this.#wake.stop();
    if (baseline === null) return;
    this.#foreign.start(baseline);
    this.#wake.start();
  }

  #baseline(): Baseline {
    try {
      return this.#foreign.baseline();
    } catch {
      // Hints may be lost; the next read or commit meets the same trouble, and has somebody to
      // tell.
      return { busNo: Number.MAX_SAFE_INTEGER, events: [] };
    }
  }

  #lookAround(): boolean {
    try {
      const foreign = this.#foreign.look();
      if (foreign === undefined) return false;
      this.#hints.tell(foreign, true);
      return true;
    } catch {
      return false;
    }
  }
}
