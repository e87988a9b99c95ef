/**
 * Values ↔ what a store keeps. Text stays text down to the engine, so that people can read it in
 * their tables and keys; bytes stay bytes.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { HoldfastError } from "./errors.ts";

/** What a store keeps of a value. */
export type Data = string | Uint8Array;

export interface Codec {
  /** Stored with nothing: a store holds one codec per name, chosen by its definition. */
  readonly name: string;
  encode(value: unknown): Data;
  decode(data: Data): unknown;
}

/** Size in UTF-8 bytes. */
export function dataBytes(data: Data): number {
  return typeof data === "string" ? Buffer.byteLength(data) : data.byteLength;
}

/** Node 20 has these; the library that we compile against does not know them. */
interface WellFormed {
  isWellFormed(): boolean;
  toWellFormed(): string;
}

/**
 * Refuses text that some engine could not give back as it was: with a lone surrogate, which has no
 * UTF-8 form, or with NUL, which text columns do not take. JSON text never is such. Bytes may be
 * any. Throws `INVALID_DATA`.
 */
export function checkStorable(name: string, data: Data): void {
  if (typeof data !== "string") return;
  if ((data as unknown as WellFormed).isWellFormed() && !data.includes("\u0000")) return;
  const message = `Expected \`${name}\` to be well-formed text without NUL, got text with a lone surrogate or NUL: pass bytes instead`;
  throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", details: { name } });
}

/**
 * Text for people that every engine can keep: what it can't is replaced by U+FFFD, what is too long
 * is cut.
 */
export function storableText(text: string, maxChars: number): string {
  const cut = text.length > maxChars ? `${text.slice(0, maxChars - 1)}…` : text;
  return (cut as unknown as WellFormed).toWellFormed().replaceAll("\u0000", "\uFFFD");
}

function notEncodable(cause: unknown): HoldfastError {
  const why = cause instanceof Error ? cause.message.split("\n")[0] : "it has no JSON form";
  const message = `Expected a value with a JSON form, got one without (${why}): pass plain data, or a codec of your own`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
}

/**
 * JSON. `undefined` is kept as `null`'s absence (an empty text). A `__proto__` member in stored
 * text can't reach a prototype:
 * `JSON.parse` makes it an own property, and the reviver drops it.
 */
export const jsonCodec: Codec = Object.freeze({
  name: "json",
  encode(value: unknown): Data {
    if (value === undefined) return "";
    let text: string | undefined;
    try {
      text = JSON.stringify(value);
    } catch (cause) {
      throw notEncodable(cause);
    }
    if (text === undefined) throw notEncodable(undefined);
    return text;
  },
  decode(data: Data): unknown {
    const text = typeof data === "string" ? data : Buffer.from(data).toString("utf8");
    if (text === "") return undefined;
    try {
      return text.includes('__proto__"') ? JSON.parse(text, dropProto) : JSON.parse(text);
    } catch (cause) {
      const message = `Expected stored JSON, got ${text.length} characters that do not parse: the record was damaged or written by another codec`;
      throw new HoldfastError("CORRUPT", message, { cause });
    }
  },
});

function dropProto(this: unknown, key: string, value: unknown): unknown {
  return key === "__proto__" ? undefined : value;
}

/** Bytes as they are. */
export const bytesCodec: Codec = Object.freeze({
  name: "bytes",
  encode(value: unknown): Data {
    if (value instanceof Uint8Array) return value;
    const message = `Expected a Uint8Array for the bytes codec, got ${typeof value}`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
  },
  decode(data: Data): unknown {
    return typeof data === "string" ? new TextEncoder().encode(data) : data;
  },
});

/** Any schema of the Standard Schema family (zod, valibot, arktype ...). */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>;
export type SchemaInput<S> = S extends StandardSchemaV1<infer I, unknown> ? I : never;
export type SchemaOutput<S> = S extends StandardSchemaV1<unknown, infer O> ? O : never;

/**
 * Validates; async schemas are awaited, sync ones cost no promise. Throws `INVALID_DATA` naming the
 * paths that failed.
 */
export function validate(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  what: string,
): unknown {
  if (schema === undefined) return value;
  const result = schema["~standard"].validate(value);
  return isThenable(result)
    ? Promise.resolve(result).then((done) => unwrap(done, what))
    : unwrap(result, what);
}

/** A promise of any library or realm: `instanceof Promise` knows this realm's own alone. */
function isThenable<T>(result: T | PromiseLike<T>): result is PromiseLike<T> {
  return typeof (result as Partial<PromiseLike<T>>).then === "function";
}

function unwrap(result: StandardSchemaV1.Result<unknown>, what: string): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 5).map((issue) => {
    const path = (issue.path ?? []).map((part) =>
      String(typeof part === "object" ? part.key : part),
    );
    return `${path.length === 0 ? "the value" : path.join(".")}: ${issue.message}`;
  });
  const message = `Expected ${what} to match its schema, got ${result.issues.length} issue(s): ${issues.join("; ")}`;
  throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", details: { issues } });
}

/**
 * A schema that accepts every value as a `T` without looking: for programs that check their data
 * elsewhere, or use no schema library.
 */
export function unchecked<T>(): Schema<T> {
  const standard = { version: 1, vendor: "holdfast", validate: (value: unknown) => ({ value }) };
  return { "~standard": standard } as Schema<T>;
}
