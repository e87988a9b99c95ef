/**
 * `npm test`: every check in its short form, one after another, with one closing line.
 * It goes on after a failure, so that one run shows them all; `npm test -- unit chaos` runs only
 * the steps whose names contain one of these words, on what is built anew if it is stale.
 */
import { checkSteps } from "./check.mjs";
import { bin } from "./process.mjs";
import { packageSteps } from "./package-check.mjs";
import { isStale } from "./stale.mjs";
import { nodeStep, runSteps } from "./steps.mjs";

/**
 * A project of vitest.config.ts as a step.
 * @param {string} project
 * @param {Readonly<Record<string, string>>} [env]
 * @returns {import("./steps.mjs").Step}
 */
function tests(project, env = {}) {
  const args = ["run", "--project", project];
  return { name: project, command: bin("vitest"), args, counted: true, env };
}

const buildStep = nodeStep("build", ["tools/build.mjs"]);

/** @type {readonly import("./steps.mjs").Step[]} */
const steps = [
  buildStep,
  ...checkSteps,
  tests("unit"),
  tests("engines"),
  tests("sim"),
  tests("package"),
  nodeStep("docs", ["tools/doc-examples.mjs"], { counted: true }),
  tests("chaos"),
  nodeStep("api", ["tools/api.mjs"]),
  nodeStep("tables", ["tools/tables.mjs"]),
  ...packageSteps,
  nodeStep("bench smoke", ["tools/bench.mjs", "queue.sqlite.addMany", "--rounds", "1", "--json"]),
];

/**
 * The steps that the words choose; all without any. The package, chaos and docs look at what is
 * built: a step chosen alone must not test what was built yesterday.
 * @param {readonly string[]} words
 */
function choose(words) {
  if (words.length === 0) return steps;
  const chosen = steps.filter(({ name }) => words.some((word) => name.includes(word)));
  const looksAtBuilt = chosen.some((step) => step !== buildStep && !checkSteps.includes(step));
  return looksAtBuilt && !chosen.includes(buildStep) && isStale() ? [buildStep, ...chosen] : chosen;
}

const chosen = choose(process.argv.slice(2));
const { passed, failed, skipped } = await runSteps(chosen);
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
