/**
 * The tables in the docs that are made from code and figures. Run it to compare, or with `--write`
 * to write them anew: engines.md from the engines' capability records, guarantees.md from the
 * ports' READMEs, and the README's comparison from bench/results.
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

/** The numbered sentences of every port's README, under the port's name and its headings. */
function guarantees() {
  const ports = join(root, "src/ports");
  /** @type {string[]} */
  const lines = [];
  for (const port of readdirSync(ports).sort()) {
    const readme = join(ports, port, "README.md");
    if (!existsSync(readme)) continue;
    lines.push(`## ${port}`, "");
    for (const line of readFileSync(readme, "utf8").split("\n")) {
      if (line.startsWith("## ")) lines.push("", `### ${line.slice(3)}`, "");
      if (/^\d+\. /.test(line)) lines.push(line);
    }
    lines.push("");
  }
  return lines
    .join("\n")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}

/** @param {number} value */
function figure(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
}

/** The newest figures of each measure, with the machine, the versions and the date. */
function bench() {
  const folder = join(root, "bench/results");
  const files = existsSync(folder)
    ? readdirSync(folder).filter((name) => name.endsWith(".json"))
    : [];
  const results = files.sort().map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
  if (results.length === 0) return "No figures yet.";
  const lines = ["| measure | unit | Holdfast | beside it |", "| --- | --- | ---: | --- |"];
  for (const result of results) {
    for (const row of result.rows) {
      const peers = Object.entries(row.peers).map(([name, value]) => `${name}: ${figure(value)}`);
      const what = row.note === undefined ? "" : `<br>${row.note}`;
      const cells = [`\`${row.bench}\`${what}`, row.unit, figure(row.holdfast), peers.join("<br>")];
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  const { date, cpu, memory, node } = results[0];
  const versions = ["better-sqlite3", "plainjob", "liteque"].map((n) => `${n} ${results[0][n]}`);
  lines.push(
    "",
    `Medians of runs taken in turn; ${date}, ${cpu}, ${memory}, Node ${node}, ${versions.join(", ")}.`,
  );
  return lines.join("\n");
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
