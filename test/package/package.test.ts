/** What is in the package, and what importing a part of it loads. */
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exec, installTarball, root, type Installed } from "./tarball.ts";

let installed: Installed;

beforeAll(async () => {
  installed = await installTarball();
});

afterAll(async () => {
  await installed[Symbol.asyncDispose]();
});

/** Packages that may be loaded by an import: they are small, and no engine's client. */
const ALLOWED = new Set(["holdfast", "@opentelemetry/api", "sorted-btree"]);

describe("the tarball", () => {
  test("holds the build and the documents of the root, and nothing else", () => {
    expect(installed.files.length).toBeGreaterThan(50);
    const strange = installed.files.filter(
      (file) =>
        !/^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/.*\.(?:js|d\.ts))$/.test(file),
    );
    expect(strange).toEqual([]);
    const tests = installed.files.filter((file) => /\.(?:test|bench|testing)\./.test(file));
    expect(tests).toEqual([]);
  });

  test("has a program that starts", async () => {
    const bin = join(
      installed.folder,
      "node_modules",
      "holdfast",
      "dist",
      "apps",
      "cli",
      "main.js",
    );
    expect(readFileSync(bin, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
    expect(await exec(process.execPath, [bin, "--help"], installed.folder)).toContain("holdfast");
  });

  test("every export exists, with its declarations", () => {
    const exports = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports as Record<
      string,
      string
    >;
    const missing = Object.values(exports)
      .flatMap((file) => (file.endsWith(".js") ? [file, file.replace(/\.js$/, ".d.ts")] : [file]))
      .filter((file) => !existsSync(join(installed.folder, "node_modules", "holdfast", file)));
    expect(missing).toEqual([]);
    expect(installed.specifiers.length).toBeGreaterThan(0);
  });
});

describe("importing a subpath", () => {
  /** The packages that a fresh process has loaded once it has imported `specifiers`. */
  async function loadedBy(specifiers: readonly string[]): Promise<string[]> {
    copyFileSync(join(root, "test/package/probe.mjs"), join(installed.folder, "probe.mjs"));
    const args = [join(installed.folder, "probe.mjs"), ...specifiers];
    const urls = JSON.parse(await exec(process.execPath, args, installed.folder)) as string[];
    const names = urls.flatMap(
      (url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1] ?? [],
    );
    return [...new Set(names)].sort();
  }

  test("loads no engine's client", async () => {
    for (const specifier of installed.specifiers) {
      const strange = (await loadedBy([specifier])).filter((name) => !ALLOWED.has(name));
      expect(strange, specifier).toEqual([]);
    }
  });

  test("the probe does see a client that is loaded", async () => {
    expect(await loadedBy(["better-sqlite3"])).toContain("better-sqlite3");
  });

  test("leaves no timer, socket or thread behind", async () => {
    /** What keeps a process alive after these imports. */
    const activeAfter = async (specifiers: readonly string[]): Promise<unknown> => {
      const file = join(installed.folder, "idle.mjs");
      const imports = specifiers.map((specifier) => `await import("${specifier}");`);
      // The standard streams count once something looks at them, as node:assert does.
      const report = `process.stdout; process.stderr;
        console.log(JSON.stringify(process.getActiveResourcesInfo().sort()));`;
      // A turn of the loop first, so that the file handles of the imports themselves are closed.
      const turn = "await new Promise((resolve) => setTimeout(resolve, 50));";
      writeFileSync(file, [...imports, turn, report].join("\n"));
      return JSON.parse(await exec(process.execPath, [file], installed.folder));
    };
    expect(await activeAfter(installed.specifiers)).toEqual(await activeAfter([]));
  });
});
