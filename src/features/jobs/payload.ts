/**
 * Values ↔ what the store keeps of them, checked by the queue's schemas on both ways.
 *
 * What is stored is the value as it was given, not as the schema changed it: the schema is applied
 * again when it is read, so that its transforms run once for the reader and its defaults are those
 * of the reader's version. A schema that accepts only what JSON can't carry (a `Date`) refuses its
 * own stored form; use one that reads the stored form.
 *
 * Synchronous schemas cost no promise: every function here gives a promise only if the schema did.
 */
import { dataBytes, validate, type Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkText } from "../../core/options.ts";
import type { QueueSettings } from "./settings.ts";

/** What is stored of an input. */
export interface Prepared {
  readonly payload: Data;
  readonly key: string | null;
}

type Maybe<T> = T | Promise<T>;

function then<T, U>(value: Maybe<T>, next: (value: T) => U): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/**
 * Checks an input and encodes it. Throws (or rejects with) `INVALID_DATA` (schema, no stored form,
 * a key that is none) or `TOO_LARGE`.
 */
export function prepareInput(settings: QueueSettings, input: unknown): Maybe<Prepared> {
  const checked = validate(settings.input, input, `the input of queue "${settings.name}"`);
  return then(checked, (value) => ({
    key: keyOf(settings, value),
    payload: encode(settings, input, "payload", LIMITS.payloadBytes),
  }));
}

function keyOf(settings: QueueSettings, value: unknown): string | null {
  if (settings.key === undefined) return null;
  const key = settings.key(value);
  if (key === undefined || key === null) return null;
  try {
    return checkText("key", key, LIMITS.idChars);
  } catch (cause) {
    const message = `${(cause as Error).message}: \`key\` of queue "${settings.name}" must give text, or undefined for no order`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
  }
}

function encode(settings: QueueSettings, value: unknown, what: string, maxBytes: number): Data {
  let data: Data;
  try {
    data = settings.codec.encode(value);
  } catch (cause) {
    if (isHoldfastError(cause)) throw cause;
    const message = `The codec "${settings.codec.name}" of queue "${settings.name}" can't encode the ${what}: ${String(cause)}`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
  }
  const isText = typeof data === "string";
  if (!isText && !(data instanceof Uint8Array)) {
    const message = `Expected the codec "${settings.codec.name}" to give text or bytes, got ${typeof data}`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
  }
  // A character is at most 3 bytes: short text need not be measured.
  if (isText && data.length * 3 <= maxBytes) return data;
  const bytes = dataBytes(data);
  if (bytes <= maxBytes) return data;
  const message = `Expected the ${what} of a job of queue "${settings.name}" to be at most ${maxBytes} bytes, got ${bytes}: keep the bulk elsewhere and pass a reference`;
  throw new HoldfastError("TOO_LARGE", message, {
    outcome: "not-applied",
    details: { limit: maxBytes, got: bytes },
  });
}

/** A stored value as it was given to the codec. Throws `CORRUPT`. */
export function decode(settings: QueueSettings, data: Data, what: string): unknown {
  try {
    return settings.codec.decode(data);
  } catch (cause) {
    if (isHoldfastError(cause)) throw cause;
    const message = `The codec "${settings.codec.name}" of queue "${settings.name}" can't decode a stored ${what}: ${String(cause)}`;
    throw new HoldfastError("CORRUPT", message, { cause });
  }
}

/**
 * What the handler sees of a stored payload. Throws (or rejects with) `CORRUPT` or `INVALID_DATA`.
 */
export function readInput(settings: QueueSettings, payload: Data): unknown {
  const value = decode(settings, payload, "payload");
  return validate(settings.input, value, `the stored input of queue "${settings.name}"`);
}

/**
 * What is stored of a handler's output; null for `undefined`. Throws (or rejects with)
 * `INVALID_DATA` or `TOO_LARGE`.
 */
export function storeOutput(settings: QueueSettings, output: unknown): Maybe<Data | null> {
  const { output: schema } = settings;
  const toData = (): Data | null =>
    output === undefined ? null : encode(settings, output, "result", LIMITS.resultBytes);
  if (schema === undefined) return toData();
  return then(validate(schema, output, `the output of queue "${settings.name}"`), toData);
}

/**
 * A stored result as the awaiting side sees it. Throws (or rejects with) `CORRUPT` or
 * `INVALID_DATA`.
 */
export function readOutput(settings: QueueSettings, result: Data | null): unknown {
  const value = result === null ? undefined : decode(settings, result, "result");
  return validate(settings.output, value, `the stored output of queue "${settings.name}"`);
}
