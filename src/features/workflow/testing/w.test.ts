import { test, expect } from "vitest";
import { unchecked } from "/work/main/src/core/codec.ts";
import { workflow } from "/work/main/src/features/workflow/index.ts";
import { testWorld } from "/work/main/src/features/workflow/testing/world.ts";
import { systemClock } from "/work/main/src/core/clock.ts";
const text = unchecked<string>();
const rem = workflow("rem", { input: text, output: text, events: { ok: text } });
test("x", async () => {
  await using world = await testWorld();
  const p = await world.process();
  const at: number[] = [];
  p.hf.open(rem).work(async (input, run) => {
    await run.step("a", () => void at.push(world.elapsedMs));
    await run.sleep("long", 30 * 86_400_000);
    await run.step("b", () => void at.push(world.elapsedMs));
    const e = await run.tryWaitFor("ok", { timeoutMs: 5 * 86_400_000 });
    await run.step("c", () => void at.push(world.elapsedMs));
    return `${input} ${e}`;
  });
  const t0 = systemClock.monotonicMs();
  const run = await world.hf.open(rem).start("x", { id: "1" });
  await world.advance(31 * 86_400_000);
  console.log(systemClock.monotonicMs() - t0, at);
  const r = await world.until(run.result());
  console.log(systemClock.monotonicMs() - t0, at, r, world.elapsedMs);
});
