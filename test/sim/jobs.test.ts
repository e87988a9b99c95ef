/** The feature `jobs` under faults: workers, handlers, retries, cancels, results, drains. */
import { test } from "vitest";
import { jobsWorkload } from "./jobs-workload.ts";
import { overSeeds, seeds } from "./seeds.ts";

test("jobs keep their promises under every seed", async () => {
  await overSeeds("jobs", seeds(), (seed) => jobsWorkload(seed));
});
