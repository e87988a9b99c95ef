/** What becomes of a caller's transaction that was found open after an `await`. */
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Database } from "./database.ts";

const AWAITED =
  "Expected a synchronous transaction, but something was awaited between its BEGIN and COMMIT: it was rolled back, since it would have held the file's write lock against every process. Await before BEGIN or after COMMIT";

function awaited(): HoldfastError {
  return new HoldfastError("MISCONFIGURED", AWAITED, { outcome: "not-applied" });
}

/** While a statement is iterated the connection takes no other: then we ask again. */
const RETRY_MS = 2;

const REFUSED = ["exec", "prepare"] as const;

/**
 * Rolls back and closes the connection to everything but the end of the transaction. What the
 * program still does in it must not be written by itself, in transactions of one statement each:
 * `query_only` refuses what was prepared before, and `prepare` and `exec` say why until the program
 * comes to its COMMIT or ROLLBACK.
 *
 * A statement that is still iterated keeps the transaction (and the lock) until it ends: the
 * rollback comes as soon as the connection is free.
 */
export function breakOff(database: Database, clock: Clock): void {
  const exec = database.exec.bind(database);
  const prepare = database.prepare.bind(database);
  const own = REFUSED.map((name) => {
    return [name, Object.getOwnPropertyDescriptor(database, name)] as const;
  });
  let isOver = false;
  const undo = (): void => {
    if (isOver || !database.open) return;
    try {
      if (database.inTransaction) exec("ROLLBACK");
      exec("PRAGMA query_only = ON");
      isOver = true;
    } catch (error) {
      // How better-sqlite3 says that the connection is busy with an iterator.
      if (!(error instanceof TypeError)) throw error;
      clock.timer(RETRY_MS, undo, { keepAlive: false });
    }
  };
  const heal = (): void => {
    for (const [name, property] of own) {
      if (property === undefined) Reflect.deleteProperty(database, name);
      else Object.defineProperty(database, name, property);
    }
    exec("PRAGMA query_only = OFF");
  };
  const refuse = (sql: unknown): void => {
    const word = /^\s*(\w+)/.exec(String(sql))?.[1]?.toUpperCase() ?? "";
    if (!isOver) throw awaited();
    // A new transaction begins: the broken one is over for the program, too.
    if (word === "BEGIN") return heal();
    if (word === "ROLLBACK" || word === "COMMIT" || word === "END") heal();
    throw awaited();
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
  undo();
}
