/** `npm run format`: what the linter can mend, then wide comments, then the formatter. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bin, root, run } from "./process.mjs";
import { wrapComments } from "./wrap.mjs";

// What it cannot mend is for `npm run lint` to say.
await run(bin("oxlint"), ["--type-aware", "--fix", "--silent"]);

for (const folder of ["src", "apps", "proofs", "examples", "test", "tools", "bench"]) {
  if (!existsSync(join(root, folder))) continue;
  for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
    if (!/\.(?:ts|mjs)$/.test(name) || /(?:^|\/)(?:node_modules|dist)\//.test(name)) continue;
    const path = join(root, folder, name);
    const text = readFileSync(path, "utf8");
    const wrapped = wrapComments(text);
    if (wrapped !== text) writeFileSync(path, wrapped);
  }
}

process.exit(await run(bin("oxfmt"), ["."]));
