/**
 * The audit of one order: what its run, its entries, its payments and its mails say must fit each
 * other, and the order. Pure.
 */
import { fieldOf, isSameEntry, parse } from "./audit-parse.ts";
import type { Find, JobRow } from "./audit.ts";
import {
  booking,
  creditPence,
  duePence,
  posting,
  refusal,
  release,
  reservation,
  reversal,
} from "./books.ts";
import type { Ending, EntryStep, LedgerEntry, Mail } from "./books.ts";
import { fateOf } from "./fates.ts";
import type { Order } from "./rules.ts";

/** Why orders failed. */
export const REASONS = ["declined", "silent", "expired", "undeliverable", "cancelled"] as const;
export type Reason = (typeof REASONS)[number];

/** Everything that was found of one order. */
export interface Dossier {
  readonly order: Order;
  readonly runs: JobRow[];
  readonly entries: LedgerEntry[];
  readonly mails: Mail["kind"][];
  /** Pence of each charge, each refund and each credit that held. */
  readonly charges: number[];
  readonly refunds: number[];
  readonly credits: number[];
}

export function emptyDossier(order: Order): Dossier {
  const none = { runs: [], entries: [], mails: [], charges: [], refunds: [], credits: [] };
  return { order, ...structuredClone(none) };
}

/** How the order ended, and why if it failed; null: it did not, or is lost. */
export interface Judged {
  readonly ending: Ending;
  readonly reason: Reason | null;
}

const EXPECTED: Readonly<Record<EntryStep, (order: Order) => LedgerEntry>> = {
  reserve: reservation,
  post: posting,
  reverse: reversal,
  release,
  book: booking,
  refuse: (order) => refusal(order, null),
};

/** The steps that each ending has; a failed order has one of those that cancel out. */
const STEPS: Readonly<Record<Ending, readonly string[]>> = {
  completed: ["post,reserve"],
  refused: ["refuse"],
  returned: ["book"],
  adjusted: ["book"],
  failed: ["", "release,reserve", "post,release,reserve,reverse"],
};

export function judgeOrder(dossier: Dossier, find: Find): Judged | null {
  judgeEntries(dossier, find);
  const judged = judgeRun(dossier, find);
  if (judged === null) return null;
  judgeSteps(dossier, judged.ending, find);
  judgeFate(dossier, judged.ending, find);
  judgeMoney(dossier, judged.ending, find);
  judgeMails(dossier, judged.ending, find);
  return judged;
}

// -------------------------------------------------------------- the run

function judgeRun({ order, runs, entries }: Dossier, find: Find): Judged | null {
  const { id } = order;
  const [run, ...more] = runs;
  if (run === undefined) {
    find("lost", `order ${id} has no run`);
    return null;
  }
  if (more.length > 0) find("doubled", `order ${id} has ${runs.length} runs`, more.length);
  if (run.finished === null) {
    find("nonTerminal", `the run of order ${id} has not ended`);
    return null;
  }
  if (run.places !== 1) find("doubled", `the run of order ${id} stands in ${run.places} places`);
  if (run.finished === "dead") {
    find("lost", `the run of order ${id} can't go on`);
    return null;
  }
  const result = parse(run.result ?? "null");
  if (run.finished === "cancelled") {
    const wasRefused = entries.some(({ step }) => step === "refuse");
    if (wasRefused) return { ending: "refused", reason: null };
    return { ending: "failed", reason: reasonOf(result, id, find) };
  }
  const ending = fieldOf(result, "ending");
  if (!isCompletedEnding(ending)) {
    find("misrecorded", `the run of order ${id} says ${run.result}`);
    return null;
  }
  return { ending, reason: null };
}

function isCompletedEnding(ending: unknown): ending is Exclude<Ending, "failed"> {
  return ["completed", "refused", "returned", "adjusted"].includes(String(ending));
}

function reasonOf(result: unknown, id: string, find: Find): Reason | null {
  if (fieldOf(result, "ended") === "cancelled") return "cancelled";
  const error = fieldOf(result, "error");
  const name = fieldOf(error, "name");
  const message = fieldOf(error, "message");
  const reason = name === "OrderFailed" ? REASONS.find((each) => each === message) : undefined;
  if (reason !== undefined) return reason;
  find("misrecorded", `order ${id} failed of ${String(name)}: ${String(message)}`);
  return null;
}

// -------------------------------------------------------------- stock and ledger

/** Each entry says what the order's rules give, and no step was done twice. */
function judgeEntries({ order, entries }: Dossier, find: Find): void {
  const seen = new Set<EntryStep>();
  for (const entry of entries) {
    if (seen.has(entry.step)) {
      find("doubled", `order ${order.id} has a second entry of its ${entry.step}`);
      continue;
    }
    seen.add(entry.step);
    if (isSameEntry(entry, EXPECTED[entry.step](order))) continue;
    const wrong = entry.step === "refuse" ? "refusedMoved" : "misrecorded";
    find(wrong, `the ${entry.step} of order ${order.id} is not what the order says`);
  }
}

function judgeSteps({ order, entries }: Dossier, ending: Ending, find: Find): void {
  const steps = [...new Set(entries.map(({ step }) => step))].sort().join();
  if (STEPS[ending].includes(steps)) return;
  const text = `order ${order.id} is ${ending} and has the entries ${steps || "none"}`;
  if (ending === "failed") find("notUndone", text);
  else if (ending === "refused" && steps.includes("refuse")) find("refusedMoved", text);
  else if (steps === "") find("lost", text);
  else find("misrecorded", text);
}

function judgeFate({ order }: Dossier, ending: Ending, find: Find): void {
  if (ending !== "completed") return;
  const { pays, isUndeliverable } = fateOf(order);
  if (pays === "never") find("misrecorded", `order ${order.id} was completed and never paid`);
  if (isUndeliverable) find("misrecorded", `order ${order.id} was completed, nobody delivers it`);
}

// -------------------------------------------------------------- money and mails

function judgeMoney(dossier: Dossier, ending: Ending, find: Find): void {
  const { order, charges, refunds, credits } = dossier;
  const { id } = order;
  if (charges.length > 1) {
    find("doubleCharged", `order ${id} was charged ${charges.length} times`, charges.length - 1);
  }
  const paid = sum(charges) - sum(refunds);
  const due = ending === "completed" ? duePence(order) : 0;
  if (paid < due) {
    const wrong = due > 0 && paid >= 0 ? "notCharged" : "doubleRefunded";
    find(wrong, `order ${id} is ${ending}, ${due} are due and ${paid} were paid`);
  }
  // What was charged too often is said already.
  if (paid > due && (due === 0 || charges.length < 2)) {
    find("notRefunded", `order ${id} is ${ending}, ${due} are due and ${paid} were paid`);
  }
  const given = sum(credits);
  const owed = ending === "returned" ? creditPence(order) : 0;
  const text = `order ${id} is ${ending}, ${owed} are owed and ${given} were given`;
  if (given < owed) find("notRefunded", text);
  if (given > owed) find("doubleRefunded", text);
}

function judgeMails({ order, mails }: Dossier, ending: Ending, find: Find): void {
  const count = (kind: Mail["kind"]): number => mails.filter((each) => each === kind).length;
  const due = { confirmed: 0, credited: 0, withdrawn: 0 };
  if (ending === "completed") due.confirmed = 1;
  if (ending === "returned") due.credited = 1;
  // It may have been told before it failed; then it has to be told that as well.
  if (ending === "failed" && count("confirmed") > 0) due.confirmed = due.withdrawn = 1;
  for (const kind of ["confirmed", "credited", "withdrawn"] as const) {
    const sent = count(kind);
    const text = `order ${order.id} is ${ending} and was told ${sent} times that it is ${kind}`;
    if (sent < due[kind]) find("unconfirmed", text);
    if (sent > 1) find("doubleConfirmed", text, sent - 1);
    if (sent > 0 && due[kind] === 0) find("misrecorded", text);
  }
}

function sum(amounts: readonly number[]): number {
  return amounts.reduce((all, amount) => all + amount, 0);
}
