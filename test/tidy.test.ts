/**
 * The rules of the house, checked over the repository itself. Each rule is also shown a violation
 * planted in memory, so that none of them can pass by seeing nothing.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { exportsOf, subpaths } from "../tools/exports.mjs";
import { AT_MOST, exceptions } from "./tidy/exceptions.ts";
import { FEATURE_DAG, featureOrder, layers, type Finding } from "./tidy/layers.ts";
import * as rules from "./tidy/rules.ts";
import { importsOf, isCode, maskOf, type Files } from "./tidy/source.ts";
import { readTree } from "./tidy/tree.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const tree = readTree(root);
const entries = subpaths();
const publicNames = new Set([...entries.keys(), "package.json"]);
const manifest = JSON.parse(tree.get("package.json") ?? "{}") as {
  readonly exports: Readonly<Record<string, string>>;
};

/** Every rule as a check of a set of files. */
const checks: Readonly<Record<string, (files: Files) => readonly Finding[]>> = {
  layers: (files) => layers(files, publicNames),
  featureOrder: () => featureOrder(FEATURE_DAG),
  sizes: rules.sizes,
  bannedGlobals: rules.bannedGlobals,
  names: rules.names,
  erasable: rules.erasable,
  deadFiles: (files) => rules.deadFiles(files, entries.values()),
  exportDrift: () => rules.exportDrift(manifest.exports, exportsOf(entries)),
  portReadmes: rules.portReadmes,
  documents: rules.documents,
  localPaths: rules.localPaths,
};

const show = ({ file, line, message }: Finding): string => `${file}:${line ?? 1} ${message}`;

describe("the repository", () => {
  test("the scan sees it", () => {
    const code = [...tree].filter(([file]) => isCode(file));
    expect(code.length).toBeGreaterThan(40);
    expect(code.filter(([file]) => file.startsWith("src/")).length).toBeGreaterThan(20);
    expect(code.flatMap(([, text]) => importsOf(text)).length).toBeGreaterThan(150);
    expect(entries.size).toBeGreaterThan(0);
  });

  test.each(Object.keys(checks))("%s", (rule) => {
    const isExcused = (finding: Finding): boolean =>
      exceptions.some((exception) => exception.rule === rule && exception.file === finding.file);
    const findings = checks[rule]?.(tree) ?? [];
    expect(findings.filter((finding) => !isExcused(finding)).map(show)).toEqual([]);
  });

  test("every exception is needed and has a reason, and there is no new one", () => {
    expect(exceptions.length).toBeLessThanOrEqual(AT_MOST);
    for (const { rule, file, reason } of exceptions) {
      expect(reason.length, `${rule} ${file}`).toBeGreaterThan(20);
      const findings = checks[rule]?.(tree) ?? [];
      expect(
        findings.some((finding) => finding.file === file),
        `${rule} ${file}`,
      ).toBe(true);
    }
  });
});

/** Violations by rule: the files, and how many findings they must give. */
const plants: Readonly<Record<string, readonly Readonly<Record<string, string>>[]>> = {
  layers: [
    { "src/core/a.ts": 'import { b } from "../store/b.ts";', "src/store/b.ts": "" },
    { "src/core/a.ts": 'import { x } from "./missing.ts";' },
    { "src/core/a.ts": 'import { trace } from "@opentelemetry/api";' },
    { "src/ports/kv/a.ts": 'import type { B } from "../../engines/memory/b.ts";', ...memory() },
    { "src/features/jobs/a.ts": 'export * from "../../engines/memory/b.ts";', ...memory() },
    { "src/features/jobs/a.ts": 'await import("../../engines/memory/b.ts");', ...memory() },
    { "src/features/jobs/a.ts": 'type B = import("../../engines/memory/b.ts").B;', ...memory() },
    { "src/engines/sqlite/a.ts": 'import { b } from "../memory/b.ts";', ...memory() },
    { "src/engines/sqlite/a.ts": 'import Database from "better-sqlite3";' },
    { "src/engines/memory/a.ts": 'import "../../sim/s.ts";', "src/sim/s.ts": "" },
    {
      "src/features/jobs/a.ts": 'import { w } from "../workflow/index.ts";',
      "src/features/workflow/index.ts": "",
    },
    {
      "src/features/workflow/a.ts": 'import { j } from "../jobs/inner.ts";',
      "src/features/jobs/inner.ts": "",
    },
    { "src/conformance/kv.ts": 'import { test } from "node:test";' },
    { "src/connect.ts": 'import "./features/jobs/index.ts";', "src/features/jobs/index.ts": "" },
    {
      "src/features/jobs/index.ts": 'import "./testing.ts";',
      "src/features/jobs/testing.ts": "",
    },
    {
      "src/features/jobs/testing/world.ts": 'import "../../../engines/sqlite/index.ts";',
      "src/engines/sqlite/index.ts": "",
    },
    { "src/store/a.ts": 'import "./a.test.ts";', "src/store/a.test.ts": "" },
    { "src/store/a.ts": 'import { queue } from "holdfast/jobs";' },
    { "apps/cli/main.ts": 'import { x } from "../../src/index.ts";', "src/index.ts": "" },
    { "apps/cli/main.ts": 'import { x } from "holdfast/no-such-subpath";' },
    { "examples/shop/main.ts": 'import "../other/o.ts";', "examples/other/o.ts": "" },
    {
      "proofs/b1.ts": 'import {\n  type A,\n  b,\n} from "../src/core/b.ts";',
      "src/core/b.ts": "",
    },
  ],
  sizes: [
    { "src/core/a.ts": "x;\n".repeat(501) },
    { "src/core/a.ts": `const ${"x".repeat(100)} = "";\n` },
    { "src/core/a.ts": `const x = "";\n// ${"x".repeat(100)}\n` },
    { "src/core/a.ts": `const x = ""; // ${"x".repeat(100)}\n` },
  ],
  bannedGlobals: [
    { "src/store/a.ts": "const t = Date.now();" },
    { "src/store/a.ts": "const t = new Date();" },
    { "src/store/a.ts": "const t = `${performance.now()} ms`;" },
    { "src/store/a.ts": "setTimeout(f, 1);" },
    { "src/store/a.ts": "globalThis.setInterval(f, 1);" },
    { "src/store/a.ts": "process.hrtime.bigint();" },
    { "src/store/a.ts": "const s = AbortSignal.timeout(5);" },
    { "apps/cli/a.ts": "const r = Math.random();" },
    { "proofs/a.ts": 'import { randomUUID } from "node:crypto";' },
    { "src/store/a.ts": 'import { setTimeout as wait } from "node:timers/promises";' },
  ],
  names: [
    { "src/core/BadName.ts": "" },
    { "src/core/utils.ts": "" },
    { "src/helpers/a.ts": "" },
    { "src/store/types.ts": "" },
    { "src/store/a.ts": "export interface IStore {}" },
    { "src/store/a.ts": "export class JobManager {}" },
    { "src/store/a.ts": "type JobHelper<T> = T;" },
  ],
  erasable: [
    { "src/store/a.ts": "export enum Color { Red }" },
    { "src/store/a.ts": "export const enum Color { Red }" },
    { "src/store/a.ts": "declare namespace N { }" },
  ],
  deadFiles: [{ "src/index.ts": 'import "./live.ts";', "src/live.ts": "", "src/core/dead.ts": "" }],
  portReadmes: [
    { "src/ports/kv/kv.ts": "" },
    { "src/ports/kv/README.md": "# kv\n", "src/ports/readme.test.ts": '["ports/queue", cases]' },
  ],
  documents: [
    { "docs/a.md": "no heading\n" },
    { "docs/a.md": "# One\n\n# Two\n" },
    { "docs/a.md": "# One\n\n[gone](./gone.md)\n" },
  ],
  localPaths: [{ "docs/a.md": `# One\n\nlies in ${["", "root", "somewhere"].join("/")}\n` }],
};

/** A file of another engine, to be imported by those who must not. */
function memory(): Record<string, string> {
  return { "src/engines/memory/b.ts": "export type B = 1;" };
}

describe("planted violations", () => {
  const cases = Object.entries(plants).flatMap(([rule, planted]) =>
    planted.map((files, index) => ({ rule, index, files })),
  );

  test.each(cases)("$rule finds plant $index", ({ rule, files }) => {
    const check = rule === "deadFiles" ? deadFromFrontDoor : checks[rule];
    const findings = check?.(new Map(Object.entries(files))) ?? [];
    expect(findings.map((finding) => finding.rule)).toEqual([rule]);
  });

  function deadFromFrontDoor(files: Files): readonly Finding[] {
    return rules.deadFiles(files, ["src/index.ts"]);
  }

  test("exportDrift finds a missing, a surplus and a changed subpath", () => {
    const found = rules.exportDrift({ "./a": "1", "./b": "2" }, { "./b": "3", "./c": "4" });
    expect(found.map(({ message }) => message.slice(0, 14))).toEqual([
      'exports["./a"]',
      'exports["./b"]',
      'exports["./c"]',
    ]);
  });

  test("featureOrder finds a circle", () => {
    expect(featureOrder({ a: ["b"], b: ["c"], c: ["a"] }).length).toBeGreaterThan(0);
  });

  test("every rule has a plant", () => {
    const elsewhere = ["exportDrift", "featureOrder"];
    expect([...Object.keys(plants), ...elsewhere].sort()).toEqual(Object.keys(checks).sort());
  });
});

describe("what is no violation", () => {
  const clean: Readonly<Record<string, string>> = {
    "src/index.ts":
      'export { a } from "./store/a.ts";\nexport type * from "./features/jobs/index.ts";',
    "src/store/a.ts": [
      'import type { StandardSchemaV1 } from "@standard-schema/spec";',
      'import { sleep, type ContextManager } from "../core/clock.ts";',
      "// setTimeout(f, 1) and Date.now() are only words here",
      'const text = "new Date() and import x from \\"../engines/memory/b.ts\\"";',
      'clock.setTimeout(f, 1); this.#setTimeout(f); const re = /Date.now()"/; const q = a / b / c;',
      `const wide = "${"x".repeat(100)}" + \`${"y".repeat(100)}\${t}\`;`,
      "const t = `Math.random() ${ `${clock.now()}` } performance.now()`;",
    ].join("\n"),
    "src/core/clock.ts": "export const now = () => Date.now() + performance.now();",
    "src/features/jobs/index.ts": "",
    "src/features/jobs/index.test.ts": 'import "../../engines/memory/b.ts";\nsetTimeout(f, 1);',
    "src/features/jobs/testing.ts": 'export * from "./testing/world.ts";',
    "src/features/jobs/testing/world.ts": 'import "../../../engines/memory/index.ts";',
    "src/engines/memory/index.ts": "",
    "src/engines/memory/b.ts": "",
    "src/engines/sqlite/a.ts": 'const load = () => import("better-sqlite3");',
    "examples/shop/main.ts": 'import "./other.ts";\nimport { parse } from "csv-parse";',
    "examples/shop/other.ts": "",
  };

  test.each(["layers", "bannedGlobals", "names", "erasable", "sizes"])(
    "%s stays silent",
    (rule) => {
      expect(checks[rule]?.(new Map(Object.entries(clean))).map(show)).toEqual([]);
    },
  );

  test("a mask is as long as its text and keeps the lines", () => {
    for (const [file, text] of tree) {
      if (!isCode(file)) continue;
      const mask = maskOf(text);
      expect(mask.length, file).toBe(text.length);
      expect(mask.split("\n").length, file).toBe(text.split("\n").length);
    }
  });

  test("the import scan agrees with a count by eye", () => {
    const text = readFileSync(fileURLToPath(import.meta.url), "utf8");
    expect(importsOf(text).map(({ specifier }) => specifier)).toEqual([
      "node:fs",
      "node:url",
      "vitest",
      "../tools/exports.mjs",
      "./tidy/exceptions.ts",
      "./tidy/layers.ts",
      "./tidy/rules.ts",
      "./tidy/source.ts",
      "./tidy/tree.ts",
    ]);
  });
});
