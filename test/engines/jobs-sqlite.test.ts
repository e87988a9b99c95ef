/** The tests of the jobs feature once more, on SQLite: inline, on the clock that the tests move. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import { sqlite } from "../../src/engines/sqlite/index.ts";
import { engine } from "../kit/jobs.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-jobs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One file for each world. */
const files = new WeakMap<MemoryState, string>();
let count = 0;

engine.open = (state, clock) => {
  let file = files.get(state);
  if (file === undefined) files.set(state, (file = join(folder, `${++count}.db`)));
  return sqlite(file, { thread: "off", clock });
};

await import("../../src/features/jobs/add.test.ts");
await import("../../src/features/jobs/batch.test.ts");
await import("../../src/features/jobs/complete.test.ts");
await import("../../src/features/jobs/definition.test.ts");
await import("../../src/features/jobs/drain.test.ts");
await import("../../src/features/jobs/limits.test.ts");
await import("../../src/features/jobs/results.test.ts");
await import("../../src/features/jobs/stop.test.ts");
await import("../../src/features/jobs/trouble.test.ts");
await import("../../src/features/jobs/worker.test.ts");
