/** The load hook behind tools/typescript.mjs. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/**
 * Compiles a `.ts` module as it is loaded; everything else is none of its business.
 * @type {import("node:module").LoadHook}
 */
export async function load(url, context, nextLoad) {
  if (!url.startsWith("file:") || !/\.ts(\?|$)/.test(url)) return nextLoad(url, context);
  const { transform } = await import("esbuild");
  const path = fileURLToPath(url);
  const source = await readFile(path, "utf8");
  const { code } = await transform(source, {
    loader: "ts",
    format: "esm",
    target: "node20",
    sourcefile: path,
    sourcemap: "inline",
  });
  return { format: "module", source: code, shortCircuit: true };
}
