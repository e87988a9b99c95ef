/** Adding inside the caller's own SQLite transaction. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { sqlite } from "../../engines/sqlite/index.ts";
import { Store } from "../../store/store.ts";
import { queue } from "./definition.ts";

const mails = queue("mails", { input: z.object({ to: z.string() }), key: (mail) => mail.to });

let folder: string;
let store: Store;
let database: Database.Database;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-add-in-"));
  store = await Store.open(await sqlite(join(folder, "app.db")));
  database = new Database(join(folder, "app.db"));
  database.exec("CREATE TABLE users (name TEXT)");
});
afterEach(async () => {
  database.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("addIn", () => {
  test("adds the job if and when the transaction commits, together with its rows", async () => {
    const jobs = store.handle(mails);
    const signUp = database.transaction((name: string) => {
      database.prepare("INSERT INTO users VALUES (?)").run(name);
      return jobs.addIn(database, { to: name });
    });
    const added = signUp("ann");
    await using _ = jobs.work(async (mail) => `to ${mail.to}`);
    expect(await added.result({ timeoutMs: 5_000 })).toBe("to ann");
    expect((await jobs.get(added.id))?.key).toBe("ann");
  });
  test("leaves nothing of a transaction that is rolled back", async () => {
    const jobs = store.handle(mails);
    let id = "";
    const failing = database.transaction(() => {
      id = jobs.addIn(database, { to: "bob" }).id;
      throw new Error("changed my mind");
    });
    expect(() => failing()).toThrow("changed my mind");
    await jobs.add({ to: "ann" });
    expect(await jobs.get(id)).toBeNull();
    expect((await jobs.counts()).ready).toBe(1);
  });
  test("refuses a database without a transaction, and input that is wrong, with nothing written", async () => {
    const jobs = store.handle(mails);
    expect(() => jobs.addIn(database, { to: "ann" })).toThrow(
      expect.objectContaining({ code: "MISCONFIGURED" }),
    );
    const wrong = database.transaction(() => jobs.addIn(database, { to: 5 } as never));
    expect(() => wrong()).toThrow(expect.objectContaining({ code: "INVALID_DATA" }));
    const options = database.transaction(() => {
      jobs.addIn(database, { to: "ann" }, { delayMs: -1 });
    });
    expect(() => options()).toThrow(RangeError);
    await jobs.add({ to: "last" });
    expect(await jobs.counts()).toMatchObject({ ready: 1, scheduled: 0 });
  });
});
