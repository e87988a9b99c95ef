/**
 * One run of the command: arguments → a view, printed; or a failure, told in one line. Gives the
 * exit code.
 */
import { createRequire } from "node:module";
import { parse, type Invocation } from "./args.ts";
import { EXIT, exitCode, failureText } from "./failure.ts";
import { helpText } from "./help.ts";
import { inspectJobs } from "./inspect/jobs.ts";
import { inspectKeys } from "./inspect/keys.ts";
import { engineUrl, withStore, type Place, type View } from "./inspect/open.ts";
import { inspectQueues } from "./inspect/queues.ts";
import { inspectRuns } from "./inspect/runs.ts";
import { inspectSessions } from "./inspect/sessions.ts";
import { painter, type Layout } from "./table.ts";
import { jsonText, visible } from "./text.ts";

/** Where a run reads from and writes to. */
export interface Io {
  readonly env: NodeJS.ProcessEnv;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Columns of the terminal that `out` is; undefined: it is none. */
  readonly columns: number | undefined;
  /** `err` is a terminal: it is worth telling how far a proof is. */
  readonly isErrTerminal: boolean;
  /** From its call on, an interrupt does not end the process but aborts this signal. */
  readonly interrupt: () => AbortSignal;
}

type Run = Extract<Invocation, { kind: "run" }>;
type Inspect = (place: Place, args: readonly string[], options: Run["options"]) => Promise<View>;

type Inspecting = Extract<Run["command"], `inspect ${string}`>;

const INSPECT: Readonly<Record<Inspecting, Inspect>> = {
  "inspect queues": inspectQueues,
  "inspect jobs": inspectJobs,
  "inspect keys": inspectKeys,
  "inspect runs": inspectRuns,
  "inspect sessions": inspectSessions,
};

/** Runs the command line; never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let invocation: Invocation;
  try {
    invocation = parse(argv);
  } catch (error) {
    io.err(failureText(error));
    return exitCode(error);
  }
  if (invocation.kind === "run") return runCommand(invocation, io);
  if (invocation.kind === "version") {
    io.out(`${version()}\n`);
    return EXIT.ok;
  }
  const { about, isAsked } = invocation;
  // A help that nobody asked for is the answer to a command that is missing.
  (isAsked ? io.out : io.err)(helpText(about));
  return isAsked ? EXIT.ok : EXIT.usage;
}

async function runCommand(invocation: Run, io: Io): Promise<number> {
  const { command, args, options } = invocation;
  try {
    if (command === "prove") return await runProve(invocation, io);
    if (command === "journals check" || command === "journals export") {
      return await runJournals(command, invocation, io);
    }
    const view = await withStore(options, io.env, (place) =>
      INSPECT[command](place, args, options),
    );
    print(view, invocation, io);
    return EXIT.ok;
  } catch (error) {
    const url = engineUrl(options, io.env);
    io.err(failureText(error, { url, isVerbose: options.verbose }));
    return exitCode(error);
  }
}

async function runJournals(
  command: "journals check" | "journals export",
  invocation: Run,
  io: Io,
): Promise<number> {
  // The test kit, which replays journals, is loaded by none of the other commands.
  const { checkJournals, exportLines } = await import("./journals.ts");
  const { options } = invocation;
  if (command === "journals export") {
    await exportLines(options, io);
    return EXIT.ok;
  }
  const view = await checkJournals(options, io.env);
  print(view, invocation, io);
  return view.isOk === false ? EXIT.failed : EXIT.ok;
}

async function runProve(invocation: Run, io: Io): Promise<number> {
  // The proofs, and what they need, are loaded by none of the other commands.
  const { prove } = await import("./prove.ts");
  const { args, options } = invocation;
  const isQuiet = !io.isErrTerminal || options.json === true;
  const say = (line: string): void => {
    if (!isQuiet) io.err(`${layoutOf(invocation, io).paint("dim", visible(line))}\n`);
  };
  const signal = io.interrupt();
  try {
    const view = await prove(args, options, { env: io.env, say, signal });
    print(view, invocation, io);
    return view.isOk ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
}

function print(view: View, invocation: Run, io: Io): void {
  if (invocation.options.json === true) io.out(jsonText(view.json));
  else io.out(view.text(layoutOf(invocation, io)));
}

function layoutOf({ options }: Run, { columns, env }: Io): Layout {
  // https://no-color.org: present and not empty.
  const isPlain = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
  return {
    width: columns,
    paint: painter(columns !== undefined && !isPlain),
    isFull: options.full === true,
  };
}

function version(): string {
  const manifest = createRequire(import.meta.url)("holdfast/package.json") as {
    readonly version: string;
  };
  return manifest.version;
}
