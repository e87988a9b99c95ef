import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import { kvConformance } from "../../src/conformance/kv.ts";
import { queueConformance } from "../../src/conformance/queue.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { sqlite, capabilities } from "../../src/engines/sqlite/index.ts";

async function createInline() {
  const clock = new ManualClock();
  const dir = mkdtempSync(join(tmpdir(), "hf-"));
  return {
    clock,
    open: async () => sqlite(join(dir, "a.db"), { clock }),
    advance: (ms: number) => clock.advance(ms),
    restart: async () => {},
    dispose: async () => rmSync(dir, { recursive: true, force: true }),
  };
}
async function createThread() {
  const dir = mkdtempSync(join(tmpdir(), "hf-"));
  return {
    open: async () => sqlite(join(dir, "a.db"), {}),
    restart: async () => {},
    dispose: async () => rmSync(dir, { recursive: true, force: true }),
  };
}
const options = { test, create: createInline, capabilities };
describe("inline kv", () => kvConformance(options));
describe("inline queue", () => queueConformance(options));
const threaded = { test, create: createThread, capabilities } as never;
describe("thread kv", () => kvConformance(threaded));
describe("thread queue", () => queueConformance(threaded));
