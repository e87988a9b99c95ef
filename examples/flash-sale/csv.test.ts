import * as fc from "fast-check";
import { expect, test } from "vitest";
import { joinFields, LineSplitter, MAX_LINE_CHARS, splitFields } from "./csv.ts";

function split(...chunks: readonly (string | Uint8Array)[]): (string | null)[] {
  const splitter = new LineSplitter();
  const lines = chunks.flatMap((chunk) => [...splitter.push(chunk)]);
  lines.push(...splitter.end());
  expect(lines.map(({ line }) => line)).toEqual(lines.map((_, index) => index + 1));
  return lines.map(({ text }) => text);
}

test("lines end with LF or CRLF, and the last one may lack it", () => {
  expect(split("a\nb\r\nc")).toEqual(["a", "b", "c"]);
  expect(split("a\n")).toEqual(["a"]);
  expect(split("\n\nb\n")).toEqual(["", "", "b"]);
  expect(split()).toEqual([]);
});

test("a line may come in any number of chunks, cut inside a character or a line break", () => {
  const bytes = new TextEncoder().encode("é1\r\n£2\r\n");
  expect(split(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(["é1", "£2"]);
});

test("a byte order mark is dropped, and a byte that is not UTF-8 costs nothing else", () => {
  expect(split(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0x0a, 0xa3))).toEqual(["a", "\uFFFD"]);
  expect(split("\uFEFFa\nb")).toEqual(["a", "b"]);
});

test("a line over the limit is told as such, and the next one is whole", () => {
  const longest = "x".repeat(MAX_LINE_CHARS);
  expect(split(`${longest}\r\n${longest}y\nb`)).toEqual([longest, null, "b"]);
  expect(split(longest, longest, longest, "\nb\n", longest, "y")).toEqual([null, "b", null]);
});

test("chunks do not change the lines", () => {
  const text = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r\n", "é", "😀") });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 7 }), (whole, size) => {
      const bytes = new TextEncoder().encode(whole);
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
      expect(split(...chunks)).toEqual(split(whole));
    }),
  );
});

test("fields are split at commas, and quotes hold commas and quotes", () => {
  expect(splitFields("a,,c")).toEqual(["a", "", "c"]);
  expect(splitFields('a,"b, ""c""",""')).toEqual(["a", 'b, "c"', ""]);
});

test.each(['a,"b', '"a"b,c', 'a"b",c', 'a,"b" ,c', '"'])("%s is refused with a reason", (text) => {
  expect(splitFields(text)).toMatch(/^Expected/);
});

test("a carriage return inside a line does not make a second record", () => {
  expect(splitFields('a\rb,"c"')).toEqual(["a\rb", "c"]);
  expect(splitFields('"a\rb",c')).toEqual(["a\rb", "c"]);
});

test("fields that are joined split again", () => {
  const field = fc.string().filter((text) => !/[\r\n]/.test(text));
  fc.assert(
    fc.property(fc.array(field, { minLength: 1 }), (fields) => {
      const text = joinFields(fields).slice(0, -1);
      // One empty field is written as nothing, which is no line at all for a reader.
      fc.pre(text !== "");
      expect(splitFields(text)).toEqual(fields);
    }),
  );
});

test("a field with a line break cannot be joined", () => {
  expect(() => joinFields(["a\nb"])).toThrow(RangeError);
});
