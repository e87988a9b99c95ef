import { describe, expect, test } from "vitest";
import { list, painter, table, type Column, type Layout } from "./table.ts";
import { columnsOf } from "./text.ts";

const plain: Layout = { width: undefined, paint: painter(false), isFull: false };
const columns: readonly Column[] = [
  { title: "ID", atLeast: 6 },
  { title: "COUNT", align: "right" },
  { title: "PAYLOAD", atLeast: 8 },
];

describe("a table", () => {
  test("is aligned, with nothing at the ends of its lines", () => {
    const rows = [
      ["a", "1", "x"],
      ["longer", "1,000", ""],
      ["世界", "20", "y"],
    ];
    expect(table(columns, rows, plain)).toBe(
      [
        "ID      COUNT  PAYLOAD", //
        "a           1  x",
        "longer  1,000",
        "世界       20  y",
        "",
      ].join("\n"),
    );
  });

  test("fits the terminal by cutting its widest columns that may be cut", () => {
    const rows = [["an-identifier-of-some-length", "12", "p".repeat(500)]];
    for (const width of [120, 80, 60, 40, 24, 17]) {
      const lines = table(columns, rows, { ...plain, width })
        .trimEnd()
        .split("\n");
      for (const line of lines) expect(columnsOf(line), line).toBeLessThanOrEqual(width);
      expect(lines[1]).toContain("12");
      expect(lines[1]?.endsWith("…")).toBe(true);
    }
    const wide = table(columns, rows, { ...plain, width: 80 });
    expect(wide).toContain("an-identifier-of-some-length");
  });

  test("cuts nothing when it is asked for all, or is no terminal", () => {
    const long = "p".repeat(500);
    expect(table(columns, [["a", "1", long]], plain)).toContain(long);
    expect(table(columns, [["a", "1", long]], { ...plain, width: 40, isFull: true })).toContain(
      long,
    );
  });

  test("lets no control character through", () => {
    const rows = [["\u001b[31mred", "1\n2", "\u202e"]];
    expect(table(columns, rows, plain).split("\n")[1]).toBe("\\u001b[31mred   1\\n2  \\u202e");
  });

  test("colours cells, not their padding, and its heading", () => {
    const coloured = { ...plain, paint: painter(true) };
    const text = table(columns, [[{ text: "a", style: "red" }, "1", "x"]], coloured);
    expect(text).toContain("\u001b[31ma\u001b[0m  ");
    expect(text.startsWith("\u001b[1mID")).toBe(true);
    expect(table(columns, [[{ text: "a", style: "red" }, "1", "x"]], plain)).not.toContain(
      "\u001b",
    );
  });
});

test("a list is aligned, cut to the terminal and escaped", () => {
  const entries = [
    ["name", "emails"],
    ["state", { text: "paused", style: "yellow" }],
    ["payload", `a\u0007${"x".repeat(100)}`],
  ] as const;
  expect(list(entries, { ...plain, width: 30 })).toBe(
    `name     emails\nstate    paused\npayload  a\\u0007${"x".repeat(13)}…\n`,
  );
  expect(list(entries, { ...plain, paint: painter(true) })).toContain("\u001b[33mpaused\u001b[0m");
});
