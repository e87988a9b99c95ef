import { expect, test } from "vitest";
import { duePence } from "./books.ts";
import { chance, fateOf } from "./fates.ts";
import { generateOrders } from "./generate.ts";
import { seeded } from "./seeded.testing.ts";

const orders = generateOrders(seeded(1), { count: 20_000 });
const sales = orders.filter((order) => duePence(order) > 0);
const share = (fits: (fate: ReturnType<typeof fateOf>) => boolean): number =>
  sales.filter((order) => fits(fateOf(order))).length / sales.length;

test("few customers are difficult", () => {
  expect(share(({ pays }) => pays === "never")).toBeCloseTo(0.02, 2);
  expect(share(({ pays }) => pays === "later")).toBeCloseTo(0.04, 2);
  expect(share(({ isUndeliverable }) => isUndeliverable)).toBeCloseTo(0.02, 2);
  expect(share(({ cancelsAfterMs }) => cancelsAfterMs !== null)).toBeCloseTo(0.02, 2);
});

test("what costs nothing and what comes back has no fate", () => {
  const others = orders.filter((order) => duePence(order) === 0);
  expect(others.length).toBeGreaterThan(1_000);
  const none = { pays: "at once", cancelsAfterMs: null, isUndeliverable: false };
  for (const order of others) expect(fateOf(order)).toEqual(none);
});

test("chance is even, and the same for the same text", () => {
  const drawn = Array.from({ length: 10_000 }, (_, no) => chance(`text ${no}`));
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const each of drawn) tenths[Math.floor(each * 10)]! += 1;
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  expect(chance("text 1")).toBe(drawn[1]);
});
