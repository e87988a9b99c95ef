/**
 * The same orders again and again, each time with a crash at another boundary of a step: all of
 * them must come to the same. There is stock for everybody and nobody cancels, so that what they
 * come to hangs on nothing but the orders.
 */
import { join } from "node:path";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { audit } from "./audit.ts";
import type { AuditReport } from "./audit.ts";
import { openBooks, openPayments, paymentsPath } from "./audit-read.ts";
import { NAMESPACE, PREFIX } from "./books.ts";
import { Customers } from "./customers.ts";
import { confirmations, placeOrder } from "./definitions.ts";
import { openShop } from "./opening.ts";
import { PaymentService } from "./payment.ts";
import { Processes, rejectOn } from "./processes.ts";
import type { Order } from "./rules.ts";
import { SETTINGS_VARIABLE } from "./settings.ts";
import type { CrashPlan, WorkerNews, WorkerSettings } from "./settings.ts";

/** What the orders came to: all of it is the same, wherever the crash was. */
export interface Totals {
  readonly completed: number;
  readonly refused: number;
  readonly returned: number;
  readonly adjusted: number;
  readonly failed: number;
  readonly reasons: AuditReport["reasons"];
  readonly mails: number;
  /** Units on all shelves. */
  readonly units: number;
  /** The balances that are not 0. */
  readonly accounts: Readonly<Record<string, number>>;
}

export interface Round {
  /** Where the crash was; null: nowhere. */
  readonly point: string | null;
  /** Orders that the dead process took with it. */
  readonly crashed: number;
  readonly totals: Totals;
  /** Everything that the audit found wrong. */
  readonly findings: readonly string[];
}

export interface RoundOptions {
  readonly orders: readonly Order[];
  /** Where its files go. */
  readonly folder: string;
  readonly seed: number;
  /** True: orders are taken without care, so that the rounds differ. */
  readonly isBroken: boolean;
  readonly signal: AbortSignal;
}

const SESSION_TTL_MS = 500;
/** More than anybody takes of a code. */
const UNITS = 1_000_000;
/** Generous, so that only those time out who never answer. */
const TIMES = { paymentMs: 1_000, payWithinMs: 500 } as const;
/** Late charges come when everything else is over. */
const BANK = { bankMs: 2, lateMs: 600_000 } as const;
const LOOK_MS = 20;
const LONGEST_MS = 120_000;

/** Holds one sale with a crash at the point; `null`: without one. */
export async function holdRound(point: string | null, options: RoundOptions): Promise<Round> {
  const { orders, folder, seed, isBroken, signal } = options;
  const path = join(folder, `${(point ?? "no crash").replaceAll(/\W+/g, "-")}.db`);
  const url = `sqlite:${encodeURI(path).replaceAll("?", "%3F")}`;
  const stock = new Map(orders.flatMap(({ items }) => items.map(({ code }) => [code, UNITS])));
  const onEvent = (): void => {};
  const payment = new PaymentService({ path: paymentsPath(path), seed, ...BANK, onEvent });
  let crashed = 0;
  let plan: CrashPlan | null = point === null ? null : { point, orders: orders.length };
  const workers = new Processes({
    count: 1,
    program: "worker",
    env: () => {
      const settings: WorkerSettings = {
        ...{ url, sessionTtlMs: SESSION_TTL_MS, concurrency: orders.length, ...TIMES },
        ...{ paymentPort: payment.port, isBroken, crash: plan },
      };
      // Its successor lives.
      plan = null;
      return { [SETTINGS_VARIABLE]: JSON.stringify(settings) };
    },
    onMessage: (_, message) => {
      const news = message as WorkerNews;
      if ("dying" in news) crashed = news.dying;
    },
    onEvent,
  });
  try {
    await using hf = await connect(url, { namespace: NAMESPACE, signal });
    await openShop(hf, stock, signal);
    await payment.start();
    const failure = rejectOn(AbortSignal.any([signal, workers.failure]));
    await Promise.race([workers.start(), failure]);
    await Promise.race([sell(hf, orders, signal), failure]);
  } finally {
    await workers.stop();
    await payment.processes.stop();
  }
  return { point, crashed, ...judge(path, orders, stock) };
}

/** Lets all orders in at once, and waits for the last of them and the last mail. */
async function sell(hf: Holdfast, orders: readonly Order[], signal: AbortSignal): Promise<void> {
  const desk = hf.open(placeOrder);
  const customers = new Customers(desk, { hasCancels: false, paysAfterMs: 0 });
  await Promise.all(orders.map((order) => desk.start(order, { id: order.id })));
  customers.welcome(orders);
  const { clock } = hf.store;
  const untilMs = clock.monotonicMs() + LONGEST_MS;
  for (;;) {
    const { counts } = await desk.stats();
    const mails = await hf.open(confirmations).counts();
    const isOver = counts.completed + counts.cancelled + counts.dead >= orders.length;
    if (isOver && mails.ready + mails.leased + mails.scheduled + mails.blocked === 0) return;
    if (clock.monotonicMs() > untilMs) throw new Error("Expected all orders to end in two minutes");
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function judge(
  path: string,
  all: readonly Order[],
  stock: ReadonlyMap<string, number>,
): Pick<Round, "totals" | "findings"> {
  const books = openBooks(path);
  const payments = openPayments(paymentsPath(path));
  try {
    const orders = new Map(all.map((order) => [order.id, order]));
    const report = audit(books, payments, { orders, stock, kills: 0 });
    const { completed, refused, returned, adjusted, failed, reasons, findings } = report;
    const numbers = (prefix: string): [string, number][] =>
      [...books.keys(prefix)].map(({ key, value }) => [key.slice(prefix.length), Number(value)]);
    const accounts = numbers(PREFIX.account).filter(([, pence]) => pence !== 0);
    const totals: Totals = {
      ...{ completed, refused, returned, adjusted, failed, reasons },
      mails: [...books.keys(PREFIX.mail)].length,
      units: numbers(PREFIX.stock).reduce((sum, [, units]) => sum + units, 0),
      accounts: Object.fromEntries(accounts.sort(([a], [b]) => (a < b ? -1 : 1))),
    };
    return { totals, findings };
  } finally {
    books.close();
    payments.close();
  }
}
