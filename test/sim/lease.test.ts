/**
 * Sessions: whoever still believes in its lease is right, whatever pauses, sleeps, cuts and clocks
 * do.
 */
import { expect, test } from "vitest";
import { leaseWorkload } from "./lease-workload.ts";
import { isReplay, overSeeds, seeds } from "./seeds.ts";

test("a holder knows of its loss before the store gives its lease to another", async () => {
  const counts = { claims: 0, lost: 0 };
  await overSeeds("leases", seeds(), (seed) => leaseWorkload(seed, { counts }));
  console.log(`leases: ${counts.claims} claims, ${counts.lost} of them from silent holders`);
  // A world in which nothing changes hands would prove nothing.
  if (!isReplay) expect(counts.lost).toBeGreaterThan(seeds().length);
});
