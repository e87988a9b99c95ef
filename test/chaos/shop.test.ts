/**
 * The shop under kill -9, as anybody runs it: several real processes, one file, and the audit as a
 * program of its own. Then the audit itself under test: every wrong is planted in a copy of the
 * clean store by raw edits, and must be found.
 */
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const programs = fileURLToPath(new URL("../../dist-examples/flash-sale/", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

type Report = Readonly<Record<string, unknown>>;

let folder: string;
let clean: Ended;
let report: Report;
let store: string;
let input: string;

/** Runs a program of the example; its temporary files go into the test's folder. */
function run(
  program: string,
  args: readonly string[],
  onStart?: (pid: number, seen: () => string) => void,
): Promise<Ended> {
  const child = spawn(process.execPath, [join(programs, program), ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  onStart?.(child.pid ?? 0, () => out);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

function audit(path: string, kills: number): Promise<Ended> {
  const url = `sqlite:${path}`;
  const args = ["--engine", url, "--orders", input, "--kills", String(kills), "--json"];
  return run("audit-main.js", args);
}

function childrenOf(pid: number): readonly number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).split("\n");
  return lines
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "shop-test-"));
  store = join(folder, "shop.db");
  const args = "--processes 2 --kills 2 --count 150 --json".split(" ");
  clean = await run("main.js", [...args, "--engine", `sqlite:${store}`]);
  report = JSON.parse(clean.out || "{}") as Report;
  input = String(report["input"]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a sale through kill -9", () => {
  test("nothing is lost, doubled or oversold, and the run was hard enough", () => {
    expect(clean.err).toBe("");
    expect(report).toMatchObject({
      ...{ orders: 150, lost: 0, doubled: 0, oversold: 0, missing: 0, negativeStock: 0 },
      ...{ nonTerminal: 0, refusedMoved: 0, misrecorded: 0, ledgerDifference: 0 },
      ...{ kills: 2, isClean: true, tooEasy: [], findings: [] },
    });
    const count = (name: string): number => Number(report[name]);
    expect(count("completed")).toBeGreaterThan(0);
    expect(count("refused")).toBeGreaterThan(15);
    const ended = count("completed") + count("refused") + count("returned") + count("adjusted");
    expect(ended).toBe(150);
    expect(count("lostLeases")).toBeGreaterThanOrEqual(2);
    expect(count("restarts")).toBeGreaterThanOrEqual(2);
    expect(count("seconds")).toBeGreaterThan(0);
    expect(count("ordersPerSecond")).toBeGreaterThan(0);
    expect(clean.code).toBe(0);
  });

  test("--json prints one object and nothing else", () => {
    expect(clean.out.trimEnd().split("\n")).toHaveLength(1);
  });

  test("the file is left closed", () => {
    expect(existsSync(store)).toBe(true);
    expect(existsSync(`${store}-wal`)).toBe(false);
  });

  test("a store that holds a sale is left alone", async () => {
    const again = await run("main.js", ["--count", "10", "--engine", `sqlite:${store}`]);
    expect(again.err).toContain("found one");
    expect(again.code).toBe(2);
    expect((await audit(store, 2)).code).toBe(0);
  });

  test("an interrupt stops every process and leaves nothing behind", async () => {
    const place = join(folder, "interrupted");
    mkdirSync(place);
    let workers: readonly number[] = [];
    const ended = await run("main.js", ["--processes", "2"], (pid, seen) => {
      const look = setInterval(() => {
        if (!seen().includes("kill -9")) return;
        clearInterval(look);
        workers = childrenOf(pid);
        process.kill(pid, "SIGINT");
      }, 20);
    });
    expect(ended.err).toContain("Interrupted");
    expect(ended.code).toBe(130);
    expect(workers.length).toBeGreaterThan(0);
    expect(workers.filter(isAlive)).toEqual([]);
    const named = /sqlite:(\S+)/.exec(ended.out)?.[1] ?? store;
    expect(existsSync(named)).toBe(false);
  });

  test("an engine that several processes can't share is refused before anything starts", async () => {
    const ended = await run("main.js", ["--engine", "memory:"]);
    expect(ended.err).toContain("got memory");
    expect(ended.out).toBe("");
    expect(ended.code).toBe(2);
  });
});

describe("a shop that takes its orders in two commits", () => {
  test("has doubled orders after the same kills, and the audit finds them", async () => {
    const args = "--processes 2 --kills 4 --count 150 --broken --json".split(" ");
    const ended = await run("main.js", args);
    const found = JSON.parse(ended.out) as Report;
    expect(found["kills"]).toBe(4);
    expect(found["doubled"]).toBeGreaterThan(0);
    expect(found["isClean"]).toBe(false);
    expect(ended.code).toBe(1);
  });
});

/** The first entry whose ending is this. */
const ENTRY = `SELECT no FROM hf_kv
  WHERE key LIKE 'ledger/%' AND json_extract(value, '$.ending') = ?
  ORDER BY revision LIMIT 1`;
const JOB = "SELECT min(job) FROM hf_finished";
const SHELF = "SELECT min(no) FROM hf_kv WHERE key LIKE 'stock/%' AND CAST(value AS INTEGER) > 9";

type Plant = readonly [
  what: string,
  wrong: string,
  plant: (change: (sql: string, ...values: unknown[]) => void) => void,
];

const plants: readonly Plant[] = [
  [
    "an order's job is gone",
    "lost",
    (change) => {
      change(`DELETE FROM hf_job WHERE job = (${JOB})`);
      change(`DELETE FROM hf_finished WHERE job = (${JOB})`);
    },
  ],
  [
    "a completed order's entry is gone",
    "lost",
    (change) => {
      change(`DELETE FROM hf_kv WHERE no = (${ENTRY})`, "completed");
    },
  ],
  [
    "a job is dead",
    "lost",
    (change) => {
      change(`UPDATE hf_finished SET state = 2 WHERE job = (${JOB})`);
    },
  ],
  [
    "an order has two entries",
    "doubled",
    (change) => {
      change(
        `INSERT INTO hf_kv (partition, key, value, revision)
        SELECT partition, key || '0', value, revision + 1 FROM hf_kv WHERE no = (${ENTRY})`,
        "completed",
      );
    },
  ],
  [
    "a finished job waits as well",
    "doubled",
    (change) => {
      change(
        `INSERT INTO hf_ready (queue, rank, job) SELECT queue, 0, job FROM hf_finished LIMIT 1`,
      );
    },
  ],
  [
    "the shelf still has what was sold",
    "oversold",
    (change) => {
      change(
        `UPDATE hf_kv SET value = CAST(CAST(value AS INTEGER) + 5 AS TEXT) WHERE no = (${SHELF})`,
      );
    },
  ],
  [
    "the shelf lacks what nobody took",
    "missing",
    (change) => {
      change(
        `UPDATE hf_kv SET value = CAST(CAST(value AS INTEGER) - 5 AS TEXT) WHERE no = (${SHELF})`,
      );
    },
  ],
  [
    "a stock is below zero",
    "negativeStock",
    (change) => {
      change(`UPDATE hf_kv SET value = '-1' WHERE no = (${SHELF})`);
    },
  ],
  [
    "a stock was below zero, and came right",
    "negativeStock",
    (change) => {
      // Two entries out of nowhere that cancel each other.
      for (const [token, delta] of [
        [1, -1_000_000],
        [2, 1_000_000],
      ]) {
        change(
          `INSERT INTO hf_kv (partition, key, value, revision)
          SELECT partition, 'ledger/X/' || ?, json_set(value, '$.moves', json_array(
            json_object('code', substr(key, 7), 'delta', ?)),
            '$.order', 'X', '$.ending', 'returned',
            '$.postings', json('[]')), revision FROM (SELECT e.partition, s.key, e.value, e.revision
            FROM hf_kv s, hf_kv e WHERE s.no = (${SHELF}) AND e.no = (${ENTRY}))`,
          String(token),
          delta,
          "completed",
        );
      }
    },
  ],
  [
    "a job has not ended",
    "nonTerminal",
    (change) => {
      change(`INSERT INTO hf_ready (queue, rank, job) SELECT queue, 0, job FROM hf_finished
      WHERE job = (${JOB})`);
      change(`DELETE FROM hf_finished WHERE job = (${JOB})`);
    },
  ],
  [
    "a balance is a penny out",
    "ledgerDifference",
    (change) => {
      change(`UPDATE hf_kv SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
      WHERE key = 'account/sales'`);
    },
  ],
  [
    "an entry and its balance are a penny out",
    "ledgerDifference",
    (change) => {
      change(
        `UPDATE hf_kv SET value = json_set(value, '$.postings[0].amountPence',
        json_extract(value, '$.postings[0].amountPence') + 1) WHERE no = (${ENTRY})`,
        "completed",
      );
    },
  ],
  [
    "a refused order moved stock",
    "refusedMoved",
    (change) => {
      change(
        `UPDATE hf_kv SET value = json_set(value, '$.moves', json_array(json_object(
        'code', (SELECT substr(key, 7) FROM hf_kv WHERE no = (${SHELF})), 'delta', -1)))
        WHERE no = (${ENTRY})`,
        "refused",
      );
      change(
        `UPDATE hf_kv SET value = CAST(CAST(value AS INTEGER) - 1 AS TEXT) WHERE no = (${SHELF})`,
      );
    },
  ],
  [
    "a refused order took stock and said nothing",
    "missing",
    (change) => {
      change(
        `UPDATE hf_kv SET value = CAST(CAST(value AS INTEGER) - 1 AS TEXT) WHERE no = (${SHELF})`,
      );
    },
  ],
  ["no job knows of the kills", "misrecorded", (change) => change("UPDATE hf_job SET lost = 0")],
];

describe("the audit finds each wrong that is planted", () => {
  test.each(plants)("%s: %s", async (what, wrong, plant) => {
    const path = join(folder, `${what.replaceAll(" ", "-")}.db`);
    copyFileSync(store, path);
    const database = new Database(path);
    plant((sql, ...values) => {
      expect(database.prepare(sql).run(...values).changes, sql).toBeGreaterThan(0);
    });
    database.close();
    const ended = await audit(path, 2);
    const found = JSON.parse(ended.out) as Report;
    expect(found[wrong], JSON.stringify(found["findings"])).toBeGreaterThan(0);
    expect(found["isClean"]).toBe(false);
    expect(ended.code).toBe(1);
  });

  test("a store that is not there can't be audited", async () => {
    const ended = await audit(join(folder, "nowhere.db"), 0);
    expect(ended.code).toBe(2);
    expect(ended.out).toBe("");
  });

  test("the table says so too", async () => {
    const path = join(folder, "table.db");
    copyFileSync(store, path);
    const database = new Database(path);
    database.exec("UPDATE hf_kv SET value = '-7' WHERE key = 'account/sales'");
    database.close();
    const ended = await run("audit-main.js", ["--engine", `sqlite:${path}`, "--orders", input]);
    expect(ended.out).toContain("WRONG");
    expect(ended.out).toContain("The books are wrong.");
    expect(ended.code).toBe(1);
  });
});

describe("a run that was too easy fails, though nothing is wrong", () => {
  const cases: readonly (readonly [what: string, args: string, reason: string])[] = [
    ["goods for everybody", "--count 40 --stock 3", "met a shortage"],
    ["goods for nobody", "--count 15 --stock 0", "no order was completed"],
  ];
  test.each(cases)("%s", async (_, args, reason) => {
    const defaults = "--processes 1 --kills 0 --json".split(" ");
    const ended = await run("main.js", [...defaults, ...args.split(" ")]);
    const found = JSON.parse(ended.out) as { isClean: boolean; tooEasy: string[] };
    expect(found.tooEasy.join()).toContain(reason);
    expect(found.isClean).toBe(true);
    expect(ended.code).toBe(1);
  });

  test("fewer kills than were asked for", async () => {
    const ended = await audit(store, 3);
    const found = JSON.parse(ended.out) as { isClean: boolean; tooEasy: string[] };
    expect(found.tooEasy).toEqual(["2 kills counted, fewer than the 3 asked for"]);
    expect(ended.code).toBe(1);
  });
});
