/**
 * Reading source as text: what is code, what is a comment, and which modules a file names.
 *
 * The scan knows no grammar. It masks comments and the contents of strings with spaces, so that a
 * pattern meets only code; offsets and line numbers stay those of the original.
 */

/** Every file by its path from the root, with `/` between folders. */
export type Files = ReadonlyMap<string, string>;

/** One module that a file names. */
export interface Import {
  readonly specifier: string;
  readonly kind: "static" | "dynamic" | "type";
  readonly line: number;
}

const REGEX_MAY_FOLLOW = /(?:[(,=:[!&|?{};+*%~^<>-]|\b(?:return|typeof|case|in|of|await|yield))$/;

interface Scan {
  readonly text: string;
  readonly out: string[];
  /** Depths of `{` at which a template's `${` was opened. */
  readonly templates: number[];
  depth: number;
  at: number;
}

/** Blanks from the scan's position up to `end`, keeping line breaks. */
function blank(scan: Scan, end: number): void {
  for (; scan.at < end && scan.at < scan.text.length; scan.at++) {
    if (scan.text[scan.at] !== "\n") scan.out[scan.at] = " ";
  }
}

/** Where the string that opens at the scan's position ends (the offset of its last quote). */
function endOfString(scan: Scan, quote: string): number {
  let at = scan.at + 1;
  while (at < scan.text.length && scan.text[at] !== quote && scan.text[at] !== "\n") {
    at += scan.text[at] === "\\" ? 2 : 1;
  }
  return at;
}

/** Where a regular expression that opens at the scan's position ends. */
function endOfRegex(scan: Scan): number {
  let inClass = false;
  let at = scan.at + 1;
  for (; at < scan.text.length; at++) {
    const char = scan.text[at];
    if (char === "\\") at++;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "\n" || (char === "/" && !inClass)) break;
  }
  return at;
}

/** Blanks template text from the scan's position up to its end or to the next `${`. */
function skipTemplate(scan: Scan): void {
  let end = scan.at;
  while (end < scan.text.length && scan.text[end] !== "`") {
    if (scan.text[end] === "\\") end += 2;
    else if (scan.text.startsWith("${", end)) break;
    else end++;
  }
  blank(scan, end);
  if (scan.text[end] !== "`") {
    scan.templates.push(scan.depth);
    scan.depth++;
    scan.at++;
  }
  scan.at++;
}

/** Handles a bracket; a `}` that closes a template's `${` goes on with the template. */
function bracket(scan: Scan, char: string): void {
  scan.depth += char === "{" ? 1 : -1;
  scan.at++;
  if (char === "}" && scan.templates.at(-1) === scan.depth) {
    scan.templates.pop();
    skipTemplate(scan);
  }
}

/** Whether a slash at the scan's position begins a regular expression and not a division. */
function beginsRegex(scan: Scan): boolean {
  const before = scan.out
    .slice(Math.max(0, scan.at - 80), scan.at)
    .join("")
    .trimEnd();
  return before === "" || REGEX_MAY_FOLLOW.test(before);
}

/** One step of the scan. */
function step(scan: Scan): void {
  const { text, at } = scan;
  const char = text[at] ?? "";
  if (char === "/" && text[at + 1] === "/") {
    const end = text.indexOf("\n", at);
    blank(scan, end < 0 ? text.length : end);
  } else if (char === "/" && text[at + 1] === "*") {
    const end = text.indexOf("*/", at + 2);
    blank(scan, end < 0 ? text.length : end + 2);
  } else if (char === '"' || char === "'") {
    const end = endOfString(scan, char);
    scan.at++;
    blank(scan, end);
    scan.at = end + 1;
  } else if (char === "`") {
    scan.at++;
    skipTemplate(scan);
  } else if (char === "{" || char === "}") bracket(scan, char);
  else if (char === "/" && beginsRegex(scan)) {
    const end = endOfRegex(scan);
    scan.at++;
    blank(scan, end);
    scan.at = end + 1;
  } else scan.at++;
}

/** The text with comments and the contents of strings blanked; as long as the original. */
export function maskOf(text: string): string {
  const scan: Scan = { text, out: text.split(""), templates: [], depth: 0, at: 0 };
  while (scan.at < text.length) step(scan);
  return scan.out.join("");
}

/** The number of the line that holds this offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

const STATIC = /(?<![\w$.])(?:import|export)\s(?!\s*\()[^;"'`()]*?\bfrom\s*["']/g;
const BARE = /(?<![\w$.])import\s*["']/g;
const DYNAMIC = /(?<![\w$.])(?:import|require|require\.resolve)\s*\(\s*["'`]/g;
const TYPE_QUERY = /(?:typeof|:|<|\||&|=|\bextends)\s*import\(\s*["']$/;

/** Every module that a file names, in order of kind. */
export function importsOf(text: string): Import[] {
  const mask = maskOf(text);
  const found: Import[] = [];
  const collect = (
    pattern: RegExp,
    kindOf: (match: string, end: number) => Import["kind"],
  ): void => {
    for (const match of mask.matchAll(pattern)) {
      const start = match.index + match[0].length;
      const end = start + mask.slice(start).search(/["'`]/);
      const kind = kindOf(match[0], start);
      found.push({ specifier: text.slice(start, end), kind, line: lineAt(text, start) });
    }
  };
  collect(STATIC, (match) => (/^\w+\s+type\s/.test(match) ? "type" : "static"));
  collect(BARE, () => "static");
  collect(DYNAMIC, (_, end) =>
    TYPE_QUERY.test(mask.slice(Math.max(0, end - 40), end)) ? "type" : "dynamic",
  );
  return found;
}

/** Relative paths in strings, such as the file of a worker thread: they keep that file alive. */
export function pathsIn(text: string): string[] {
  return [...text.matchAll(/["'`](\.\.?\/[\w./-]+?)\.(?:ts|js)["'`]/g)].map((m) => `${m[1]}.ts`);
}

/** The path that a relative specifier means, seen from `file`; not necessarily one that exists. */
export function resolveFrom(file: string, specifier: string): string {
  const parts = file.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Whether a file is a test or serves only tests. */
export function isTest(file: string): boolean {
  return /\.(?:test|bench|testing|child)\.ts$/.test(file) || file.startsWith("test/");
}

/** Whether a file holds code that these rules read. */
export function isCode(file: string): boolean {
  return /\.(?:ts|mjs)$/.test(file) && !file.endsWith(".d.ts");
}
