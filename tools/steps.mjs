/** Runs a list of checks one after another, goes on after a failure, and counts. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cache, capture, root, run } from "./process.mjs";

/** The longest that one step may take: a hanging test must not hang the run. */
const limitMs = 15 * 60_000;

/**
 * One check. A `counted` one writes its own numbers to the file named by HOLDFAST_COUNTS and
 * shows its output as it goes; any other counts as one and shows its output when it fails.
 * @typedef {{
 *   readonly name: string,
 *   readonly command: string,
 *   readonly args: readonly string[],
 *   readonly counted?: boolean,
 *   readonly cwd?: string,
 *   readonly env?: Readonly<Record<string, string>>,
 * }} Step
 *
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 */

/**
 * A check that is a Node program of the repository.
 * @param {string} name
 * @param {readonly string[]} args
 * @param {Pick<Step, "counted" | "env">} [rest]
 * @returns {Step}
 */
export function nodeStep(name, args, rest = {}) {
  return { name, command: process.execPath, args, ...rest };
}

/**
 * Adds the numbers of a counted step to those of the whole run.
 * @param {Step} step
 * @returns {Promise<Counts>}
 */
async function runCounted(step) {
  const file = join(cache, `counts-${process.pid}.json`);
  mkdirSync(cache, { recursive: true });
  rmSync(file, { force: true });
  const env = { ...process.env, ...step.env, HOLDFAST_COUNTS: file };
  const code = await run(step.command, step.args, { env, cwd: step.cwd ?? root, limitMs });
  try {
    /** @type {Counts} */
    const counts = JSON.parse(readFileSync(file, "utf8"));
    // An exit code that no counted test explains is a failure of its own.
    if (code !== 0 && counts.failed === 0) counts.failed = 1;
    if (counts.passed + counts.failed === 0) counts.failed = 1;
    return counts;
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * Runs one step that counts as one.
 * @param {Step} step
 * @returns {Promise<Counts>}
 */
async function runPlain(step) {
  const env = { ...process.env, ...step.env };
  const { code, output } = await capture(step.command, step.args, {
    env,
    cwd: step.cwd ?? root,
    timeout: limitMs,
  });
  if (code !== 0) process.stdout.write(output);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/**
 * Runs the steps in order and prints a line for each.
 * @param {readonly Step[]} steps
 * @returns {Promise<Counts>}
 */
export async function runSteps(steps) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  /** @type {string[]} */
  const broken = [];
  for (const step of steps) {
    const started = Date.now();
    if (step.counted) console.log(`\n== ${step.name}`);
    const counts = await (step.counted ? runCounted(step) : runPlain(step));
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    if (counts.failed > 0) broken.push(step.name);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(`${counts.failed > 0 ? "FAILED" : "ok"} ${step.name} (${seconds} s)`);
  }
  if (broken.length > 0) console.log(`\nFailed: ${broken.join(", ")}`);
  return total;
}
