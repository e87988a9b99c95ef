/**
 * The proofs, as anybody runs them: each holds on each engine in its short form, and each one's
 * broken variant fails, in the very checks that it breaks. A proof that can't fail proves nothing.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, type Holdfast } from "holdfast";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const main = fileURLToPath(new URL("../../dist/apps/cli/main.js", import.meta.url));

interface Report {
  readonly row: string;
  readonly engine: string;
  readonly isOk: boolean;
  readonly checks: readonly {
    readonly name: string;
    readonly isOk: boolean;
    readonly got: string;
  }[];
  readonly figures: readonly { readonly name: string; readonly value: number | null }[];
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly report: Report | undefined;
  readonly err: string;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-prove-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a proof; its temporary files go into the test's folder. */
function prove(args: readonly string[], onStart?: (pid: number) => void): Promise<Ended> {
  const child = spawn(process.execPath, [main, "prove", ...args, "--short", "--json"], {
    env: { ...process.env, TMPDIR: folder, HOLDFAST_URL: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  onStart?.(child.pid ?? 0);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const report = out === "" ? undefined : (JSON.parse(out) as Report);
      resolve({ code, signal, report, err });
    });
  });
}

function failed({ report }: Ended): readonly string[] {
  return (report?.checks ?? [])
    .filter(({ isOk }) => !isOk)
    .map(({ name, got }) => `${name}: ${got}`);
}

const ENGINES = [
  ["sqlite", []],
  ["memory", ["--engine", "memory:"]],
] as const;

/** What the broken variant of each row must be caught by. */
const BROKEN: Readonly<Record<string, readonly RegExp[]>> = {
  a7: [
    /compare-and-set increments lose none: the counter is \d+,/,
    /a read sees every write that was answered before it/,
    /never seen after its time/,
    /vanish within TTL \+ 1 s .* kill: never/,
    /misses no key: [1-9]\d* of/,
  ],
  b1: [/every promised mail arrived: \d+\/150, [1-9]\d* lost/],
};

const CHECKS: Readonly<Record<string, number>> = { a7: 14, b1: 6 };

describe.each(Object.keys(BROKEN))("prove %s", (row) => {
  describe.each(ENGINES)("on %s", (engine, args) => {
    test("holds", async () => {
      const ended = await prove([row, ...args]);
      expect(failed(ended)).toEqual([]);
      expect(ended).toMatchObject({ code: 0, err: "", report: { row, engine, isOk: true } });
      expect(ended.report?.checks).toHaveLength(CHECKS[row] ?? 0);
      expect(ended.report?.figures.every(({ value }) => value !== null)).toBe(true);
      expect(readdirSync(folder)).toEqual([]);
    });

    test("its broken variant fails where it is broken", async () => {
      const ended = await prove([row, ...args, "--broken"]);
      expect(ended).toMatchObject({ code: 1, err: "", report: { isOk: false } });
      const found = failed(ended);
      for (const pattern of BROKEN[row] ?? []) {
        expect(
          found.some((text) => pattern.test(text)),
          `${pattern} in ${found.join("; ")}`,
        ).toBe(true);
      }
    });
  });
});

function childrenOf(pid: number): readonly number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" }).split(
    "\n",
  );
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, parent, ...words]) => Number(parent) === pid && words.join(" ").includes("child.js"),
    )
    .map(([child]) => Number(child));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("an interrupted proof ends its processes and leaves nothing behind", async () => {
  let pid = 0;
  const running = prove(["a7"], (started) => (pid = started));
  await expect.poll(() => childrenOf(pid).length, { timeout: 30_000 }).toBeGreaterThanOrEqual(2);
  const children = childrenOf(pid);
  process.kill(pid, "SIGINT");
  expect(await running).toMatchObject({ code: 130, report: undefined });
  expect(children.filter(isAlive)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

/** The partition of the proof on the store, once it is there. */
async function partitionOf({ store }: Holdfast, row: string): Promise<string | undefined> {
  const { partitions } = await store.info();
  return partitions.map((each) => each.partition).find((name) => name.startsWith(`prove-${row}-`));
}

/** What the proof wrote and left behind. */
async function leftBy(url: string, row: string): Promise<readonly string[]> {
  await using hf = await connect(url);
  const partition = await partitionOf(hf, row);
  expect(partition).toBeDefined();
  const found: string[] = [];
  for (let cursor: string | null = null; ;) {
    const page = await hf.store.exportPage(partition ?? "", cursor, 1_000);
    found.push(...page.records.map(({ record }) => record));
    cursor = page.cursor;
    if (cursor === null) return found.filter((kind) => kind === "kv" || kind === "job");
  }
}

test("a proof on a user's own file leaves none of its keys and jobs there", async () => {
  const url = `sqlite:${join(folder, "app.db")}`;
  expect((await prove(["a7", "--engine", url])).code).toBe(0);
  expect(await leftBy(url, "a7")).toEqual([]);
});

test("nor does one that is interrupted when its workers are dead and hold jobs", async () => {
  const url = `sqlite:${join(folder, "app.db")}`;
  let pid = 0;
  const running = prove(["b1", "--engine", url], (started) => (pid = started));
  {
    await using hf = await connect(url);
    const held = async (): Promise<number> => {
      const partition = await partitionOf(hf, "b1");
      if (partition === undefined) return 0;
      const [queues] = await hf.store.read([{ read: "queue.stats", partition, queues: null }]);
      return queues.reduce((sum, { counts }) => sum + counts.leased, 0);
    };
    await expect.poll(held, { timeout: 30_000 }).toBeGreaterThan(10);
  }
  for (const child of childrenOf(pid)) process.kill(child, "SIGKILL");
  process.kill(pid, "SIGINT");
  expect(await running).toMatchObject({ code: 130, report: undefined });
  expect(await leftBy(url, "b1")).toEqual([]);
});
