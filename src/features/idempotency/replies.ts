/**
 * What the middleware sends: a stored response, or why there is none.
 * Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.7, for the statuses; RFC 9457 for
 * the bodies of refusals.
 */
import { isHoldfastError, type HoldfastError } from "../../core/errors.ts";
import { isPermanent, permanent } from "../../core/retry.ts";

/** A response as it is stored, and as a handler may give it to `attempt.complete`. */
export interface HttpAnswer {
  /** Default 200. */
  readonly status?: number | undefined;
  /**
   * By lower-case name. Without a `content-type`, text is sent as text and anything else as JSON.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Text as it is, or a value with a JSON form; undefined: no body. */
  readonly body?: unknown;
  /** A body of bytes that are no text, in base64; then `body` is not looked at. */
  readonly base64?: string | undefined;
}

/** What is to be sent. */
export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const RETRY_AFTER_MS = 1_000;
const JSON_TYPE = "application/json; charset=utf-8";
const TEXT_TYPE = "text/plain; charset=utf-8";

/** The stored response as it is sent. */
export function render({ status = 200, headers = {}, body, base64 }: HttpAnswer): HttpReply {
  if (base64 !== undefined) return { status, headers, body: Buffer.from(base64, "base64") };
  if (body === undefined || body === null) return { status, headers, body: Buffer.alloc(0) };
  const isText = typeof body === "string";
  const type = { "content-type": isText ? TEXT_TYPE : JSON_TYPE };
  const text = isText ? body : JSON.stringify(body);
  return { status, headers: { ...type, ...headers }, body: Buffer.from(text) };
}

/** The same, marked as that of an earlier request. */
export function replayed(reply: HttpReply): HttpReply {
  return { ...reply, headers: { ...reply.headers, "idempotent-replayed": "true" } };
}

interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
}

function problem(content: Problem, retryAfterMs?: number): HttpReply {
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  }
  return { status: content.status, headers, body: Buffer.from(JSON.stringify(content)) };
}

export function missingKey(header: string): HttpReply {
  const detail = `This request needs a header \`${header}\` with a key that is new for each new request and the same for each repeat of it`;
  return problem({ status: 400, title: "Idempotency key missing", detail, code: "INVALID_DATA" });
}

export function malformedKey(header: string): HttpReply {
  const detail = `Expected the header \`${header}\` to hold one key of 1 to 200 visible ASCII characters, in quotes or bare`;
  return problem({ status: 400, title: "Idempotency key malformed", detail, code: "INVALID_DATA" });
}

export function requestTooLong(limit: number): HttpReply {
  const detail = `Expected the body of a request with an idempotency key to be at most ${limit} bytes`;
  return problem({ status: 413, title: "Request too long", detail, code: "TOO_LARGE" });
}

export function otherRequest(): HttpReply {
  const title = "Idempotency key taken";
  const detail = "The key was used for another request: use a new key for a new request";
  return problem({ status: 422, title, detail, code: "ALREADY_EXISTS" });
}

export function underWay(retryAfterMs: number = RETRY_AFTER_MS): HttpReply {
  const title = "Request under way";
  const detail = "Another request with this key is under way: send it again later for its response";
  return problem({ status: 409, title, detail, code: "CONFLICT" }, retryAfterMs);
}

/** What is stored in place of a response that is too long: its work was done. */
export function tooLong(limit: number): Error {
  return permanent(`Expected a response of at most ${limit} bytes, got a longer one`);
}

/** Trouble that a client can only wait out, and that says nothing about its request. */
export function isPassing(error: unknown): error is HoldfastError {
  if (!isHoldfastError(error)) return false;
  return error.retryable || ["LEASE_LOST", "FENCED", "UNAVAILABLE", "CLOSED"].includes(error.code);
}

/** What is sent in place of a response that could not be stored or read. */
export function failed(error: unknown): HttpReply {
  if (isPassing(error)) {
    const title = "Response not stored";
    const detail =
      "The response could not be stored: send the request again with the same key to learn what became of it";
    const content = { status: 503, title, detail, code: error.code };
    return problem(content, error.retryAfterMs ?? RETRY_AFTER_MS);
  }
  const title = "Response can't be stored";
  if (isPermanent(error)) {
    return problem({ status: 500, title, detail: (error as Error).message, code: "TOO_LARGE" });
  }
  const detail = "The response has no form that can be stored";
  const code = isHoldfastError(error) ? error.code : "FAILED";
  return problem({ status: 500, title, detail, code });
}
