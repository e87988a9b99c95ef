/**
 * What customers do after they have ordered: those who pay later say so, and those who change their
 * mind cancel, whatever the order has come to by then.
 */
import type { Order } from "./rules.ts";
import { fateOf } from "./fates.ts";

/** What customers need of the workflow. */
export interface OrderDesk {
  send(run: string, event: "paid", value: { readonly by: string }): Promise<unknown>;
  cancel(run: string, options: { readonly reason: string }): Promise<boolean>;
}

export interface CustomersOptions {
  /** False: nobody changes their mind. */
  readonly hasCancels: boolean;
  /** So long somebody takes who pays later. */
  readonly paysAfterMs: number;
}

export class Customers {
  readonly #desk: OrderDesk;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #options: CustomersOptions;

  constructor(desk: OrderDesk, options: CustomersOptions) {
    this.#desk = desk;
    this.#options = options;
  }

  /** They have ordered. */
  welcome(orders: readonly Order[]): void {
    const { hasCancels, paysAfterMs } = this.#options;
    for (const order of orders) {
      const { id, customer } = order;
      const { pays, cancelsAfterMs } = fateOf(order);
      if (pays === "later") {
        const by = customer ?? "guest";
        this.#after(paysAfterMs, () => this.#desk.send(id, "paid", { by }));
      }
      if (cancelsAfterMs !== null && hasCancels) {
        const reason = "The customer changed their mind";
        this.#after(cancelsAfterMs, () => this.#desk.cancel(id, { reason }));
      }
    }
  }

  /** They leave. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #after(ms: number, act: () => Promise<unknown>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      // One that has ended takes no events any more, and whoever was not heard pays with the stock.
      act().catch(() => {});
    }, ms);
    this.#timers.add(timer);
  }
}
