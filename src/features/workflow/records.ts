/**
 * What a run's journal says. A record's key is a kind and a name. Outcomes are what the code waits
 * for, and are delivered to it in the order of their records; marks are notes for whoever takes the
 * run over.
 *
 *   outcomes  step   a step's value or failure        woke  a sleep is over
 *             got    an event came, or its time-out   patch  a patch applies
 *   marks     begin  a step with an undo begins       retry  a step failed and waits
 *             sleep  when a sleep is over             wait   when a wait times out
 *             stop   the run failed or was cancelled: what follows is compensation
 *             undone, unfit  a compensation held, or failed and waits
 *             anew   how often the run continued as new; the first record where it did
 *             parked it needs attention               redrive  somebody looked, and had it go on
 */
import { dataBytes, jsonCodec, storableText } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { describeFailure } from "../../core/retry.ts";
import type { RecordInput, RunRecord } from "../../store/ops.ts";

export type Outcome = "step" | "got" | "woke" | "patch";
export type Mark =
  | "begin"
  | "retry"
  | "sleep"
  | "wait"
  | "stop"
  | "undone"
  | "unfit"
  | "parked"
  | "anew"
  | "redrive";
export type Kind = Outcome | Mark;

const OUTCOMES: ReadonlySet<string> = new Set<Outcome>(["step", "got", "woke", "patch"]);
const MARKS: ReadonlySet<string> = new Set<Mark>([
  ...(["begin", "retry", "sleep", "wait", "stop"] as const),
  ...(["undone", "unfit", "parked", "anew", "redrive"] as const),
]);

export function keyOf(kind: Kind, name: string): string {
  return `${kind}:${name}`;
}
export function kindOf(key: string): Kind {
  return key.slice(0, key.indexOf(":")) as Kind;
}
export function nameOf(key: string): string {
  return key.slice(key.indexOf(":") + 1);
}
export function isOutcome(key: string): boolean {
  return OUTCOMES.has(kindOf(key));
}
/** False for a record that only a newer version can have written. */
export function isKnown(key: string): boolean {
  return isOutcome(key) || MARKS.has(kindOf(key));
}

/** A failure as a record keeps it. */
export interface FailureData {
  readonly name: string;
  readonly message: string;
  readonly code?: string | undefined;
}

export function failureData(error: unknown): FailureData {
  if (!(error instanceof Error)) return { name: "Error", message: describeFailure(error) };
  const message = storableText(error.message, LIMITS.errorChars);
  const name = storableText(error.name, LIMITS.nameChars);
  return isHoldfastError(error) ? { name, message, code: error.code } : { name, message };
}

/**
 * What a step failed of, as the code sees it, at first and at every replay: the same name, message
 * and code, so that code which looks at them decides the same.
 */
export class StepError extends Error {
  readonly step: string;
  readonly code: string | undefined;
  constructor(step: string, { name, message, code }: FailureData) {
    super(message);
    this.name = name;
    this.step = step;
    this.code = code;
  }
}

/** A step's record: its value or its failure. */
export type StepData = { readonly v?: unknown } | { readonly e: FailureData };
/** What an attempt failed of, and the number of the next. */
export type RetryData = FailureData & { readonly next: number };
/** A wait's record: the number of the event, or that its time was up. */
export type GotData = { readonly n: number } | { readonly t: true };
export interface StopData {
  readonly ended: "failed" | "cancelled";
  readonly error: FailureData;
}

export function encode(key: string, value: unknown, delayMs: number | null = null): RecordInput {
  const data = jsonCodec.encode(value);
  const bytes = dataBytes(data);
  if (bytes <= LIMITS.recordBytes) return { key, data, delayMs };
  const message = `Expected the result of ${key.replace(":", ' "')}" to be at most ${LIMITS.recordBytes} bytes, got ${bytes}: keep the bulk elsewhere and return a reference`;
  const details = { limit: LIMITS.recordBytes, got: bytes };
  throw new HoldfastError("TOO_LARGE", message, { outcome: "not-applied", details });
}

export function decode<T>(record: Pick<RunRecord, "data" | "key">): T {
  try {
    return jsonCodec.decode(record.data) as T;
  } catch (cause) {
    const message = `The record "${record.key}" of a run can't be read: ${String(cause)}`;
    throw new HoldfastError("CORRUPT", message, { cause });
  }
}
