/** `journals check` and `journals export` on a SQLite file with runs that wait. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "holdfast";
import { implement, unchecked, workflow, type Run } from "holdfast/workflow";
import type { ReplayReport, RunJournal } from "holdfast/workflow/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "./run.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const text = unchecked<string>();
const orders = workflow("orders", { input: text, events: { paid: text } });
const mails = workflow("mails", { input: text });
type Events = { readonly paid: string };

const old = implement(orders, async (input, each: Run<Events>) => {
  await each.step("charge", () => `secret of ${input}\u001b[2J`);
  return each.waitFor("paid");
});
const changed = implement(orders, async (_, each: Run<Events>) => {
  await each.step("pay", () => "");
  return each.waitFor("paid");
});

let folder: string;
let url: string;

/** A module that exports what the test gives it. */
function module(name: string, exported: Readonly<Record<string, unknown>>): string {
  const place = globalThis as unknown as Record<string, unknown>;
  place[`holdfast ${name}`] = exported;
  const lines = Object.keys(exported).map(
    (key) => `export const ${key} = globalThis["holdfast ${name}"].${key};`,
  );
  const path = join(folder, name);
  writeFileSync(path, lines.join("\n"));
  return path;
}

async function holdfast(...argv: string[]): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await run(argv, {
    env: { HOLDFAST_URL: url },
    out: (written) => (out += written),
    err: (written) => (err += written),
    columns: undefined,
    isErrTerminal: false,
    interrupt: () => new AbortController().signal,
  });
  return { code, out, err };
}
const check = (...argv: string[]): Promise<Ran> => holdfast("journals", "check", ...argv);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-journals-"));
  url = `sqlite:${join(folder, "app.db")}`;
  await using hf = await connect(url);
  const handle = hf.open(orders);
  await using _worker = handle.work(old.handler);
  for (const id of ["a", "b", "done"]) await handle.start(id, { id });
  await handle.send("done", "paid", "in full");
  await (await handle.start("done", { id: "done" })).result();
  const isAsleep = async (): Promise<boolean> => (await handle.list("waiting")).runs.length === 2;
  for (let i = 0; i < 500 && !(await isAsleep()); i++) await hf.store.clock.yield();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("journals check", () => {
  test("exits with 0 where all go on", async () => {
    const path = module("old.mjs", { old });
    expect(await check("--module", path)).toEqual({
      ...{ code: 0, out: "All 2 runs go on with this code.\n", err: "" },
    });
    const { code, out } = await check("--module", path, "--json");
    expect([code, JSON.parse(out)]).toEqual([0, { checked: 2, skipped: 0, broken: [] }]);
  });

  test("exits with 1 and a table of those that would break", async () => {
    const path = module("changed.mjs", { orders: changed, unrelated: 1 });
    const { code, out, err } = await check("--workflow", "orders", "--module", path);
    expect([code, err]).toEqual([1, ""]);
    expect(out).toMatch(/^WORKFLOW +RUN +STATE +RECORD +EXPECTED +FOUND\n/);
    expect(out).toMatch(/\norders +a +waiting +1 +step "charge" +step "pay"\n/);
    expect(out).toMatch(/\n2 of 2 runs would break\.\n$/);
    const asJson = await check("--module", path, "--state", "completed", "--json");
    expect(asJson.code).toBe(1);
    const { broken } = JSON.parse(asJson.out) as ReplayReport;
    expect(broken).toEqual([
      {
        ...{ workflow: "orders", run: "done", status: "completed", record: 1 },
        ...{ expected: 'step "charge"', found: 'step "pay"' },
      },
    ]);
    expect((await check("--module", path, "--limit", "1")).out).toContain("1 of 1 run would");
  });

  test("takes one export of several, and lists of them", async () => {
    const both = module("both.mjs", { old, changed, list: [old] });
    expect((await check("--module", `${both}#old`)).code).toBe(0);
    expect((await check("--module", `${both}#changed`)).code).toBe(1);
    expect((await check("--module", `${both}#list`)).code).toBe(0);
    const { code, err } = await check("--module", `${both}#gone`);
    expect([code, err]).toEqual([2, expect.stringMatching(/its exports are .*changed/)]);
  });

  test("says where there is something if there are no runs", async () => {
    const path = module("mails.mjs", { mails: implement(mails, async () => "") });
    const { code, out } = await check("--module", path);
    expect([code, out]).toEqual([0, "No runs of mails in default.\n"]);
    const elsewhere = await check("--module", path, "--namespace", "shop");
    expect(elsewhere.out).toContain("this store also holds default");
  });

  test("changes nothing", async () => {
    const before = await holdfast("inspect", "runs", "orders", "--json");
    await check("--module", module("again.mjs", { changed }));
    const after = await holdfast("inspect", "runs", "orders", "--json");
    expect(JSON.parse(after.out)).toEqual(JSON.parse(before.out));
  });

  test("exits with 2 for a command line that is wrong", async () => {
    const good = module("good.mjs", { old });
    const broken = join(folder, "broken.mjs");
    writeFileSync(broken, "throw new Error('It starts a server');");
    const cases: [string[], string][] = [
      [[], "Expected --module"],
      [["--module", join(folder, "gone.mjs")], "Expected --module to be a file that is there"],
      [["--module", broken], "It starts a server"],
      [["--module", module("none.mjs", { x: 1 })], "implement(definition, handler)"],
      [["--module", good, "--workflow", "mails"], "one of the module's (orders), got"],
      [["--module", good, "--state", "dead"], 'Unknown state "dead"'],
      [["--module", good, "--limit", "0"], "--limit"],
      [["--module", good, "--from", join(folder, "gone.jsonl")], "Expected --from"],
    ];
    for (const [argv, message] of cases) {
      const { code, out, err } = await check(...argv);
      expect([code, out], argv.join(" ")).toEqual([2, ""]);
      expect(err).toContain(message);
    }
  });
});

describe("journals export", () => {
  test("writes a line of JSON for each run, nothing raw in it, that the check takes", async () => {
    const { code, out, err } = await holdfast("journals", "export", "--workflow", "orders");
    expect([code, err]).toEqual([0, ""]);
    const lines = out.trimEnd().split("\n");
    const journals = lines.map((line) => JSON.parse(line) as RunJournal);
    expect(journals.map(({ run: id }) => id)).toEqual(["a", "b"]);
    expect(journals[0]?.records[0]?.value).toEqual({ v: "secret of a\u001b[2J" });
    expect(out).not.toContain("\u001b");
    const file = join(folder, "journals.jsonl");
    writeFileSync(file, out);
    const good = module("of-file.mjs", { old });
    expect((await check("--module", good, "--from", file)).out).toContain("All 2 runs go on");
    const bad = module("of-file-too.mjs", { changed });
    const checked = await check("--module", bad, "--from", file, "--limit", "1");
    expect([checked.code, checked.out]).toEqual([1, expect.stringContaining("1 of 1 run would")]);
    writeFileSync(file, JSON.stringify({ ...journals[0], format: 2 }));
    const newer = await check("--module", good, "--from", file);
    expect(newer.err).toContain("UNSUPPORTED: Expected a journal of format 1 or older");
  });

  test("writes those of a state, and so many", async () => {
    const lines = async (...argv: string[]): Promise<number> => {
      const { out } = await holdfast("journals", "export", "--workflow", "orders", ...argv);
      return out.split("\n").length - 1;
    };
    expect(await lines("--state", "completed")).toBe(1);
    expect(await lines("--limit", "1")).toBe(1);
    const { code, err } = await holdfast("journals", "export");
    expect([code, err]).toEqual([2, expect.stringContaining("Expected --workflow")]);
  });
});
