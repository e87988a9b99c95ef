/** Opening beside others: whatever touch of the file meets a lock, the opening goes on. */
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { expect, test } from "vitest";
import { folder } from "../../../test/kit/sqlite.ts";
import { systemClock } from "../../core/clock.ts";
import type { Database, DatabaseClass, DatabaseOptions, Statement } from "./database.ts";
import { openWriting } from "./open.ts";
import type { Opened } from "./open.ts";

function busy(): Error {
  return Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY_RECOVERY" });
}

/** Real connections, of which one call in their common count is refused. */
function refusing(isRefused: (call: number) => boolean): {
  readonly Class: DatabaseClass;
  readonly calls: () => number;
  readonly left: () => number;
} {
  let calls = 0;
  const open = new Set<Database>();
  const touch = <T>(work: () => T): T => {
    if (isRefused(++calls)) throw busy();
    return work();
  };
  const spied = (statement: Statement): Statement =>
    new Proxy(statement, {
      get(target, name): unknown {
        if (name === "raw" || name === "pluck") return () => spied(target[name]());
        const method = Reflect.get(target, name) as (...values: unknown[]) => unknown;
        return (...values: unknown[]) => touch(() => method.apply(target, values));
      },
    });
  class Spied extends BetterSqlite {
    constructor(path: string, options?: DatabaseOptions) {
      super(path, options);
      open.add(this);
    }
    override prepare(sql: string): never {
      return spied(touch(() => super.prepare(sql))) as never;
    }
    override exec(sql: string): this {
      // The end of a transaction is no touch that a lock can refuse.
      return sql === "ROLLBACK" ? super.exec(sql) : touch(() => super.exec(sql));
    }
    override close(): this {
      open.delete(this);
      return super.close();
    }
  }
  return {
    Class: Spied,
    calls: () => calls,
    left: () => open.size,
  };
}

const host = {
  clock: systemClock,
  pause: (ms: number): Promise<void> =>
    new Promise((resolve) => void systemClock.timer(ms, resolve)),
  onForeign: (): void => {},
};

function settings(lockTimeoutMs: number): Parameters<typeof openWriting>[1] {
  const path = join(folder(), "a.db");
  return { path, mode: "rwc", isSynced: true, maxPageCount: null, lockTimeoutMs };
}

async function close(opened: Opened): Promise<void> {
  if ("writer" in opened) await opened.writer.close();
}

test("a lock met at any touch of the file is waited for", async () => {
  const whole = refusing(() => false);
  await close(await openWriting(whole.Class, settings(10_000), host));
  expect(whole.calls()).toBeGreaterThan(40);
  for (let at = 1; at <= whole.calls(); at++) {
    const one = refusing((call) => call === at);
    // oxlint-disable-next-line no-await-in-loop -- one opening after another
    const opened = await openWriting(one.Class, settings(10_000), host);
    expect(Object.keys(opened)).toEqual(["writer"]);
    expect(one.calls()).toBeGreaterThan(at);
    // oxlint-disable-next-line no-await-in-loop -- one opening after another
    await close(opened);
    expect(one.left()).toBe(0);
  }
});

test("a lock that is never let go ends the opening after lockTimeoutMs, with nothing left open", async () => {
  const all = refusing(() => true);
  await expect(openWriting(all.Class, settings(30), host)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    retryable: true,
    outcome: "not-applied",
  });
  expect(all.left()).toBe(0);
});
