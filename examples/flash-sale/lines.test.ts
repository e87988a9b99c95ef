import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isMalformed } from "./csv.ts";
import type { Malformed } from "./csv.ts";
import { COLUMNS, readLines, toCsv } from "./lines.ts";
import type { Chunks, Line } from "./lines.ts";

const HEADER = COLUMNS.join(",");
const GOOD = "536365,85123A,HEART HOLDER,6,2010-12-01T08:26:00Z,2.55,17850,United Kingdom";

async function read(source: Chunks): Promise<(Line | Malformed)[]> {
  const items: (Line | Malformed)[] = [];
  for await (const item of readLines(source)) items.push(item);
  return items;
}

function lastFirst(fields: readonly string[]): string {
  return [...fields.slice(-1), ...fields.slice(0, -1)].join(",");
}

/** The good line with one column replaced. */
function withColumn(column: string, value: string): string {
  const fields = GOOD.split(",");
  fields[COLUMNS.indexOf(column)] = value;
  return fields.join(",");
}

async function readOne(text: string): Promise<Line | Malformed | undefined> {
  return (await read([`${HEADER}\n${text}\n`]))[0];
}

test("a line is read with all its columns", async () => {
  expect(await read([`${HEADER}\r\n${GOOD}\r\n`])).toEqual([
    {
      line: 2,
      invoice: "536365",
      code: "85123A",
      description: "HEART HOLDER",
      quantity: 6,
      dateMs: Date.UTC(2010, 11, 1, 8, 26),
      unitPriceMils: 2_550,
      customer: "17850",
      country: "United Kingdom",
    },
  ]);
});

test("columns are found by their names, in any order", async () => {
  const header = lastFirst(COLUMNS);
  const line = lastFirst(GOOD.split(","));
  expect(await read([`${header}\n${line}`])).toEqual(await read([`${HEADER}\n${GOOD}`]));
});

test.each([
  ["no header", GOOD],
  [
    "another header",
    "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
  ],
  ["a column twice", HEADER.replace("Country", "Quantity")],
  ["a column too many", `${HEADER},Extra`],
  ["an unclosed quote", `"${HEADER}`],
])(
  "with %s the first line is reported and the rest is read in the usual order",
  async (_, first) => {
    const [report, line, ...rest] = await read([`${first}\n${GOOD}\n`]);
    expect(report).toEqual({ line: 1, reason: expect.stringContaining("Expected the header") });
    expect(line).toMatchObject({ line: 2, invoice: "536365" });
    expect(rest).toEqual([]);
  },
);

test.each([
  ["a column too few", GOOD.slice(0, GOOD.lastIndexOf(",")), "8 columns, got 7"],
  ["a column too many", `${GOOD},x`, "8 columns, got 9"],
  ["an unclosed quote", withColumn("Description", '"HEART'), "closed on its own line"],
  ["a stray quote", withColumn("Description", 'FRAME 7" WIDE'), "quotes around whole fields"],
  ["no invoice", withColumn("InvoiceNo", " "), "`InvoiceNo`, got nothing"],
  ["an odd invoice", withColumn("InvoiceNo", "536/365"), "`InvoiceNo` to be up to 40"],
  ["an over-long invoice", withColumn("InvoiceNo", "1".repeat(41)), "`InvoiceNo` to be up to 40"],
  ["no stock code", withColumn("StockCode", ""), "`StockCode`, got nothing"],
  ["an odd stock code", withColumn("StockCode", "a:b"), "`StockCode` to be up to 40"],
  ["an over-long description", withColumn("Description", "x".repeat(201)), "at most 200"],
  ["an over-long country", withColumn("Country", "x".repeat(61)), "at most 60"],
  ["an over-long line", withColumn("Description", "x".repeat(3_000)), "a shorter line"],
  ["a fraction of a unit", withColumn("Quantity", "1.5"), "`Quantity` to be a whole number"],
  ["a quantity in words", withColumn("Quantity", "six"), "got `six`"],
  ["no quantity", withColumn("Quantity", ""), "`Quantity`"],
  ["quantity 0", withColumn("Quantity", "0"), "not 0"],
  ["too large a quantity", withColumn("Quantity", "1000001"), "`Quantity`"],
  ["a bad price", withColumn("UnitPrice", "2.5555"), "`UnitPrice`"],
  ["too high a price", withColumn("UnitPrice", "100000.01"), "`UnitPrice`"],
  [
    "too high an amount",
    GOOD.replace(",6,", ",20000,").replace("2.55", "99999"),
    "at most 1000000000.00",
  ],
  ["a bad date", withColumn("InvoiceDate", "yesterday"), "`InvoiceDate`"],
  ["a day that is not", withColumn("InvoiceDate", "2010-02-30T08:00:00Z"), "`InvoiceDate`"],
  ["a day that is not, month first", withColumn("InvoiceDate", "13/1/2010 8:00"), "`InvoiceDate`"],
  ["an hour that is not", withColumn("InvoiceDate", "2010-12-01T24:00:00Z"), "`InvoiceDate`"],
  ["a date before 1970", withColumn("InvoiceDate", "1969-12-31T23:59:59Z"), "`InvoiceDate`"],
  ["a customer in words", withColumn("CustomerID", "guest"), "`CustomerID`"],
])("%s is reported with its line, and the next line is read", async (_, text, reason) => {
  const items = await read([`${HEADER}\n${GOOD}\n${text}\n${GOOD}\n`]);
  expect(items.map((item) => item.line)).toEqual([2, 3, 4]);
  expect(items[1]).toEqual({ line: 3, reason: expect.stringContaining(reason) });
  expect(items.filter(isMalformed)).toHaveLength(1);
});

test.each([
  ["2010-12-01 08:26:00", Date.UTC(2010, 11, 1, 8, 26)],
  ["2010-12-01T08:26", Date.UTC(2010, 11, 1, 8, 26)],
  ["2010-12-01T08:26:59.007Z", Date.UTC(2010, 11, 1, 8, 26, 59, 7)],
  ["12/1/2010 8:26", Date.UTC(2010, 11, 1, 8, 26)],
  ["2012-02-29T00:00:00Z", Date.UTC(2012, 1, 29)],
])("%s is a date", async (text, dateMs) => {
  expect(await readOne(withColumn("InvoiceDate", text))).toMatchObject({ dateMs });
});

test("a customer's number may come by way of a data frame, or not at all", async () => {
  expect(await readOne(withColumn("CustomerID", "17850.0"))).toMatchObject({ customer: "17850" });
  expect(await readOne(withColumn("CustomerID", ""))).toMatchObject({ customer: null });
});

test("fields are trimmed, and empty lines passed over but counted", async () => {
  const items = await read([`${HEADER}\n\n  \r\n${withColumn("StockCode", " 47503J ")}\n\n`]);
  expect(items).toMatchObject([{ line: 4, code: "47503J" }]);
});

test("a report is short and plain, whatever the line holds", async () => {
  const item = await readOne(withColumn("Quantity", `\u001B[31m${"9".repeat(1_000)}`));
  expect(item).toMatchObject({ reason: expect.stringMatching(/got `\?\[31m9{35}\.\.\.`$/) });
});

test("an empty file has nothing to report", async () => {
  expect(await read([])).toEqual([]);
  expect(await read([HEADER])).toEqual([]);
});

test("an error of the source comes through as it is, and leaving closes the source", async () => {
  const failure = new Error("disk");
  let isClosed = false;
  async function* source(): AsyncGenerator<string> {
    try {
      yield `${HEADER}\n${GOOD}\n${GOOD}\n`;
      throw failure;
    } finally {
      isClosed = true;
    }
  }
  await expect(read(source())).rejects.toBe(failure);
  isClosed = false;
  for await (const item of readLines(source())) {
    expect(item.line).toBe(2);
    break;
  }
  expect(isClosed).toBe(true);
});

const text = (maxLength: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: fc.constantFrom("A", "z", "é", '"', ",", " ", "'"), maxLength })
    .map((value) => value.trim());
const lineOf = fc.record({
  invoice: fc.stringMatching(/^[CA]?[0-9]{1,9}$/),
  code: fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
  description: text(200),
  quantity: fc.integer({ min: -100_000, max: 100_000 }).filter((value) => value !== 0),
  dateMs: fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }),
  unitPriceMils: fc.integer({ min: -9_999_999, max: 9_999_999 }),
  customer: fc.option(fc.stringMatching(/^[0-9]{1,15}$/)),
  country: text(60),
});

test("lines that are written are read back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(lineOf), async (bare) => {
      const lines: Line[] = bare.map((line, index) => ({ ...line, line: index + 2 }));
      expect(await read(toCsv(lines))).toEqual(lines);
    }),
  );
});

test("whatever the file holds, each line that is not empty is yielded once", async () => {
  const unit = fc.constantFrom("\n", '"', ",", "1", "x", "-", GOOD, `${GOOD}\n`, "\r", " ");
  await fc.assert(
    fc.asyncProperty(fc.string({ unit }), async (body) => {
      const items = await read([`${HEADER}\n`, body]);
      const expected = body.split("\n").flatMap((line, index) => (line.trim() ? [index + 2] : []));
      expect(items.map((item) => item.line)).toEqual(expected);
    }),
  );
});
