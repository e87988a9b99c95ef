/**
 * liteque 0.8: adds only. Its runner throws at the first dequeue with better-sqlite3 12, so it
 * processes nothing here.
 */
import { join } from "node:path";
import { buildDBClient, SqliteQueue } from "liteque";
import { inFlight } from "./holdfast.ts";
import { check, PAYLOAD, timed } from "./kit.ts";
import type { Contender } from "./kit.ts";

export function liteque(jobs: number, width: number): Contender {
  return {
    name: "liteque (not synced)",
    async run(folder) {
      const db = buildDBClient(join(folder, "liteque.db"), { runMigrations: true });
      const options = { defaultJobArgs: { numRetries: 0 }, keepFailedJobs: false };
      const queue = new SqliteQueue<typeof PAYLOAD>("bench", db, options);
      const sample = await timed(jobs, () => inFlight(jobs, width, () => queue.enqueue(PAYLOAD)));
      const stats = await queue.stats();
      check(stats.pending === jobs, `liteque holds ${stats.pending}`);
      return sample;
    },
  };
}
