/**
 * The suite of the runs port: one test for each sentence of `ports/runs/README.md`, in its words
 * and its order.
 */
import { absentCases } from "./absent.ts";
import { declare, type Cases, type ConformanceOptions } from "./kit.ts";
import { runsJournalCases } from "./runs-journal.ts";
import { runsWaitingCases } from "./runs-waiting.ts";

export const runsCases: Cases = { ...runsJournalCases, ...runsWaitingCases };

/** Tests an engine's runs port, or that it refuses it where the capability record has none. */
export function runsConformance(options: ConformanceOptions): void {
  declare(options, options.capabilities.ports.includes("runs") ? runsCases : absentCases("runs"));
}
