/**
 * Bytes are copied on their way in and out, as a wire would: nobody outside shares a buffer with
 * the state.
 */
import type { Group, Op } from "../../store/ops.ts";

const FIELDS = ["value", "payload", "result", "message"] as const;

/** The op's field of user data, if it is bytes. */
function bytesField(op: Op): (typeof FIELDS)[number] | undefined {
  const fields = op as unknown as Readonly<Record<string, unknown>>;
  return FIELDS.find((name) => fields[name] instanceof Uint8Array);
}

function ownOp(op: Op): Op {
  const field = bytesField(op);
  if (field === undefined) return op;
  const bytes = (op as unknown as Readonly<Record<string, Uint8Array>>)[field];
  return { ...op, [field]: bytes?.slice() };
}

/** The groups with buffers of their own, and whether there were any bytes. */
export function ownGroups(groups: readonly Group[]): {
  readonly groups: readonly Group[];
  readonly hasBytes: boolean;
} {
  const hasBytes = groups.some(({ ops }) => ops.some((op) => bytesField(op) !== undefined));
  if (!hasBytes) return { groups, hasBytes };
  return { groups: groups.map((group) => ({ ...group, ops: group.ops.map(ownOp) })), hasBytes };
}

/** Plain data with buffers of its own. */
export function own<T>(data: T): T {
  if (data instanceof Uint8Array) return data.slice() as T;
  if (Array.isArray(data)) return data.map(own) as T;
  if (typeof data !== "object" || data === null) return data;
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(data)) copy[name] = own(value);
  return copy as T;
}
