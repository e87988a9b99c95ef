/** An audit's report as a table for people. */
import { WRONGS } from "./audit.ts";
import type { AuditReport, Wrong } from "./audit.ts";
import { REASONS } from "./audit-order.ts";

const TEXTS: Readonly<Record<Wrong, string>> = {
  lost: "orders lost",
  doubled: "runs and entries doubled",
  nonTerminal: "orders and mails that have not ended",
  oversold: "units sold that never left the shelf",
  missing: "units that left without an entry",
  negativeStock: "times a stock was below zero",
  refusedMoved: "refused orders that moved something",
  notUndone: "failed orders that were not undone",
  notCharged: "completed orders that were not charged",
  doubleCharged: "charges beyond an order's first",
  notRefunded: "orders that were owed money and not refunded",
  doubleRefunded: "orders that were refunded too much",
  unconfirmed: "orders whose customer was not told",
  doubleConfirmed: "mails beyond the first",
  misrecorded: "records that say something else than the orders",
  ledgerDifference: "pence by which the ledger is out",
};

interface Style {
  readonly good: string;
  readonly bad: string;
  readonly dim: string;
  readonly plain: string;
}

const COLOURS: Style = {
  good: "\x1b[32m",
  bad: "\x1b[31m",
  dim: "\x1b[2m",
  plain: "\x1b[0m",
};
const NO_COLOURS: Style = { good: "", bad: "", dim: "", plain: "" };

/** The whole report; `isColoured` for terminals. */
export function auditTable(report: AuditReport, isColoured: boolean): string {
  const style = isColoured ? COLOURS : NO_COLOURS;
  const row = (name: string, value: number | string, mark = ""): string =>
    `  ${name.padEnd(50, ".")} ${String(value).padStart(9)}${mark}`;
  const judged = WRONGS.map((wrong) => {
    const count = report[wrong];
    const mark =
      count === 0 ? `  ${style.good}ok${style.plain}` : `  ${style.bad}WRONG${style.plain}`;
    return row(`${TEXTS[wrong]} `, count, mark);
  });
  return [
    "",
    `${style.dim}The audit, by the rows of both databases and the order file alone${style.plain}`,
    row("orders ", report.orders),
    row("  completed ", report.completed),
    row("  refused for want of stock ", report.refused),
    row("  returned ", report.returned),
    row("  adjusted ", report.adjusted),
    row("  failed, and undone ", report.failed),
    ...REASONS.map((reason) => row(`    ${reason} `, report.reasons[reason])),
    row("charges refunded ", report.refunds),
    row("charges made void before they came ", report.voids),
    row("charges that came too late, and were refused ", report.lateCharges),
    row("kills of processes that were at work ", report.kills),
    row("  of the payment service ", report.paymentKills),
    row("  that found an order being undone ", report.compensatingKills),
    row("leases taken over from dead workers ", report.lostLeases),
    row("seconds ", report.seconds.toFixed(1)),
    row("orders a second ", report.ordersPerSecond.toFixed(1)),
    "",
    ...judged,
    "",
    ...report.findings.map((finding) => `  ${style.bad}${finding}${style.plain}`),
    ...report.tooEasy.map((reason) => `  ${style.bad}too easy: ${reason}${style.plain}`),
    verdictOf(report, style),
    "",
  ].join("\n");
}

function verdictOf(report: AuditReport, style: Style): string {
  if (!report.isClean) return `  ${style.bad}The books are wrong.${style.plain}`;
  if (report.tooEasy.length > 0) {
    return `  ${style.bad}The books are right, but the run was too easy to show anything.${style.plain}`;
  }
  return `  ${style.good}Nothing lost, nothing doubled, nothing oversold, nobody charged for nothing.${style.plain}`;
}
