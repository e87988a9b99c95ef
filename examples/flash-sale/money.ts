/**
 * Money without floating point. A unit price is a whole number of *mils* (a mil is a thousandth of
 * a pound), because the UCI set has prices such as 0.001; everything that is owed is a whole number
 * of pence. The step from one to the other is `amountPence`, once a line, so that any program that
 * follows the same rule comes to the same sum.
 */

/** The highest unit price, £100,000, in mils. The set's highest is £38,970. */
export const MAX_UNIT_PRICE_MILS: number = 100_000_000;

const PRICE = /^(-?)(\d{1,6})(?:\.(\d{1,3}))?$/;

/**
 * Reads a price in pounds with a decimal point.
 *
 * Shape: an optional minus, 1 to 6 digits, at most 3 decimals; the result is in mils, within
 * `MAX_UNIT_PRICE_MILS` of 0.
 * Guarantee: exact; the text never becomes a fraction. Errors: `undefined` for any other text, a
 * fourth decimal included.
 */
export function parsePriceMils(text: string): number | undefined {
  const match = PRICE.exec(text);
  if (match === null) return undefined;
  const [, sign, pounds = "", decimals = ""] = match;
  const mils = Number(pounds) * 1_000 + Number(decimals.padEnd(3, "0"));
  if (mils > MAX_UNIT_PRICE_MILS) return undefined;
  // A zero stays a plain zero: "-0" is a price that some exports write.
  return sign === "-" && mils > 0 ? -mils : mils;
}

/**
 * Writes a price in pounds, the inverse of `parsePriceMils`.
 *
 * Shape: whole mils in; two decimals out, three where the third is not 0.
 */
export function formatPriceMils(mils: number): string {
  const text = fixed(mils, 3);
  return text.endsWith("0") ? text.slice(0, -1) : text;
}

/**
 * Writes pence as pounds, for people.
 *
 * Shape: whole pence in, `-12.05` out.
 */
export function formatPence(pence: number): string {
  return fixed(pence, 2);
}

/**
 * What one line costs.
 *
 * Shape: a whole quantity and a whole unit price in mils, whose product is a safe integer; the
 * result is in whole pence and has the product's sign.
 * Guarantee: the product is exact, and only then rounded, half to even, so that neither the shop
 * nor the customer gains by many small lines. With a price of at most two decimals nothing is
 * rounded at all.
 */
export function amountPence(quantity: number, unitPriceMils: number): number {
  const product = quantity * unitPriceMils;
  const rest = Math.abs(product % 10);
  const whole = (Math.abs(product) - rest) / 10;
  const up = rest > 5 || (rest === 5 && whole % 2 === 1);
  const pence = up ? whole + 1 : whole;
  return product < 0 && pence > 0 ? -pence : pence;
}

function fixed(value: number, decimals: number): string {
  const digits = String(Math.abs(value)).padStart(decimals + 1, "0");
  const sign = value < 0 ? "-" : "";
  return `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}
