/** The tests of the workflow feature once more, on SQLite: see `jobs-sqlite.test.ts`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import { sqlite } from "../../src/engines/sqlite/index.ts";
import { engine } from "../kit/jobs.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-workflow-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One file for each world. */
const files = new WeakMap<MemoryState, string>();
let count = 0;

engine.open = (state, clock) => {
  let file = files.get(state);
  if (file === undefined) files.set(state, (file = join(folder, `${++count}.db`)));
  return sqlite(file, { thread: "off", clock });
};

engine.stride = 9;

await import("../../src/features/workflow/child.test.ts");
await import("../../src/features/workflow/complete.test.ts");
await import("../../src/features/workflow/crash.test.ts");
await import("../../src/features/workflow/list.test.ts");
await import("../../src/features/workflow/trouble.test.ts");
await import("../../src/features/workflow/changed.test.ts");
await import("../../src/features/workflow/workflow.test.ts");
