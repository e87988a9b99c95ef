/** Reads the repository into memory, once, for all rules. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Files } from "./source.ts";

/** Folders that hold sources or documents. */
const FOLDERS = [
  "src",
  "apps",
  "proofs",
  "lab",
  "examples",
  "test",
  "tools",
  "bench",
  "docs",
  "api",
  ".ci",
];

const SKIPPED = new Set(["node_modules", "dist", "results"]);

/** Files that are text by their names. */
const TEXT = /(?:\.(?:ts|mjs|js|json|md|sql|lua|html|css|csv|txt)|\/run|LICENSE)$/;

function walk(root: string, folder: string, found: Map<string, string>): void {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      const isWanted = folder !== "" || FOLDERS.includes(entry.name);
      if (isWanted && !SKIPPED.has(entry.name)) walk(root, path, found);
    } else if (TEXT.test(path) && path !== "package-lock.json") {
      found.set(path, readFileSync(join(root, path), "utf8"));
    }
  }
}

/** Every text file of the repository by its path from the root. */
export function readTree(root: string): Files {
  const found = new Map<string, string>();
  walk(root, "", found);
  return found;
}
