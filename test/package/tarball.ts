/** The package as `npm pack` makes it, unpacked where no source is near. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** Runs a program; rejects with all that it printed where it fails. */
export async function exec(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** An installed package in a folder of its own. */
export interface Installed extends AsyncDisposable {
  /** The consumer's folder; `node_modules/holdfast` lies in it. */
  readonly folder: string;
  /** Every file of the package, relative to its folder. */
  readonly files: readonly string[];
  /** Every specifier that `exports` offers, but for `package.json`. */
  readonly specifiers: readonly string[];
}

/**
 * Packs the built package and installs it into an empty folder. Its dependencies are links to those
 * that this repository has, so that nothing is fetched.
 */
export async function installTarball(): Promise<Installed> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-consumer-"));
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "holdfast"), { recursive: true });
  const packed = await exec("npm", ["pack", "--json", "--pack-destination", folder], root);
  const [{ filename }] = JSON.parse(packed) as [{ readonly filename: string }];
  const unpack = ["-xzf", join(folder, filename), "--strip-components=1", "-C"];
  await exec("tar", [...unpack, join(modules, "holdfast")], folder);
  rmSync(join(folder, filename));

  const manifest = JSON.parse(readFileSync(join(modules, "holdfast", "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, string>>;
    readonly dependencies: Readonly<Record<string, string>>;
    readonly optionalDependencies: Readonly<Record<string, string>>;
  };
  const needed = { ...manifest.dependencies, ...manifest.optionalDependencies };
  for (const name of [...Object.keys(needed), "@types/node"]) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(modules, name), "dir");
  }
  const files = readdirSync(join(modules, "holdfast"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(modules, "holdfast").length + 1));
  const specifiers = Object.keys(manifest.exports)
    .filter((key) => key !== "./package.json")
    .map((key) => `holdfast${key.slice(1)}`);
  return {
    folder,
    files,
    specifiers,
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
