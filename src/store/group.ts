/**
 * Groups of ops: where each op lives, what a group may hold, and what a refusal becomes for a
 * caller who wants a throw.
 * Everything here is decided before anything is sent.
 */
import { dataBytes } from "../core/codec.ts";
import { HoldfastError, LeaseLostError, type ErrorCode } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Capabilities } from "./capabilities.ts";
import type { Op, OpResult, Refusal } from "./ops.ts";

/**
 * An op and the partition it belongs to: what the ports' builders give, and what `commitAll` takes.
 */
export interface Placed<O extends Op = Op> {
  readonly partition: string;
  readonly op: O;
}

/** A group's result with each op's own result type; a refusal is a value, not an exception. */
export type Committed<O extends readonly Op[] = readonly Op[]> =
  | {
      readonly ok: true;
      readonly revision: number;
      readonly results: { readonly [I in keyof O]: OpResult<O[I]> };
    }
  | { readonly ok: false; readonly refusal: Refusal };

/** The ops of placed ones, as a tuple. */
export type OpsOf<P extends readonly Placed[]> = { readonly [I in keyof P]: P[I]["op"] };

// Trying the same group again may succeed without a change by the caller.
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CONFLICT",
  "OVERLOADED",
  "UNAVAILABLE",
]);

/** A refusal as the error that the throwing calls raise; nothing was written. */
export function refusalError(refusal: Refusal): HoldfastError {
  const { code, message, details } = refusal;
  const options = { outcome: "not-applied", retryable: RETRYABLE.has(code), details } as const;
  if (code === "LEASE_LOST") return new LeaseLostError(message, options);
  return new HoldfastError(code, message, options);
}

/** The results of a group that had to hold; throws its refusal. */
export function resultsOf<O extends readonly Op[]>(
  committed: Committed<O>,
): { readonly [I in keyof O]: OpResult<O[I]> } {
  if (!committed.ok) throw refusalError(committed.refusal);
  return committed.results;
}

/**
 * The one partition of placed ops. A group that crosses partitions is refused with `UNSUPPORTED`
 * before anything is sent:
 * atomicity is per partition.
 */
export function partitionOf(placed: readonly Placed[]): string {
  const first = placed[0];
  if (first === undefined) throw new RangeError("Expected `ops` to hold at least one op, got none");
  for (const { partition } of placed) {
    if (partition === first.partition) continue;
    const partitions = [...new Set(placed.map((each) => each.partition))];
    throw new HoldfastError(
      "UNSUPPORTED",
      `Expected the ops of one group to be in one partition, got ${partitions.length} (${partitions.slice(0, 5).join(", ")}): commit them one partition at a time`,
      { outcome: "not-applied", details: { partitions } },
    );
  }
  return first.partition;
}

/** Bytes of user data in an op, besides a fixed share for its own fields. */
function opBytes(op: Op): number {
  switch (op.op) {
    case "kv.put":
      return 64 + op.key.length + dataBytes(op.value);
    case "queue.enqueue":
      return 128 + dataBytes(op.payload);
    case "queue.settle":
      return 64 + (op.result === null ? 0 : dataBytes(op.result)) + (op.error?.length ?? 0);
    case "queue.progress":
      return 64 + dataBytes(op.value);
    case "bus.publish":
      return 64 + dataBytes(op.message);
    case "runs.record":
      return op.records.reduce(
        (sum, each) => sum + 64 + each.key.length + dataBytes(each.data),
        64,
      );
    case "runs.restart":
      return 64 + dataBytes(op.payload) + op.events.length * 8;
    case "runs.send":
      return 64 + op.event.length + dataBytes(op.data);
    case "queue.redrive":
      return 64 + (op.ids?.length ?? 0) * 32;
    default:
      return 64;
  }
}

function tooLarge(what: string, limit: number, got: number): HoldfastError {
  const message = `Expected a group of at most ${limit} ${what}, got ${got}: split it into several groups`;
  return new HoldfastError("TOO_LARGE", message, {
    outcome: "not-applied",
    details: { limit, got },
  });
}

function unsupported(engine: string, what: string): HoldfastError {
  const message = `The engine ${engine} does not serve ${what}: see \`store.capabilities\``;
  return new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied", details: { engine } });
}

type Port = Capabilities["ports"][number];

/** What an engine takes, worked out once a store so that the check costs a look-up an op. */
export class GroupRules {
  readonly #capabilities: Capabilities;
  readonly #ports: ReadonlySet<string>;
  readonly #maxOps: number;
  readonly #served = new Map<string, boolean>();

  constructor(capabilities: Capabilities) {
    this.#capabilities = capabilities;
    // Sessions are part of the store, not a port.
    this.#ports = new Set<Port | "session">([...capabilities.ports, "session"]);
    this.#maxOps = Math.min(LIMITS.opsPerGroup, capabilities.maxOpsPerGroup);
  }

  /**
   * The group's size in bytes, having checked its limits (`TOO_LARGE`), that the engine serves its
   * ports and can commit its keys together (`UNSUPPORTED`).
   */
  check(ops: readonly Op[]): number {
    if (ops.length === 0) throw new RangeError("Expected `ops` to hold at least one op, got none");
    if (ops.length > this.#maxOps) throw tooLarge("ops", this.#maxOps, ops.length);
    let bytes = 0;
    for (const op of ops) {
      if (!this.#serves(op.op)) throw unsupported(this.#capabilities.engine, op.op);
      bytes += opBytes(op);
    }
    if (bytes > LIMITS.groupBytes) throw tooLarge("bytes", LIMITS.groupBytes, bytes);
    if (this.#capabilities.atomic === "key" && ops.length > 1) this.#checkOneKey(ops);
    return bytes;
  }

  #serves(kind: string): boolean {
    let isServed = this.#served.get(kind);
    if (isServed === undefined) {
      isServed = this.#ports.has(kind.slice(0, kind.indexOf(".")));
      this.#served.set(kind, isServed);
    }
    return isServed;
  }

  #checkOneKey(ops: readonly Op[]): void {
    const keys = new Set(
      ops.map((op) => ("key" in op ? `${op.op.split(".")[0]} ${op.key}` : op.op)),
    );
    if (keys.size > 1) throw unsupported(this.#capabilities.engine, "groups of more than one key");
  }
}
