import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Line } from "./lines.ts";
import {
  demand,
  initialStock,
  isStockCode,
  postings,
  repeat,
  stockMoves,
  toOrder,
} from "./rules.ts";
import type { Order, OrderKind } from "./rules.ts";

let nextLine = 2;
function line(part: Partial<Line>): Line {
  return {
    line: nextLine++,
    invoice: "536365",
    code: "22139",
    description: "",
    quantity: 1,
    dateMs: 0,
    unitPriceMils: 1_000,
    customer: "17850",
    country: "United Kingdom",
    ...part,
  };
}

function orderOf(id: string, ...parts: readonly Partial<Line>[]): Order {
  const { order, malformed } = toOrder(id, parts.map(line));
  expect(malformed).toEqual([]);
  if (order === null) throw new Error("Expected an order");
  return order;
}

function refused(id: string, ...parts: readonly Partial<Line>[]): [Order | null, string[]] {
  const { order, malformed } = toOrder(id, parts.map(line));
  return [order, malformed.map(({ reason }) => reason)];
}

test("products have numbers, or are of two named families", () => {
  for (const code of ["22139", "85123A", "15056BL", "84970s", "DCGS0003", "DCGSSBOY", "SP1002"]) {
    expect([code, isStockCode(code)]).toEqual([code, true]);
  }
});

test("all else is a charge", () => {
  const codes =
    "POST,DOT,M,m,D,C2,S,B,BANK CHARGES,AMAZONFEE,CRUK,PADS,gift_0001_20,TEST001,ADJUST,NEWFEE";
  for (const code of codes.split(",")) expect([code, isStockCode(code)]).toEqual([code, false]);
});

test("an invoice is one order, whose repeated codes add up", () => {
  const order = orderOf(
    "536365",
    { code: "71053", quantity: 6, unitPriceMils: 3_390 },
    { code: "22139", quantity: 2, unitPriceMils: 5 },
    { code: "71053", quantity: 4, unitPriceMils: 3_000 },
    { code: "POST", quantity: 3, unitPriceMils: 18_000 },
    { code: "POST", quantity: 1, unitPriceMils: 10 },
  );
  expect(order).toEqual({
    id: "536365",
    kind: "sale",
    customer: "17850",
    country: "United Kingdom",
    dateMs: 0,
    items: [
      { code: "71053", quantity: 10, amountPence: 3_234 },
      { code: "22139", quantity: 2, amountPence: 1 },
    ],
    charges: [{ code: "POST", amountPence: 5_401 }],
    totalPence: 8_636,
  });
  expect(postings(order)).toEqual([
    { account: "receivable:17850", amountPence: 8_636 },
    { account: "sales", amountPence: -3_235 },
    { account: "charges", amountPence: -5_401 },
  ]);
  expect(stockMoves(order)).toEqual([
    { code: "71053", delta: -10 },
    { code: "22139", delta: -2 },
  ]);
});

test("the first line gives the date, as an invoice may run over a minute's end", () => {
  expect(orderOf("536591", { dateMs: 60_000 }, { dateMs: 120_000 }).dateMs).toBe(60_000);
});

test("codes are told apart by case, as the file has them", () => {
  const order = orderOf("1", { code: "85123A" }, { code: "85123a" });
  expect(order.items.map(({ code }) => code)).toEqual(["85123A", "85123a"]);
});

test("free goods move stock and no money", () => {
  const order = orderOf("1", { quantity: 56, unitPriceMils: 0, customer: null });
  expect(order).toMatchObject({ kind: "sale", customer: null, totalPence: 0 });
  expect(stockMoves(order)).toEqual([{ code: "22139", delta: -56 }]);
  expect(postings(order)).toEqual([]);
});

test("guests share an account", () => {
  const order = orderOf("1", { customer: null });
  expect(postings(order)[0]).toEqual({ account: "receivable:guest", amountPence: 100 });
});

test.each(["C536379", "c536379"])("%s is a return: stock comes back, money is credited", (id) => {
  const order = orderOf(
    id,
    { quantity: -2 },
    { code: "D", quantity: -1, unitPriceMils: 27_500 },
    { code: "BANK CHARGES", quantity: 1, unitPriceMils: 1_500 },
  );
  expect(order).toMatchObject({ kind: "return", totalPence: -2_800 });
  expect(order.items).toEqual([{ code: "22139", quantity: 2, amountPence: -200 }]);
  expect(stockMoves(order)).toEqual([{ code: "22139", delta: 2 }]);
  expect(postings(order)).toEqual([
    { account: "receivable:17850", amountPence: -2_800 },
    { account: "sales", amountPence: 200 },
    { account: "charges", amountPence: 2_600 },
  ]);
});

test("negative quantities at price 0 are written off: stock only", () => {
  const order = orderOf("536589", { quantity: -10, unitPriceMils: 0, customer: null });
  expect(order).toMatchObject({ kind: "adjustment", totalPence: 0 });
  expect(order.items).toEqual([{ code: "22139", quantity: 10, amountPence: 0 }]);
  expect(stockMoves(order)).toEqual([{ code: "22139", delta: -10 }]);
  expect(postings(order)).toEqual([]);
});

test("a number with A is a bad debt: ledger only, whatever its codes", () => {
  const order = orderOf(
    "A563186",
    { code: "B", unitPriceMils: -11_062_060, customer: null },
    { code: "22139", unitPriceMils: 1_000, customer: null },
  );
  expect(order).toMatchObject({ kind: "adjustment", items: [], totalPence: -1_106_106 });
  expect(stockMoves(order)).toEqual([]);
  expect(postings(order)).toEqual([
    { account: "receivable:guest", amountPence: -1_106_106 },
    { account: "bad-debts", amountPence: 1_106_106 },
  ]);
});

test.each<[string, string, Partial<Line>, Partial<Line>, string]>([
  ["another customer", "1", {}, { customer: "1" }, "customer of the invoice's first line"],
  ["a guest beside a customer", "1", {}, { customer: null }, "got `a guest`"],
  ["a negative price", "1", {}, { unitPriceMils: -1 }, "price of 0 or more"],
  ["a negative quantity in a sale", "1", {}, { quantity: -1, unitPriceMils: 0 }, "beside lines"],
  [
    "a write-off with a price",
    "1",
    { quantity: -1, unitPriceMils: 0 },
    { quantity: -1 },
    "price 0 at a negative quantity",
  ],
  ["goods sold in a return", "C1", { quantity: -1 }, {}, "negative quantity in a return"],
])("%s is refused, and the invoice goes on without it", (_, id, good, bad, reason) => {
  const [order, reasons] = refused(id, good, bad, good);
  expect(reasons).toEqual([expect.stringContaining(reason)]);
  expect(order?.items).toMatchObject([{ quantity: 2 }]);
});

test("an invoice of which no line is left is no order", () => {
  expect(refused("1", { quantity: -1 })).toEqual([null, [expect.any(String)]]);
  expect(toOrder("1", [])).toEqual({ order: null, malformed: [] });
});

test("demand is what sales ask for", () => {
  const orders = [
    orderOf("1", { quantity: 3 }, { code: "71053", quantity: 2 }, { code: "POST" }),
    orderOf("2", { quantity: 4, unitPriceMils: 0 }),
    orderOf("C3", { quantity: -3 }),
    orderOf("4", { code: "9", quantity: -3, unitPriceMils: 0 }),
  ];
  expect(demand(orders)).toEqual(
    new Map([
      ["22139", 7],
      ["71053", 2],
    ]),
  );
});

test("stock starts at a fraction of demand, rounded up and exact", () => {
  const units = new Map([
    ["a", 1],
    ["b", 5],
    ["c", 30],
    ["d", 0],
  ]);
  expect([...initialStock(units).values()]).toEqual([1, 3, 18, 0]);
  expect([...initialStock(units, 0.1).values()]).toEqual([1, 1, 3, 0]);
  expect([...initialStock(units, 0).values()]).toEqual([0, 0, 0, 0]);
  expect([...initialStock(units, 2).values()]).toEqual([2, 10, 60, 0]);
});

test.each([-0.1, 1_001, Number.NaN, Infinity])("%d is no fraction", (fraction) => {
  expect(() => initialStock(new Map(), fraction)).toThrow(RangeError);
});

test("orders are replayed as new ones", () => {
  const orders = [orderOf("1", {}), orderOf("C2", { quantity: -1 })];
  const replayed = [...repeat(orders, 3)];
  expect(replayed.map(({ id }) => id)).toEqual(["1", "C2", "1.2", "C2.2", "1.3", "C2.3"]);
  expect(replayed[4]).toEqual({ ...orders[0], id: "1.3" });
  expect([...repeat(orders, 1)]).toEqual(orders);
});

test.each([0, -1, 1.5, Number.NaN])("%d is no number of replays", (count) => {
  expect(() => [...repeat([], count)]).toThrow(RangeError);
});

const partOf = fc.record({
  code: fc.constantFrom("22139", "71053", "85123A", "POST", "D", "M"),
  quantity: fc.integer({ min: -500, max: 500 }).filter((quantity) => quantity !== 0),
  unitPriceMils: fc.oneof(fc.constant(0), fc.integer({ min: -20_000, max: 20_000 })),
  customer: fc.constantFrom("17850", null),
});
const invoiceOf = fc
  .record({ id: fc.constantFrom("1", "C1", "A1"), parts: fc.array(partOf, { minLength: 1 }) })
  .map(({ id, parts }) => ({ id, lines: parts.map(line) }));

test("whatever the lines, postings balance and the total is what the customer owes", () => {
  fc.assert(
    fc.property(invoiceOf, ({ id, lines }) => {
      const { order, malformed } = toOrder(id, lines);
      expect(new Set(malformed.map((report) => report.line)).size).toBe(malformed.length);
      expect(order === null).toBe(malformed.length === lines.length);
      if (order === null) return;
      const entry = postings(order);
      expect(entry.reduce((sum, posting) => sum + posting.amountPence, 0)).toBe(0);
      const owed = entry.filter(({ account }) => account.startsWith("receivable:"));
      expect(owed.reduce((sum, posting) => sum + posting.amountPence, 0)).toBe(order.totalPence);
      for (const { quantity } of order.items) expect(quantity).toBeGreaterThan(0);
    }),
  );
});

test("orders taken whole or not at all keep the audit's equation, and stock at 0 or more", () => {
  fc.assert(
    fc.property(fc.array(invoiceOf), (invoices) => {
      const orders = invoices.flatMap(({ id, lines }) => toOrder(id, lines).order ?? []);
      const initial = initialStock(demand(orders));
      const remaining = new Map(initial);
      const moved: Record<OrderKind, Map<string, number>> = {
        sale: new Map(),
        return: new Map(),
        adjustment: new Map(),
      };
      for (const order of orders) {
        const moves = stockMoves(order);
        if (moves.some(({ code, delta }) => (remaining.get(code) ?? 0) + delta < 0)) continue;
        for (const { code, delta } of moves) {
          remaining.set(code, (remaining.get(code) ?? 0) + delta);
          const sums = moved[order.kind];
          sums.set(code, (sums.get(code) ?? 0) + Math.abs(delta));
        }
      }
      for (const [code, left] of remaining) {
        const of = (kind: OrderKind): number => moved[kind].get(code) ?? 0;
        expect(left).toBeGreaterThanOrEqual(0);
        expect((initial.get(code) ?? 0) + of("return")).toBe(left + of("sale") + of("adjustment"));
      }
    }),
  );
});
