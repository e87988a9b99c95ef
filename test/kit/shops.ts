/**
 * One small service in each framework that the idempotency middleware is for, on loopback: the same
 * routes, so that the same tests run against all of them.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { createAdaptorServer } from "@hono/node-server";
import express from "express";
import fastify, { type FastifyRequest } from "fastify";
import { Hono, type Context } from "hono";
import { systemClock } from "../../src/core/clock.ts";
import {
  attemptOf,
  expressIdempotency,
  fastifyIdempotency,
  honoIdempotency,
  type Attempt,
  type HttpAnswer,
  type HttpOptions,
  type Idempotency,
} from "../../src/features/idempotency/index.ts";

/** What a route does with a request: the same in each framework. */
export type Route = (call: {
  readonly path: string;
  readonly input: unknown;
  readonly attempt: Attempt<HttpAnswer> | undefined;
}) => Promise<Sent>;

/** A response: its body whole, or in pieces. */
export interface Sent {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export interface Shop {
  readonly url: string;
  close(): Promise<void>;
}

/** `scope` takes the header `x-user`, as a service would take its signed-in user. */
export interface ShopOptions extends Omit<HttpOptions<never>, "scope" | "fingerprint"> {
  readonly isScoped?: boolean;
  /** The parser of bodies is left out. */
  readonly isUnparsed?: boolean;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function shut(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/**
 * Waits until it holds: what goes over a socket takes the host's time, whatever the test's clock.
 */
export async function arrives(what: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 8_000;
  while (!what()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`Expected it to come: ${String(what)}`);
    await systemClock.yield();
  }
}

const user = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;

async function onExpress(calls: Idempotency, route: Route, options: ShopOptions): Promise<Shop> {
  const { isScoped = false, isUnparsed = false, ...rest } = options;
  const scope = isScoped ? { scope: (req: express.Request) => user(req.headers["x-user"]) } : {};
  const app = express();
  if (!isUnparsed) app.use(express.json({ limit: "8mb" }));
  app.use(expressIdempotency(calls, { ...rest, ...scope }));
  const answer = async (req: express.Request, res: express.Response): Promise<void> => {
    const sent = await route({ path: req.path, input: req.body, attempt: attemptOf(req) });
    res.status(sent.status).set(sent.headers ?? {});
    if (sent.body === undefined || typeof sent.body === "string") res.send(sent.body);
    else if (sent.body instanceof Uint8Array) res.end(sent.body);
    else Readable.from(sent.body).pipe(res);
  };
  app.use((req, res, next) => {
    answer(req, res).catch(next);
  });
  const fail: express.ErrorRequestHandler = (error: Error, _req, res, next) => {
    if (res.headersSent) return next(error);
    res.status(500).json({ message: error.message });
  };
  app.use(fail);
  const server = createServer(app);
  return { url: await listen(server), close: () => shut(server) };
}

async function onFastify(calls: Idempotency, route: Route, options: ShopOptions): Promise<Shop> {
  const { isScoped = false, isUnparsed: _, ...rest } = options;
  const scope = isScoped
    ? { scope: (request: FastifyRequest) => user(request.headers["x-user"]) }
    : {};
  const app = fastify({ bodyLimit: 8_388_608, forceCloseConnections: true });
  app.register(fastifyIdempotency(calls, { ...rest, ...scope }));
  app.all("/*", async (request, reply) => {
    const { url: path, body: input } = request;
    const sent = await route({ path, input, attempt: attemptOf(request) });
    reply.code(sent.status).headers(sent.headers ?? {});
    const { body } = sent;
    if (body === undefined || typeof body === "string") return reply.send(body);
    return reply.send(body instanceof Uint8Array ? Buffer.from(body) : Readable.from(body));
  });
  return { url: await app.listen({ host: "127.0.0.1", port: 0 }), close: () => app.close() };
}

async function onHono(calls: Idempotency, route: Route, options: ShopOptions): Promise<Shop> {
  const { isScoped = false, isUnparsed: _, ...rest } = options;
  const scope = isScoped ? { scope: (c: Context) => c.req.header("x-user") } : {};
  const app = new Hono();
  app.use(honoIdempotency(calls, { ...rest, ...scope }));
  app.all("*", async (c) => {
    const text = await c.req.text();
    const input: unknown = text === "" ? undefined : JSON.parse(text);
    const {
      status,
      headers = {},
      body,
    } = await route({
      ...{ path: c.req.path, input, attempt: attemptOf(c) },
    });
    const isStream = typeof body === "object" && !(body instanceof Uint8Array);
    const payload = isStream ? Readable.toWeb(Readable.from(body)) : (body ?? null);
    return new Response(payload as ReadableStream | null, { status, headers });
  });
  app.onError((error, c) => c.json({ message: error.message }, 500));
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  return { url: await listen(server), close: () => shut(server) };
}

export const frameworks = { express: onExpress, fastify: onFastify, hono: onHono } as const;
