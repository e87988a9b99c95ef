/**
 * Failures that are answers: what a handler marks with `permanent()`, and an output that can't be
 * stored although its work was done. They are kept as an output is, and every later call of the key
 * fails with an equal error. Any other throw leaves nothing behind: the key is free at once, and
 * the next call runs its handler again.
 */
import { dataBytes, jsonCodec, type Data } from "../../core/codec.ts";
import {
  errorFromData,
  errorToData,
  isHoldfastError,
  type ErrorData,
  type HoldfastError,
} from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { describeFailure, PermanentError } from "../../core/retry.ts";

/** A schema's issues may be long; the record of the failure must not be. */
const DETAILS_BYTES = 16_384;

/** `by: "handler"`: it was marked as permanent; `"store"`: its output can't be stored. */
type FailureData =
  | { readonly by: "handler"; readonly message: string }
  | { readonly by: "store"; readonly error: ErrorData };

/** What is stored of a permanent failure. */
export function failureData(error: unknown): Data {
  if (!isHoldfastError(error)) {
    const failure: FailureData = { by: "handler", message: describeFailure(error) };
    return jsonCodec.encode(failure);
  }
  const data = errorToData(error);
  const message = data.message.slice(0, LIMITS.errorChars);
  const isShort = dataBytes(jsonCodec.encode(data.details)) <= DETAILS_BYTES;
  const details = isShort ? data.details : {};
  const failure: FailureData = { by: "store", error: { ...data, message, details } };
  return jsonCodec.encode(failure);
}

/** The stored failure as the error that every call of the key throws. */
export function failureOf(data: Data): PermanentError | HoldfastError {
  const failure = jsonCodec.decode(data) as FailureData;
  return failure.by === "store"
    ? errorFromData(failure.error)
    : new PermanentError(failure.message);
}
