/**
 * Journals as plain data: read from a live store, which is not touched, or kept as lines of JSON,
 * to be replayed against today's code. Inputs, results and events of runs are in them as they are.
 */
import type { Definition } from "../../../store/definition.ts";
import type { Store } from "../../../store/store.ts";
import { HoldfastError } from "../../../core/errors.ts";
import { checkInteger, checkOneOf, checkOptions } from "../../../core/options.ts";
import type { Wait } from "../../../core/signal.ts";
import { Runs } from "../../../ports/runs/index.ts";
import type { RunEvent, RunRecord } from "../../../store/ops.ts";
import { originOf, readWhole, type WholeJournal } from "../fork.ts";
import { STATES, type RunInfo, type RunStatus } from "../info.ts";
import { decode } from "../records.ts";
import type { WorkflowSettings } from "../settings.ts";
import type { RunList } from "../workflow.ts";

/** The format of `RunJournal` that this version writes, and the newest that it reads. */
export const JOURNAL_FORMAT = 1;

/** A run with all that is on record of it; has a JSON form. */
export interface RunJournal {
  readonly format: number;
  readonly workflow: string;
  readonly run: string;
  readonly status: RunStatus;
  /** What its last try failed of, or why it ended. */
  readonly error?: string | undefined;
  readonly input?: unknown;
  readonly records: readonly {
    readonly key: string;
    readonly value?: unknown;
    readonly atMs: number;
    readonly dueMs: number | null;
  }[];
  readonly events: readonly {
    readonly event: string;
    readonly value?: unknown;
    readonly id: string | null;
    readonly atMs: number;
  }[];
}

export interface ExportOptions extends Wait {
  /** Default: those that go on, "waiting", "ready", "running" and "attention". */
  readonly statuses?: readonly RunStatus[] | undefined;
  /** At most so many runs, the oldest of each status first. Default: all. */
  readonly limit?: number | undefined;
}

/** What of a workflow's definition is asked here. */
export interface ExportedDefinition extends Definition<{
  list(status: RunStatus, options?: Wait & { readonly after?: number }): Promise<RunList>;
  get(run: string, wait?: Wait): Promise<RunInfo | null>;
}> {
  readonly settings: WorkflowSettings;
}

/** In the order in which most runs go, so that few are missed on the way. */
const GOING_ON: readonly RunStatus[] = ["waiting", "ready", "running", "attention"];
const STATUSES = Object.keys(STATES) as RunStatus[];
/** A run that changes while it is read is read again. */
const READS = 5;

/**
 * The journals of a workflow's runs, one after another. Only reads: nothing is claimed, and a run
 * that is being worked on is seen as it stood at one instant. One that comes to another status
 * meanwhile is given once, or not at all.
 *
 * `hf`: what `connect` gives. Errors: `UNAVAILABLE` and the like; the signal's reason. Complexity:
 * three reads a run, more for long ones.
 */
export async function* exportJournals(
  hf: { readonly store: Store },
  definition: ExportedDefinition,
  options: ExportOptions = {},
): AsyncGenerator<RunJournal, void, undefined> {
  checkOptions("options", options, ["statuses", "limit", "signal", "timeoutMs"]);
  const { statuses = GOING_ON, limit, ...wait } = options;
  let left = limit === undefined ? Infinity : checkInteger("limit", limit, 1);
  for (const status of statuses) checkOneOf("statuses", status, STATUSES);
  const { name, settings } = definition;
  const workflow = hf.store.handle(definition);
  const runs = new Runs(hf.store, name, { partition: settings.queue.partition });
  const seen = new Set<string>();
  for (const status of statuses) {
    for (let after: number | undefined; left > 0;) {
      const place = after === undefined ? {} : { after };
      const page: RunList = await workflow.list(status, { ...place, ...wait });
      for (const { id } of page.runs) {
        // It may have come to another status since.
        if (seen.has(id) || left === 0) continue;
        seen.add(id);
        const journal = await readRun(runs, () => workflow.get(id, wait), wait);
        if (journal === null) continue;
        left--;
        yield journal;
      }
      if (page.next === null) break;
      after = page.next;
    }
  }
}

async function readRun(
  runs: Runs,
  get: () => Promise<RunInfo | null>,
  wait: Wait,
): Promise<RunJournal | null> {
  let info = await get();
  for (let reads = 0; info !== null; reads++) {
    const whole = await readWhole(runs, info.seq, wait);
    const after: RunInfo | null = await get();
    if (whole === null || after === null) return null;
    const isSame = after.seq === info.seq && isEqual(after, info);
    if (isSame || reads === READS)
      return plain(runs.name, after, await withOrigin(runs, whole, wait));
    info = after;
  }
  return null;
}

/** A run that continued as new meanwhile has another input. */
function isEqual(a: RunInfo, b: RunInfo): boolean {
  return a.status === b.status && JSON.stringify(a.input) === JSON.stringify(b.input);
}

/** A fork that nobody has claimed yet has its records elsewhere. */
async function withOrigin(runs: Runs, whole: WholeJournal, wait: Wait): Promise<WholeJournal> {
  const { seq, upTo } = originOf(whole.events) ?? { seq: 0, upTo: 0 };
  if (whole.records.length >= upTo) return whole;
  const origin = await readWhole(runs, seq, wait);
  return { records: origin?.records.slice(0, upTo) ?? whole.records, events: whole.events };
}

function plain(workflow: string, info: RunInfo, { records, events }: WholeJournal): RunJournal {
  const { id: run, status, error, input } = info;
  return {
    ...{ format: JOURNAL_FORMAT, workflow, run, status, error, input },
    records: records.map((record: RunRecord) => {
      const { key, atMs, dueMs } = record;
      return { key, value: decode(record), atMs, dueMs };
    }),
    events: events.map(({ event, data, id, atMs }: RunEvent) => {
      return { event, value: decode({ key: event, data }), id, atMs };
    }),
  };
}

/**
 * A journal of a line of JSON, as `JSON.stringify` of an exported one makes it.
 *
 * Errors: `UNSUPPORTED` for one that a newer version wrote, `INVALID_DATA` for anything else that
 * is no journal.
 */
export function parseJournal(line: string): RunJournal {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw noJournal("text that is no JSON", cause);
  }
  return checkJournal(value as RunJournal);
}

/** As `parseJournal`, of a value. */
export function checkJournal(journal: RunJournal): RunJournal {
  if (typeof journal !== "object" || journal === null) throw noJournal("another value");
  const { format, workflow, run, status, records, events } = journal;
  if (!Number.isSafeInteger(format) || format < 1) throw noJournal("no format number");
  if (format > JOURNAL_FORMAT) {
    const message = `Expected a journal of format ${JOURNAL_FORMAT} or older, got format ${format}: it was written by a newer version of Holdfast, which is needed to read it`;
    const details = { format, newest: JOURNAL_FORMAT };
    throw new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied", details });
  }
  const isNamed = typeof workflow === "string" && typeof run === "string";
  if (!isNamed || !STATUSES.includes(status)) throw noJournal("no workflow, run or status");
  const isWhole =
    isListOf(records, ({ key, atMs }) => typeof key === "string" && Number.isFinite(atMs)) &&
    isListOf(events, ({ event, atMs }) => typeof event === "string" && Number.isFinite(atMs));
  if (!isWhole) throw noJournal("damaged records or events");
  return journal;
}

function isListOf(list: unknown, isGood: (each: Record<string, unknown>) => boolean): boolean {
  if (!Array.isArray(list)) return false;
  return list.every((each: unknown) => {
    return typeof each === "object" && each !== null && isGood(each as Record<string, unknown>);
  });
}

function noJournal(got: string, cause?: unknown): HoldfastError {
  const message = `Expected the journal of a run, as \`exportJournals\` gives it, got ${got}`;
  return new HoldfastError("INVALID_DATA", message, { outcome: "not-applied", cause });
}
