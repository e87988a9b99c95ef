/**
 * Prints the modules that this process has loaded once it has imported its arguments. The tests
 * copy it beside an installed package. Modules of both kinds are seen: ECMAScript ones by a load
 * hook, the others in their cache.
 */
import { Module, register } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";

const hook = `
  let port;
  export function initialize(data) { port = data; }
  export function load(url, context, next) { port.postMessage(url); return next(url, context); }
`;
const { port1, port2 } = new MessageChannel();
/** @type {string[]} */
const seen = [];
port1.on("message", (url) => seen.push(url));
port1.unref();
register(`data:text/javascript,${encodeURIComponent(hook)}`, {
  data: port2,
  transferList: [port2],
});

for (const specifier of process.argv.slice(2)) await import(specifier);
// The hook runs in a thread of its own: wait until it has told of this very import.
const last = "data:text/javascript,export default 1";
await import(last);
while (!seen.includes(last)) await sleep(1);
const required = Object.keys(Reflect.get(Module, "_cache"));
console.log(JSON.stringify([...seen, ...required]));
