/** The tools that decide something are checked on small inputs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import { baseline } from "./api.mjs";
import { examplesIn } from "./doc-examples.mjs";
import { exportsOf, subpaths } from "./exports.mjs";
import { missingPlatforms } from "./lock.mjs";
import { nodeStep, runSteps } from "./steps.mjs";
import { benchTables, promised } from "./tables.mjs";
import { wrapComments } from "./wrap.mjs";

test("subpaths follow the folders, and internal folders have none", () => {
  const base = mkdtempSync(join(tmpdir(), "holdfast-exports-"));
  try {
    for (const file of [
      "src/index.ts",
      "src/core/index.ts",
      "src/store/index.ts",
      "src/features/jobs/index.ts",
      "src/features/jobs/testing.ts",
      "src/features/unfinished/draft.ts",
      "src/ports/kv/index.ts",
      "src/engines/sqlite/index.ts",
      "src/engines/shared/index.ts",
    ]) {
      mkdirSync(dirname(join(base, file)), { recursive: true });
      writeFileSync(join(base, file), "");
    }
    expect(exportsOf(subpaths(base))).toEqual({
      ".": "./dist/src/index.js",
      "./engines/sqlite": "./dist/src/engines/sqlite/index.js",
      "./jobs": "./dist/src/features/jobs/index.js",
      "./jobs/testing": "./dist/src/features/jobs/testing.js",
      "./ports/kv": "./dist/src/ports/kv/index.js",
      "./store": "./dist/src/store/index.js",
      "./package.json": "./package.json",
    });
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test("only blocks marked runnable are examples", () => {
  const fence = "```";
  const text = [
    "# Title",
    `${fence}ts`,
    "notThis();",
    fence,
    `${fence}ts runnable`,
    "first();",
    fence,
    `${fence}ts runnable title="x"`,
    "second();",
    fence,
    "",
  ].join("\n");
  expect(examplesIn("docs/a.md", text)).toEqual([
    { source: "docs/a.md", line: 5, code: "first();\n" },
    { source: "docs/a.md", line: 8, code: "second();\n" },
  ]);
});

/** The declaration files of a small package. */
const declarations: Readonly<Record<string, string>> = {
  "src/index.d.ts": `export { connect } from "./connect.js";
export type { Clock as Time } from "./core/clock.js";
export * from "./store/index.js";
`,
  "src/connect.d.ts": `import type { Hidden } from "./core/hidden.js";
/** Opens. {@link Nothing} */
export declare function connect(url: string): Hidden; // "why"
export declare const unlisted = 1;
`,
  "src/core/clock.d.ts": "export interface Clock {\n    now(): number;\n}\n",
  "src/core/hidden.d.ts": 'export interface Hidden {\n    readonly kind: "a//b";\n}\n',
  "src/store/index.d.ts": `declare class Store {
    #private;
    commit(): void;
}
export { Store };
export {};
`,
};

test("the baseline holds exported declarations and what they mention, without comments", () => {
  const files = baseline(new Map([["", "src/index.d.ts"]]), (file) => declarations[file] ?? "");
  expect(files.get("index.d.ts")).toBe(`// holdfast

class Store {
    #private;
    commit(): void;
}

// as Time
interface Clock {
    now(): number;
}

function connect(url: string): Hidden;
`);
  expect(files.get("internal.d.ts")).toBe(`// mentioned by exported declarations, exported by none

// src/core/hidden.d.ts
interface Hidden {
    readonly kind: "a//b";
}
`);
});

test("guarantees are a README from its first sentence on, with what is not guaranteed", () => {
  const text = "# kv\n\nWhat it is.\n\n## Values\n1. A promise.\n\n## Not guaranteed\nThe rest.\n";
  expect(promised(text).join("\n")).toBe(
    "\n### Values\n\n1. A promise.\n\n\n### Not guaranteed\n\nThe rest.\n",
  );
  expect(promised("# bus\n\nIntroduction.\n\n1. A promise.\n")).toEqual(["1. A promise.", ""]);
});

test("figures stand in one table with their surroundings, and the newest of a measure alone", () => {
  const result = (date: string, bench: string, holdfast: number): unknown => ({
    ...{ date, commit: "abc", cpu: "2 × Z", memory: "4 GiB", node: "v20" },
    ...{ "better-sqlite3": "12", plainjob: "0", liteque: "0" },
    rows: [{ bench, unit: "jobs/s", holdfast, peers: { peer: 2 }, reference: { raw: 300 } }],
  });
  const shown = benchTables([
    result("2026-11-02", "a", 1),
    result("2026-11-01", "a", 7),
    result("2026-11-01", "b", 5_000),
  ]);
  const row = (bench: string, figure: string): string =>
    `| \`${bench}\` | jobs/s | ${figure} | peer: 2.00<br>_for reference, raw: 300_ |`;
  expect(shown.split("\n").filter((line) => /^(?:\| `|Medians)/.test(line))).toEqual([
    row("a", "1.00"),
    expect.stringContaining("; 2026-11-02, commit abc, 2 × Z,"),
    row("b", "5,000"),
    expect.stringContaining("; 2026-11-01, commit abc, 2 × Z,"),
  ]);
});

test("a lock file without some platforms is completed", () => {
  const optionalDependencies = {
    "@x/linux-x64-gnu": "1.0.0",
    "@x/darwin-arm64": "1.0.0",
    y: "2.0.0",
  };
  const packages = {
    "node_modules/x": { version: "1.0.0", dev: true, optionalDependencies },
    "node_modules/@x/linux-x64-gnu": { version: "1.0.0" },
  };
  expect(missingPlatforms(packages)).toEqual({
    "node_modules/@x/darwin-arm64": {
      version: "1.0.0",
      cpu: ["arm64"],
      dev: true,
      optional: true,
      os: ["darwin"],
    },
  });
});

test("steps are counted, and a counted step without a count is a failure", async () => {
  const silent = vi.spyOn(console, "log").mockImplementation(() => {});
  const write = 'require("fs").writeFileSync(process.env.HOLDFAST_COUNTS, process.env.COUNTS)';
  const counted = (counts: string): ReturnType<typeof nodeStep> =>
    nodeStep("counted", ["-e", write], { counted: true, env: { COUNTS: counts } });
  expect(
    await runSteps([nodeStep("good", ["-e", ""]), nodeStep("bad", ["-e", "process.exit(3)"])]),
  ).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(await runSteps([counted('{"passed":5,"failed":0,"skipped":2}')])).toEqual({
    passed: 5,
    failed: 0,
    skipped: 2,
  });
  expect(await runSteps([counted('{"passed":0,"failed":0,"skipped":2}')])).toMatchObject({
    failed: 1,
  });
  expect(await runSteps([nodeStep("silent", ["-e", ""], { counted: true })])).toMatchObject({
    failed: 1,
  });
  silent.mockRestore();
});

test("wide comments are wrapped, and code, tables and narrow lines are not", () => {
  const words = "word ".repeat(30).trim();
  const text = [
    `/** ${words} */`,
    "/**",
    ` * ${words}`,
    " * and so on.",
    ` * - ${words}`,
    ` * | ${words}`,
    " */",
    `  // ${words}`,
    `const wide = "${words}"; // ${words}`,
  ].join("\n");
  const wrapped = wrapComments(text);
  const narrow = wrapped.split("\n").filter((line) => line.length <= 100);
  expect(wrapped.split("\n").length - narrow.length).toBe(2);
  expect(wrapped.replace(/[\s*/]+/g, " ")).toBe(text.replace(/[\s*/]+/g, " "));
  expect(wrapComments(wrapped)).toBe(wrapped);
});
