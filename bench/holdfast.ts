/** Holdfast as the measures use it: a store on a fresh file and one queue, all synced. */
import { join } from "node:path";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { queue } from "holdfast/jobs";
import { PAYLOAD } from "./kit.ts";

type Payload = typeof PAYLOAD;

/** A schema that accepts: validation is not what is measured, for anybody. */
const any = {
  "~standard": {
    version: 1,
    vendor: "bench",
    validate: (value: unknown) => ({ value: value as Payload }),
  },
} as const;

export const work = queue("bench", { input: any });
export const next = queue("bench-next", { input: any });

export async function open(
  folder: string,
  options: { readonly sessionTtlMs?: number } = {},
): Promise<Holdfast> {
  const hf = await connect(`sqlite:${join(folder, "bench.db")}`, options);
  const { synced } = await hf.durability();
  if (synced !== "yes") throw new Error(`Expected a synced store, got ${JSON.stringify(synced)}`);
  return hf;
}

/** Adds `jobs` jobs, in calls of which none is large for the engine or for this process. */
export async function fill(hf: Holdfast, jobs: number): Promise<void> {
  const chunk = 10_000;
  const queue = hf.open(work);
  for (let left = jobs; left > 0; left -= chunk) {
    await queue.addMany(Array.from({ length: Math.min(chunk, left) }, () => PAYLOAD));
  }
}

/** Keeps `width` calls in flight until `count` are done. */
export async function inFlight(
  count: number,
  width: number,
  call: (index: number) => Promise<unknown>,
): Promise<void> {
  let at = 0;
  const lane = async (): Promise<void> => {
    while (at < count) await call(at++);
  };
  await Promise.all(Array.from({ length: width }, lane));
}
