/**
 * The heart of the engine: one connection that writes, one transaction at a time. A transaction is
 * synchronous from BEGIN to COMMIT; only taking the lock may wait. It runs in the writer's thread,
 * or on the caller's (inline).
 *
 * A commit: take the lock (`lock.ts`); drop the caches if others committed; read the clock; take in
 * what users put into `hf_intake`; let the state machine decide and write; write back what was put
 * off; COMMIT. If nothing changed, COMMIT writes and syncs nothing.
 *
 * Failure: an error before COMMIT rolls back and drops the caches: not applied. COMMIT itself may
 * fail for want of space, before its last page (which makes it a commit) is written: not applied
 * after a rollback. If it fails by an I/O error its last page may have reached the disk, and a
 * recovery after a crash would find it there: unknown.
 *
 * Clock: the host's wall clock, read inside the write transaction, never below the greatest instant
 * stored (`StoreClock`).
 */
import { statSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Random } from "../../core/random.ts";
import type { Durability } from "../../store/capabilities.ts";
import type { Channel, ExportRecord, Seal } from "../../store/driver.ts";
import type { Group, GroupResult } from "../../store/ops.ts";
import { runCommit } from "../shared/embedded/machine.ts";
import type { Message } from "../shared/embedded/scope.ts";
import { StoreClock } from "../shared/embedded/store-clock.ts";
import { importPage, sealPartition } from "../shared/embedded/transfer.ts";
import { Checkpointer } from "./checkpoint.ts";
import type { CheckpointStats } from "./checkpoint.ts";
import { scalar } from "./database.ts";
import type { ConnectionSettings, Database, Statement } from "./database.ts";
import { mapError, sqliteCode } from "./errors.ts";
import { ForeignChanges } from "./foreign.ts";
import type { Baseline, Foreign } from "./foreign.ts";
import { Intake } from "./intake.ts";
import { WriteLock } from "./lock.ts";
import type { LockStats, Pause } from "./lock.ts";
import { SchemaReader, writeRefusal } from "./schema/migrate.ts";
import { SqliteTables } from "./tables.ts";
import { Wake } from "./wake.ts";

/** What a commit gives back: results, and who is to be told. */
export interface Committed {
  readonly results: readonly GroupResult[];
  readonly channels: readonly Channel[];
  readonly messages: readonly Message[];
  readonly isDirty: boolean;
}

export interface WriterStats {
  readonly lock: LockStats;
  readonly checkpoints: CheckpointStats;
}

export interface WriterOptions {
  readonly settings: ConnectionSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly pause: Pause;
  /** Others committed: what they did is told here, never inside a transaction. */
  readonly onForeign: (foreign: Foreign) => void;
}

interface Work {
  readonly committed: Committed;
  readonly hasWritten: boolean;
}

/**
 * The file's place is compared this often: a moved or deleted file would swallow commits in
 * silence.
 */
const FILE_CHECK_MS = 1_000;

const NOTHING: Committed = Object.freeze({
  results: [],
  channels: [],
  messages: [],
  isDirty: true,
});

export class Writer {
  readonly #database: Database;
  readonly #settings: ConnectionSettings;
  readonly #clock: Clock;
  readonly #storeClock: StoreClock;
  readonly #tables: SqliteTables;
  readonly #intake: Intake;
  readonly #schema: SchemaReader;
  readonly #lock: WriteLock;
  readonly #checkpointer: Checkpointer;
  readonly #foreign: ForeignChanges;
  readonly #wake: Wake;
  readonly #onForeign: (foreign: Foreign) => void;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  readonly #inode: number | undefined;
  readonly #waiting: (() => void)[] = [];
  #isActive = false;
  #isClosed = false;
  #highWaterMs = 0;
  /** False: the intake was found empty, and nobody else has written since. */
  #mayHaveIntake = true;
  /** The last transaction was undone: what was read in it may be lost. */
  #isStale = true;
  #fileCheckedMs = -Infinity;

  /**
   * Takes a connection that was set up (`prepareWriter`) over tables that are up to date, and one
   * that checkpoints.
   */
  constructor(database: Database, copier: Database, options: WriterOptions) {
    const { settings, clock, random, pause } = options;
    const { path, lockTimeoutMs: timeoutMs } = settings;
    this.#database = database;
    this.#settings = settings;
    this.#clock = clock;
    this.#storeClock = new StoreClock(clock);
    this.#tables = new SqliteTables(database);
    this.#intake = new Intake(database);
    this.#schema = new SchemaReader(database);
    this.#lock = new WriteLock(database, { path, clock, random, pause, timeoutMs });
    this.#checkpointer = new Checkpointer(database, copier);
    this.#foreign = new ForeignChanges(database);
    this.#wake = new Wake(path, clock, () => this.#lookAround());
    this.#onForeign = options.onForeign;
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
    this.#inode = this.#currentInode();
  }

  get stats(): WriterStats {
    return { lock: this.#lock.stats, checkpoints: this.#checkpointer.stats };
  }

  /** Commits the groups; see `StoreDriver.commit`. */
  commit(groups: readonly Group[]): Promise<Committed> {
    return this.#run((nowMs) => {
      const intake = this.#mayHaveIntake ? this.#intake.read() : [];
      const committed = runCommit(this.#tables, groups, nowMs, intake);
      this.#mayHaveIntake = this.#intake.remove(intake);
      return { committed, hasWritten: committed.isDirty || intake.length > 0 };
    });
  }

  /** Groups are left in the intake: a commit of nothing takes in more. */
  get hasIntake(): boolean {
    return this.#mayHaveIntake;
  }

  import(partition: string, records: readonly ExportRecord[]): Promise<Committed> {
    return this.#run((nowMs) => {
      importPage(this.#tables, partition, records, nowMs);
      return { committed: NOTHING, hasWritten: true };
    });
  }

  /**
   * Takes in everything that waits first: what users committed before the seal belongs under it.
   */
  seal(partition: string, seal: Seal): Promise<Committed> {
    return this.#run((nowMs) => {
      const channels: Channel[] = [];
      for (let hasMore = true; hasMore;) {
        const intake = this.#intake.read();
        const committed = runCommit(this.#tables, [], nowMs, intake);
        channels.push(...committed.channels);
        hasMore = this.#intake.remove(intake);
      }
      sealPartition(this.#tables, partition, seal);
      return { committed: { ...NOTHING, channels }, hasWritten: true };
    });
  }

  /** What an acknowledged commit has, read from the connection's settings. */
  durability(): Durability {
    const journal = String(scalar(this.#database, "PRAGMA journal_mode"));
    const level = Number(scalar(this.#database, "PRAGMA synchronous"));
    const name = ["OFF", "NORMAL", "FULL", "EXTRA"][level] ?? String(level);
    // NORMAL syncs at checkpoints alone, and nothing bounds the time until the next one.
    const synced = level >= 2 && journal === "wal" ? "yes" : "unknown";
    return { copies: 1, synced, source: `SQLite journal_mode=${journal} synchronous=${name}` };
  }

  /** Starts to look for what other processes did after the baseline, or stops (null). */
  watch(baseline: Baseline | null): void {
    if (this.#isClosed) return;
    this.#wake.stop();
    if (baseline === null) return;
    this.#foreign.start(baseline);
    this.#wake.start();
  }

  /** Housekeeping that nobody waits for, after a commit was answered. */
  afterCommit(): void {
    if (!this.#isActive && !this.#isClosed) this.#checkpointer.afterCommit();
  }

  /** Lets the transaction in progress end, then frees the connection. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    await this.#enter();
    this.#isClosed = true;
    this.#wake.stop();
    this.#leave();
    // The copier first: the last connection to go checkpoints, and removes the write-ahead file.
    this.#checkpointer.close();
    this.#database.close();
  }

  // ---------------------------------------------------------------- transactions

  async #run(work: (nowMs: number) => Work): Promise<Committed> {
    if (this.#isActive) await this.#enter();
    else this.#isActive = true;
    try {
      this.#checkOpen();
      if (this.#checkpointer.isRestartDue) await this.#restart();
      const waiting = this.#lock.acquire();
      if (waiting !== undefined) await waiting;
      return this.#transact(work);
    } catch (error) {
      throw mapError(error, this.#settings.path, "not-applied");
    } finally {
      this.#leave();
    }
  }

  /**
   * Holds the lock while the write-ahead file is copied, so that the next commit can start it
   * again.
   */
  async #restart(): Promise<void> {
    const waiting = this.#lock.acquire();
    if (waiting !== undefined) await waiting;
    try {
      this.#checkpointer.underLock();
    } finally {
      this.#rollback.run();
      this.#lock.released();
    }
  }

  /** First come, first served; the place is handed on, so that nobody slips in between. */
  async #enter(): Promise<void> {
    if (this.#isActive) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isActive = true;
  }
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isActive = false;
    else next();
  }

  #checkOpen(): void {
    if (!this.#isClosed) return;
    const message = `The store ${this.#settings.path} is closed: open a new one`;
    throw new HoldfastError("CLOSED", message, { outcome: "not-applied" });
  }

  #transact(work: (nowMs: number) => Work): Committed {
    let foreign: Foreign | undefined;
    try {
      foreign = this.#prepare();
      const nowMs = this.#storeClock.nowMs(this.#highWaterMs);
      this.#tables.begin(nowMs);
      const { committed, hasWritten } = work(nowMs);
      const queues = this.#tables.noteEvents(committed.channels);
      this.#tables.end(hasWritten);
      this.#noteOwn(committed.messages.length, queues);
      this.#end();
      return committed;
    } catch (error) {
      this.#undo();
      throw error;
    } finally {
      this.#lock.released();
      if (foreign !== undefined) this.#onForeign(foreign);
    }
  }

  #noteOwn(messages: number, queues: Parameters<ForeignChanges["noteOwn"]>[0]): void {
    // Queues matter to a look that is on; messages may be asked for by one that begins later.
    if (messages === 0 && !this.#wake.isOn) return;
    this.#foreign.noteOwn(queues, messages, messages === 0 ? 0 : this.#tables.lastBusNo());
  }

  /** The first look inside the lock: is the file still ours to write, and what did others do? */
  #prepare(): Foreign | undefined {
    this.#checkFile();
    if (!this.#lock.isForeign() && !this.#isStale) return undefined;
    this.#tables.reset();
    this.#mayHaveIntake = true;
    this.#highWaterMs = this.#tables.highWaterMs();
    // A newer library may have migrated the file while we ran.
    const refusal = writeRefusal(this.#schema.read(), this.#settings.path);
    if (refusal !== undefined) throw refusal;
    this.#isStale = false;
    return this.#wake.isOn ? this.#foreign.look() : undefined;
  }

  #end(): void {
    try {
      this.#commit.run();
    } catch (error) {
      this.#undo();
      const isUnknown = sqliteCode(error)?.startsWith("SQLITE_IOERR") === true;
      throw mapError(error, this.#settings.path, isUnknown ? "unknown" : "not-applied");
    }
  }

  #undo(): void {
    this.#tables.reset();
    this.#isStale = true;
    try {
      // Some errors (a full disk) have rolled back already.
      if (this.#database.inTransaction) this.#rollback.run();
    } catch {
      // Ends the transaction all the same; the error that led here is the one to tell.
    }
  }

  #currentInode(): number | undefined {
    return statSync(this.#settings.path, { throwIfNoEntry: false })?.ino;
  }

  #checkFile(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#fileCheckedMs < FILE_CHECK_MS) return;
    if (this.#currentInode() === this.#inode) {
      this.#fileCheckedMs = nowMs;
      return;
    }
    const message = `Expected ${this.#settings.path} to be the file that was opened, but it was moved, deleted or replaced: nothing written now would be found again. Open the store anew`;
    throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
  }

  /** A look outside of transactions, for those who wait. True if others committed. */
  #lookAround(): boolean {
    if (this.#isActive || this.#isClosed) return false;
    try {
      const foreign = this.#foreign.look();
      if (foreign === undefined) return false;
      this.#onForeign(foreign);
      return true;
    } catch {
      // Wake-ups are hints: the next commit meets the same trouble, and has somebody to tell.
      return false;
    }
  }
}
