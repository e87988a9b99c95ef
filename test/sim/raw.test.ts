/** The state machine of the embedded engines under faults, driven op by op. */
import { test } from "vitest";
import { overSeeds, seeds } from "./seeds.ts";
import { rawWorkload } from "./raw-workload.ts";

test("a queue on the bare driver keeps its promises under every seed", async () => {
  await overSeeds("raw queue", seeds(), (seed) => rawWorkload(seed));
});
