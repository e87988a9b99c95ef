/**
 * The options of an idempotency definition: validated once, when the definition is made, with every
 * default filled in.
 */
import {
  jsonCodec,
  type Codec,
  type Schema,
  type SchemaInput,
  type SchemaOutput,
} from "../../core/codec.ts";
import {
  checkFunction,
  checkMs,
  checkName,
  checkOneOf,
  checkOptions,
  expected,
} from "../../core/options.ts";

/**
 * What a call does while another call of its key is under way: `"wait"` for that call's answer, or
 * `"refuse"` at once.
 */
export type InFlight = "wait" | "refuse";

export interface IdempotencyOptions<SO extends Schema | undefined> {
  /**
   * Checks what the handler returned before it is stored, and again when the answer is read.
   * Without it: anything.
   */
  readonly output?: SO;
  /**
   * How long an answer is kept, by the store's clock, from when it was stored. Integer
   * milliseconds, at least 1; default 24 hours.
   */
  readonly ttlMs?: number | undefined;
  /** What a call does while another one of its key is under way. Default `"wait"`. */
  readonly inFlight?: InFlight | undefined;
  /**
   * The part of an input that makes two calls the same: what this gives is hashed in the input's
   * place. Default: all of the input.
   */
  readonly fingerprint?: ((input: unknown) => unknown) | undefined;
  /**
   * One attempt of a handler; then its signal aborts. Integer milliseconds, at least 1; default 5
   * minutes.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * How long a handler may take to stop once `timeoutMs` or a drain aborted its signal, before it
   * is given up and its key is free. Default 2,000.
   */
  readonly graceMs?: number | undefined;
  /** Answers ↔ what the store keeps. Default JSON. */
  readonly codec?: Codec | undefined;
  /** A partition of the namespace; default: the namespace's own. Groups can't cross partitions. */
  readonly partition?: string | undefined;
}

/** The options, checked, with every default filled in. */
export interface IdempotencySettings {
  readonly name: string;
  readonly partition: string | undefined;
  readonly output: Schema | undefined;
  readonly ttlMs: number;
  readonly inFlight: InFlight;
  readonly fingerprint: ((input: unknown) => unknown) | undefined;
  readonly timeoutMs: number;
  readonly graceMs: number;
  readonly codec: Codec;
  /** What every key of this definition begins with in the store. */
  readonly prefix: string;
}

export const IDEMPOTENCY_DEFAULTS = {
  ttlMs: 86_400_000,
  inFlight: "wait",
  timeoutMs: 300_000,
  graceMs: 2_000,
} as const;

export const IN_FLIGHT = ["wait", "refuse"] as const;

/**
 * Of the 1,024 bytes of a key in the store: a key of ours has at most 600 (200 characters), and the
 * name gets what is left.
 */
const NAME_BYTES = 400;

const KNOWN = [
  "output",
  "ttlMs",
  "inFlight",
  "fingerprint",
  "timeoutMs",
  "graceMs",
  "codec",
  "partition",
] as const;

/** What a definition without an output schema gives: whatever the handler returned. */
export type OutputOf<SO extends Schema | undefined> = SO extends Schema
  ? SchemaOutput<SO>
  : unknown;
export type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

/** Validates the options; throws `TypeError` or `RangeError`. */
export function checkIdempotencyOptions(
  name: string,
  options: IdempotencyOptions<Schema | undefined> = {},
): IdempotencySettings {
  checkOptions("options", options, KNOWN);
  const { partition, output, fingerprint, codec = jsonCodec } = options;
  if (partition !== undefined) checkName("partition", partition);
  if (fingerprint !== undefined) checkFunction("fingerprint", fingerprint);
  const d = IDEMPOTENCY_DEFAULTS;
  return Object.freeze({
    name,
    partition,
    output: output === undefined ? undefined : checkSchema("output", output),
    ttlMs: checkMs("ttlMs", options.ttlMs ?? d.ttlMs, 1),
    inFlight: checkOneOf("inFlight", options.inFlight ?? d.inFlight, IN_FLIGHT),
    fingerprint,
    timeoutMs: checkMs("timeoutMs", options.timeoutMs ?? d.timeoutMs, 1),
    graceMs: checkMs("graceMs", options.graceMs ?? d.graceMs),
    codec: checkCodec(codec),
    prefix: prefixOf(name),
  });
}

/** A name holds no `/` in the store, so that no two definitions have a key in common. */
function prefixOf(name: string): string {
  checkName("name", name);
  const written = name.replaceAll("%", "%25").replaceAll("/", "%2F");
  const bytes = Buffer.byteLength(written);
  if (bytes > NAME_BYTES) {
    const what = `at most ${NAME_BYTES} UTF-8 bytes long (with / and % as %2F and %25)`;
    throw new RangeError(expected("name", what, name));
  }
  return `$idempotency/${written}/`;
}

function checkSchema(name: string, value: unknown): Schema {
  const isHolder = (typeof value === "object" && value !== null) || typeof value === "function";
  const standard = isHolder ? (value as Partial<Schema>)["~standard"] : undefined;
  if (standard?.version === 1 && typeof standard.validate === "function") return value as Schema;
  throw new TypeError(
    expected(name, "a Standard Schema (zod, valibot, arktype ..., or `unchecked<T>()`)", value),
  );
}

function checkCodec(codec: Codec): Codec {
  const isCodec =
    typeof codec === "object" &&
    codec !== null &&
    typeof codec.name === "string" &&
    typeof codec.encode === "function" &&
    typeof codec.decode === "function";
  if (isCodec) return codec;
  throw new TypeError(expected("codec", "an object with `name`, `encode`, `decode`", codec));
}
