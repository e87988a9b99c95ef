/**
 * The part of better-sqlite3 that this engine uses, typed by its shape, and how a connection is
 * opened.
 *
 * Only one copy of SQLite may be in a process. SQLite guards its files with POSIX locks, and those
 * belong to the process, not to the descriptor: when any copy of the library (or any code at all)
 * closes a descriptor of the file, every lock that the process holds on it is gone, and two writers
 * may then corrupt it. SQLite works around that within one copy by a table of its own; two copies
 * (`node:sqlite`, libsql, a second better-sqlite3) do not share one. For the same reason nothing in
 * this folder ever opens the database file or its `-shm` through `node:fs`; it asks for their
 * status at most. The `-wal` file carries no locks.
 *
 * Statements say `LIMIT ?+0`, never `LIMIT ?`: SQLite plans by the value of a bound limit, and so
 * compiles the statement anew each time one is bound (2.5 to 7 us); the sum is no bound limit to
 * it.
 */
import { HoldfastError } from "../../core/errors.ts";
import { sqliteCode } from "./errors.ts";

/** A column's value as better-sqlite3 gives it. */
export type Value = string | number | Uint8Array | null;

export interface Statement {
  run(...values: readonly unknown[]): {
    readonly changes: number;
    readonly lastInsertRowid: number | bigint;
  };
  get(...values: readonly unknown[]): unknown;
  all(...values: readonly unknown[]): unknown[];
  /** Rows as arrays. */
  raw(): Statement;
  /** The first column alone. */
  pluck(): Statement;
}

export interface Database {
  readonly name: string;
  readonly memory: boolean;
  readonly readonly: boolean;
  readonly open: boolean;
  readonly inTransaction: boolean;
  prepare(sql: string): Statement;
  exec(sql: string): unknown;
  close(): unknown;
}

export interface DatabaseOptions {
  readonly readonly?: boolean;
  readonly fileMustExist?: boolean;
  /** How long SQLite itself waits for a lock, blocking the thread. */
  readonly timeout?: number;
}

export type DatabaseClass = new (path: string, options?: DatabaseOptions) => Database;

/** Loads better-sqlite3; only an opened SQLite store needs it. */
export async function loadSqlite(): Promise<DatabaseClass> {
  try {
    const module = (await import("better-sqlite3")) as unknown as {
      readonly default: DatabaseClass;
    };
    return module.default;
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    const message = `Expected the package better-sqlite3 to load for a sqlite: URL, but it does not (${why}): run \`npm install better-sqlite3\` (Node 20 compiles it, which needs Python and a C++ compiler)`;
    throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied", cause });
  }
}

/**
 * Opens a connection. better-sqlite3 looks for its binary only now, and one of another Node version
 * does not load.
 */
function connect(Class: DatabaseClass, path: string, options: DatabaseOptions): Database {
  try {
    return new Class(path, options);
  } catch (cause) {
    if (sqliteCode(cause) !== undefined) throw cause;
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    const message = `Expected better-sqlite3 to have a binary for Node ${process.versions.node}, but it does not load (${why}): run \`npm rebuild better-sqlite3\``;
    throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied", cause });
  }
}

/** One value of one row, or undefined. */
export function scalar(
  database: Database,
  sql: string,
  ...values: readonly unknown[]
): Value | undefined {
  return database
    .prepare(sql)
    .pluck()
    .get(...values) as Value | undefined;
}

/** What every connection of ours needs to know. It crosses into the thread as plain data. */
export interface ConnectionSettings {
  readonly path: string;
  readonly mode: "ro" | "rw" | "rwc";
  readonly isSynced: boolean;
  /** The greatest size of the file in pages; null: no limit. */
  readonly maxPageCount: number | null;
  readonly lockTimeoutMs: number;
}

/**
 * How long a read may wait for the one thing that blocks readers: another process recovering the
 * write-ahead file.
 */
const READ_TIMEOUT_MS = 1_000;

/** Opens a connection that only reads. It blocks nobody and is blocked by nobody. */
export function openReader(Class: DatabaseClass, settings: ConnectionSettings): Database {
  const readonly = settings.mode === "ro";
  const options = { readonly, fileMustExist: true, timeout: READ_TIMEOUT_MS };
  const database = connect(Class, settings.path, options);
  // Not opened as read-only otherwise: a read-only connection can't recover the write-ahead file of
  // a process that was killed.
  return set(database, "PRAGMA query_only = ON");
}

/**
 * Opens a connection that writes. Its own waiting for locks is off (`lock.ts` waits, fairly and
 * without blocking). WAL lets readers go on while it writes; FULL syncs the write-ahead file at
 * every commit, NORMAL only at checkpoints. `fullfsync` matters on macOS alone, where a plain fsync
 * does not reach the disk.
 */
export function openWriter(Class: DatabaseClass, settings: ConnectionSettings): Database {
  const fileMustExist = settings.mode === "rw";
  return connect(Class, settings.path, { fileMustExist, timeout: 0 });
}

/**
 * Opens the connection that checkpoints beside the writer: SQLite refuses that inside a transaction
 * of the same connection.
 */
export function openCopier(Class: DatabaseClass, settings: ConnectionSettings): Database {
  const database = connect(Class, settings.path, { fileMustExist: true, timeout: 0 });
  const synchronous = settings.isSynced ? "FULL" : "NORMAL";
  return set(
    database,
    `PRAGMA synchronous = ${synchronous}; PRAGMA fullfsync = ON;
     PRAGMA checkpoint_fullfsync = ON; PRAGMA wal_autocheckpoint = 0`,
  );
}

/** A connection that can't be set up is closed. */
function set(database: Database, sql: string): Database {
  try {
    database.exec(sql);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** `wal_checkpoint(NOOP)`, without which each look at the write-ahead file would copy it. */
const OLDEST_SQLITE = "3.51.0";

/** Sets up a writing connection; `SQLITE_BUSY` means: try again. */
export function prepareWriter(database: Database, settings: ConnectionSettings): void {
  checkLibrary(database);
  checkEncoding(database, settings.path);
  const mode = scalar(database, "PRAGMA journal_mode = WAL");
  if (mode !== "wal") {
    const message = `Expected ${settings.path} to take journal mode WAL, got ${String(mode)}: it must lie on a local disk and not be opened exclusively elsewhere`;
    throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
  }
  database.exec(`PRAGMA synchronous = ${settings.isSynced ? "FULL" : "NORMAL"}`);
  database.exec("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON");
  // Sorting never spills to a file of its own.
  database.exec("PRAGMA temp_store = MEMORY");
  // Checkpoints are ours: see `checkpoint.ts`.
  database.exec("PRAGMA wal_autocheckpoint = 0");
  if (settings.maxPageCount !== null) {
    database.exec(`PRAGMA max_page_count = ${settings.maxPageCount}`);
  }
}

function checkLibrary(database: Database): void {
  const version = String(scalar(database, "SELECT sqlite_version()"));
  const asNumber = (text: string): number =>
    text.split(".").reduce((sum, part) => sum * 1_000 + Number(part), 0);
  if (asNumber(version) >= asNumber(OLDEST_SQLITE)) return;
  const message = `Expected SQLite ${OLDEST_SQLITE} or later, got ${version}: update better-sqlite3 to 12.9 or later`;
  throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}

/** Keys are in the order of their UTF-8 bytes only where text is stored so. */
function checkEncoding(database: Database, path: string): void {
  const encoding = scalar(database, "PRAGMA encoding");
  if (encoding === "UTF-8") return;
  const message = `Expected ${path} to store text as UTF-8, got ${String(encoding)}: give Holdfast a file of its own`;
  throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}
