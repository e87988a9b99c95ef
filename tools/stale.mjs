/** Whether the built folders still say what the source says. */
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, root } from "./process.mjs";

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
