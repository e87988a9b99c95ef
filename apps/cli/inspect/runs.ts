/** `holdfast inspect runs [WORKFLOW] [ID] [--send E | --cancel | --fork-from S | --redrive]` */
import { LIMITS, type QueueView } from "holdfast/store";
import { RUN_QUEUE } from "holdfast/ports/runs";
import {
  timelineOf,
  unchecked,
  workflow,
  type RunInfo,
  type RunStatus,
  type Workflow,
} from "holdfast/workflow";
import { integerOption, type OptionName, type Options } from "../args.ts";
import { ActionError, UsageError } from "../failure.ts";
import { table, type Cell, type Column, type Layout } from "../table.ts";
import { counted, numberText, whenText } from "../text.ts";
import { nothingHere, type Place, type View } from "./open.ts";
import {
  dueOf,
  runJson,
  runView,
  STATUSES,
  STATUS_STYLES,
  statusOption,
  valueText,
} from "./run.ts";

const ABOUT = "inspect runs";
const PAGE_ROWS = 50;
const SHOWN_CHARS = 80;

/** A workflow of which nothing but the name is known: inputs and events are what they are. */
type Runs = Workflow<unknown, unknown, unknown, unknown, Readonly<Record<string, unknown>>>;

const ACTIONS = ["send", "cancel", "fork-from", "redrive"] as const;
type Action = (typeof ACTIONS)[number];
/** What goes with which action. */
const WITH: Readonly<Partial<Record<OptionName, readonly Action[]>>> = {
  data: ["send"],
  id: ["send", "fork-from"],
  reason: ["cancel"],
};

export async function inspectRuns(
  place: Place,
  args: readonly string[],
  options: Options,
): Promise<View> {
  const [name, id] = args;
  const action = actionOf(options);
  if (name === undefined) {
    if (action === undefined) return allWorkflows(place);
    throw new UsageError(`Expected --${action} with the workflow's name`, ABOUT);
  }
  const runs = open(place, name, options.send);
  if (id === undefined) {
    if (action === undefined) return page(place, runs, options);
    if (action === "redrive") return redriveAll(runs, options);
    throw new UsageError(`Expected --${action} with the run's ID: it is about one run`, ABOUT);
  }
  const extra = (["state", "after", "limit", "prefix", "attribute"] as const).find(
    (option) => options[option] !== undefined,
  );
  if (extra !== undefined) throw new UsageError(`Expected no --${extra} with a run's ID`, ABOUT);
  const before = await find(runs, id);
  const done = action === undefined ? null : await act(runs, before, action, options);
  const shownId = done?.id ?? id;
  const run = (await runs.get(shownId)) ?? before;
  const timeline = timelineOf((await runs.history(shownId)) ?? []);
  const { clockMs: nowMs } = await place.hf.store.info();
  const hasValues = options.values === true;
  return runView({
    ...{ workflow: name, run, timeline, nowMs, hasValues, done: done?.what ?? null },
  });
}

function open({ hf, partition }: Place, name: string, event: string | undefined): Runs {
  const events = event === undefined ? {} : { [event]: unchecked() };
  return hf.open(workflow(name, { input: unchecked(), events, partition }));
}

function actionOf(options: Options): Action | undefined {
  const given = ACTIONS.filter((name) => options[name] !== undefined);
  if (given.length > 1) {
    const names = given.map((name) => `--${name}`).join(" and ");
    throw new UsageError(`Expected at most one of ${names}`, ABOUT);
  }
  const [action] = given;
  for (const [option, actions] of Object.entries(WITH)) {
    if (options[option as OptionName] === undefined) continue;
    if (action !== undefined && actions.includes(action)) continue;
    const names = actions.map((each) => `--${each}`).join(" or ");
    throw new UsageError(`Expected --${option} with ${names}`, ABOUT);
  }
  return action;
}

async function find(runs: Runs, id: string): Promise<RunInfo> {
  const run = await runs.get(id);
  if (run !== null) return run;
  throw new ActionError(
    "NOT_FOUND",
    `There is no run "${id}" of workflow "${runs.name}" here (any more)`,
  );
}

// ---------------------------------------------------------------- acting

/** What was done, and the run that it is about then. */
interface Done {
  readonly what: string;
  readonly id: string;
}

async function act(
  runs: Runs,
  { id, status }: RunInfo,
  action: Action,
  options: Options,
): Promise<Done> {
  switch (action) {
    case "send": {
      if (isOver(status)) throw ended(id, status, "it takes no events");
      const no = await runs.send(id, options.send as string, dataOf(options), { id: options.id });
      return { what: `sent, as the run's event ${numberText(no)}`, id };
    }
    case "cancel": {
      const { reason = "cancelled by holdfast inspect" } = options;
      if (await runs.cancel(id, { reason })) return { what: "cancel asked", id };
      throw ended(id, status, "there is nothing to cancel");
    }
    case "fork-from": {
      const from = options["fork-from"] as string;
      const fork = await runs.fork(id, { from, id: options.id });
      return { what: `forked from ${id}`, id: fork.id };
    }
    case "redrive":
      if ((await runs.redrive({ ids: [id] })) === 1) return { what: "redriven", id };
      throw new ActionError(
        "CONFLICT",
        `Expected run "${id}" to need attention, got ${status}: only what can't go on by itself is redriven`,
      );
  }
}

function isOver(status: RunStatus): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

function ended(id: string, status: RunStatus, why: string): ActionError {
  return new ActionError(
    "CONFLICT",
    `Expected run "${id}" to be going on, got ${status}: it has ended, and ${why}`,
  );
}

function dataOf({ data }: Options): unknown {
  if (data === undefined) return null;
  try {
    return JSON.parse(data) as unknown;
  } catch {
    throw new UsageError(`Expected --data to be JSON, such as '{"by":"ann"}' or '"text"'`, ABOUT);
  }
}

async function redriveAll(runs: Runs, options: Options): Promise<View> {
  const status = statusOption(options);
  if (status !== undefined && status !== "attention") {
    throw new UsageError(
      `Expected --state attention with --redrive, got "${status}": only such runs are redriven`,
      ABOUT,
    );
  }
  const extra = (["after", "prefix", "attribute"] as const).find(
    (option) => options[option] !== undefined,
  );
  if (extra !== undefined) {
    throw new UsageError(`Expected --redrive without --${extra}: the oldest go first`, ABOUT);
  }
  const max = integerOption(options, "limit", { min: 1, max: Number.MAX_SAFE_INTEGER });
  const redriven = await runs.redrive({ max });
  return {
    json: { workflow: runs.name, redriven },
    text: () => `Redriven: ${counted(redriven, "run")}\n`,
  };
}

// ---------------------------------------------------------------- all workflows

const WORKFLOW_COLUMNS: readonly Column[] = [
  { title: "WORKFLOW", atLeast: 8 },
  { title: "RUNNING", align: "right" },
  { title: "READY", align: "right" },
  { title: "WAITING", align: "right" },
  { title: "ATTENTION", align: "right" },
  { title: "FAILED OR CANCELLED", align: "right" },
  { title: "COMPLETED", align: "right" },
  { title: "STATE" },
];

async function allWorkflows(place: Place): Promise<View> {
  const { store } = place.hf;
  const partition = store.partitionName(place.partition);
  const [views] = await store.read([{ read: "queue.stats", partition, queues: null }]);
  const found = views
    .filter(({ queue }) => queue.startsWith(RUN_QUEUE))
    .sort((a, b) => (a.queue < b.queue ? -1 : 1))
    .map(countsOf);
  const empty = found.length > 0 ? "" : await nothingHere(place, "workflows");
  return {
    json: { workflows: found },
    text: (layout) => (empty === "" ? table(WORKFLOW_COLUMNS, found.map(rowOf), layout) : empty),
  };
}

type Counts = ReturnType<typeof countsOf>;

function countsOf({ queue, counts, isPaused }: QueueView) {
  const { ready, leased: running, scheduled, blocked, dead: attention, completed } = counts;
  return {
    workflow: queue.slice(RUN_QUEUE.length),
    isPaused,
    counts: {
      ...{ running, ready, waiting: scheduled + blocked, attention },
      ...{ failedOrCancelled: counts.cancelled, completed },
    },
  };
}

function rowOf({ workflow: name, isPaused, counts }: Counts): Cell[] {
  const numbers = Object.entries(counts).map(([state, count]): Cell => {
    if (count === 0) return { text: "0", style: "dim" };
    return state === "attention" ? { text: numberText(count), style: "red" } : numberText(count);
  });
  const state: Cell = isPaused
    ? { text: "paused", style: "yellow" }
    : { text: "running", style: "green" };
  return [name, ...numbers, state];
}

// ---------------------------------------------------------------- a page of runs

async function page(place: Place, runs: Runs, options: Options): Promise<View> {
  const status = statusOption(options);
  const limit = integerOption(options, "limit", { min: 1, max: LIMITS.pageRows }) ?? PAGE_ROWS;
  const after = integerOption(options, "after", { min: 0, max: Number.MAX_SAFE_INTEGER });
  if (after !== undefined && status === undefined) {
    throw new UsageError("Expected --after with --state: the pages are of one state", ABOUT);
  }
  const where = { idPrefix: options.prefix, attributes: attributeOf(options) };
  const found =
    status === undefined
      ? await mixed(runs, limit, where)
      : await runs.list(status, { limit, after, ...where });
  const { clockMs: nowMs } = await place.hf.store.info();
  const what = status === undefined ? "runs" : `${status} runs`;
  const isEmpty = found.runs.length === 0 && found.next === null;
  const empty = isEmpty ? await nothingHere(place, `${what} of workflow "${runs.name}"`) : "";
  const hasValues = options.values === true;
  return {
    json: {
      workflow: runs.name,
      runs: found.runs.map((run) => runJson(run, nowMs, hasValues)),
      next: found.next,
    },
    text: (layout) => {
      if (empty !== "") return empty;
      const rows = found.runs.map((run) => lineOf(run, { nowMs, hasValues }, layout));
      const more = found.next === null ? "" : `More: --after ${found.next}\n`;
      return (
        table(hasValues ? [...COLUMNS, INPUT] : COLUMNS, rows, layout) + layout.paint("dim", more)
      );
    },
  };
}

type Where = Pick<NonNullable<Parameters<Runs["list"]>[1]>, "idPrefix" | "attributes">;

function attributeOf({ attribute }: Options): Readonly<Record<string, string>> | undefined {
  if (attribute === undefined) return undefined;
  const at = attribute.indexOf("=");
  if (at > 0) return { [attribute.slice(0, at)]: attribute.slice(at + 1) };
  throw new UsageError(`Expected --attribute NAME=VALUE, got "${attribute}"`, ABOUT);
}

/** The first runs of every state, what runs or waits first. */
async function mixed(
  runs: Runs,
  limit: number,
  where: Where,
): Promise<{ readonly runs: readonly RunInfo[]; readonly next: null }> {
  const found: RunInfo[] = [];
  for (const status of STATUSES) {
    const left = limit - found.length;
    if (left === 0) break;
    found.push(...(await runs.list(status, { limit: left, ...where })).runs);
  }
  return { runs: found, next: null };
}

const COLUMNS: readonly Column[] = [
  { title: "SEQ", align: "right" },
  { title: "ID", atLeast: 12 },
  { title: "STATE" },
  { title: "STARTED", align: "right" },
  { title: "NOTE", atLeast: 12 },
];
const INPUT: Column = { title: "INPUT", atLeast: 12 };

interface Words {
  readonly nowMs: number;
  readonly hasValues: boolean;
}

function lineOf(run: RunInfo, { nowMs, hasValues }: Words, layout: Layout): Cell[] {
  const { seq, id, status, createdMs } = run;
  const { input } = runJson(run, nowMs, hasValues);
  return [
    String(seq),
    id,
    { text: status, style: STATUS_STYLES[status] },
    whenText(createdMs, nowMs),
    noteOf(run, nowMs),
    ...(hasValues ? [valueText(input, layout, SHOWN_CHARS)] : []),
  ];
}

/** Until when it waits, when and why it ended. */
function noteOf(run: RunInfo, nowMs: number): string {
  const { status, endedMs, error } = run;
  const dueMs = dueOf(run, nowMs);
  const waits = dueMs === undefined ? "for an event" : `due ${whenText(dueMs, nowMs)}`;
  const when = endedMs === undefined ? "" : whenText(endedMs, nowMs);
  const parts = [status === "waiting" ? waits : when, error ?? ""];
  return parts.filter((part) => part !== "").join(": ") || "-";
}
