/**
 * The payment service behind HTTP on the loopback interface.
 *
 *   POST /charge { key, order, pence }   charged, declined, or voided: it was refunded before
 *   POST /refund { key, order }          refunded, or voided: no charge came under that key
 *   POST /credit { key, order, pence }   credited
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PaymentBook } from "./payment-book.ts";
import type { PaymentCall } from "./payment-book.ts";
import { PaymentDesk } from "./payment-desk.ts";
import { OpenCalls, openCallsPath } from "./payment-open.ts";
import type { PaymentPlace, PaymentSettings } from "./settings.ts";

const MAX_BODY_CHARS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** The call that a request makes; undefined if it makes none. */
function callOf(path: string | undefined, body: string): PaymentCall | undefined {
  let fields: Partial<Record<string, unknown>> | null;
  try {
    fields = JSON.parse(body) as typeof fields;
  } catch {
    return undefined;
  }
  const { key, order, pence } = fields ?? {};
  if (typeof key !== "string" || typeof order !== "string") return undefined;
  if (path === "/refund") return { kind: "refund", key, order };
  if (typeof pence !== "number" || !Number.isSafeInteger(pence) || pence < 1) return undefined;
  if (path === "/charge") return { kind: "charge", key, order, pence };
  return path === "/credit" ? { kind: "credit", key, order, pence } : undefined;
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (text: string) => {
      body += text;
      if (body.length > MAX_BODY_CHARS) request.destroy();
    });
    request.on("end", () => resolve(body));
    request.on("error", reject);
  });
}

function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  response.writeHead(status, headers);
  response.end(text);
}

async function serve(
  desk: PaymentDesk,
  open: OpenCalls,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const call = callOf(request.url, await bodyOf(request));
  if (call === undefined || request.method !== "POST") {
    return answer(response, 400, { error: "Expected a charge, a refund or a credit" });
  }
  open.begin();
  try {
    const outcome = await desk.take(call);
    // Null: the line is left open, and nothing ever comes of it.
    if (outcome === null) return;
    answer(response, outcome === "mismatch" ? 409 : 200, { outcome });
  } finally {
    open.end();
  }
}

/** A service that listens. */
export interface Listening extends PaymentPlace {
  /** What was put off is done, and the database closed, when it resolves. */
  close(): Promise<void>;
}

/** Opens the database and listens. Errors: those of the file and of the port. */
export async function listen(settings: PaymentSettings): Promise<Listening> {
  const book = new PaymentBook(settings.path);
  const { isNew } = book;
  const desk = new PaymentDesk(book, settings);
  const open = new OpenCalls(openCallsPath(settings.path));
  const server = createServer((request, response) => {
    serve(desk, open, request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(settings.port, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const end = async (): Promise<void> => {
    server.close();
    server.closeAllConnections();
    await desk.close();
    book.close();
    open.close();
  };
  let ended: Promise<void> | undefined;
  return { port, isNew, close: () => (ended ??= end()) };
}
