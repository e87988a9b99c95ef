import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { SeededRandom, type Random } from "../../core/random.ts";
import {
  describeFailure,
  isPermanent,
  permanent,
  PermanentError,
  retryDelayMs,
} from "../../core/retry.ts";
import { checkRetry, judgeFailure } from "./retry.ts";

const always = (value: number): Random => ({ next: () => value, text: () => "" });
const arbitrary = fc.record({
  initialMs: fc.integer({ min: 0, max: LIMITS.durationMs }),
  factor: fc.double({ min: 1, max: 100, noNaN: true }),
  extraMs: fc.integer({ min: 0, max: 1_000_000 }),
  attempt: fc.integer({ min: 1, max: 1_000 }),
  seed: fc.integer(),
});

describe("backoff", () => {
  test("a delay is a whole number from 0 to min(maxMs, initialMs × factor^(n-1))", () => {
    fc.assert(
      fc.property(arbitrary, ({ initialMs, factor, extraMs, attempt, seed }) => {
        const maxMs = Math.min(LIMITS.durationMs, initialMs + extraMs);
        const policy = checkRetry({ attempts: 1_000, backoff: { initialMs, factor, maxMs } });
        const delayMs = retryDelayMs(policy, attempt, new SeededRandom(seed));
        expect(Number.isSafeInteger(delayMs)).toBe(true);
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThanOrEqual(maxMs);
        // 0 × Infinity is no bound.
        const boundMs = initialMs === 0 ? 0 : initialMs * factor ** (attempt - 1);
        expect(delayMs).toBeLessThanOrEqual(boundMs);
      }),
    );
  });
  test("without jitter it is the bound itself, and never shrinks", () => {
    fc.assert(
      fc.property(arbitrary, ({ initialMs, factor, extraMs, attempt }) => {
        const maxMs = Math.min(LIMITS.durationMs, initialMs + extraMs);
        const backoff = { initialMs, factor, maxMs, jitter: "none" } as const;
        const policy = checkRetry({ attempts: 1_000, backoff });
        const delayMs = retryDelayMs(policy, attempt, always(0));
        expect(delayMs).toBeGreaterThanOrEqual(Math.min(initialMs, maxMs));
        expect(retryDelayMs(policy, attempt + 1, always(0))).toBeGreaterThanOrEqual(delayMs);
      }),
    );
  });
  test("full jitter reaches both ends", () => {
    const policy = checkRetry(undefined);
    expect(retryDelayMs(policy, 1, always(0))).toBe(0);
    expect(retryDelayMs(policy, 1, always(0.999_999_999))).toBe(200);
    expect(retryDelayMs(policy, 3, always(0.999_999_999))).toBe(800);
    expect(retryDelayMs(policy, 30, always(0.999_999_999))).toBe(60_000);
  });
});

describe("judging a failure", () => {
  const policy = checkRetry({ attempts: 3, deliveries: 6 });
  const job = (attempt: number, delivery: number = attempt) => ({ attempt, delivery });
  test("it is tried again until the attempts are used up", () => {
    const error = new TypeError("no");
    expect(judgeFailure(policy, job(1), error, always(0.5))).toEqual({
      outcome: "retry",
      delayMs: 100,
      error: "TypeError: no",
    });
    expect(judgeFailure(policy, job(3), error, always(0.5)).outcome).toBe("dead");
  });
  test("deliveries are bounded by themselves", () => {
    expect(judgeFailure(policy, job(2, 5), "x", always(0)).outcome).toBe("retry");
    expect(judgeFailure(policy, job(2, 6), "x", always(0)).outcome).toBe("dead");
  });
  test("a permanent failure is dead at once", () => {
    const verdict = judgeFailure(policy, job(1), permanent("There is no such customer"), always(0));
    expect(verdict).toEqual({ outcome: "dead", error: "There is no such customer" });
    const cause = new Error("404");
    const wrapped = permanent(cause);
    expect(wrapped).toBeInstanceOf(PermanentError);
    expect(wrapped.cause).toBe(cause);
    expect(wrapped.message).toBe("Error: 404");
    expect(isPermanent(cause)).toBe(false);
    expect(isPermanent(null)).toBe(false);
  });
  test("an error that says when to come back is not tried before", () => {
    const limited = new HoldfastError("LIMITED", "full", { retryAfterMs: 5_000.5 });
    expect(judgeFailure(policy, job(1), limited, always(0.5))).toMatchObject({ delayMs: 5_001 });
    const soon = new HoldfastError("LIMITED", "full", { retryAfterMs: 1 });
    expect(judgeFailure(policy, job(1), soon, always(0.5))).toMatchObject({ delayMs: 100 });
    const never = new HoldfastError("LIMITED", "full", { retryAfterMs: Infinity });
    expect(judgeFailure(policy, job(1), never, always(0.5))).toMatchObject({
      delayMs: LIMITS.durationMs,
    });
  });
  test("whatever is thrown has a text of bounded length", () => {
    const trap = new Proxy(new Error("x"), {
      get: () => {
        throw new Error("looked");
      },
    });
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        const text = describeFailure(thrown);
        expect(typeof text).toBe("string");
        expect(text.length).toBeLessThanOrEqual(LIMITS.errorChars);
      }),
    );
    expect(describeFailure(trap)).toContain("can't be described");
    expect(describeFailure(new Error("x".repeat(5_000))).length).toBe(LIMITS.errorChars);
    expect(describeFailure(permanent("y".repeat(5_000))).length).toBe(LIMITS.errorChars);
  });
});

describe("retry options", () => {
  test("defaults are 5 attempts, 20 deliveries, 200 ms to 60 s, and the key is held", () => {
    expect(checkRetry(undefined)).toEqual({
      attempts: 5,
      deliveries: 20,
      initialMs: 200,
      factor: 2,
      maxMs: 60_000,
      isJittered: true,
      holdsKey: true,
    });
    expect(checkRetry({ attempts: 30 }).deliveries).toBe(45);
    expect(checkRetry({ backoff: { initialMs: 90_000 } }).maxMs).toBe(90_000);
  });
  test.each([
    [{ attempts: 0 }, RangeError],
    [{ attempts: -1 }, RangeError],
    [{ attempts: 1.5 }, RangeError],
    [{ attempts: 1_001 }, RangeError],
    [{ attempts: "3" }, TypeError],
    [{ attempts: NaN }, RangeError],
    [{ attempts: 5, deliveries: 4 }, RangeError],
    [{ backoff: { initialMs: -1 } }, RangeError],
    [{ backoff: { initialMs: 0.5 } }, RangeError],
    [{ backoff: { initialMs: 100, maxMs: 99 } }, RangeError],
    [{ backoff: { maxMs: LIMITS.durationMs + 1 } }, RangeError],
    [{ backoff: { factor: 0.9 } }, RangeError],
    [{ backoff: { factor: NaN } }, RangeError],
    [{ backoff: { factor: "2" } }, TypeError],
    [{ backoff: { jitter: "some" } }, RangeError],
    [{ backoff: { initial: 5 } }, TypeError],
    [{ key: "keep" }, RangeError],
    [{ times: 3 }, TypeError],
    [[], TypeError],
    [null, TypeError],
  ])("%j is refused", (options, kind) => {
    expect(() => checkRetry(options as never)).toThrow(kind);
  });
});
