/**
 * The payment service between its database and the wire: takes calls, settles those that came
 * together in one transaction, and ails as `payment-faults.ts` says.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { PaymentBook, PaymentCall, PaymentOutcome } from "./payment-book.ts";
import { bankMs, chargeFault, isAnswerLost } from "./payment-faults.ts";

export interface DeskOptions {
  readonly seed: number;
  /** A call takes at least so long, and at most twice as long. */
  readonly bankMs: number;
  /** When a late charge comes. */
  readonly lateMs: number;
}

interface Waiting {
  readonly call: PaymentCall;
  readonly resolve: (outcome: PaymentOutcome) => void;
  readonly reject: (error: unknown) => void;
}

export class PaymentDesk {
  readonly #book: PaymentBook;
  readonly #options: DeskOptions;
  /** How often a key that ails was called. */
  readonly #tries = new Map<string, number>();
  readonly #late = new Map<
    string,
    { readonly call: PaymentCall; readonly timer: NodeJS.Timeout }
  >();
  #waiting: Waiting[] = [];

  constructor(book: PaymentBook, options: DeskOptions) {
    this.#book = book;
    this.#options = options;
  }

  /** Settles a call; null: the caller never hears what became of it. */
  async take(call: PaymentCall): Promise<PaymentOutcome | null> {
    const { seed, bankMs: atLeastMs } = this.#options;
    const tookMs = bankMs(seed, call.key, atLeastMs);
    await sleep(tookMs / 2);
    const silence = this.#silenceOf(call);
    if (silence === "unheard") return null;
    if (silence === "late") {
      this.#putOff(call);
      return null;
    }
    const outcome = await this.#settle(call);
    if (silence === "unanswered") return null;
    await sleep(tookMs / 2);
    return outcome;
  }

  /** Does what was put off at once: nothing comes after the end. */
  async close(): Promise<void> {
    const late = [...this.#late.values()];
    this.#late.clear();
    for (const { timer } of late) clearTimeout(timer);
    await Promise.all(late.map(({ call }) => this.#settle(call)));
  }

  #silenceOf(call: PaymentCall): "none" | "unheard" | "late" | "unanswered" {
    const { seed } = this.#options;
    const isCharge = call.kind === "charge";
    const fault = isCharge ? chargeFault(seed, call.key) : "none";
    if (fault === "mute") return "unanswered";
    if (fault === "late") return "late";
    const isAiling = isCharge
      ? fault === "lost" || fault === "dropped"
      : isAnswerLost(seed, call.key);
    if (!isAiling) return "none";
    const name = `${call.kind} ${call.key}`;
    const tries = (this.#tries.get(name) ?? 0) + 1;
    this.#tries.set(name, tries);
    if (tries > 1) return "none";
    return fault === "dropped" ? "unheard" : "unanswered";
  }

  #putOff(call: PaymentCall): void {
    if (this.#late.has(call.key)) return;
    const timer = setTimeout(() => {
      this.#late.delete(call.key);
      this.#settle(call).catch(() => {});
    }, this.#options.lateMs);
    this.#late.set(call.key, { call, timer });
  }

  #settle(call: PaymentCall): Promise<PaymentOutcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      // What comes in the same turn, and while the last batch was being synced, is one batch.
      if (this.#waiting.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    try {
      const isDeclined = (key: string): boolean =>
        chargeFault(this.#options.seed, key) === "declined";
      const outcomes = this.#book.settle(
        batch.map(({ call }) => call),
        isDeclined,
      );
      batch.forEach(({ resolve }, at) => resolve(outcomes[at] as PaymentOutcome));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
