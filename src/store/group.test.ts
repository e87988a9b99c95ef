import { describe, expect, test } from "vitest";
import { HoldfastError, LeaseLostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Capabilities } from "./capabilities.ts";
import { GroupRules, partitionOf, refusalError, resultsOf } from "./group.ts";
import type { Op } from "./ops.ts";

const CAPABILITIES: Capabilities = {
  engine: "scripted",
  atomic: "store",
  ports: ["kv", "queue", "bus"],
  isPersistent: false,
  isShared: false,
  joinsUserTransaction: false,
  hasExpiryEvents: true,
  maxOpsPerGroup: 4_096,
  commitsInFlight: 1,
  ttlGranularityMs: 1,
};

function rules(changes: Partial<Capabilities> = {}): GroupRules {
  return new GroupRules({ ...CAPABILITIES, ...changes });
}
const get = (key: string): Op => ({ op: "kv.get", key });
const put = (bytes: number): Op => ({ op: "kv.put", key: "k", value: "x".repeat(bytes) });
const times = (n: number, op: Op): Op[] => Array.from({ length: n }, () => op);

/** The error as its code and its outcome. */
function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof HoldfastError
      ? `${error.code} ${error.outcome}`
      : (error as Error).name;
  }
  return "none";
}

describe("a group", () => {
  test("of no ops is a RangeError", () => {
    expect(codeOf(() => rules().check([]))).toBe("RangeError");
    expect(codeOf(() => partitionOf([]))).toBe("RangeError");
  });

  test("of too many ops is TOO_LARGE, before anything is sent", () => {
    expect(codeOf(() => rules().check(times(LIMITS.opsPerGroup, get("k"))))).toBe("none");
    const over = times(LIMITS.opsPerGroup + 1, get("k"));
    expect(codeOf(() => rules().check(over))).toBe("TOO_LARGE not-applied");
  });

  test("is bounded by the engine where that is lower", () => {
    const few = rules({ maxOpsPerGroup: 128 });
    expect(codeOf(() => few.check(times(128, get("k"))))).toBe("none");
    expect(codeOf(() => few.check(times(129, get("k"))))).toBe("TOO_LARGE not-applied");
  });

  test("of too many bytes is TOO_LARGE, before anything is sent", () => {
    const mib = 1_048_576;
    expect(codeOf(() => rules().check(times(7, put(mib))))).toBe("none");
    expect(codeOf(() => rules().check(times(8, put(mib))))).toBe("TOO_LARGE not-applied");
  });

  test("of a port that the engine does not serve is UNSUPPORTED", () => {
    const enqueue = { op: "queue.pause", queue: "q", isPaused: true } as const;
    expect(codeOf(() => rules().check([enqueue]))).toBe("none");
    expect(codeOf(() => rules({ ports: ["kv"] }).check([enqueue]))).toBe("UNSUPPORTED not-applied");
    const open = { op: "session.open", session: "s", ttlMs: 100, label: "l" } as const;
    expect(codeOf(() => rules({ ports: ["kv"] }).check([open]))).toBe("none");
  });

  test("of two keys is UNSUPPORTED where a key is all that is atomic", () => {
    const byKey = rules({ atomic: "key" });
    expect(codeOf(() => byKey.check([get("a"), put(1)]))).toBe("UNSUPPORTED not-applied");
    expect(codeOf(() => byKey.check([get("k"), put(1)]))).toBe("none");
  });

  test("of ops of two partitions is UNSUPPORTED, and names them", () => {
    const placed = ["a", "a", "b"].map((partition) => ({ partition, op: get("k") }));
    expect(codeOf(() => partitionOf(placed))).toBe("UNSUPPORTED not-applied");
    expect(() => partitionOf(placed)).toThrow(
      expect.objectContaining({ details: { partitions: ["a", "b"] } }),
    );
    expect(partitionOf(placed.slice(0, 2))).toBe("a");
  });

  test("is measured in bytes, not in characters", () => {
    const size = (value: string | Uint8Array): number =>
      rules().check([{ op: "kv.put", key: "k", value }]);
    const base = size("");
    expect(size("ä€") - base).toBe(5);
    expect(size(new Uint8Array(7)) - base).toBe(7);
  });
});

describe("a refusal", () => {
  test("becomes an error that says not-applied", () => {
    const error = refusalError({ index: 0, code: "LIMITED", message: "m", details: { key: "k" } });
    expect(error).toMatchObject({ code: "LIMITED", outcome: "not-applied", retryable: false });
    expect(error.details).toEqual({ key: "k" });
  });

  test("of a lost lease is a LeaseLostError; of a conflict or an overload is retryable", () => {
    expect(refusalError({ index: 0, code: "LEASE_LOST", message: "m" })).toBeInstanceOf(
      LeaseLostError,
    );
    expect(refusalError({ index: 0, code: "CONFLICT", message: "m" }).retryable).toBe(true);
    expect(refusalError({ index: 0, code: "OVERLOADED", message: "m" }).retryable).toBe(true);
  });

  test("is thrown by resultsOf; a result is passed on", () => {
    const refusal = { index: 0, code: "FENCED", message: "m" } as const;
    expect(() => resultsOf({ ok: false, refusal })).toThrow(
      expect.objectContaining({ code: "FENCED" }),
    );
    expect(resultsOf({ ok: true, revision: 1, results: [] })).toEqual([]);
  });
});
