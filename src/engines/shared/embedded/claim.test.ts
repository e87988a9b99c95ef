/** The rate's arithmetic against exact fractions, for rates of every kind. */
import { expect, test } from "vitest";
import { SeededRandom } from "../../../core/random.ts";
import type { RateConfig } from "../../../store/ops.ts";
import { rateOpensMs, rateRoom, rateSpend } from "./claim.ts";

const START_MS = 1_795_463_870_248;

/**
 * The first whole ms, counted from the start, at which start number `n` of a backlog is allowed.
 */
function dueMs(rate: RateConfig, n: number): number {
  const over = BigInt(n - rate.burst);
  if (over <= 0n) return 0;
  const count = BigInt(rate.count);
  return Number((over * BigInt(rate.perMs) + count - 1n) / count);
}

function drawRate(random: SeededRandom, isCoarse: boolean): RateConfig {
  const draw = (most: number): number => 1 + Math.floor(random.next() * most);
  if (!isCoarse)
    return { count: draw(100_000), perMs: draw(4_000_000), burst: draw(3), isPerKey: false };
  // Intervals of a ms and more, which a burst of 2 can bridge whatever the fraction.
  const count = draw(2_000);
  return { count, perMs: count + draw(5_000), burst: 1 + draw(20), isPerKey: false };
}

/** Starts all that a backlog may, and says when each was. */
function* backlog(
  rate: RateConfig,
  random: SeededRandom,
  count: number,
): Generator<[n: number, atMs: number]> {
  let nowMs = START_MS;
  let atMs = 0;
  for (let n = 0; n < count;) {
    const room = rateRoom(rate, atMs, nowMs);
    if (room === 0) {
      nowMs = Math.max(nowMs + 1, rateOpensMs(rate, atMs));
      continue;
    }
    const starts = 1 + Math.floor(random.next() * Math.min(room, 5));
    atMs = rateSpend(rate, atMs, nowMs, starts);
    n += starts;
    yield [n, nowMs - START_MS];
  }
}

test("no start is early, at any rate", () => {
  const random = new SeededRandom(1);
  for (let i = 0; i < 300; i++) {
    const rate = drawRate(random, i % 2 === 0);
    const starts = [...backlog(rate, random, 1_000)];
    const early = starts.filter(([n, atMs]) => atMs < dueMs(rate, n));
    expect(early, JSON.stringify(rate)).toEqual([]);
  }
});

test("a backlog loses nothing of the rate, however long it lasts", () => {
  const random = new SeededRandom(2);
  for (let i = 0; i < 300; i++) {
    const rate = drawRate(random, true);
    let lastMs = 0;
    // What could not start at the instant before starts at the first at which it may.
    const late = [...backlog(rate, random, 1_000)].filter(([n, atMs]) => {
      const isWaited = atMs > lastMs;
      lastMs = atMs;
      return isWaited && atMs !== dueMs(rate, n);
    });
    expect(late, JSON.stringify(rate)).toEqual([]);
  }
});
