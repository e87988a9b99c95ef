/**
 * From a path to a connection that may write: the mode is set, the tables are there and of a
 * version that we may write.
 */
import type { Clock } from "../../core/clock.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { systemRandom } from "../../core/random.ts";
import { openCopier, openWriter, prepareWriter } from "./database.ts";
import type { ConnectionSettings, Database, DatabaseClass } from "./database.ts";
import { isBusy, mapError } from "./errors.ts";
import type { Foreign } from "./foreign.ts";
import { WriteLock } from "./lock.ts";
import type { Pause } from "./lock.ts";
import {
  checkReadable,
  migrate,
  needsMigration,
  readSchema,
  writeRefusal,
} from "./schema/migrate.ts";
import { Writer } from "./writer.ts";

export interface Host {
  readonly clock: Clock;
  readonly pause: Pause;
  readonly onForeign: (foreign: Foreign) => void;
}

/**
 * A writer, or why there is none: the tables are of a version that only newer libraries may write.
 */
export type Opened = { readonly writer: Writer } | { readonly refusal: HoldfastError };

const RETRY_MS = 5;

/**
 * Opens the file for writing; makes it and its tables if they are missing.
 *
 * Going over to WAL, recovering the write-ahead file of a process that was killed, and removing it
 * when the last process leaves each need the file for themselves for a moment, and any first touch
 * of a connection may meet them: processes that start at once take turns, for `lockTimeoutMs` at
 * most.
 *
 * Errors: `MISCONFIGURED` (not a database, not writable, no WAL), `CORRUPT`, `INCOMPATIBLE` (not
 * even readable), `UNAVAILABLE` (the lock was not to be had). No connection is left open then.
 */
export async function openWriting(
  Class: DatabaseClass,
  settings: ConnectionSettings,
  host: Host,
): Promise<Opened> {
  const { path, lockTimeoutMs } = settings;
  const startMs = host.clock.monotonicMs();
  for (;;) {
    try {
      return await openOnce(Class, settings, host);
    } catch (error) {
      const isLate = host.clock.monotonicMs() - startMs >= lockTimeoutMs;
      if (isLate || !isBusy(error)) throw mapError(error, path, "not-applied");
    }
    await host.pause(RETRY_MS * (0.5 + systemRandom.next()));
  }
}

async function openOnce(
  Class: DatabaseClass,
  settings: ConnectionSettings,
  host: Host,
): Promise<Opened> {
  const { path } = settings;
  const { clock, pause, onForeign } = host;
  let database: Database | undefined;
  let copier: Database | undefined;
  try {
    database = openWriter(Class, settings);
    prepareWriter(database, settings);
    const state = readSchema(database);
    checkReadable(state, path);
    const refusal = writeRefusal(state, path);
    if (refusal !== undefined) {
      database.close();
      return { refusal };
    }
    if (needsMigration(state)) await migrateLocked(database, settings, host);
    copier = openCopier(Class, settings);
    const options = { settings, clock, random: systemRandom, pause, onForeign };
    return { writer: new Writer(database, copier, options) };
  } catch (error) {
    copier?.close();
    database?.close();
    throw error;
  }
}

/** Looks again inside the lock: another process may have done it meanwhile. */
async function migrateLocked(
  database: Database,
  settings: ConnectionSettings,
  host: Host,
): Promise<void> {
  const { path, lockTimeoutMs: timeoutMs } = settings;
  const { clock, pause } = host;
  const lock = new WriteLock(database, { path, clock, random: systemRandom, pause, timeoutMs });
  const waiting = lock.acquire();
  if (waiting !== undefined) await waiting;
  try {
    const state = migrate(database);
    checkReadable(state, path);
    const refusal = writeRefusal(state, path);
    if (refusal !== undefined) throw refusal;
    database.exec("COMMIT");
  } catch (error) {
    if (database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
