/** Store, kv, watches and the bus under faults. */
import { test } from "vitest";
import { kvWorkload } from "./kv-workload.ts";
import { overSeeds, seeds } from "./seeds.ts";

test("kv, watch and bus keep their promises under every seed", async () => {
  await overSeeds("kv, watch and bus", seeds(), (seed) => kvWorkload(seed));
});
