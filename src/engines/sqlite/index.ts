/**
 * The SQLite engine, the embedded default: one file, no server, several processes, synced at
 * acknowledgement.
 *
 * - `connect.ts` what a path and its options mean; `open.ts`, `schema/` from a path to tables of
 *   our version; `store.ts` the driver;
 * - `reader.ts` reads, on the caller's thread; `executor.ts`, `thread.ts`, `remote.ts`,
 *   `messages.ts`, `attention.ts` writes, in a thread of their own or inline;
 * - `writer.ts` one transaction at a time; `lock.ts` the write lock, fairly; `checkpoint.ts` the
 *   write-ahead file, bounded;
 * - `tables.ts` and its like: the state machine's tables in SQL;
 * - `intake.ts`, `break-off.ts` ops in the caller's own transaction; `wake.ts`, `foreign.ts`
 *   others' commits,
 *   without a server.
 */
import { HoldfastError } from "../../core/errors.ts";
import { plan } from "./connect.ts";
import type { SqliteOptions } from "./connect.ts";
import { loadSqlite, openReader } from "./database.ts";
import type { ConnectionSettings, Database, DatabaseClass } from "./database.ts";
import type { Clock } from "../../core/clock.ts";
import { mapError } from "./errors.ts";
import { LocalExecutor } from "./executor.ts";
import type { Foreign } from "./foreign.ts";
import { openWriting } from "./open.ts";
import { RemoteExecutor } from "./remote.ts";
import { checkReadable, readSchema } from "./schema/migrate.ts";
import { Hints, SqliteStore } from "./store.ts";
import type { Writes } from "./store.ts";

export type { SqliteOptions } from "./connect.ts";
export type { Database, DatabaseClass, Statement } from "./database.ts";
export type { LockStats } from "./lock.ts";
export type { CheckpointStats } from "./checkpoint.ts";
export type { WriterStats } from "./writer.ts";
export { SqliteStore } from "./store.ts";
export { CAPABILITIES as capabilities } from "./capabilities.ts";
export { WAL_BOUND_BYTES } from "./checkpoint.ts";
export { SCHEMA_VERSION } from "./schema/migrate.ts";

/**
 * Opens a file as a store; makes it, and its tables beside any others, if they are missing.
 *
 * Durability: WAL and `synchronous = FULL`: when a commit is acknowledged, the disk has it.
 * Errors: `MISCONFIGURED` (path, options, surroundings, not a database), `CORRUPT`, `INCOMPATIBLE`
 * (tables of a newer library that this one may not read), `UNAVAILABLE` (the lock was not to be had
 * in time). `TypeError`, `RangeError` for wrong options.
 */
export async function sqlite(path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const { settings, isThreaded, clock } = plan(path, options);
  const Class = await loadSqlite();
  const hints = new Hints();
  const onForeign = (foreign: Foreign): void => hints.tell(foreign, true);
  const writes = await openWrites(Class, settings, isThreaded, clock, onForeign);
  let reader: Database | undefined;
  try {
    reader = openReader(Class, settings);
    checkTables(reader, settings.path);
    return new SqliteStore({ path: settings.path, Class, reader, writes, clock }, hints);
  } catch (error) {
    reader?.close();
    if ("executor" in writes) await writes.executor.close();
    throw mapError(error, settings.path, "not-applied");
  }
}

async function openWrites(
  Class: DatabaseClass,
  settings: ConnectionSettings,
  isThreaded: boolean,
  clock: Clock,
  onForeign: (foreign: Foreign) => void,
): Promise<Writes> {
  if (settings.mode === "ro") return { refusal: readOnly(settings.path) };
  if (isThreaded) return RemoteExecutor.open(settings, onForeign);
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.timer(ms, resolve));
  const opened = await openWriting(Class, settings, { clock, pause, onForeign });
  if ("refusal" in opened) return opened;
  return { executor: new LocalExecutor(opened.writer, clock, onForeign) };
}

function readOnly(path: string): HoldfastError {
  const message = `Expected ${path} to be opened for writing, but it was opened with mode=ro: open it without`;
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}

/** A file that is only read must have our tables already. */
function checkTables(database: Database, path: string): void {
  const state = readSchema(database);
  checkReadable(state, path);
  if (state.version > 0) return;
  const message = `Expected ${path} to hold Holdfast's tables, found none: name another file, or open it once for writing`;
  throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}
