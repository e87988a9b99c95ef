/**
 * Idempotent requests for Fastify (5), typed by its shape: no package is imported.
 *
 * The key is looked at in `preHandler`, when the body is parsed and validated; the response is
 * stored in `onSend`, before anything of it is sent. A reply that was hijacked has no response
 * here: its key is free again after `timeoutMs`.
 */
import { Exchange, HttpGate, type HttpOptions } from "./http.ts";
import type { Idempotency } from "./idempotency.ts";
import type { HttpReply } from "./replies.ts";

/** What is needed of a Fastify request. */
export interface FastifyRequestLike {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
}

/** What is needed of a Fastify reply. */
export interface FastifyReplyLike {
  readonly statusCode: number;
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  getHeader(name: string): number | string | string[] | undefined;
  removeHeader(name: string): unknown;
  send(payload: Buffer): unknown;
}

/** What is needed of a Fastify instance. */
export interface FastifyLike {
  addHook(
    name: "preHandler",
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>,
  ): unknown;
  addHook(
    name: "onSend",
    hook: (
      request: FastifyRequestLike,
      reply: FastifyReplyLike,
      payload: unknown,
    ) => Promise<unknown>,
  ): unknown;
}

/** The plugin applies to the scope in which it is registered: see Fastify on encapsulation. */
const SKIP_OVERRIDE: unique symbol = Symbol.for("skip-override") as never;

/**
 * A plugin that makes the routes of its scope idempotent.
 *
 * Shape: options as in `HttpOptions`; `attemptOf(request)` is the attempt. A body that is neither
 * plain data nor bytes (multipart, a stream) needs `fingerprint`.
 * Guarantee: as `Idempotency.run`; the response is sent after it was stored.
 *
 * ```ts
 * app.register(fastifyIdempotency(hf.open(idempotency("http")), { isRequired: true }));
 * ```
 */
export function fastifyIdempotency<Req extends FastifyRequestLike = FastifyRequestLike>(
  handle: Idempotency,
  options?: HttpOptions<Req>,
): (instance: FastifyLike) => Promise<void> {
  const gate = new HttpGate<Req>(handle, options);
  const exchanges = new WeakMap<object, Exchange>();

  const begin = async (of: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown> => {
    // Fastify does not say in a hook's type which request it gets: the options' functions know.
    const request = of as Req;
    const { method, url, headers } = request;
    const header = (name: string): string | string[] | undefined => headers[name];
    const body = (): unknown => request.body;
    const begun = await gate.begin({ request, method, url, header, body }, request);
    if (begun instanceof Exchange) exchanges.set(request, begun);
    else if (begun !== undefined) {
      put(reply, begun);
      reply.send(begun.body);
      return reply;
    }
    return undefined;
  };

  const finish = async (
    request: FastifyRequestLike,
    reply: FastifyReplyLike,
    payload: unknown,
  ): Promise<unknown> => {
    const exchange = exchanges.get(request);
    if (exchange === undefined) return payload;
    // An error handler may reply anew; the outcome is decided once.
    exchanges.delete(request);
    const { statusCode } = reply;
    const sent = await exchange.finish(statusCode, (name) => reply.getHeader(name), payload);
    put(reply, sent);
    return sent.body;
  };

  const plugin = async (instance: FastifyLike): Promise<void> => {
    instance.addHook("preHandler", begin);
    instance.addHook("onSend", finish);
  };
  return Object.assign(plugin, { [SKIP_OVERRIDE]: true });
}

function put(reply: FastifyReplyLike, { status, headers }: HttpReply): void {
  reply.code(status);
  // Fastify counts the bytes of what is sent.
  reply.removeHeader("content-length");
  for (const [name, value] of Object.entries(headers)) reply.header(name, value);
}
