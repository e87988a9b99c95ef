/**
 * Child runs. A parent starts one in a step of its own, and then waits for an event that the child
 * sends when it has ended; the child knows whom to tell by an event that comes with its start. So
 * neither of them holds anything while the other goes on.
 */
import { createHash } from "node:crypto";
import { jsonCodec, validate } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkFunction, checkOneOf, checkOptions, checkText } from "../../core/options.ts";
import { Runs } from "../../ports/runs/index.ts";
import type { Wait } from "../../core/signal.ts";
import type { Definition } from "../../store/definition.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import type { QueueEnqueue, RunEvent } from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import type { RetryOptions } from "../../core/retry.ts";
import type { HeldJob } from "../jobs/index.ts";
import type { Attempt } from "./attempts.ts";
import type { RunInfo } from "./info.ts";
import { decode, type FailureData } from "./records.ts";
import type { WorkflowSettings } from "./settings.ts";

/** The event that comes with a child's start: whom to tell of its end. */
export const PARENT_EVENT = "$parent";
/** The event that tells a parent of a child's end. */
export const CHILD_EVENT = "$child";

export interface ChildOptions<O> {
  /** The child's own name. Default: one that is made of the parent's and the step's. */
  readonly id?: string | undefined;
  /**
   * What becomes of the child when the parent fails or is cancelled first: "cancel" cancels it, has
   * it take back what it did, and waits for that; "leave" lets it go on. Default "cancel".
   */
  readonly onStop?: "cancel" | "leave" | undefined;
  /** Takes a child back that has completed, when the parent fails or is cancelled later. */
  readonly undo?: ((output: O, attempt: Attempt) => unknown) | undefined;
  /** Of its start, and of taking it back. Default: the workflow's. */
  readonly retry?: RetryOptions | undefined;
  readonly undoRetry?: RetryOptions | undefined;
}

/** An id that is too long is shortened to a hash of itself, which is as good as unique. */
export function shortId(id: string): string {
  if (id.length <= LIMITS.idChars) return id;
  return `${id.slice(0, 100)}/${createHash("sha256").update(id).digest("hex")}`;
}

/** How a child ended. */
export type ChildOutcome<O> =
  | { readonly ok: true; readonly id: string; readonly value: O }
  | {
      readonly ok: false;
      readonly id: string;
      readonly status: "failed" | "cancelled";
      readonly error: FailureData;
    };

/** How a child ended, as its event and the record of its start say it. */
export type ChildEnd =
  | { readonly id: string; readonly v: unknown }
  | { readonly id: string; readonly ended: "failed" | "cancelled"; readonly error: FailureData };

/** What the record of a start says; `end`: it was there, and had ended. */
export interface ChildStart {
  readonly id: string;
  readonly end?: ChildEnd;
}

interface ParentData {
  readonly workflow: string;
  readonly partition: string | null;
  readonly run: string;
}

/** What a parent needs of a child's workflow. */
export interface ChildHandle<I, O> {
  readonly op: { start(input: I, options: { readonly id: string }): Placed<QueueEnqueue> };
  get(run: string, wait?: Wait): Promise<RunInfo | null>;
  cancel(run: string, wait?: Wait): Promise<boolean>;
  result(run: string, wait?: Wait): Promise<O>;
}

/** A workflow that takes `I` and gives `O`. */
export interface AnyDefinition<I, O> extends Definition<ChildHandle<I, O>> {
  readonly settings: WorkflowSettings;
}

export interface Parent {
  readonly store: Store;
  readonly held: HeldJob;
  readonly workflow: string;
  /** As its definition names it. */
  readonly partition: string | undefined;
}

/**
 * Starts a child, once; if it has been started, and has ended since, gives how. In one commit with
 * the start goes whom to tell.
 */
export async function startChild<I, O>(
  parent: Parent,
  definition: AnyDefinition<I, O>,
  id: string,
  input: I,
): Promise<ChildStart> {
  const { store, held, workflow, partition } = parent;
  const { handle, runs } = openChild(store, definition);
  const data: ParentData = { workflow, partition: partition ?? null, run: held.id };
  const tell = {
    event: PARENT_EVENT,
    data: jsonCodec.encode(data),
    id: shortId(`${PARENT_EVENT} ${workflow} ${held.id}`),
  };
  try {
    resultsOf(await store.commitAll([handle.op.start(input, { id }), runs.op.send(id, tell)]));
    return { id };
  } catch (error) {
    // It has ended already.
    if (!isHoldfastError(error, "CONFLICT")) throw error;
  }
  const info = await handle.get(id);
  if (info === null) {
    const message = `Expected child run "${id}" to be there, found none: it has ended, and is kept no longer`;
    throw new HoldfastError("NOT_FOUND", message, { details: { run: id } });
  }
  return { id, end: endOf(info) };
}

function openChild<I, O>(
  store: Store,
  definition: AnyDefinition<I, O>,
): {
  readonly handle: ChildHandle<I, O>;
  readonly runs: Runs;
} {
  const { name, settings } = definition;
  const runs = new Runs(store, name, { partition: settings.queue.partition });
  return { handle: store.handle(definition), runs };
}

function endOf(info: RunInfo): ChildEnd {
  const { id, status } = info;
  if (status === "completed") return { id, v: info.output };
  const ended = status === "failed" ? "failed" : "cancelled";
  return { id, ended, error: { name: "Error", message: info.error ?? status } };
}

/**
 * Takes a child back when its parent stops: cancels it, waits until it has ended, and has what
 * completed undone.
 */
export async function stopChild<I, O>(
  store: Store,
  definition: AnyDefinition<I, O>,
  id: string,
  options: ChildOptions<O>,
  attempt: Attempt,
): Promise<void> {
  const { handle } = openChild(store, definition);
  const { onStop = "cancel", undo } = options;
  const { signal } = attempt;
  try {
    if (onStop === "cancel") await handle.cancel(id, { signal });
    else if ((await handle.get(id, { signal }))?.status !== "completed") return;
    const output = await handle.result(id, { signal });
    await undo?.(output, attempt);
  } catch (error) {
    // It was never started, or has taken itself back.
    if (isHoldfastError(error, "NOT_FOUND")) return;
    const isStopped = isHoldfastError(error, "FAILED") && error.details["status"] !== "attention";
    if (!isStopped) throw error;
  }
}

export function checkChildOptions<O>(options: ChildOptions<O>): void {
  checkOptions("options", options, ["id", "onStop", "undo", "retry", "undoRetry"]);
  const { id, onStop, undo } = options;
  if (id !== undefined) checkText("id", id, LIMITS.idChars);
  if (onStop !== undefined) checkOneOf("onStop", onStop, ["cancel", "leave"]);
  if (undo !== undefined) checkFunction("undo", undo);
}

/** As the parent's code sees it: an output is checked by its schema as `result` checks it. */
export async function childOutcome<I, O>(
  definition: AnyDefinition<I, O>,
  end: ChildEnd,
): Promise<ChildOutcome<O>> {
  const { id } = end;
  if ("ended" in end) return { ok: false, id, status: end.ended, error: end.error };
  const { output } = definition.settings.queue;
  const what = `the output of child run "${id}"`;
  const value = output === undefined ? end.v : await validate(output, end.v, what);
  return { ok: true, id, value: value as O };
}

/** Tells who started the run that it has ended. Doing it again does no harm. */
export async function tellParents(
  store: Store,
  events: readonly RunEvent[],
  held: HeldJob,
  end: ChildEnd,
): Promise<void> {
  for (const sent of events) {
    if (sent.event !== PARENT_EVENT) continue;
    const parent = decode<ParentData>({ key: PARENT_EVENT, data: sent.data });
    const runs = new Runs(store, parent.workflow, { partition: parent.partition ?? undefined });
    const id = shortId(`${CHILD_EVENT} ${held.queue} ${end.id}`);
    const data = jsonCodec.encode(end);
    await runs.send(parent.run, { event: CHILD_EVENT, data, id, isLenient: true });
  }
}
