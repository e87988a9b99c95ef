/**
 * The command line: words and options → one invocation, or a `UsageError` that says what was
 * expected.
 */
import { parseArgs } from "node:util";
import { UsageError } from "./failure.ts";

/** Every option of every command; which command takes which stands in `COMMANDS`. */
const OPTIONS = {
  engine: { type: "string" },
  namespace: { type: "string" },
  partition: { type: "string" },
  json: { type: "boolean" },
  full: { type: "boolean" },
  verbose: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
  state: { type: "string" },
  limit: { type: "string" },
  after: { type: "string" },
  pause: { type: "boolean" },
  resume: { type: "boolean" },
  retry: { type: "boolean" },
  redrive: { type: "boolean" },
  cancel: { type: "boolean" },
  get: { type: "string" },
  reserved: { type: "boolean" },
  list: { type: "boolean" },
  broken: { type: "boolean" },
  short: { type: "boolean" },
  prefix: { type: "string" },
  attribute: { type: "string" },
  values: { type: "boolean" },
  send: { type: "string" },
  data: { type: "string" },
  id: { type: "string" },
  reason: { type: "string" },
  "fork-from": { type: "string" },
  workflow: { type: "string" },
  module: { type: "string" },
  from: { type: "string" },
} as const;

type Specs = typeof OPTIONS;
export type OptionName = keyof Specs;
/** The options that were given. */
export type Options = {
  readonly [N in OptionName]?: Specs[N]["type"] extends "boolean" ? boolean : string;
};

/** Taken by every command. */
const COMMON: readonly OptionName[] = ["help", "json", "verbose"];
const OF_A_STORE: readonly OptionName[] = ["engine", "namespace", "partition"];

interface CommandSpec {
  /** Names of its positional arguments; those in brackets may be left out. */
  readonly args: readonly string[];
  readonly options: readonly OptionName[];
}

const NAMES = [
  "inspect queues",
  "inspect jobs",
  "inspect keys",
  "inspect runs",
  "inspect sessions",
  "journals check",
  "journals export",
  "prove",
] as const;

export type CommandName = (typeof NAMES)[number];

const COMMANDS: Readonly<Record<CommandName, CommandSpec>> = {
  "inspect queues": {
    args: ["[NAME]"],
    options: [...OF_A_STORE, "pause", "resume"],
  },
  "inspect jobs": {
    args: ["QUEUE", "[ID]"],
    options: [...OF_A_STORE, "state", "limit", "after", "full", "retry", "redrive", "cancel"],
  },
  "inspect keys": {
    args: ["[PREFIX]"],
    options: [...OF_A_STORE, "get", "limit", "after", "full", "reserved"],
  },
  "inspect runs": {
    args: ["[WORKFLOW]", "[ID]"],
    options: [
      ...[...OF_A_STORE, "state", "limit", "after", "prefix", "attribute", "values", "full"],
      ...["send", "data", "id", "cancel", "reason", "fork-from", "redrive"],
    ] as readonly OptionName[],
  },
  "inspect sessions": { args: [], options: OF_A_STORE },
  "journals check": {
    args: [],
    options: [...OF_A_STORE, "module", "workflow", "state", "limit", "from"],
  },
  "journals export": { args: [], options: [...OF_A_STORE, "workflow", "state", "limit"] },
  prove: { args: ["[ROW]"], options: ["engine", "list", "broken", "short"] },
};

export type Invocation =
  | { readonly kind: "version" }
  /**
   * `about`: a command, the first word of several, or empty for all. `isAsked` is false where a
   * command is missing.
   */
  | { readonly kind: "help"; readonly about: string; readonly isAsked: boolean }
  | {
      readonly kind: "run";
      readonly command: CommandName;
      readonly args: readonly string[];
      readonly options: Options;
    };

const FIRST_WORDS = [...new Set(NAMES.map((name) => name.split(" ")[0] as string))];

/** Takes the arguments after the program's name. */
export function parse(argv: readonly string[]): Invocation {
  const { values: options, positionals } = parseOptions(argv);
  if (options.version === true) return { kind: "version" };
  const isHelp = positionals[0] === "help";
  const words = isHelp ? positionals.slice(1) : positionals;
  const [first] = words;
  if (first === undefined)
    return { kind: "help", about: "", isAsked: isHelp || options.help === true };
  if (!FIRST_WORDS.includes(first)) throw unknown("command", first, FIRST_WORDS);
  const command = NAMES.find((name) => name === first || name === words.slice(0, 2).join(" "));
  if (command === undefined) return group(first, words[1], isHelp || options.help === true);
  if (isHelp || options.help === true) return { kind: "help", about: command, isAsked: true };
  const args = words.slice(command.split(" ").length);
  checkArgs(command, args);
  checkOptions(command, options);
  return { kind: "run", command, args, options };
}

/**
 * The first of several words was given, such as `inspect`, and the second is missing or unknown.
 */
function group(first: string, second: string | undefined, isHelp: boolean): Invocation {
  if (second === undefined) return { kind: "help", about: first, isAsked: isHelp };
  const words = NAMES.filter((name) => name.startsWith(`${first} `)).map(
    (name) => name.split(" ")[1] as string,
  );
  throw unknown(`${first} command`, second, words, first);
}

function parseOptions(argv: readonly string[]): { values: Options; positionals: string[] } {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const name = /^Unknown option '(-[^']*)'/.exec(error.message)?.[1];
    if (name === undefined) throw new UsageError(firstSentence(error.message));
    throw unknown(
      "option",
      name,
      Object.keys(OPTIONS).map((option) => `--${option}`),
    );
  }
}

function firstSentence(message: string): string {
  return (message.split("\n")[0] ?? message).replace(/\.$/, "");
}

function checkArgs(command: CommandName, args: readonly string[]): void {
  const names = COMMANDS[command].args;
  const missing = names.slice(args.length).find((name) => !name.startsWith("["));
  if (missing !== undefined)
    throw new UsageError(`Expected ${missing} after "${command}"`, command);
  const extra = args[names.length];
  if (extra === undefined) return;
  throw new UsageError(
    `Expected at most ${names.length} arguments after "${command}", got "${extra}" too`,
    command,
  );
}

function checkOptions(command: CommandName, options: Options): void {
  const allowed: readonly string[] = [...COMMON, ...COMMANDS[command].options];
  const wrong = Object.keys(options).find((name) => !allowed.includes(name));
  if (wrong === undefined) return;
  throw new UsageError(`Option --${wrong} does not belong to "${command}"`, command);
}

function unknown(
  what: string,
  got: string,
  known: readonly string[],
  about: string = "",
): UsageError {
  const near = nearest(got, known);
  const hint =
    near === undefined ? `expected one of ${known.join(", ")}` : `did you mean "${near}"?`;
  return new UsageError(`Unknown ${what} "${got}": ${hint}`, about);
}

/**
 * The word that was probably meant: at most a third of its letters, and no more than 3, are wrong.
 */
export function nearest(got: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const word of known) {
    const distance = editDistance(got.toLowerCase(), word);
    if (distance < bestDistance) [best, bestDistance] = [word, distance];
  }
  const bound = Math.min(3, Math.max(1, Math.ceil((best ?? "").length / 3)));
  return bestDistance <= bound ? best : undefined;
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const at = (y: number, x: number): number => rows[y]?.[x] ?? Infinity;
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? at(i - 2, j - 2) + 1 : Infinity;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + cost, swapped));
    }
  }
  return rows[a.length]?.[b.length] ?? Infinity;
}

/** An option that is a whole number in [min, max]. */
export function integerOption(
  options: Options,
  name: "limit" | "after",
  range: { readonly min: number; readonly max: number },
): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  const isGood = /^\d+$/.test(text) && value >= range.min && value <= range.max;
  if (isGood) return value;
  throw new UsageError(
    `Expected --${name} to be a whole number from ${range.min} to ${range.max}, got "${text}"`,
  );
}

/** The one of these options that was given; two of them at once are refused. */
export function oneOption<N extends OptionName>(
  options: Options,
  names: readonly N[],
): N | undefined {
  const given = names.filter((name) => options[name] === true);
  if (given.length < 2) return given[0];
  throw new UsageError(`Expected at most one of ${given.map((name) => `--${name}`).join(" and ")}`);
}
