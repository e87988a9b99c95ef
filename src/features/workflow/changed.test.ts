/** Code that changed while runs of it live. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { workflow } from "./definition.ts";

const text = unchecked<string>();
const order = workflow("order", { input: text, output: text });

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("changed code", () => {
  test("that does not match the record is an error that names both steps, and the run waits for the right code", async () => {
    const old = process.store.handle(order);
    const first = old.work(async (_, run) => {
      await run.step("reserve", () => 1);
      await run.sleep("then", 1_000);
      return "old";
    });
    const run = await old.start("x", { id: "1" });
    await turns(30);
    await first.close();
    const troubles: string[] = [];
    const second = old.work(
      async (_, r) => {
        await r.step("book", () => 1);
        return "new";
      },
      { observe: (event) => void troubles.push(JSON.stringify(event, errors)) },
    );
    await world.clock.advance(3_000);
    await turns(20);
    expect(troubles.join()).toMatch(/step \\"reserve\\".*record 1.*got step \\"book\\"/);
    await world.pass(second.close());
    old.work(async (_, r) => {
      await r.step("reserve", () => 2);
      await r.sleep("then", 1_000);
      return "old";
    });
    await world.clock.advance(60_000);
    expect(await world.pass(run.result())).toBe("old");
  });

  test("goes on with runs that live behind a patch", async () => {
    const orders = process.store.handle(order);
    const first = orders.work(async (_, run) => {
      await run.step("a", () => 1);
      await run.sleep("then", 1_000);
      await run.step("b", () => 1);
      return "old way";
    });
    const before = await orders.start("x", { id: "before" });
    await turns(30);
    await first.close();
    orders.work(async (_, run) => {
      const isNew = await run.patched("c instead of a");
      await run.step(isNew ? "c" : "a", () => 1);
      await run.sleep("then", 1_000);
      await run.step("b", () => 1);
      return isNew ? "new way" : "old way";
    });
    const after = await orders.start("x", { id: "after" });
    await world.clock.advance(2_000);
    expect(await world.pass(before.result())).toBe("old way");
    expect(await world.pass(after.result())).toBe("new way");
  });
});

function errors(_name: string, value: unknown): unknown {
  return value instanceof Error ? value.message : value;
}
