/**
 * Idempotent requests for Express (5), typed by its shape: no package is imported.
 *
 * Express has no hook before a response is sent. So `writeHead`, `write`, `end` and `flushHeaders`
 * of this one response are replaced: what they are given is gathered, and sent by the real ones
 * once it was stored.
 */
import { HoldfastError } from "../../core/errors.ts";
import { Exchange, HttpGate, type HttpOptions } from "./http.ts";
import type { Idempotency } from "./idempotency.ts";
import type { HttpReply } from "./replies.ts";

/** What is needed of an Express request. */
export interface ExpressRequestLike {
  readonly method: string;
  readonly originalUrl: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: unknown;
}

/** What is needed of an Express response. */
export interface ExpressResponseLike {
  statusCode: number;
  statusMessage: string;
  getHeader(name: string): number | string | string[] | undefined;
  setHeader(name: string, value: number | string | readonly string[]): unknown;
  removeHeader(name: string): void;
  writeHead(...args: never[]): unknown;
  flushHeaders(): void;
  write(...args: never[]): boolean;
  end(...args: never[]): unknown;
}

/**
 * Middleware that makes the routes behind it idempotent.
 *
 * Shape: options as in `HttpOptions`; `attemptOf(req)` is the attempt. Put it behind the body
 * parser (`express.json()`); a body that was not parsed needs `fingerprint`.
 * Guarantee: as `Idempotency.run`; the response is sent after it was stored.
 * Errors: `MISCONFIGURED` goes to `next` for a body that nobody parsed.
 *
 * ```ts
 * const scope = (req: Request) => req.header("x-api-key");
 * app.use(express.json(), expressIdempotency(hf.open(idempotency("http")), { scope }));
 * ```
 */
export function expressIdempotency<Req extends ExpressRequestLike = ExpressRequestLike>(
  handle: Idempotency,
  options?: HttpOptions<Req>,
): (req: Req, res: ExpressResponseLike, next: (error?: unknown) => void) => Promise<void> {
  const gate = new HttpGate<Req>(handle, options);
  return async (req, res, next) => {
    let begun: Awaited<ReturnType<typeof gate.begin>>;
    try {
      const { method, originalUrl: url, headers } = req;
      const header = (name: string): string | string[] | undefined => headers[name];
      const body = (): unknown => parsedBody(req);
      begun = await gate.begin({ request: req, method, url, header, body }, req);
    } catch (error) {
      return next(error);
    }
    if (begun instanceof Exchange) capture(res, begun, next);
    else if (begun !== undefined) return send(res, begun);
    next();
  };
}

function parsedBody({ body, headers }: ExpressRequestLike): unknown {
  if (body !== undefined) return body;
  const isSent = Number(headers["content-length"] ?? 0) > 0;
  if (!isSent && headers["transfer-encoding"] === undefined) return undefined;
  throw new HoldfastError(
    "MISCONFIGURED",
    "Expected the request's body to be parsed, got none: put a body parser such as `express.json()` in front of the idempotency middleware, or give it `fingerprint`",
    { outcome: "not-applied" },
  );
}

function put(res: ExpressResponseLike, { status, headers, body }: HttpReply): void {
  if (res.statusCode !== status) res.statusMessage = "";
  res.statusCode = status;
  // What the handler said of its own body.
  res.removeHeader("transfer-encoding");
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  if (status === 204 || status === 304) res.removeHeader("content-length");
  else res.setHeader("content-length", body.length);
}

function send(res: ExpressResponseLike, reply: HttpReply): void {
  put(res, reply);
  (res.end as (body: Buffer) => unknown).call(res, reply.body);
}

type Headers = Readonly<Record<string, number | string | readonly string[]>> | readonly unknown[];

/** Gathers what the handler sends, and sends what `exchange` makes of it. */
function capture(
  res: ExpressResponseLike,
  exchange: Exchange,
  next: (error: unknown) => void,
): void {
  const { writeHead, flushHeaders, write, end } = res;
  let isEnded = false;

  /** False once the body is too long. */
  const take = ([chunk, encoding]: readonly unknown[]): boolean => {
    if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) return true;
    const known = typeof encoding === "string" ? (encoding as BufferEncoding) : undefined;
    return exchange.write(chunk, known);
  };

  const finish = async (done?: () => void): Promise<void> => {
    isEnded = true;
    const restore = { writeHead, flushHeaders, end };
    const header = (name: string): ReturnType<typeof res.getHeader> => res.getHeader(name);
    try {
      const reply = await exchange.finish(res.statusCode, header);
      // What is still written, after the end or beyond the limit, goes nowhere.
      Object.assign(res, restore);
      put(res, reply);
      (end as (body: Buffer, done?: () => void) => unknown).call(res, reply.body, done);
    } catch (error) {
      Object.assign(res, restore, { write });
      next(error);
    }
  };

  Object.assign(res, {
    writeHead: (status: number, ...rest: readonly unknown[]): unknown => {
      res.statusCode = status;
      if (typeof rest[0] === "string") res.statusMessage = rest[0];
      const headers = rest.find((each) => typeof each === "object" && each !== null);
      setHeaders(res, headers as Headers | undefined);
      return res;
    },
    flushHeaders: (): void => {},
    write: (...args: readonly unknown[]): boolean => {
      if (isEnded) return false;
      const isWithin = take(args);
      // The client need not wait for the end of what it does not get.
      if (!isWithin) void finish();
      const done = callbackOf(args);
      if (done !== undefined) queueMicrotask(done);
      return isWithin;
    },
    end: (...args: readonly unknown[]): unknown => {
      if (isEnded) return res;
      take(args);
      void finish(callbackOf(args));
      return res;
    },
  });
}

function callbackOf(args: readonly unknown[]): (() => void) | undefined {
  return args.find((each) => typeof each === "function") as (() => void) | undefined;
}

/** Of `writeHead`: by name, or names and values in turn. */
function setHeaders(res: ExpressResponseLike, headers: Headers | undefined): void {
  if (headers === undefined) return;
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value as string);
    return;
  }
  const flat: readonly unknown[] = headers.flat();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    res.setHeader(String(flat[i]), flat[i + 1] as string);
  }
}
