/** Who may import whom. */
import { importsOf, isCode, isTest, resolveFrom, type Files, type Import } from "./source.ts";

/** One violation of a rule. */
export interface Finding {
  readonly rule: string;
  readonly file: string;
  readonly line?: number;
  readonly message: string;
}

/** The layers of `src` that each layer may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  store: ["core"],
  ports: ["core", "store"],
  engines: ["core", "store", "ports"],
  features: ["core", "store", "ports"],
  sim: ["core", "store", "ports", "engines/memory"],
  check: ["core", "store", "ports"],
  conformance: ["core", "store", "ports", "check"],
  // The front door alone knows both engines and features.
  front: ["core", "store", "ports", "engines", "features"],
};

/**
 * The test kit of a feature: it opens the memory engine as a test does, and is imported by nothing
 * else in `src`, so that no program loads an engine that it did not name.
 */
const KIT = /^src\/features\/[^/]+\/testing(?:\/|\.ts$)/;
const KIT_MAY_IMPORT: ReadonlySet<string> = new Set([
  "src/connect.ts",
  "src/engines/memory/index.ts",
]);

/** Which feature may import which other feature (always through its index); it has no cycle. */
export const FEATURE_DAG: Readonly<Record<string, readonly string[]>> = {
  workflow: ["jobs"],
  schedule: ["jobs", "workflow"],
  outbox: ["jobs", "topic"],
  inbox: ["jobs"],
  balance: ["coordination", "policy"],
  cache: ["coordination", "policy"],
  transaction: ["jobs", "outbox"],
  drill: ["policy"],
};

/** Packages that a file of `src` may import, by the pattern of its path. */
const PACKAGES: readonly { readonly name: string; readonly from: RegExp }[] = [
  { name: "@standard-schema/spec", from: /^src\// },
  { name: "@opentelemetry/api", from: /^src\/core\/telemetry\.ts$/ },
  { name: "sorted-btree", from: /^src\/engines\/memory\// },
];

/** Programs outside `src`: they see the package as its users do. */
const PROGRAMS = /^(?:apps\/[^/]+|proofs|examples\/[^/]+|bench|lab)\//;

interface Place {
  readonly layer: string;
  /** The engine or feature, where the layer has several that must not know each other. */
  readonly part: string;
}

/** Where a file of `src` stands. */
function placeOf(file: string): Place {
  const [, layer = "", part = ""] = file.split("/");
  if (layer.endsWith(".ts")) return { layer: "front", part: "" };
  return { layer, part: layer === "engines" || layer === "features" ? part : "" };
}

/** What is wrong with one file of `src` importing another; undefined where nothing is. */
function refusalInside(from: string, to: string): string | undefined {
  const source = placeOf(from);
  const target = placeOf(to);
  if (isTest(to)) return "src never imports a test";
  if (KIT.test(from) && KIT_MAY_IMPORT.has(to)) return undefined;
  if (KIT.test(to) && !KIT.test(from)) return "src never imports a test kit";
  if (source.layer === "front") {
    // Only index.ts names features; connect and its like stay free of them.
    const isIndex = from === "src/index.ts";
    return target.layer === "features" && !isIndex ? "only src/index.ts names features" : undefined;
  }
  if (source.layer === target.layer) return refusalWithin(source, target, to);
  const allowed = MAY_IMPORT[source.layer] ?? [];
  const isAllowed =
    allowed.includes(target.layer) || allowed.includes(`${target.layer}/${target.part}`);
  return isAllowed ? undefined : `${source.layer} never imports ${target.layer}`;
}

/** The same within one layer: engines and features must not know each other. */
function refusalWithin(source: Place, target: Place, to: string): string | undefined {
  if (source.part === target.part) return undefined;
  if (source.layer === "engines") {
    return target.part === "shared" ? undefined : "an engine never imports another engine";
  }
  if (!(FEATURE_DAG[source.part] ?? []).includes(target.part)) {
    return `feature ${source.part} does not stand above ${target.part} in the declared order`;
  }
  const isIndex = to === `src/features/${target.part}/index.ts`;
  return isIndex ? undefined : "another feature is imported through its index";
}

/** What is wrong with a package that a file imports. */
function refusalOfPackage(file: string, { specifier, kind }: Import): string | undefined {
  if (specifier.startsWith("node:")) {
    return specifier === "node:test" ? "suites take the caller's test function" : undefined;
  }
  if (/^holdfast(?:\/|$)/.test(specifier)) return "src imports itself by relative paths";
  // An engine loads its client when it is opened, never when it is imported.
  if (file.startsWith("src/engines/") && kind === "dynamic") return undefined;
  const known = PACKAGES.some(({ name, from }) => name === specifier && from.test(file));
  return known ? undefined : `the package ${specifier} is not for this file`;
}

/** What is wrong with an import of a program outside `src`. */
function refusalOfProgram(file: string, target: string): string | undefined {
  const folder = PROGRAMS.exec(file)?.[0] ?? "";
  if (target.startsWith(folder) && !isTest(target)) return undefined;
  // The command line runs the proofs, which ship with it.
  if (file.startsWith("apps/cli/") && target.startsWith("proofs/")) return undefined;
  return "a program imports the package by its public subpaths only";
}

/** Everything that is wrong with the imports of one file. */
function checkFile(
  file: string,
  text: string,
  files: Files,
  subpaths: ReadonlySet<string>,
): Finding[] {
  return importsOf(text).flatMap((found) => {
    const { specifier, line } = found;
    const isRelative = specifier.startsWith(".");
    const target = isRelative ? resolveFrom(file, specifier) : specifier;
    const message = ((): string | undefined => {
      if (isRelative && !files.has(target)) return `${specifier} does not exist`;
      if (/^holdfast(?:\/|$)/.test(specifier) && !file.startsWith("src/")) {
        const name = specifier.slice("holdfast/".length);
        return subpaths.has(name) ? undefined : `${specifier} is no public subpath`;
      }
      if (isTest(file)) return undefined;
      if (file.startsWith("src/")) {
        if (!isRelative) return refusalOfPackage(file, found);
        return target.startsWith("src/") ? refusalInside(file, target) : "src imports src only";
      }
      return PROGRAMS.test(file) && isRelative ? refusalOfProgram(file, target) : undefined;
    })();
    return message === undefined ? [] : [{ rule: "layers", file, line, message }];
  });
}

/** Rule: every import exists and goes in an allowed direction. */
export function layers(files: Files, subpaths: ReadonlySet<string>): Finding[] {
  return [...files]
    .filter(([file]) => isCode(file))
    .flatMap(([file, text]) => checkFile(file, text, files, subpaths));
}

/** Rule: the declared order of features has no cycle. */
export function featureOrder(order: Readonly<Record<string, readonly string[]>>): Finding[] {
  const findings: Finding[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      const message = `features in a circle: ${[...path, name].join(" > ")}`;
      findings.push({ rule: "featureOrder", file: "test/tidy/layers.ts", message });
      return;
    }
    for (const next of order[name] ?? []) visit(next, [...path, name]);
  };
  for (const name of Object.keys(order)) visit(name, []);
  return findings;
}
