/**
 * Answers ↔ what the store keeps of them, checked by the definition's schema on both ways.
 *
 * What is stored is the output as the handler returned it; every caller, the first one included,
 * gets what the codec and the schema make of the stored form. So all answers of a key are equal,
 * and none shares its parts with another.
 */
import { validate, type Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { checkAnswerSize } from "./record.ts";
import type { IdempotencySettings } from "./settings.ts";

/** What is stored of an output. Rejects with `INVALID_DATA` or `TOO_LARGE`. */
export async function encodeAnswer(settings: IdempotencySettings, output: unknown): Promise<Data> {
  const { name, codec } = settings;
  await validate(settings.output, output, `the output of "${name}"`);
  let data: Data;
  try {
    data = codec.encode(output);
  } catch (cause) {
    if (isHoldfastError(cause)) throw cause;
    const message = `The codec "${codec.name}" of "${name}" can't encode the answer: ${String(cause)}`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
  }
  if (typeof data !== "string" && !(data instanceof Uint8Array)) {
    const message = `Expected the codec "${codec.name}" to give text or bytes, got ${typeof data}`;
    throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
  }
  return checkAnswerSize(name, data);
}

/** Why an output can't be stored, as the failure that every call of the key throws. */
export function unusable({ name }: IdempotencySettings, cause: unknown): HoldfastError {
  if (isHoldfastError(cause)) return cause;
  const message = `The schema of "${name}" failed on an output: ${String(cause)}`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
}

/** A stored answer as callers get it. Rejects with `CORRUPT` or `INVALID_DATA`. */
export async function decodeAnswer(settings: IdempotencySettings, data: Data): Promise<unknown> {
  const { name, codec } = settings;
  let value: unknown;
  try {
    value = codec.decode(data);
  } catch (cause) {
    if (isHoldfastError(cause)) throw cause;
    const message = `The codec "${codec.name}" of "${name}" can't decode a stored answer: ${String(cause)}`;
    throw new HoldfastError("CORRUPT", message, { cause });
  }
  return validate(settings.output, value, `the stored answer of "${name}"`);
}
