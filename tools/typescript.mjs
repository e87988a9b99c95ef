/**
 * Lets Node load this repository's TypeScript directly, for worker threads that tests start from
 * the sources. Node 20 cannot strip types by itself; later versions can, and are left alone.
 * Use: `node --import ./tools/typescript.mjs file.ts`.
 */
import { register } from "node:module";

if (!("typescript" in process.features && process.features.typescript))
  register("./typescript-hooks.mjs", import.meta.url);
