/** Programs of others, in folders of their own, that use the package as it was packed. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exec, installTarball, root, type Installed } from "../package/tarball.ts";

let installed: Installed;

beforeAll(async () => {
  installed = await installTarball();
});

afterAll(async () => {
  await installed[Symbol.asyncDispose]();
});

/** A program that writes to a store, reads it back and ends by itself. */
function program(url: string): string {
  return `import { connect } from "holdfast";
const hf = await connect(${JSON.stringify(url)});
await hf.kv.put("greeting", { text: "hello" });
const found = await hf.kv.get("greeting");
await hf.close();
console.log("consumer " + found.value.text);
`;
}

describe("a consumer", () => {
  test.each(["memory:", "sqlite:./app.db"])("imports the package and uses %s", async (url) => {
    const file = join(installed.folder, "app.mjs");
    writeFileSync(file, program(url));
    expect(await exec(process.execPath, [file], installed.folder)).toBe("consumer hello\n");
  });

  test("requires every subpath", async () => {
    const file = join(installed.folder, "all.cjs");
    const list = JSON.stringify(installed.specifiers);
    writeFileSync(
      file,
      `for (const name of ${list}) {
        if (typeof require(name) !== "object") throw new Error(name);
        console.log(name);
      }`,
    );
    const args = ["--no-warnings", file];
    const output = await exec(process.execPath, args, installed.folder);
    expect(output.trim().split("\n")).toEqual(installed.specifiers);
  });

  test("type-checks against every subpath, the declarations included", async () => {
    const folder = join(installed.folder, "typed");
    mkdirSync(folder, { recursive: true });
    const imports = installed.specifiers.map((name, n) => `import * as m${n} from "${name}";`);
    const uses = installed.specifiers.map((_, n) => `void m${n};`);
    writeFileSync(join(folder, "app.ts"), [...imports, ...uses, ""].join("\n"));
    const compilerOptions = {
      target: "es2022",
      lib: ["es2022", "esnext.disposable"],
      module: "nodenext",
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    const tsc = join(root, "node_modules/.bin/tsc");
    expect(await exec(tsc, ["-p", folder], installed.folder)).toBe("");
  });

  test.each(["memory:", "sqlite:./app.db?thread=off"])(
    "runs bundled in an empty folder on %s",
    async (url) => {
      const entry = join(installed.folder, "bundled.mjs");
      writeFileSync(entry, program(url));
      const folder = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
      try {
        await build({
          entryPoints: [entry],
          outdir: folder,
          outExtension: { ".js": ".mjs" },
          bundle: true,
          platform: "node",
          format: "esm",
          target: "node20",
          // A native addon cannot be bundled: it lies beside the bundle, as with any bundler.
          external: ["better-sqlite3"],
          banner: {
            js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
          },
        });
        mkdirSync(join(folder, "node_modules"));
        for (const name of ["better-sqlite3", "bindings", "file-uri-to-path"]) {
          symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name), "dir");
        }
        const args = [join(folder, "bundled.mjs")];
        expect(await exec(process.execPath, args, folder)).toBe("consumer hello\n");
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});
