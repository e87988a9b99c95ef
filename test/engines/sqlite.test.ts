/**
 * The SQLite engine against every suite: inline on a clock that the tests move, and in a thread of
 * its own on the host's.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import {
  busConformance,
  kvConformance,
  queueConformance,
  storeConformance,
  type ConformanceOptions,
  type Fixture,
} from "../../src/conformance/index.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { capabilities, sqlite } from "../../src/engines/sqlite/index.ts";

/**
 * A file in a folder of its own; the file itself is the state, so that a restart is closing and
 * opening it again.
 */
async function file(): Promise<{ readonly path: string; readonly dispose: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-conformance-"));
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  return { path: join(folder, "store.db"), dispose };
}

async function inline(): Promise<Fixture> {
  const { path, dispose } = await file();
  const clock = new ManualClock();
  return {
    clock,
    open: () => sqlite(path, { thread: "off", clock }),
    advance: (ms) => clock.advance(ms),
    restart: async () => {},
    dispose,
  };
}

async function threaded(): Promise<Fixture> {
  const { path, dispose } = await file();
  return { open: () => sqlite(path), restart: async () => {}, dispose };
}

for (const create of [inline, threaded]) {
  const options: ConformanceOptions = { test, create, capabilities };
  describe(create.name, () => {
    describe("store", () => storeConformance(options));
    describe("kv", () => kvConformance(options));
    describe("queue", () => queueConformance(options));
    describe("bus", () => busConformance(options));
  });
}
