/** The key-value store on SQLite, each commit synced. */
import { inFlight, open } from "./holdfast.ts";
import { check, timed } from "./kit.ts";
import type { Contender, Measure } from "./kit.ts";

const WIDTH = 64;

function counters(name: string, commits: number, keys: number): Contender {
  return {
    name,
    async run(folder) {
      const hf = await open(folder);
      const keyOf = (index: number): string => `stock/${index % keys}`;
      const start = 1_000_000;
      for (let i = 0; i < keys; i += 500) {
        await Promise.all(
          Array.from({ length: Math.min(500, keys - i) }, (_, j) => hf.kv.add(keyOf(i + j), start)),
        );
      }
      const take = (index: number): Promise<unknown> => hf.kv.add(keyOf(index), -1, { min: 0 });
      const sample = await timed(commits, () => inFlight(commits, WIDTH, take));
      let left = 0;
      for await (const entry of hf.kv.scan("stock/")) left += Number(entry.value);
      check(left === keys * start - commits, `counters add up to ${left}`);
      await hf.close();
      return sample;
    },
  };
}

export const measures: readonly (() => Measure)[] = [
  () => ({
    bench: "kv.sqlite.commit",
    unit: "commits/s",
    better: "more",
    ours: counters("holdfast", 40_000, 10_000),
    peers: [],
    note: "bounded decrements of 10,000 keys, 64 callers in flight",
  }),
  () => ({
    bench: "kv.sqlite.hotKey",
    unit: "commits/s",
    better: "more",
    ours: counters("holdfast", 40_000, 1),
    peers: [counters("holdfast, spread over 10,000 keys", 40_000, 10_000)],
    note: "one key, 64 callers in flight; the ratio is that of one hot key to spread keys",
  }),
];
