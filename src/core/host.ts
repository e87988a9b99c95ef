/** Who this process is, for people: the only place that asks the host for it. */
import { hostname } from "node:os";

/** Host, process number and program, such as `web-3/4711/server.js`; at most 200 characters. */
export function hostLabel(): string {
  const program = (process.argv[1] ?? "node").split(/[\\/]/).at(-1) ?? "node";
  return `${hostname()}/${process.pid}/${program}`.slice(0, 200);
}
