import { afterEach, beforeEach, expect, test } from "vitest";
import { turns, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { permanent } from "../../core/retry.ts";
import { workflow } from "./definition.ts";

const order = workflow("order", {
  input: unchecked<string>(),
  output: unchecked<string>(),
  events: { go: unchecked<null>() },
});

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

test("runs are found by status, attributes, time and id", async () => {
  const orders = process.store.handle(order);
  orders.work(async (input, run) => {
    if (input === "fails") throw permanent("no");
    if (input === "waits") await run.waitFor("go");
    return input;
  });
  for (const [i, input] of ["done", "fails", "waits", "done", "waits"].entries()) {
    const attributes = { customer: i % 2 === 0 ? "ann" : "bob", kind: input };
    await orders.start(input, { id: `${input}-${i}`, attributes });
    await world.clock.advance(1_000);
  }
  await orders.cancel("waits-2");
  await world.clock.advance(1_000);
  await turns(20);
  const ids = async (...args: Parameters<typeof orders.list>): Promise<string[]> =>
    (await orders.list(...args)).runs.map(({ id }) => id);
  expect(await ids("completed")).toEqual(["done-0", "done-3"]);
  expect(await ids("failed")).toEqual(["fails-1"]);
  expect(await ids("cancelled")).toEqual(["waits-2"]);
  expect(await ids("waiting")).toEqual(["waits-4"]);
  expect(await ids("completed", { attributes: { customer: "bob" } })).toEqual(["done-3"]);
  expect(await ids("completed", { attributes: { customer: "bob", kind: "waits" } })).toEqual([]);
  const third = await orders.get("done-3");
  expect(third?.attributes).toMatchObject({ customer: "bob", kind: "done" });
  expect(await ids("completed", { fromMs: third?.createdMs })).toEqual(["done-3"]);
  expect(await ids("completed", { beforeMs: third?.createdMs })).toEqual(["done-0"]);
  expect(await ids("completed", { idPrefix: "done-3" })).toEqual(["done-3"]);
  await expect(orders.list("asleep" as never)).rejects.toThrow(/status/);
});

test("what a run noted can be read while it waits, by whoever asks", async () => {
  const orders = process.store.handle(order);
  orders.work(async (input, run) => {
    run.progress({ stage: "approval" });
    await run.step("look", () => 1);
    await run.waitFor("go");
    return input;
  });
  await orders.start("x", { id: "1" });
  await world.clock.advance(1_000);
  const other = await world.process();
  expect(await other.store.handle(order).get("1")).toMatchObject({
    status: "waiting",
    progress: { stage: "approval" },
  });
});
