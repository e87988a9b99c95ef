import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { subpaths } from "./tools/exports.mjs";

/** Public subpaths resolve to their sources, so that most tests need no build. */
const alias = [...subpaths()].map(([subpath, file]) => ({
  find: new RegExp(`^holdfast${subpath === "" ? "" : `/${subpath}`}$`),
  replacement: fileURLToPath(new URL(file, import.meta.url)),
}));

interface Kind {
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly timeoutMs: number;
  /** Off where the test files share a clock, a disk or a CPU that they measure. */
  readonly parallel?: boolean;
}

const kinds: Readonly<Record<string, Kind>> = {
  tidy: { include: ["test/tidy.test.ts", "test/tidy/**/*.test.ts"], timeoutMs: 60_000 },
  unit: {
    include: ["{src,apps,proofs,examples,tools}/**/*.test.ts", "test/types/**/*.test.ts"],
    timeoutMs: 10_000,
  },
  engines: { include: ["test/engines/**/*.test.ts"], timeoutMs: 60_000 },
  sim: { include: ["test/sim/**/*.test.ts"], timeoutMs: 600_000 },
  chaos: { include: ["test/chaos/**/*.test.ts"], timeoutMs: 300_000, parallel: false },
  package: { include: ["test/{package,consumers}/**/*.test.ts"], timeoutMs: 120_000 },
};

const config: ViteUserConfig = defineConfig({
  test: {
    reporters: ["default", "./tools/counts-reporter.mjs"],
    coverage: { include: ["src/**/*.ts"], exclude: ["**/*.test.ts"] },
    projects: Object.entries(kinds).map(([name, kind]) => ({
      resolve: { alias },
      test: {
        name,
        include: [...kind.include],
        exclude: ["**/node_modules/**", "**/dist/**"],
        // Workers that the code under test starts are TypeScript too: see tools/typescript.mjs.
        execArgv: ["--import", new URL("tools/typescript.mjs", import.meta.url).href],
        pool: "forks",
        testTimeout: kind.timeoutMs,
        hookTimeout: kind.timeoutMs,
        fileParallelism: kind.parallel ?? true,
      },
    })),
  },
});

export default config;
