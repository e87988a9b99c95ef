/**
 * Runs a program of the repository on an up-to-date build:
 *   node tools/run.mjs dist/apps/cli/main.js --help
 *   node tools/run.mjs vitest run --project chaos
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "./build.mjs";
import { bin, root, run } from "./process.mjs";
import { isStale } from "./stale.mjs";

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  console.error("Expected a program to run, such as dist/apps/cli/main.js or vitest");
  process.exit(2);
}
if (isStale() && !(await build())) process.exit(1);
if (program.endsWith(".js")) {
  // In this very process, so that signals and exit codes need no relay.
  const file = join(root, program);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
} else {
  process.exit(await run(bin(program), args));
}
