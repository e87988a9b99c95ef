/**
 * The endpoint under proof, and the visitors who call it: `POST /mails` enqueues an e-mail and
 * answers 202. `POST /bare` answers and does nothing else: what the same server on the same machine
 * takes for that is printed beside.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Store } from "holdfast/store";
import { wait } from "../kit/figures.ts";
import { messageOf } from "../kit/wire.ts";
import { Poster, readBody } from "./http.ts";
import { emails, mailId, type Mail } from "./mail.ts";

/** How many visits there are for each that does nothing. */
const BARE_EVERY = 4;

export class Endpoint {
  readonly #store: Store;
  readonly #server: Server;
  #failure: string | undefined;

  constructor(store: Store) {
    this.#store = store;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** What the first 503 was about. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Starts to listen; gives the port. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (request.url === "/bare") {
        await readBody(request);
        response.writeHead(202).end();
        return;
      }
      const mail = JSON.parse(await readBody(request)) as Mail;
      // The mail's own id makes a repeated request harmless.
      await this.#store.handle(emails).add(mail, { id: mail.id });
      response.writeHead(202).end();
    } catch (error) {
      this.#failure ??= `503: ${messageOf(error)}`;
      response.writeHead(503).end();
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => void this.#server.close(resolve));
  }
}

/** The visitors: each comes at its time, whether the ones before were answered or not. */
export class Visitors {
  readonly #store: Store;
  readonly #poster: Poster;
  /** Milliseconds from the request to its answer. */
  readonly latencies: number[] = [];
  /** The same of the requests that do nothing. */
  readonly bareLatencies: number[] = [];
  /** Mails that the endpoint has promised. */
  readonly promised: Set<string> = new Set();
  #sent = 0;
  #failure: string | undefined;

  constructor(store: Store, port: number) {
    this.#store = store;
    this.#poster = new Poster(port);
  }

  /** What the first request without an answer met. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Requests made so far. */
  get sent(): number {
    return this.#sent;
  }

  /** Sends `count` requests, one every `gapMs`, and resolves when all are answered. */
  async run(count: number, gapMs: number): Promise<void> {
    const { clock } = this.#store;
    const startMs = clock.monotonicMs();
    const visits: Promise<void>[] = [];
    while (this.#sent < count) {
      const dueMs = startMs + this.#sent * gapMs;
      const leftMs = dueMs - clock.monotonicMs();
      if (leftMs > 0) await wait(clock, leftMs);
      if (this.#sent % BARE_EVERY === 0) visits.push(this.#visitBare());
      visits.push(this.#visit(mailId(this.#sent++)));
    }
    await Promise.all(visits);
    this.#poster.destroy();
  }

  async #visit(id: string): Promise<void> {
    const mail: Mail = {
      id,
      to: `${id}@example.org`,
      subject: `Your order ${id}`,
      text: "Thank you! ".repeat(20),
    };
    const status = await this.#timed("/mails", mail, this.latencies);
    if (status === 202) this.promised.add(id);
  }

  async #visitBare(): Promise<void> {
    await this.#timed("/bare", {}, this.bareLatencies);
  }

  async #timed(path: string, body: unknown, latencies: number[]): Promise<number> {
    const { clock } = this.#store;
    const startMs = clock.monotonicMs();
    const status = await this.#poster.post(path, body).catch((error: unknown) => {
      this.#failure ??= `no answer: ${messageOf(error)}`;
      return 0;
    });
    latencies.push(clock.monotonicMs() - startMs);
    return status;
  }
}
