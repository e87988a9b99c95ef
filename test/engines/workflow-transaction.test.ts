/** Steps that are transactions of the user's own, on real files: in a thread, and inline. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { permanent } from "../../src/core/retry.ts";
import { unchecked } from "../../src/core/codec.ts";
import { memory } from "../../src/engines/memory/index.ts";
import { sqlite } from "../../src/engines/sqlite/index.ts";
import { workflow } from "../../src/features/workflow/index.ts";
import { Store } from "../../src/store/store.ts";

const post = workflow("post", {
  input: unchecked<number>(),
  output: unchecked<string>(),
  events: { go: unchecked<null>() },
  retry: { attempts: 3, backoff: { initialMs: 1, maxMs: 5 } },
});

let folder: string;
let file: string;
let ledger: Database.Database;
let count = 0;
const stores: Store[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-transaction-"));
  file = join(folder, `${++count}.db`);
});
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  ledger.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(thread: "on" | "off"): Promise<Store> {
  const store = await Store.open(await sqlite(file, { thread }), { sessionTtlMs: 2_000 });
  stores.push(store);
  ledger ??= new Database(file);
  if (!ledger.open) ledger = new Database(file);
  ledger.exec("CREATE TABLE IF NOT EXISTS ledger (run TEXT NOT NULL, amount INTEGER NOT NULL)");
  return store;
}

const rows = (): unknown[] => ledger.prepare("SELECT run, amount FROM ledger").raw().all();
const insert = (run: string, amount: number): void => {
  ledger.prepare("INSERT INTO ledger VALUES (?, ?)").run(run, amount);
};

describe.each(["on", "off"] as const)("with the thread %s", (thread) => {
  test("the rows and the step's record hold together, once; its value comes from the record", async () => {
    const store = await open(thread);
    const posts = store.handle(post);
    let calls = 0;
    const worker = posts.work(async (amount, run) => {
      const total = await run.transaction("post", ledger, ({ id }) => {
        calls++;
        expect(id).toBe("post/a/post");
        insert(run.id, amount);
        return amount * 2;
      });
      await run.waitFor("go");
      return `posted ${total}`;
    });
    const run = await posts.start(7, { id: "a" });
    await expect.poll(async () => (await posts.get("a"))?.status).toBe("waiting");
    await posts.send("a", "go", null);
    expect(await run.result()).toBe("posted 14");
    expect([calls, rows()]).toEqual([1, [["a", 7]]]);
    const kinds = (await posts.history("a"))?.map(({ kind, name }) => `${kind} ${name}`);
    expect(kinds).toContain("step post");
    await worker.close();
  });

  test("what it throws is rolled back, and tried again as its policy says", async () => {
    const store = await open(thread);
    const posts = store.handle(post);
    let calls = 0;
    posts.work(async (amount, run) => {
      await run.transaction("post", ledger, () => {
        insert(run.id, amount);
        if (++calls < 3) throw new Error("not yet");
      });
      const undone = await run
        .transaction("never", ledger, () => {
          insert(run.id, -1);
          throw permanent("no");
        })
        .catch((error: Error) => error.message);
      return `${undone} after ${calls}`;
    });
    const run = await posts.start(7);
    expect(await run.result()).toBe("no after 3");
    expect(rows()).toEqual([[run.id, 7]]);
  });

  test("one whose lease was lost writes nothing", async () => {
    const store = await open(thread);
    const other = await open(thread);
    const posts = store.handle(post);
    let isLost = false;
    posts.work(
      async (amount, run) => {
        await run.step("lose", async () => {
          if (isLost) return;
          isLost = true;
          // As a process that was stopped for longer than its lease: the store gives its run away.
          const lost = new Database(file);
          lost.prepare("UPDATE hf_lease SET token = token + 1").run();
          lost.close();
        });
        await run.transaction("post", ledger, () => insert(run.id, amount));
        return "posted";
      },
      { observe: () => {} },
    );
    await posts.start(7, { id: "a" });
    await expect.poll(() => isLost).toBe(true);
    await expect.poll(async () => (await other.handle(post).get("a"))?.status).not.toBe("ready");
    expect(rows()).toEqual([]);
  });

  test("many runs at once, each posting to one table beside appends of others, lose nothing", async () => {
    const store = await open(thread);
    const posts = store.handle(post);
    posts.work(
      async (amount, run) => {
        const [a] = await Promise.all([
          run.transaction("post", ledger, () => {
            insert(run.id, amount);
            return amount;
          }),
          run.step("beside", () => 1),
          run.transaction("again", ledger, () => insert(run.id, -amount)),
        ]);
        return String(a);
      },
      { concurrency: 20 },
    );
    const runs = await Promise.all(Array.from({ length: 50 }, (_, i) => posts.start(i + 1)));
    const results = await Promise.all(runs.map((run) => run.result()));
    expect(results).toEqual(runs.map((_, i) => String(i + 1)));
    expect(rows()).toHaveLength(100);
    expect(ledger.prepare("SELECT sum(amount) FROM ledger").pluck().get()).toBe(0);
  });
});

test("asynchronous work, an open transaction, another file and another engine are refused", async () => {
  const store = await open("on");
  const posts = store.handle(post);
  const stranger = new Database(join(folder, "other.db"));
  const codes: unknown[] = [];
  const noted = (error: { code?: unknown; message: string }): void => {
    codes.push(error.code ?? error.message);
  };
  const retry = { attempts: 1 };
  posts.work(async (_, run) => {
    await run.transaction("async", ledger, async () => insert("x", 1), { retry }).catch(noted);
    await run.transaction("stranger", stranger, () => 1, { retry }).catch(noted);
    ledger.exec("BEGIN");
    await run.transaction("open", ledger, () => 1, { retry }).catch(noted);
    ledger.exec("ROLLBACK");
    return "done";
  });
  expect(await (await posts.start(1)).result()).toBe("done");
  expect(codes).toEqual([expect.stringContaining("synchronous"), "MISCONFIGURED", "MISCONFIGURED"]);
  expect(rows()).toEqual([]);
  stranger.close();

  const other = await Store.open(memory());
  stores.push(other);
  const elsewhere = other.handle(post);
  let isCalled = false;
  elsewhere.work(async (_, run) => {
    const step = run.transaction("x", ledger, () => void (isCalled = true), { retry });
    return step.then(
      () => "held",
      (error: { code: string }) => error.code,
    );
  });
  expect(await (await elsewhere.start(1)).result()).toBe("UNSUPPORTED");
  expect(isCalled).toBe(true);
});
