/**
 * What crosses between the caller's thread and the writer's, in a form that is cheap for both.
 * Groups and results are JSON text where all their data is text: measured for 256 groups of one
 * enqueue (200-byte payload), both ways and both ends, JSON costs 3.8 us a group and structured
 * clone 6 us; one string crosses in one copy. Bytes have no JSON form, so that what holds some goes
 * as a structured clone, each array copied to a buffer of its own size first: a `Buffer` is a
 * window on a shared 8 KB pool, and a clone would take the whole pool along.
 */
import type { ErrorData } from "../../core/errors.ts";
import { errorFromData, errorToData, isHoldfastError } from "../../core/errors.ts";
import { InvariantError } from "../../core/invariant.ts";
import type { ExportRecord, Seal } from "../../store/driver.ts";
import type { Group, GroupResult, Op } from "../../store/ops.ts";
import type { Baseline, Foreign } from "./foreign.ts";
import type { Committed } from "./writer.ts";

/** JSON text, or the value itself. */
export type Packed<T> = string | T;

export type Request =
  | readonly [id: number, call: "commit", groups: Packed<readonly Group[]>]
  | readonly [id: number, call: "import", partition: string, records: readonly ExportRecord[]]
  | readonly [id: number, call: "seal", partition: string, seal: Seal]
  | readonly [id: number, call: "durability" | "stats" | "close"]
  | readonly [id: 0, call: "watch", baseline: Baseline | null];

/** Id 0: nobody asked. The first message of a thread answers id 0 with `ready`, or fails. */
export type Reply =
  | readonly [id: number, kind: "committed", committed: Packed<Committed>]
  | readonly [id: number, kind: "value", value: unknown]
  | readonly [id: number, kind: "error", error: ThrownData]
  | readonly [id: 0, kind: "foreign", foreign: Foreign]
  | readonly [id: 0, kind: "ready", refusal: ErrorData | null];

export function unpack<T>(packed: Packed<T>): T {
  return typeof packed === "string" ? (JSON.parse(packed) as T) : packed;
}

function isBytes(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function opHasBytes(op: Op): boolean {
  switch (op.op) {
    case "queue.enqueue":
    case "runs.restart":
      return isBytes(op.payload);
    case "queue.settle":
      return isBytes(op.result);
    case "kv.put":
    case "queue.progress":
      return isBytes(op.value);
    case "bus.publish":
      return isBytes(op.message);
    case "runs.record":
      return op.records.some(({ data }) => isBytes(data));
    case "runs.send":
      return isBytes(op.data);
    default:
      return false;
  }
}

export function packGroups(groups: readonly Group[]): Packed<readonly Group[]> {
  for (const { ops } of groups) if (ops.some(opHasBytes)) return detach(groups);
  return JSON.stringify(groups);
}

/** Of all results only claimed jobs and read keys hold data. */
function resultHasBytes(result: unknown): boolean {
  if (typeof result !== "object" || result === null) return false;
  const { jobs, value } = result as { jobs?: readonly { payload: unknown }[]; value?: unknown };
  if (jobs !== undefined) return jobs.some(({ payload }) => isBytes(payload));
  return isBytes(value);
}

function hasBytes(result: GroupResult): boolean {
  return result.ok && result.results.some(resultHasBytes);
}

export function packCommitted(committed: Committed): Packed<Committed> {
  const { results, messages } = committed;
  const isText = !results.some(hasBytes) && !messages.some(({ message }) => isBytes(message));
  return isText ? JSON.stringify(committed) : detach(committed);
}

/** A copy of plain data in which every byte array has a buffer of its own. */
export function detach<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return new Uint8Array(value) as T;
  if (Array.isArray(value)) return value.map(detach) as T;
  const entries = Object.entries(value).map(([key, item]) => [key, detach(item)]);
  return Object.fromEntries(entries) as T;
}

// ---------------------------------------------------------------- errors

/** An error of ours, or a defect. */
export type ThrownData =
  | { readonly holdfast: ErrorData }
  | { readonly defect: { readonly message: string; readonly stack: string } };

export function thrownToData(error: unknown): ThrownData {
  if (isHoldfastError(error)) return { holdfast: errorToData(error) };
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { defect: { message, stack: stack ?? message } };
}

export function thrownFromData(data: ThrownData): Error {
  if ("holdfast" in data) return errorFromData(data.holdfast);
  const { message, stack } = data.defect;
  const error = new InvariantError("the writer's thread works");
  error.message = message;
  error.stack = stack;
  return error;
}
