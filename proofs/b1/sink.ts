/**
 * The mail sink: an HTTP server in a process of its own that takes 2 s for a mail and keeps its own
 * append-only record, which is what the proof believes. A mail arrives at some instant of those 2
 * s, a different one for each: a worker that is killed meanwhile leaves some mails that arrived (so
 * that delivering them again is an extra copy) and some that did not.
 */
import { appendFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "holdfast/store";
import type { Link } from "../kit/node.ts";
import { readBody } from "./http.ts";
import { mailNumber, type Mail, type SinkInput, type SinkLine } from "./mail.ts";

/** Spreads the instants of arrival evenly over the sleep. */
const GOLDEN_RATIO = 0.618_033_988_75;

export async function sink(link: Link): Promise<void> {
  const server = new Sink(link.input as unknown as SinkInput);
  const port = await server.listen();
  link.serve("port", async () => port);
  link.serve("inFlight", async () => ({ ...server.inFlight() }));
}

class Sink {
  readonly #input: SinkInput;
  readonly #tries = new Map<string, number>();
  readonly #inFlight = new Map<string, number>();

  constructor(input: SinkInput) {
    this.#input = input;
  }

  async listen(): Promise<number> {
    const server = createServer((request, response) => void this.#take(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  inFlight(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#inFlight);
  }

  #note(what: SinkLine["what"], mail: string, worker: string): void {
    const line: SinkLine = { atMs: systemClock.wallMs(), what, mail, worker };
    appendFileSync(this.#input.recordPath, `${JSON.stringify(line)}\n`);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const mail = JSON.parse(await readBody(request)) as Mail;
    const worker = String(request.headers["x-worker"]);
    const { refuseEvery, sleepMs } = this.#input;
    const tries = (this.#tries.get(mail.id) ?? 0) + 1;
    this.#tries.set(mail.id, tries);
    this.#note("begin", mail.id, worker);
    if (refuseEvery > 0 && tries === 1 && mailNumber(mail.id) % refuseEvery === 0) {
      this.#note("refused", mail.id, worker);
      response.writeHead(503).end();
      return;
    }
    this.#count(worker, 1);
    await this.#deliver(mail, worker, response, sleepMs);
    this.#count(worker, -1);
  }

  /** Accepts after a part of the sleep, answers at its end; stops if the connection breaks. */
  #deliver(mail: Mail, worker: string, response: ServerResponse, sleepMs: number): Promise<void> {
    const acceptMs = sleepMs * ((mailNumber(mail.id) * GOLDEN_RATIO) % 1);
    let isAccepted = false;
    const accept = (): void => {
      if (isAccepted) return;
      isAccepted = true;
      this.#note("accepted", mail.id, worker);
    };
    return new Promise((resolve) => {
      const accepting = systemClock.timer(acceptMs, accept);
      const answering = systemClock.timer(sleepMs, () => {
        // On a busy machine both timers may be late, and this one first: the answer never comes
        // before the fact.
        accept();
        response.writeHead(202).end();
      });
      response.once("close", () => {
        accepting.cancel();
        answering.cancel();
        if (!isAccepted) this.#note("broken", mail.id, worker);
        resolve();
      });
    });
  }

  #count(worker: string, by: number): void {
    this.#inFlight.set(worker, (this.#inFlight.get(worker) ?? 0) + by);
  }
}
