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

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    save: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

function show(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
}

function print(row: Row): void {
  if (values.json) {
    process.stdout.write(`${JSON.stringify(row)}\n`);
    return;
  }
  const ratio = row.ratio === null ? "" : `  (ratio ${row.ratio.toFixed(2)})`;
  const lines = [`${row.bench}, ${row.unit}${ratio}`];
  for (const [name, figure] of [
    ["holdfast", row.holdfast] as const,
    ...Object.entries(row.peers),
  ]) {
    const [low, high] = row.range[name] as readonly [number, number];
    const cpu = (row.cpuUsPerOp[name] as number).toFixed(1);
    lines.push(
      `  ${name.padEnd(46)} ${show(figure).padStart(10)}  [${show(low)}–${show(high)}]  ${cpu} µs CPU an operation`,
    );
  }
  if (row.note !== undefined) lines.push(`  ${row.note}`);
  process.stdout.write(`${lines.join("\n")}\n\n`);
}

const prefix = positionals[0] ?? "";
const chosen = ALL.map((make) => make()).filter(({ bench }) => bench.startsWith(prefix));
if (values.list) {
  process.stdout.write(`${chosen.map(({ bench }) => bench).join("\n")}\n`);
} else if (chosen.length === 0) {
  process.stderr.write(`Expected the name of a measure, got "${prefix}": see --list\n`);
  process.exitCode = 2;
} else {
  const where = surroundings();
  if (!values.json)
    process.stdout.write(
      `${Object.entries(where)
        .map(([k, v]) => `${k}: ${v}`)
        .join(" · ")}\n\n`,
    );
  const rows: Row[] = [];
  for (const measure of chosen) {
    const row = await run(measure, Number(values.rounds));
    rows.push(row);
    print(row);
  }
  if (values.save) {
    const folder = new URL("../results/", import.meta.url);
    mkdirSync(folder, { recursive: true });
    const name = prefix === "" ? "all" : prefix;
    writeFileSync(
      new URL(`${name}.json`, folder),
      `${JSON.stringify({ ...where, rows }, null, 2)}\n`,
    );
  }
}
