/**
 * Runs a simulation under many seeds: how many, or which one, the command line says
 * (tools/sim.mjs).
 */

/** Seeds 1 to HOLDFAST_SIM_SEEDS, or HOLDFAST_SIM_SEED alone. */
export function seeds(most: number = Infinity): readonly number[] {
  const one = process.env["HOLDFAST_SIM_SEED"];
  if (one !== undefined) return [Number(one)];
  const count = Math.min(most, Number(process.env["HOLDFAST_SIM_SEEDS"] ?? 1_000));
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** True when one seed is replayed: statements about many seeds do not hold then. */
export const isReplay: boolean = process.env["HOLDFAST_SIM_SEED"] !== undefined;

/**
 * Runs each seed and says how fast. A rejection that nobody handled belongs to the seed under which
 * it came, and fails it: in a real process it would be the end.
 */
export async function overSeeds(
  what: string,
  list: readonly number[],
  run: (seed: number) => Promise<{ readonly events: number }>,
): Promise<void> {
  let unhandled: unknown;
  const note = (error: unknown): void => {
    unhandled ??= error ?? new Error("A promise was rejected with nothing, and nobody handled it");
  };
  process.on("unhandledRejection", note);
  const startMs = performance.now();
  let events = 0;
  try {
    for (const seed of list) {
      events += (await run(seed)).events;
      if (unhandled === undefined) continue;
      throw new Error(`A rejection that nobody handled, under seed ${seed} of ${what}`, {
        cause: unhandled,
      });
    }
  } finally {
    process.off("unhandledRejection", note);
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const perSecond = (count: number): string => (count / seconds).toFixed(0);
  const rates = `${perSecond(list.length)} seeds/s, ${perSecond(events)} events/s`;
  console.log(`${what}: ${list.length} seeds in ${seconds.toFixed(1)} s (${rates})`);
}

/**
 * The first of the seeds under which the simulation fails, with its error; undefined: none of them
 * does.
 */
export async function firstFailure(
  list: readonly number[],
  run: (seed: number) => Promise<unknown>,
): Promise<{ readonly seed: number; readonly error: unknown } | undefined> {
  for (const seed of list) {
    try {
      await run(seed);
    } catch (error) {
      return { seed, error };
    }
  }
  return undefined;
}
