/**
 * The public-API baseline: one file a subpath in `api/`, made from the declarations in dist.
 * Run it to compare, or with `--write` to accept what the source says now. The difference is
 * reviewed like code: a removed or changed line breaks somebody's program.
 *
 * `api/internal.d.ts` holds what no subpath exports although an exported declaration mentions it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync, readdirSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { build } from "./build.mjs";
import { subpaths } from "./exports.mjs";
import { isMain, root } from "./process.mjs";
import { isStale } from "./stale.mjs";

/**
 * One declaration file: its own declarations, and the names that it takes from others.
 * @typedef {{
 *   readonly declared: Map<string, string[]>,
 *   readonly imported: Map<string, { readonly from: string, readonly name: string }>,
 *   readonly exported: Map<string, { readonly from: string, readonly name: string }>,
 *   readonly stars: string[],
 * }} Module
 *
 * @typedef {{ readonly file: string, readonly name: string }} Origin
 */

/** What reads the text of a declaration file. @typedef {(file: string) => string} Read */

/**
 * The text without comments; strings stay, so that literal types do.
 * @param {string} text
 */
function withoutComments(text) {
  return text
    .replace(/("(?:[^"\\\n]|\\.)*")|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (_, string) => string ?? "")
    .replace(/^[ \t]*\n/gm, "");
}

/**
 * Splits emitted declarations into top-level statements: each begins in the first column, and the
 * compiler puts nothing but closing brackets there otherwise.
 * @param {string} text
 */
function statements(text) {
  return withoutComments(text)
    .split(/\n(?=[a-z@])/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "" && statement !== "export {};");
}

/**
 * The pairs in `{ a, type b as c }`, the outer name first.
 * @param {string} list
 */
function specifiers(list) {
  return list
    .split(",")
    .map((part) => part.trim().replace(/^type\s+/, ""))
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", outer = name] = part.split(/\s+as\s+/);
      return { name, outer };
    });
}

/**
 * Reads one declaration file.
 * @param {string} file
 * @param {string} text
 * @returns {Module}
 */
export function parse(file, text) {
  /** @type {Module} */
  const module = { declared: new Map(), imported: new Map(), exported: new Map(), stars: [] };
  /** @type {(specifier: string) => string} */
  const resolve = (specifier) =>
    specifier.startsWith(".")
      ? posix.join(posix.dirname(file), specifier.replace(/\.[jt]s$/, ".d.ts"))
      : specifier;
  for (const statement of statements(text)) {
    const star = /^export \* from "([^"]+)"/.exec(statement);
    const list = /^(import|export)(?: type)? \{([^}]*)\}(?: from "([^"]+)")?/.exec(statement);
    const named = /^import(?: type)? (?:\* as )?(\w+) from "([^"]+)"/.exec(statement);
    if (star) module.stars.push(resolve(star[1] ?? ""));
    else if (named) {
      module.imported.set(named[1] ?? "", { from: resolve(named[2] ?? ""), name: "*" });
    } else if (list) {
      const target = list[1] === "import" ? module.imported : module.exported;
      const from = list[3] === undefined ? file : resolve(list[3]);
      for (const { name, outer } of specifiers(list[2] ?? "")) target.set(outer, { from, name });
    } else declare(module, file, statement);
  }
  return module;
}

/**
 * Notes a declaration, and its name as exported where it says so.
 * @param {Module} module
 * @param {string} file
 * @param {string} statement
 */
function declare(module, file, statement) {
  const pattern =
    /^(export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const|let|var|enum) (\w+)/;
  const match = pattern.exec(statement);
  if (match === null) return;
  const name = match[2] ?? "";
  const text = statement.replace(/^export /, "").replace(/^declare /, "");
  module.declared.set(name, [...(module.declared.get(name) ?? []), text]);
  if (match[1] !== undefined) module.exported.set(name, { from: file, name });
}

/** The declarations of a package, found by following its files. */
class Declarations {
  /** @type {Map<string, Module>} */
  #modules = new Map();
  #read;

  /** @param {Read} read */
  constructor(read) {
    this.#read = read;
  }

  /** @param {string} file */
  module(file) {
    const known = this.#modules.get(file);
    if (known !== undefined) return known;
    const module = file.endsWith(".d.ts") ? parse(file, this.#read(file)) : parse(file, "");
    this.#modules.set(file, module);
    return module;
  }

  /**
   * Where a name that `file` knows is really declared; undefined for a global or another package's.
   * @param {string} file
   * @param {string} name
   * @returns {Origin | undefined}
   */
  origin(file, name, seen = new Set()) {
    const step = `${file} ${name}`;
    if (seen.has(step)) return undefined;
    seen.add(step);
    const module = this.module(file);
    if (module.declared.has(name)) return { file, name };
    const link = module.exported.get(name) ?? module.imported.get(name);
    if (link !== undefined) return this.origin(link.from, link.name, seen);
    for (const star of module.stars) {
      const found = this.origin(star, name, seen);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * The names that a file exports.
   * @param {string} file
   * @returns {Set<string>}
   */
  exports(file, seen = new Set()) {
    if (seen.has(file)) return new Set();
    seen.add(file);
    const module = this.module(file);
    const names = new Set(module.exported.keys());
    for (const star of module.stars) for (const name of this.exports(star, seen)) names.add(name);
    return names;
  }

  /** @param {Origin} origin */
  text({ file, name }) {
    return (this.module(file).declared.get(name) ?? []).join("\n");
  }

  /**
   * The declarations of the package that this one mentions.
   * @param {Origin} origin
   * @returns {Origin[]}
   */
  mentions(origin) {
    const words = new Set(this.text(origin).match(/[A-Za-z_]\w*/g) ?? []);
    words.delete(origin.name);
    return [...words].flatMap((word) => this.origin(origin.file, word) ?? []);
  }
}

/**
 * The text of every baseline file, by its path below `api/`.
 * @param {ReadonlyMap<string, string>} entries subpath to declaration file
 * @param {Read} read
 * @returns {Map<string, string>}
 */
export function baseline(entries, read) {
  const declarations = new Declarations(read);
  /** @type {Map<string, Origin>} */
  const reached = new Map();
  const exported = new Set();
  const files = new Map();
  for (const [subpath, file] of entries) {
    const lines = [`// ${subpath === "" ? "holdfast" : `holdfast/${subpath}`}`];
    for (const name of [...declarations.exports(file)].sort()) {
      const origin = declarations.origin(file, name);
      if (origin === undefined) {
        lines.push(`${name}: from another package`);
        continue;
      }
      const key = `${origin.file} ${origin.name}`;
      exported.add(key);
      reached.set(key, origin);
      const renamed = name === origin.name ? "" : `// as ${name}\n`;
      lines.push(renamed + declarations.text(origin));
    }
    files.set(`${subpath === "" ? "index" : subpath}.d.ts`, lines.join("\n\n") + "\n");
  }
  files.set("internal.d.ts", internals(declarations, reached, exported));
  return files;
}

/**
 * What the exported declarations mention, directly or not, without being exported themselves.
 * @param {Declarations} declarations
 * @param {Map<string, Origin>} reached grows while it is walked
 * @param {ReadonlySet<string>} exported
 */
function internals(declarations, reached, exported) {
  const hidden = [];
  for (const [key, origin] of reached) {
    if (!exported.has(key)) hidden.push({ key, text: declarations.text(origin) });
    for (const next of declarations.mentions(origin)) {
      const nextKey = `${next.file} ${next.name}`;
      if (!reached.has(nextKey)) reached.set(nextKey, next);
    }
  }
  hidden.sort((a, b) => (a.key < b.key ? -1 : 1));
  const lines = hidden.map(({ key, text }) => `// ${key.split(" ")[0]}\n${text}`);
  return ["// mentioned by exported declarations, exported by none", ...lines].join("\n\n") + "\n";
}

/** The files that stand in `api/` now. */
function standing(folder = "") {
  /** @type {string[]} */
  const found = [];
  const path = join(root, "api", folder);
  if (!existsSync(path)) return found;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = posix.join(folder, entry.name);
    if (entry.isDirectory()) found.push(...standing(child));
    else if (entry.name.endsWith(".d.ts")) found.push(child);
  }
  return found;
}

/** Compares or writes; resolves with whether the baseline holds. */
async function main() {
  if (isStale() && !(await build())) return false;
  const entries = [...subpaths()].map(
    ([subpath, file]) => /** @type {const} */ ([subpath, file.replace(/\.ts$/, ".d.ts")]),
  );
  const expected = baseline(new Map(entries), (file) =>
    readFileSync(join(root, "dist", file), "utf8"),
  );
  const drifted = new Set(standing().filter((file) => !expected.has(file)));
  for (const [file, text] of expected) {
    const path = join(root, "api", file);
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) drifted.add(file);
  }
  if (!process.argv.includes("--write")) {
    for (const file of drifted) console.error(`api/${file} differs from the source`);
    if (drifted.size > 0) console.error("Review the change, then run `npm run api:update`");
    return drifted.size === 0;
  }
  rmSync(join(root, "api"), { recursive: true, force: true });
  for (const [file, text] of expected) {
    mkdirSync(dirname(join(root, "api", file)), { recursive: true });
    writeFileSync(join(root, "api", file), text);
  }
  console.log(`${expected.size} files, ${drifted.size} changed`);
  return true;
}

if (isMain(import.meta.url)) process.exit((await main()) ? 0 : 1);
