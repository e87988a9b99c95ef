/**
 * Reads, on the caller's thread and a connection of their own: each is one transaction, so that all
 * of it is of one state, and that state holds every commit acknowledged before. WAL lets readers go
 * on beside the writer; a read of one key takes about 10 us.
 */
import type { Clock } from "../../core/clock.ts";
import { StoreClock } from "../shared/embedded/store-clock.ts";
import { scalar } from "./database.ts";
import type { Database, Statement } from "./database.ts";
import { mapError } from "./errors.ts";
import { checkReadable, SchemaReader } from "./schema/migrate.ts";
import { SqliteTables } from "./tables.ts";

export class Reader {
  readonly #database: Database;
  readonly #path: string;
  readonly #clock: StoreClock;
  readonly #tables: SqliteTables;
  readonly #schema: SchemaReader;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  readonly #version: Statement;
  #knownVersion = -1;
  #highWaterMs = 0;

  constructor(database: Database, path: string, clock: Clock) {
    this.#database = database;
    this.#path = path;
    this.#clock = new StoreClock(clock);
    this.#tables = new SqliteTables(database);
    this.#schema = new SchemaReader(database);
    this.#begin = database.prepare("BEGIN");
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
    this.#version = database.prepare("PRAGMA data_version").pluck();
  }

  /** Runs a read in one state of the file. `work` must not write, and must not keep rows. */
  run<T>(work: (tables: SqliteTables, nowMs: number) => T): T {
    try {
      this.#begin.run();
      this.#refresh();
      const nowMs = this.#clock.nowMs(this.#highWaterMs);
      this.#tables.begin(nowMs);
      const result = work(this.#tables, nowMs);
      this.#commit.run();
      return result;
    } catch (error) {
      this.#undo();
      throw mapError(error, this.#path, undefined);
    }
  }

  #undo(): void {
    this.#knownVersion = -1;
    try {
      if (this.#database.inTransaction) this.#rollback.run();
    } catch {
      // Ends the transaction all the same; the error that led here is the one to tell.
    }
  }

  /** What was cached holds as long as nobody committed. */
  #refresh(): void {
    const version = this.#version.get() as number;
    if (version === this.#knownVersion) return;
    // A newer library may have migrated the file while we ran.
    checkReadable(this.#schema.read(), this.#path);
    this.#tables.reset();
    this.#highWaterMs = this.#tables.highWaterMs();
    this.#knownVersion = version;
  }

  /** The settings that say what a reader of the file may expect. */
  source(): string {
    return `SQLite journal_mode=${String(scalar(this.#database, "PRAGMA journal_mode"))} opened read-only`;
  }

  close(): void {
    this.#database.close();
  }
}
