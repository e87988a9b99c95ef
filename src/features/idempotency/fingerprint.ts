/**
 * What makes two calls of a key the same call: a hash of the input's canonical form, so that the
 * order of members does not matter and everything else does.
 *
 * The canonical form is JSON with the members of each object in the order of their UTF-16 code
 * units and without those that are undefined. Bytes are told apart from text, and what JSON would
 * flatten (a `Map`, a stream, a class without `toJSON`) is refused: two different ones would look
 * the same.
 * Source: RFC 8785 (JSON Canonicalization Scheme), whose order of members and form of numbers this
 * has.
 */
import { createHash } from "node:crypto";
import { HoldfastError } from "../../core/errors.ts";

/** Nested deeper than this, an input is no plain data that somebody wrote. */
const MAX_DEPTH = 1_000;

/**
 * SHA-256 of the input's canonical form, in hex. Throws `INVALID_DATA` for what has none.
 *
 * Complexity: one pass over the input, and one over its text.
 */
export function fingerprintOf(input: unknown): string {
  const hash = createHash("sha256");
  if (input instanceof Uint8Array) return hash.update("bytes:").update(input).digest("hex");
  return hash.update("json:").update(canonical(input, 0)).digest("hex");
}

/**
 * The key under which a call is known to what lies outside the store: the same at each attempt of a
 * key with an input, another for any other.
 */
export function outsideId(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 40);
}

function canonical(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw unusable(`one nested deeper than ${MAX_DEPTH}`);
  switch (typeof value) {
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "number":
      if (!Number.isFinite(value)) throw unusable(String(value));
      return JSON.stringify(value);
    case "undefined":
      return "undefined";
    case "object":
      return value === null ? "null" : canonicalObject(value, depth);
    default:
      throw unusable(`a ${typeof value}`);
  }
}

function canonicalObject(value: object, depth: number): string {
  if (Array.isArray(value)) {
    const items = Array.from(value, (item: unknown) => canonical(item, depth + 1));
    return `[${items.join(",")}]`;
  }
  if (value instanceof Uint8Array) {
    return `bytes:${createHash("sha256").update(value).digest("hex")}`;
  }
  const { toJSON } = value as { readonly toJSON?: unknown };
  if (typeof toJSON === "function") {
    return canonical((value as { toJSON(): unknown }).toJSON(), depth + 1);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  if (!isPlain)
    throw unusable(`a ${Object.prototype.toString.call(value).slice(8, -1)} of a class`);
  const members: string[] = [];
  for (const name of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[name];
    if (member === undefined) continue;
    members.push(`${JSON.stringify(name)}:${canonical(member, depth + 1)}`);
  }
  return `{${members.join(",")}}`;
}

function unusable(got: string): HoldfastError {
  const message = `Expected an input of plain data (JSON values and bytes) to take the fingerprint of, got ${got}: pass plain data, or say by \`fingerprint\` which part of the input counts`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
}
