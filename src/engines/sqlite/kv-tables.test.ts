/** Where a prefix ends, in UTF-8 byte order. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { endOfPrefix } from "./kv-tables.ts";

const text = fc.string({ unit: "binary", maxLength: 6 });

function isBelow(a: string, b: string | Uint8Array): boolean {
  // A blob comes after every text.
  return typeof b !== "string" || Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}

test("the end of a prefix is above all that begin with it", () => {
  fc.assert(fc.property(text, text, (prefix, rest) => isBelow(prefix + rest, endOfPrefix(prefix))));
});

test("nothing else lies between a prefix and its end", () => {
  fc.assert(
    fc.property(text, text, (prefix, other) => {
      const isInside =
        Buffer.compare(Buffer.from(other), Buffer.from(prefix)) >= 0 &&
        isBelow(other, endOfPrefix(prefix));
      return isInside === other.startsWith(prefix);
    }),
  );
});

test.each([
  ["a/", "a0"],
  ["a\u{10FFFF}", "b"],
  ["\uD7FF", "\uE000"],
  ["", new Uint8Array(0)],
  ["\u{10FFFF}", new Uint8Array(0)],
])("the end of %j is %j", (prefix, end) => {
  expect(endOfPrefix(prefix)).toEqual(end);
});
