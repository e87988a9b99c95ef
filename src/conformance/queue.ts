/**
 * The suite of the queue port: one test for each sentence of `ports/queue/README.md`, in its words
 * and its order.
 */
import { absentCases } from "./absent.ts";
import { declare, type Cases, type ConformanceOptions } from "./kit.ts";
import { queueAddingCases } from "./queue-adding.ts";
import { queueAdminCases } from "./queue-admin.ts";
import { queueDedupeCases } from "./queue-dedupe.ts";
import { queueDeliveryCases } from "./queue-delivery.ts";
import { queueFencingCases } from "./queue-fencing.ts";
import { queueHistoryCases } from "./queue-history.ts";
import { queueLimitCases } from "./queue-limits.ts";
import { queueOrderCases } from "./queue-order.ts";
import { queueTimeCases } from "./queue-time.ts";

export const queueCases: Cases = {
  ...queueAddingCases,
  ...queueDeliveryCases,
  ...queueFencingCases,
  ...queueOrderCases,
  ...queueTimeCases,
  ...queueLimitCases,
  ...queueDedupeCases,
  ...queueAdminCases,
  ...queueHistoryCases,
};

/** Tests an engine's queue port, or that it refuses it where the capability record has none. */
export function queueConformance(options: ConformanceOptions): void {
  declare(
    options,
    options.capabilities.ports.includes("queue") ? queueCases : absentCases("queue"),
  );
}
