import { hostname } from "node:os";
import { afterEach, expect, test } from "vitest";
import { hostLabel } from "./host.ts";
import { checkName } from "./options.ts";

const [, program] = process.argv as [string, string];

afterEach(() => {
  process.argv[1] = program;
});

test("names host, process and program", () => {
  process.argv[1] = "/srv/app/server.js";
  expect(hostLabel()).toBe(`${hostname()}/${process.pid}/server.js`);
});

test("passes as a name whatever the program is called", () => {
  const before = `${hostname()}/${process.pid}/`.length;
  for (const name of [
    "a\nb\u0000\u007F.js",
    `${"x".repeat(198 - before)}\u{1F600}\u{1F600}.js`,
    `${"x".repeat(199 - before)}\u{1F600}.js`,
    "\uD800.js",
    "x".repeat(500),
  ]) {
    process.argv[1] = `/srv/${name}`;
    const label = hostLabel();
    expect(checkName("label", label)).toBe(label);
  }
});
