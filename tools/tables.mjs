/**
 * The tables in the docs that are made from code and figures. Run it to compare, or with `--write`
 * to write them anew: engines.md from the engines' capability records, guarantees.md from the
 * READMEs of the store and the ports, and the README's comparison from bench/results.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "./build.mjs";
import { isMain, root } from "./process.mjs";
import { isStale } from "./stale.mjs";

/** Memory and SQLite, by the records that the conformance suites read. */
async function capabilities() {
  /** @type {(path: string) => Promise<any>} */
  const load = (path) => import(pathToFileURL(join(root, "dist/src/engines", path)).href);
  const { memory } = await load("memory/index.js");
  const { capabilities: sqlite } = await load("sqlite/index.js");
  return [memory().capabilities, sqlite];
}

/** @param {unknown} value */
function cell(value) {
  if (Array.isArray(value)) return value.map((one) => `\`${one}\``).join(" ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? value.toLocaleString("en-US") : `\`${String(value)}\``;
}

/** @type {Readonly<Record<string, string>>} */
const MEANING = {
  atomic: "How far one group reaches",
  ports: "Ports that it serves",
  isPersistent: "State outlives the process",
  isShared: "Several processes on one store",
  joinsUserTransaction: "Adds in the user's own transaction",
  hasExpiryEvents: "A watch is told of expired keys",
  maxOpsPerGroup: "Ops in one group",
  commitsInFlight: "Commits under way at once",
  ttlGranularityMs: "TTLs are rounded up to (ms)",
};

async function engines() {
  const records = await capabilities();
  const lines = [
    `| | ${records.map((record) => record.engine).join(" | ")} |`,
    `| --- | ${records.map(() => "---").join(" | ")} |`,
  ];
  for (const [name, meaning] of Object.entries(MEANING)) {
    lines.push(`| ${meaning} (\`${name}\`) | ${records.map((r) => cell(r[name])).join(" | ")} |`);
  }
  return lines.join("\n");
}

/** What the store's and every port's README guarantees, and what it does not, under its name. */
function guarantees() {
  const ports = readdirSync(join(root, "src/ports"))
    .sort()
    .map((port) => /** @type {const} */ ([port, `src/ports/${port}/README.md`]));
  /** @type {string[]} */
  const lines = [];
  for (const [name, readme] of [
    .../** @type {const} */ ([["store", "src/store/README.md"]]),
    ...ports,
  ]) {
    if (!existsSync(join(root, readme))) continue;
    lines.push(`## ${name}`, "", ...promised(readFileSync(join(root, readme), "utf8")), "");
  }
  return lines
    .join("\n")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}

/**
 * A README from its first heading or sentence on, its headings a level lower. Sections without
 * sentences go along: what is not guaranteed is as good to know.
 * @param {string} text
 */
export function promised(text) {
  const all = text.split("\n");
  const from = all.findIndex((line) => /^(?:## |\d+\. )/.test(line));
  const lines = from === -1 ? [] : all.slice(from);
  return lines.flatMap((line) => (line.startsWith("## ") ? ["", `#${line}`, ""] : [line]));
}

/** @param {number} value */
function figure(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
}

/**
 * What figures belong to: only those of the same place and day stand in one table.
 * @param {Readonly<Record<string, string>>} result
 */
function surroundings(result) {
  const { date, cpu, memory, node, commit } = result;
  const versions = ["better-sqlite3", "plainjob", "liteque"].map((n) => `${n} ${result[n]}`);
  return `${date}, commit ${commit}, ${cpu}, ${memory}, Node ${node}, ${versions.join(", ")}`;
}

/**
 * The newest figures of each measure, a table for each machine, date and set of versions.
 * @param {readonly any[]} results the files of bench/results, in the order of their names
 */
export function benchTables(results) {
  if (results.length === 0) return "No figures yet.";
  /** @type {Map<string, { date: string, where: string, line: string }>} */
  const newest = new Map();
  for (const result of results) {
    for (const row of result.rows) {
      if ((newest.get(row.bench)?.date ?? "") > result.date) continue;
      const where = surroundings(result);
      newest.set(row.bench, { date: result.date, where, line: benchLine(row) });
    }
  }
  const rows = [...newest.values()];
  const places = [...new Set(rows.map(({ where }) => where))].sort().reverse();
  return places
    .flatMap((place) => [
      "| measure | unit | Holdfast | beside it |",
      "| --- | --- | ---: | --- |",
      ...rows.filter(({ where }) => where === place).map(({ line }) => line),
      "",
      `Medians of runs taken in turn; ${place}.`,
      "",
    ])
    .join("\n")
    .trim();
}

/** @param {any} row */
function benchLine({ bench, unit, holdfast, peers, reference, note }) {
  /** @param {[string, number]} entry */
  const named = ([name, value]) => `${name}: ${figure(value)}`;
  const beside = [
    ...Object.entries(peers).map(named),
    ...Object.entries(reference).map((entry) => `_for reference, ${named(entry)}_`),
  ];
  const what = note === undefined ? "" : `<br>${note}`;
  return `| ${[`\`${bench}\`${what}`, unit, figure(holdfast), beside.join("<br>")].join(" | ")} |`;
}

function bench() {
  const folder = join(root, "bench/results");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const files = names.filter((name) => name.endsWith(".json")).sort();
  return benchTables(files.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8"))));
}

/**
 * Puts the text between the markers of a file; false if it differs and may not be written.
 * @param {string} file
 * @param {string} name
 * @param {string} text
 * @param {boolean} canWrite
 */
function place(file, name, text, canWrite) {
  const path = join(root, file);
  const before = readFileSync(path, "utf8");
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const from = before.indexOf(begin);
  const to = before.indexOf(end);
  if (from < 0 || to < from) throw new Error(`Expected the markers of ${name} in ${file}`);
  const after = `${before.slice(0, from + begin.length)}\n\n${text}\n\n${before.slice(to)}`;
  if (after === before) return true;
  if (!canWrite) {
    console.error(`${file}: the table \`${name}\` is not what the code says: npm run tables`);
    return false;
  }
  writeFileSync(path, after);
  return true;
}

if (isMain(import.meta.url)) {
  if (isStale() && !(await build())) process.exit(1);
  const canWrite = process.argv.includes("--write");
  const isSame = [
    place("docs/reference/engines.md", "engines", await engines(), canWrite),
    place("docs/reference/guarantees.md", "guarantees", guarantees(), canWrite),
    place("README.md", "bench", bench(), canWrite),
  ];
  process.exit(isSame.every(Boolean) ? 0 : 1);
}
