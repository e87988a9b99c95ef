/**
 * `npm run -s bench -- NAME [--json] [--rounds N] [--save]`: runs every measure whose name begins
 * with NAME. A benchmark is not a test:
 * it fails only when the work was not done.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { run, surroundings } from "./kit.ts";
import type { Measure, Row } from "./kit.ts";
import * as kv from "./kv-sqlite.ts";
import * as processes from "./processes.ts";
import * as queue from "./queue-sqlite.ts";

const ALL: readonly (() => Measure)[] = [...queue.measures, ...processes.measures, ...kv.measures];

const OPTIONS = {
  json: { type: "boolean", default: false },
  rounds: { type: "string", default: "5" },
  save: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

const NAMES = ALL.map((make) => make().bench);

const HELP = `Usage: npm run -s bench -- [NAME] [OPTIONS]

Runs every measure whose name begins with NAME, ours and its peers in turn, and prints medians.

  --rounds N   runs of each, after a warm-up (default: 5)
  --json       one JSON object a measure
  --save       writes bench/results/NAME.json
  --list       the names only
  -h, --help   this text

Measures:
${NAMES.map((name) => `  ${name}`).join("\n")}
`;

interface Asked {
  readonly prefix: string;
  readonly rounds: number;
  readonly json: boolean;
  readonly save: boolean;
  readonly list: boolean;
  readonly help: boolean;
}

/** The command line; throws an error whose message says what is wrong with it. */
function readArguments(): Asked {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS });
  const [prefix = "", surplus] = positionals;
  if (surplus !== undefined) throw new Error(`Expected one NAME, got "${surplus}" too`);
  if (!NAMES.some((name) => name.startsWith(prefix))) {
    throw new Error(`Expected the name of a measure, or its beginning, got "${prefix}"`);
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`Expected --rounds to be an integer of at least 1, got "${values.rounds}"`);
  }
  return { ...values, prefix, rounds };
}

function show(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
}

function print(row: Row): void {
  const ratio = row.ratio === null ? "" : `  (ratio ${row.ratio.toFixed(2)})`;
  const lines = [`${row.bench}, ${row.unit}${ratio}`];
  const figures = { holdfast: row.holdfast, ...row.peers, ...row.reference };
  for (const [name, figure] of Object.entries(figures)) {
    const [low, high] = row.range[name] as readonly [number, number];
    const cpuUs = row.cpuUsPerOp[name] ?? null;
    const cpu = cpuUs === null ? "" : `  ${cpuUs.toFixed(1)} µs CPU an operation`;
    lines.push(
      `  ${name.padEnd(46)} ${show(figure).padStart(10)}  [${show(low)}–${show(high)}]${cpu}`,
    );
  }
  if (row.note !== undefined) lines.push(`  ${row.note}`);
  process.stdout.write(`${lines.join("\n")}\n\n`);
}

async function measureAll({ prefix, rounds, json, save }: Asked): Promise<void> {
  const where = surroundings();
  if (!json) {
    const shown = Object.entries(where).map(([name, value]) => `${name}: ${value}`);
    process.stdout.write(`${shown.join(" · ")}\n\n`);
  }
  const rows: Row[] = [];
  for (const make of ALL) {
    const measure = make();
    if (!measure.bench.startsWith(prefix)) continue;
    const row = await run(measure, rounds);
    rows.push(row);
    if (json) process.stdout.write(`${JSON.stringify(row)}\n`);
    else print(row);
  }
  if (!save) return;
  const folder = new URL("../results/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  const file = new URL(`${prefix === "" ? "all" : prefix}.json`, folder);
  writeFileSync(file, `${JSON.stringify({ ...where, rows }, null, 2)}\n`);
}

async function main(): Promise<void> {
  let asked: Asked;
  try {
    asked = readArguments();
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n\n${HELP}`);
    process.exitCode = 2;
    return;
  }
  if (asked.help) process.stdout.write(HELP);
  else if (asked.list) {
    const chosen = NAMES.filter((name) => name.startsWith(asked.prefix));
    process.stdout.write(`${chosen.join("\n")}\n`);
  } else await measureAll(asked);
}

await main();
