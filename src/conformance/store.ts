/**
 * The suite of the store itself: one test for each sentence of `store/README.md`, in its words and
 * its order.
 */
import { declare, type Cases, type ConformanceOptions } from "./kit.ts";
import { storeGroupCases } from "./store-groups.ts";
import { storeLastingCases } from "./store-lasting.ts";
import { storeMoveCases } from "./store-move.ts";
import { storeSessionCases } from "./store-sessions.ts";

export const storeCases: Cases = {
  ...storeGroupCases,
  ...storeSessionCases,
  ...storeLastingCases,
  ...storeMoveCases,
};

/** Tests what an engine's store is: groups, sessions, durability, seals and moves. */
export function storeConformance(options: ConformanceOptions): void {
  declare(options, storeCases);
}
