/**
 * A source of numbers for these tests (Park and Miller's minimal standard); runs use the library's
 * seeded random.
 */
export function seeded(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (state - 1) / 2_147_483_646;
  };
}
