/**
 * From an order file to orders, as a stream: the file is never whole in memory. Lines of one
 * invoice need not stand together (in the UCI set they do), only near each other: see
 * `OPEN_INVOICES`.
 */
import { isMalformed } from "./csv.ts";
import type { Malformed } from "./csv.ts";
import { readLines } from "./lines.ts";
import type { Chunks, Line } from "./lines.ts";
import { toOrder } from "./rules.ts";
import type { Order } from "./rules.ts";

/**
 * Lines of one invoice: twice the sample's largest order (593), and above the full set's. At three
 * operations a line an order of this size still fits into one group of the store (4,096).
 */
export const MAX_INVOICE_LINES: number = 1_200;

/**
 * How many invoices may be unfinished at once: the first is taken as complete when one more begins.
 */
export const OPEN_INVOICES: number = 64;

/**
 * Invoices of one file; the full set has 25,900. Their numbers are kept, to see one that comes
 * again.
 */
export const MAX_INVOICES: number = 1_000_000;

interface OpenInvoice {
  readonly id: string;
  readonly firstLine: number;
  readonly lines: Line[];
  /** How many lines came, which may be more than are kept. */
  count: number;
}

/**
 * Groups lines into orders.
 *
 * Guarantee: each invoice becomes at most one order, in the order of the invoices' first lines;
 * each line is in an order or in a report. An invoice of over `MAX_INVOICE_LINES` is left out
 * whole, with one report, as half an order is a wrong order. A line of an invoice that was already
 * complete is reported. Memory: `OPEN_INVOICES` times `MAX_INVOICE_LINES` lines, and the numbers of
 * the invoices seen.
 */
export class OrderGrouper {
  readonly #open = new Map<string, OpenInvoice>();
  readonly #seen = new Set<string>();

  /** Takes the next line, and yields what it completes. */
  *push(line: Line): Generator<Order | Malformed> {
    const open = this.#open.get(line.invoice);
    if (open !== undefined) {
      open.count += 1;
      if (open.lines.length < MAX_INVOICE_LINES) open.lines.push(line);
      return;
    }
    const reason = this.#refusal(line.invoice);
    if (reason !== undefined) {
      yield { line: line.line, reason };
      return;
    }
    const [oldest] = this.#open.values();
    if (this.#open.size >= OPEN_INVOICES && oldest !== undefined) {
      this.#open.delete(oldest.id);
      yield* close(oldest);
    }
    this.#seen.add(line.invoice);
    this.#open.set(line.invoice, {
      id: line.invoice,
      firstLine: line.line,
      lines: [line],
      count: 1,
    });
  }

  /** Yields what is left when the file ends. */
  *end(): Generator<Order | Malformed> {
    for (const invoice of this.#open.values()) yield* close(invoice);
    this.#open.clear();
  }

  #refusal(id: string): string | undefined {
    if (this.#seen.has(id)) {
      return `Expected all lines of invoice \`${id}\` within ${OPEN_INVOICES} invoices`;
    }
    return this.#seen.size < MAX_INVOICES
      ? undefined
      : `Expected at most ${MAX_INVOICES} invoices, got one more: \`${id}\``;
  }
}

/**
 * Reads the orders of a file, in the order of their first lines.
 *
 * Shape: `source` is the file's chunks, such as `createReadStream(path)`; items are orders and
 * reports, told apart by `isMalformed`. A report may come later than orders of lines below it.
 * Guarantee: a malformed line costs itself only; the rest of the file, and of its invoice, goes on.
 * Memory is bounded as in `OrderGrouper`, and the source is read no faster than the items are
 * taken.
 * Errors: those of `source`, untouched. Leaving the loop closes the source.
 */
export async function* readOrders(source: Chunks): AsyncGenerator<Order | Malformed> {
  const grouper = new OrderGrouper();
  for await (const item of readLines(source)) {
    if (isMalformed(item)) yield item;
    else yield* grouper.push(item);
  }
  yield* grouper.end();
}

function* close(invoice: OpenInvoice): Generator<Order | Malformed> {
  if (invoice.count > invoice.lines.length) {
    const size = `at most ${MAX_INVOICE_LINES} lines, got ${invoice.count}`;
    const reason = `Expected invoice \`${invoice.id}\` to have ${size}: it is left out whole`;
    yield { line: invoice.firstLine, reason };
    return;
  }
  const { order, malformed } = toOrder(invoice.id, invoice.lines);
  yield* malformed;
  if (order !== null) yield order;
}
