/**
 * Adding: options → ops, and what a long add is cut into. Everything is validated before anything
 * is sent.
 */
import { checkAttributes, type Attributes } from "../../core/attributes.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkFunction,
  checkInteger,
  checkMs,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import type { Wait } from "../../core/signal.ts";
import type { Dedupe, DedupeMode, QueueConfig, QueueEnqueue } from "../../store/ops.ts";
import type { Prepared } from "./payload.ts";

export interface DedupeOptions {
  /** 1 to 200 characters. */
  readonly key: string;
  /** The window, from the add that opened it. Integer milliseconds, at least 1. */
  readonly ttlMs: number;
  /**
   * What a repeat of the key within the window does. `"first"`: nothing, the first job stands.
   * `"last"`: its input replaces that of the waiting job, in its place. `"debounce"`: as `"last"`,
   * and the job's `delayMs` starts again, but the job is due no later than `ttlMs` after the add
   * that opened the window. A job that has started is left alone, and a new one is added, which
   * opens a new window. Default `"first"`.
   */
  readonly mode?: DedupeMode | undefined;
}

/** What the options of one add and of many have in common. */
export interface AddTiming {
  /** Not before this many milliseconds, by the store's clock. Default 0. */
  readonly delayMs?: number | undefined;
  /** 0 to 100; one step counts as `ageMs` of waiting. Default 0. */
  readonly priority?: number | undefined;
}

export interface AddOptions extends AddTiming {
  /**
   * The job's own name, 1 to 200 characters: adding it again with the same input changes nothing as
   * long as the job is kept; with another input it is refused with `ALREADY_EXISTS`. Default: a new
   * one.
   */
  readonly id?: string | undefined;
  readonly dedupe?: DedupeOptions | undefined;
  /** What `list` finds it by: up to 16 names with a text each, of 1 to 200 characters. */
  readonly attributes?: Attributes | undefined;
}

export interface AddCallOptions extends AddOptions, Wait {
  /**
   * The caller's own transaction, on engines that can wait for it; SQLite's is synchronous:
   * `addIn`.
   */
  readonly tx?: unknown;
}

export interface AddManyOptions<I> extends AddTiming, Wait {
  /** Names each job. */
  readonly id?: ((input: I, index: number) => string) | undefined;
  readonly dedupe?: ((input: I, index: number) => DedupeOptions | undefined) | undefined;
}

/**
 * One group of a long add holds at most this many jobs and bytes: the size up to which `addMany` is
 * all or nothing.
 */
export const ADD_GROUP: { readonly jobs: 1_000; readonly bytes: 1_048_576 } = Object.freeze({
  jobs: 1_000,
  bytes: 1_048_576,
} as const);

/**
 * An add whose outcome is unknown is sent again under its id, which must find the first copy if
 * there is one. By then that copy may be done, so it is sent again only where what is done is kept
 * far longer than all of this takes. Measured, SQLite finishes about 50,000 jobs a second: 100,000
 * outlast four times the window, and the rest is for the last repeat to arrive.
 */
export const REPEAT: {
  readonly times: 4;
  readonly withinMs: 500;
  readonly keepMs: 60_000;
  readonly keepCount: 100_000;
} = Object.freeze({ times: 4, withinMs: 500, keepMs: 60_000, keepCount: 100_000 } as const);

/** True if a job of the queue is surely still there when its add is sent again. */
export function mayRepeatAdd({ keepMs, keepDeadMs, keepCount }: QueueConfig): boolean {
  return Math.min(keepMs, keepDeadMs) >= REPEAT.keepMs && keepCount >= REPEAT.keepCount;
}

const ADD_KNOWN = ["id", "delayMs", "priority", "dedupe", "attributes"] as const;
const CALL_KNOWN = [...ADD_KNOWN, "signal", "timeoutMs", "tx"] as const;
const MANY_KNOWN = ["id", "delayMs", "priority", "dedupe", "signal", "timeoutMs"] as const;
const MODES: readonly DedupeMode[] = ["first", "last", "debounce"];

/** What builds enqueue ops for one queue. */
export interface EnqueueContext {
  readonly queue: string;
  readonly trace: string | null;
  /**
   * True: the op may be sent again, and its first sending may even arrive after its second, so that
   * the engine must always look for the id. (Measured on SQLite: no difference.) False: an id drawn
   * here need not be looked for.
   */
  readonly mayRepeat: boolean;
  /** Draws an id for a job that has none. */
  freshId(): string;
}

export function checkAddOptions(options: AddOptions | undefined): void {
  checkOptions("options", options, ADD_KNOWN);
}

/** Validates; a `tx` is refused where the engine can't join it. */
export function checkAddCall(options: AddCallOptions | undefined, engine: string): void {
  checkOptions("options", options, CALL_KNOWN);
  if (options?.tx === undefined) return;
  const message = `The engine ${engine} can't join a transaction that is awaited: leave \`tx\` out, or use \`addIn(tx, ...)\` inside a synchronous SQLite transaction`;
  throw new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied", details: { engine } });
}

/** Builds the op; throws `TypeError` or `RangeError` for wrong options. */
export function enqueueOp(
  context: EnqueueContext,
  prepared: Prepared,
  options: AddOptions | undefined,
): QueueEnqueue {
  const { id, delayMs, priority, dedupe, attributes } = options ?? {};
  const delay = delayMs === undefined ? 0 : checkMs("delayMs", delayMs);
  return {
    op: "queue.enqueue",
    queue: context.queue,
    id: id === undefined ? context.freshId() : checkText("id", id, LIMITS.idChars),
    isFresh: id === undefined && !context.mayRepeat,
    payload: prepared.payload,
    delayMs: delay,
    priority:
      priority === undefined ? 0 : checkInteger("priority", priority, 0, LIMITS.priorityMax),
    key: prepared.key,
    dedupe: dedupe === undefined ? null : checkDedupe(dedupe, delay),
    trace: context.trace,
    ...(attributes === undefined ? {} : { attributes: checkAttributes("attributes", attributes) }),
  };
}

function checkDedupe(dedupe: DedupeOptions, delayMs: number): Dedupe {
  checkOptions("dedupe", dedupe, ["key", "ttlMs", "mode"]);
  const key = checkText("dedupe.key", dedupe.key, LIMITS.idChars);
  const ttlMs = checkMs("dedupe.ttlMs", dedupe.ttlMs, 1);
  const mode = checkOneOf("dedupe.mode", dedupe.mode ?? "first", MODES);
  if (mode === "debounce" && (delayMs === 0 || ttlMs < delayMs)) {
    const message = `Expected a debounced add to have \`delayMs\` (the quiet time) from 1 to \`dedupe.ttlMs\` (the longest wait), got ${delayMs} and ${ttlMs}`;
    throw new RangeError(message);
  }
  return { key, ttlMs, mode };
}

/** Validates the arguments of a long add, apart from the inputs themselves. */
export function checkAddMany<I>(
  inputs: readonly I[],
  options: AddManyOptions<I> | undefined,
): void {
  if (!Array.isArray(inputs)) throw new TypeError(expected("inputs", "an array", inputs));
  if (inputs.length > LIMITS.addMany) {
    const message = `Expected at most ${LIMITS.addMany} inputs, got ${inputs.length}: add them in several calls`;
    const details = { limit: LIMITS.addMany, got: inputs.length };
    throw new HoldfastError("TOO_LARGE", message, { outcome: "not-applied", details });
  }
  checkOptions("options", options, MANY_KNOWN);
  if (options?.id !== undefined) checkFunction("id", options.id);
  if (options?.dedupe !== undefined) checkFunction("dedupe", options.dedupe);
}

/** The options of one job of a long add. */
export function optionsOf<I>(
  options: AddManyOptions<I> | undefined,
  input: I,
  index: number,
): AddOptions | undefined {
  if (options === undefined) return undefined;
  const { delayMs, priority } = options;
  const id = options.id?.(input, index);
  if (options.id !== undefined && id === undefined) {
    throw new TypeError(expected(`id(inputs[${index}])`, "a string", id));
  }
  return { id, delayMs, priority, dedupe: options.dedupe?.(input, index) };
}

/** The next group of a long add: as many ops from `from` on as fit. */
export function nextChunk(
  ops: readonly QueueEnqueue[],
  from: number,
  maxOps: number,
): QueueEnqueue[] {
  const maxJobs = Math.max(1, Math.min(ADD_GROUP.jobs, maxOps));
  const chunk: QueueEnqueue[] = [];
  let bytes = 0;
  for (let i = from; i < ops.length && chunk.length < maxJobs; i++) {
    const op = ops[i] as QueueEnqueue;
    bytes += op.payload.length;
    if (bytes > ADD_GROUP.bytes && chunk.length > 0) break;
    chunk.push(op);
  }
  return chunk;
}

/**
 * The error of a long add that stopped half-way, with how many jobs went before. The reason of an
 * abort is the caller's own and stays as it is.
 */
export function withAdded(error: unknown, added: number): unknown {
  if (!isHoldfastError(error)) return error;
  const { code, retryable, outcome, retryAfterMs } = error;
  const details = { ...error.details, added };
  const message = `${error.message} (the first ${added} jobs of the call were added)`;
  return new HoldfastError(code, message, {
    retryable,
    outcome,
    retryAfterMs,
    details,
    cause: error,
  });
}

/** The same error, naming the input that it is about. */
export function atIndex(error: unknown, index: number): unknown {
  if (!isHoldfastError(error)) return error;
  const { code, retryable, outcome } = error;
  const details = { ...error.details, index };
  const message = `inputs[${index}]: ${error.message}`;
  return new HoldfastError(code, message, { retryable, outcome, details, cause: error });
}
