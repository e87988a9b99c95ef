import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { busCases } from "../conformance/bus.ts";
import { kvCases } from "../conformance/kv.ts";
import { queueCases } from "../conformance/queue.ts";
import { runsCases } from "../conformance/runs.ts";
import { storeCases } from "../conformance/store.ts";

/** The numbered sentences of a README, in their order. */
function guarantees(folder: string): { readonly numbers: number[]; readonly sentences: string[] } {
  const text = readFileSync(new URL(`../${folder}/README.md`, import.meta.url), "utf8");
  const lines = [...text.matchAll(/^(\d+)\. (.+)$/gm)];
  return {
    numbers: lines.map(([, number]) => Number(number)),
    sentences: lines.map(([, , sentence = ""]) => sentence),
  };
}

describe("a README of guarantees and its suite say the same, in the same words and order", () => {
  test.each([
    ["ports/kv", kvCases],
    ["ports/queue", queueCases],
    ["ports/runs", runsCases],
    ["ports/bus", busCases],
    ["store", storeCases],
  ])("%s", (folder, cases) => {
    const { numbers, sentences } = guarantees(folder);
    expect(numbers).toEqual(Object.keys(cases).map((_, index) => index + 1));
    expect(sentences).toEqual(Object.keys(cases));
  });
});
