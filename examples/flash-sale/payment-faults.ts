/**
 * How the payment service ails: by the seed and the call's key, so that a run can be had again.
 * Pure.
 *
 *   declined  there is no money; the answer says so
 *   lost      charged, but the first answer never comes
 *   dropped   the first call is never acted upon, nor answered
 *   mute      charged, and no call is ever answered
 *   late      no call is ever answered, and the charge comes when nobody waits for it any more
 */
import { chance } from "./fates.ts";

export type ChargeFault = "none" | "declined" | "lost" | "dropped" | "mute" | "late";

const DECLINED = 0.05;
const SILENT = 0.02;
const SILENCES: readonly ChargeFault[] = ["lost", "dropped", "mute", "late"];

export function chargeFault(seed: number, key: string): ChargeFault {
  const drawn = chance(`charge ${seed} ${key}`);
  if (drawn < DECLINED) return "declined";
  if (drawn >= DECLINED + SILENT) return "none";
  const at = Math.floor(((drawn - DECLINED) / SILENT) * SILENCES.length);
  return SILENCES[at] ?? "lost";
}

/** Refunds and credits always hold; the first answer of some is lost. */
export function isAnswerLost(seed: number, key: string): boolean {
  return chance(`answer ${seed} ${key}`) < SILENT;
}

/** How long the bank takes for a call, from `atLeastMs` to twice as much. */
export function bankMs(seed: number, key: string, atLeastMs: number): number {
  return Math.round(atLeastMs * (1 + chance(`bank ${seed} ${key}`)));
}
