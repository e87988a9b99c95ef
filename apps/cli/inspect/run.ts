/** One run of a workflow: all there is to know of it, and what happened in it. */
import type { RunInfo, RunStatus, TimelineEntry } from "holdfast/workflow";
import { nearest, type Options } from "../args.ts";
import { UsageError } from "../failure.ts";
import { list, table, type Cell, type Column, type Layout, type Style } from "../table.ts";
import { instantText, numberText, spanText, visible, whenText } from "../text.ts";
import type { View } from "./open.ts";

/** What runs or waits comes before what is over. */
export const STATUSES: readonly RunStatus[] = [
  ...(["running", "ready", "waiting", "attention"] as const),
  ...(["failed", "cancelled", "completed"] as const),
];

export const STATUS_STYLES: Readonly<Record<RunStatus, Style>> = {
  running: "blue",
  ready: "cyan",
  waiting: "yellow",
  attention: "red",
  failed: "red",
  cancelled: "dim",
  completed: "green",
};

const SHOWN_CHARS = 1_000;
const SHOWN_IN_LINE = 80;
/** A run that waits for an event alone is due at the end of time. */
const FOR_EVER_MS = 100 * 365 * 86_400_000;

export function statusOption({ state }: Options): RunStatus | undefined {
  if (state === undefined || (STATUSES as readonly string[]).includes(state)) {
    return state as RunStatus | undefined;
  }
  const near = nearest(state, STATUSES);
  const hint =
    near === undefined ? `expected one of ${STATUSES.join(", ")}` : `did you mean "${near}"?`;
  throw new UsageError(`Unknown state "${state}": ${hint}`);
}

/** What a program stored, as JSON on one line; nothing for what is not there. */
export function valueText(value: unknown, layout: Layout, chars: number = SHOWN_CHARS): string {
  if (value === undefined) return "";
  const text = JSON.stringify(value);
  return layout.isFull || text.length <= chars
    ? visible(text)
    : `${visible(text.slice(0, chars))}…`;
}

/** When it is due; undefined: it waits for an event alone, or does not wait. */
export function dueOf(
  { dueMs }: { readonly dueMs?: number | undefined },
  nowMs: number,
): number | undefined {
  return dueMs === undefined || dueMs - nowMs > FOR_EVER_MS ? undefined : dueMs;
}

/** What is asked of a stored value: whether it can be read is found when it is looked at. */
function read(get: () => unknown): unknown {
  try {
    return get();
  } catch (error) {
    return `(${error instanceof Error ? error.message : String(error)})`;
  }
}

/** A run for programs. Values that the program stored are there if they were asked for. */
export function runJson(run: RunInfo, nowMs: number, hasValues: boolean): Record<string, unknown> {
  const { id, seq, status, createdMs, endedMs, error, undone } = run;
  const known = { id, seq, status, createdMs, dueMs: dueOf(run, nowMs), endedMs, error, undone };
  if (!hasValues) return known;
  return {
    ...known,
    attributes: run.attributes,
    input: read(() => run.input),
    output: read(() => run.output),
    progress: read(() => run.progress),
  };
}

export interface Shown {
  readonly workflow: string;
  readonly run: RunInfo;
  readonly timeline: readonly TimelineEntry[];
  /** What an action came to; null: nothing was asked. */
  readonly done: string | null;
  readonly nowMs: number;
  readonly hasValues: boolean;
}

export function runView(shown: Shown): View {
  const { workflow, run, timeline, done, nowMs, hasValues } = shown;
  const lines = timeline.map(({ value, ...line }) => {
    const entry = { ...line, dueMs: dueOf(line, nowMs) };
    return hasValues ? { ...entry, value } : entry;
  });
  const action = done === null ? {} : { action: done };
  return {
    json: { ...action, workflow, run: runJson(run, nowMs, hasValues), timeline: lines },
    text: (layout) => `${detail(shown, layout)}\n${timelineText(shown, layout)}`,
  };
}

function detail({ workflow, run, done, nowMs, hasValues }: Shown, layout: Layout): string {
  const { id, seq, status, createdMs, endedMs, error, undone } = run;
  const dueMs = dueOf(run, nowMs);
  const state: Cell = { text: status, style: STATUS_STYLES[status] };
  const waiting = status === "waiting" ? "an event" : null;
  const values = hasValues ? runJson(run, nowMs, true) : {};
  const value = (name: string): string | null => valueText(values[name], layout) || null;
  const entries: (readonly [string, Cell | null])[] = [
    ["done", done],
    ["workflow", workflow],
    ["id", id],
    ["seq", String(seq)],
    ["state", state],
    ["started", instantText(createdMs, nowMs)],
    ["waits for", dueMs === undefined ? waiting : instantText(dueMs, nowMs)],
    ["ended", endedMs === undefined ? null : instantText(endedMs, nowMs)],
    ["error", error ?? null],
    ["undone", undone.length === 0 ? null : undone.join(", ")],
    ["attributes", Object.keys(run.attributes).length === 0 ? null : value("attributes")],
    ["input", value("input")],
    ["output", value("output")],
    ["progress", value("progress")],
  ];
  return list(
    entries.flatMap(([name, cell]) => (cell === null ? [] : [[name, cell] as const])),
    layout,
  );
}

const COLUMNS: readonly Column[] = [
  { title: "AFTER", align: "right" },
  { title: "WHAT" },
  { title: "NAME", atLeast: 12 },
  { title: "TRIES", align: "right" },
  { title: "NOTE", atLeast: 12 },
];
const VALUE: Column = { title: "VALUE", atLeast: 12 };

const WHAT_STYLES: Readonly<Record<string, Style>> = {
  done: "green",
  failed: "red",
  "the run is failed": "red",
  "the run is cancelled": "yellow",
  "to be tried again": "yellow",
  undone: "yellow",
  "undo failed": "red",
  "needs attention": "red",
};

function timelineText({ run, timeline, nowMs, hasValues }: Shown, layout: Layout): string {
  if (timeline.length === 0) return "Nothing is on record of it yet.\n";
  const rows = timeline.map((entry): Cell[] => {
    const { atMs, what, name, attempts, value } = entry;
    const style = WHAT_STYLES[what];
    return [
      spanText(atMs - run.createdMs),
      style === undefined ? what : { text: what, style },
      name,
      attempts === undefined ? "" : numberText(attempts),
      noteOf(entry, nowMs),
      ...(hasValues ? [valueText(value, layout, SHOWN_IN_LINE)] : []),
    ];
  });
  return table(hasValues ? [...COLUMNS, VALUE] : COLUMNS, rows, layout);
}

function noteOf(entry: TimelineEntry, nowMs: number): string {
  const dueMs = dueOf(entry, nowMs);
  const due = dueMs === undefined ? "" : `due ${whenText(dueMs, nowMs)}`;
  return [entry.error ?? "", due].filter((each) => each !== "").join(", ");
}
