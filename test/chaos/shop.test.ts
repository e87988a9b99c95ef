/**
 * The shop under kill -9, as anybody runs it: several real workers and a payment service, a file
 * each, and the audit as a program of its own. Then the audit itself under test: every wrong is
 * planted in a copy of the clean files by raw edits, and must be found.
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

/** More goods than by default, so that many orders get as far as being paid. */
const STOCK = "0.8";
const COUNT = 300;
const KILLS = 3;

function audit(path: string, kills: number): Promise<Ended> {
  const args = `--engine sqlite:${path} --orders ${input} --stock ${STOCK} --json`.split(" ");
  return run("audit-main.js", [...args, "--kills", String(kills)]);
}

/** Where the payment service has its file. */
function paymentsOf(path: string): string {
  return path.replace(/\.db$/, "-payments.db");
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
  const args = `--processes 2 --kills ${KILLS} --count ${COUNT} --stock ${STOCK} --json`.split(" ");
  clean = await run("main.js", [...args, "--engine", `sqlite:${store}`]);
  report = JSON.parse(clean.out || "{}") as Report;
  input = String(report["input"]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a sale through kill -9", () => {
  test("nothing is lost, doubled, oversold or charged for nothing, and the run was hard enough", () => {
    expect(clean.err).toBe("");
    expect(report).toMatchObject({
      ...{ orders: COUNT, lost: 0, doubled: 0, oversold: 0, missing: 0, negativeStock: 0 },
      ...{ nonTerminal: 0, refusedMoved: 0, notUndone: 0, misrecorded: 0, ledgerDifference: 0 },
      ...{ notCharged: 0, doubleCharged: 0, notRefunded: 0, doubleRefunded: 0 },
      ...{ unconfirmed: 0, doubleConfirmed: 0 },
      ...{ kills: KILLS, paymentKills: 1, isClean: true, tooEasy: [], findings: [] },
    });
    const count = (name: string): number => Number(report[name]);
    expect(count("completed")).toBeGreaterThan(0);
    expect(count("failed")).toBeGreaterThan(0);
    expect(count("refused")).toBeGreaterThan(COUNT / 10);
    expect(count("compensatingKills")).toBeGreaterThan(0);
    const ended = count("completed") + count("refused") + count("returned") + count("adjusted");
    expect(ended + count("failed")).toBe(COUNT);
    expect(count("lostLeases")).toBeGreaterThanOrEqual(2);
    expect(count("restarts")).toBeGreaterThanOrEqual(KILLS);
    expect(count("seconds")).toBeGreaterThan(0);
    expect(count("ordersPerSecond")).toBeGreaterThan(0);
    expect(clean.code).toBe(0);
  });

  test("--json prints one object and nothing else", () => {
    expect(clean.out.trimEnd().split("\n")).toHaveLength(1);
  });

  test("both files are left closed", () => {
    for (const file of [store, paymentsOf(store)]) {
      expect(existsSync(file)).toBe(true);
      expect(existsSync(`${file}-wal`)).toBe(false);
    }
  });

  test("a store that holds a sale is left alone", async () => {
    const again = await run("main.js", ["--count", "10", "--engine", `sqlite:${store}`]);
    expect(again.err).toContain("found one");
    expect(again.code).toBe(2);
    expect((await audit(store, KILLS)).code).toBe(0);
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

describe("a shop that takes its orders without care", () => {
  test("has doubled and half-done orders after the same kills, and the audit finds them", async () => {
    const args = `--processes 2 --kills 4 --count 150 --stock ${STOCK} --broken --json`.split(" ");
    const ended = await run("main.js", args);
    const found = JSON.parse(ended.out) as Report;
    expect(found["kills"]).toBe(4);
    expect(found["doubled"]).toBeGreaterThan(0);
    expect(Number(found["doubleCharged"]) + Number(found["doubleConfirmed"])).toBeGreaterThan(0);
    expect(found["isClean"]).toBe(false);
    expect(ended.code).toBe(1);
  });
});

/** The first entry of that step. */
const ENTRY = `SELECT no FROM hf_kv
  WHERE key LIKE 'ledger/%' AND json_extract(value, '$.step') = ?
  ORDER BY revision LIMIT 1`;
const MAIL = "SELECT min(no) FROM hf_kv WHERE key LIKE 'mail/%/confirmed/%'";
/** The first run that completed. */
const JOB = `SELECT min(f.job) FROM hf_finished f JOIN hf_queue q ON q.no = f.queue
  WHERE q.name LIKE '$run/%' AND f.state = 0`;
const SHELF = "SELECT min(no) FROM hf_kv WHERE key LIKE 'stock/%' AND CAST(value AS INTEGER) > 9";
/** The first charge that stands. */
const CHARGE = `SELECT min(key) FROM charge
  WHERE outcome = 'charged' AND key NOT IN (SELECT key FROM refund)`;

type Change = (sql: string, ...values: unknown[]) => void;
type Plant = readonly [
  what: string,
  wrong: string,
  plant: (store: Change, payments: Change) => void,
];

const plants: readonly Plant[] = [
  [
    "an order's run is gone",
    "lost",
    (change) => {
      change(`DELETE FROM hf_job WHERE job = (${JOB})`);
      change(`DELETE FROM hf_finished WHERE job = (${JOB})`);
    },
  ],
  [
    "a refused order's entry is gone",
    "lost",
    (change) => {
      change(`DELETE FROM hf_kv WHERE no = (${ENTRY})`, "refuse");
    },
  ],
  [
    "a run is dead",
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
        "post",
      );
    },
  ],
  [
    "a finished run waits as well",
    "doubled",
    (change) => {
      change(
        `INSERT INTO hf_ready (queue, rank, job) SELECT queue, 0, job FROM hf_finished
        WHERE job = (${JOB})`,
      );
    },
  ],
  [
    "a failed order kept its stock",
    "notUndone",
    (change) => {
      change(`DELETE FROM hf_kv WHERE no = (${ENTRY})`, "release");
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
          SELECT partition, 'ledger/X/book/1.' || ?, json_set(value, '$.moves', json_array(
            json_object('code', substr(key, 7), 'delta', ?)),
            '$.order', 'X', '$.step', 'book',
            '$.postings', json('[]')), revision FROM (SELECT e.partition, s.key, e.value, e.revision
            FROM hf_kv s, hf_kv e WHERE s.no = (${SHELF}) AND e.no = (${ENTRY}))`,
          String(token),
          delta,
          "post",
        );
      }
    },
  ],
  [
    "a run has not ended",
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
        "post",
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
        "refuse",
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
  [
    "a run was ended by who was dead",
    "misrecorded",
    (change) => {
      change(`UPDATE hf_finished SET result = json_set(result, '$.token', '0')
        WHERE state = 0 AND json_extract(result, '$.token') IS NOT NULL`);
    },
  ],
  [
    "a completed order was not charged",
    "notCharged",
    (_, payments) => {
      payments(`DELETE FROM charge WHERE key = (${CHARGE})`);
    },
  ],
  [
    "an order was charged twice",
    "doubleCharged",
    (_, payments) => {
      payments(`INSERT INTO charge SELECT key || '0', order_no, pence, outcome FROM charge
        WHERE key = (${CHARGE})`);
    },
  ],
  [
    "a failed order was charged after all",
    "notRefunded",
    (_, payments) => {
      payments("UPDATE charge SET outcome = 'charged' WHERE outcome = 'declined'");
    },
  ],
  [
    "a return was not paid out",
    "notRefunded",
    (_, payments) => {
      payments("DELETE FROM credit WHERE key = (SELECT min(key) FROM credit)");
    },
  ],
  [
    "a completed order was paid back as well",
    "doubleRefunded",
    (_, payments) => {
      payments(
        `INSERT INTO credit SELECT key, order_no, pence FROM charge WHERE key = (${CHARGE})`,
      );
    },
  ],
  [
    "a customer was not told",
    "unconfirmed",
    (change) => {
      change(`DELETE FROM hf_kv WHERE no = (${MAIL})`);
    },
  ],
  [
    "a customer was told twice",
    "doubleConfirmed",
    (change) => {
      change(`INSERT INTO hf_kv (partition, key, value, revision)
        SELECT partition, key || '0', value, revision FROM hf_kv WHERE no = (${MAIL})`);
    },
  ],
];

describe("the audit finds each wrong that is planted", () => {
  test.each(plants)("%s: %s", async (what, wrong, plant) => {
    const path = join(folder, `${what.replaceAll(" ", "-")}.db`);
    const databases = [path, paymentsOf(path)].map((file) => {
      copyFileSync(file === path ? store : paymentsOf(store), file);
      return new Database(file);
    });
    const [change, payments] = databases.map((database): Change => (sql, ...values) => {
      expect(database.prepare(sql).run(...values).changes, sql).toBeGreaterThan(0);
    });
    plant(change!, payments!);
    for (const database of databases) database.close();
    const ended = await audit(path, KILLS);
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
    copyFileSync(paymentsOf(store), paymentsOf(path));
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
    const ended = await audit(store, KILLS + 1);
    const found = JSON.parse(ended.out) as { isClean: boolean; tooEasy: string[] };
    expect(found.tooEasy).toEqual([
      `${KILLS} kills counted, fewer than the ${KILLS + 1} asked for`,
    ]);
    expect(ended.code).toBe(1);
  });
});
