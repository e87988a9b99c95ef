/**
 * What an engine can and can't do, as data. The conformance suites read it and test both branches.
 */
import { HoldfastError } from "../core/errors.ts";

export interface Capabilities {
  readonly engine: string;
  /** How far one group may reach. */
  readonly atomic: "store" | "partition" | "key";
  /** The ports that the engine serves. */
  readonly ports: readonly ("kv" | "queue" | "runs" | "log" | "limit" | "bus")[];
  /** State outlives the process. */
  readonly isPersistent: boolean;
  /** Several processes may open it at once. */
  readonly isShared: boolean;
  /** `addIn(tx, ...)` and its kin work on the user's own transaction. */
  readonly joinsUserTransaction: boolean;
  /** A watch is told of expired keys. */
  readonly hasExpiryEvents: boolean;
  readonly maxOpsPerGroup: number;
  /** Commits that the batcher may have under way at once. */
  readonly commitsInFlight: number;
  /** TTLs are rounded up to a multiple of this. */
  readonly ttlGranularityMs: number;
}

/** Two facts about an acknowledged write, read from the engine's real settings. */
export interface Durability {
  /** Copies that had it when the call returned. */
  readonly copies: number;
  /**
   * Whether a synced disk had it: `yes`, only after at most so many ms, `no` (memory), or
   * `unknown`.
   */
  readonly synced: "yes" | "no" | "unknown" | { readonly withinMs: number };
  /** The settings this was read from, for people. */
  readonly source: string;
}

/** What refuses a synchronous transaction of the user's where the engine can't join it. */
export function noUserTransaction(engine: string): HoldfastError {
  const message = `The engine ${engine} can't join a synchronous transaction of yours: use the awaited call`;
  return new HoldfastError("UNSUPPORTED", message, {
    outcome: "not-applied",
    details: { engine },
  });
}
