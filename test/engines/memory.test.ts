/** The memory engine against every suite, on a clock that the tests move, and on the host's. */
import { describe, test } from "vitest";
import {
  busConformance,
  kvConformance,
  queueConformance,
  runsConformance,
  storeConformance,
  type ConformanceOptions,
  type Fixture,
} from "../../src/conformance/index.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { memory, MemoryState } from "../../src/engines/memory/index.ts";

async function manual(): Promise<Fixture> {
  const clock = new ManualClock();
  const state = new MemoryState({ clock });
  return {
    clock,
    open: async () => memory({ state }),
    advance: (ms) => clock.advance(ms),
    dispose: async () => {},
  };
}

async function real(): Promise<Fixture> {
  const state = new MemoryState();
  return { open: async () => memory({ state }), dispose: async () => {} };
}

const { capabilities } = memory();

for (const create of [manual, real]) {
  const options: ConformanceOptions = { test, create, capabilities };
  describe(create.name, () => {
    describe("store", () => storeConformance(options));
    describe("kv", () => kvConformance(options));
    describe("queue", () => queueConformance(options));
    describe("runs", () => runsConformance(options));
    describe("bus", () => busConformance(options));
  });
}
