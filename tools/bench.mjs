/**
 * `npm run -s bench -- NAME [--json]`: builds what is measured, installs the peers on first use,
 * and starts bench/run. What it prints itself goes to standard error, so that `--json` stays clean.
 */
import { existsSync, mkdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "./build.mjs";
import { bin, capture, root } from "./process.mjs";
import { isStale } from "./stale.mjs";

const folder = join(root, "bench");
const modules = join(folder, "node_modules");

/** Whether the installed peers are those that the lock file names. */
function isInstalled() {
  const marker = join(modules, ".package-lock.json");
  if (!existsSync(marker)) return false;
  return statSync(marker).mtimeMs >= statSync(join(folder, "package-lock.json")).mtimeMs;
}

/**
 * Runs one preparation and ends the program where it fails.
 * @param {string} title
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} cwd
 */
async function prepare(title, command, args, cwd) {
  const { code, output } = await capture(command, args, { cwd });
  if (code === 0) return;
  process.stderr.write(`${title} failed\n${output}`);
  process.exit(1);
}

if (isStale() && !(await build())) process.exit(1);
if (!isInstalled()) {
  process.stderr.write("Installing the peers to compare with (once) ...\n");
  await prepare("npm ci in bench", "npm", ["ci"], folder);
}
// The benches import the package by its name, like any other program.
const link = join(modules, "holdfast");
if (!existsSync(link)) {
  mkdirSync(modules, { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(join("..", ".."), link, "dir");
}
await prepare("Compiling bench", bin("tsc"), ["-p", "tsconfig.bench.json"], root);

const main = join(folder, "dist", "run.js");
process.argv = [process.execPath, main, ...process.argv.slice(2)];
await import(pathToFileURL(main).href);
