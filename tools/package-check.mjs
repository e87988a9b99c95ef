/** `npm run package:check`: what the package promises to those who install it. */
import { build } from "./build.mjs";
import { bin, isMain } from "./process.mjs";
import { runSteps } from "./steps.mjs";
import { isStale } from "./stale.mjs";

/** @type {readonly import("./steps.mjs").Step[]} */
export const packageSteps = [
  { name: "publint", command: bin("publint"), args: ["--strict"] },
  { name: "attw", command: bin("attw"), args: ["--pack", ".", "--profile", "esm-only"] },
  { name: "knip", command: bin("knip"), args: ["--no-progress"] },
];

if (isMain(import.meta.url)) {
  if (isStale() && !(await build())) process.exit(1);
  process.exit((await runSteps(packageSteps)).failed > 0 ? 1 : 0);
}
