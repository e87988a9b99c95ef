/**
 * `holdfast journals check` and `holdfast journals export`: what is on record of a workflow's runs,
 * replayed against the code of today, or written out to be kept.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  isImplementation,
  unchecked,
  workflow,
  type AnyImplementation,
  type RunStatus,
} from "holdfast/workflow";
import {
  exportJournals,
  parseJournal,
  replayJournals,
  type BrokenRun,
  type ExportedDefinition,
  type ExportOptions,
  type ReplayReport,
  type RunJournal,
} from "holdfast/workflow/testing";
import { integerOption, type Options } from "./args.ts";
import { UsageError } from "./failure.ts";
import { nothingHere, withStore, type Place, type View } from "./inspect/open.ts";
import { statusOption } from "./inspect/run.ts";
import { table, type Cell, type Column } from "./table.ts";
import { counted, jsonLine, numberText } from "./text.ts";

const CHECK = "journals check";
const EXPORT = "journals export";

/** Replays the journals that the options name against the code of the module that they name. */
export async function checkJournals(options: Options, env: NodeJS.ProcessEnv): Promise<View> {
  if (options.module === undefined) {
    throw new UsageError("Expected --module with the file that exports the workflows", CHECK);
  }
  const implementations = chosen(await load(options.module), options);
  const selection = selectionOf(options);
  if (options.from !== undefined) {
    return checkView(await replayJournals(implementations, ofFile(options.from, options)), "");
  }
  return withStore(options, env, async (place) => {
    const report = await replayJournals(
      implementations,
      ofStore(place, implementations, selection),
    );
    const names = implementations.map(({ definition }) => definition.name).join(", ");
    const empty = report.checked > 0 ? "" : await nothingHere(place, `runs of ${names}`);
    return checkView(report, empty);
  });
}

/** Writes the journals of a workflow's runs, one line of JSON each. */
export async function exportLines(
  options: Options,
  io: { readonly env: NodeJS.ProcessEnv; readonly out: (text: string) => void },
): Promise<void> {
  const name = options.workflow;
  if (name === undefined) {
    throw new UsageError("Expected --workflow with the name of the workflow", EXPORT);
  }
  const selection = selectionOf(options);
  await withStore(options, io.env, async ({ hf, partition }) => {
    const definition = workflow(name, { input: unchecked(), partition });
    for await (const journal of exportJournals(hf, definition, selection)) {
      io.out(jsonLine(journal));
    }
  });
}

function selectionOf(options: Options): ExportOptions {
  const status = statusOption(options);
  const limit = integerOption(options, "limit", { min: 1, max: Number.MAX_SAFE_INTEGER });
  return { limit, statuses: status === undefined ? undefined : [status] };
}

// ---------------------------------------------------------------- the module

/** `PATH` or `PATH#EXPORT`: the implementations that the module exports, alone or in lists. */
async function load(given: string): Promise<readonly AnyImplementation[]> {
  const at = existsSync(given) ? -1 : given.lastIndexOf("#");
  const path = resolve(at === -1 ? given : given.slice(0, at));
  const only = at === -1 ? undefined : given.slice(at + 1);
  if (!existsSync(path)) {
    throw new UsageError(`Expected --module to be a file that is there, got ${path}`, CHECK);
  }
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = (await import(pathToFileURL(path).href)) as typeof exported;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      `Expected --module to be a module of JavaScript that can be imported, got ${path}: ${why}`,
      CHECK,
    );
  }
  if (only !== undefined && !(only in exported)) {
    const names = Object.keys(exported).join(", ") || "none";
    throw new UsageError(
      `Expected an export "${only}" of ${path}, its exports are ${names}`,
      CHECK,
    );
  }
  const values = only === undefined ? Object.values(exported) : [exported[only]];
  const found = values.flat().filter((value) => isImplementation(value));
  if (found.length > 0) return [...new Set(found)];
  throw new UsageError(
    `Expected ${given} to export what \`implement(definition, handler)\` gives, alone or in a list, found none`,
    CHECK,
  );
}

function chosen(
  implementations: readonly AnyImplementation[],
  { workflow: name }: Options,
): readonly AnyImplementation[] {
  if (name === undefined) return implementations;
  const found = implementations.filter(({ definition }) => definition.name === name);
  if (found.length > 0) return found;
  const names = implementations.map(({ definition }) => definition.name).join(", ");
  throw new UsageError(`Expected --workflow to be one of the module's (${names}), got "${name}"`);
}

// ---------------------------------------------------------------- the journals

async function* ofStore(
  { hf, partition }: Place,
  implementations: readonly AnyImplementation[],
  selection: ExportOptions,
): AsyncGenerator<RunJournal> {
  for (const { definition } of implementations) {
    // Where the command line names a partition, the runs are there.
    const own = workflow(definition.name, { input: unchecked(), partition });
    const where: ExportedDefinition = partition === undefined ? definition : own;
    yield* exportJournals(hf, where, selection);
  }
}

function* ofFile(path: string, options: Options): Generator<RunJournal> {
  const { statuses, limit = Infinity } = selectionOf(options);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`Expected --from to be a file that can be read: ${String(error)}`, CHECK);
  }
  let left = limit;
  for (const line of text.split("\n")) {
    if (line.trim() === "" || left === 0) continue;
    const journal = parseJournal(line);
    if (statuses !== undefined && !statuses.includes(journal.status)) continue;
    left--;
    yield journal;
  }
}

// ---------------------------------------------------------------- what it came to

const COLUMNS: readonly Column[] = [
  { title: "WORKFLOW", atLeast: 8 },
  { title: "RUN", atLeast: 12 },
  { title: "STATE" },
  { title: "RECORD", align: "right" },
  { title: "EXPECTED", atLeast: 16 },
  { title: "FOUND", atLeast: 16 },
];

const STYLES: Readonly<Partial<Record<RunStatus, "red">>> = { attention: "red" };

function checkView(report: ReplayReport, empty: string): View {
  const { checked, skipped, broken } = report;
  const more = skipped === 0 ? "" : ` (passed over: ${numberText(skipped)} of other workflows)`;
  const good = checked === 1 ? "The one run goes on" : `All ${numberText(checked)} runs go on`;
  return {
    json: report,
    isOk: broken.length === 0,
    text: (layout) => {
      if (checked === 0) return empty === "" ? `No journals to check${more}.\n` : empty;
      if (broken.length === 0) return `${good} with this code${more}.\n`;
      const text = `${numberText(broken.length)} of ${counted(checked, "run")} would break${more}.\n`;
      return table(COLUMNS, broken.map(rowOf), layout) + layout.paint("red", text);
    },
  };
}

function rowOf({ workflow, run, status, record, expected, found }: BrokenRun): Cell[] {
  const style = STYLES[status];
  return [
    workflow,
    run,
    style === undefined ? status : { text: status, style },
    record === null ? { text: "-", style: "dim" } : String(record),
    expected,
    found,
  ];
}
