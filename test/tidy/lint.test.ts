/** The linter is part of the house: it must find what is planted for it. */
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

const planted: Readonly<Record<string, string>> = {
  "src/store/long.ts": `export function long(): number {\n  let n = 0;\n${"  n += 1;\n".repeat(70)}  return n;\n}\n`,
  "src/store/tangled.ts": `export function tangled(n: number): number {\n${Array.from(
    { length: 16 },
    (_, i) => `  if (n === ${i}) return ${i + 1};\n`,
  ).join("")}  return 0;\n}\n`,
  "src/store/floating.ts":
    "async function f(): Promise<void> {}\nexport function g(): void {\n  f();\n}\n",
  "src/store/circle-a.ts":
    'import { b } from "./circle-b.ts";\nexport const a = (): number => b();\n',
  "src/store/circle-b.ts":
    'import { a } from "./circle-a.ts";\nexport const b = (): number => a();\n',
  "src/store/upward.ts":
    'import { e } from "../engines/memory/e.ts";\nexport const f = (): number => e();\n',
  "src/engines/memory/e.ts": "export const e = (): number => 1;\n",
  "src/store/clock.ts": "export const now = (): number => Date.now();\n",
  "src/store/clean.ts": "export const one = (): number => 1;\n",
};

const expected: Readonly<Record<string, string>> = {
  "src/store/long.ts": "max-lines-per-function",
  "src/store/tangled.ts": "complexity",
  "src/store/floating.ts": "no-floating-promises",
  "src/store/circle-a.ts": "no-cycle",
  "src/store/circle-b.ts": "no-cycle",
  "src/store/upward.ts": "no-restricted-imports",
  "src/store/clock.ts": "no-restricted-globals",
};

test("oxlint reports every planted violation and nothing else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-lint-"));
  try {
    for (const [file, text] of Object.entries(planted)) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    for (const name of [".oxlintrc.json", "tsconfig.json", "package.json"]) {
      copyFileSync(join(root, name), join(folder, name));
    }
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "dir");
    const output = await new Promise<string>((resolve) => {
      const args = ["--type-aware", "-f", "unix", "src"];
      execFile(join(root, "node_modules/.bin/oxlint"), args, { cwd: folder }, (_, stdout) =>
        resolve(stdout),
      );
    });
    const found = output
      .split("\n")
      .map((line) => /^(src\/[\w/.-]+\.ts):.*\[\w+\/[\w-]*\(([\w-]+)\)\]$/.exec(line))
      .filter((match) => match !== null)
      .map((match) => [match[1], match[2]]);
    expect(Object.fromEntries(found)).toEqual(expected);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
