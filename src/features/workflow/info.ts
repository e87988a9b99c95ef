/** A run as people and programs see it from outside. */
import type { Attributes } from "../../core/attributes.ts";
import type { JobState, RunEvent, RunRecord } from "../../store/ops.ts";
import type { JobInfo } from "../jobs/index.ts";
import { CANCEL_EVENT } from "./execution.ts";
import { decode, kindOf, nameOf, type Kind } from "./records.ts";
import type { EndData } from "./undo.ts";

/**
 * `ready`: due, nobody has it yet; `running`: a process holds it; `waiting`: for an instant, an
 * event, or its start; `attention`: it can't go on by itself, see `error`, and can be redriven.
 */
export type RunStatus =
  | "ready"
  | "running"
  | "waiting"
  | "completed"
  | "failed"
  | "cancelled"
  | "attention";

/** Times are milliseconds since 1970 by the store's clock. */
export class RunInfo {
  readonly id: string;
  /** The store's number of the run: grows in the order of starting. */
  readonly seq: number;
  readonly status: RunStatus;
  readonly createdMs: number;
  /** When it goes on by itself; undefined where it waits for an event alone, or does not wait. */
  readonly dueMs: number | undefined;
  readonly endedMs: number | undefined;
  /** Why it failed, was cancelled, or needs attention. */
  readonly error: string | undefined;
  /** The steps that were undone, the first undone first; of failed and cancelled runs. */
  readonly undone: readonly string[];
  /** What it was started with, to be found by. */
  readonly attributes: Attributes;
  readonly #job: JobInfo;

  constructor(job: JobInfo) {
    const end = job.state === "cancelled" ? (job.output as EndData | undefined) : undefined;
    this.id = job.id;
    this.seq = job.seq;
    this.status = statusOf(job, end);
    this.createdMs = job.createdMs;
    this.dueMs = job.dueMs;
    this.endedMs = job.finishedMs;
    this.error = end?.error.message ?? job.error;
    this.undone = end?.undone ?? [];
    this.attributes = job.attributes;
    this.#job = job;
  }
  /** The input as it was stored, not checked by the schema. */
  get input(): unknown {
    return this.#job.input;
  }
  /** What the handler returned, not checked by the schema; undefined unless completed. */
  get output(): unknown {
    return this.status === "completed" ? this.#job.output : undefined;
  }
  /** What `run.progress` noted last; undefined once it has ended. */
  get progress(): unknown {
    return this.#job.progress;
  }
}

function statusOf({ state }: JobInfo, end: EndData | undefined): RunStatus {
  switch (state) {
    case "ready":
    case "completed":
      return state;
    case "leased":
      return "running";
    case "scheduled":
    case "blocked":
      return "waiting";
    case "dead":
      return "attention";
    case "cancelled":
      return end?.ended ?? "cancelled";
  }
}

/** Where the jobs are that runs of that status are. */
export const STATES: Readonly<Record<RunStatus, JobState>> = {
  ...{ ready: "ready", running: "leased", waiting: "scheduled", completed: "completed" },
  ...{ failed: "cancelled", cancelled: "cancelled", attention: "dead" },
};

/** One line of a run's history. */
export interface HistoryEntry {
  readonly atMs: number;
  /** What happened: `step`, `undone`, `sleep`, `event` ... */
  readonly kind: Kind | "event" | "cancel";
  readonly name: string;
  /** When it is due, for what waits. */
  readonly dueMs: number | undefined;
  /** The value, failure or payload, as it was stored. */
  readonly value: unknown;
}

export function historyOf(
  records: readonly RunRecord[],
  events: readonly RunEvent[],
): readonly HistoryEntry[] {
  const entries = records.map((record): HistoryEntry => {
    const { key, atMs, dueMs } = record;
    const value = decode<unknown>(record);
    return { atMs, kind: kindOf(key), name: nameOf(key), dueMs: dueMs ?? undefined, value };
  });
  const sent = events.map(({ event, data, atMs }): HistoryEntry => {
    const value = decode<unknown>({ key: event, data });
    const isCancel = event === CANCEL_EVENT;
    const name = isCancel ? "" : event;
    return { atMs, kind: isCancel ? "cancel" : "event", name, dueMs: undefined, value };
  });
  // Stable: what has the same instant stays as it is, records first.
  return [...entries, ...sent].sort((a, b) => a.atMs - b.atMs);
}
