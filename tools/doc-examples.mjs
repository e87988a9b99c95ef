/**
 * Compiles and runs every code block of the documentation that is marked ```` ```ts runnable ````,
 * against the built package. Each block counts as one test and runs in an empty folder of its own.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { build } from "./build.mjs";
import { bin, capture, isMain, root } from "./process.mjs";
import { isStale } from "./stale.mjs";

/** @typedef {{ readonly source: string, readonly line: number, readonly code: string }} Example */

/** How long one example may run. */
const timeoutMs = 30_000;

/**
 * Every Markdown file that may hold examples.
 * @param {string} path
 * @returns {string[]}
 */
function markdown(path) {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const child = join(path, entry.name);
    if (entry.isDirectory()) return markdown(child);
    return entry.name.endsWith(".md") ? [child] : [];
  });
}

/**
 * The runnable blocks of one document.
 * @param {string} source
 * @param {string} text
 * @returns {Example[]}
 */
export function examplesIn(source, text) {
  return [...text.matchAll(/^```ts runnable[^\n]*\n([\s\S]*?)^```/gm)].map((match) => ({
    source,
    line: text.slice(0, match.index).split("\n").length,
    code: match[1] ?? "",
  }));
}

/**
 * Compiles the examples and resolves with what the compiler said of each file.
 * @param {string} folder
 */
async function compile(folder) {
  const options = {
    noEmit: false,
    allowJs: false,
    checkJs: false,
    // A short example may name what only the reader goes on to use.
    noUnusedLocals: false,
    rootDir: ".",
    outDir: "out",
    paths: {},
  };
  const config = {
    extends: "../../tsconfig.json",
    compilerOptions: options,
    include: ["*.ts"],
    exclude: [],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const { output } = await capture(bin("tsc"), ["-p", folder, "--pretty", "false"]);
  return output;
}

/**
 * Runs one compiled example; resolves with an empty text where it went well.
 * @param {string} file
 */
async function execute(file) {
  const cwd = mkdtempSync(join(tmpdir(), "holdfast-example-"));
  try {
    const { code, output } = await capture(process.execPath, [file], { cwd, timeout: timeoutMs });
    return code === 0 ? "" : `exit code ${code}\n${output}`;
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** Runs all examples and prints a line for each. */
async function main() {
  if (isStale() && !(await build())) process.exit(1);
  const files = [join(root, "README.md"), ...markdown(join(root, "docs"))].filter(existsSync);
  const found = files.flatMap((file) =>
    examplesIn(relative(root, file), readFileSync(file, "utf8")),
  );
  const folder = join(root, ".cache", "doc-examples");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  found.forEach(({ code }, index) => writeFileSync(join(folder, `example-${index}.ts`), code));
  const said = found.length > 0 ? await compile(folder) : "";
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [index, { source, line }] of found.entries()) {
    const errors = said.split("\n").filter((text) => text.includes(`example-${index}.ts(`));
    const problem =
      errors.join("\n") || (await execute(join(folder, "out", `example-${index}.js`)));
    counts[problem === "" ? "passed" : "failed"] += 1;
    console.log(
      `${problem === "" ? "ok" : "FAILED"} ${source}:${line}${problem && `\n${problem}`}`,
    );
  }
  const file = process.env["HOLDFAST_COUNTS"];
  if (file) writeFileSync(file, JSON.stringify(counts));
  if (found.length === 0) console.log("No runnable example was found");
  process.exit(counts.failed > 0 || found.length === 0 ? 1 : 0);
}

if (isMain(import.meta.url)) await main();
