/**
 * The judgement, from the sink's own record alone: what arrived, how often, and how soon after a
 * kill work went on.
 */
import { readFileSync } from "node:fs";
import type { SinkLine } from "./mail.ts";

/** A worker that was killed, and the jobs it held at that instant by the store's word. */
export interface Kill {
  readonly worker: string;
  readonly atMs: number;
  /** Its mails that the sink was working on. */
  readonly inFlight: number;
  readonly held: readonly string[];
}

export interface Verdict {
  readonly arrived: number;
  /** Promised and never arrived. */
  readonly lost: readonly string[];
  /** Arrived and never promised. */
  readonly strays: number;
  readonly extra: number;
  readonly refused: number;
  /**
   * For each kill: when the last of its jobs began elsewhere, counted from the kill; null: not all
   * did.
   */
  readonly recoveries: readonly (number | null)[];
}

export function readRecord(path: string): readonly SinkLine[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as SinkLine);
}

export function judge(
  record: readonly SinkLine[],
  promised: ReadonlySet<string>,
  kills: readonly Kill[],
): Verdict {
  const copies = new Map<string, number>();
  for (const { what, mail } of record) {
    if (what === "accepted") copies.set(mail, (copies.get(mail) ?? 0) + 1);
  }
  const lost = [...promised].filter((mail) => !copies.has(mail));
  const accepted = [...copies.values()].reduce((sum, count) => sum + count, 0);
  return {
    arrived: promised.size - lost.length,
    lost,
    strays: [...copies.keys()].filter((mail) => !promised.has(mail)).length,
    extra: accepted - copies.size,
    refused: record.filter(({ what }) => what === "refused").length,
    recoveries: kills.map((kill) => recoveryMs(record, kill)),
  };
}

/** How long after the kill the last of the worker's jobs had begun elsewhere. */
function recoveryMs(record: readonly SinkLine[], { worker, atMs, held }: Kill): number | null {
  const begun = new Map<string, number>();
  for (const line of record) {
    const isElsewhere = line.what === "begin" && line.worker !== worker && line.atMs >= atMs;
    if (isElsewhere && !begun.has(line.mail)) begun.set(line.mail, line.atMs - atMs);
  }
  const times = held.map((mail) => begun.get(mail) ?? null);
  return times.includes(null) ? null : Math.max(0, ...(times as number[]));
}
