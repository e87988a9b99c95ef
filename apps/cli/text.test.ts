import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as text from "./text.ts";

// What must never reach a terminal from stored data.
const DANGEROUS =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

describe("escaping", () => {
  test.each([
    ["\u001b[2J\u001b]0;title\u0007", "\\u001b[2J\\u001b]0;title\\u0007"],
    ["line\nline\ttab\r", "line\\nline\\ttab\\r"],
    ["\u009b31m", "\\u009b31m"],
    ["abc\u202egnp.exe", "abc\\u202egnp.exe"],
    ["zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"],
    ["lone \ud800 surrogate", "lone \\ud800 surrogate"],
    ["tag \u{e0041}", "tag \\udb40\\udc41"],
    ["Grüße, 世界 👍", "Grüße, 世界 👍"],
  ])("%j", (raw, shown) => {
    expect(text.visible(raw)).toBe(shown);
  });

  test("leaves nothing dangerous, whatever comes", () => {
    const anything = fc.string({ unit: "binary", maxLength: 60 });
    fc.assert(
      fc.property(anything, (raw) => {
        expect(text.visible(raw)).not.toMatch(DANGEROUS);
        const json = text.jsonText({ raw });
        expect(json).not.toMatch(DANGEROUS);
        expect(JSON.parse(json)).toEqual({ raw });
      }),
    );
  });
});

describe("width", () => {
  test.each([
    ["abc", 3],
    ["世界", 4],
    ["👍", 2],
    ["e\u0301", 1],
    ["Grüße", 5],
    ["", 0],
  ])("%j takes %i columns", (shown, columns) => {
    expect(text.columnsOf(shown)).toBe(columns);
  });

  test("a cut text is as wide as it may be, at most", () => {
    expect(text.cut("abcdef", 6)).toBe("abcdef");
    expect(text.cut("abcdef", 5)).toBe("abcd…");
    expect(text.cut("世界世界", 5)).toBe("世界…");
    expect(text.cut("abc", 1)).toBe("…");
    expect(text.cut("abc", 0)).toBe("");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(30), (raw, columns) => {
        const shown = text.visible(raw);
        const cut = text.cut(shown, columns);
        expect(text.columnsOf(cut)).toBeLessThanOrEqual(columns);
        if (text.columnsOf(shown) <= columns && shown.length <= columns) expect(cut).toBe(shown);
      }),
    );
  });
});

describe("stored data", () => {
  test("as text", () => {
    expect(text.dataText('{"a":1}', 80)).toBe('{"a":1}');
    expect(text.dataText("abcdef\n", 3)).toBe("abc…");
    expect(text.dataText(new Uint8Array([0, 27, 255]), 80)).toBe("3 bytes: 001bff");
    expect(text.dataText(new Uint8Array(100), 8)).toBe("100 bytes: 00000000…");
  });

  test("as JSON: the value that it stands for, or what there is", () => {
    expect(text.dataJson('{"a":[1,2]}')).toEqual({ a: [1, 2] });
    expect(text.dataJson("not json")).toBe("not json");
    expect(text.dataJson("")).toBeNull();
    expect(text.dataJson(null)).toBeNull();
    expect(text.dataJson(new Uint8Array([1, 2, 3]))).toEqual({ base64: "AQID" });
  });
});

test("spans and instants", () => {
  expect(text.spanText(0)).toBe("0ms");
  expect(text.spanText(340.7)).toBe("340ms");
  expect(text.spanText(12_000)).toBe("12s");
  expect(text.spanText(125_000)).toBe("2m 5s");
  expect(text.spanText(3_600_000)).toBe("1h");
  expect(text.spanText(14 * 86_400_000 + 5_400_000)).toBe("14d");
  expect(text.spanText(3 * 86_400_000 + 5_400_000)).toBe("3d 1h");
  expect(text.whenText(1_000, 61_000)).toBe("1m ago");
  expect(text.whenText(61_000, 1_000)).toBe("in 1m");
  expect(text.instantText(1_700_000_000_000, 1_700_000_060_000)).toBe(
    "2023-11-14 22:13:20 UTC (1m ago)",
  );
  expect(text.numberText(1_234_567.89)).toBe("1,234,567.9");
  expect(text.counted(1, "job")).toBe("1 job");
  expect(text.counted(2_000, "job")).toBe("2,000 jobs");
});
