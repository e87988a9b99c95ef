/** What every process of the shop shares: a value without I/O. */
import { queue, unchecked } from "holdfast/jobs";
import type { QueueDefinition } from "holdfast/jobs";
import { ORDERS_QUEUE } from "./books.ts";
import type { Receipt } from "./books.ts";
import type { Order } from "./rules.ts";

const DAY_MS = 86_400_000;

/**
 * Orders that wait to be taken. They were checked line by line when the file was read, so that the
 * queue need not look again.
 */
export const orders: QueueDefinition<Order, Order, Receipt, Receipt> = queue(ORDERS_QUEUE, {
  input: unchecked<Order>(),
  output: unchecked<Receipt>(),
  timeoutMs: 60_000,
  // A process that is killed costs a delivery, not an attempt: however many die, no order does.
  retry: { attempts: 20, deliveries: 1_000, backoff: { initialMs: 50, maxMs: 2_000 } },
  // The audit wants to see every job.
  keep: { ms: 30 * DAY_MS, count: 10_000_000, deadMs: 30 * DAY_MS },
});
