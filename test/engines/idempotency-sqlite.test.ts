/**
 * The tests of idempotency once more, on SQLite: inline, on the clock that the tests move; and two
 * processes of the host that race for the same keys of one file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import { sqlite } from "../../src/engines/sqlite/index.ts";
import { Kv } from "../../src/ports/kv/index.ts";
import { Store } from "../../src/store/store.ts";
import { engine } from "../kit/jobs.ts";
import { folder, Program } from "../kit/sqlite.ts";

const files = mkdtempSync(join(tmpdir(), "holdfast-idempotency-"));
afterAll(() => rmSync(files, { recursive: true, force: true }));

/** One file for each world. */
const worlds = new WeakMap<MemoryState, string>();
let count = 0;

engine.open = (state, clock) => {
  let file = worlds.get(state);
  if (file === undefined) worlds.set(state, (file = join(files, `${++count}.db`)));
  return sqlite(file, { thread: "off", clock });
};

await import("../../src/features/idempotency/idempotency.test.ts");
await import("../../src/features/idempotency/faults.test.ts");

const KEYS = 25;
const url = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;

/** A process that opens the file and waits for the word. `attempt` is what its handlers do. */
function caller(file: string, work: string): Program {
  const code = `
    const { Store } = await import(args[1]);
    const { idempotency } = await import(args[2]);
    const { Kv } = await import(args[3]);
    const store = await Store.open(await sqlite(args[0]), { sessionTtlMs: 1_000 });
    const calls = store.handle(idempotency("charges"));
    const kv = new Kv(store);
    const charge = (key, attempt) =>
      attempt.complete(key + " by " + attempt.token, [kv.op.add("charged", 1)]);
    say("ready");
    await heard();
    ${work}
    await store.close();`;
  const parts = ["store/store.ts", "features/idempotency/index.ts", "ports/kv/index.ts"];
  return new Program(code, file, ...parts.map(url));
}

async function charged(file: string): Promise<unknown> {
  const store = await Store.open(await sqlite(file));
  const value = await new Kv(store).get("charged");
  await store.close();
  return value?.value;
}

describe("two processes of the host on one file", () => {
  test("that race for the same keys do each effect once, and give equal answers", async () => {
    const file = join(folder(), "store.db");
    const work = `
      const keys = Array.from({ length: ${4 * KEYS} }, (_, i) => "k" + (i % ${KEYS}));
      say(await Promise.all(keys.map((key) => calls.run(key, key, charge))));`;
    const both = [caller(file, work), caller(file, work)];
    for (const program of both) expect(await program.hear()).toBe("ready");
    for (const program of both) program.go();
    const answers = await Promise.all(both.map((program) => program.hear()));
    expect(answers[0]).toEqual(answers[1]);
    expect(new Set(answers[0] as string[]).size).toBe(KEYS);
    for (const program of both) expect(await program.ended).toBe(0);
    expect(await charged(file)).toBe(KEYS);
  });

  test("of which one is killed in its handler: the other takes the key over", async () => {
    const file = join(folder(), "store.db");
    const dying = caller(
      file,
      `await calls.run("k", "k", async (key, attempt) => {
        await kv.put("seen", attempt.id);
        say(attempt.id);
        await new Promise(() => {});
      });`,
    );
    const living = caller(
      file,
      `let id;
      const answer = await calls.run("k", "k", (key, attempt) => {
        id = attempt.id;
        return charge(key, attempt);
      });
      say({ id, answer });`,
    );
    expect(await dying.hear()).toBe("ready");
    expect(await living.hear()).toBe("ready");
    dying.go();
    const id = await dying.hear();
    living.go();
    await dying.kill();
    expect(await living.hear()).toMatchObject({ id, answer: expect.stringMatching(/^k by \d+$/) });
    expect(await living.ended).toBe(0);
    expect(await charged(file)).toBe(1);
  });
});
