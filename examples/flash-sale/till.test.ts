import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect } from "holdfast";
import type { Holdfast } from "holdfast";
import { audit } from "./audit.ts";
import type { AuditReport } from "./audit.ts";
import { openPayments } from "./audit-read.ts";
import { Bank } from "./bank.ts";
import { NAMESPACE, PREFIX } from "./books.ts";
import { booksIn } from "./books.testing.ts";
import { takeOrderCarelessly } from "./careless.ts";
import { Customers } from "./customers.ts";
import { confirmations, placeOrder } from "./definitions.ts";
import { fateOf } from "./fates.ts";
import { generateOrders } from "./generate.ts";
import { demandOf } from "./input.ts";
import { sendMail } from "./mails.ts";
import { openShop, ShopOpenError } from "./opening.ts";
import { chargeFault } from "./payment-faults.ts";
import type { ChargeFault } from "./payment-faults.ts";
import { listen } from "./payment-server.ts";
import type { Listening } from "./payment-server.ts";
import { initialStock } from "./rules.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";
import { takeOrder } from "./till.ts";
import type { Till } from "./till.ts";

const { signal } = new AbortController();
const SEED = 1;
let folder: string;
let hf: Holdfast;
let service: Listening;
let bank: Bank;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "till-test-"));
  hf = await connect("memory:", { namespace: NAMESPACE });
  const path = join(folder, "payments.db");
  service = await listen({ path, port: 0, seed: SEED, bankMs: 0, lateMs: 60_000 });
  // Generous where it does not matter.
  bank = new Bank({ port: service.port, timeoutMs: 2_000 });
});
afterEach(async () => {
  await hf.close();
  bank.close();
  await service.close();
  rmSync(folder, { recursive: true, force: true });
});

type Take = typeof takeOrder;
interface Selling {
  readonly take?: Take;
  readonly hasCancels?: boolean;
}

/** Takes the orders, in any order, and gives how each run ended. */
async function sell(
  orders: readonly Order[],
  { take = takeOrder, hasCancels = false }: Selling = {},
): Promise<readonly string[]> {
  const desk = hf.open(placeOrder);
  const mails = hf.open(confirmations);
  const customers = new Customers(desk, { hasCancels, paysAfterMs: 0 });
  const started = await Promise.all(orders.map((each) => desk.start(each, { id: each.id })));
  const till: Till = { hf, bank, mails, payWithinMs: 200, around: (_, work) => work() };
  await using _tills = desk.work((each, run) => take(till, each, run), { concurrency: 300 });
  await using _post = mails.work((mail, job) => sendMail(hf, mail, job));
  customers.welcome(orders);
  const endings = await Promise.all(
    started.map(async (run) =>
      run.result().then(
        ({ ending }) => ending,
        (error: { readonly details: { readonly error: string } }) => error.details.error,
      ),
    ),
  );
  await expect.poll(async () => (await mails.counts()).completed).toBe(await mailsAdded());
  customers.close();
  return endings;
}

async function mailsAdded(): Promise<number> {
  const { ready, leased, scheduled, completed } = await hf.open(confirmations).counts();
  return ready + leased + scheduled + completed;
}

/** The audit of everything that is in the store and the payment service's file. */
async function report(
  orders: readonly Order[],
  stock: ReadonlyMap<string, number>,
): Promise<AuditReport> {
  const payments = openPayments(join(folder, "payments.db"));
  try {
    const all = new Map(orders.map((each) => [each.id, each]));
    return audit(await booksIn(hf), payments, { orders: all, stock, kills: 0 });
  } finally {
    payments.close();
  }
}

function order(id: string, part: Partial<Order>): Order {
  const rest = { items: [], charges: [], totalPence: 0, customer: null };
  return { id, kind: "sale", country: "France", dateMs: 0, ...rest, ...part };
}

/** A sale of which these things are so: its number is looked for. */
function saleThat(fits: (fate: ReturnType<typeof fateOf>, fault: ChargeFault) => boolean): Order {
  for (let no = 1; ; no++) {
    const items = [{ code: "1", quantity: 3, amountPence: 300 }];
    const found = order(String(no), { items, totalPence: 300 });
    const fault = chargeFault(SEED, `${placeOrder.name}/${found.id}/charge`);
    if (fits(fateOf(found), fault)) return found;
  }
}

async function valueOf(key: string): Promise<unknown> {
  return (await hf.kv.get(key))?.value;
}

const ten = new Map([["1", 10]]);
const isCalm = (fate: ReturnType<typeof fateOf>): boolean =>
  fate.pays === "at once" && !fate.isUndeliverable && fate.cancelsAfterMs === null;

describe("the till", () => {
  test("takes a whole sale, and the audit finds nothing wrong", async () => {
    const orders = generateOrders(seeded(3), { count: 300 });
    const stock = initialStock(demandOf(orders, 1), 0.6);
    await openShop(hf, stock, signal);
    await sell(orders, { hasCancels: true });
    const found = await report(orders, stock);
    expect(found.findings).toEqual([]);
    expect(found.isClean).toBe(true);
    expect(found.tooEasy).toEqual([]);
  });

  test("reserves every line or none", async () => {
    const stock = new Map([
      ["1", 10],
      ["2", 1],
    ]);
    await openShop(hf, stock, signal);
    const items = [
      { code: "1", quantity: 3, amountPence: 300 },
      { code: "2", quantity: 2, amountPence: 200 },
    ];
    expect(await sell([order("9", { items, totalPence: 500 })])).toEqual(["refused"]);
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(10);
    expect(await valueOf(`${PREFIX.stock}2`)).toBe(1);
    const { entries } = await hf.kv.list(PREFIX.ledger);
    expect(entries.map(({ value }) => value)).toEqual([
      { order: "9", step: "refuse", moves: [], postings: [], short: "2" },
    ]);
    expect((await hf.kv.list(PREFIX.account)).entries).toEqual([]);
  });

  test("puts back what is returned, and pays it out", async () => {
    await openShop(hf, new Map([["1", 0]]), signal);
    const items = [{ code: "1", quantity: 3, amountPence: -300 }];
    const returned = order("C9", { kind: "return", items, totalPence: -300 });
    expect(await sell([returned])).toEqual(["returned"]);
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(3);
    expect(await valueOf(`${PREFIX.account}bank`)).toBe(-300);
    expect((await report([returned], new Map([["1", 0]]))).findings).toEqual([]);
  });

  test("takes the largest order that a file may hold in one commit", async () => {
    const codes = Array.from({ length: 1_200 }, (_, index) => String(10_000 + index));
    await openShop(hf, new Map(codes.map((code) => [code, 1])), signal);
    const items = codes.map((code) => ({ code, quantity: 1, amountPence: 0 }));
    expect(await sell([order("9", { items })])).toEqual(["completed"]);
    const { entries } = await hf.kv.list(PREFIX.stock, { limit: 1_000 });
    expect(entries.every(({ value }) => value === 0)).toBe(true);
  });

  test("an order sent twice is one order", async () => {
    await openShop(hf, ten, signal);
    const twice = saleThat((fate, fault) => isCalm(fate) && fault === "none");
    expect(await sell([twice, twice])).toEqual(["completed", "completed"]);
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(7);
    expect((await report([twice], ten)).findings).toEqual([]);
  });

  const silences: readonly (readonly [ChargeFault, string, Partial<AuditReport>])[] = [
    ["declined", "declined", { refunds: 0, voids: 0 }],
    ["lost", "completed", { refunds: 0, voids: 0 }],
    ["dropped", "completed", { refunds: 0, voids: 0 }],
    ["mute", "silent", { refunds: 1, voids: 0 }],
    ["late", "silent", { refunds: 0, voids: 1 }],
  ];
  test.each(silences)("a charge that is %s: %s", async (fault, ending, expected) => {
    await openShop(hf, ten, signal);
    bank.close();
    bank = new Bank({ port: service.port, timeoutMs: 250 });
    const sale = saleThat((fate, found) => isCalm(fate) && found === fault);
    expect(await sell([sale])).toEqual([ending]);
    // A late charge comes now at the latest, to a key that is void.
    await service.close();
    const found = await report([sale], ten);
    expect(found.findings).toEqual([]);
    expect(found).toMatchObject({ ...expected, lateCharges: fault === "late" ? 1 : 0 });
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(ending === "completed" ? 7 : 10);
  });

  test("one that is never paid for is released in time", async () => {
    await openShop(hf, ten, signal);
    const sale = saleThat((fate) => fate.pays === "never" && fate.cancelsAfterMs === null);
    expect(await sell([sale])).toEqual(["expired"]);
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(10);
    expect((await report([sale], ten)).findings).toEqual([]);
  });

  test("one that can't be delivered is undone from the last step to the first", async () => {
    await openShop(hf, ten, signal);
    const sale = saleThat(
      (fate, fault) => fate.pays === "at once" && fate.isUndeliverable && fault === "none",
    );
    expect(await sell([sale])).toEqual(["undeliverable"]);
    const history = await hf.open(placeOrder).history(sale.id);
    const undone = history?.filter(({ kind }) => kind === "undone").map(({ name }) => name);
    expect(undone).toEqual(["post", "charge", "reserve"]);
    const found = await report([sale], ten);
    expect(found.findings).toEqual([]);
    expect(found.refunds).toBe(1);
  });
});

test("a careless till does the same as long as nothing happens", async () => {
  await openShop(hf, ten, signal);
  const sale = saleThat(isCalm);
  // Its keys are drawn, so that the service may decline any.
  const [ending] = await sell([sale], { take: takeOrderCarelessly });
  expect(["completed", "declined", "silent"]).toContain(ending);
});

describe("the opening", () => {
  test("refuses a store in which a sale was held", async () => {
    await openShop(hf, ten, signal);
    await expect(openShop(hf, ten, signal)).rejects.toThrow(ShopOpenError);
    expect(await valueOf(`${PREFIX.stock}1`)).toBe(10);
  });
});
