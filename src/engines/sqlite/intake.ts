/**
 * Ops in the caller's own better-sqlite3 transaction. They are written as rows of `hf_intake` on
 * the caller's connection, so that they stand or fall with the caller's own rows; the next commit
 * of anybody takes them in, in order, and as facts: no bound of a queue refuses them any more. A
 * crash at any point leaves both the caller's rows and the ops, or neither.
 *
 * A transaction here must be synchronous. An `await` between its BEGIN and COMMIT would hold the
 * file's write lock for as long as the event loop pleases, against every process. So at the first
 * op of a transaction a microtask is queued: a synchronous transaction is over before it runs. If
 * the transaction is still open then, it is rolled back, and everything that follows on the
 * connection throws until its COMMIT or ROLLBACK is called, so that no rest of it is written by
 * itself.
 */
import { realpathSync } from "node:fs";
import type { Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { expected } from "../../core/options.ts";
import type { Group, Op, QueueEnqueue } from "../../store/ops.ts";
import type { Database, DatabaseClass, Statement } from "./database.ts";
import { mapError } from "./errors.ts";

const INSERT = "INSERT INTO hf_intake (partition, ops) VALUES (?, ?)";
const SEALED = "SELECT moved_to FROM hf_partition WHERE name = ? AND is_sealed = 1";
const FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'";

// ---------------------------------------------------------------- rows

/** Bytes have no JSON form. */
interface Bytes {
  readonly base64: string;
}

function packData(data: Data): string | Bytes {
  return typeof data === "string" ? data : { base64: Buffer.from(data).toString("base64") };
}
function unpackData(data: string | Bytes): Data {
  return typeof data === "string" ? data : new Uint8Array(Buffer.from(data.base64, "base64"));
}

function packOps(ops: readonly QueueEnqueue[]): string {
  return JSON.stringify(ops.map((op) => ({ ...op, payload: packData(op.payload) })));
}
function unpackOps(text: string): Op[] {
  const ops = JSON.parse(text) as (Omit<QueueEnqueue, "payload"> & { payload: string | Bytes })[];
  return ops.map((op) => ({ ...op, payload: unpackData(op.payload) }));
}

// ---------------------------------------------------------------- taking in

const PENDING = "SELECT no, partition, ops FROM hf_intake ORDER BY no LIMIT ?+0";
const REMOVE = "DELETE FROM hf_intake WHERE no <= ?";
/** Groups taken in by one commit; the rest waits for the next. */
const GROUPS = LIMITS.groupsPerCommit;

/** The writer's side: reads the groups that wait, and removes them once they are taken in. */
export class Intake {
  readonly #pending: Statement;
  readonly #remove: Statement;
  #last = 0;

  constructor(database: Database) {
    this.#pending = database.prepare(PENDING).raw();
    this.#remove = database.prepare(REMOVE);
  }

  /** The first groups that wait, oldest first. */
  read(): Group[] {
    const rows = this.#pending.all(GROUPS) as [number, string, string][];
    this.#last = rows.at(-1)?.[0] ?? 0;
    return rows.map(([, partition, ops]) => ({ partition, ops: unpackOps(ops) }));
  }

  /** Removes what `read` gave, in the same transaction. True: more may wait. */
  remove(groups: readonly Group[]): boolean {
    if (groups.length > 0) this.#remove.run(this.#last);
    return groups.length === GROUPS;
  }
}

// ---------------------------------------------------------------- putting in

/** A connection of the caller's that has been found to be usable. */
interface Guest {
  readonly insert: Statement;
  readonly sealed: Statement;
  /** A microtask watches the transaction that is open now. */
  isWatched: boolean;
}

function misconfigured(message: string): HoldfastError {
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
}

const AWAITED =
  "Expected a synchronous transaction, but something was awaited between its BEGIN and COMMIT: it was rolled back, since it would have held the file's write lock against every process. Await before BEGIN or after COMMIT";

export interface IntakeDoorOptions {
  /** The store's file, resolved. */
  readonly path: string;
  readonly Class: DatabaseClass;
  /**
   * Called in the first microtask after a transaction ended: commits, so that what was put in is
   * taken in at once.
   */
  readonly onPut: () => void;
}

/** The caller's side: one per open store. */
export class IntakeDoor {
  readonly #options: IntakeDoorOptions;
  readonly #guests = new WeakMap<Database, Guest>();

  constructor(options: IntakeDoorOptions) {
    this.#options = options;
  }

  /**
   * Writes the ops as one group into the transaction that is open on `database`. Synchronous; see
   * the file's head.
   */
  put(database: Database, partition: string, ops: readonly QueueEnqueue[]): void {
    const guest = this.#guest(database);
    if (!database.inTransaction) {
      const message =
        "Expected an open transaction on the connection given, got none: call it between BEGIN and COMMIT, or inside database.transaction(() => ...)";
      throw misconfigured(message);
    }
    try {
      const sealed = guest.sealed.get(partition) as string | null | undefined;
      if (sealed !== undefined) throw moved(partition, sealed);
      guest.insert.run(partition, packOps(ops));
    } catch (error) {
      throw mapError(error, this.#options.path, "not-applied");
    }
    if (guest.isWatched) return;
    guest.isWatched = true;
    queueMicrotask(() => {
      guest.isWatched = false;
      if (database.open && database.inTransaction) breakOff(database);
      else this.#options.onPut();
    });
  }

  #guest(database: Database): Guest {
    const known = this.#guests.get(database);
    if (known !== undefined) return known;
    this.#check(database);
    const guest: Guest = {
      insert: database.prepare(INSERT),
      sealed: database.prepare(SEALED).pluck(),
      isWatched: false,
    };
    this.#guests.set(database, guest);
    return guest;
  }

  #check(database: Database): void {
    const { path, Class } = this.#options;
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
}

function moved(partition: string, movedTo: string | null): HoldfastError {
  const place = movedTo === null ? "" : ` to ${movedTo}`;
  const message = `Partition "${partition}" was sealed and moved${place}: open the store there`;
  return new HoldfastError("MOVED", message, {
    outcome: "not-applied",
    details: { partition, movedTo },
  });
}

function ownProperty(object: object, name: string): PropertyDescriptor | undefined {
  return Object.getOwnPropertyDescriptor(object, name);
}

/**
 * Rolls back and closes the connection to everything but the end of the transaction. What the
 * program still does in it must not be written by itself, in transactions of one statement each:
 * `query_only` refuses what was prepared before, and `prepare` and
 * `exec` say why until the program comes to its COMMIT or ROLLBACK.
 */
function breakOff(database: Database): void {
  database.exec("ROLLBACK");
  database.exec("PRAGMA query_only = ON");
  const exec = database.exec.bind(database);
  const prepare = database.prepare.bind(database);
  const own = ["exec", "prepare"].map((name) => [name, ownProperty(database, name)] as const);
  const heal = (): void => {
    for (const [name, property] of own) {
      if (property === undefined) Reflect.deleteProperty(database, name);
      else Object.defineProperty(database, name, property);
    }
    database.exec("PRAGMA query_only = OFF");
  };
  const refuse = (sql: unknown): void => {
    const word = /^\s*(\w+)/.exec(String(sql))?.[1]?.toUpperCase() ?? "";
    // A new transaction begins: the broken one is over for the program, too.
    if (word === "BEGIN") return heal();
    if (word === "ROLLBACK" || word === "COMMIT" || word === "END") heal();
    throw misconfigured(AWAITED);
  };
  const replace = (name: "exec" | "prepare", original: (sql: string) => unknown): void => {
    const value = (sql: string): unknown => {
      refuse(sql);
      return original(sql);
    };
    Object.defineProperty(database, name, { value, configurable: true, writable: true });
  };
  replace("exec", exec);
  replace("prepare", prepare);
}
