/** The simulation must find what is broken: each broken store is caught within a few seeds, with all that a replay needs. */
import { expect, test } from "vitest";
import { SimulationError } from "../../src/sim/index.ts";
import { BROKEN } from "./broken.ts";
import { rawWorkload } from "./raw-workload.ts";
import { firstFailure } from "./seeds.ts";
import { storeWorkload } from "./store-workload.ts";

const WORKLOADS = { "bare driver": rawWorkload, "store and queue": storeWorkload };
const SEEDS = Array.from({ length: 60 }, (_, index) => index + 1);

for (const [program, run] of Object.entries(WORKLOADS)) {
  for (const [what, state] of Object.entries(BROKEN)) {
    test(`${program}: a store that ${what} is caught`, async () => {
      const failure = await firstFailure(SEEDS, (seed) => run(seed, { state, isAudited: false }));
      const error = failure?.error;
      if (!(error instanceof SimulationError)) throw new Error("It was not caught", { cause: error });
      console.log(`${program}, ${what}: seed ${error.seed}: ${error.message.split("\n")[0]}`);
      expect(error.seed).toBe(failure?.seed);
      expect(error.message).toContain(`Seed ${error.seed}`);
      expect(error.message).toContain(`npm run test:sim -- --seed ${error.seed}`);
      expect(error.timeline.length).toBeGreaterThan(0);
      // The seed finds it again, at the same event.
      const again = await firstFailure([error.seed], (seed) => run(seed, { state, isAudited: false }));
      expect(again?.error).toMatchObject({ traceHash: error.traceHash, message: error.message });
    });
  }
}
