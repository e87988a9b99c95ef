import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  amountPence,
  formatPence,
  formatPriceMils,
  MAX_UNIT_PRICE_MILS,
  parsePriceMils,
} from "./money.ts";

test("a price is read exactly, to the thousandth of a pound", () => {
  expect(parsePriceMils("2.55")).toBe(2_550);
  expect(parsePriceMils("0")).toBe(0);
  expect(parsePriceMils("7")).toBe(7_000);
  expect(parsePriceMils("0.001")).toBe(1);
  expect(parsePriceMils("-11062.06")).toBe(-11_062_060);
  expect(parsePriceMils("100000")).toBe(MAX_UNIT_PRICE_MILS);
});

test("a zero with a minus is a plain zero", () => {
  expect(Object.is(parsePriceMils("-0.00"), 0)).toBe(true);
});

test.each(["", ".5", "5.", "1.2345", "1,5", "1e3", "£2", " 1", "100000.001", "NaN", "--1"])(
  "%j is no price",
  (text) => {
    expect(parsePriceMils(text)).toBeUndefined();
  },
);

test("a line is rounded to pence half to even, the same way on both sides of zero", () => {
  expect(amountPence(6, 2_550)).toBe(1_530);
  expect([1, 5, 15, 25, 6, 14].map((mils) => amountPence(1, mils))).toEqual([0, 0, 2, 2, 1, 1]);
  expect(amountPence(-1, 15)).toBe(-2);
  expect(Object.is(amountPence(-1, 1), 0)).toBe(true);
  expect(Object.is(amountPence(-10, 0), 0)).toBe(true);
});

test("pence are written as pounds", () => {
  expect([0, 5, -5, 1_205, -120].map(formatPence)).toEqual([
    "0.00",
    "0.05",
    "-0.05",
    "12.05",
    "-1.20",
  ]);
});

const mils = fc.integer({ min: -MAX_UNIT_PRICE_MILS, max: MAX_UNIT_PRICE_MILS });

test("each price that can be written is read back", () => {
  fc.assert(fc.property(mils, (price) => parsePriceMils(formatPriceMils(price)) === price));
});

test("an amount is the nearest whole number of pence, and the even one of two as near", () => {
  fc.assert(
    fc.property(fc.integer({ min: -1_000_000, max: 1_000_000 }), mils, (quantity, price) => {
      const exact = BigInt(quantity) * BigInt(price);
      const pence = BigInt(amountPence(quantity, price));
      const off = exact - pence * 10n;
      const distance = off < 0n ? -off : off;
      expect(distance < 5n || (distance === 5n && pence % 2n === 0n)).toBe(true);
    }),
  );
});
