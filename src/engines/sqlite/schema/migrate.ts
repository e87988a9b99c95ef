/**
 * Versions of the tables. A library knows one number: the newest version it can make. A file says
 * which library versions may read it (`min_reader`) and write it (`min_writer`), so that several
 * versions of a program can share it during a rolling deploy:
 * a migration first expands (new tables, new columns with defaults: old readers and writers go on),
 * and only a later release contracts and raises the two minima.
 *
 * Several processes may start at once: each looks, takes the write lock, looks again inside it, and
 * only then migrates; one does the work and the others find it done. A migration is one
 * transaction: killed in the middle, it never happened.
 */
import { HoldfastError } from "../../../core/errors.ts";
import type { Database, Statement } from "../database.ts";
import { CREATE_V1 } from "./v1.ts";

/** Statements that bring the tables from one version to the next; the first makes them. */
const STEPS: readonly string[] = Object.freeze([CREATE_V1]);

/** The version that this library makes, and by which it is judged. */
export const SCHEMA_VERSION: number = STEPS.length;

export interface SchemaState {
  /** 0: there are no tables of ours yet. */
  readonly version: number;
  readonly minReader: number;
  readonly minWriter: number;
}

const HAS_META = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hf_meta'";
const READ_META = "SELECT version, min_reader, min_writer FROM hf_meta WHERE one = 1";

export function readSchema(database: Database): SchemaState {
  if (database.prepare(HAS_META).get() === undefined)
    return { version: 0, minReader: 0, minWriter: 0 };
  return new SchemaReader(database).read();
}

/** Reads the versions again and again, of a file that has them. */
export class SchemaReader {
  readonly #meta: Statement;

  constructor(database: Database) {
    this.#meta = database.prepare(READ_META).raw();
  }
  read(): SchemaState {
    const row = this.#meta.get() as [number, number, number] | undefined;
    const [version, minReader, minWriter] = row ?? [0, 0, 0];
    return { version, minReader, minWriter };
  }
}

/** Throws `INCOMPATIBLE` if this library can't even read the file. */
export function checkReadable(
  state: SchemaState,
  path: string,
  version: number = SCHEMA_VERSION,
): void {
  if (state.minReader <= version) return;
  const { minReader } = state;
  const message = `Expected ${path} to be readable by schema version ${version}, but it asks for version ${minReader} or later: use the newer Holdfast that wrote it`;
  throw new HoldfastError("INCOMPATIBLE", message, {
    outcome: "not-applied",
    details: { version, minReader },
  });
}

/**
 * The refusal of every write to a file that only newer libraries may write; undefined if this one
 * may.
 */
export function writeRefusal(
  state: SchemaState,
  path: string,
  version: number = SCHEMA_VERSION,
): HoldfastError | undefined {
  if (state.minWriter <= version) return undefined;
  const { minWriter } = state;
  const message = `Expected ${path} to be writable by schema version ${version}, but it asks for version ${minWriter} or later; reading works: use the newer Holdfast to write`;
  const details = { version, minWriter };
  return new HoldfastError("INCOMPATIBLE", message, { outcome: "not-applied", details });
}

/** True if the tables must be made or brought up to date. */
export function needsMigration(state: SchemaState): boolean {
  return state.version < SCHEMA_VERSION && state.minWriter <= SCHEMA_VERSION;
}

/** Brings the tables up to date. The caller holds the write lock, and commits. */
export function migrate(database: Database): SchemaState {
  for (;;) {
    const state = readSchema(database);
    const step = STEPS[state.version];
    if (step === undefined) return state;
    database.exec(step);
  }
}
