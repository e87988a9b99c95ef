/** The payment service as the sale has it: one process, always on the same file and port. */
import { openCalls, openCallsPath } from "./payment-open.ts";
import { Processes } from "./processes.ts";
import { PAYMENT_VARIABLE } from "./settings.ts";
import type { PaymentPlace, PaymentSettings } from "./settings.ts";

export interface PaymentOptions {
  readonly path: string;
  readonly seed: number;
  /** A call takes at least so long. */
  readonly bankMs: number;
  /** When a late charge comes. */
  readonly lateMs: number;
  readonly onEvent: (text: string) => void;
}

/** There were payments in the file before. */
export class PaymentsExistError extends Error {
  constructor(path: string) {
    super(`Expected no payments of an earlier sale in ${path}, found some: name another file`);
    this.name = "PaymentsExistError";
  }
}

export class PaymentService {
  readonly processes: Processes;
  readonly #path: string;
  #place: PaymentPlace | undefined;

  constructor({ onEvent, ...options }: PaymentOptions) {
    this.#path = options.path;
    this.processes = new Processes({
      count: 1,
      program: "payment-main",
      env: () => {
        const settings: PaymentSettings = { ...options, port: this.#place?.port ?? 0 };
        return { [PAYMENT_VARIABLE]: JSON.stringify(settings) };
      },
      onMessage: (_, message) => (this.#place ??= message as PaymentPlace),
      onEvent,
    });
  }

  /** Where it listens, from its start on. */
  get port(): number {
    return this.#place?.port ?? 0;
  }
  /** Calls that it has begun and not answered, or had when it died. */
  get open(): number {
    return openCalls(openCallsPath(this.#path));
  }

  /** Resolves when it listens. Errors: `PaymentsExistError`, and those of `Processes`. */
  async start(): Promise<void> {
    await this.processes.start();
    if (this.#place?.isNew !== true) throw new PaymentsExistError(this.#path);
  }
}
