/** The rules about text, names and whole folders. Each is a pure function over the files. */
import type { Finding } from "./layers.ts";
import { importsOf, isCode, isTest, lineAt, maskOf, pathsIn, resolveFrom } from "./source.ts";
import type { Files } from "./source.ts";

const MAX_LINES = 500;
const MAX_COLUMNS = 100;

/** Code by path, without anything else. */
function code(files: Files): [string, string][] {
  return [...files].filter(([file]) => isCode(file));
}

/** Rule: no file is longer than 500 lines, no line wider than 100 columns. */
export function sizes(files: Files): Finding[] {
  return code(files).flatMap(([file, text]) => {
    const lines = text.split("\n");
    const findings: Finding[] = [];
    let masks: string[] | undefined;
    if (lines.length - 1 > MAX_LINES) {
      const message = `${lines.length - 1} lines, more than ${MAX_LINES}`;
      findings.push({ rule: "sizes", file, message });
    }
    lines.forEach((line, index) => {
      if (line.length <= MAX_COLUMNS) return;
      // What a string holds is not counted: broken in two, a message cannot be searched for.
      masks ??= maskOf(text).split("\n");
      const inStrings = (masks[index]?.match(/(?<=["'`}/]) +(?=["'`$/])/g) ?? []).join("");
      if (line.length - inStrings.length <= MAX_COLUMNS) return;
      const message = `${line.length} columns, more than ${MAX_COLUMNS}`;
      findings.push({ rule: "sizes", file, line: index + 1, message });
    });
    return findings;
  });
}

/** What only core may touch, and what to use in its place. */
const BANNED: readonly { readonly pattern: RegExp; readonly use: string }[] = [
  { pattern: /(?<![\w$.#])(?:Date\.now\b|new\s+Date\b|Date\s*\()/g, use: "core/clock" },
  { pattern: /(?<![\w$.#])performance\s*[.[]/g, use: "core/clock" },
  {
    pattern: /(?<![\w$.#])(?:globalThis\.)?(?:setTimeout|setInterval|setImmediate)\s*[(<]/g,
    use: "core/clock",
  },
  { pattern: /\bprocess\.hrtime\b/g, use: "core/clock" },
  { pattern: /\bAbortSignal\.timeout\b/g, use: "core/signal" },
  { pattern: /\bMath\.random\b/g, use: "core/random" },
  { pattern: /\b(?:randomUUID|randomBytes|randomInt|getRandomValues)\b/g, use: "core/random" },
];

/** Modules that are another way to the same things. */
const BANNED_MODULES = /^(?:node:)?(?:timers(?:\/promises)?|perf_hooks)$/;

/** Rule: time and chance come from core alone. */
export function bannedGlobals(files: Files): Finding[] {
  return code(files).flatMap(([file, text]) => {
    if (!/^(?:src|apps|proofs)\//.test(file) || file.startsWith("src/core/") || isTest(file)) {
      return [];
    }
    const mask = maskOf(text);
    const findings = BANNED.flatMap(({ pattern, use }) =>
      [...mask.matchAll(pattern)].map((match): Finding => ({
        rule: "bannedGlobals",
        file,
        line: lineAt(text, match.index),
        message: `${match[0].trim()} belongs to ${use}`,
      })),
    );
    for (const { specifier, line } of importsOf(text)) {
      if (!BANNED_MODULES.test(specifier)) continue;
      findings.push({ rule: "bannedGlobals", file, line, message: `${specifier} belongs to core` });
    }
    return findings;
  });
}

const KEBAB = /^\.?[a-z0-9]+(?:[-.][a-z0-9]+)*$/;
const BUCKETS = /^(?:utils?|helpers?|common|misc|shared-?utils?|types|interfaces|lib)$/;
// Of what is declared: `import { type ContextManager }` takes a name that is another's.
const POOR_NAMES =
  /(?<![\w$.])(?:interface|class|type(?=\s+\w+\s*[=<]))\s+(I[A-Z][a-z]\w*|\w*(?:Manager|Helper|Helpers|Util|Utils))\b/g;

/** Rule: kebab-case files, no buckets, no I-names, no managers and helpers. */
export function names(files: Files): Finding[] {
  return code(files).flatMap(([file, text]) => {
    const findings: Finding[] = [];
    for (const part of file.split("/")) {
      if (!KEBAB.test(part)) {
        findings.push({ rule: "names", file, message: `${part} is not in kebab-case` });
      }
      if (!file.startsWith("test/") && BUCKETS.test(part.replace(/\..*$/, ""))) {
        const message = `${part} says nothing of what it holds: put things where they are used`;
        findings.push({ rule: "names", file, message });
      }
    }
    for (const match of maskOf(text).matchAll(POOR_NAMES)) {
      const message = `${match[1]} is no noun of the glossary`;
      findings.push({ rule: "names", file, line: lineAt(text, match.index), message });
    }
    return findings;
  });
}

const NOT_ERASABLE = /^[ \t]*(?:export\s+|declare\s+|const\s+)*(?:enum|namespace)\s+[\w$]+\s*\{/gm;

/** Rule: no enums and no namespaces. */
export function erasable(files: Files): Finding[] {
  return code(files).flatMap(([file, text]) =>
    [...maskOf(text).matchAll(NOT_ERASABLE)].map((match) => ({
      rule: "erasable",
      file,
      line: lineAt(text, match.index + match[0].search(/\S/)),
      message: `${match[0].trim()} does not vanish when types are stripped`,
    })),
  );
}

/** Rule: a file of `src` that no public subpath reaches is dead. */
export function deadFiles(files: Files, entries: Iterable<string>): Finding[] {
  const reached = new Set<string>();
  const open = [...entries];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const text = files.get(file);
    if (reached.has(file) || text === undefined) continue;
    reached.add(file);
    const specifiers = importsOf(text).map(({ specifier }) => specifier);
    for (const specifier of [...specifiers, ...pathsIn(text)]) {
      if (specifier.startsWith(".")) open.push(resolveFrom(file, specifier));
    }
  }
  return code(files)
    .filter(([file]) => file.startsWith("src/") && !isTest(file) && !reached.has(file))
    .map(([file]) => ({ rule: "deadFiles", file, message: "no public subpath reaches it" }));
}

/** Rule: package.json exports exactly what the folders say. */
export function exportDrift(
  actual: Readonly<Record<string, string>>,
  expected: Readonly<Record<string, string>>,
): Finding[] {
  return [...new Set([...Object.keys(actual), ...Object.keys(expected)])]
    .filter((key) => actual[key] !== expected[key])
    .map((key) => ({
      rule: "exportDrift",
      file: "package.json",
      message: `exports["${key}"] is ${actual[key]}, the folders say ${expected[key]}`,
    }));
}

/** Holds each port's README against its suite, word for word. */
const README_TEST = "src/ports/readme.test.ts";

/** Rule: each port states its guarantees beside its code, and a test compares them to its suite. */
export function portReadmes(files: Files): Finding[] {
  const ports = new Set<string>();
  for (const file of files.keys()) {
    const folder = /^src\/ports\/[^/]+(?=\/)/.exec(file);
    if (folder) ports.add(folder[0]);
  }
  return [...ports].flatMap((port): Finding[] => {
    if (!files.has(`${port}/README.md`)) {
      return [{ rule: "portReadmes", file: port, message: "README.md is missing" }];
    }
    if (files.get(README_TEST)?.includes(`"${port.slice("src/".length)}"`)) return [];
    return [{ rule: "portReadmes", file: port, message: `${README_TEST} does not compare it` }];
  });
}

/** A document without its code blocks, line for line. */
function prose(text: string): string {
  return text.replace(/^(```+)[\s\S]*?^\1/gm, (block) => block.replace(/[^\n]/g, ""));
}

/** Rule: one first-level heading a document, and no link to a file that is not there. */
export function documents(files: Files): Finding[] {
  const folders = new Set(["."]);
  for (const file of files.keys()) {
    for (let at = file.lastIndexOf("/"); at > 0; at = file.lastIndexOf("/", at - 1)) {
      folders.add(file.slice(0, at));
    }
  }
  return [...files].flatMap(([file, text]) => {
    if (!file.endsWith(".md")) return [];
    const body = prose(text);
    const findings: Finding[] = [];
    const headings = body.match(/^# \S/gm)?.length ?? 0;
    if (headings !== 1) {
      findings.push({ rule: "documents", file, message: `${headings} first-level headings` });
    }
    for (const match of body.matchAll(/\]\(([^)\s]+)\)/g)) {
      const [link = ""] = (match[1] ?? "").split("#");
      if (link === "" || /^[a-z]+:/.test(link)) continue;
      const target = resolveFrom(file, link).replace(/\/$/, "") || ".";
      if (files.has(target) || folders.has(target)) continue;
      const line = lineAt(body, match.index);
      findings.push({ rule: "documents", file, line, message: `${link} does not exist` });
    }
    return findings;
  });
}

const LOCAL_PATHS = /(?<![\w.$}~])\/(?:work|root|home\/\w+|Users\/\w+)\/[\w.-]+/g;

/** Rule: nothing in the repository names a path of somebody's machine. */
export function localPaths(files: Files): Finding[] {
  return [...files].flatMap(([file, text]) =>
    [...text.matchAll(LOCAL_PATHS)].map((match) => ({
      rule: "localPaths",
      file,
      line: lineAt(text, match.index),
      message: `${match[0]} is a path of one machine`,
    })),
  );
}
