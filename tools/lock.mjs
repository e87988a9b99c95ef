/**
 * The lock file must name every optional package of another platform, or `npm ci` refuses it. npm
 * leaves out those that a registry did not have when the file was written; this puts them back with
 * the version that their owner asks for. It also sees to it that no registry's address is in the
 * file. Run it to check, or with `--write` after an `npm install`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMain, root } from "./process.mjs";

/**
 * @typedef {{
 *   version: string,
 *   cpu?: string[],
 *   dev?: boolean,
 *   libc?: string[],
 *   optional?: boolean,
 *   os?: string[],
 *   resolved?: string,
 *   optionalDependencies?: Record<string, string>,
 * }} Entry
 */

const PLATFORM =
  /(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|ia32|ppc64|riscv64|s390x|x64)(?:-(gnu|musl))?/;

/**
 * The entry of a package that holds one platform's binary; undefined where its name tells none.
 * @param {string} name
 * @param {string} version
 * @param {boolean | undefined} dev
 * @returns {Entry | undefined}
 */
function platformEntry(name, version, dev) {
  const [, os, cpu, libc] = PLATFORM.exec(name) ?? [];
  if (os === undefined || cpu === undefined) return undefined;
  return {
    version,
    cpu: [cpu],
    ...(dev ? { dev } : {}),
    ...(libc === undefined ? {} : { libc: [libc === "gnu" ? "glibc" : "musl"] }),
    optional: true,
    os: [os],
  };
}

/**
 * The entries that are missing, by their place in the lock file.
 * @param {Readonly<Record<string, Entry>>} packages
 * @returns {Record<string, Entry>}
 */
export function missingPlatforms(packages) {
  /** @type {Record<string, Entry>} */
  const missing = {};
  for (const [place, { optionalDependencies = {}, dev }] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      if (packages[`node_modules/${name}`] ?? packages[`${place}/node_modules/${name}`]) continue;
      const entry = platformEntry(name, version, dev);
      if (entry !== undefined) missing[`node_modules/${name}`] = entry;
    }
  }
  return missing;
}

if (isMain(import.meta.url)) {
  let isGood = true;
  for (const file of ["package-lock.json", "bench/package-lock.json"]) {
    /** @type {{ packages: Record<string, Entry> }} */
    const lock = JSON.parse(readFileSync(join(root, file), "utf8"));
    const missing = missingPlatforms(lock.packages);
    const addressed = Object.entries(lock.packages).filter(([, { resolved }]) =>
      resolved?.startsWith("http"),
    );
    if (Object.keys(missing).length + addressed.length === 0) continue;
    if (process.argv.includes("--write")) {
      for (const [, entry] of addressed) delete entry.resolved;
      const all = Object.entries({ ...lock.packages, ...missing });
      lock.packages = Object.fromEntries(all.sort(([a], [b]) => a.localeCompare(b, "en")));
      writeFileSync(join(root, file), `${JSON.stringify(lock, null, 2)}\n`);
    } else {
      isGood = false;
      const found = `${Object.keys(missing).length} platforms missing, ${addressed.length} addresses`;
      console.error(`${file}: ${found}; run \`npm run lock\``);
    }
  }
  process.exit(isGood ? 0 : 1);
}
