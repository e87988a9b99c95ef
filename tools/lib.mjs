/** What the tools share: the root folder, starting a program, and knowing whether dist is stale. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where tools keep what can be made again; git ignores it. */
export const cache = join(root, ".cache");

/**
 * Whether the module with this URL is the program that was started.
 * @param {string} url
 */
export function isMain(url) {
  const started = process.argv[1];
  return (
    started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(url)
  );
}

/**
 * The path of a program that a development dependency brings.
 * @param {string} name
 */
export function bin(name) {
  return join(root, "node_modules", ".bin", name);
}

/**
 * Runs a program in the root folder and resolves with its exit code (a signal counts as 1).
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import("node:child_process").SpawnOptions} [options]
 * @returns {Promise<number>}
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", ...options });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/**
 * Runs a program and resolves with its exit code and what it printed on both streams.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ readonly cwd?: string, readonly env?: NodeJS.ProcessEnv, readonly timeout?: number }} [options]
 * @returns {Promise<{ code: number, output: string }>}
 */
export function capture(command, args, options = {}) {
  let output = "";
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
    });
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/**
 * The newest change below `path`, folders included, so that a deletion is noticed as well.
 * @param {string} path
 * @returns {number}
 */
function newest(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return path.endsWith(".test.ts") ? 0 : stat.mtimeMs;
  let latest = stat.mtimeMs;
  for (const name of readdirSync(path)) {
    if (name === "node_modules") continue;
    latest = Math.max(latest, newest(join(path, name)));
  }
  return latest;
}

const stamp = join(cache, "built");

/** Everything that the built folders are made from. */
const inputs = [
  "src",
  "apps",
  "proofs",
  "examples",
  "tsconfig.json",
  "tsconfig.build.json",
  "tsconfig.examples.json",
];

/** Whether the built folders are missing or older than what they are made from. */
export function isStale() {
  if (!existsSync(join(root, "dist")) || !existsSync(stamp)) return true;
  const built = statSync(stamp).mtimeMs;
  return inputs.some((path) => newest(join(root, path)) > built);
}

/**
 * Notes that the built folders hold what the source was at `startedMs`.
 * @param {number} startedMs
 */
export function markBuilt(startedMs) {
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, "");
  utimesSync(stamp, startedMs / 1000, startedMs / 1000);
}
