/**
 * The package's `exports`, derived from its folders: a folder with an `index.ts` is a subpath.
 * Run it to compare with package.json, or with `--write` to bring package.json up to date.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMain, root } from "./process.mjs";

/** Folders of `src` that hold many subpaths, and the prefix that each one gives. */
const families = { features: "", ports: "ports/", engines: "engines/" };

/** Folders that never have a subpath: they are internal. */
const internal = new Set(["core", "engines/shared"]);

/**
 * The names of the folders in `path`, sorted.
 * @param {string} path
 */
function folders(path) {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * Every subpath with its source file, for example `jobs/testing` and
 * `src/features/jobs/testing.ts`. The front door has the subpath "".
 * @returns {Map<string, string>}
 */
export function subpaths(base = root) {
  /** @type {Map<string, string>} */
  const found = new Map();
  /** @type {(subpath: string, file: string) => void} */
  const add = (subpath, file) => {
    if (existsSync(join(base, file))) found.set(subpath, file);
  };
  add("", "src/index.ts");
  for (const name of folders(join(base, "src"))) {
    if (name in families || internal.has(name)) continue;
    add(name, `src/${name}/index.ts`);
  }
  for (const [family, prefix] of Object.entries(families)) {
    for (const name of folders(join(base, "src", family))) {
      if (internal.has(`${family}/${name}`)) continue;
      add(prefix + name, `src/${family}/${name}/index.ts`);
      add(`${prefix}${name}/testing`, `src/${family}/${name}/testing.ts`);
    }
  }
  return found;
}

/**
 * What `exports` in package.json must hold for these subpaths.
 * @param {ReadonlyMap<string, string>} paths
 * @returns {Record<string, string>}
 */
export function exportsOf(paths) {
  /** @type {Record<string, string>} */
  const entries = {};
  for (const subpath of [...paths.keys()].sort()) {
    const file = paths.get(subpath) ?? "";
    entries[subpath === "" ? "." : `./${subpath}`] = `./dist/${file.replace(/\.ts$/, ".js")}`;
  }
  entries["./package.json"] = "./package.json";
  return entries;
}

if (isMain(import.meta.url)) {
  const path = join(root, "package.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  const expected = exportsOf(subpaths());
  if (JSON.stringify(manifest.exports) !== JSON.stringify(expected)) {
    if (!process.argv.includes("--write")) {
      console.error("package.json differs from the folders: run `npm run exports`");
      process.exit(1);
    }
    manifest.exports = expected;
    writeFileSync(path, JSON.stringify(manifest, null, 2) + "\n");
  }
  console.log(`${Object.keys(expected).length} exports`);
}
