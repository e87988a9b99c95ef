/** `npm run check`: format, lint, types, exports and the tidy test. */
import { bin, isMain } from "./process.mjs";
import { nodeStep, runSteps } from "./steps.mjs";

/** @type {readonly import("./steps.mjs").Step[]} */
export const checkSteps = [
  { name: "format", command: bin("oxfmt"), args: ["--check", "."] },
  { name: "lint", command: bin("oxlint"), args: ["--type-aware", "--deny-warnings"] },
  { name: "types", command: bin("tsc"), args: ["-p", "tsconfig.json"] },
  {
    name: "types of the package",
    command: bin("tsc"),
    args: ["-p", "tsconfig.build.json", "--noEmit"],
  },
  nodeStep("exports", ["tools/exports.mjs"]),
  nodeStep("lock file", ["tools/lock.mjs"]),
  { name: "tidy", command: bin("vitest"), args: ["run", "--project", "tidy"], counted: true },
];

if (isMain(import.meta.url)) process.exit((await runSteps(checkSteps)).failed > 0 ? 1 : 0);
