/**
 * Idempotent HTTP requests, whatever the framework: the header, the fingerprint, the stored
 * response, and what is answered when there is none. The adapters (`fastify.ts`, `hono.ts`,
 * `express.ts`) only take requests and responses apart and put them together.
 *
 * A response is held back until it is stored: what a client has seen is what every repeat of the
 * request gets. A response that is not to be stored (5xx) frees the key before it is sent.
 * Source: draft-ietf-httpapi-idempotency-key-header-07, sections 2.1 and 2.6.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkMs,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import { isPermanent } from "../../core/retry.ts";
import { deferred, type Deferred } from "../../core/signal.ts";
import type { Attempt } from "./attempt.ts";
import type { Idempotency, Outcome } from "./idempotency.ts";
import {
  failed,
  isPassing,
  malformedKey,
  missingKey,
  otherRequest,
  render,
  replayed,
  requestTooLong,
  tooLong,
  underWay,
  type HttpAnswer,
  type HttpReply,
} from "./replies.ts";
import { IN_FLIGHT, type InFlight } from "./settings.ts";

/** The options that all middleware takes; `Req` is the framework's request. */
export interface HttpOptions<Req> {
  /** The methods that it is for; all others pass. Default POST and PATCH. */
  readonly methods?: readonly string[] | undefined;
  /** Where the key is. Default `idempotency-key`. */
  readonly header?: string | undefined;
  /** True: a request without a key is answered 400; false: it passes. Default false. */
  readonly isRequired?: boolean | undefined;
  /**
   * Whose key it is, such as the id of the signed-in user: equal keys of two scopes are two keys.
   * Give it wherever clients must not see each other's responses.
   */
  readonly scope?: ((request: Req) => string | undefined) | undefined;
  /** What makes two requests the same. Default: method, path with query, and body. */
  readonly fingerprint?: ((request: Req) => unknown) | undefined;
  /** What a request does while another one of its key is under way. Default: the definition's. */
  readonly inFlight?: InFlight | undefined;
  /** How long it waits for that one's response, before it is answered 409. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Which responses are stored. Default: all but 408, 425, 429 and 5xx. */
  readonly isStored?: ((status: number) => boolean) | undefined;
  /**
   * Names of the headers that are stored and sent again; never `set-cookie`, nor one that belongs
   * to a connection or a message. Default: `cache-control`, `content-encoding`, `content-language`,
   * `content-type`, `etag`, `last-modified`, `link`, `location`, `vary`.
   */
  readonly headers?: readonly string[] | undefined;
  /** The longest body of a request and of a response. 1 to 700,000; default 262,144. */
  readonly maxBodyBytes?: number | undefined;
}

/** A request, taken apart. */
export interface HttpRequest<Req> {
  readonly request: Req;
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** A header's value by its lower-case name. */
  header(name: string): string | readonly string[] | undefined;
  /** Plain data or bytes. Called only for a request with a key. */
  body(): unknown;
}

interface HttpSettings<Req> {
  readonly methods: ReadonlySet<string>;
  readonly header: string;
  readonly isRequired: boolean;
  readonly scope: ((request: Req) => string | undefined) | undefined;
  readonly fingerprint: ((request: Req) => unknown) | undefined;
  readonly inFlight: InFlight | undefined;
  readonly timeoutMs: number;
  readonly isStored: (status: number) => boolean;
  readonly headers: readonly string[];
  readonly maxBodyBytes: number;
}

/** What an exchange needs of them. */
type Limits = Pick<HttpSettings<never>, "headers" | "isStored" | "maxBodyBytes">;

const NOT_STORED: ReadonlySet<number> = new Set([408, 425, 429]);

export const HTTP_DEFAULTS = {
  methods: ["POST", "PATCH"],
  header: "idempotency-key",
  timeoutMs: 10_000,
  maxBodyBytes: 262_144,
  isStored: (status: number): boolean => status < 500 && !NOT_STORED.has(status),
  headers: [
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "etag",
    "last-modified",
    "link",
    "location",
    "vary",
  ],
} as const;

/** A cookie is for one client alone; the others are of one connection or one message. */
const NEVER_STORED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** In base64 it grows by a third, and must still fit an answer. */
const MAX_BODY_BYTES = 700_000;

const KNOWN = [
  "methods",
  "header",
  "isRequired",
  "scope",
  "fingerprint",
  "inFlight",
  "timeoutMs",
  "isStored",
  "headers",
  "maxBodyBytes",
] as const;

function checkHttpOptions<Req>(options: HttpOptions<Req> = {}): HttpSettings<Req> {
  checkOptions("options", options, KNOWN);
  const d = HTTP_DEFAULTS;
  const { scope, fingerprint, inFlight, isStored = d.isStored } = options;
  if (scope !== undefined) checkFunction("scope", scope);
  if (fingerprint !== undefined) checkFunction("fingerprint", fingerprint);
  if (inFlight !== undefined) checkOneOf("inFlight", inFlight, IN_FLIGHT);
  checkFunction("isStored", isStored);
  const methods = checkNames("methods", options.methods ?? d.methods);
  const header = checkText("header", options.header ?? d.header, LIMITS.nameChars);
  return Object.freeze({
    methods: new Set(methods.map((method) => method.toUpperCase())),
    header: header.toLowerCase(),
    isRequired: checkBoolean("isRequired", options.isRequired ?? false),
    scope,
    fingerprint,
    inFlight,
    timeoutMs: checkMs("timeoutMs", options.timeoutMs ?? d.timeoutMs),
    isStored,
    headers: checkStoredHeaders(options.headers ?? d.headers),
    maxBodyBytes: checkInteger(
      "maxBodyBytes",
      options.maxBodyBytes ?? d.maxBodyBytes,
      1,
      MAX_BODY_BYTES,
    ),
  });
}

function checkNames(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw new TypeError(expected(name, "an array of strings", value));
  return value.map((each, i) => checkText(`${name}[${i}]`, each, LIMITS.nameChars));
}

function checkStoredHeaders(value: unknown): readonly string[] {
  const names = checkNames("headers", value).map((name) => name.toLowerCase());
  const wrong = names.find((name) => NEVER_STORED.has(name));
  if (wrong === undefined) return names;
  throw new RangeError(expected("headers", "names of headers that may be sent again", wrong));
}

const attempts = new WeakMap<object, Attempt<HttpAnswer>>();

/**
 * The attempt under which a request is handled, from the framework's request (Hono: its context);
 * undefined for one without a key. Its `complete(answer, ops)` stores the response together with
 * the ops; whatever the handler sends afterwards, that response is what goes out.
 */
export function attemptOf(request: object): Attempt<HttpAnswer> | undefined {
  return attempts.get(request);
}

/** A response's header by its lower-case name, as the framework keeps it. */
export type HeaderOf = (name: string) => number | string | readonly string[] | null | undefined;

/** One request that is handled under its key: its response is gathered, stored, and then sent. */
export class Exchange {
  readonly #response: Deferred<HttpAnswer>;
  readonly #outcome: Promise<Outcome<unknown>>;
  readonly #settings: Limits;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(
    response: Deferred<HttpAnswer>,
    outcome: Promise<Outcome<unknown>>,
    settings: Limits,
  ) {
    this.#response = response;
    this.#outcome = outcome;
    this.#settings = settings;
  }

  /** Takes a piece of the body; false once it is too long, and nothing more of it is kept. */
  write(chunk: string | Uint8Array, encoding: BufferEncoding = "utf8"): boolean {
    const piece = typeof chunk === "string" ? Buffer.from(chunk, encoding) : Buffer.from(chunk);
    this.#bytes += piece.length;
    const isWithin = this.#bytes <= this.#settings.maxBodyBytes;
    if (isWithin) this.#chunks.push(piece);
    else this.#chunks.length = 0;
    return isWithin;
  }

  /**
   * Stores the response, or frees the key; gives what is to be sent. `payload` is what is left of
   * the body: text, bytes or a stream of them. Rejects only if that stream does, or `isStored`
   * throws; the key is free then.
   */
  async finish(status: number, header: HeaderOf, payload?: unknown): Promise<HttpReply> {
    const { isStored, maxBodyBytes } = this.#settings;
    let isKept: boolean;
    try {
      await this.#gather(payload);
      isKept = isStored(status);
    } catch (error) {
      await this.abandon(error);
      throw error;
    }
    const body = this.#bytes > maxBodyBytes ? null : Buffer.concat(this.#chunks);
    if (!isKept) this.#response.reject(new Error("The response is not to be stored"));
    else if (body === null) this.#response.reject(tooLong(maxBodyBytes));
    else this.#response.resolve(this.#answerOf(status, header, body));
    try {
      const outcome = await this.#outcome;
      if (outcome.ok) return render(outcome.output as HttpAnswer);
      throw new Error(`Expected the attempt's own outcome, got ${outcome.why}`);
    } catch (error) {
      if (isKept) return failed(error);
      return body === null ? failed(tooLong(maxBodyBytes)) : { status, headers: {}, body };
    }
  }

  /** The handler failed without a response: the key is free. */
  async abandon(reason: unknown): Promise<void> {
    this.#response.reject(reason);
    await Promise.allSettled([this.#outcome]);
  }

  async #gather(payload: unknown): Promise<void> {
    if (payload === undefined || payload === null) return;
    if (typeof payload === "string" || payload instanceof Uint8Array) {
      this.write(payload);
      return;
    }
    for await (const chunk of payload as AsyncIterable<string | Uint8Array>) {
      // Leaving the loop ends the stream.
      if (!this.write(chunk)) return;
    }
  }

  #answerOf(status: number, header: HeaderOf, body: Buffer): HttpAnswer {
    const headers: Record<string, string> = {};
    for (const name of this.#settings.headers) {
      const value = header(name);
      if (value === undefined || value === null) continue;
      headers[name] = typeof value === "object" ? value.join(", ") : String(value);
    }
    if (body.length === 0) return { status, headers };
    if (isUtf8(body) && !body.includes(0)) return { status, headers, body: body.toString("utf8") };
    return { status, headers, base64: body.toString("base64") };
  }
}

/** What one middleware does, for any framework. */
export class HttpGate<Req> {
  readonly #handle: Idempotency;
  readonly #settings: HttpSettings<Req>;

  constructor(handle: Idempotency, options?: HttpOptions<Req>) {
    this.#handle = handle;
    this.#settings = checkHttpOptions(options);
  }

  /**
   * Decides what becomes of a request: undefined, it passes; a reply, that is sent; an exchange,
   * its handler runs and its response goes through `finish`. `owner` is what `attemptOf` knows it
   * by.
   */
  async begin(
    { request, method, url, header, body }: HttpRequest<Req>,
    owner: object,
  ): Promise<Exchange | HttpReply | undefined> {
    const settings = this.#settings;
    if (!settings.methods.has(method.toUpperCase())) return undefined;
    const given = header(settings.header);
    if (given === undefined) return settings.isRequired ? missingKey(settings.header) : undefined;
    const key = parseKey(given);
    const limit = settings.maxBodyBytes;
    if (key === undefined) return malformedKey(settings.header);
    if (Number(header("content-length") ?? 0) > limit) return requestTooLong(limit);
    let input: unknown;
    if (settings.fingerprint !== undefined) input = settings.fingerprint(request);
    else {
      const content = await body();
      if (content instanceof Uint8Array && content.length > limit) return requestTooLong(limit);
      input = { method: method.toUpperCase(), url, body: content };
    }
    return this.#run(scoped(settings.scope, request, key), input, owner);
  }

  async #run(key: string, input: unknown, owner: object): Promise<Exchange | HttpReply> {
    const { inFlight, timeoutMs } = this.#settings;
    const started = deferred<Attempt<HttpAnswer>>();
    const response = deferred<HttpAnswer>();
    const handler = (_: unknown, attempt: Attempt<HttpAnswer>): Promise<HttpAnswer> => {
      started.resolve(attempt);
      return response.promise;
    };
    const outcome = this.#handle.tryRun(key, input, handler, { timeoutMs, inFlight });
    try {
      const first = await Promise.race([started.promise.then((attempt) => ({ attempt })), outcome]);
      if ("attempt" in first) {
        attempts.set(owner, first.attempt);
        // The handler may never come to an end, and nobody may ask what became of it.
        outcome.catch(() => {});
        return new Exchange(response, outcome, this.#settings);
      }
      if (first.ok) return replayed(render(first.output as HttpAnswer));
      return first.why === "mismatch" ? otherRequest() : underWay(first.retryAfterMs);
    } catch (error) {
      if (isPermanent(error)) return replayed(failed(error));
      if (isHoldfastError(error, "TIMEOUT")) return underWay();
      if (isPassing(error)) return failed(error);
      throw error;
    }
  }
}

// ---------------------------------------------------------------- keys

/** Visible ASCII without quotes, as clients send it bare; or a string of RFC 8941 in quotes. */
const BARE = /^[\x21\x23-\x7e]+$/;
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"$/;

/** The key that the header names, 1 to 200 characters; undefined for what is none. */
export function parseKey(value: string | readonly string[]): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  const quoted = QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, "$1");
  const key = quoted ?? (BARE.test(text) ? text : undefined);
  return key !== undefined && key.length <= LIMITS.idChars ? key : undefined;
}

/**
 * The key of a scope, as `handle.get` and `handle.forget` take it: `SCOPE/KEY` where that has at
 * most 200 characters (`%` and `/` of the scope as `%25` and `%2F`), else its SHA-256.
 */
export function scopedKey(scope: string, key: string): string {
  const text = `${scope.replaceAll("%", "%25").replaceAll("/", "%2F")}/${key}`;
  if (text.length <= LIMITS.idChars) return text;
  return createHash("sha256").update(text).digest("hex");
}

function scoped<Req>(
  scope: ((request: Req) => string | undefined) | undefined,
  request: Req,
  key: string,
): string {
  return scope === undefined ? key : scopedKey(scope(request) ?? "", key);
}
