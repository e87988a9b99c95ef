import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { audit } from "./audit.ts";
import type { AuditReport, Wrongs } from "./audit.ts";
import { PREFIX } from "./books.ts";
import type { LedgerEntry } from "./books.ts";
import { booksOf, draftSale } from "./books.testing.ts";
import type { Draft } from "./books.testing.ts";

function run(draft: Draft, kills = 0): AuditReport {
  return audit(booksOf(draft), { orders: draft.orders, stock: draft.stock, kills });
}

/** The wrongs that are not 0. */
function wrongs(report: AuditReport): Partial<Wrongs> {
  const { lost, doubled, oversold, missing, negativeStock } = report;
  const { nonTerminal, refusedMoved, misrecorded, ledgerDifference } = report;
  const all = { lost, doubled, oversold, missing, negativeStock };
  const rest = { nonTerminal, refusedMoved, misrecorded, ledgerDifference };
  return Object.fromEntries(Object.entries({ ...all, ...rest }).filter(([, count]) => count !== 0));
}

/** The first ledger key and entry that fits. */
function entryOf(
  draft: Draft,
  fits: (entry: LedgerEntry) => boolean,
): { key: string; entry: LedgerEntry } {
  for (const [key, value] of draft.keys) {
    if (!key.startsWith(PREFIX.ledger)) continue;
    const entry = JSON.parse(value) as LedgerEntry;
    if (fits(entry)) return { key, entry };
  }
  throw new Error("Expected such an entry in the draft");
}

function bump(draft: Draft, key: string, delta: number): void {
  draft.keys.set(key, String(Number(draft.keys.get(key) ?? "0") + delta));
}

function stockKey(draft: Draft, least: number): string {
  const found = [...draft.keys].find(
    ([key, value]) => key.startsWith(PREFIX.stock) && Number(value) >= least,
  );
  if (found === undefined) throw new Error("Expected a code with enough stock in the draft");
  return found[0];
}

const isSale = (entry: LedgerEntry): boolean => entry.ending === "completed";
const isRefused = (entry: LedgerEntry): boolean => entry.ending === "refused";

describe("a right sale", () => {
  test("has no wrongs, and its endings add up", () => {
    const report = run(draftSale(200));
    expect(wrongs(report)).toEqual({});
    expect(report.isClean).toBe(true);
    expect(report.tooEasy).toEqual([]);
    expect(report.findings).toEqual([]);
    const { orders, completed, refused, returned, adjusted } = report;
    expect(orders).toBe(200);
    expect(completed + refused + returned + adjusted).toBe(200);
    expect(Math.min(completed, refused, returned, adjusted)).toBeGreaterThan(0);
  });

  test("took from the first coming to the last end, by the store's clock", () => {
    const report = run(draftSale(200));
    expect(report.seconds).toBe(2);
    expect(report.ordersPerSecond).toBe(100);
  });
});

type Plant = readonly [what: string, plant: (draft: Draft) => void, expected: Partial<Wrongs>];

describe("each wrong is found", () => {
  const plants: readonly Plant[] = [
    ["an order without a job", (draft) => void draft.jobs.shift(), { lost: 1 }],
    [
      "a job that died",
      ({ jobs }) => void jobs.splice(0, 1, { ...jobs[0]!, finished: "dead" }),
      { lost: 1 },
    ],
    [
      "a job that was cancelled",
      ({ jobs }) => void jobs.splice(0, 1, { ...jobs[0]!, finished: "cancelled" }),
      { lost: 1 },
    ],
    [
      "a completed order without an entry",
      (draft) => {
        draft.keys.delete(entryOf(draft, isRefused).key);
        bump(draft, `${PREFIX.tally}refused`, -1);
      },
      { lost: 1 },
    ],
    [
      "a job that has not ended",
      ({ jobs }) => void jobs.splice(0, 1, { ...jobs[0]!, finished: null }),
      { nonTerminal: 1 },
    ],
    ["a second job", ({ jobs }) => void jobs.push(jobs[0]!), { doubled: 1 }],
    [
      "a job in two places",
      ({ jobs }) => void jobs.splice(0, 1, { ...jobs[0]!, places: 2 }),
      { doubled: 1 },
    ],
    [
      "units that were sold and stayed",
      (draft) => bump(draft, stockKey(draft, 1), 5),
      { oversold: 5 },
    ],
    ["units that vanished", (draft) => bump(draft, stockKey(draft, 3), -3), { missing: 3 }],
    [
      "stock that is noted otherwise",
      (draft) =>
        bump(
          draft,
          [...draft.keys.keys()].find((key) => key.startsWith(PREFIX.initial))!,
          1,
        ),
      { misrecorded: 1 },
    ],
    [
      "a balance that is out",
      (draft) => bump(draft, `${PREFIX.account}sales`, -7),
      {
        ledgerDifference: 7,
      },
    ],
    [
      "a tally that is out",
      (draft) => bump(draft, `${PREFIX.tally}completed`, 1),
      {
        misrecorded: 1,
      },
    ],
    [
      "a counter that is none",
      (draft) => void draft.keys.set(`${PREFIX.account}more`, '"x"'),
      { misrecorded: 1 },
    ],
    [
      "a job that no order asked for",
      ({ jobs }) => void jobs.push({ ...jobs[0]!, id: "1" }),
      {
        misrecorded: 1,
      },
    ],
    [
      "an entry that can't be read",
      (draft) => void draft.keys.set(`${PREFIX.ledger}1/9`, "{}"),
      { misrecorded: 1 },
    ],
    [
      "a result that says something else",
      ({ jobs }) => void jobs.splice(0, 1, { ...jobs[0]!, result: '{"ending":"lost"}' }),
      { misrecorded: 1 },
    ],
    [
      "a kill that hurt nobody",
      (draft) => void draft.keys.set(`${PREFIX.kill}1`, '{"pid":1,"session":"s","leases":0}'),
      { misrecorded: 1 },
    ],
    [
      "a kill of which the jobs know nothing",
      (draft) => void draft.keys.set(`${PREFIX.kill}1`, '{"pid":1,"session":"s","leases":2}'),
      { misrecorded: 1 },
    ],
  ];

  test.each(plants)("%s", (_, plant, expected) => {
    const draft = draftSale(200);
    plant(draft);
    const report = run(draft);
    expect(wrongs(report)).toEqual(expected);
    expect(report.isClean).toBe(false);
    expect(report.findings.length).toBeGreaterThan(0);
  });

  test("an order taken twice: its second entry, and what it moved", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(draft, ({ ending }) => ending === "returned");
    draft.keys.set(`${key}0`, JSON.stringify(entry));
    for (const { code, delta } of entry.moves) bump(draft, PREFIX.stock + code, delta);
    for (const { account, amountPence } of entry.postings) {
      bump(draft, PREFIX.account + account, amountPence);
    }
    expect(wrongs(run(draft))).toEqual({ doubled: 1 });
  });

  test("more sold than there was: below zero at that moment, and oversold at the end", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(draft, (entry) => isSale(entry) && entry.moves.length > 0);
    const [move, ...moves] = entry.moves;
    const greedy = { ...entry, moves: [{ code: move!.code, delta: -1_000_000 }, ...moves] };
    draft.keys.set(key, JSON.stringify(greedy));
    const report = run(draft);
    expect(report.negativeStock).toBeGreaterThan(0);
    expect(report.oversold).toBeGreaterThan(0);
    expect(report.misrecorded).toBe(1);
  });

  test("below zero for a moment only, though it came right in the end", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(
      draft,
      ({ ending, moves }) => ending === "returned" && moves.length > 0,
    );
    const { code, delta } = entry.moves[0]!;
    // The goods left again before they came back.
    const value = draft.keys.get(key)!;
    draft.keys.delete(key);
    const others = [...draft.keys];
    draft.keys.clear();
    const taking = { ...entry, moves: [{ code, delta: -1_000_000 }], postings: [] };
    const giving = { ...entry, moves: [{ code, delta: 1_000_000 + delta }], postings: [] };
    draft.keys.set(`${key}1`, JSON.stringify(taking));
    draft.keys.set(`${key}2`, JSON.stringify(giving));
    draft.keys.set(key, value);
    for (const [name, text] of others) draft.keys.set(name, text);
    expect(run(draft).negativeStock).toBe(1);
  });

  test("a refused order that moved stock", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(draft, isRefused);
    const code = stockKey(draft, 1).slice(PREFIX.stock.length);
    draft.keys.set(key, JSON.stringify({ ...entry, moves: [{ code, delta: -1 }] }));
    bump(draft, PREFIX.stock + code, -1);
    expect(run(draft).refusedMoved).toBe(1);
  });

  test("an entry that does not add up", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(draft, isSale);
    const postings = [...entry.postings, { account: "sales", amountPence: -3 }];
    draft.keys.set(key, JSON.stringify({ ...entry, postings }));
    bump(draft, `${PREFIX.account}sales`, -3);
    expect(wrongs(run(draft))).toEqual({ ledgerDifference: 3, misrecorded: 1 });
  });

  test("an order accepted for less than it says", () => {
    const draft = draftSale(200);
    const { key, entry } = entryOf(draft, (entry) => isSale(entry) && entry.moves.length > 1);
    const { code, delta } = entry.moves[0]!;
    draft.keys.set(key, JSON.stringify({ ...entry, moves: entry.moves.slice(1) }));
    bump(draft, PREFIX.stock + code, 0 - delta);
    expect(wrongs(run(draft))).toEqual({ misrecorded: 1 });
  });
});

describe("a run that was too easy", () => {
  test("no order was completed", () => {
    const draft: Draft = { orders: new Map(), stock: new Map(), jobs: [], keys: new Map() };
    expect(run(draft).tooEasy).toEqual(["no order was completed"]);
  });

  test("fewer than 10 % met a shortage", () => {
    const report = run(draftSale(200, 3));
    expect(report.isClean).toBe(true);
    const share = (report.refused * 100) / 200;
    expect(share).toBeLessThan(10);
    expect(report.tooEasy).toEqual([`${share} % of the orders met a shortage, fewer than 10 %`]);
  });

  test("fewer kills than asked for", () => {
    const draft = draftSale(200);
    draft.jobs.splice(0, 1, { ...draft.jobs[0]!, lost: 2 });
    draft.keys.set(`${PREFIX.kill}1`, '{"pid":1,"session":"s","leases":2}');
    expect(run(draft, 1).tooEasy).toEqual([]);
    expect(run(draft, 2).tooEasy).toEqual(["1 kills counted, fewer than the 2 asked for"]);
  });
});

test("the audit's program imports nothing of the library", () => {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const read = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(new URL(file, import.meta.url), "utf8");
    for (const [, name = ""] of text.matchAll(/^(?:import|export) [^;]*?from "([^"]+)";/gms)) {
      if (name.startsWith("./")) read(name);
      else packages.add(name);
    }
  };
  read("./audit-main.ts");
  expect(seen.size).toBeGreaterThan(8);
  expect(packages).toContain("better-sqlite3");
  expect([...packages].filter((name) => /^holdfast(?:\/|$)/.test(name))).toEqual([]);
});
