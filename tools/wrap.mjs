/**
 * Wraps comment lines wider than 100 columns, which the formatter leaves alone: part of
 * `npm run format`. Lists, tables, code and tags keep their lines; text after code is not touched.
 */
const width = 100;

/**
 * The indentation and mark of a comment line that has text; undefined for any other line.
 * @param {string | undefined} line
 */
function markOf(line) {
  return line === undefined ? undefined : /^(\s*(?:\*|\/\/) )\S/.exec(line)?.[1];
}

/**
 * Breaks one line; the last part comes last and fits, unless a single word does not.
 * @param {string} line
 * @param {string} hanging what every further line begins with
 */
function broken(line, hanging) {
  const parts = [];
  let rest = line;
  while (rest.length > width) {
    const cut = rest.lastIndexOf(" ", width);
    if (cut <= hanging.length) break;
    parts.push(rest.slice(0, cut).trimEnd());
    rest = hanging + rest.slice(cut + 1);
  }
  return [...parts, rest];
}

/**
 * The text with its wide comment lines wrapped.
 * @param {string} text
 */
export function wrapComments(text) {
  const lines = text.split("\n").flatMap((line) => {
    const match = /^(\s*)\/\*\* (.*) \*\/$/.exec(line);
    if (match === null || line.length <= width) return [line];
    return [`${match[1]}/**`, `${match[1]} * ${match[2]}`, `${match[1]} */`];
  });
  /** @type {string[]} */
  const out = [];
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const mark = markOf(line);
    if (line.length <= width || mark === undefined || /^(?:\||```)/.test(line.slice(mark.length))) {
      out.push(line);
      continue;
    }
    const bullet = /^(?:- |\d+\. )/.exec(line.slice(mark.length))?.[0] ?? "";
    const hanging = mark + " ".repeat(bullet.length);
    const parts = broken(line, hanging);
    const last = parts.pop() ?? "";
    out.push(...parts);
    // What is left over begins the next line of the same paragraph.
    const next = lines[index + 1];
    const follows = markOf(next) === mark ? (next ?? "").slice(mark.length) : "@";
    if (parts.length === 0 || /^(?:[-*|#@`]|\d+\.\s)/.test(follows) || /[.:]$/.test(last)) {
      out.push(last);
    } else lines[index + 1] = `${last} ${follows}`;
  }
  return out.join("\n");
}
