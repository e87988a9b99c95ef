/**
 * Compiles the package into dist and the examples into dist-examples.
 *
 * Each folder is written beside the old one and then takes its place, so that a failed build
 * leaves the last good one, and a program that starts meanwhile finds a whole one. `--force`
 * keeps what was emitted in spite of type errors.
 */
import { chmodSync, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bin, isMain, root, run } from "./process.mjs";
import { markBuilt } from "./stale.mjs";

/**
 * Compiles one project into `target`; resolves with whether it may be used.
 * @param {string} project
 * @param {string} target
 * @param {boolean} force
 */
async function compile(project, target, force) {
  const next = `${target}.next-${process.pid}`;
  const old = `${target}.old-${process.pid}`;
  try {
    const code = await run(bin("tsc"), ["-p", project, "--outDir", next]);
    if (!existsSync(join(root, next)) || (code !== 0 && !force)) return code === 0;
    if (existsSync(join(root, target))) renameSync(join(root, target), join(root, old));
    renameSync(join(root, next), join(root, target));
    return true;
  } finally {
    rmSync(join(root, next), { recursive: true, force: true });
    rmSync(join(root, old), { recursive: true, force: true });
  }
}

/** Builds everything; resolves with whether it went well. */
export async function build({ force = false } = {}) {
  const startedMs = Date.now();
  if (!(await compile("tsconfig.build.json", "dist", force))) return false;
  const main = join(root, "dist", "apps", "cli", "main.js");
  if (existsSync(main)) chmodSync(main, 0o755);
  // The examples compile against dist, as a user's program would: so they come second.
  if (existsSync(join(root, "examples"))) {
    if (!(await compile("tsconfig.examples.json", "dist-examples", force))) return false;
  }
  markBuilt(startedMs);
  return true;
}

if (isMain(import.meta.url)) {
  process.exit((await build({ force: process.argv.includes("--force") })) ? 0 : 1);
}
