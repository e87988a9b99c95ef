import { expect, test } from "vitest";
import { generateLines, generateOrders } from "./generate.ts";
import { demand, initialStock, stockMoves } from "./rules.ts";
import type { OrderKind } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";

const COUNT = 4_000;
const orders = generateOrders(seeded(1), { count: COUNT });
const lines = [...generateLines(seeded(1), { count: COUNT })];

function shareOf(kind: OrderKind): number {
  return orders.filter((order) => order.kind === kind).length / COUNT;
}

test("the same numbers give the same orders, others give others", () => {
  expect(generateOrders(seeded(1), { count: COUNT })).toEqual(orders);
  expect(generateOrders(seeded(2), { count: 10 })).not.toEqual(orders.slice(0, 10));
});

test("the first orders of a longer run are those of a shorter", () => {
  expect(generateOrders(seeded(1), { count: 50 })).toEqual(orders.slice(0, 50));
});

test("there are as many orders as asked for, each with its own number", () => {
  expect(orders).toHaveLength(COUNT);
  expect(new Set(orders.map(({ id }) => id)).size).toBe(COUNT);
});

test("invoices are as long as real ones", () => {
  expect(lines.length / COUNT).toBeGreaterThan(18);
  expect(lines.length / COUNT).toBeLessThan(20.5);
  const longest = Math.max(...orders.map(({ items }) => items.length));
  expect(longest).toBeGreaterThan(200);
  expect(longest).toBeLessThan(600);
});

test("all kinds are there, in real shares", () => {
  expect(shareOf("return")).toBeGreaterThan(0.08);
  expect(shareOf("return")).toBeLessThan(0.1);
  expect(shareOf("adjustment")).toBeGreaterThan(0.04);
  expect(shareOf("adjustment")).toBeLessThan(0.065);
  expect(orders.some(({ id }) => id.startsWith("A"))).toBe(true);
  const sales = orders.filter(({ kind }) => kind === "sale");
  const guests = sales.filter(({ customer }) => customer === null).length / sales.length;
  expect(guests).toBeGreaterThan(0.22);
  expect(guests).toBeLessThan(0.28);
  const charged = sales.filter(({ charges }) => charges.length > 0).length / sales.length;
  expect(charged).toBeGreaterThan(0.05);
  expect(charged).toBeLessThan(0.2);
  expect(sales.some(({ items }) => items.some(({ amountPence }) => amountPence === 0))).toBe(true);
});

test("codes are skewed: a twentieth of them has over a quarter of the lines", () => {
  const counts = new Map<string, number>();
  for (const { items } of orders) {
    for (const { code } of items) counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  const sorted = Float64Array.from(counts.values());
  sorted.sort();
  const top = sorted.slice(-100).reduce((all, count) => all + count, 0);
  const all = sorted.reduce((sum, count) => sum + count, 0);
  expect(top / all).toBeGreaterThan(0.25);
  expect(counts.size).toBeGreaterThan(1_900);
});

test("at 0.6 of the demand orders compete: many are filled and many are not", () => {
  const few = orders.slice(0, 500);
  const stock = initialStock(demand(few));
  const sales = { filled: 0, short: 0 };
  for (const order of few) {
    const moves = stockMoves(order);
    const isShort = moves.some(({ code, delta }) => (stock.get(code) ?? 0) + delta < 0);
    if (order.kind === "sale") sales[isShort ? "short" : "filled"] += 1;
    if (isShort) continue;
    for (const { code, delta } of moves) stock.set(code, (stock.get(code) ?? 0) + delta);
  }
  expect(sales.filled).toBeGreaterThan(100);
  expect(sales.short).toBeGreaterThan(100);
});

test("one code and one invoice are enough", () => {
  expect(generateOrders(seeded(3), { count: 1, codes: 1 })).toHaveLength(1);
});

test.each([{ count: 0 }, { count: 1.5 }, { count: 800_001 }, { codes: 0 }, { codes: 50_001 }])(
  "%j is refused",
  (options) => {
    expect(() => generateOrders(seeded(1), options)).toThrow(RangeError);
  },
);
