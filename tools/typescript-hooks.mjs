/** The load hook behind tools/typescript.mjs. */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Compiled modules by the hash of their source: every thread of every test file loads the same few.
 */
const cache = fileURLToPath(
  new URL("../node_modules/.cache/holdfast/typescript/", import.meta.url),
);

/**
 * Compiles a `.ts` module as it is loaded; everything else is none of its business.
 * @type {import("node:module").LoadHook}
 */
export async function load(url, context, nextLoad) {
  if (!url.startsWith("file:") || !/\.ts(\?|$)/.test(url)) return nextLoad(url, context);
  const path = fileURLToPath(url);
  const source = await readFile(path, "utf8");
  const hash = createHash("sha1").update(path).update("\0").update(source).digest("hex");
  const file = join(cache, `${hash}.js`);
  const code =
    (await readFile(file, "utf8").catch(() => undefined)) ?? (await compile(path, source, file));
  return { format: "module", source: code, shortCircuit: true };
}

/**
 * Compiles one module and keeps the result for others.
 * @param {string} path
 * @param {string} source
 * @param {string} file
 */
async function compile(path, source, file) {
  // esbuild starts a process of its own: only when something changed.
  const { transform } = await import("esbuild");
  const { code } = await transform(source, {
    loader: "ts",
    format: "esm",
    target: "node20",
    sourcefile: path,
    sourcemap: "inline",
  });
  await mkdir(cache, { recursive: true });
  // Whole or not at all: others may read it at this moment.
  const part = `${file}.${randomUUID()}`;
  await writeFile(part, code);
  await rename(part, file);
  return code;
}
