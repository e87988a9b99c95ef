/**
 * The histories of some seeds under every workload. Run as a program, it sends them to its parent:
 * see determinism.test.ts.
 */
import { jobsWorkload } from "./jobs-workload.ts";
import { kvWorkload } from "./kv-workload.ts";
import { leaseWorkload } from "./lease-workload.ts";
import { rawWorkload } from "./raw-workload.ts";
import { storeWorkload } from "./store-workload.ts";
import { workflowWorkload } from "./workflow-workload.ts";
import type { SimulationResult } from "../../src/sim/index.ts";

const WORKLOADS: readonly ((seed: number) => Promise<SimulationResult>)[] = [
  (seed) => rawWorkload(seed),
  (seed) => storeWorkload(seed),
  (seed) => kvWorkload(seed),
  (seed) => leaseWorkload(seed),
  (seed) => jobsWorkload(seed),
  (seed) => workflowWorkload(seed),
];

export async function hashes(seeds: readonly number[]): Promise<string[]> {
  const all: string[] = [];
  for (const seed of seeds) {
    let line = `${seed}:`;
    for (const run of WORKLOADS) line += ` ${(await run(seed)).traceHash}`;
    all.push(line);
  }
  return all;
}

if (process.send !== undefined && process.argv[1]?.endsWith("hashes.ts") === true) {
  process.send(await hashes(process.argv.slice(2).map(Number)));
  process.disconnect();
}
