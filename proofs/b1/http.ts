/** The little HTTP that the proof needs: posting JSON on kept connections, and reading a body. */
import { Agent, request, type IncomingMessage } from "node:http";

/** The whole body as text. */
export async function readBody(message: IncomingMessage): Promise<string> {
  let text = "";
  message.setEncoding("utf8");
  for await (const chunk of message) text += chunk as string;
  return text;
}

/** Posts to one port of this machine. */
export class Poster {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: Infinity });
  readonly #port: number;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(port: number, headers: Readonly<Record<string, string>> = {}) {
    this.#port = port;
    this.#headers = { "content-type": "application/json", ...headers };
  }

  /** The answer's status. Rejects if the connection breaks or the signal aborts. */
  post(path: string, body: unknown, signal?: AbortSignal): Promise<number> {
    const options = {
      agent: this.#agent,
      host: "127.0.0.1",
      port: this.#port,
      path,
      method: "POST",
      headers: this.#headers,
      signal,
    };
    return new Promise((resolve, reject) => {
      const sent = request(options, (response) => {
        response.resume();
        response.once("end", () => resolve(response.statusCode ?? 0));
        response.once("error", reject);
      });
      sent.once("error", reject);
      sent.end(JSON.stringify(body));
    });
  }

  /** Cuts every connection, those in use too. */
  destroy(): void {
    this.#agent.destroy();
  }
}
