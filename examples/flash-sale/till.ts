/**
 * The till: takes one order from its coming to its end, as a workflow.
 *
 *   sale         reserve ─► (the customer's word) ─► charge ─► post ─► confirm
 *   return       credit ─► book ─► confirm
 *   adjustment   book
 *
 * What a step does to the shop's own store is in one commit with the step's record, so that it is
 * done exactly once whenever a process dies. The payment service is another program with another
 * database: what is done there is asked for under the step's own key until it is certain.
 *
 * A sale that can't go on is undone from its last step to its first: the mail is withdrawn, the
 * ledger reversed, the charge refunded, the stock released. That goes on where it stopped when the
 * process that does it dies, too.
 *
 * The till has no check of its own against doing anything twice. That is the library's promise, and
 * the audit would show it broken.
 */
import type { Holdfast } from "holdfast";
import type { JobQueue } from "holdfast/jobs";
import type { Placed } from "holdfast/store";
import { StepError } from "holdfast/workflow";
import type { Attempt, Completed, Run, StepOptions } from "holdfast/workflow";
import type { Bank, ChargeAnswer } from "./bank.ts";
import {
  attemptKey,
  booking,
  creditPence,
  duePence,
  posting,
  PREFIX,
  refusal,
  release,
  reservation,
  reversal,
} from "./books.ts";
import type { Ending, LedgerEntry, Mail, Receipt, Tallied } from "./books.ts";
import type { OrderEvents } from "./definitions.ts";
import { fateOf } from "./fates.ts";
import type { Order } from "./rules.ts";

/** Steps of an order, and what undoes them. */
export const POINTS = [
  ...["reserve", "charge", "post", "confirm", "credit", "book"],
  ...["undo confirm", "undo post", "undo charge", "undo reserve"],
] as const;

/** What a till needs. */
export interface Till {
  readonly hf: Holdfast;
  readonly bank: Pick<Bank, "charge" | "refund" | "credit">;
  readonly mails: JobQueue<Mail>;
  /** How long an order waits for the customer's word before its stock is released. */
  readonly payWithinMs: number;
  /** Called around each step and each compensation: here a test may end the process. */
  around<T>(point: string, work: () => Promise<T>): Promise<T>;
}

/** What became of the stock: put aside, or there was too little of a code. */
export interface Reserved {
  readonly isReserved: boolean;
  readonly short: string | null;
}

/** Why a sale can't go on; it is undone, and ends as failed. */
export class OrderFailed extends Error {
  constructor(reason: "declined" | "silent" | "expired" | "undeliverable") {
    super(reason);
    this.name = "OrderFailed";
  }
}

interface Plan<T> {
  readonly work: (attempt: Attempt) => Promise<T | Completed<T>>;
  /** `done` is undefined if nobody knows what became of the step. */
  readonly undo?: (done: T | undefined, attempt: Attempt) => Promise<unknown>;
  readonly retry?: StepOptions<T>["retry"];
}

/** For what can't be given up: longer than any service is away. */
const TO_THE_END = { attempts: 500, backoff: { initialMs: 50, maxMs: 800 } } as const;

/** Takes an order: whatever it comes to, it ends by itself. */
export async function takeOrder(till: Till, order: Order, run: Run<OrderEvents>): Promise<Receipt> {
  const step = stepsOf(till, run);
  if (order.kind === "sale") return receipt(await sell(till, order, run, step), run);
  if (order.kind === "return") return receipt(await takeBack(till, order, step), run);
  return receipt(await adjust(till, order, step), run);
}

async function sell(
  till: Till,
  order: Order,
  run: Run<OrderEvents>,
  step: ReturnType<typeof stepsOf>,
): Promise<Ending> {
  const { isReserved } = await step<Reserved>("reserve", {
    work: (s) => reserve(till, order, s),
    undo: async (done, s) => {
      if (done?.isReserved === true) await s.complete(null, effects(till, release(order), s));
    },
  });
  if (!isReserved) return "refused";
  const fate = fateOf(order);
  if (fate.pays !== "at once") {
    const paid = await run.tryWaitFor("paid", { timeoutMs: till.payWithinMs });
    if (paid === null) throw new OrderFailed("expired");
  }
  const pence = duePence(order);
  if (pence > 0) {
    const answer = await step<ChargeAnswer>("charge", {
      work: (s) => till.bank.charge({ key: s.id, order: order.id, pence }, s),
      undo: async (done, s) => {
        if (done === "declined") return;
        await till.bank.refund({ key: chargeKey(s), order: order.id }, s);
      },
    }).catch(silenceOf);
    if (answer !== "charged") throw new OrderFailed(answer);
  }
  await step<boolean>("post", {
    work: (s) => s.complete(true, effects(till, posting(order), s)),
    undo: async (done, s) => {
      if (done === true) await s.complete(null, effects(till, reversal(order), s));
    },
  });
  if (fate.isUndeliverable) throw new OrderFailed("undeliverable");
  await step<boolean>("confirm", {
    work: (s) => s.complete(true, [mailOp(till, order, "confirmed"), tally(till, "completed", 1)]),
    undo: async (done, s) => {
      if (done !== true) return;
      const ops = [mailOp(till, order, "withdrawn"), tally(till, "completed", -1)];
      await s.complete(null, ops);
    },
  });
  return "completed";
}

/**
 * A return can't fail: what a customer sent back is there, and the money is tried until it went.
 */
async function takeBack(
  till: Till,
  order: Order,
  step: ReturnType<typeof stepsOf>,
): Promise<Ending> {
  const pence = creditPence(order);
  if (pence > 0) {
    await step<string>("credit", {
      work: (s) => till.bank.credit({ key: s.id, order: order.id, pence }, s),
      retry: TO_THE_END,
    });
  }
  await step<boolean>("book", {
    work: (s) => {
      const ops = [...effects(till, booking(order), s), tally(till, "returned", 1)];
      return s.complete(true, ops);
    },
  });
  await step<boolean>("confirm", {
    work: (s) => s.complete(true, [mailOp(till, order, "credited")]),
  });
  return "returned";
}

async function adjust(till: Till, order: Order, step: ReturnType<typeof stepsOf>): Promise<Ending> {
  const { isReserved } = await step<Reserved>("book", {
    work: async (s) => {
      const ops = [...effects(till, booking(order), s), tally(till, "adjusted", 1)];
      const done = await s.tryComplete({ isReserved: true, short: null }, ops);
      return done.ok ? done : refuse(till, order, s, shortOf(order, done.refusal));
    },
  });
  return isReserved ? "adjusted" : "refused";
}

/** Every line or none. */
async function reserve(till: Till, order: Order, s: Attempt): Promise<Completed<Reserved>> {
  const ops = effects(till, reservation(order), s);
  const done = await s.tryComplete({ isReserved: true, short: null }, ops);
  return done.ok ? done : refuse(till, order, s, shortOf(order, done.refusal));
}

function refuse(
  till: Till,
  order: Order,
  s: Attempt,
  short: string | null,
): Promise<Completed<Reserved>> {
  const ops = [...effects(till, refusal(order, short), s), tally(till, "refused", 1)];
  return s.complete({ isReserved: false, short }, ops);
}

/**
 * An entry and everything that it says, as ops of one group: at most 1,200 codes, 5 accounts and
 * the entry, where a group may have 4,096.
 */
export function effects(
  { hf }: Pick<Till, "hf">,
  entry: LedgerEntry,
  attempt: Pick<Attempt, "token" | "attempt">,
): readonly Placed[] {
  const { op } = hf.kv;
  return [
    ...entry.moves.map(({ code, delta }) => op.add(PREFIX.stock + code, delta, { min: 0 })),
    ...entry.postings.map(({ account, amountPence }) =>
      op.add(PREFIX.account + account, amountPence),
    ),
    op.put(attemptKey(PREFIX.ledger, entry.order, entry.step, attempt), entry),
  ];
}

export function tally({ hf }: Pick<Till, "hf">, ending: Tallied, change: 1 | -1): Placed {
  return hf.kv.op.add(PREFIX.tally + ending, change);
}

/** A mail under a name of its own: queued twice, it is still one. */
function mailOp({ mails }: Till, { id }: Order, kind: Mail["kind"]): Placed {
  return mails.op.add({ order: id, kind }, { id: `${id}/${kind}` });
}

/** The code that could not give what was asked; throws where something else was refused. */
export function shortOf(
  { id }: Order,
  {
    code,
    message,
    details,
  }: {
    readonly code: string;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>> | undefined;
  },
): string | null {
  if (code !== "LIMITED") throw new Error(`Order ${id} was refused by ${code}: ${message}`);
  const key = details?.["key"];
  return typeof key === "string" && key.startsWith(PREFIX.stock)
    ? key.slice(PREFIX.stock.length)
    : null;
}

/** A charge that was given up; what became of it is for the refund to find out. */
export function silenceOf(error: unknown): "silent" {
  if (error instanceof StepError) return "silent";
  throw error;
}

/** The key under which the step charged that this compensation takes back. */
function chargeKey({ id }: Attempt): string {
  return id.replace(/\/undo$/, "");
}

function receipt(ending: Ending, run: Run<OrderEvents>): Receipt {
  return { ending, token: String(run.token) };
}

/** The run's steps, with what the till does around each. */
export function stepsOf(
  till: Till,
  run: Run<OrderEvents>,
): <T>(name: string, plan: Plan<T>) => Promise<T> {
  return <T>(name: string, { work, undo, retry }: Plan<T>) =>
    run.step<T>(name, (s) => till.around(name, () => work(s)), {
      retry,
      undo:
        undo === undefined
          ? undefined
          : (done, s) => till.around(`undo ${name}`, () => undo(done, s)),
    });
}
