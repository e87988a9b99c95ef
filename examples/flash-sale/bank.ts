/**
 * The way to the payment service: HTTP on the loopback interface, over connections that are kept.
 *
 * A call that fails here may have held there: whoever wants to know calls again with the same key.
 */
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { permanent } from "holdfast/workflow";
import type { Attempt } from "holdfast/workflow";

/** Nobody answered, or nobody was there. */
export class BankSilent extends Error {
  /**
   * True: the call was taken and nothing came of it; false: there was no service at that moment.
   */
  readonly isTimeout: boolean;

  constructor(message: string, isTimeout: boolean) {
    super(message);
    this.name = "BankSilent";
    this.isTimeout = isTimeout;
  }
}

export interface BankOptions {
  readonly port: number;
  /** How long a call may take. */
  readonly timeoutMs: number;
}

export type ChargeAnswer = "charged" | "declined";

/** What was asked of the bank: the attempt's own names and its signal. */
export type Asking = Pick<Attempt, "attempt" | "signal">;

export interface Sum {
  readonly key: string;
  readonly order: string;
  readonly pence: number;
}

/** A silence that lasts so many attempts is taken for a failure, of unknown outcome. */
const SILENCES = 3;
const CONNECTIONS = 256;

export class Bank {
  readonly #agent: Agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #options: BankOptions;

  constructor(options: BankOptions) {
    this.#options = options;
  }

  /** Charges once under the key, however often it is asked. Errors: `BankSilent`. */
  async charge(sum: Sum, asking: Asking): Promise<ChargeAnswer> {
    try {
      const outcome = await this.#post("/charge", sum, asking.signal);
      return outcome === "charged" ? "charged" : "declined";
    } catch (error) {
      const isOver = error instanceof BankSilent && error.isTimeout && asking.attempt >= SILENCES;
      throw isOver ? permanent(error) : error;
    }
  }

  /**
   * Takes a charge back, whatever became of it: one that never came is void from now on, and is
   * refused when it comes after all. Errors: `BankSilent`.
   */
  refund(charge: Omit<Sum, "pence">, { signal }: Asking): Promise<string> {
    return this.#post("/refund", charge, signal);
  }

  /** Pays a customer, once under the key. Errors: `BankSilent`. */
  credit(sum: Sum, { signal }: Asking): Promise<string> {
    return this.#post("/credit", sum, signal);
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(path: string, fields: object, signal: AbortSignal): Promise<string> {
    const body = JSON.stringify(fields);
    const { port, timeoutMs } = this.#options;
    return new Promise<string>((resolve, reject) => {
      const headers = { "content-length": Buffer.byteLength(body) };
      const options = {
        agent: this.#agent,
        host: "127.0.0.1",
        port,
        path,
        method: "POST",
        headers,
      };
      let isAnswered = false;
      const call = request(options, (response) => {
        isAnswered = true;
        readAnswer(response)
          .catch((error: unknown) => Promise.reject(asSilence(error as Error, signal)))
          .then(resolve, reject);
      });
      const onAbort = (): void => void call.destroy(signal.reason as Error);
      const late = new BankSilent(`${path} had no answer within ${timeoutMs} ms`, true);
      const timer = setTimeout(() => call.destroy(late), timeoutMs);
      call.on("error", (error) => reject(asSilence(error, signal)));
      call.on("close", () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        if (!isAnswered) reject(new BankSilent(`${path} was broken off`, false));
      });
      signal.addEventListener("abort", onAbort, { once: true });
      call.end(body);
    });
  }
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  // Text, as an encoding is set.
  for await (const part of response) text += part as string;
  if (response.statusCode !== 200) {
    throw permanent(new Error(`The payment service refused it (${response.statusCode}): ${text}`));
  }
  return (JSON.parse(text) as { readonly outcome: string }).outcome;
}

/** What the connection failed of; the service's own word stays as it is. */
function asSilence(error: Error, signal: AbortSignal): Error {
  const isNetwork = "code" in error && typeof error.code === "string" && error.code !== "";
  if (signal.aborted || error instanceof BankSilent || !isNetwork) return error;
  return new BankSilent(error.message, false);
}
