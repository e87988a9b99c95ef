/** The feature `workflow` under faults: steps, compensations, sleeps, events, cancels. */
import { expect, test } from "vitest";
import { isReplay, overSeeds, seeds } from "./seeds.ts";
import { workflowWorkload } from "./workflow-workload.ts";

test("workflows keep their promises under every seed", async () => {
  const counts: Record<string, number> = {};
  const list = seeds();
  await overSeeds("workflows", list, (seed) => workflowWorkload(seed, { counts }));
  console.log(`workflows: ${JSON.stringify(counts)}`);
  if (isReplay) return;
  // A world in which nothing goes wrong would prove nothing.
  for (const [what, count] of Object.entries(counts)) {
    expect(count, what).toBeGreaterThan(list.length / 10);
  }
});
