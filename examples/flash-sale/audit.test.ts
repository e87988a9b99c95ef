import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  bank,
  bump,
  COUNT,
  ended,
  entryOf,
  isBook,
  isRefused,
  judge,
  run,
  stepIs,
  stockKey,
  wrongs,
} from "./audit.testing.ts";
import type { Plant } from "./audit.testing.ts";
import { PREFIX } from "./books.ts";
import { draftSale } from "./books.testing.ts";
import type { Draft } from "./books.testing.ts";

describe("a right sale", () => {
  test("has no wrongs, and its endings add up", () => {
    const report = run(draftSale(COUNT));
    expect(report.findings).toEqual([]);
    expect(wrongs(report)).toEqual({});
    expect(report.isClean).toBe(true);
    expect(report.tooEasy).toEqual([]);
    const { orders, completed, refused, returned, adjusted, failed, reasons } = report;
    expect(orders).toBe(COUNT);
    expect(completed + refused + returned + adjusted + failed).toBe(COUNT);
    expect(Math.min(completed, refused, returned, adjusted, failed)).toBeGreaterThan(0);
    expect(Math.min(reasons.expired, reasons.undeliverable, reasons.cancelled)).toBeGreaterThan(0);
    expect(Object.values(reasons).reduce((sum, count) => sum + count, 0)).toBe(failed);
    expect(report.refunds).toBeGreaterThan(0);
  });

  test("took from the first coming to the last end, by the store's clock", () => {
    const report = run(draftSale(COUNT));
    expect(report.seconds).toBe(2);
    expect(report.ordersPerSecond).toBe(COUNT / 2);
  });
});

const RUNS: readonly Plant[] = [
  [
    "a run that can't go on",
    ({ runs }) => void runs.splice(0, 1, { ...runs[0]!, finished: "dead" }),
    { lost: 1, misrecorded: 1 },
  ],
  [
    "a refused order without an entry",
    (draft) => void draft.keys.delete(entryOf(draft, isRefused).key),
    { lost: 1 },
  ],
  [
    "a run that has not ended",
    ({ runs }) => void runs.splice(0, 1, { ...runs[0]!, finished: null }),
    { nonTerminal: 1, misrecorded: 1 },
  ],
  [
    "a mail that was not sent yet",
    ({ mails }) => void mails.splice(0, 1, { ...mails[0]!, finished: null }),
    { nonTerminal: 1 },
  ],
  ["a second run", ({ runs }) => void runs.push(runs[0]!), { doubled: 1 }],
  [
    "a run in two places",
    ({ runs }) => void runs.splice(0, 1, { ...runs[0]!, places: 2 }),
    { doubled: 1 },
  ],
  [
    "a run that no order asked for",
    ({ runs }) => void runs.push({ ...runs[0]!, id: "1" }),
    { misrecorded: 1 },
  ],
  [
    "an order that failed of something else",
    ({ runs }) => {
      const at = runs.findIndex(({ result }) => result?.includes("expired"));
      const result = '{"ended":"failed","error":{"name":"TypeError","message":"x is no function"}}';
      runs.splice(at, 1, { ...runs[at]!, result });
    },
    { misrecorded: 1 },
  ],
  [
    "an entry that can't be read",
    (draft) => void draft.keys.set(`${PREFIX.ledger}1/post/9.1`, "{}"),
    { misrecorded: 1 },
  ],
  [
    "a kill that hurt nobody",
    (draft) =>
      void draft.keys.set(
        `${PREFIX.kill}1`,
        '{"what":"worker","pid":1,"session":"s","leases":0,"runs":[]}',
      ),
    { misrecorded: 1 },
  ],
  [
    "a kill of a run that was ended by the dead",
    (draft) => {
      const [id = ""] = ended(draft, "completed");
      const runs = [{ id, token: 1_000_000, isCompensating: false }];
      const record = { what: "worker", pid: 1, session: "s", leases: 1, runs };
      draft.keys.set(`${PREFIX.kill}1`, JSON.stringify(record));
    },
    { misrecorded: 1 },
  ],
  [
    "a kill in the middle of undoing an order that was completed",
    (draft) => {
      const [id = ""] = ended(draft, "completed");
      const runs = [{ id, token: 0, isCompensating: true }];
      const record = { what: "worker", pid: 1, session: "s", leases: 1, runs };
      draft.keys.set(`${PREFIX.kill}1`, JSON.stringify(record));
    },
    { misrecorded: 1 },
  ],
];

const COUNTERS: readonly Plant[] = [
  [
    "units that were sold and stayed",
    (draft) => bump(draft, stockKey(draft, 1), 5),
    { oversold: 5 },
  ],
  ["units that vanished", (draft) => bump(draft, stockKey(draft, 3), -3), { missing: 3 }],
  [
    "stock that is noted otherwise",
    (draft) => {
      const key = [...draft.keys.keys()].find((each) => each.startsWith(PREFIX.initial))!;
      bump(draft, key, 1);
    },
    { misrecorded: 1 },
  ],
  [
    "a balance that is out",
    (draft) => bump(draft, `${PREFIX.account}sales`, -7),
    { ledgerDifference: 7 },
  ],
  [
    "a tally that is out",
    (draft) => bump(draft, `${PREFIX.tally}completed`, 1),
    { misrecorded: 1 },
  ],
  [
    "a counter that is none",
    (draft) => void draft.keys.set(`${PREFIX.account}more`, '"x"'),
    { misrecorded: 1 },
  ],
];

describe("each wrong is found", () => {
  test.each([...RUNS, ...COUNTERS])("%s", (_, plant, expected) => {
    judge(plant, expected);
  });

  test("an order without a run", () => {
    const draft = draftSale(COUNT);
    const [id] = ended(draft, "refused");
    draft.runs.splice(
      draft.runs.findIndex((row) => row.id === id),
      1,
    );
    bump(draft, `${PREFIX.tally}refused`, -1);
    expect(wrongs(run(draft))).toEqual({ lost: 1 });
  });

  test("a return booked twice: its second entry, and what it moved", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(
      draft,
      ({ step, postings, moves }) => step === "book" && postings.length > 0 && moves.length > 0,
    );
    draft.keys.set(`${key}0`, JSON.stringify(entry));
    for (const { code, delta } of entry.moves) bump(draft, PREFIX.stock + code, delta);
    for (const { account, amountPence } of entry.postings) {
      bump(draft, PREFIX.account + account, amountPence);
    }
    const { doubled, ledgerDifference, ...others } = wrongs(run(draft));
    expect(doubled).toBe(1);
    // The bank paid once.
    expect(ledgerDifference).toBeGreaterThan(0);
    expect(others).toEqual({});
  });

  test("more sold than there was: below zero at that moment, and oversold at the end", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(
      draft,
      ({ step, moves }) => step === "reserve" && moves.length > 0,
    );
    const [move, ...moves] = entry.moves;
    const greedy = { ...entry, moves: [{ code: move!.code, delta: -1_000_000 }, ...moves] };
    draft.keys.set(key, JSON.stringify(greedy));
    const report = run(draft);
    expect(report.negativeStock).toBeGreaterThan(0);
    expect(report.oversold).toBeGreaterThan(0);
    expect(report.misrecorded).toBe(1);
  });

  test("below zero for a moment only, though it came right in the end", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(
      draft,
      (each) => isBook(each) && each.moves.some(({ delta }) => delta > 0),
    );
    const { code, delta } = entry.moves[0]!;
    // The goods left again before they came back.
    const value = draft.keys.get(key)!;
    draft.keys.delete(key);
    const others = [...draft.keys];
    draft.keys.clear();
    const taking = { ...entry, moves: [{ code, delta: -1_000_000 }], postings: [] };
    const giving = { ...entry, moves: [{ code, delta: 1_000_000 }], postings: [] };
    draft.keys.set(`${key}1`, JSON.stringify(taking));
    draft.keys.set(`${key}2`, JSON.stringify(giving));
    draft.keys.set(key, value);
    for (const [name, text] of others) draft.keys.set(name, text);
    expect(delta).toBeGreaterThan(0);
    expect(run(draft).negativeStock).toBe(1);
  });

  test("a refused order that moved stock", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(draft, isRefused);
    const code = stockKey(draft, 1).slice(PREFIX.stock.length);
    draft.keys.set(key, JSON.stringify({ ...entry, moves: [{ code, delta: -1 }] }));
    bump(draft, PREFIX.stock + code, -1);
    expect(wrongs(run(draft))).toEqual({ refusedMoved: 1 });
  });

  test("a failed order that kept its stock", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(draft, stepIs("release"));
    draft.keys.delete(key);
    for (const { code, delta } of entry.moves) bump(draft, PREFIX.stock + code, 0 - delta);
    expect(wrongs(run(draft))).toEqual({ notUndone: 1 });
  });

  test("a failed order that stands in the ledger", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(draft, stepIs("reverse"));
    draft.keys.delete(key);
    for (const { account, amountPence } of entry.postings) {
      bump(draft, PREFIX.account + account, 0 - amountPence);
    }
    const { notUndone, ledgerDifference, ...others } = wrongs(run(draft));
    expect(notUndone).toBe(1);
    expect(ledgerDifference).toBeGreaterThan(0);
    expect(others).toEqual({});
  });

  test("an entry that does not add up", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(draft, stepIs("post"));
    const postings = [...entry.postings, { account: "sales", amountPence: -3 }];
    draft.keys.set(key, JSON.stringify({ ...entry, postings }));
    bump(draft, `${PREFIX.account}sales`, -3);
    expect(wrongs(run(draft))).toEqual({ ledgerDifference: 3, misrecorded: 1 });
  });

  test("an order accepted for less than it says", () => {
    const draft = draftSale(COUNT);
    const { key, entry } = entryOf(
      draft,
      ({ step, moves, order }) =>
        step === "reserve" && moves.length > 1 && ended(draft, "completed").includes(order),
    );
    const { code, delta } = entry.moves[0]!;
    draft.keys.set(key, JSON.stringify({ ...entry, moves: entry.moves.slice(1) }));
    bump(draft, PREFIX.stock + code, 0 - delta);
    expect(wrongs(run(draft))).toEqual({ misrecorded: 1 });
  });

  test("money of a failed order that moved at the bank and in the ledger alike", () => {
    const draft = draftSale(COUNT);
    const row = draft.refunds.shift()!;
    bank(draft, row.pence);
    // The bank's own account is right by the payments, and out by the entries.
    const found = wrongs(run(draft));
    expect(found.notRefunded).toBe(1);
    expect(found.ledgerDifference).toBe(row.pence);
  });
});

describe("a run that was too easy", () => {
  test("no order was completed, none failed", () => {
    const none = { runs: [], mails: [], charges: [], refunds: [], credits: [] };
    const draft: Draft = { orders: new Map(), stock: new Map(), keys: new Map(), ...none };
    expect(run(draft).tooEasy).toEqual(["no order was completed", "no order failed"]);
  });

  test("fewer than 10 % met a shortage", () => {
    const report = run(draftSale(COUNT, 3));
    expect(report.isClean).toBe(true);
    const share = Math.floor((report.refused * 1_000) / COUNT) / 10;
    expect(share).toBeLessThan(10);
    expect(report.tooEasy).toEqual([`${share} % of the orders met a shortage, fewer than 10 %`]);
  });

  test("fewer kills than asked for, or none of some kind", () => {
    const draft = draftSale(COUNT);
    const worker = { what: "worker", pid: 1, session: "s", leases: 2 };
    const note = (no: number, record: object): void =>
      void draft.keys.set(`${PREFIX.kill}${no}`, JSON.stringify(record));
    note(1, { ...worker, runs: [] });
    expect(run(draft, 1).tooEasy).toEqual([]);
    expect(run(draft, 2).tooEasy).toEqual(["1 kills counted, fewer than the 2 asked for"]);
    note(2, { ...worker, runs: [] });
    note(3, { ...worker, runs: [] });
    expect(run(draft, 3).tooEasy).toEqual([
      "the payment service was not killed",
      "no kill found an order being undone",
    ]);
    note(2, { what: "payment", pid: 2, open: 1 });
    const { id } = draft.runs.find(({ finished }) => finished === "cancelled")!;
    note(3, { ...worker, runs: [{ id, token: 1, isCompensating: true }] });
    const report = run(draft, 3);
    expect(report.tooEasy).toEqual([]);
    expect(report).toMatchObject({
      kills: 3,
      paymentKills: 1,
      compensatingKills: 1,
      lostLeases: 4,
    });
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
