import { expect, test } from "vitest";
import { Arrivals } from "./arrivals.ts";
import type { OrderStarter } from "./arrivals.ts";
import { generateOrders } from "./generate.ts";
import { repeat } from "./rules.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";

const { signal } = new AbortController();
const orders = generateOrders(seeded(1), { count: 60 });

function record(): OrderStarter & { readonly ids: string[] } {
  const ids: string[] = [];
  return { ids, start: async (order: Order, { id }) => void ids.push(`${order.id} ${id}`) };
}
const onArrived = (): void => {};

test("every order arrives under its own number, and some arrive twice", async () => {
  const starter = record();
  const arrived: string[] = [];
  const arrivals = new Arrivals(starter, repeat(orders, 2), {
    total: 120,
    onArrived: (some) => arrived.push(...some.map(({ id }) => id)),
  });
  await arrivals.run({ perSecond: 1, allowed: () => Infinity }, signal);
  const { ids } = starter;
  expect(new Set(ids).size).toBe(120);
  expect(ids.every((each) => each.split(" ")[0] === each.split(" ")[1])).toBe(true);
  expect(new Set(arrived).size).toBe(120);
  expect(arrived).toHaveLength(120);
  expect(arrivals.sent).toBe(120);
  expect(arrivals.repeated).toBe(ids.length - 120);
  expect(arrivals.repeated).toBeGreaterThan(3);
});

test("no more arrive than are allowed, until they are let in", async () => {
  const arrivals = new Arrivals(record(), repeat(orders, 1), { total: 60, onArrived });
  let allowed = 10;
  const running = arrivals.run({ perSecond: 10_000, allowed: () => allowed }, signal);
  await expect.poll(() => arrivals.sent).toBe(10);
  expect(await arrivals.send(5, signal)).toBe(5);
  expect(arrivals.sent).toBe(15);
  allowed = Infinity;
  await running;
  expect(arrivals.sent).toBe(60);
  expect(await arrivals.send(5, signal)).toBe(0);
});

test("it ends with its signal", async () => {
  const ending = new AbortController();
  const arrivals = new Arrivals(record(), repeat(orders, 1), { total: 60, onArrived });
  const running = arrivals.run({ perSecond: 1, allowed: () => 0 }, ending.signal);
  ending.abort();
  await expect(running).rejects.toThrow();
  expect(arrivals.sent).toBe(0);
});
