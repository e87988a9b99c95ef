import { expect, test } from "vitest";
import { Arrivals } from "./arrivals.ts";
import type { OrderQueue } from "./arrivals.ts";
import { generateOrders } from "./generate.ts";
import { repeat } from "./rules.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";

const signal = new AbortController().signal;
const orders = generateOrders(seeded(1), { count: 60 });

function record(): OrderQueue & { readonly calls: string[][] } {
  const calls: string[][] = [];
  return {
    calls,
    addMany: async (some: readonly Order[], { id }) => {
      calls.push(some.map((order, index) => id?.(order, index) ?? ""));
      return [];
    },
  };
}

test("every order arrives under its own number, and some arrive twice", async () => {
  const queue = record();
  const arrivals = new Arrivals(queue, repeat(orders, 2), 120);
  await arrivals.run({ perSecond: 1, allowed: () => Infinity }, signal);
  const ids = queue.calls.flat();
  expect(new Set(ids).size).toBe(120);
  expect(arrivals.sent).toBe(120);
  expect(arrivals.repeated).toBe(ids.length - 120);
  expect(arrivals.repeated).toBeGreaterThan(3);
});

test("no more arrive than are allowed, until they are let in", async () => {
  const queue = record();
  const arrivals = new Arrivals(queue, repeat(orders, 1), 60);
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
  const arrivals = new Arrivals(record(), repeat(orders, 1), 60);
  const running = arrivals.run({ perSecond: 1, allowed: () => 0 }, ending.signal);
  ending.abort();
  await expect(running).rejects.toThrow();
  expect(arrivals.sent).toBe(0);
});
