/**
 * `holdfast prove ROW`: runs a proof, prints what it measured, and says whether the guarantee held.
 */
import { PROOFS, runProof, type Proof, type Report } from "../../proofs/index.ts";
import { nearest, type Options } from "./args.ts";
import { OpenError, UsageError } from "./failure.ts";
import { engineUrl, type View } from "./inspect/open.ts";
import { list, table, type Cell, type Layout } from "./table.ts";
import { numberText } from "./text.ts";
import { isHoldfastError } from "holdfast";

const ABOUT = "prove";

export interface ProveIo {
  readonly env: NodeJS.ProcessEnv;
  /** Tells how far the proof is. */
  readonly say: (line: string) => void;
  /** Ends the proof, and everything that it started. */
  readonly signal: AbortSignal;
}

/** Runs the row; `isOk` says whether the guarantee held. */
export async function prove(
  args: readonly string[],
  options: Options,
  io: ProveIo,
): Promise<View & { readonly isOk: boolean }> {
  const [row] = args;
  if (options.list === true) return { ...listView(), isOk: true };
  if (row === undefined) throw new UsageError('Expected ROW or --list after "prove"', ABOUT);
  const proof = find(row);
  const report = await run(proof, options, io);
  return { json: report, text: (layout) => reportText(report, layout), isOk: report.isOk };
}

function find(row: string): Proof {
  const proof = PROOFS.find(({ id }) => id === row.toLowerCase());
  if (proof !== undefined) return proof;
  const ids = PROOFS.map(({ id }) => id);
  const near = nearest(row, ids);
  const hint = near === undefined ? `expected one of ${ids.join(", ")}` : `did you mean "${near}"?`;
  throw new UsageError(`Unknown row "${row}": ${hint}`, ABOUT);
}

async function run(proof: Proof, options: Options, io: ProveIo): Promise<Report> {
  try {
    return await runProof(proof, {
      url: engineUrl(options, io.env),
      isBroken: options.broken,
      isShort: options.short,
      say: io.say,
      signal: io.signal,
    });
  } catch (error) {
    if (isHoldfastError(error, "MISCONFIGURED")) throw new OpenError(error);
    throw error;
  }
}

function listView(): View {
  const rows = PROOFS.map(({ id, title, claim, broken, engines }) => ({
    row: id,
    title,
    claim,
    broken,
    engines,
  }));
  return {
    json: { rows },
    text: (layout) =>
      PROOFS.map(({ id, title, claim, broken, engines }) =>
        list(
          [
            [id, { text: title, style: "bold" }],
            ["claim", claim],
            ["--broken", broken],
            ["engines", engines.join(", ")],
          ],
          { ...layout, isFull: true },
        ),
      ).join("\n"),
  };
}

function reportText(report: Report, layout: Layout): string {
  const { row, title, claim, engine, durability, checks, figures, isOk, isBroken, seconds } =
    report;
  const { copies, synced } = durability;
  const when = typeof synced === "string" ? synced : `within ${synced.withinMs} ms`;
  const variant = isBroken ? ", broken on purpose" : "";
  const whole: Layout = { ...layout, isFull: true };
  const passed = checks.filter((check) => check.isOk).length;
  const verdict = isOk ? layout.paint("green", "HOLDS") : layout.paint("red", "FAILED");
  return [
    `${layout.paint("bold", `${row.toUpperCase()} ${title}`)}\n${claim}\n`,
    `On ${engine} (copies: ${copies}, synced when acknowledged: ${when})${variant}\n`,
    table(
      [{ title: "" }, { title: "CHECK", atLeast: 30 }, { title: "GOT", atLeast: 16 }],
      checks.map(({ name, isOk: holds, got }): Cell[] => [
        holds ? { text: "ok", style: "green" } : { text: "FAILED", style: "red" },
        name,
        got,
      ]),
      whole,
    ),
    table(
      [{ title: "FIGURE" }, { title: "", align: "right" }, { title: "" }],
      figures.map(({ name, value, unit }): Cell[] => [
        name,
        value === null ? "never" : numberText(value),
        unit,
      ]),
      whole,
    ),
    `${verdict}: ${passed} of ${checks.length} checks, in ${seconds} s\n`,
  ].join("\n");
}
