import { expect, test } from "vitest";
import { isMalformed } from "./csv.ts";
import type { Malformed } from "./csv.ts";
import { generateLines, generateOrders } from "./generate.ts";
import { COLUMNS, toCsv } from "./lines.ts";
import type { Chunks } from "./lines.ts";
import { MAX_INVOICE_LINES, OPEN_INVOICES, readOrders } from "./orders.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";

async function read(source: Chunks): Promise<(Order | Malformed)[]> {
  const items: (Order | Malformed)[] = [];
  for await (const item of readOrders(source)) items.push(item);
  return items;
}

function file(...rows: readonly string[]): string[] {
  return [`${COLUMNS.join(",")}\n`, ...rows.map((text) => `${text}\n`)];
}

function rowOf(invoice: string, code = "22139", quantity = "1"): string {
  return `${invoice},${code},MUG,${quantity},2010-12-01T08:26:00Z,2.55,17850,United Kingdom`;
}

test("lines of an invoice need not stand together; orders come by their first lines", async () => {
  const items = await read(
    file(rowOf("1"), rowOf("2"), rowOf("1", "71053"), rowOf("2"), rowOf("3")),
  );
  expect(items).toMatchObject([
    { id: "1", items: [{ code: "22139" }, { code: "71053" }] },
    { id: "2", items: [{ code: "22139", quantity: 2 }] },
    { id: "3" },
  ]);
});

test("a malformed line costs itself only", async () => {
  const items = await read(
    file(rowOf("1"), rowOf("1", "71053", "x"), rowOf("1", "21730"), rowOf("2")),
  );
  expect(items).toMatchObject([
    { line: 3, reason: expect.stringContaining("`Quantity`") },
    { id: "1", items: [{ code: "22139" }, { code: "21730" }] },
    { id: "2" },
  ]);
});

test("a line that the rules refuse is reported with its number in the file", async () => {
  const items = await read(file(rowOf("1"), rowOf("C2", "22139", "-1"), rowOf("C2", "71053", "5")));
  expect(items.filter(isMalformed)).toMatchObject([{ line: 4 }]);
  expect(items.filter((item) => !isMalformed(item))).toMatchObject([{ id: "1" }, { id: "C2" }]);
});

test("a line of an invoice that was complete is reported, and makes no second order", async () => {
  const others = Array.from({ length: OPEN_INVOICES }, (_, index) => rowOf(`5${index}`));
  const items = await read(file(rowOf("1"), ...others, rowOf("1")));
  expect(items.filter(isMalformed)).toEqual([
    { line: OPEN_INVOICES + 3, reason: expect.stringContaining("invoice `1` within") },
  ]);
  expect(items.filter((item) => !isMalformed(item))).toHaveLength(OPEN_INVOICES + 1);
});

test("the largest invoice is an order, and a larger one is left out whole", async () => {
  const lines = (invoice: string, count: number): string[] =>
    Array.from({ length: count }, (_, index) => rowOf(invoice, String(10_000 + index)));
  const items = await read(
    file(...lines("1", MAX_INVOICE_LINES), ...lines("2", MAX_INVOICE_LINES + 2), rowOf("3")),
  );
  expect(items).toMatchObject([
    { id: "1" },
    { line: MAX_INVOICE_LINES + 2, reason: expect.stringContaining(`${MAX_INVOICE_LINES + 2}`) },
    { id: "3" },
  ]);
});

test("a file is read no faster than its orders are taken", async () => {
  let chunks = 0;
  async function* source(): AsyncGenerator<string> {
    yield* file();
    for (;;) yield `${rowOf(String(++chunks))}\n`;
  }
  for await (const item of readOrders(source())) {
    expect(item).toMatchObject({ id: "1" });
    break;
  }
  expect(chunks).toBeLessThanOrEqual(OPEN_INVOICES + 2);
});

test("generated orders that are written as a file are read back", async () => {
  const items = await read(toCsv(generateLines(seeded(7), { count: 300 })));
  expect(items).toEqual(generateOrders(seeded(7), { count: 300 }));
});
