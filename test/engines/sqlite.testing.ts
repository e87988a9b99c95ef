/**
 * How the SQLite engine is handed to the suites: a file in a folder of its own, closed and opened
 * again for a restart.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fixture } from "../../src/conformance/index.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { sqlite } from "../../src/engines/sqlite/index.ts";

async function file(): Promise<{ readonly path: string; readonly dispose: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-conformance-"));
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  return { path: join(folder, "store.db"), dispose };
}

/** Writes on the test's thread, on a clock that the test moves. */
export async function inline(): Promise<Fixture> {
  const { path, dispose } = await file();
  const clock = new ManualClock();
  return {
    clock,
    open: () => sqlite(path, { thread: "off", clock }),
    advance: (ms) => clock.advance(ms),
    // The file is the state: the kit has closed every handle, and opens new ones.
    restart: async () => {},
    dispose,
  };
}

/** As programs use it: a thread for the writes, and the host's clock. */
export async function threaded(): Promise<Fixture> {
  const { path, dispose } = await file();
  return { open: () => sqlite(path), restart: async () => {}, dispose };
}
