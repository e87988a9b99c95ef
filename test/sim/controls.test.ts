/**
 * The simulation must find what is broken: each broken store is caught within a few seeds, with all
 * that a replay needs.
 */
import { expect, test } from "vitest";
import { SimulationError } from "../../src/sim/index.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import { BROKEN, BROKEN_KV } from "./broken.ts";
import { jobsWorkload } from "./jobs-workload.ts";
import { kvWorkload } from "./kv-workload.ts";
import { leaseWorkload } from "./lease-workload.ts";
import { rawWorkload } from "./raw-workload.ts";
import { firstFailure } from "./seeds.ts";
import { storeWorkload } from "./store-workload.ts";

type Run = (
  seed: number,
  options: { readonly state: (clock: Clock) => MemoryState },
) => Promise<unknown>;

/** Judged by what programs could see: the audit of the tables is off. */
const WORKLOADS: readonly (readonly [string, Run, typeof BROKEN])[] = [
  ["bare driver", (seed, { state }) => rawWorkload(seed, { state, isAudited: false }), BROKEN],
  [
    "store and queue",
    (seed, { state }) => storeWorkload(seed, { state, isAudited: false }),
    BROKEN,
  ],
  ["jobs", (seed, { state }) => jobsWorkload(seed, { state, isAudited: false }), BROKEN],
  ["kv", (seed, { state }) => kvWorkload(seed, { state }), BROKEN_KV],
];
const SEEDS = Array.from({ length: 60 }, (_, index) => index + 1);

async function findFailure(list: readonly number[], run: (seed: number) => Promise<unknown>) {
  const failure = await firstFailure(list, run);
  if (failure === undefined) throw new Error(`Not caught within ${list.length} seeds`);
  const { error } = failure;
  if (!(error instanceof SimulationError)) throw new Error("It failed otherwise", { cause: error });
  expect(error.seed).toBe(failure.seed);
  return error;
}

for (const [program, run, broken] of WORKLOADS) {
  for (const [what, state] of Object.entries(broken)) {
    test(`${program}: a store that ${what} is caught, with its seed and replay`, async () => {
      const error = await findFailure(SEEDS, (seed) => run(seed, { state }));
      expect(error.message).toContain(`Seed ${error.seed}`);
      expect(error.message).toContain(`Replay: npm run test:sim -- --seed ${error.seed}`);
      expect(error.timeline.length).toBeGreaterThan(0);
      // The seed finds it again, at the same event.
      const again = await findFailure([error.seed], (seed) => run(seed, { state }));
      expect(again.traceHash).toBe(error.traceHash);
      expect(again.message).toBe(error.message);
    });
  }
}

test("leases: a program whose wall clock hides its sleep from it is caught", async () => {
  // What a holder sees that judges by monotonic time alone.
  const blind = (clock: Clock): Clock => ({
    wallMs: () => 1_700_000_000_000 + Math.floor(clock.monotonicMs()),
    monotonicMs: () => clock.monotonicMs(),
    timer: (delayMs, fire, options) => clock.timer(delayMs, fire, options),
    yield: () => clock.yield(),
  });
  const error = await findFailure(SEEDS, (seed) => leaseWorkload(seed, { clock: blind }));
  expect(error.message).toContain("believes");
});

test("leases: a program that judges by its wall clock alone is caught", async () => {
  const blind = (clock: Clock): Clock => {
    const startMs = clock.wallMs();
    const monotonicMs = (): number => clock.wallMs() - startMs;
    return {
      wallMs: () => clock.wallMs(),
      monotonicMs,
      timer: (delayMs, fire, options) => clock.timer(delayMs, fire, options),
      yield: () => clock.yield(),
    };
  };
  const error = await findFailure(SEEDS, (seed) => leaseWorkload(seed, { clock: blind }));
  expect(error.message).toContain("believes");
});
