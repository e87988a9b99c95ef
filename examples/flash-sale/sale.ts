/**
 * One sale from opening to closing: stock on the shelves, a payment service, workers at the tills,
 * customers coming in, and a killer among them. Everything that it started has ended when it ends.
 */
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { SeededRandom } from "holdfast/store";
import { Arrivals } from "./arrivals.ts";
import type { Pace } from "./arrivals.ts";
import { NAMESPACE } from "./books.ts";
import { CARELESS_MS } from "./careless.ts";
import { Customers } from "./customers.ts";
import { placeOrder } from "./definitions.ts";
import { demandOf } from "./input.ts";
import { Killer } from "./killer.ts";
import type { Victims } from "./killer.ts";
import { Meter } from "./meter.ts";
import { openShop } from "./opening.ts";
import { PaymentService } from "./payment.ts";
import { Processes, rejectOn } from "./processes.ts";
import { initialStock, repeat } from "./rules.ts";
import type { Order } from "./rules.ts";
import { SETTINGS_VARIABLE } from "./settings.ts";
import type { WorkerNews, WorkerSettings } from "./settings.ts";
import type { View } from "./view.ts";

export interface SaleOptions {
  readonly url: string;
  /** The payment service's own file. */
  readonly payments: string;
  readonly orders: readonly Order[];
  /** How often the orders are played in all. */
  readonly rounds: number;
  /** What each code starts with, as a share of its demand. */
  readonly stock: number;
  readonly processes: number;
  readonly kills: number;
  readonly seed: number;
  /** True: orders are taken without care, which the audit must find. */
  readonly isBroken: boolean;
  readonly view: View;
  readonly signal: AbortSignal;
}

/** What the sale alone knows of itself; all else is in the store. */
export interface SaleReport {
  readonly orders: number;
  /** Orders that were sent twice. */
  readonly repeated: number;
  /** Processes killed, whether it counted or not. */
  readonly killed: number;
  readonly restarts: number;
  /** True if it ended because nothing happened any more. */
  readonly isStalled: boolean;
}

/** Short, so that the orders of a killed process are soon taken over. */
const SESSION_TTL_MS = 2_000;
const CONCURRENCY = 128;
/**
 * A call at the payment service takes from so long to twice as long, and is given up in the end.
 */
const BANK_MS = 8;
const PAYMENT_MS = 600;
/** Longer than anybody waits for an answer, so that the charge is refunded before it comes. */
const LATE_MS = 5_000;
/** So long somebody takes who pays later. */
const PAYS_AFTER_MS = 400;
/** An unpaid reservation is released after this. */
const PAY_WITHIN_MS = 2_500;
/** The shop's time between two kills. */
const PAUSE_MS = 1_500;
/** An order is taken within about this. */
const MERCY_MS = 60;
/** What a kill takes in all, for the pace: the pause, the search, the new process. */
const KILL_MS = 2_500;
/** No order ended for so long: something hangs, and the audit shall tell what. */
const STALL_MS = 60_000;
/** Shares of the orders: those that trickle in during the kills, and those that feed the killer. */
const TRICKLE = 0.4;
const FEED = 0.5;
/** Orders that are let in at once when the killer finds nobody at work, by process. */
const FEED_EACH = 16;

/** What runs during a sale. */
interface Staff {
  readonly workers: Processes;
  readonly payment: PaymentService;
  /** Orders that each worker is undoing, by its own word. */
  readonly compensating: ReadonlyMap<number, number>;
}

/**
 * Runs a sale.
 *
 * Guarantee: every process that it started is dead when it resolves or rejects, and the store is
 * closed.
 * Errors: the signal's reason; `ShopOpenError`, `PaymentsExistError`; what the processes said if
 * they fall over again and again; those of `connect`.
 */
export async function runSale(options: SaleOptions): Promise<SaleReport> {
  const { url, signal } = options;
  await using hf = await connect(url, {
    namespace: NAMESPACE,
    sessionTtlMs: SESSION_TTL_MS,
    signal,
  });
  if (!hf.store.capabilities.isShared) {
    throw new Error(
      `Expected an engine that several processes can share, got ${hf.store.capabilities.engine}: ` +
        "use a sqlite: URL, or leave --engine out",
    );
  }
  const demand = demandOf(options.orders, options.rounds);
  await openShop(hf, initialStock(demand, options.stock), signal);
  const staff = hire(options);
  const { workers, payment } = staff;
  const onExit = (): void => {
    workers.killAll();
    payment.processes.killAll();
  };
  process.once("exit", onExit);
  try {
    await Promise.race([payment.start(), rejectOn(signal)]);
    await Promise.race([workers.start(), rejectOn(signal)]);
    return await sell(hf, staff, options);
  } finally {
    await workers.stop();
    await payment.processes.stop();
    process.removeListener("exit", onExit);
  }
}

function hire({ url, payments, processes, seed, isBroken, view }: SaleOptions): Staff {
  const onEvent = (text: string): void => view.say(text);
  const times = { bankMs: BANK_MS, lateMs: LATE_MS };
  const payment = new PaymentService({ path: payments, seed, ...times, onEvent });
  const compensating = new Map<number, number>();
  const workers = new Processes({
    count: processes,
    program: "worker",
    env: () => {
      const settings: WorkerSettings = {
        ...{ url, sessionTtlMs: SESSION_TTL_MS, concurrency: CONCURRENCY, isBroken, crash: null },
        ...{ paymentPort: payment.port, paymentMs: PAYMENT_MS, payWithinMs: PAY_WITHIN_MS },
      };
      return { [SETTINGS_VARIABLE]: JSON.stringify(settings) };
    },
    onMessage: (pid, message) => {
      const news = message as WorkerNews;
      if ("compensating" in news) compensating.set(pid, news.compensating);
    },
    onEvent,
  });
  return { workers, payment, compensating };
}

/** Everything between the first order's coming and the last mail's going out. */
async function sell(hf: Holdfast, staff: Staff, options: SaleOptions): Promise<SaleReport> {
  const { orders, rounds, kills, view } = options;
  const total = orders.length * rounds;
  const desk = hf.open(placeOrder);
  const customers = new Customers(desk, { hasCancels: true, paysAfterMs: PAYS_AFTER_MS });
  const arrivals = new Arrivals(desk, repeat(orders, rounds), {
    total,
    onArrived: (arrived) => customers.welcome(arrived),
  });
  const over = new AbortController();
  const random = new SeededRandom(options.seed);
  let isKillingOver = kills === 0;
  let ended = 0;
  const killer = new Killer(hf, victimsOf(staff), {
    kills,
    random: () => random.next(),
    pauseMs: PAUSE_MS,
    // An order's way takes as long as it does: a careless one's goes on after its commits.
    mercyMs: options.isBroken ? CARELESS_MS : MERCY_MS,
    feed: async () => void (await arrivals.send(feedSize(options, total), over.signal)),
    isOver: () => ended === total,
    onEvent: (text) => view.say(text),
  });
  const isFree = (): boolean => isKillingOver;
  const meter = new Meter(hf, {
    ...{ processes: staff.workers, killer, arrivals },
    processesWanted: options.processes,
    killsWanted: kills,
  });
  let isStalled = false;
  const watch = async (): Promise<void> => {
    for await (const progress of meter.run(over.signal)) {
      ended = progress.ended;
      view.update(progress);
      if (ended === total && meter.mailsWaiting === 0) return;
      isStalled = meter.idleMs > STALL_MS;
      if (isStalled) return;
    }
  };
  const kill = async (): Promise<void> => {
    await killer.run(over.signal);
    isKillingOver = true;
  };
  const work = [arrivals.run(paceOf(options, total, killer, isFree), over.signal), kill()];
  try {
    await Promise.race([
      watch(),
      // Either of these ends by itself; what it ends with matters only if it is a failure.
      ...work.map((part) => part.then(() => new Promise<never>(() => {}))),
      ...[options.signal, staff.workers.failure, staff.payment.processes.failure].map(rejectOn),
    ]);
  } finally {
    over.abort();
    customers.close();
    await Promise.allSettled(work);
    view.end();
  }
  return {
    orders: total,
    repeated: arrivals.repeated,
    killed: killer.attempts,
    restarts: staff.workers.restarts + staff.payment.processes.restarts,
    isStalled,
  };
}

function victimsOf({ workers, payment, compensating }: Staff): Victims {
  return {
    get workers() {
      return workers.pids;
    },
    get compensating() {
      return workers.pids.filter((pid) => (compensating.get(pid) ?? 0) > 0);
    },
    get payment() {
      return payment.processes.pids[0];
    },
    get openCalls() {
      return payment.open;
    },
    kill: async (pid) => {
      const owner = workers.pids.includes(pid) ? workers : payment.processes;
      await owner.kill(pid);
    },
  };
}

/** Orders are held back so that the sale ends after the kills. */
function paceOf(
  { kills }: SaleOptions,
  total: number,
  killer: Killer,
  isFree: () => boolean,
): Pace {
  return {
    perSecond: kills === 0 ? total : Math.max(1, (total * TRICKLE * 1_000) / (kills * KILL_MS)),
    allowed: () =>
      isFree() ? Infinity : Math.ceil((total * TRICKLE * (killer.counted + 1)) / (kills + 1)),
  };
}

/** Orders that are let in when the killer finds nobody at work. */
function feedSize({ processes, kills }: SaleOptions, total: number): number {
  const most = FEED_EACH * processes;
  const share = Math.floor((total * FEED) / Math.max(1, 2 * kills));
  return Math.max(processes, Math.min(most, share));
}
