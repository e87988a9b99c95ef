/**
 * One sale from opening to closing: stock on the shelves, workers at the tills, customers coming
 * in, and a killer among them. Everything that it started has ended when it ends.
 */
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { SeededRandom } from "holdfast/store";
import { Arrivals } from "./arrivals.ts";
import { NAMESPACE } from "./books.ts";
import { orders as orderQueue } from "./definitions.ts";
import { demandOf } from "./input.ts";
import { Killer } from "./killer.ts";
import { Meter } from "./meter.ts";
import { openShop } from "./opening.ts";
import { Processes, rejectOn } from "./processes.ts";
import { initialStock, repeat } from "./rules.ts";
import type { Order } from "./rules.ts";
import { CARELESS_MS } from "./till.ts";
import type { View } from "./view.ts";

export interface SaleOptions {
  readonly url: string;
  readonly orders: readonly Order[];
  /** How often the orders are played in all. */
  readonly rounds: number;
  /** What each code starts with, as a share of its demand. */
  readonly stock: number;
  readonly processes: number;
  readonly kills: number;
  readonly seed: number;
  /** True: orders are taken in two commits, which the audit must find. */
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
const CONCURRENCY = 8;
const CHECK_MS = 15;
/** The shop's time between two kills. */
const PAUSE_MS = 1_500;
/** An order is taken within about this. */
const MERCY_MS = 25;
/** What a kill takes in all, for the pace: the pause, the search, the new process. */
const KILL_MS = 2_500;
/** No order ended for so long: something hangs, and the audit shall tell what. */
const STALL_MS = 60_000;
/** Shares of the orders: those that trickle in during the kills, and those that feed the killer. */
const TRICKLE = 0.4;
const FEED = 0.5;

/**
 * Runs a sale.
 *
 * Guarantee: every process that it started is dead when it resolves or rejects, and the store is
 * closed.
 * Errors: the signal's reason; `ShopOpenError`; what the workers said if they fall over again and
 * again; those of `connect`.
 */
export async function runSale(options: SaleOptions): Promise<SaleReport> {
  const { url, processes: count, view, signal } = options;
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
  const worker = {
    url,
    sessionTtlMs: SESSION_TTL_MS,
    concurrency: CONCURRENCY,
    checkMs: CHECK_MS,
    isBroken: options.isBroken,
  };
  const processes = new Processes({ count, worker, onEvent: (text) => view.say(text) });
  const onExit = (): void => processes.killAll();
  process.once("exit", onExit);
  try {
    await Promise.race([processes.start(), rejectOn(signal)]);
    return await sell(hf, processes, options);
  } finally {
    await processes.stop();
    process.removeListener("exit", onExit);
  }
}

/** Everything between the first order's coming and the last one's end. */
async function sell(hf: Holdfast, processes: Processes, options: SaleOptions): Promise<SaleReport> {
  const { orders, rounds, kills, view } = options;
  const total = orders.length * rounds;
  const arrivals = new Arrivals(hf.open(orderQueue), repeat(orders, rounds), total);
  const over = new AbortController();
  const random = new SeededRandom(options.seed);
  let isKillingOver = kills === 0;
  let ended = 0;
  const killer = new Killer(hf, processes, {
    kills,
    random: () => random.next(),
    pauseMs: PAUSE_MS,
    // An order's way takes as long as it does: a careless one's goes on after its first commit.
    mercyMs: options.isBroken ? CARELESS_MS : MERCY_MS,
    feed: async () => void (await arrivals.send(feedSize(options, total), over.signal)),
    isOver: () => ended === total,
    onEvent: (text) => view.say(text),
  });
  const pace = {
    perSecond: kills === 0 ? total : Math.max(1, (total * TRICKLE * 1_000) / (kills * KILL_MS)),
    allowed: () =>
      isKillingOver ? Infinity : Math.ceil((total * TRICKLE * (killer.counted + 1)) / (kills + 1)),
  };
  const meter = new Meter(hf, {
    ...{ processes, killer, arrivals },
    processesWanted: options.processes,
    killsWanted: kills,
  });
  let isStalled = false;
  const watch = async (): Promise<void> => {
    for await (const progress of meter.run(over.signal)) {
      ended = progress.ended;
      view.update(progress);
      if (progress.ended === total) return;
      if (meter.idleMs > STALL_MS) {
        isStalled = true;
        return;
      }
    }
  };
  const kill = async (): Promise<void> => {
    await killer.run(over.signal);
    isKillingOver = true;
  };
  const work = [arrivals.run(pace, over.signal), kill()];
  try {
    await Promise.race([
      watch(),
      // Either of these ends by itself; what it ends with matters only if it is a failure.
      ...work.map((part) => part.then(() => new Promise<never>(() => {}))),
      rejectOn(options.signal),
      rejectOn(processes.failure),
    ]);
  } finally {
    over.abort();
    await Promise.allSettled(work);
    view.end();
  }
  return {
    orders: total,
    repeated: arrivals.repeated,
    killed: killer.attempts,
    restarts: processes.restarts,
    isStalled,
  };
}

/** Orders that are let in when the killer finds nobody at work. */
function feedSize({ processes, kills }: SaleOptions, total: number): number {
  const most = 2 * processes * CONCURRENCY;
  const share = Math.floor((total * FEED) / Math.max(1, 2 * kills));
  return Math.max(processes, Math.min(most, share));
}
