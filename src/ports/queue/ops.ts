/**
 * Validated builders of the queue's ops: what an engine gets from here has the shape it may trust.
 */
import { checkAttributes, type Attributes } from "../../core/attributes.ts";
import { checkStorable, dataBytes, storableText, type Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkBoolean,
  checkInteger,
  checkMs,
  checkName,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import {
  DEFAULT_QUEUE_CONFIG,
  JOB_STATES,
  type Dedupe,
  type DedupeMode,
  type JobState,
  type QueueCancel,
  type QueueClaim,
  type QueueConfig,
  type QueueConfigure,
  type QueueEnqueue,
  type QueuePause,
  type QueueProgress,
  type QueuePurge,
  type QueueRedrive,
  type QueueSettle,
  type RateConfig,
} from "../../store/ops.ts";

/** A job to add. */
export interface JobInput {
  /** Text or bytes, at most 1 MiB. */
  readonly payload: Data;
  /**
   * The job's own name, 1 to 200 characters: adding it again with the same payload changes nothing.
   * Default: a new one.
   */
  readonly id?: string | undefined;
  /** Not before this many milliseconds, by the store's clock. Default 0. */
  readonly delayMs?: number | undefined;
  /** 0 to 100; a step counts as `ageMs` of waiting. Default 0. */
  readonly priority?: number | undefined;
  /** Jobs of one key run in the order of their adding, `perKey` at a time. */
  readonly key?: string | undefined;
  readonly dedupe?: DedupeInput | undefined;
  /** W3C `traceparent` of who added it. */
  readonly trace?: string | undefined;
  /** What it can be found by: up to 16 names with a text each, of 1 to 200 characters. */
  readonly attributes?: Attributes | undefined;
}

export interface DedupeInput {
  readonly key: string;
  /** The window, from the first add. At least 1. */
  readonly ttlMs: number;
  /** Default `"first"`. */
  readonly mode?: DedupeMode | undefined;
}

/** A queue's rules; what is left out has its default, not its former value. */
export interface QueueRules extends Partial<Omit<QueueConfig, "rate">> {
  readonly rate?: RateInput | null | undefined;
}

export interface RateInput {
  readonly count: number;
  readonly perMs: number;
  /** Default `count`. */
  readonly burst?: number | undefined;
  /** Default false: the rate is the whole queue's. */
  readonly isPerKey?: boolean | undefined;
}

/** What a claimed job is settled by. A `ClaimedJob` is one. */
export interface Receipt {
  readonly seq: number;
  readonly token: number;
}

/** How a job ended, or why it did not. */
export type Settlement =
  | { readonly outcome: "completed"; readonly result?: Data | null | undefined }
  | {
      readonly outcome: "retry";
      /** Default 0. */
      readonly delayMs?: number | undefined;
      /**
       * True (the default): later jobs of its key wait for it. False: they may pass while it waits.
       */
      readonly holdsKey?: boolean | undefined;
      readonly error?: string | undefined;
    }
  | { readonly outcome: "dead" | "cancelled"; readonly error?: string | undefined }
  | {
      readonly outcome: "released";
      /** True: nothing of the job ran, so that dedupe keys may still replace it. Default false. */
      readonly isUnstarted?: boolean | undefined;
    };

const JOB_KEYS = [
  "payload",
  "id",
  "delayMs",
  "priority",
  "key",
  "dedupe",
  "trace",
  "attributes",
] as const;
const DEDUPE_KEYS = ["key", "ttlMs", "mode"] as const;
const RATE_KEYS = ["count", "perMs", "burst", "isPerKey"] as const;
const RULE_KEYS = Object.keys(DEFAULT_QUEUE_CONFIG) as (keyof QueueConfig)[];
const SETTLE_KEYS = {
  completed: ["outcome", "result"],
  retry: ["outcome", "delayMs", "holdsKey", "error"],
  dead: ["outcome", "error"],
  cancelled: ["outcome", "error"],
  released: ["outcome", "isUnstarted"],
} as const;
const OUTCOMES = ["completed", "retry", "dead", "cancelled", "released"] as const;
const MODES: readonly DedupeMode[] = ["first", "last", "debounce"];
const PURGEABLE = JOB_STATES.filter((state) => state !== "leased");

/** Text or bytes of at most so many; `TOO_LARGE` if more. */
export function checkData(name: string, value: unknown, maxBytes: number): Data {
  if (typeof value !== "string" && !(value instanceof Uint8Array)) {
    throw new TypeError(expected(name, "a string or a Uint8Array", value));
  }
  checkStorable(name, value);
  // A character is at most 3 bytes: short text need not be measured.
  if (typeof value === "string" && value.length * 3 <= maxBytes) return value;
  const bytes = dataBytes(value);
  if (bytes <= maxBytes) return value;
  const message = `Expected \`${name}\` to be at most ${maxBytes} bytes, got ${bytes}: keep the bulk elsewhere and pass a reference`;
  throw new HoldfastError("TOO_LARGE", message, {
    outcome: "not-applied",
    details: { limit: maxBytes, got: bytes },
  });
}

/** Builds the op that adds a job. `freshId` draws an id for one that has none. */
export function enqueue(queue: string, job: JobInput, freshId: () => string): QueueEnqueue {
  if (typeof job !== "object" || job === null)
    throw new TypeError(expected("job", "an object", job));
  checkOptions("job", job, JOB_KEYS);
  const { id, key, priority, delayMs, trace } = job;
  return {
    op: "queue.enqueue",
    queue,
    id: id === undefined ? freshId() : checkText("id", id, LIMITS.idChars),
    isFresh: id === undefined,
    payload: checkData("payload", job.payload, LIMITS.payloadBytes),
    delayMs: delayMs === undefined ? 0 : checkMs("delayMs", delayMs),
    priority:
      priority === undefined ? 0 : checkInteger("priority", priority, 0, LIMITS.priorityMax),
    key: key === undefined ? null : checkText("key", key, LIMITS.idChars),
    dedupe: job.dedupe === undefined ? null : checkDedupe(job.dedupe),
    trace: trace === undefined ? null : checkText("trace", trace, LIMITS.idChars),
    ...(job.attributes === undefined
      ? {}
      : { attributes: checkAttributes("attributes", job.attributes) }),
  };
}

function checkDedupe(dedupe: DedupeInput): Dedupe {
  if (typeof dedupe !== "object" || dedupe === null) {
    throw new TypeError(expected("dedupe", "an object", dedupe));
  }
  checkOptions("dedupe", dedupe, DEDUPE_KEYS);
  return {
    key: checkText("dedupe.key", dedupe.key, LIMITS.idChars),
    ttlMs: checkMs("dedupe.ttlMs", dedupe.ttlMs, 1),
    mode: dedupe.mode === undefined ? "first" : checkOneOf("dedupe.mode", dedupe.mode, MODES),
  };
}

export function configure(queue: string, rules: QueueRules): QueueConfigure {
  checkOptions("config", rules, RULE_KEYS);
  const d = DEFAULT_QUEUE_CONFIG;
  const orNull = (name: "maxLeased" | "maxWaiting"): number | null => {
    const value = rules[name] ?? null;
    return value === null ? null : checkInteger(name, value, 1);
  };
  const config: QueueConfig = {
    perKey: checkInteger("perKey", rules.perKey ?? d.perKey, 1),
    maxLeased: orNull("maxLeased"),
    rate: rules.rate === undefined || rules.rate === null ? null : checkRate(rules.rate),
    ageMs: checkMs("ageMs", rules.ageMs ?? d.ageMs),
    maxDeliveries: checkInteger("maxDeliveries", rules.maxDeliveries ?? d.maxDeliveries, 1),
    keepMs: checkMs("keepMs", rules.keepMs ?? d.keepMs),
    keepCount: checkInteger("keepCount", rules.keepCount ?? d.keepCount),
    keepDeadMs: checkMs("keepDeadMs", rules.keepDeadMs ?? d.keepDeadMs),
    maxWaiting: orNull("maxWaiting"),
  };
  return { op: "queue.configure", queue, config };
}

function checkRate(rate: RateInput): RateConfig {
  checkOptions("rate", rate, RATE_KEYS);
  const count = checkInteger("rate.count", rate.count, 1);
  return {
    count,
    perMs: checkMs("rate.perMs", rate.perMs, 1),
    burst: rate.burst === undefined ? count : checkInteger("rate.burst", rate.burst, 1),
    isPerKey: rate.isPerKey === undefined ? false : checkBoolean("rate.isPerKey", rate.isPerKey),
  };
}

export function claim(queue: string, session: string, max: number): QueueClaim {
  return { op: "queue.claim", queue, session, max: checkInteger("max", max, 1, LIMITS.claimJobs) };
}

function checkReceipt(job: Receipt): Receipt {
  if (typeof job !== "object" || job === null)
    throw new TypeError(expected("job", "a claimed job", job));
  return { seq: checkInteger("job.seq", job.seq), token: checkInteger("job.token", job.token) };
}

export function settle(
  queue: string,
  session: string,
  job: Receipt,
  settlement: Settlement,
): QueueSettle {
  const { seq, token } = checkReceipt(job);
  if (typeof settlement !== "object" || settlement === null) {
    throw new TypeError(expected("settlement", "an object", settlement));
  }
  const outcome = checkOneOf("outcome", settlement.outcome, OUTCOMES);
  checkOptions("settlement", settlement, SETTLE_KEYS[outcome]);
  const base = {
    op: "queue.settle",
    queue,
    session,
    seq,
    token,
    result: null,
    error: null,
  } as const;
  const idle = { ...base, delayMs: 0, holdsKey: true } as const;
  switch (settlement.outcome) {
    case "completed": {
      const result = settlement.result ?? null;
      if (result !== null) checkData("result", result, LIMITS.resultBytes);
      return { ...idle, outcome: "completed", result };
    }
    case "retry": {
      const { delayMs = 0, holdsKey = true } = settlement;
      checkMs("delayMs", delayMs);
      checkBoolean("holdsKey", holdsKey);
      return { ...base, outcome: "retry", error: checkError(settlement.error), delayMs, holdsKey };
    }
    case "dead":
    case "cancelled":
      return { ...idle, outcome: settlement.outcome, error: checkError(settlement.error) };
    case "released": {
      const { isUnstarted = false } = settlement;
      checkBoolean("isUnstarted", isUnstarted);
      return { ...idle, outcome: "released", isUnstarted };
    }
  }
}

/**
 * A failure's text: what is too long or can't be kept is cut or replaced, since a failure must not
 * fail for its text.
 */
function checkError(error: string | undefined): string | null {
  if (error === undefined) return null;
  if (typeof error !== "string") throw new TypeError(expected("error", "a string", error));
  return storableText(error, LIMITS.errorChars);
}

export function progress(queue: string, session: string, job: Receipt, value: Data): QueueProgress {
  const { seq, token } = checkReceipt(job);
  checkData("value", value, LIMITS.progressBytes);
  return { op: "queue.progress", queue, session, seq, token, value };
}

export function cancel(queue: string, id: string, reason?: string): QueueCancel {
  checkText("id", id, LIMITS.idChars);
  return { op: "queue.cancel", queue, id, reason: checkError(reason) };
}

export function redrive(
  queue: string,
  which: { readonly ids: readonly string[] } | { readonly max: number },
): QueueRedrive {
  if ("ids" in which) {
    const { ids } = which;
    if (!Array.isArray(ids)) throw new TypeError(expected("ids", "an array", ids));
    checkInteger("ids.length", ids.length, 1, LIMITS.pageRows);
    for (const id of ids) checkText("id", id, LIMITS.idChars);
    return { op: "queue.redrive", queue, ids, max: ids.length };
  }
  const max = checkInteger("max", which.max, 1, LIMITS.pageRows);
  return { op: "queue.redrive", queue, ids: null, max };
}

export function pause(queue: string, isPaused: boolean): QueuePause {
  return { op: "queue.pause", queue, isPaused };
}

export function purge(queue: string, state: Exclude<JobState, "leased">, max: number): QueuePurge {
  checkOneOf("state", state, PURGEABLE);
  return { op: "queue.purge", queue, state, max: checkInteger("max", max, 1, LIMITS.reapRows) };
}

/** A queue's name; one that begins with `$` is reserved. */
export function checkQueue(queue: string, isReserved: boolean): string {
  return isReserved ? checkText("queue", queue, LIMITS.nameChars) : checkName("queue", queue);
}
