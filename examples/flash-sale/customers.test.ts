import { expect, test } from "vitest";
import { Customers } from "./customers.ts";
import { fateOf } from "./fates.ts";
import { generateOrders } from "./generate.ts";
import { seeded } from "./seeded.testing.ts";

const orders = generateOrders(seeded(1), { count: 2_000 });
const payers = orders.filter((order) => fateOf(order).pays === "later").map(({ id }) => id);
const cancellers = orders
  .filter((order) => fateOf(order).cancelsAfterMs !== null)
  .map(({ id }) => id);

function record(): { readonly paid: string[]; readonly cancelled: string[] } & {
  send(run: string): Promise<void>;
  cancel(run: string): Promise<boolean>;
} {
  const paid: string[] = [];
  const cancelled: string[] = [];
  return {
    paid,
    cancelled,
    send: async (run) => void paid.push(run),
    cancel: (run) => {
      cancelled.push(run);
      // It has ended already, and is not there any more.
      return Promise.reject(new Error("NOT_FOUND"));
    },
  };
}

test("those who pay later say so, and those who change their mind cancel", async () => {
  const desk = record();
  const customers = new Customers(desk, { hasCancels: true, paysAfterMs: 1 });
  customers.welcome(orders);
  await expect.poll(() => desk.paid.length).toBe(payers.length);
  await expect.poll(() => desk.cancelled.length).toBe(cancellers.length);
  expect(new Set(desk.paid)).toEqual(new Set(payers));
  expect(new Set(desk.cancelled)).toEqual(new Set(cancellers));
  expect(Math.min(payers.length, cancellers.length)).toBeGreaterThan(10);
  customers.close();
});

test("nobody cancels where that is not wanted, and who has left does nothing", async () => {
  const desk = record();
  const customers = new Customers(desk, { hasCancels: false, paysAfterMs: 60_000 });
  customers.welcome(orders);
  customers.close();
  const others = new Customers(desk, { hasCancels: false, paysAfterMs: 0 });
  others.welcome(orders.slice(0, 500));
  const few = payers.filter((id) => orders.slice(0, 500).some((order) => order.id === id));
  await expect.poll(() => desk.paid.length).toBe(few.length);
  expect(desk.cancelled).toEqual([]);
  others.close();
});
