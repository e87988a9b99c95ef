/**
 * The lines of an order file in the columns of the UCI "Online Retail" set, checked field by field.
 * What a line means for stock and money is not known here; that is `rules.ts`.
 */
import { isMalformed, joinFields, LineSplitter, splitFields } from "./csv.ts";
import type { Malformed, PhysicalLine } from "./csv.ts";
import {
  amountPence,
  formatPence,
  formatPriceMils,
  MAX_UNIT_PRICE_MILS,
  parsePriceMils,
} from "./money.ts";

/** The set's columns, in the set's order. */
export const COLUMNS: readonly string[] = Object.freeze([
  "InvoiceNo",
  "StockCode",
  "Description",
  "Quantity",
  "InvoiceDate",
  "UnitPrice",
  "CustomerID",
  "Country",
]);

/** What one line may hold. Sums over an order and over a run stay far inside the safe integers. */
export const LINE_LIMITS = {
  /** `InvoiceNo` and `StockCode`, in characters. */
  codeChars: 40,
  /** `Description`, in characters. */
  descriptionChars: 200,
  /** `Country`, in characters. */
  countryChars: 60,
  /** `Quantity`, in units either way; the set's largest is 80,995. */
  quantity: 1_000_000,
  /** What one line may cost: £1,000,000,000, in pence. */
  amountPence: 100_000_000_000,
} as const;

/** One line of an invoice, as the file has it. */
export interface Line {
  /** Its number in the file; the header is line 1. */
  readonly line: number;
  readonly invoice: string;
  readonly code: string;
  readonly description: string;
  /** Whole units, never 0; negative for what comes back or is written off. */
  readonly quantity: number;
  readonly dateMs: number;
  /** In mils, thousandths of a pound: see `money.ts`. */
  readonly unitPriceMils: number;
  /** Digits, or null for a guest. */
  readonly customer: string | null;
  readonly country: string;
}

/** The columns of one line as text, trimmed. */
interface Row {
  readonly invoice: string;
  readonly code: string;
  readonly description: string;
  readonly quantity: string;
  readonly date: string;
  readonly price: string;
  readonly customer: string;
  readonly country: string;
}

/** Chunks of a file: `createReadStream(path)`, `toCsv(lines)`, or an array of strings. */
export type Chunks = AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>;

/**
 * Reads the lines of an order file, in the file's order.
 *
 * Shape: the first line names the eight columns, in any order. If it does not, that is reported and
 * the rest is read in the set's own order, which is right for a file that has no header or other
 * names. Empty lines are passed over.
 * Guarantee: each line that is not empty is yielded once, as a `Line` or as `Malformed`; nothing
 * else is kept in memory but the line and the chunk at hand.
 * Errors: those of `source`, untouched.
 */
export async function* readLines(source: Chunks): AsyncGenerator<Line | Malformed> {
  const splitter = new LineSplitter();
  let places: readonly number[] | undefined;
  function* read(physicals: Iterable<PhysicalLine>): Generator<Line | Malformed> {
    for (const physical of physicals) {
      let item: Line | Malformed | undefined;
      if (places === undefined) {
        const header = readHeader(physical);
        if (isMalformed(header)) item = header;
        places = isMalformed(header) ? COLUMNS.map((_, index) => index) : header;
      } else {
        item = readLine(physical, places);
      }
      if (item !== undefined) yield item;
    }
  }
  for await (const chunk of source) yield* read(splitter.push(chunk));
  yield* read(splitter.end());
}

/**
 * Writes lines as an order file, the inverse of `readLines`.
 *
 * Shape: yields the header and then one line of text each, so that `Readable.from(toCsv(lines))` or
 * a loop can write any number of them. `line` is not written: reading numbers them again.
 * Errors: `RangeError` for a text with a line break.
 */
export function* toCsv(lines: Iterable<Line>): Generator<string> {
  yield joinFields(COLUMNS);
  for (const line of lines) {
    yield joinFields([
      line.invoice,
      line.code,
      line.description,
      String(line.quantity),
      new Date(line.dateMs).toISOString().replace(".000Z", "Z"),
      formatPriceMils(line.unitPriceMils),
      line.customer ?? "",
      line.country,
    ]);
  }
}

/** Where each of `COLUMNS` stands in the file's lines. */
function readHeader({ line, text }: PhysicalLine): readonly number[] | Malformed {
  const names = text === null ? [] : splitFields(text);
  const found = typeof names === "string" ? [] : names.map((name) => name.trim());
  const places = COLUMNS.map((column) => found.indexOf(column));
  if (found.length === COLUMNS.length && !places.includes(-1)) return places;
  return { line, reason: `Expected the header ${COLUMNS.join(",")}, got ${quote(text ?? "")}` };
}

function readLine(physical: PhysicalLine, places: readonly number[]): Line | Malformed | undefined {
  const { line, text } = physical;
  if (text === null) return { line, reason: "Expected a shorter line" };
  if (text.trim() === "") return undefined;
  const fields = splitFields(text);
  if (typeof fields === "string") return { line, reason: fields };
  if (fields.length !== COLUMNS.length) {
    return { line, reason: `Expected ${COLUMNS.length} columns, got ${fields.length}` };
  }
  const row = rowOf(fields, places);
  const reason = textFault(row);
  return reason === undefined ? readRow(line, row) : { line, reason };
}

function rowOf(fields: readonly string[], places: readonly number[]): Row {
  const field = (column: number): string => (fields[places[column] ?? column] ?? "").trim();
  return {
    invoice: field(0),
    code: field(1),
    description: field(2),
    quantity: field(3),
    date: field(4),
    price: field(5),
    customer: field(6),
    country: field(7),
  };
}

/** What is wrong with the columns that stay text. */
function textFault(row: Row): string | undefined {
  return (
    codeFault("InvoiceNo", row.invoice) ??
    codeFault("StockCode", row.code) ??
    lengthFault("Description", row.description, LINE_LIMITS.descriptionChars) ??
    lengthFault("Country", row.country, LINE_LIMITS.countryChars)
  );
}

function readRow(line: number, row: Row): Line | Malformed {
  const { invoice, code, description, country } = row;
  const quantity = parseQuantity(row.quantity);
  if (quantity === undefined) {
    const most = LINE_LIMITS.quantity;
    return fault(line, "Quantity", `a whole number from -${most} to ${most}, not 0`, row.quantity);
  }
  const dateMs = parseDateMs(row.date);
  if (dateMs === undefined) {
    return fault(line, "InvoiceDate", "a date such as 2010-12-01T08:26:00Z", row.date);
  }
  const unitPriceMils = parsePriceMils(row.price);
  if (unitPriceMils === undefined) {
    const most = formatPriceMils(MAX_UNIT_PRICE_MILS);
    return fault(line, "UnitPrice", `pounds up to ${most} with at most 3 decimals`, row.price);
  }
  if (Math.abs(amountPence(quantity, unitPriceMils)) > LINE_LIMITS.amountPence) {
    const most = formatPence(LINE_LIMITS.amountPence);
    return { line, reason: `Expected ${quantity} times ${row.price} to be at most ${most}` };
  }
  const customer = parseCustomer(row.customer);
  if (customer === undefined) {
    return fault(line, "CustomerID", "up to 15 digits, or nothing for a guest", row.customer);
  }
  return { line, invoice, code, description, quantity, dateMs, unitPriceMils, customer, country };
}

/** Codes become parts of keys and accounts, so only characters that are plain there are let in. */
function codeFault(column: string, value: string): string | undefined {
  if (value === "") return `Expected \`${column}\`, got nothing`;
  if (value.length <= LINE_LIMITS.codeChars && /^[A-Za-z0-9 _-]+$/.test(value)) return undefined;
  const most = LINE_LIMITS.codeChars;
  return `Expected \`${column}\` to be up to ${most} of A-Z a-z 0-9 space _ -, got ${quote(value)}`;
}

function lengthFault(column: string, value: string, chars: number): string | undefined {
  if (value.length <= chars) return undefined;
  return `Expected \`${column}\` to have at most ${chars} characters, got ${value.length}`;
}

function parseQuantity(text: string): number | undefined {
  if (!/^-?\d{1,9}$/.test(text)) return undefined;
  const quantity = Number(text);
  return quantity !== 0 && Math.abs(quantity) <= LINE_LIMITS.quantity ? quantity : undefined;
}

/** Exports by way of a data frame write the number as `17850.0`. */
function parseCustomer(text: string): string | null | undefined {
  if (text === "") return null;
  return /^(\d{1,15})(?:\.0)?$/.exec(text)?.[1];
}

const ISO_DATE = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{3}))?)?Z?$/;
/** Month first: how the widely copied CSV of the set writes it. */
const US_DATE = /^(\d{1,2})\/(\d{1,2})\/(\d{4}) (\d{1,2}):(\d\d)$/;

/** Milliseconds since 1970, UTC; a time without a zone is read as UTC. */
function parseDateMs(text: string): number | undefined {
  const iso = ISO_DATE.exec(text);
  if (iso !== null) {
    const [, year, month, day, hour, minute, second = 0, ms = 0] = iso;
    return utcMs([year, month, day, hour, minute, second, ms].map(Number));
  }
  const us = US_DATE.exec(text);
  if (us === null) return undefined;
  const [, month, day, year, hour, minute] = us;
  return utcMs([year, month, day, hour, minute, 0, 0].map(Number));
}

function utcMs(parts: readonly number[]): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0] = parts;
  if (year < 1970 || minute > 59 || second > 59) return undefined;
  const dateMs = Date.UTC(year, month - 1, day, hour, minute, second, ms);
  // Date.UTC carries 30 February over into March and hour 24 into the next day: refused, not moved.
  const date = new Date(dateMs);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? dateMs : undefined;
}

function fault(line: number, column: string, expected: string, got: string): Malformed {
  return { line, reason: `Expected \`${column}\` to be ${expected}, got ${quote(got)}` };
}

/** A value as it stands in a report: cut short, and without what would disturb a terminal. */
function quote(value: string): string {
  const plain = value.replaceAll(/\p{Cc}/gu, "?");
  return `\`${plain.length > 40 ? `${plain.slice(0, 40)}...` : plain}\``;
}
