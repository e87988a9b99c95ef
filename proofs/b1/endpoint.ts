/** The endpoint under proof, and the visitors who call it: `POST /mails` enqueues an e-mail and answers 202. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Store } from "holdfast/store";
import { wait } from "../kit/figures.ts";
import { Poster, readBody } from "./http.ts";
import { emails, mailId, type Mail } from "./mail.ts";

export class Endpoint {
  readonly #store: Store;
  readonly #server: Server;

  constructor(store: Store) {
    this.#store = store;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Starts to listen; gives the port. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const mail = JSON.parse(await readBody(request)) as Mail;
      // The mail's own id makes a repeated request harmless.
      await this.#store.handle(emails).add(mail, { id: mail.id });
      response.writeHead(202).end();
    } catch {
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
  /** Mails that the endpoint has promised. */
  readonly promised: Set<string> = new Set();
  #sent = 0;

  constructor(store: Store, port: number) {
    this.#store = store;
    this.#poster = new Poster(port);
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
    const startMs = this.#store.clock.monotonicMs();
    const status = await this.#poster.post("/mails", mail).catch(() => 0);
    this.latencies.push(this.#store.clock.monotonicMs() - startMs);
    if (status === 202) this.promised.add(id);
  }
}
