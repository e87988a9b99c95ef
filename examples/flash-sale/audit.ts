/**
 * The audit: compares what a store holds after a sale with what the orders say. It trusts neither
 * the library nor the shop's till: it is given raw rows and the order file, and works out by itself
 * what each order may have done. Pure; `audit-read.ts` gets the rows, `audit-main.ts` is the
 * program.
 *
 * Each wrong is a number that must be 0:
 *
 *   lost              orders that have ended without both a completed job and a ledger entry
 *   doubled           jobs and ledger entries beyond an order's first
 *   nonTerminal       jobs that have not ended
 *   oversold          units that the ledger sold and the shelf did not have, or still has
 *   missing           units that left the shelf but not by the ledger
 *   negativeStock     moments at which a code stood below 0, in the ledger's order and at the end
 *   refusedMoved      refused orders that moved stock or money
 *   misrecorded       entries, results, tallies and stocks that say something else than the orders
 *   ledgerDifference  pence by which entries don't add up to 0, or balances to their entries
 */
import { acceptedEntry, ENDINGS, orderOfKey, PREFIX } from "./books.ts";
import type { Ending, KillRecord, LedgerEntry } from "./books.ts";
import type { Order } from "./rules.ts";

/** One job as its rows say. */
export interface JobRow {
  readonly id: string;
  /** Its row among the finished ones; null if it has none. */
  readonly finished: "completed" | "cancelled" | "dead" | null;
  /** How often it stands among the ready, scheduled, blocked, leased and finished: 1. */
  readonly places: number;
  /** Leases of it that were lost with their process. */
  readonly lost: number;
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
  /** All jobs of the queue of orders. */
  jobs(): Iterable<JobRow>;
  /** Keys that begin so, in the order in which they were last written. */
  keys(prefix: string): Iterable<KeyRow>;
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
export interface Wrongs {
  readonly lost: number;
  readonly doubled: number;
  readonly oversold: number;
  readonly missing: number;
  readonly negativeStock: number;
  readonly nonTerminal: number;
  readonly refusedMoved: number;
  readonly misrecorded: number;
  readonly ledgerDifference: number;
}

export interface AuditReport extends Wrongs {
  readonly orders: number;
  /** Sales that were filled; with the next three, all orders if nothing is wrong. */
  readonly completed: number;
  readonly refused: number;
  readonly returned: number;
  readonly adjusted: number;
  /** Kills of processes that held leases, as the killer found them in the store. */
  readonly kills: number;
  /** Leases that the store took from dead processes, by the jobs' own count. */
  readonly lostLeases: number;
  /** From the first job's coming to the last one's end, by the store's clock. */
  readonly seconds: number;
  readonly ordersPerSecond: number;
  /** True if every wrong is 0. */
  readonly isClean: boolean;
  /** Why the run proves nothing; empty if it was hard enough. */
  readonly tooEasy: readonly string[];
  /** The first of what was found, in words. */
  readonly findings: readonly string[];
}

/** Findings that are told; the numbers count all. */
const FINDINGS = 20;
/** The least share of orders that must have met a shortage. */
const SHORTAGES = 0.1;

type Wrong = keyof Wrongs;

/** Audits a sale. Complexity: one pass over jobs, entries and counters each. */
export function audit(books: Books, task: AuditTask): AuditReport {
  return new Audit(books, task).run();
}

class Audit {
  readonly #books: Books;
  readonly #task: AuditTask;
  readonly #findings: string[] = [];
  readonly #wrongs: Record<Wrong, number> = {
    lost: 0,
    doubled: 0,
    oversold: 0,
    missing: 0,
    negativeStock: 0,
    nonTerminal: 0,
    refusedMoved: 0,
    misrecorded: 0,
    ledgerDifference: 0,
  };
  readonly #endings: Record<Ending, number> = {
    completed: 0,
    refused: 0,
    returned: 0,
    adjusted: 0,
  };
  /** What the first entry of each order says. */
  readonly #ended = new Map<string, Ending>();
  /** What is on the shelves if the entries are true, and what the entries leave on the accounts. */
  readonly #shelf = new Map<string, number>();
  readonly #balances = new Map<string, number>();
  #lostLeases = 0;
  #firstMs = Infinity;
  #lastMs = -Infinity;

  constructor(books: Books, task: AuditTask) {
    this.#books = books;
    this.#task = task;
  }

  run(): AuditReport {
    for (const [code, units] of this.#task.stock) this.#shelf.set(code, units);
    this.#readLedger();
    this.#readJobs();
    this.#readStock();
    this.#readAccounts();
    this.#readTallies();
    const kills = this.#readKills();
    const orders = this.#task.orders.size;
    const seconds = this.#lastMs > this.#firstMs ? (this.#lastMs - this.#firstMs) / 1_000 : 0;
    return {
      orders,
      ...this.#endings,
      ...this.#wrongs,
      kills,
      lostLeases: this.#lostLeases,
      seconds,
      ordersPerSecond: seconds === 0 ? 0 : Math.round((this.#ended.size * 10) / seconds) / 10,
      isClean: Object.values(this.#wrongs).every((count) => count === 0),
      tooEasy: this.#tooEasy(kills),
      findings: this.#findings,
    };
  }

  #find(wrong: Wrong, text: string, count = 1): void {
    this.#wrongs[wrong] += count;
    if (this.#findings.length < FINDINGS) this.#findings.push(`${wrong}: ${text}`);
  }

  // ------------------------------------------------------------ orders

  #readLedger(): void {
    for (const { key, value } of this.#books.keys(PREFIX.ledger)) {
      const entry = parseEntry(value);
      const order = this.#task.orders.get(orderOfKey(key) ?? "");
      if (entry === undefined || order === undefined || entry.order !== order.id) {
        this.#find("misrecorded", `${key} is no entry of an order that came`);
        if (entry === undefined) continue;
      }
      this.#replay(key, entry);
      if (order === undefined) continue;
      if (this.#ended.has(order.id)) {
        this.#find("doubled", `order ${order.id} has a second entry, ${key}`);
        continue;
      }
      this.#ended.set(order.id, entry.ending);
      this.#endings[entry.ending] += 1;
      this.#judgeEntry(key, entry, order);
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

  #judgeEntry(key: string, entry: LedgerEntry, order: Order): void {
    if (entry.ending === "refused") {
      if (entry.moves.length + entry.postings.length === 0) return;
      this.#find("refusedMoved", `${key} was refused and moved something`);
      return;
    }
    const expected = acceptedEntry(order);
    const isRight =
      entry.ending === expected.ending &&
      isSame(entry.moves.map(pairOfMove), expected.moves.map(pairOfMove)) &&
      isSame(entry.postings.map(pairOfPosting), expected.postings.map(pairOfPosting));
    if (!isRight) this.#find("misrecorded", `${key} is not what order ${order.id} says`);
  }

  #readJobs(): void {
    const seen = new Set<string>();
    for (const job of this.#books.jobs()) {
      this.#lostLeases += job.lost;
      this.#firstMs = Math.min(this.#firstMs, job.createdMs);
      this.#lastMs = Math.max(this.#lastMs, job.finishedMs ?? -Infinity);
      if (!this.#task.orders.has(job.id)) {
        this.#find("misrecorded", `job ${job.id} is no order that came`);
      } else if (seen.has(job.id)) {
        this.#find("doubled", `order ${job.id} has a second job`);
      } else {
        seen.add(job.id);
        this.#judgeJob(job);
      }
    }
    for (const id of this.#task.orders.keys()) {
      if (!seen.has(id)) this.#find("lost", `order ${id} has no job`);
    }
  }

  #judgeJob(job: JobRow): void {
    const { id, finished, places } = job;
    if (finished === null) {
      this.#find("nonTerminal", `the job of order ${id} has not ended`);
      return;
    }
    if (places !== 1) this.#find("doubled", `the job of order ${id} stands in ${places} places`);
    if (finished !== "completed") {
      this.#find("lost", `the job of order ${id} is ${finished}`);
      return;
    }
    const ending = this.#ended.get(id);
    if (ending === undefined) {
      this.#find("lost", `order ${id} was completed and has no entry`);
    } else if (endingOf(job.result) !== ending) {
      this.#find("misrecorded", `the job of order ${id} says ${job.result}, its entry ${ending}`);
    }
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
    for (const account of new Set([...this.#balances.keys(), ...accounts.keys()])) {
      const balance = accounts.get(account) ?? 0;
      const due = this.#balances.get(account) ?? 0;
      if (balance === due) continue;
      const text = `${account} has a balance of ${balance}, its entries give ${due}`;
      this.#find("ledgerDifference", text, Math.abs(balance - due));
    }
  }

  #readTallies(): void {
    const tallies = this.#numbers(PREFIX.tally);
    for (const ending of ENDINGS) {
      const tally = tallies.get(ending) ?? 0;
      const due = this.#endings[ending];
      if (tally === due) continue;
      this.#find("misrecorded", `the tally says ${tally} ${ending}, the entries ${due}`);
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

  #readKills(): number {
    let kills = 0;
    let leases = 0;
    for (const { key, value } of this.#books.keys(PREFIX.kill)) {
      const record = parse(value) as Partial<KillRecord> | undefined;
      if (typeof record?.leases === "number" && record.leases > 0) {
        kills += 1;
        leases += record.leases;
      } else {
        this.#find("misrecorded", `${key} is no kill of a process that held something`);
      }
    }
    if (this.#lostLeases < leases) {
      const text = `the kills took ${leases} leases, the jobs know of ${this.#lostLeases}`;
      this.#find("misrecorded", text);
    }
    return kills;
  }

  #tooEasy(kills: number): string[] {
    const { completed, refused } = this.#endings;
    const orders = this.#task.orders.size;
    const reasons: string[] = [];
    if (completed === 0) reasons.push("no order was completed");
    if (refused < orders * SHORTAGES) {
      const share = orders === 0 ? 0 : Math.floor((refused * 1_000) / orders) / 10;
      reasons.push(`${share} % of the orders met a shortage, fewer than ${SHORTAGES * 100} %`);
    }
    if (kills < this.#task.kills) {
      reasons.push(`${kills} kills counted, fewer than the ${this.#task.kills} asked for`);
    }
    return reasons;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The entry as it should look; undefined for anything else. */
function parseEntry(text: string): LedgerEntry | undefined {
  const entry = parse(text) as Partial<LedgerEntry> | null | undefined;
  if (typeof entry !== "object" || entry === null) return undefined;
  const { order, ending, moves, postings } = entry;
  const isEntry =
    typeof order === "string" &&
    ENDINGS.includes(ending as Ending) &&
    Array.isArray(moves) &&
    moves.every(({ code, delta }) => typeof code === "string" && Number.isSafeInteger(delta)) &&
    Array.isArray(postings) &&
    postings.every(
      ({ account, amountPence }) =>
        typeof account === "string" && Number.isSafeInteger(amountPence),
    );
  return isEntry ? (entry as LedgerEntry) : undefined;
}

function endingOf(result: string | null): unknown {
  return (parse(result ?? "null") as { readonly ending?: unknown } | null)?.ending;
}

type Pair = readonly [name: string, amount: number];

function pairOfMove({ code, delta }: LedgerEntry["moves"][number]): Pair {
  return [code, delta];
}

function pairOfPosting({ account, amountPence }: LedgerEntry["postings"][number]): Pair {
  return [account, amountPence];
}

/** The same pairs, in any order. */
function isSame(some: readonly Pair[], others: readonly Pair[]): boolean {
  const text = (pairs: readonly Pair[]): string =>
    pairs
      .map((pair) => JSON.stringify(pair))
      .sort()
      .join();
  return text(some) === text(others);
}
