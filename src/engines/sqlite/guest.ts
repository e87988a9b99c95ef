/** Connections of the caller's own to the store's file: what must hold before one is written on. */
import { realpathSync } from "node:fs";
import { HoldfastError } from "../../core/errors.ts";
import { expected } from "../../core/options.ts";
import type { Database, DatabaseClass } from "./database.ts";

/** The store that it is to belong to. */
export interface Home {
  /** The store's file, resolved. */
  readonly path: string;
  readonly Class: DatabaseClass;
}

const FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'";

function misconfigured(message: string): HoldfastError {
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}

export function checkOpen(database: Database): void {
  if (database.inTransaction) return;
  const message =
    "Expected an open transaction on the connection given, got none: call it between BEGIN and COMMIT, or inside database.transaction(() => ...)";
  throw misconfigured(message);
}

/** Throws `TypeError` or `MISCONFIGURED`. */
export function checkGuest(database: Database, { path, Class }: Home): void {
  if (typeof database !== "object" || database === null || !("inTransaction" in database)) {
    throw new TypeError(expected("tx", "a better-sqlite3 connection", database));
  }
  // Another library's connection would bring a second copy of SQLite: see the head of
  // database.ts.
  if (!(database instanceof Class)) {
    const message =
      "Expected a connection of the better-sqlite3 that Holdfast uses, got one of another copy or library: two copies of SQLite on one file in one process lose each other's locks and corrupt it. Deduplicate better-sqlite3 (`npm ls better-sqlite3`)";
    throw misconfigured(message);
  }
  if (database.memory) {
    throw misconfigured(`Expected a connection to ${path}, got one to a database in memory`);
  }
  if (database.readonly) {
    throw misconfigured(`Expected a connection that may write ${path}, got a read-only one`);
  }
  const file = database.prepare(FILE).pluck().get() as string;
  if (realpathSync(file) !== path) {
    throw misconfigured(
      `Expected a connection to ${path}, got one to ${file}: open the store's own file`,
    );
  }
}
