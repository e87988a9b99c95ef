/** The memory engine against every suite, on a clock that the tests move. */
import { describe, test } from "vitest";
import { busConformance } from "../../src/conformance/bus.ts";
import { kvConformance } from "../../src/conformance/kv.ts";
import { queueConformance } from "../../src/conformance/queue.ts";
import { storeConformance } from "../../src/conformance/store.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { memory, MemoryState } from "../../src/engines/memory/index.ts";

async function create() {
  const clock = new ManualClock();
  const state = new MemoryState({ clock });
  return {
    clock,
    open: async () => memory({ state }),
    advance: (ms: number) => clock.advance(ms),
    dispose: async () => {},
  };
}
const { capabilities } = memory();
const options = { test, create, capabilities };

describe("kv", () => kvConformance(options));
describe("queue", () => queueConformance(options));
describe("bus", () => busConformance(options));
describe("store", () => storeConformance(options));
