/** Books for these tests: read through the library, or made by hand. */
import type { Holdfast } from "holdfast";
import { Runs } from "holdfast/ports/runs";
import type { Queue } from "holdfast/ports/queue";
import type { Books, JobRow, KeyRow, PaymentRow, Payments } from "./audit.ts";
import {
  attemptKey,
  booking,
  creditPence,
  duePence,
  MAILS_QUEUE,
  ORDERS_WORKFLOW,
  posting,
  PREFIX,
  refusal,
  release,
  reservation,
  reversal,
} from "./books.ts";
import type { Ending, LedgerEntry, Mail, Tallied } from "./books.ts";
import { fateOf } from "./fates.ts";
import { generateOrders } from "./generate.ts";
import { demandOf } from "./input.ts";
import { initialStock } from "./rules.ts";
import type { Order } from "./rules.ts";
import { seeded } from "./seeded.testing.ts";

/** Everything that a sale of these orders may leave, each row open to be changed. */
export interface Draft {
  readonly orders: ReadonlyMap<string, Order>;
  readonly stock: ReadonlyMap<string, number>;
  readonly runs: JobRow[];
  readonly mails: JobRow[];
  /** In the order of writing. */
  readonly keys: Map<string, string>;
  readonly charges: PaymentRow[];
  readonly refunds: PaymentRow[];
  readonly credits: PaymentRow[];
}

/** One sale after the other, each as it should be. */
class Drafter {
  readonly draft: Draft;
  readonly #shelf: Map<string, number>;
  readonly #numbers = new Map<string, number>();
  #token = 0n;

  constructor(orders: ReadonlyMap<string, Order>, stock: ReadonlyMap<string, number>) {
    const none = { runs: [], mails: [], charges: [], refunds: [], credits: [] };
    this.draft = { orders, stock, keys: new Map(), ...none };
    this.#shelf = new Map(stock);
  }

  take(order: Order): void {
    if (order.kind === "sale") this.#sell(order);
    else this.#book(order);
  }

  end(): Draft {
    const { keys, stock } = this.draft;
    for (const [code, units] of stock) keys.set(PREFIX.initial + code, String(units));
    for (const [code, units] of this.#shelf) keys.set(PREFIX.stock + code, String(units));
    for (const [key, value] of this.#numbers) keys.set(key, String(value));
    return this.draft;
  }

  #sell(order: Order): void {
    if (!this.#tryWrite(order, reservation(order))) return;
    const { pays, isUndeliverable, cancelsAfterMs } = fateOf(order);
    const row = { key: `${order.id}/charge`, order: order.id, pence: duePence(order) };
    const isCharged = pays !== "never" && row.pence > 0;
    const undo = (...steps: readonly LedgerEntry[]): void => {
      if (isCharged) this.draft.refunds.push(row);
      for (const step of [...steps, release(order)]) this.#write(step);
    };
    if (pays === "never") {
      undo();
      return this.#fail(order, "expired");
    }
    if (isCharged) this.draft.charges.push(row);
    this.#write(posting(order));
    if (isUndeliverable) {
      undo(reversal(order));
      return this.#fail(order, "undeliverable");
    }
    this.#tell(order, "confirmed");
    if (cancelsAfterMs !== null) {
      this.#tell(order, "withdrawn");
      undo(reversal(order));
      return this.#fail(order, null);
    }
    this.#end(order, "completed");
  }

  #book(order: Order): void {
    if (!this.#tryWrite(order, booking(order))) return;
    if (order.kind === "adjustment") return this.#end(order, "adjusted");
    const row = { key: `${order.id}/credit`, order: order.id, pence: creditPence(order) };
    if (row.pence > 0) this.draft.credits.push(row);
    this.#tell(order, "credited");
    this.#end(order, "returned");
  }

  #tryWrite(order: Order, entry: LedgerEntry): boolean {
    const short = entry.moves.find(({ code, delta }) => (this.#shelf.get(code) ?? 0) + delta < 0);
    if (short === undefined) {
      this.#write(entry);
      return true;
    }
    this.#write(refusal(order, short.code));
    this.#end(order, "refused");
    return false;
  }

  #write(entry: LedgerEntry): void {
    for (const { code, delta } of entry.moves) {
      this.#shelf.set(code, (this.#shelf.get(code) ?? 0) + delta);
    }
    for (const { account, amountPence } of entry.postings) {
      this.#add(PREFIX.account + account, amountPence);
    }
    const key = attemptKey(PREFIX.ledger, entry.order, entry.step, this.#attempt());
    this.draft.keys.set(key, JSON.stringify(entry));
  }

  #tell(order: Order, kind: Mail["kind"]): void {
    const mail: Mail = { order: order.id, kind };
    const key = attemptKey(PREFIX.mail, order.id, kind, this.#attempt());
    this.draft.keys.set(key, JSON.stringify(mail));
    this.draft.mails.push(rowOf(`${order.id}/${kind}`, null));
  }

  #end(order: Order, ending: Tallied): void {
    this.#add(PREFIX.tally + ending, 1);
    const token = String(this.#attempt().token);
    this.draft.runs.push(rowOf(order.id, { ending: ending satisfies Ending, token }));
  }

  #fail(order: Order, reason: string | null): void {
    const result =
      reason === null
        ? { ended: "cancelled", error: { name: "Cancelled", message: "No more" } }
        : { ended: "failed", error: { name: "OrderFailed", message: reason } };
    this.draft.runs.push({ ...rowOf(order.id, result), finished: "cancelled" });
  }

  #add(key: string, delta: number): void {
    this.#numbers.set(key, (this.#numbers.get(key) ?? 0) + delta);
  }
  #attempt(): { readonly token: bigint; readonly attempt: number } {
    this.#token += 1n;
    return { token: this.#token, attempt: 1 };
  }
}

function rowOf(id: string, result: unknown): JobRow {
  const times = { createdMs: 1_000, finishedMs: 3_000 };
  return { id, finished: "completed", places: 1, ...times, result: JSON.stringify(result) };
}

/** A right sale of generated orders, taken one after the other. */
export function draftSale(count: number, share: number = 0.6): Draft {
  const orders = new Map(generateOrders(seeded(1), { count }).map((order) => [order.id, order]));
  const drafter = new Drafter(orders, initialStock(demandOf([...orders.values()], 1), share));
  for (const order of orders.values()) drafter.take(order);
  return drafter.end();
}

/** The draft as the audit reads it. */
export function booksOf(draft: Pick<Draft, "runs" | "mails" | "keys">): Books {
  return {
    runs: () => draft.runs,
    mails: () => draft.mails,
    keys: (prefix) =>
      [...draft.keys]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]): KeyRow => ({ key, value })),
  };
}

export function paymentsOf(draft: Pick<Draft, "charges" | "refunds" | "credits">): Payments {
  const { charges, refunds, credits } = draft;
  return {
    charges: () => charges,
    refunds: () => refunds,
    credits: () => credits,
    lateCharges: () => 0,
  };
}

/** What a store holds, read through the library. */
export async function booksIn(hf: Holdfast): Promise<Books> {
  const written: { readonly key: string; readonly value: string; readonly revision: number }[] = [];
  for await (const { key, value, revision } of hf.kv.scan("")) {
    written.push({ key, value: JSON.stringify(value), revision });
  }
  written.sort((a, b) => a.revision - b.revision);
  const keys = new Map(written.map(({ key, value }) => [key, value]));
  const runs = await rowsIn(new Runs(hf.store, ORDERS_WORKFLOW).queue);
  return booksOf({ runs, mails: await rowsIn(hf.queue(MAILS_QUEUE)), keys });
}

async function rowsIn(queue: Queue): Promise<JobRow[]> {
  const rows: JobRow[] = [];
  const states = ["completed", "cancelled", "dead", "ready", "leased", "scheduled"] as const;
  for (const state of states) {
    const { jobs } = await queue.list(state, { limit: 1_000 });
    for (const { id, createdMs, finishedMs, result } of jobs) {
      const isEnded = state === "completed" || state === "cancelled" || state === "dead";
      const text = result === null ? null : String(result);
      const finished = isEnded ? state : null;
      rows.push({ id, finished, places: 1, createdMs, finishedMs, result: text });
    }
  }
  return rows;
}
