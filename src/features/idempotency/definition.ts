/** What makes calls idempotent, as a value without I/O that every process of a program shares. */
import type { Schema } from "../../core/codec.ts";
import { opens, type Definition } from "../../store/definition.ts";
import type { Store } from "../../store/store.ts";
import { Idempotency } from "./idempotency.ts";
import {
  checkIdempotencyOptions,
  type IdempotencyOptions,
  type IdempotencySettings,
  type OutputOf,
  type ReturnOf,
} from "./settings.ts";

/** Idempotent calls as a value: made by `idempotency()`, opened by `hf.open()`. */
export interface IdempotencyDefinition<O = unknown, R = O> extends Definition<Idempotency<O, R>> {
  readonly settings: IdempotencySettings;
}

/**
 * Defines idempotent calls. No I/O: share the definition between the processes that make them.
 *
 * Shape: `name` 1 to 200 characters and at most 400 bytes, not beginning with `$`; options as in
 * `IdempotencyOptions`. Keys of two names never meet; they lie in the store as
 * `$idempotency/NAME/KEY`.
 * Errors: `TypeError` and `RangeError` for options that are wrong or unknown.
 *
 * ```ts
 * const charges = idempotency("charges", {
 *   output: z.object({ chargeId: z.string() }),
 *   ttlMs: 7 * 86_400_000,
 * });
 * ```
 */
export function idempotency<SO extends Schema | undefined = undefined>(
  name: string,
  options?: IdempotencyOptions<SO>,
): IdempotencyDefinition<OutputOf<SO>, ReturnOf<SO>> {
  const settings = checkIdempotencyOptions(name, options);
  return Object.freeze({
    name: settings.name,
    settings,
    [opens]: (store: Store) => new Idempotency<OutputOf<SO>, ReturnOf<SO>>(store, settings),
  });
}
