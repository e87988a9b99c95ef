import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { audit } from "./audit.ts";
import { NAMESPACE, PREFIX } from "./books.ts";
import { booksIn } from "./books.testing.ts";
import { orders as definition } from "./definitions.ts";
import { generateOrders } from "./generate.ts";
import { demandOf } from "./input.ts";
import { openShop, ShopOpenError } from "./opening.ts";
import { initialStock } from "./rules.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";
import { takeOrder } from "./till.ts";

const signal = new AbortController().signal;
let hf: Holdfast;

beforeEach(async () => {
  hf = await connect("memory:", { namespace: NAMESPACE });
});
afterEach(async () => {
  await hf.close();
});

/** Takes the orders, in any order, and gives each one's ending. */
async function sell(orders: readonly Order[]): Promise<readonly string[]> {
  const queue = hf.open(definition);
  const jobs = await queue.addMany(orders, { id: ({ id }) => id });
  await using _worker = queue.work((order, job) => takeOrder(hf, order, job));
  // Awaited here: the worker closes with this block.
  return await Promise.all(jobs.map(async (job) => (await job.result()).ending));
}

function order(id: string, part: Partial<Order>): Order {
  const rest = { items: [], charges: [], totalPence: 0, customer: null };
  return { id, kind: "sale", country: "France", dateMs: 0, ...rest, ...part };
}

async function stockOf(code: string): Promise<unknown> {
  return (await hf.kv.get(PREFIX.stock + code))?.value;
}

describe("the till", () => {
  test("takes a whole sale, and the audit finds nothing wrong", async () => {
    const orders = generateOrders(seeded(3), { count: 300 });
    const stock = initialStock(demandOf(orders, 1), 0.6);
    await openShop(hf, stock, signal);
    await sell(orders);
    const all = new Map(orders.map((each) => [each.id, each]));
    const report = audit(await booksIn(hf), { orders: all, stock, kills: 0 });
    expect(report.findings).toEqual([]);
    expect(report.isClean).toBe(true);
    expect(report.tooEasy).toEqual([]);
  });

  test("reserves every line or none", async () => {
    await openShop(
      hf,
      new Map([
        ["1", 10],
        ["2", 1],
      ]),
      signal,
    );
    const items = [
      { code: "1", quantity: 3, amountPence: 300 },
      { code: "2", quantity: 2, amountPence: 200 },
    ];
    expect(await sell([order("9", { items })])).toEqual(["refused"]);
    expect(await stockOf("1")).toBe(10);
    expect(await stockOf("2")).toBe(1);
    const { entries } = await hf.kv.list(PREFIX.ledger);
    expect(entries.map(({ value }) => value)).toEqual([
      { order: "9", ending: "refused", moves: [], postings: [], short: "2" },
    ]);
    expect((await hf.kv.list(PREFIX.account)).entries).toEqual([]);
  });

  test("puts back what is returned, and credits it", async () => {
    await openShop(hf, new Map([["1", 0]]), signal);
    const items = [{ code: "1", quantity: 3, amountPence: -300 }];
    expect(await sell([order("C9", { kind: "return", items })])).toEqual(["returned"]);
    expect(await stockOf("1")).toBe(3);
    const account = await hf.kv.get(`${PREFIX.account}receivable:guest`);
    expect(account?.value).toBe(-300);
  });

  test("takes the largest order that a file may hold in one commit", async () => {
    const codes = Array.from({ length: 1_200 }, (_, index) => String(10_000 + index));
    await openShop(hf, new Map(codes.map((code) => [code, 1])), signal);
    const items = codes.map((code) => ({ code, quantity: 1, amountPence: 100 }));
    expect(await sell([order("9", { items })])).toEqual(["completed"]);
    const { entries } = await hf.kv.list(PREFIX.stock, { limit: 1_000 });
    expect(entries.every(({ value }) => value === 0)).toBe(true);
  });

  test("an order sent twice is one order", async () => {
    await openShop(hf, new Map([["1", 10]]), signal);
    const twice = order("9", { items: [{ code: "1", quantity: 3, amountPence: 300 }] });
    expect(await sell([twice, twice])).toEqual(["completed", "completed"]);
    expect(await stockOf("1")).toBe(7);
    expect((await hf.kv.list(PREFIX.ledger)).entries).toHaveLength(1);
  });
});

describe("the opening", () => {
  test("refuses a store in which a sale was held", async () => {
    await openShop(hf, new Map([["1", 10]]), signal);
    await expect(openShop(hf, new Map([["1", 10]]), signal)).rejects.toThrow(ShopOpenError);
    expect(await stockOf("1")).toBe(10);
  });
});
