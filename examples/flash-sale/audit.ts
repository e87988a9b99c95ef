/**
 * The audit: compares what a store and the payment service's database hold after a sale with what
 * the orders say. It trusts neither the library nor the shop's till: it is given raw rows and the
 * order file, and works out by itself what each order may have done. Pure; `audit-read.ts` gets the
 * rows, `audit-main.ts` is the program.
 *
 * Each wrong is a number that must be 0:
 *
 *   lost              orders that have ended without a run, or without the entries of their ending
 *   doubled           runs, and entries of one step, beyond an order's first
 *   nonTerminal       runs and mails that have not ended
 *   oversold          units that the ledger sold and the shelf did not have, or still has
 *   missing           units that left the shelf but not by the ledger
 *   negativeStock     moments at which a code stood below 0, in the ledger's order and at the end
 *   refusedMoved      refused orders that moved stock or money
 *   notUndone         failed orders whose entries don't cancel out
 *   notCharged        completed orders that were not paid
 *   doubleCharged     charges beyond an order's first
 *   notRefunded       orders that failed and kept the money, or returns that were not paid out
 *   doubleRefunded    orders that got back more than they gave, or are owed
 *   unconfirmed       orders whose customer was not told
 *   doubleConfirmed   mails beyond the first of a kind
 *   misrecorded       entries, results, tallies and stocks that say something else than the orders
 *   ledgerDifference  pence by which entries don't add up to 0, balances to their entries, or the
 *                     bank's balance to the payments
 */
import { emptyDossier, judgeOrder, REASONS } from "./audit-order.ts";
import type { Dossier, Reason } from "./audit-order.ts";
import { parse, parseEntry } from "./audit-parse.ts";
import { partsOfKey, PREFIX, TALLIED } from "./books.ts";
import type { Ending, KillRecord, LedgerEntry, Mail } from "./books.ts";
import type { Order } from "./rules.ts";

/** One job or run as its rows say. */
export interface JobRow {
  readonly id: string;
  /** Its row among the finished ones; null if it has none. A run that failed is cancelled. */
  readonly finished: "completed" | "cancelled" | "dead" | null;
  /** How often it stands among the ready, scheduled, blocked, leased and finished: 1. */
  readonly places: number;
  readonly createdMs: number;
  readonly finishedMs: number | null;
  readonly result: string | null;
}

/** One key as its row says. */
export interface KeyRow {
  readonly key: string;
  readonly value: string;
}

/** The rows of a store after a sale. */
export interface Books {
  /** All runs of the workflow of orders. */
  runs(): Iterable<JobRow>;
  /** All jobs of the queue of mails. */
  mails(): Iterable<JobRow>;
  /** Keys that begin so, in the order in which they were last written. */
  keys(prefix: string): Iterable<KeyRow>;
}

/** A charge, refund or credit as its row says. A refund has the key of its charge. */
export interface PaymentRow {
  readonly key: string;
  readonly order: string;
  readonly pence: number;
}

/** The rows of the payment service's database. */
export interface Payments {
  /** Those that held; a declined charge is none. */
  charges(): Iterable<PaymentRow>;
  refunds(): Iterable<PaymentRow>;
  credits(): Iterable<PaymentRow>;
  /** Charges that came after their refund, and were refused. */
  lateCharges(): number;
}

/** What the sale was to be. */
export interface AuditTask {
  /** Every order by its number. */
  readonly orders: ReadonlyMap<string, Order>;
  /** Units that each code started with. */
  readonly stock: ReadonlyMap<string, number>;
  /** Kills that were asked for. */
  readonly kills: number;
}

/** The numbers that must be 0. */
export const WRONGS = [
  ...["lost", "doubled", "nonTerminal", "oversold", "missing", "negativeStock"],
  ...["refusedMoved", "notUndone", "notCharged", "doubleCharged", "notRefunded"],
  ...["doubleRefunded", "unconfirmed", "doubleConfirmed", "misrecorded", "ledgerDifference"],
] as const;
export type Wrong = (typeof WRONGS)[number];
export type Wrongs = Readonly<Record<Wrong, number>>;

/** Notes something wrong, in words. */
export type Find = (wrong: Wrong, text: string, count?: number) => void;

export interface AuditReport extends Wrongs {
  readonly orders: number;
  /** Sales that were filled; with the next four, all orders if nothing is wrong. */
  readonly completed: number;
  readonly refused: number;
  readonly returned: number;
  readonly adjusted: number;
  /** Orders that were begun and undone, or cancelled before. */
  readonly failed: number;
  /** Why they failed. */
  readonly reasons: Readonly<Record<Reason, number>>;
  /** Refunds of charges that held, and of charges that did not; charges that came too late. */
  readonly refunds: number;
  readonly voids: number;
  readonly lateCharges: number;
  /** Kills that counted, as the killer found them. */
  readonly kills: number;
  /** Of these, those of the payment service, and those that found an order being undone. */
  readonly paymentKills: number;
  readonly compensatingKills: number;
  /** Leases that dead workers held. */
  readonly lostLeases: number;
  /** From the first run's coming to the last one's end, by the store's clock. */
  readonly seconds: number;
  readonly ordersPerSecond: number;
  /** True if every wrong is 0. */
  readonly isClean: boolean;
  /** Why the run proves nothing; empty if it was hard enough. */
  readonly tooEasy: readonly string[];
  /** The first of what was found, in words. */
  readonly findings: readonly string[];
}

/** What the kills were. */
interface Kills {
  readonly kills: number;
  readonly paymentKills: number;
  readonly compensatingKills: number;
  readonly lostLeases: number;
}

/** Findings that are told; the numbers count all. */
const FINDINGS = 20;
/** The least share of orders that must have met a shortage. */
const SHORTAGES = 0.1;
/** So many kills go round the killer's aims. */
const ROUND = 3;

/** Audits a sale. Complexity: one pass over runs, entries, payments, mails and counters each. */
export function audit(books: Books, payments: Payments, task: AuditTask): AuditReport {
  return new Audit(books, payments, task).run();
}

class Audit {
  readonly #books: Books;
  readonly #payments: Payments;
  readonly #task: AuditTask;
  readonly #findings: string[] = [];
  readonly #wrongs = Object.fromEntries(WRONGS.map((wrong) => [wrong, 0])) as Record<Wrong, number>;
  readonly #endings: Record<Ending, number> = {
    completed: 0,
    refused: 0,
    returned: 0,
    adjusted: 0,
    failed: 0,
  };
  readonly #reasons = Object.fromEntries(REASONS.map((each) => [each, 0])) as Record<
    Reason,
    number
  >;
  readonly #dossiers = new Map<string, Dossier>();
  /** What is on the shelves if the entries are true, and what the entries leave on the accounts. */
  readonly #shelf = new Map<string, number>();
  readonly #balances = new Map<string, number>();
  /** What the payments leave at the bank. */
  #bankPence = 0;
  #refunds = 0;
  #voids = 0;
  #firstMs = Infinity;
  #lastMs = -Infinity;

  constructor(books: Books, payments: Payments, task: AuditTask) {
    this.#books = books;
    this.#payments = payments;
    this.#task = task;
  }

  run(): AuditReport {
    for (const order of this.#task.orders.values()) {
      this.#dossiers.set(order.id, emptyDossier(order));
    }
    for (const [code, units] of this.#task.stock) this.#shelf.set(code, units);
    this.#readRuns();
    this.#readLedger();
    this.#readPayments();
    this.#readMails();
    for (const dossier of this.#dossiers.values()) this.#judge(dossier);
    this.#readStock();
    this.#readAccounts();
    this.#readTallies();
    const kills = this.#readKills();
    const seconds = this.#lastMs > this.#firstMs ? (this.#lastMs - this.#firstMs) / 1_000 : 0;
    const ended = Object.values(this.#endings).reduce((all, count) => all + count, 0);
    return {
      orders: this.#task.orders.size,
      ...this.#endings,
      ...this.#wrongs,
      reasons: this.#reasons,
      refunds: this.#refunds,
      voids: this.#voids,
      lateCharges: this.#payments.lateCharges(),
      ...kills,
      seconds,
      ordersPerSecond: seconds === 0 ? 0 : Math.round((ended * 10) / seconds) / 10,
      isClean: Object.values(this.#wrongs).every((count) => count === 0),
      tooEasy: this.#tooEasy(kills),
      findings: this.#findings,
    };
  }

  readonly #find: Find = (wrong, text, count = 1) => {
    this.#wrongs[wrong] += count;
    if (this.#findings.length < FINDINGS) this.#findings.push(`${wrong}: ${text}`);
  };

  // ------------------------------------------------------------ orders

  #readRuns(): void {
    for (const run of this.#books.runs()) {
      this.#firstMs = Math.min(this.#firstMs, run.createdMs);
      this.#lastMs = Math.max(this.#lastMs, run.finishedMs ?? -Infinity);
      const dossier = this.#dossiers.get(run.id);
      if (dossier === undefined) this.#find("misrecorded", `run ${run.id} is no order that came`);
      else dossier.runs.push(run);
    }
  }

  #readLedger(): void {
    for (const { key, value } of this.#books.keys(PREFIX.ledger)) {
      const entry = parseEntry(value);
      const parts = partsOfKey(key);
      const dossier = this.#dossiers.get(parts?.order ?? "");
      const isNamed = entry?.order === dossier?.order.id && entry?.step === parts?.what;
      if (entry === undefined || dossier === undefined || !isNamed) {
        this.#find("misrecorded", `${key} is no entry of an order that came`);
        if (entry === undefined) continue;
      }
      this.#replay(key, entry);
      dossier?.entries.push(entry);
    }
  }

  /** What the entry did, whoever wrote it: the books must close over all entries that are there. */
  #replay(key: string, entry: LedgerEntry): void {
    for (const { code, delta } of entry.moves) {
      const units = (this.#shelf.get(code) ?? 0) + delta;
      this.#shelf.set(code, units);
      if (units < 0) this.#find("negativeStock", `${key} left ${units} of ${code}`);
    }
    let sum = 0;
    for (const { account, amountPence } of entry.postings) {
      sum += amountPence;
      this.#balances.set(account, (this.#balances.get(account) ?? 0) + amountPence);
    }
    if (sum !== 0) this.#find("ledgerDifference", `${key} adds up to ${sum}`, Math.abs(sum));
  }

  #readPayments(): void {
    const note = (kind: "charges" | "refunds" | "credits", { order, pence }: PaymentRow): void => {
      this.#bankPence += kind === "charges" ? pence : 0 - pence;
      const dossier = this.#dossiers.get(order);
      if (dossier === undefined) this.#find("misrecorded", `a payment is for ${order}, no order`);
      else dossier[kind].push(pence);
    };
    for (const row of this.#payments.charges()) note("charges", row);
    for (const row of this.#payments.credits()) note("credits", row);
    for (const row of this.#payments.refunds()) {
      note("refunds", row);
      if (row.pence === 0) this.#voids += 1;
      else this.#refunds += 1;
    }
  }

  #readMails(): void {
    for (const { key, value } of this.#books.keys(PREFIX.mail)) {
      const parts = partsOfKey(key);
      const dossier = this.#dossiers.get(parts?.order ?? "");
      const mail = parse(value) as Partial<Mail> | undefined;
      if (dossier === undefined || mail?.kind === undefined || mail.kind !== parts?.what) {
        this.#find("misrecorded", `${key} is no mail to a customer who came`);
      } else dossier.mails.push(mail.kind);
    }
    for (const { id, finished } of this.#books.mails()) {
      if (finished === null) this.#find("nonTerminal", `the mail ${id} was not sent yet`);
      else if (finished !== "completed") this.#find("unconfirmed", `the mail ${id} is ${finished}`);
    }
  }

  #judge(dossier: Dossier): void {
    const judged = judgeOrder(dossier, this.#find);
    if (judged === null) return;
    this.#endings[judged.ending] += 1;
    if (judged.reason !== null) this.#reasons[judged.reason] += 1;
  }

  // ------------------------------------------------------------ counters

  /** initial + restocked = remaining + sold + adjusted: the replayed shelf is the real one. */
  #readStock(): void {
    const stock = this.#numbers(PREFIX.stock);
    const initial = this.#numbers(PREFIX.initial);
    for (const code of new Set([...this.#shelf.keys(), ...stock.keys()])) {
      const remaining = stock.get(code) ?? 0;
      const due = this.#shelf.get(code) ?? 0;
      if (remaining < 0) this.#find("negativeStock", `${remaining} of ${code} are left`);
      const text = `${remaining} of ${code} are left where the entries leave ${due}`;
      const oversold = Math.max(0, remaining - due, 0 - due);
      if (oversold > 0) this.#find("oversold", text, oversold);
      if (remaining < due) this.#find("missing", text, due - remaining);
    }
    for (const code of new Set([...this.#task.stock.keys(), ...initial.keys()])) {
      const due = this.#task.stock.get(code) ?? 0;
      const noted = initial.get(code) ?? 0;
      if (noted === due) continue;
      this.#find("misrecorded", `${code} started with ${noted}, the orders give ${due}`);
    }
  }

  #readAccounts(): void {
    const accounts = this.#numbers(PREFIX.account);
    const check = (what: string, balance: number, due: number): void => {
      if (balance === due) return;
      const text = `${what}: the balance is ${balance}, and should be ${due}`;
      this.#find("ledgerDifference", text, Math.abs(balance - due));
    };
    for (const account of new Set([...this.#balances.keys(), ...accounts.keys()])) {
      const due = this.#balances.get(account) ?? 0;
      check(`${account} by its entries`, accounts.get(account) ?? 0, due);
    }
    check("bank by the payments", accounts.get("bank") ?? 0, this.#bankPence);
  }

  #readTallies(): void {
    const tallies = this.#numbers(PREFIX.tally);
    for (const ending of TALLIED) {
      const tally = tallies.get(ending) ?? 0;
      const due = this.#endings[ending];
      if (tally === due) continue;
      this.#find("misrecorded", `the tally says ${tally} ${ending}, the orders ${due}`);
    }
  }

  /** Counters by what follows the prefix. */
  #numbers(prefix: string): Map<string, number> {
    const numbers = new Map<string, number>();
    for (const { key, value } of this.#books.keys(prefix)) {
      if (/^-?\d{1,16}$/.test(value)) numbers.set(key.slice(prefix.length), Number(value));
      else this.#find("misrecorded", `${key} is no number`);
    }
    return numbers;
  }

  // ------------------------------------------------------------ how hard it was

  #readKills(): Kills {
    const seen = { kills: 0, paymentKills: 0, compensatingKills: 0, lostLeases: 0 };
    for (const { key, value } of this.#books.keys(PREFIX.kill)) {
      const record = (parse(value) ?? {}) as Partial<KillRecord>;
      if (record.what === "payment" && (record.open ?? 0) > 0) {
        seen.kills += 1;
        seen.paymentKills += 1;
      } else if (record.what === "worker" && (record.leases ?? 0) > 0) {
        const runs = record.runs ?? [];
        seen.kills += 1;
        seen.lostLeases += record.leases ?? 0;
        if (runs.some(({ isCompensating }) => isCompensating)) seen.compensatingKills += 1;
        for (const run of runs) this.#checkHeld(key, run);
      } else {
        this.#find("misrecorded", `${key} is no kill of a process that was at work`);
      }
    }
    return seen;
  }

  /**
   * Who ended a run after the death had a greater token than the dead; and what was undone failed.
   */
  #checkHeld(
    kill: string,
    { id, token, isCompensating }: { id: string; token: number; isCompensating: boolean },
  ): void {
    const run = this.#dossiers.get(id)?.runs[0];
    const result = parse(run?.result ?? "null") as { readonly token?: string } | null;
    const isLater = result?.token === undefined || Number(result.token) > token;
    const isFitting = !isCompensating || run?.finished === "cancelled" || run?.finished === null;
    if (run !== undefined && isLater && isFitting) return;
    this.#find("misrecorded", `${kill} says that its victim held ${id}, and the run does not`);
  }

  #tooEasy({ kills, paymentKills, compensatingKills }: Kills): string[] {
    const { completed, refused, failed } = this.#endings;
    const orders = this.#task.orders.size;
    const reasons: string[] = [];
    if (completed === 0) reasons.push("no order was completed");
    if (failed === 0) reasons.push("no order failed");
    if (refused < orders * SHORTAGES) {
      const share = orders === 0 ? 0 : Math.floor((refused * 1_000) / orders) / 10;
      reasons.push(`${share} % of the orders met a shortage, fewer than ${SHORTAGES * 100} %`);
    }
    if (kills < this.#task.kills) {
      reasons.push(`${kills} kills counted, fewer than the ${this.#task.kills} asked for`);
    }
    if (kills >= ROUND && paymentKills === 0) reasons.push("the payment service was not killed");
    if (kills >= ROUND && compensatingKills === 0) {
      reasons.push("no kill found an order being undone");
    }
    return reasons;
  }
}
