/**
 * The customers: orders arrive, one after the other, as the sale wants them.
 *
 * An order's number is its run's id, so that sending it again changes nothing. Some customers do:
 * they got no answer, and try once more.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { StartOptions } from "holdfast/workflow";
import type { Order } from "./rules.ts";

/** What arrivals need of the workflow. */
export interface OrderStarter {
  start(order: Order, options: StartOptions): Promise<unknown>;
}

/** How fast orders arrive while the pace is held. */
export interface Pace {
  readonly perSecond: number;
  /** How many may have arrived by now; `Infinity` when nothing holds them back any more. */
  allowed(): number;
}

const TICK_MS = 50;
/** Orders of one call when nothing holds them back. */
const CHUNK = 500;
/** One order in so many is sent twice. */
const REPEATED = 16;

export class Arrivals {
  readonly #starter: OrderStarter;
  readonly #orders: Iterator<Order>;
  readonly #onArrived: (orders: readonly Order[]) => void;
  readonly total: number;
  #sent = 0;
  #repeated = 0;
  #isDrained = false;

  constructor(
    starter: OrderStarter,
    orders: Iterator<Order>,
    options: { readonly total: number; readonly onArrived: (orders: readonly Order[]) => void },
  ) {
    this.#starter = starter;
    this.#orders = orders;
    this.#onArrived = options.onArrived;
    this.total = options.total;
  }

  /** Orders that are in the store for sure. */
  get sent(): number {
    return this.#sent;
  }
  /** Orders that were sent a second time. */
  get repeated(): number {
    return this.#repeated;
  }
  /** True when no order is left to send. */
  get isDrained(): boolean {
    return this.#isDrained;
  }

  /** Sends all orders at the pace. Ends when none is left, or with the signal's reason. */
  async run(pace: Pace, signal: AbortSignal): Promise<void> {
    let credit = 0;
    while (!this.#isDrained) {
      const allowed = pace.allowed();
      if (allowed === Infinity) {
        await this.send(CHUNK, signal);
        continue;
      }
      credit = Math.min(credit + (pace.perSecond * TICK_MS) / 1_000, pace.perSecond);
      const count = Math.floor(Math.min(credit, allowed - this.#sent));
      if (count >= 1) {
        credit -= count;
        await this.send(count, signal);
      }
      await sleep(TICK_MS, undefined, { signal });
    }
  }

  /** Sends up to so many orders now, whatever the pace. Gives how many were left to send. */
  async send(count: number, signal: AbortSignal): Promise<number> {
    const orders = this.#take(count);
    if (orders.length === 0) return 0;
    signal.throwIfAborted();
    await this.#start(orders);
    this.#sent += orders.length;
    this.#onArrived(orders);
    const again = orders.filter((_, index) => (this.#sent - index) % REPEATED === 0);
    await this.#start(again);
    this.#repeated += again.length;
    return orders.length;
  }

  /** Together they are a commit or two. */
  async #start(orders: readonly Order[]): Promise<void> {
    await Promise.all(orders.map((order) => this.#starter.start(order, { id: order.id })));
  }

  #take(count: number): Order[] {
    const orders: Order[] = [];
    while (orders.length < count && !this.#isDrained) {
      const next = this.#orders.next();
      if (next.done === true) this.#isDrained = true;
      else orders.push(next.value);
    }
    return orders;
  }
}
