/** One job, as a list of all there is to know of it and as JSON. */
import { dataBytes, type JobState, type JobView } from "holdfast/store";
import { list, type Cell, type Layout, type Style } from "../table.ts";
import { dataJson, dataText, instantText, numberText } from "../text.ts";
import type { View } from "./open.ts";

const SHOWN_CHARS = 1_000;

export const STATE_STYLES: Readonly<Record<JobState, Style>> = {
  ready: "cyan",
  leased: "blue",
  scheduled: "yellow",
  blocked: "yellow",
  completed: "green",
  cancelled: "dim",
  dead: "red",
};

/**
 * A job for programs: payload, result and progress as the values that their text stands for, with
 * the payload's size.
 */
export function jobJson(job: JobView): Record<string, unknown> {
  return {
    ...job,
    payload: dataJson(job.payload),
    payloadBytes: dataBytes(job.payload),
    progress: dataJson(job.progress),
    result: dataJson(job.result),
  };
}

interface Words {
  /** What an action came to; null: nothing was asked. */
  readonly done: string | null;
  readonly nowMs: number;
  /** Who holds it, for people. */
  readonly holder: string | undefined;
}

export function jobView(job: JobView, words: Words): View {
  const action = words.done === null ? {} : { action: words.done };
  return { json: { ...action, job: jobJson(job) }, text: (layout) => detail(job, words, layout) };
}

function detail(job: JobView, { done, nowMs, holder }: Words, layout: Layout): string {
  const chars = layout.isFull ? Infinity : SHOWN_CHARS;
  const state: Cell = { text: job.state, style: STATE_STYLES[job.state] };
  const entries: (readonly [string, Cell | null])[] = [
    ["done", done],
    ["queue", job.queue],
    ["id", job.id],
    ["seq", String(job.seq)],
    ["state", state],
    ["cancel", job.isCancelRequested ? { text: "asked", style: "yellow" } : null],
    ["key", job.key],
    ["priority", String(job.priority)],
    ["failed attempts", numberText(job.attempts)],
    ["lost leases", numberText(job.lost)],
    ["added", instantText(job.createdMs, nowMs)],
    ["due", job.dueMs === null ? null : instantText(job.dueMs, nowMs)],
    ["finished", job.finishedMs === null ? null : instantText(job.finishedMs, nowMs)],
    [
      "held by",
      job.session === null ? null : `${holder ?? "a session that is over"} (${job.session})`,
    ],
    ["token", job.token === null ? null : String(job.token)],
    ["error", job.error],
    ["progress", job.progress === null ? null : dataText(job.progress, chars)],
    ["result", job.result === null ? null : dataText(job.result, chars)],
    ["payload", `${dataText(job.payload, chars)} (${numberText(dataBytes(job.payload))} bytes)`],
  ];
  return list(
    entries.flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])),
    layout,
  );
}
