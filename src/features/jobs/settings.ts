/**
 * The options of a queue: validated once, when the definition is made, with every default filled
 * in; and the rules that the store keeps for the queue, derived from them.
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
  checkInteger,
  checkMs,
  checkName,
  checkOneOf,
  checkOptions,
  expected,
} from "../../core/options.ts";
import { DEFAULT_QUEUE_CONFIG, type QueueConfig, type RateConfig } from "../../store/ops.ts";
import { checkRetry, type RetryOptions, type RetryPolicy } from "./retry.ts";

export interface RateOptions {
  /** Starts allowed in each `perMs`. At least 1. */
  readonly count: number;
  /** Integer milliseconds, at least 1. */
  readonly perMs: number;
  /**
   * Starts that may come at once after a pause. At least 1; default: what falls into 50 ms at the
   * full rate, at least 1. In any span of t ms at most `burst + count × t / perMs` jobs start.
   */
  readonly burst?: number | undefined;
  /**
   * `"queue"`: the rate is the whole queue's; `"key"`: each key has the rate to itself. Default
   * `"queue"`.
   */
  readonly per?: "queue" | "key" | undefined;
}

export interface QueueOptions<SI extends Schema, SO extends Schema | undefined> {
  /**
   * Checked when a job is added (before anything is written) and again before its handler sees it.
   */
  readonly input: SI;
  /**
   * Checks what the handler returned before the job is completed, and again when the result is
   * read. Without it: anything.
   */
  readonly output?: SO;
  /**
   * The job's key: jobs of one key run in the order of their adding. 1 to 200 characters;
   * undefined: no order.
   */
  readonly key?: ((input: SchemaOutput<SI>) => string | undefined) | undefined;
  readonly concurrency?:
    | {
        /** Jobs of one key that may run at once; default 1, which is strict order. */
        readonly perKey?: number | undefined;
        /** Jobs of the queue that may run at once in all processes together; default: no limit. */
        readonly max?: number | undefined;
      }
    | undefined;
  readonly rate?: RateOptions | undefined;
  readonly retry?: RetryOptions | undefined;
  /** One attempt. Integer milliseconds, at least 1; default 1 hour. */
  readonly timeoutMs?: number | undefined;
  /**
   * How long a handler may take to stop once its signal was aborted, before it is given up. Default
   * 2,000.
   */
  readonly graceMs?: number | undefined;
  readonly priority?:
    | {
        /**
         * One step of priority counts as this much waiting. Integer milliseconds; default 60,000.
         */
        readonly ageMs?: number | undefined;
      }
    | undefined;
  /** How long finished jobs stay readable. */
  readonly keep?:
    | {
        /** Completed and cancelled ones, with their results. Default 1 hour; 0: not at all. */
        readonly ms?: number | undefined;
        /** At most about this many of them, the oldest go first. Default 100,000. */
        readonly count?: number | undefined;
        /** Dead letters. Default 14 days. */
        readonly deadMs?: number | undefined;
      }
    | undefined;
  /** Jobs that may wait; an add above it is refused with `OVERLOADED`. Default: no limit. */
  readonly maxWaiting?: number | undefined;
  /** Values ↔ what the store keeps. Default JSON. */
  readonly codec?: Codec | undefined;
  /** A partition of the namespace; default: the namespace's own. Groups can't cross partitions. */
  readonly partition?: string | undefined;
}

/** The options, checked, with every default filled in. */
export interface QueueSettings {
  readonly name: string;
  readonly partition: string | undefined;
  readonly input: Schema;
  readonly output: Schema | undefined;
  readonly key: ((input: unknown) => string | undefined) | undefined;
  readonly codec: Codec;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  readonly graceMs: number;
  /** Its rules as the store keeps them. */
  readonly config: QueueConfig;
}

export const QUEUE_DEFAULTS = {
  timeoutMs: 3_600_000,
  graceMs: 2_000,
  /** The default burst of a rate is what falls into this span. */
  burstMs: 50,
} as const;

const KNOWN = [
  "input",
  "output",
  "key",
  "concurrency",
  "rate",
  "retry",
  "timeoutMs",
  "graceMs",
  "priority",
  "keep",
  "maxWaiting",
  "codec",
  "partition",
] as const;

/** What a definition without an output schema gives: whatever the handler returned. */
export type OutputOf<SO extends Schema | undefined> = SO extends Schema
  ? SchemaOutput<SO>
  : unknown;
export type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

/** Validates the options; throws `TypeError` or `RangeError`. */
export function checkQueueOptions(
  name: string,
  options: QueueOptions<Schema, Schema | undefined>,
): QueueSettings {
  checkName("name", name);
  if (options === undefined) throw new TypeError(expected("options", "an object", options));
  checkOptions("options", options, KNOWN);
  const { partition, output, key, codec = jsonCodec } = options;
  if (partition !== undefined) checkName("partition", partition);
  if (key !== undefined) checkFunction("key", key);
  checkCodec(codec);
  const retry = checkRetry(options.retry);
  const d = QUEUE_DEFAULTS;
  return Object.freeze({
    name,
    partition,
    input: checkSchema("input", options.input),
    output: output === undefined ? undefined : checkSchema("output", output),
    key,
    codec,
    retry,
    timeoutMs: checkMs("timeoutMs", options.timeoutMs ?? d.timeoutMs, 1),
    graceMs: checkMs("graceMs", options.graceMs ?? d.graceMs),
    config: configOf(options, retry),
  });
}

function configOf(
  options: QueueOptions<Schema, Schema | undefined>,
  retry: RetryPolicy,
): QueueConfig {
  const { concurrency, rate, priority, keep, maxWaiting } = options;
  checkOptions("concurrency", concurrency, ["perKey", "max"]);
  checkOptions("priority", priority, ["ageMs"]);
  checkOptions("keep", keep, ["ms", "count", "deadMs"]);
  const d = DEFAULT_QUEUE_CONFIG;
  const orNull = (name: string, value: number | undefined): number | null =>
    value === undefined ? null : checkInteger(name, value, 1);
  return Object.freeze({
    perKey: checkInteger("concurrency.perKey", concurrency?.perKey ?? d.perKey, 1),
    maxLeased: orNull("concurrency.max", concurrency?.max),
    rate: rate === undefined ? null : checkRate(rate, options.key !== undefined),
    ageMs: checkMs("priority.ageMs", priority?.ageMs ?? d.ageMs),
    maxDeliveries: retry.deliveries,
    keepMs: checkMs("keep.ms", keep?.ms ?? d.keepMs),
    keepCount: checkInteger("keep.count", keep?.count ?? d.keepCount),
    keepDeadMs: checkMs("keep.deadMs", keep?.deadMs ?? d.keepDeadMs),
    maxWaiting: orNull("maxWaiting", maxWaiting),
  });
}

function checkRate(rate: RateOptions, hasKey: boolean): RateConfig {
  checkOptions("rate", rate, ["count", "perMs", "burst", "per"]);
  const count = checkInteger("rate.count", rate.count, 1);
  const perMs = checkMs("rate.perMs", rate.perMs, 1);
  const usual = Math.min(count, Math.max(1, Math.floor((count * QUEUE_DEFAULTS.burstMs) / perMs)));
  const isPerKey = checkOneOf("rate.per", rate.per ?? "queue", ["queue", "key"]) === "key";
  if (isPerKey && !hasKey) {
    throw new TypeError(
      'Expected `key` with `rate.per` "key", got none: say what the key of a job is',
    );
  }
  const burst = checkInteger("rate.burst", rate.burst ?? usual, 1);
  return Object.freeze({ count, perMs, burst, isPerKey });
}

function checkSchema(name: string, value: unknown): Schema {
  const isHolder = (typeof value === "object" && value !== null) || typeof value === "function";
  const standard = isHolder ? (value as Partial<Schema>)["~standard"] : undefined;
  if (standard?.version === 1 && typeof standard.validate === "function") return value as Schema;
  throw new TypeError(
    expected(name, "a Standard Schema (zod, valibot, arktype ..., or `unchecked<T>()`)", value),
  );
}

function checkCodec(codec: Codec): void {
  const isCodec =
    typeof codec === "object" &&
    codec !== null &&
    typeof codec.name === "string" &&
    typeof codec.encode === "function" &&
    typeof codec.decode === "function";
  if (!isCodec)
    throw new TypeError(expected("codec", "an object with `name`, `encode`, `decode`", codec));
}
