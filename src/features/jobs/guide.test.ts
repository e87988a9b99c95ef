/** The guide promises in numbers: each sentence of its table is the name of a test. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const folder = new URL("./", import.meta.url);
const guide = readFileSync(new URL("../../../docs/guide/jobs.md", folder), "utf8");

/** The sentences of the table under "The numbers". */
function sentences(text: string): string[] {
  const table = /### The numbers\n([\s\S]*?)\n## /.exec(text)?.[1] ?? "";
  const rows = table.split("\n").filter((line) => /^\| (?!subject|---)/.test(line));
  return rows.map((row) => row.split("|")[2]?.trim() ?? "");
}

const suite = readFileSync(new URL("../../../test/engines/jobs-sqlite.test.ts", folder), "utf8");

/**
 * The tests of the files that run on SQLite too: imported there, and with no engine of their own.
 */
function names(): Set<string> {
  const files = readdirSync(folder).filter((file) => suite.includes(`/jobs/${file}"`));
  const texts = files
    .map((file) => readFileSync(new URL(file, folder), "utf8"))
    .filter((text) => !text.includes("/engines/"));
  return new Set(
    texts.flatMap((text) =>
      [...text.matchAll(/test\(\s*"([^"]+)"/g)].map(([, name]) => name ?? ""),
    ),
  );
}

test("every sentence of the guide's table is the name of a test that runs on SQLite too", () => {
  const promised = sentences(guide);
  expect(promised.length).toBeGreaterThan(20);
  const tested = names();
  expect(promised.filter((sentence) => !tested.has(sentence))).toEqual([]);
});

test("a sentence without a test would be found", () => {
  const planted = guide.replace(
    "### The numbers\n",
    "### The numbers\n| magic | nothing is ever late |\n",
  );
  expect(sentences(planted).filter((sentence) => !names().has(sentence))).toEqual([
    "nothing is ever late",
  ]);
});
