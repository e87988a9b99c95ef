/** Refusals that more than one door of an embedded engine gives, in the same words. */
import type { Data } from "../../../core/codec.ts";
import type { QueueEnqueue, Refusal } from "../../../store/ops.ts";

/** A refusal of the group's op with this index. */
export type Verdict = Omit<Refusal, "index">;

/** The id of an add is another job's. */
export function idTaken({ queue, id }: QueueEnqueue): Verdict {
  const message = `Expected job "${id}" of queue "${queue}" to be new or the same, found one with another payload: use another id`;
  return { code: "ALREADY_EXISTS", message, details: { queue, id } };
}

/** The partition takes no more groups. */
export function partitionMoved(partition: string, movedTo: string | null): Verdict {
  const place = movedTo === null ? "" : ` to ${movedTo}`;
  const message = `Partition "${partition}" was sealed and moved${place}: open the store there`;
  return { code: "MOVED", message, details: { partition, movedTo } };
}

/** True for the same text, or the same bytes. */
export function isSameData(a: Data, b: Data): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return Buffer.compare(a, b) === 0;
}
