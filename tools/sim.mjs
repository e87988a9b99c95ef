/**
 * `npm run test:sim -- [--seeds N] [--seed S]`: the simulation tests, over N seeds or over one.
 * Further arguments go to vitest, for example the name of a test file.
 */
import { bin, run } from "./process.mjs";

const env = { ...process.env };
/** @type {string[]} */
const rest = [];
const args = process.argv.slice(2);
while (args.length > 0) {
  const arg = args.shift() ?? "";
  const [name, inline] = arg.split("=", 2);
  if (name !== "--seeds" && name !== "--seed") {
    rest.push(arg);
    continue;
  }
  const value = inline ?? args.shift() ?? "";
  if (!/^\d+$/.test(value)) {
    console.error(`Expected ${name} to be followed by a whole number, got "${value}"`);
    process.exit(2);
  }
  env[name === "--seeds" ? "HOLDFAST_SIM_SEEDS" : "HOLDFAST_SIM_SEED"] = value;
}
process.exit(await run(bin("vitest"), ["run", "--project", "sim", ...rest], { env }));
