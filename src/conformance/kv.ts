/**
 * The suite of the kv port: one test for each sentence of `ports/kv/README.md`, in its words and
 * its order.
 */
import { declare, type Cases, type ConformanceOptions } from "./kit.ts";
import { kvBasicCases } from "./kv-basic.ts";
import { kvCounterCases } from "./kv-counter.ts";
import { kvHistoryCases } from "./kv-history.ts";
import { kvListCases } from "./kv-list.ts";
import { kvTimeCases } from "./kv-time.ts";
import { kvWatchCases } from "./kv-watch.ts";
import { absentCases } from "./absent.ts";

export const kvCases: Cases = {
  ...kvBasicCases,
  ...kvCounterCases,
  ...kvTimeCases,
  ...kvListCases,
  ...kvWatchCases,
  ...kvHistoryCases,
};

/** Tests an engine's kv port, or that it refuses it where the capability record has none. */
export function kvConformance(options: ConformanceOptions): void {
  declare(options, options.capabilities.ports.includes("kv") ? kvCases : absentCases("kv"));
}
