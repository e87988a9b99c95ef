/** What every process of the shop shares: values without I/O. */
import { queue, unchecked } from "holdfast/jobs";
import type { QueueDefinition } from "holdfast/jobs";
import { workflow } from "holdfast/workflow";
import type { WorkflowDefinition } from "holdfast/workflow";
import { MAILS_QUEUE, ORDERS_WORKFLOW } from "./books.ts";
import type { Mail, Receipt } from "./books.ts";
import type { Order } from "./rules.ts";

const DAY_MS = 86_400_000;
/** The audit wants to see every run and every mail. */
const KEEP = { ms: 30 * DAY_MS, count: 10_000_000, deadMs: 30 * DAY_MS } as const;
const PATIENT = { initialMs: 50, maxMs: 800 } as const;

/** What an order may be told while it waits: the customer's word that the money may be charged. */
export interface OrderEvents {
  readonly paid: { readonly by: string };
}

/**
 * An order. The lines were checked one by one when the file was read, so that the workflow need not
 * look again.
 */
export const placeOrder: WorkflowDefinition<Order, Order, Receipt, Receipt, OrderEvents> = workflow(
  ORDERS_WORKFLOW,
  {
    input: unchecked<Order>(),
    output: unchecked<Receipt>(),
    events: { paid: unchecked<OrderEvents["paid"]>() },
    // Longer than the payment service takes to come back from a kill.
    retry: { attempts: 12, backoff: PATIENT },
    // A refund is tried until it holds: there is nobody here to look after one that was parked.
    undoRetry: { attempts: 200, backoff: PATIENT },
    stepTimeoutMs: 30_000,
    keep: KEEP,
  },
);

/** Mails to send. A process that is killed costs a delivery, not an attempt. */
export const confirmations: QueueDefinition<Mail, Mail, unknown, unknown> = queue(MAILS_QUEUE, {
  input: unchecked<Mail>(),
  timeoutMs: 30_000,
  retry: { attempts: 20, deliveries: 1_000, backoff: PATIENT },
  keep: KEEP,
});
