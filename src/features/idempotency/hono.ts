/** Idempotent requests for Hono (4), typed by its shape: no package is imported. */
import { Exchange, HttpGate, type HttpOptions } from "./http.ts";
import type { Idempotency } from "./idempotency.ts";
import type { HttpReply } from "./replies.ts";

/** What is needed of a Hono context. */
export interface HonoContextLike {
  readonly req: {
    readonly method: string;
    readonly url: string;
    header(name: string): string | undefined;
    arrayBuffer(): Promise<ArrayBuffer>;
  };
  get res(): Response;
  set res(response: Response | undefined);
}

/**
 * Middleware that makes the routes behind it idempotent.
 *
 * Shape: options as in `HttpOptions`; `attemptOf(c)` is the attempt. The body is read whole, and
 * handlers read it again from Hono's own copy; put `bodyLimit` in front where clients may send
 * without a `content-length`.
 * Guarantee: as `Idempotency.run`; the response is sent after it was stored.
 *
 * ```ts
 * app.use("/charges/*", honoIdempotency(hf.open(idempotency("http"))));
 * ```
 */
export function honoIdempotency<C extends HonoContextLike = HonoContextLike>(
  handle: Idempotency,
  options?: HttpOptions<C>,
): (c: C, next: () => Promise<void>) => Promise<Response | void> {
  const gate = new HttpGate<C>(handle, options);
  return async (c, next) => {
    const { req } = c;
    const { method } = req;
    const { pathname, search } = new URL(req.url);
    const header = (name: string): string | undefined => req.header(name);
    const body = async (): Promise<Uint8Array> => new Uint8Array(await req.arrayBuffer());
    const request = { request: c, method, url: pathname + search, header, body };
    const begun = await gate.begin(request, c);
    if (begun === undefined) return next();
    if (!(begun instanceof Exchange)) return responseOf(begun, new Headers());
    try {
      await next();
    } catch (error) {
      await begun.abandon(error);
      throw error;
    }
    const { status, headers, body: payload } = c.res;
    const sent = await begun.finish(status, (name) => headers.get(name), payload);
    // Set over another response, Hono would put that one's headers upon this one's.
    c.res = undefined;
    c.res = responseOf(sent, headers);
  };
}

/** Of the headers that the handler set, those stay that are not stored. */
function responseOf({ status, headers, body }: HttpReply, others: Headers): Response {
  const all = new Headers(others);
  all.delete("content-length");
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const hasNone = status === 204 || status === 205 || status === 304;
  return new Response(hasNone ? null : new Uint8Array(body), { status, headers: all });
}
