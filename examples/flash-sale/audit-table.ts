/** An audit's report as a table for people. */
import type { AuditReport, Wrongs } from "./audit.ts";

const WRONGS: Readonly<Record<keyof Wrongs, string>> = {
  lost: "orders lost",
  doubled: "jobs and entries doubled",
  nonTerminal: "orders that have not ended",
  oversold: "units sold that never left the shelf",
  missing: "units that left without an entry",
  negativeStock: "times a stock was below zero",
  refusedMoved: "refused orders that moved something",
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
  const judged = (Object.keys(WRONGS) as (keyof Wrongs)[]).map((wrong) => {
    const count = report[wrong];
    const mark =
      count === 0 ? `  ${style.good}ok${style.plain}` : `  ${style.bad}WRONG${style.plain}`;
    return row(`${WRONGS[wrong]} `, count, mark);
  });
  return [
    "",
    `${style.dim}The audit, by the rows of the store and the order file alone${style.plain}`,
    row("orders ", report.orders),
    row("  completed ", report.completed),
    row("  refused for want of stock ", report.refused),
    row("  returned ", report.returned),
    row("  adjusted ", report.adjusted),
    row("kills of processes that held orders ", report.kills),
    row("orders taken over from dead processes ", report.lostLeases),
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
  return `  ${style.good}Nothing lost, nothing doubled, nothing oversold.${style.plain}`;
}
