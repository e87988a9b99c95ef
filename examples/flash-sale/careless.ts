/**
 * What programs do that have neither transactional steps nor keys: each effect first, and that it
 * was done after. For `--broken`, to see what the kills between the two make of the books, and that
 * the audit sees all of it: stock taken twice, customers charged twice and told twice, charges of
 * which nobody knows and which nobody refunds.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Placed } from "holdfast/store";
import type { Attempt, Run } from "holdfast/workflow";
import type { ChargeAnswer } from "./bank.ts";
import {
  booking,
  creditPence,
  duePence,
  posting,
  refusal,
  release,
  reservation,
  reversal,
} from "./books.ts";
import type { Ending, LedgerEntry, Mail, Receipt, Tallied } from "./books.ts";
import type { OrderEvents } from "./definitions.ts";
import { fateOf } from "./fates.ts";
import type { Order } from "./rules.ts";
import { effects, OrderFailed, shortOf, silenceOf, stepsOf, tally } from "./till.ts";
import type { Till } from "./till.ts";

/** How long a careless till looks away after an effect: hardly a kill misses that. */
export const CARELESS_MS = 300;

export async function takeOrderCarelessly(
  till: Till,
  order: Order,
  run: Run<OrderEvents>,
): Promise<Receipt> {
  const take = order.kind === "sale" ? sell : bookAtOnce;
  return { ending: await take(till, order, run), token: String(run.token) };
}

async function sell(till: Till, order: Order, run: Run<OrderEvents>): Promise<Ending> {
  const step = stepsOf(till, run);
  const isReserved = await step<boolean>("reserve", {
    work: (s) => tryBook(till, order, reservation(order), s),
    undo: async (done, s) => done === true && commit(till, release(order), s),
  });
  if (!isReserved) return "refused";
  const fate = fateOf(order);
  if (fate.pays !== "at once") {
    const paid = await run.tryWaitFor("paid", { timeoutMs: till.payWithinMs });
    if (paid === null) throw new OrderFailed("expired");
  }
  if (duePence(order) > 0) {
    const charge = await step<Charge>("charge", {
      work: (s) => chargeAnew(till, order, s),
      // What nobody knows of is not refunded.
      undo: async (done, s) =>
        done?.answer === "charged" && till.bank.refund({ key: done.key, order: order.id }, s),
    }).catch(silenceOf);
    const answer = charge === "silent" ? charge : charge.answer;
    if (answer !== "charged") throw new OrderFailed(answer);
  }
  await step<boolean>("post", {
    work: (s) => commit(till, posting(order), s),
    undo: async (done, s) => done === true && commit(till, reversal(order), s),
  });
  if (fate.isUndeliverable) throw new OrderFailed("undeliverable");
  await step<boolean>("confirm", { work: () => tell(till, order, "confirmed", "completed") });
  return "completed";
}

interface Charge {
  readonly answer: ChargeAnswer;
  readonly key: string;
}

/** Another key each time, and so another charge. */
async function chargeAnew(till: Till, order: Order, s: Attempt): Promise<Charge> {
  const key = randomUUID();
  const sum = { key, order: order.id, pence: duePence(order) };
  const answer = await till.bank.charge(sum, s);
  await sleep(CARELESS_MS);
  return { answer, key };
}

async function bookAtOnce(till: Till, order: Order, run: Run<OrderEvents>): Promise<Ending> {
  const step = stepsOf(till, run);
  const pence = creditPence(order);
  if (pence > 0) {
    await step<void>("credit", {
      work: async (s) => {
        await till.bank.credit({ key: randomUUID(), order: order.id, pence }, s);
        await sleep(CARELESS_MS);
      },
    });
  }
  const isReturn = order.kind === "return";
  const more = isReturn ? [] : [tally(till, "adjusted", 1)];
  const isBooked = await step<boolean>("book", {
    work: (s) => tryBook(till, order, booking(order), s, more),
  });
  if (!isBooked) return "refused";
  if (!isReturn) return "adjusted";
  await step<boolean>("confirm", { work: () => tell(till, order, "credited", "returned") });
  return "returned";
}

async function tryBook(
  till: Till,
  order: Order,
  entry: LedgerEntry,
  s: Attempt,
  more: readonly Placed[] = [],
): Promise<boolean> {
  const done = await till.hf.tryCommit([...effects(till, entry, s), ...more]);
  if (!done.ok) {
    const short = shortOf(order, done.refusal);
    return !(await commit(till, refusal(order, short), s, [tally(till, "refused", 1)]));
  }
  await sleep(CARELESS_MS);
  return true;
}

async function commit(
  till: Till,
  entry: LedgerEntry,
  s: Attempt,
  more: readonly Placed[] = [],
): Promise<boolean> {
  await till.hf.commit([...effects(till, entry, s), ...more]);
  await sleep(CARELESS_MS);
  return true;
}

/** Queued again it is another mail. */
async function tell(
  { hf, mails }: Till,
  { id }: Order,
  kind: Mail["kind"],
  ending: Tallied,
): Promise<boolean> {
  await mails.add({ order: id, kind });
  await hf.commit([tally({ hf }, ending, 1)]);
  await sleep(CARELESS_MS);
  return true;
}
