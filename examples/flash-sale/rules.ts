/**
 * What an invoice means: an order, what it does to stock, and what it does to the ledger. Pure
 * functions over plain data; `README.md` states the same rules for readers.
 *
 *   number   lines                              kind         stock       ledger
 *   536365   a positive quantity                sale         takes out   customer owes
 *   536589   all quantities negative, price 0   adjustment   takes out   nothing
 *   C536379  quantities negative                return       puts back   customer is credited
 *   A563185  any                                adjustment   nothing     bad debt
 */
import type { Malformed } from "./csv.ts";
import type { Line } from "./lines.ts";
import { amountPence } from "./money.ts";

/** What an order is, and so which way its stock goes. */
export type OrderKind = "sale" | "return" | "adjustment";

/** One stock code of an order. */
export interface OrderItem {
  readonly code: string;
  /** Units, 1 or more; the order's kind says whether they leave or come back. */
  readonly quantity: number;
  /** What the customer owes for them; negative in a return, 0 if free or written off. */
  readonly amountPence: number;
}

/** Money of an order that moves no stock: postage, fees, discounts. */
export interface OrderCharge {
  readonly code: string;
  readonly amountPence: number;
}

/** One invoice. Plain JSON, so that it can be a job's payload as it is. */
export interface Order {
  readonly id: string;
  readonly kind: OrderKind;
  /** Null for a guest. */
  readonly customer: string | null;
  readonly country: string;
  readonly dateMs: number;
  /** Each code once, in the order of its first line. */
  readonly items: readonly OrderItem[];
  /** Each code once, in the order of its first line. */
  readonly charges: readonly OrderCharge[];
  /** What the customer owes in all: the sum of items and charges; negative for a credit. */
  readonly totalPence: number;
}

/** One side of a ledger entry: positive is a debit, negative a credit. */
export interface Posting {
  readonly account: string;
  readonly amountPence: number;
}

/** One change of one stock code: negative leaves the shelf. */
export interface StockMove {
  readonly code: string;
  readonly delta: number;
}

/** What came of an invoice's lines. */
export interface OrderResult {
  /** Null where no line was left to make one of. */
  readonly order: Order | null;
  /** The lines that the rules refuse; the rest of the invoice goes on without them. */
  readonly malformed: readonly Malformed[];
}

/** How a number's first letter and its lines say what an invoice is. */
type InvoiceNature = "sale" | "return" | "write-off" | "bad-debt";

/**
 * Products are numbered (`22139`, `85123A`), but for two families that are named: `DCGS...` and
 * `SP1002`. All other codes that begin with a letter (POST, DOT, M, m, D, C2, S, B, BANK CHARGES,
 * AMAZONFEE, CRUK, PADS, gift_0001_20 ...) are money.
 */
const STOCK_CODE = /^(?:\d|DCGS[\dA-Z]|SP\d)/;

/**
 * Tells products from charges.
 *
 * Guarantee: an unknown code that begins with a letter is a charge, so a new kind of fee never
 * becomes stock.
 */
export function isStockCode(code: string): boolean {
  return STOCK_CODE.test(code);
}

/**
 * Makes an order of the lines of one invoice.
 *
 * Shape: at least one line, all with the number `id`. The first line gives date and country (one
 * invoice of the sample runs over a minute's end) and the customer; repeated codes add up, each
 * line rounded to pence before.
 * Guarantee: each line is either in the order or in `malformed`. Complexity: one pass.
 */
export function toOrder(id: string, lines: readonly Line[]): OrderResult {
  const first = lines[0];
  if (first === undefined) return { order: null, malformed: [] };
  const nature = natureOf(id, lines);
  const malformed: Malformed[] = [];
  const items = new Map<string, OrderItem>();
  const charges = new Map<string, OrderCharge>();
  let totalPence = 0;
  for (const line of lines) {
    const reason = lineFault(line, nature, first.customer);
    if (reason !== undefined) {
      malformed.push({ line: line.line, reason });
      continue;
    }
    const { code } = line;
    const pence = amountPence(line.quantity, line.unitPriceMils);
    totalPence += pence;
    if (isStockLine(line, nature)) {
      const before = items.get(code) ?? { quantity: 0, amountPence: 0 };
      const quantity = before.quantity + Math.abs(line.quantity);
      items.set(code, { code, quantity, amountPence: before.amountPence + pence });
    } else {
      charges.set(code, { code, amountPence: (charges.get(code)?.amountPence ?? 0) + pence });
    }
  }
  if (items.size === 0 && charges.size === 0) return { order: null, malformed };
  const order: Order = {
    id,
    kind: nature === "sale" || nature === "return" ? nature : "adjustment",
    customer: first.customer,
    country: first.country,
    dateMs: first.dateMs,
    items: [...items.values()],
    charges: [...charges.values()],
    totalPence,
  };
  return { order, malformed };
}

/**
 * The ledger entry of an order, double entry with signed amounts.
 *
 * Shape: what the customer owes is debited to `receivable:NUMBER` (guests share `receivable:guest`)
 * and credited to `sales` for goods and `charges` for the rest; in a return the signs are the other
 * way round. A bad debt goes against `bad-debts`. Accounts with nothing to post are left out, so
 * free goods and write-offs have no entry at all.
 * Guarantee: the amounts add up to exactly 0.
 */
export function postings(order: Order): readonly Posting[] {
  const goodsPence = sumPence(order.items);
  const chargesPence = sumPence(order.charges);
  const isBadDebt = order.kind === "adjustment";
  const all: readonly Posting[] = [
    { account: `receivable:${order.customer ?? "guest"}`, amountPence: goodsPence + chargesPence },
    { account: "sales", amountPence: 0 - goodsPence },
    { account: isBadDebt ? "bad-debts" : "charges", amountPence: 0 - chargesPence },
  ];
  return all.filter((posting) => posting.amountPence !== 0);
}

/**
 * What an order does to stock if it is accepted, all of it or none.
 *
 * Shape: one move a code. A sale and a write-off take out, a return puts back, a bad debt moves
 * nothing.
 * Guarantee: with every accepted order's moves counted as `sold`, `restocked` or `adjusted` by its
 * kind, each code keeps initial + restocked = remaining + sold + adjusted.
 */
export function stockMoves(order: Order): readonly StockMove[] {
  const sign = order.kind === "return" ? 1 : -1;
  return order.items.map(({ code, quantity }) => ({ code, delta: sign * quantity }));
}

/**
 * How many units of each code the sales ask for, free goods included.
 *
 * Shape: returns and adjustments do not count, so a code that only they name is not in the map and
 * has no stock at first.
 */
export function demand(orders: Iterable<Order>): Map<string, number> {
  const units = new Map<string, number>();
  for (const order of orders) {
    if (order.kind !== "sale") continue;
    for (const { code, quantity } of order.items) {
      units.set(code, (units.get(code) ?? 0) + quantity);
    }
  }
  return units;
}

/**
 * The stock that a run starts with: a fraction of each code's demand, rounded up.
 *
 * Shape: `fraction` from 0 to 1,000, of which six decimals count. Rounded up, because a sixth of
 * the codes of the sample are asked for once, and rounded down those would start with none.
 * Guarantee: exact for any demand (0.1 of 30 is 3, not 4 as in floating point). Errors:
 * `RangeError`.
 */
export function initialStock(
  units: ReadonlyMap<string, number>,
  fraction: number = 0.6,
): Map<string, number> {
  if (!(fraction >= 0 && fraction <= 1_000)) {
    throw new RangeError(
      `Expected \`fraction\` to be a number from 0 to 1000, got \`${fraction}\``,
    );
  }
  const millionths = BigInt(Math.round(fraction * 1_000_000));
  const stock = new Map<string, number>();
  for (const [code, quantity] of units) {
    stock.set(code, Number((BigInt(quantity) * millionths + 999_999n) / 1_000_000n));
  }
  return stock;
}

/**
 * Replays orders as new ones.
 *
 * Shape: `count` of 1 or more is how often each order comes in all: first as it is, then with `.2`,
 * `.3` ... behind its id.
 * Guarantee: ids stay unique, since no number in a file has a point. Lazy; keeps nothing but
 * `orders`.
 * Errors: `RangeError`, at the first step.
 */
export function* repeat(orders: readonly Order[], count: number): Generator<Order> {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(`Expected \`count\` to be an integer >= 1, got \`${count}\``);
  }
  yield* orders;
  for (let round = 2; round <= count; round++) {
    for (const order of orders) yield { ...order, id: `${order.id}.${round}` };
  }
}

function natureOf(id: string, lines: readonly Line[]): InvoiceNature {
  if (/^c/i.test(id)) return "return";
  if (/^a/i.test(id)) return "bad-debt";
  return lines.every((line) => line.quantity < 0) ? "write-off" : "sale";
}

/** An `A` invoice never moves stock, whatever its codes. */
function isStockLine(line: Line, nature: InvoiceNature): boolean {
  return nature !== "bad-debt" && isStockCode(line.code);
}

/** Why a line cannot be in an invoice of this nature. */
function lineFault(line: Line, nature: InvoiceNature, customer: string | null): string | undefined {
  if (line.customer !== customer) {
    const names = `\`${customer ?? "a guest"}\`, got \`${line.customer ?? "a guest"}\``;
    return `Expected the customer of the invoice's first line, ${names}`;
  }
  if (nature === "bad-debt") return undefined;
  if (line.unitPriceMils < 0) return "Expected a price of 0 or more outside a bad debt (A...)";
  if (nature === "sale" && line.quantity < 0) {
    return "Expected no negative quantity beside lines that are sold";
  }
  if (nature === "write-off" && line.unitPriceMils !== 0) {
    return "Expected price 0 at a negative quantity outside a return (C...)";
  }
  // A charge may go either way in a return: a fee for it lessens the credit.
  if (nature === "return" && line.quantity > 0 && isStockCode(line.code)) {
    return "Expected a negative quantity in a return (C...)";
  }
  return undefined;
}

function sumPence(parts: readonly { readonly amountPence: number }[]): number {
  return parts.reduce((sum, part) => sum + part.amountPence, 0);
}
