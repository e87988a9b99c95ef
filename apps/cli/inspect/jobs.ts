/** `holdfast inspect jobs QUEUE [ID] [--state S] [--retry | --redrive | --cancel]` */
import type { Queue } from "holdfast/ports/queue";
import { JOB_STATES, LIMITS, type JobState, type JobView, type QueueCounts } from "holdfast/store";
import { integerOption, nearest, oneOption, type Options } from "../args.ts";
import { ActionError, UsageError } from "../failure.ts";
import { table, type Cell, type Column, type Layout } from "../table.ts";
import { counted, dataText, numberText, whenText } from "../text.ts";
import { jobJson, jobView, STATE_STYLES } from "./job.ts";
import { nothingHere, type Place, type View } from "./open.ts";
import { readSessions } from "./sessions.ts";

const ABOUT = "inspect jobs";
const PAGE_ROWS = 50;
const SHOWN_CHARS = 80;

/** What runs or waits comes before what is over. */
const ORDER: readonly JobState[] = [
  "leased",
  "ready",
  "scheduled",
  "blocked",
  "dead",
  "cancelled",
  "completed",
];

export async function inspectJobs(
  place: Place,
  args: readonly string[],
  options: Options,
): Promise<View> {
  const [name = "", id] = args;
  const queue = place.hf.queue(name, { partition: place.partition });
  const action = oneOption(options, ["retry", "redrive", "cancel"]);
  if (id === undefined) {
    if (action === undefined) return page(place, queue, options);
    if (action === "cancel") {
      throw new UsageError("Expected --cancel with the job's ID: it cancels one job", ABOUT);
    }
    return redriveAll(queue, options);
  }
  const extra = (["state", "after", "limit"] as const).find(
    (option) => options[option] !== undefined,
  );
  if (extra !== undefined) throw new UsageError(`Expected no --${extra} with a job's ID`, ABOUT);
  const before = await find(queue, id);
  const done = action === undefined ? null : await act(queue, before, action);
  const job = (await queue.get(id)) ?? before;
  const { clockMs } = await place.hf.store.info();
  return jobView(job, {
    done,
    nowMs: clockMs,
    holder: (await holders(place)).get(job.session ?? ""),
  });
}

async function find(queue: Queue, id: string): Promise<JobView> {
  const job = await queue.get(id);
  if (job !== null) return job;
  throw new ActionError(
    "NOT_FOUND",
    `There is no job "${id}" in queue "${queue.name}" of ${queue.partition}`,
  );
}

/** Does what was asked to one job, and says what came of it. */
async function act(
  queue: Queue,
  { id, state }: JobView,
  action: "retry" | "redrive" | "cancel",
): Promise<string> {
  if (action !== "cancel") {
    if ((await queue.redrive({ ids: [id] })) === 1) return "redriven";
    throw new ActionError(
      "CONFLICT",
      `Expected job "${id}" to be dead, got ${state}: only a dead job is tried again by hand`,
    );
  }
  const outcome = await queue.cancel(id, { reason: "cancelled by holdfast inspect" });
  if (outcome === "cancelled" || outcome === "requested") return outcome;
  throw new ActionError(
    "CONFLICT",
    `Expected job "${id}" to be waiting or leased, got ${state}: it has finished already`,
  );
}

async function redriveAll(queue: Queue, options: Options): Promise<View> {
  const state = stateOption(options);
  if (state !== undefined && state !== "dead") {
    throw new UsageError(
      `Expected --state dead with --redrive, got "${state}": only dead jobs are redriven`,
      ABOUT,
    );
  }
  if (options.after !== undefined)
    throw new UsageError("Expected --redrive without --after: the oldest go first", ABOUT);
  const max = integerOption(options, "limit", { min: 1, max: Number.MAX_SAFE_INTEGER });
  const redriven = await queue.redrive({ max });
  return {
    json: { queue: queue.name, redriven },
    text: () => `Redriven: ${counted(redriven, "dead job")}\n`,
  };
}

function stateOption(options: Options): JobState | undefined {
  const { state } = options;
  if (state === undefined || (JOB_STATES as readonly string[]).includes(state))
    return state as JobState | undefined;
  const near = nearest(state, JOB_STATES);
  const hint =
    near === undefined ? `expected one of ${JOB_STATES.join(", ")}` : `did you mean "${near}"?`;
  throw new UsageError(`Unknown state "${state}": ${hint}`, ABOUT);
}

/** Labels of the live sessions, by id. */
async function holders(place: Place): Promise<ReadonlyMap<string, string>> {
  return new Map((await readSessions(place)).map(({ session, label }) => [session, label]));
}

/** What a page shows: the jobs, where each state goes on, and what is needed to word it. */
interface Page {
  readonly jobs: readonly JobView[];
  /** Give it as `--after` for the next page; null: there is none, or several states were shown. */
  readonly next: number | null;
  readonly counts: QueueCounts;
}

async function page(place: Place, queue: Queue, options: Options): Promise<View> {
  const state = stateOption(options);
  const limit = integerOption(options, "limit", { min: 1, max: LIMITS.pageRows }) ?? PAGE_ROWS;
  const after = integerOption(options, "after", { min: 0, max: Number.MAX_SAFE_INTEGER });
  if (after !== undefined && state === undefined) {
    throw new UsageError("Expected --after with --state: each state is a list of its own", ABOUT);
  }
  const { counts } = await queue.stats();
  const found =
    state === undefined ? await mixed(queue, limit) : await queue.list(state, { limit, after });
  const shown: Page = { ...found, counts };
  const { clockMs } = await place.hf.store.info();
  const names = await holders(place);
  const what = state === undefined ? "jobs" : `${state} jobs`;
  const empty =
    shown.jobs.length > 0 ? "" : await nothingHere(place, `${what} of queue "${queue.name}"`);
  return {
    json: { queue: queue.name, counts, jobs: shown.jobs.map(jobJson), next: shown.next },
    text: (layout) =>
      empty === "" ? pageText(shown, { state, nowMs: clockMs, names }, layout) : empty,
  };
}

/** The first jobs of every state, what runs or waits first. */
async function mixed(
  queue: Queue,
  limit: number,
): Promise<{ readonly jobs: JobView[]; readonly next: null }> {
  const jobs: JobView[] = [];
  for (const state of ORDER) {
    const left = limit - jobs.length;
    if (left === 0) break;
    jobs.push(...(await queue.list(state, { limit: left })).jobs);
  }
  return { jobs, next: null };
}

const COLUMNS: readonly Column[] = [
  { title: "SEQ", align: "right" },
  { title: "ID", atLeast: 12 },
  { title: "STATE" },
  { title: "KEY", atLeast: 8 },
  { title: "TRIES", align: "right" },
  { title: "LOST", align: "right" },
  { title: "ADDED", align: "right" },
  { title: "NOTE", atLeast: 12 },
  { title: "PAYLOAD", atLeast: 12 },
];

interface Words {
  readonly state: JobState | undefined;
  readonly nowMs: number;
  readonly names: ReadonlyMap<string, string>;
}

function pageText({ jobs, next, counts }: Page, words: Words, layout: Layout): string {
  const rows = jobs.map((job): Cell[] => [
    String(job.seq),
    job.id,
    {
      text: job.isCancelRequested ? `${job.state}, cancel asked` : job.state,
      style: STATE_STYLES[job.state],
    },
    job.key ?? { text: "-", style: "dim" },
    numberText(job.attempts),
    numberText(job.lost),
    whenText(job.createdMs, words.nowMs),
    noteOf(job, words),
    dataText(job.payload, layout.isFull ? Infinity : SHOWN_CHARS),
  ]);
  return (
    table(COLUMNS, rows, layout) +
    layout.paint("dim", moreText(jobs.length, next, counts, words.state))
  );
}

function moreText(
  shown: number,
  next: number | null,
  counts: QueueCounts,
  state: JobState | undefined,
): string {
  if (next !== null)
    return `${numberText(counts[state as JobState])} in all. More: --after ${next}\n`;
  const total = ORDER.reduce((sum, each) => sum + counts[each], 0);
  return state === undefined && total > shown
    ? `${numberText(total)} in all. More: --limit, or --state with --after\n`
    : "";
}

/**
 * What there is to know of a job in this state: until when it waits, who holds it, why it ended.
 */
function noteOf(
  { state, dueMs, session, finishedMs, error, progress }: JobView,
  words: Words,
): string {
  const { nowMs, names } = words;
  const why = error === null ? "" : error;
  switch (state) {
    case "scheduled":
      return `due ${dueMs === null ? "" : whenText(dueMs, nowMs)}${why === "" ? "" : `: ${why}`}`;
    case "leased": {
      const far = progress === null ? "" : `: ${dataText(progress, SHOWN_CHARS)}`;
      return `by ${names.get(session ?? "") ?? session ?? "-"}${far}`;
    }
    case "ready":
    case "blocked":
      return why === "" ? "-" : why;
    default: {
      const when = finishedMs === null ? "" : whenText(finishedMs, nowMs);
      return why === "" ? when : `${when}: ${why}`;
    }
  }
}
