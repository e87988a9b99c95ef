import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { LIMITS } from "../../core/limits.ts";
import { SeededRandom } from "../../core/random.ts";
import type { HeldJob } from "./job.ts";
import { LoopDelay } from "./overload.ts";
import { claimRetryMs, idleMs, jobsToClaim, PACE, StartRate, type Load } from "./pace.ts";
import { ReadyList } from "./ready.ts";

const count = fc.integer({ min: 0, max: 20_000 });

describe("how much to claim", () => {
  test("is never negative, never more than a claim may take, and never more than is free or may be claimed ahead", () => {
    const load = fc.record({
      free: count,
      ready: count,
      prefetch: count,
      unsettled: count,
      concurrency: count,
    });
    fc.assert(
      fc.property(load, (each: Load) => {
        const jobs = jobsToClaim(each);
        expect(jobs).toBeGreaterThanOrEqual(0);
        expect(jobs).toBeLessThanOrEqual(LIMITS.claimJobs);
        if (jobs > 0) expect(jobs + each.ready).toBeLessThanOrEqual(each.free + each.prefetch);
      }),
    );
  });
  const load = { free: 0, ready: 0, prefetch: 0, unsettled: 0, concurrency: 10 };
  test.each([
    ["all that is free", { free: 10 }, 10],
    ["what is free and not here already", { free: 10, ready: 4 }, 6],
    ["ahead when nothing is here", { prefetch: 8 }, 8],
    ["ahead when half of it is used up", { prefetch: 8, ready: 4 }, 4],
    ["nothing while more than half of it is here", { prefetch: 8, ready: 5 }, 0],
    ["nothing when nothing is free", {}, 0],
    ["nothing while the store has too much to answer", { free: 10, unsettled: 1_011 }, 0],
    ["on while the store keeps up", { free: 10, unsettled: 1_010 }, 10],
  ])("claims %s", (_, part, jobs) => {
    expect(jobsToClaim({ ...load, ...part })).toBe(jobs);
  });
});

describe("how much ahead", () => {
  test("is what starts within 20 ms at the rate of the last window", () => {
    const rate = new StartRate(0);
    rate.started(50);
    expect(rate.prefetch(10, 1_000)).toBe(0);
    expect(rate.prefetch(25, 1_000)).toBe(40);
    expect(rate.prefetch(25, 7)).toBe(7);
    expect(rate.prefetch(40, 1_000)).toBe(40);
    // Nothing was started for a while.
    expect(rate.prefetch(1_000, 1_000)).toBe(0);
  });
});

describe("when to look again", () => {
  test("an idle worker looks after 1 to 1.5 s, or when the store says that a job is due", () => {
    fc.assert(
      fc.property(fc.integer(), fc.option(fc.integer({ min: 1, max: 10_000 })), (seed, nextMs) => {
        const ms = idleMs(nextMs, new SeededRandom(seed));
        const most = Math.min(nextMs ?? Infinity, PACE.pollMs + PACE.pollJitterMs);
        expect(ms).toBeGreaterThanOrEqual(Math.min(nextMs ?? Infinity, PACE.pollMs));
        expect(ms).toBeLessThanOrEqual(most);
      }),
    );
  });
  test("after failed claims the pauses grow to 5 s", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 2_000 }), (seed, tries) => {
        const ms = claimRetryMs(tries, new SeededRandom(seed));
        expect(Number.isInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(1);
        expect(ms).toBeLessThanOrEqual(Math.min(5_000, 50 * 2 ** tries));
      }),
    );
  });
});

describe("the delay of the event loop", () => {
  test("is how late a timer fires; it is judged before the timer does, and told once each way", async () => {
    const clock = new ManualClock();
    const told: [boolean, number][] = [];
    const delay = new LoopDelay(clock, 200, (isOver, ms) => told.push([isOver, ms]));
    await clock.advance(1_000);
    expect([delay.isOverloaded, delay.delayMs]).toEqual([false, 0]);
    clock.block(290);
    expect(delay.isOverloaded).toBe(false);
    clock.block(20);
    expect(delay.isOverloaded).toBe(true);
    expect(told).toEqual([[true, 210]]);
    await clock.advance(0);
    expect(delay.isOverloaded).toBe(true);
    await clock.advance(100);
    expect([delay.isOverloaded, delay.delayMs]).toEqual([false, 0]);
    expect(told).toEqual([
      [true, 210],
      [false, 0],
    ]);
    delay.stop();
    expect(clock.pending).toBe(0);
  });
});

describe("jobs claimed and not started", () => {
  const job = (n: number) => ({ n }) as unknown as HeldJob;
  test("leave in the order of their claim, however they are taken and removed", () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 1_500 }) }),
      fc.record({ take: fc.integer({ min: 0, max: 1_500 }) }),
      fc.record({ remove: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const list = new ReadyList();
        let model: HeldJob[] = [];
        for (const each of steps) {
          if ("push" in each) {
            const jobs = Array.from({ length: each.push }, (_, n) => job(n));
            for (const one of jobs) list.push(one);
            model.push(...jobs);
          } else if ("take" in each) {
            expect(list.take(each.take)).toEqual(model.splice(0, each.take));
          } else {
            const one = model[each.remove % Math.max(1, model.length)] ?? job(-1);
            list.remove(one);
            model = model.filter((other) => other !== one);
          }
          expect(list.size).toBe(model.length);
          expect(list.first).toBe(model[0]);
        }
      }),
      { numRuns: 50 },
    );
  });
});
