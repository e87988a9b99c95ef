/**
 * Orders that look like the real ones, for when there is no file and for the tests. The shapes
 * (lines an invoice, units a line, prices) are quantiles measured on the sample of the UCI set, and
 * codes are drawn by a Zipf-Mandelbrot law, 1 / (rank + offset), which is what flattens the head of
 * a real shop's sales.
 *
 * Only additions, multiplications, divisions and `Math.floor` are used: unlike `Math.log` or
 * `Math.pow` they give the same bits on every engine, so a seed gives the same orders everywhere.
 */
import { formatPence } from "./money.ts";
import type { Line } from "./lines.ts";
import { toOrder } from "./rules.ts";
import type { Order } from "./rules.ts";

/** A source of numbers from 0 (included) to 1 (excluded). */
export type Random = () => number;

export interface GenerateOptions {
  /** Invoices of all kinds, 1 to 800,000; 500 by default. */
  readonly count?: number | undefined;
  /** Different stock codes, 1 to 50,000; 2,000 by default. */
  readonly codes?: number | undefined;
}

const DEFAULTS = Object.freeze({ count: 500, codes: 2_000 });

/** Shares of all invoices; the sample has 8.4 % returns and 5.9 % adjustments. */
const RETURNS = 0.088;
const WRITE_OFFS = 0.05;
const BAD_DEBTS = 0.003;
const GUESTS = 0.25;
/**
 * Where the Zipf law begins: the top code has about 1 % of all lines, as in a sale (0.6 % in the
 * sample).
 */
const RANK_OFFSET = 20;
/** Sales that a return can refer to. */
const REMEMBERED_SALES = 64;
/** 1 December 2010, 08:00 UTC: the day on which the set begins. */
const START_MS = 1_291_190_400_000;
const MINUTE_MS = 60_000;

/**
 * A distribution: [share of the draws, value at or below], between which values are drawn evenly.
 */
type Quantiles = readonly (readonly [share: number, value: number])[];

const SALE_LINES: Quantiles = [
  [0, 1],
  [0.15, 2],
  [0.25, 4],
  [0.35, 8],
  [0.45, 12],
  [0.5, 14],
  [0.6, 18],
  [0.7, 22],
  [0.8, 30],
  [0.85, 38],
  [0.9, 52],
  [0.95, 70],
  [0.98, 100],
  [0.99, 130],
  [0.995, 160],
  [1, 593],
];
const RETURN_LINES: Quantiles = [
  [0, 1],
  [0.6, 2],
  [0.9, 3],
  [0.97, 8],
  [1, 15],
];
const SALE_UNITS: Quantiles = [
  [0, 1],
  [0.35, 2],
  [0.5, 3],
  [0.6, 4],
  [0.7, 6],
  [0.8, 12],
  [0.9, 18],
  [0.95, 25],
  [0.98, 56],
  [0.995, 144],
  [0.999, 400],
  [1, 2_880],
];
const WRITE_OFF_UNITS: Quantiles = [
  [0, 2],
  [0.2, 6],
  [0.5, 20],
  [0.8, 70],
  [1, 320],
];
const PRICE_PENCE: Quantiles = [
  [0, 10],
  [0.1, 85],
  [0.3, 145],
  [0.5, 251],
  [0.7, 375],
  [0.8, 506],
  [0.9, 847],
  [0.98, 1_613],
  [0.995, 2_995],
  [1, 29_500],
];

const COLOURS: readonly string[] = ["RED", "PINK", "BLUE", "IVORY", "WHITE", "VINTAGE"];
/** A comma and a quote are among them, so that files need real CSV. */
const THINGS: readonly string[] = [
  "RETROSPOT MUG",
  "HEART T-LIGHT HOLDER",
  "LUNCH BAG",
  "CAKE TIN, SET OF 3",
  'PHOTO FRAME 7"X5"',
  "METAL LANTERN",
  "DOOR MAT",
  "PAPER CHAIN KIT",
];
const COUNTRIES: readonly string[] = ["Germany", "France", "EIRE", "Norway", "Spain", "Belgium"];

interface Product {
  readonly code: string;
  readonly description: string;
  readonly priceMils: number;
}

/** What all lines of one invoice share. */
type Head = Pick<Line, "invoice" | "dateMs" | "customer" | "country">;
/** A line before it has its place. */
type Body = Pick<Line, "code" | "description" | "quantity" | "unitPriceMils">;

interface Invoice {
  readonly head: Head;
  readonly bodies: readonly Body[];
}

/**
 * Makes the lines of an order file.
 *
 * Shape: about 19 lines an invoice, from 1 to 600; invoices stand in the order of their numbers,
 * which begin at 600001. About 9 % are returns of earlier sales, 5 % write-offs, and a few bad
 * debts; a quarter of the sales are guests'.
 * Guarantee: the same numbers from `random` give the same lines, on any machine. Lazy: keeps the
 * products and the last 64 sales. Every line passes the checks of `readLines` and the rules of
 * `toOrder`.
 * Errors: `RangeError` for options out of range, at the first step.
 */
export function* generateLines(random: Random, options: GenerateOptions = {}): Generator<Line> {
  for (const lines of numbered(random, options)) yield* lines;
}

/**
 * Makes orders: those of `generateLines` with the same arguments, all in memory.
 *
 * Shape: as many as `count`. Errors: `RangeError` for options out of range.
 */
export function generateOrders(random: Random, options: GenerateOptions = {}): Order[] {
  const orders: Order[] = [];
  for (const lines of numbered(random, options)) {
    const { order } = toOrder(lines[0]?.invoice ?? "", lines);
    if (order !== null) orders.push(order);
  }
  return orders;
}

/** The lines of one invoice after the other, numbered as they would be in a file. */
function* numbered(random: Random, options: GenerateOptions): Generator<readonly Line[]> {
  let before = 1;
  for (const { head, bodies } of invoices(random, options)) {
    const first = before + 1;
    yield bodies.map((body, index) => Object.assign({ line: first + index }, head, body));
    before += bodies.length;
  }
}

function* invoices(random: Random, options: GenerateOptions): Generator<Invoice> {
  const count = within("count", options.count ?? DEFAULTS.count, 800_000);
  const codes = within("codes", options.codes ?? DEFAULTS.codes, 50_000);
  const products = makeProducts(random, codes);
  const pick = zipf(random, codes);
  const product = (): Product => at(products, pick());
  const sales: Invoice[] = [];
  let dateMs = START_MS;
  for (let index = 1; index <= count; index++) {
    dateMs += below(random, 4) * MINUTE_MS;
    const invoice = String(600_000 + index);
    const roll = random();
    if (roll < RETURNS && sales.length > 0) {
      yield makeReturn(random, `C${invoice}`, dateMs, oneOf(random, sales));
    } else if (roll >= RETURNS && roll < RETURNS + WRITE_OFFS) {
      yield makeWriteOff(random, invoice, dateMs, product());
    } else if (roll >= 1 - BAD_DEBTS) {
      yield makeBadDebt(random, `A${invoice}`, dateMs);
    } else {
      const sale = makeSale(random, invoice, dateMs, product);
      sales.push(sale);
      if (sales.length > REMEMBERED_SALES) sales.shift();
      yield sale;
    }
  }
}

function makeSale(
  random: Random,
  invoice: string,
  dateMs: number,
  product: () => Product,
): Invoice {
  const isGuest = random() < GUESTS;
  const customer = isGuest ? null : String(12_346 + below(random, 4_000));
  const isAbroad = random() < 0.07;
  const country = isAbroad ? oneOf(random, COUNTRIES) : "United Kingdom";
  const size = draw(random, SALE_LINES);
  const taken = new Set<string>();
  const bodies: Body[] = [];
  for (let index = 0; index < size; index++) {
    const { code, description, priceMils } = pickNew(random, product, taken);
    // A few lines are free: goods go out and no money comes in.
    const unitPriceMils = random() < 0.005 ? 0 : priceMils;
    bodies.push({ code, description, quantity: draw(random, SALE_UNITS), unitPriceMils });
  }
  if (isAbroad) bodies.push(charge("POST", "POSTAGE", 1 + below(random, 4), 1_800));
  if (isGuest && size > 40) {
    bodies.push(charge("DOT", "DOTCOM POSTAGE", 1, 10_000 + below(random, 80_000)));
  }
  if (random() < 0.02) bodies.push(charge("M", "Manual", 1, 42 + below(random, 2_000)));
  return { head: { invoice, dateMs, customer, country }, bodies };
}

/** Part of what an earlier sale bought goes back, at the price it was sold for. */
function makeReturn(random: Random, invoice: string, dateMs: number, sale: Invoice): Invoice {
  const head: Head = { ...sale.head, invoice, dateMs };
  if (random() < 0.05) {
    return { head, bodies: [charge("D", "Discount", -1, 500 + below(random, 5_000))] };
  }
  const goods = sale.bodies.filter((body) => /^\d/.test(body.code));
  const from = below(random, goods.length);
  const bodies: Body[] = goods.slice(from, from + draw(random, RETURN_LINES)).map((body) => ({
    ...body,
    quantity: -1 - below(random, body.quantity),
  }));
  if (random() < 0.03) bodies.push(charge("BANK CHARGES", "Bank Charges", 1, 150));
  return { head, bodies };
}

function makeWriteOff(random: Random, invoice: string, dateMs: number, product: Product): Invoice {
  const quantity = 0 - draw(random, WRITE_OFF_UNITS);
  return {
    head: { invoice, dateMs, customer: null, country: "United Kingdom" },
    bodies: [{ code: product.code, description: "", quantity, unitPriceMils: 0 }],
  };
}

function makeBadDebt(random: Random, invoice: string, dateMs: number): Invoice {
  const pence = 0 - (1_000 + below(random, 1_000_000));
  return {
    head: { invoice, dateMs, customer: null, country: "United Kingdom" },
    bodies: [charge("B", `Adjust bad debt ${formatPence(pence)}`, 1, pence)],
  };
}

function charge(code: string, description: string, quantity: number, pence: number): Body {
  return { code, description, quantity, unitPriceMils: pence * 10 };
}

/** Mostly a product that the invoice has not yet; the sample repeats a code in 3 lines of 100. */
function pickNew(random: Random, product: () => Product, taken: Set<string>): Product {
  let picked = product();
  for (let tries = 0; tries < 4 && taken.has(picked.code) && random() < 0.8; tries++) {
    picked = product();
  }
  taken.add(picked.code);
  return picked;
}

/**
 * The products in the order of their rank; their numbers are shuffled, so that neighbours in a
 * store differ in rank.
 */
function makeProducts(random: Random, codes: number): readonly Product[] {
  const numbers = Array.from({ length: codes }, (_, index) => 20_000 + index);
  for (let last = codes - 1; last > 0; last--) {
    const other = below(random, last + 1);
    const number = at(numbers, last);
    numbers[last] = at(numbers, other);
    numbers[other] = number;
  }
  return numbers.map((number) => ({
    code: `${number}${oneOf(random, ["", "", "A", "B"])}`,
    description: `${oneOf(random, COLOURS)} ${oneOf(random, THINGS)}`,
    priceMils: draw(random, PRICE_PENCE) * 10,
  }));
}

/** Draws ranks from 0, in proportion to 1 / (rank + 1 + RANK_OFFSET). */
function zipf(random: Random, ranks: number): () => number {
  const upTo = new Float64Array(ranks);
  let sum = 0;
  for (let rank = 0; rank < ranks; rank++) {
    sum += 1 / (rank + 1 + RANK_OFFSET);
    upTo[rank] = sum;
  }
  return () => {
    const point = random() * sum;
    let low = 0;
    let high = ranks - 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((upTo[middle] ?? 0) > point) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/**
 * A whole number by the distribution's quantiles; the last value is excluded unless it is the only
 * one in reach.
 */
function draw(random: Random, quantiles: Quantiles): number {
  const point = random();
  let [fromShare, fromValue] = at(quantiles, 0);
  for (const [share, value] of quantiles) {
    if (point < share) {
      const part = (point - fromShare) / (share - fromShare);
      return fromValue + Math.floor(part * (value - fromValue));
    }
    fromShare = share;
    fromValue = value;
  }
  return fromValue;
}

function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function oneOf<T>(random: Random, list: readonly T[]): T {
  return at(list, below(random, list.length));
}

function at<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined)
    throw new RangeError(`Expected an index below ${list.length}, got ${index}`);
  return value;
}

function within(name: string, value: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`Expected \`${name}\` to be an integer from 1 to ${most}, got \`${value}\``);
}
