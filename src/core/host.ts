/** Who this process is, for people: the only place that asks the host for it. */
import { hostname } from "node:os";
import { storableText } from "./codec.ts";
import { LIMITS } from "./limits.ts";

// What a name may not hold, or not begin with: see `checkName`.
// oxlint-disable-next-line no-control-regex
const NOT_IN_NAMES = /[\u0000-\u001F\u007F]|^\$/g;

/**
 * Host, process number and program, such as `web-3/4711/server.js`; at most 200 characters. It
 * passes as a name whatever the host and the file are called: nobody chose it, so nobody can mend
 * it.
 */
export function hostLabel(): string {
  const program = (process.argv[1] ?? "node").split(/[\\/]/).at(-1) ?? "node";
  const label = `${hostname()}/${process.pid}/${program}`;
  return storableText(label, LIMITS.nameChars).replace(NOT_IN_NAMES, "\uFFFD");
}
