/** Store, sessions, the queue port and the kv port under faults. */
import { test } from "vitest";
import { overSeeds, seeds } from "./seeds.ts";
import { storeWorkload } from "./store-workload.ts";

test("store, session, queue and kv keep their promises under every seed", async () => {
  await overSeeds("store and queue", seeds(), (seed) => storeWorkload(seed));
});
