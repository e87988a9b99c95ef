/**
 * The payment service's own database: what was charged, refunded and credited. It knows nothing of
 * the shop's store, nor the store of it.
 *
 * Guarantee: a call holds once, whatever its key is called with again; the same key with another
 * order or amount is refused. A refund bears that there is no charge: it makes the key void, and a
 * charge that comes under it later is refused, however long it was on its way.
 */
import Database from "better-sqlite3";

export type PaymentCall =
  | {
      readonly kind: "charge";
      readonly key: string;
      readonly order: string;
      readonly pence: number;
    }
  /** `key` is the charge's. */
  | { readonly kind: "refund"; readonly key: string; readonly order: string }
  | {
      readonly kind: "credit";
      readonly key: string;
      readonly order: string;
      readonly pence: number;
    };

export type PaymentOutcome =
  | "charged"
  | "declined"
  | "refunded"
  | "credited"
  /** Refund: there was nothing to refund, and never will be. Charge: it was refunded before. */
  | "voided"
  /** The key is another call's. */
  | "mismatch";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS charge (
    key TEXT PRIMARY KEY, order_no TEXT NOT NULL, pence INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('charged', 'declined'))
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS refund ( -- pence 0: there was no charge, and the key is void
    key TEXT PRIMARY KEY, order_no TEXT NOT NULL, pence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS credit (
    key TEXT PRIMARY KEY, order_no TEXT NOT NULL, pence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS late ( -- charges that came after their refund, and were refused
    key TEXT PRIMARY KEY, order_no TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;`;

interface Row {
  readonly order_no: string;
  readonly pence: number;
  readonly outcome?: "charged" | "declined";
}

export class PaymentBook {
  readonly #database: Database.Database;
  readonly #find: Readonly<Record<PaymentCall["kind"], Database.Statement<[string], Row>>>;
  readonly #insert: Readonly<Record<"refund" | "credit", Database.Statement>>;
  readonly #insertCharge: Database.Statement;
  readonly #insertLate: Database.Statement;
  readonly #settleAll: (calls: readonly PaymentCall[], declined: DeclinedKeys) => PaymentOutcome[];

  /** Opens the file, or makes it. */
  constructor(path: string) {
    const database = new Database(path);
    database.pragma("journal_mode = WAL");
    // Every answer is on disk before it is given.
    database.pragma("synchronous = FULL");
    database.exec(SCHEMA);
    this.#database = database;
    this.#find = {
      charge: database.prepare("SELECT order_no, pence, outcome FROM charge WHERE key = ?"),
      refund: database.prepare("SELECT order_no, pence FROM refund WHERE key = ?"),
      credit: database.prepare("SELECT order_no, pence FROM credit WHERE key = ?"),
    };
    this.#insert = {
      refund: database.prepare("INSERT INTO refund VALUES (?, ?, ?)"),
      credit: database.prepare("INSERT INTO credit VALUES (?, ?, ?)"),
    };
    this.#insertCharge = database.prepare("INSERT INTO charge VALUES (?, ?, ?, ?)");
    this.#insertLate = database.prepare("INSERT OR IGNORE INTO late VALUES (?, ?)");
    this.#settleAll = database.transaction(
      (calls: readonly PaymentCall[], declined: DeclinedKeys): PaymentOutcome[] =>
        calls.map((call) => this.#settle(call, declined)),
    );
  }

  /** True until something was called. */
  get isNew(): boolean {
    const sql =
      "SELECT EXISTS (SELECT 1 FROM charge UNION ALL SELECT 1 FROM refund UNION ALL SELECT 1 FROM credit)";
    return this.#database.prepare(sql).pluck().get() === 0;
  }

  /** Settles all of the calls in one synced transaction, in their order. */
  settle(calls: readonly PaymentCall[], declined: DeclinedKeys): readonly PaymentOutcome[] {
    return this.#settleAll(calls, declined);
  }

  close(): void {
    this.#database.close();
  }

  #settle(call: PaymentCall, declined: DeclinedKeys): PaymentOutcome {
    switch (call.kind) {
      case "charge":
        return this.#charge(call, declined);
      case "refund":
        return this.#refund(call);
      case "credit":
        return this.#credit(call);
    }
  }

  #charge(call: PaymentCall & { readonly kind: "charge" }, declined: DeclinedKeys): PaymentOutcome {
    const { key, order, pence } = call;
    if (this.#find.refund.get(key) !== undefined) {
      this.#insertLate.run(key, order);
      return "voided";
    }
    const before = this.#find.charge.get(key);
    if (before !== undefined) {
      const isSame = before.order_no === order && before.pence === pence;
      return isSame ? (before.outcome ?? "declined") : "mismatch";
    }
    const outcome = declined(key) ? "declined" : "charged";
    this.#insertCharge.run(key, order, pence, outcome);
    return outcome;
  }

  #refund({ key, order }: PaymentCall & { readonly kind: "refund" }): PaymentOutcome {
    const charge = this.#find.charge.get(key);
    if (charge !== undefined && charge.order_no !== order) return "mismatch";
    const pence = charge?.outcome === "charged" ? charge.pence : 0;
    const before = this.#find.refund.get(key);
    if (before === undefined) this.#insert.refund.run(key, order, pence);
    else if (before.order_no !== order) return "mismatch";
    return pence === 0 ? "voided" : "refunded";
  }

  #credit({ key, order, pence }: PaymentCall & { readonly kind: "credit" }): PaymentOutcome {
    const before = this.#find.credit.get(key);
    if (before === undefined) this.#insert.credit.run(key, order, pence);
    else if (before.order_no !== order || before.pence !== pence) return "mismatch";
    return "credited";
  }
}

/** Says whether a charge under the key is declined. */
export type DeclinedKeys = (key: string) => boolean;
