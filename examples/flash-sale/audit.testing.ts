/** What the tests of the audit share: right sales, and ways to find things in them. */
import { expect } from "vitest";
import { audit, WRONGS } from "./audit.ts";
import type { AuditReport, PaymentRow, Wrongs } from "./audit.ts";
import { PREFIX } from "./books.ts";
import type { EntryStep, LedgerEntry } from "./books.ts";
import { booksOf, draftSale, paymentsOf } from "./books.testing.ts";
import type { Draft } from "./books.testing.ts";

export function run(draft: Draft, kills = 0): AuditReport {
  const task = { orders: draft.orders, stock: draft.stock, kills };
  return audit(booksOf(draft), paymentsOf(draft), task);
}

/** The wrongs that are not 0. */
export function wrongs(report: AuditReport): Partial<Wrongs> {
  const counts = WRONGS.map((wrong) => [wrong, report[wrong]] as const);
  return Object.fromEntries(counts.filter(([, count]) => count !== 0));
}

/** The first ledger key and entry that fits. */
export function entryOf(
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

export function bump(draft: Draft, key: string, delta: number): void {
  draft.keys.set(key, String(Number(draft.keys.get(key) ?? "0") + delta));
}

export function stockKey(draft: Draft, least: number): string {
  const found = [...draft.keys].find(
    ([key, value]) => key.startsWith(PREFIX.stock) && Number(value) >= least,
  );
  if (found === undefined) throw new Error("Expected a code with enough stock in the draft");
  return found[0];
}

export const stepIs =
  (step: EntryStep) =>
  (entry: LedgerEntry): boolean =>
    entry.step === step;
export const isBook = stepIs("book");
export const isRefused = stepIs("refuse");

/** Numbers of the orders that ended so. */
export function ended(draft: Draft, ending: string): string[] {
  const text = JSON.stringify(ending);
  return draft.runs.filter(({ result }) => result?.includes(text)).map(({ id }) => id);
}

/** An order that was completed and cost something. */
export function paidOrder(draft: Draft): string {
  const completed = new Set(ended(draft, "completed"));
  return draft.charges.find(({ order }) => completed.has(order))!.order;
}

/** Takes the order's first row out of the list. */
export function takeOut(rows: PaymentRow[], order: string): void {
  rows.splice(
    rows.findIndex((row) => row.order === order),
    1,
  );
}

export function mailKey(draft: Draft, kind: string): string {
  return [...draft.keys.keys()].find((key) => key.includes(`/${kind}/`))!;
}

/** The bank's account as if the payments were right: so that only one thing is wrong. */
export function bank(draft: Draft, delta: number): void {
  bump(draft, `${PREFIX.account}bank`, delta);
}

/** Orders of the sales: enough for something of each kind. */
export const COUNT = 400;

export type Plant = readonly [
  what: string,
  plant: (draft: Draft) => void,
  expected: Partial<Wrongs>,
];

/** Plants something in a right sale: nothing else may be wrong. */
export function judge(plant: Plant[1], expected: Plant[2]): void {
  const draft = draftSale(COUNT);
  plant(draft);
  const report = run(draft);
  const found = wrongs(report);
  // -1: however much it is.
  if (expected.ledgerDifference === -1) {
    expect(found.ledgerDifference).toBeGreaterThan(0);
    expect({ ...found, ledgerDifference: -1 }).toEqual(expected);
  } else expect(found).toEqual(expected);
  expect(report.isClean).toBe(false);
  expect(report.findings.length).toBeGreaterThan(0);
}
