/**
 * One seed, one history: within a process, in two processes, and whatever else the process does
 * meanwhile.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { hashes } from "./hashes.ts";
import { seeds } from "./seeds.ts";

const SAMPLE = seeds(12);

test("a seed gives the same history twice in one process", async () => {
  expect(await hashes(SAMPLE)).toEqual(await hashes(SAMPLE));
});

test("different seeds give different histories", async () => {
  const all = await hashes([1, 2, 3, 4, 5, 6]);
  expect(new Set(all).size).toBe(all.length);
});

test("a seed gives the same history when several worlds run at once", async () => {
  const one = await hashes(SAMPLE);
  const both = await Promise.all([hashes(SAMPLE), hashes([...SAMPLE].reverse())]);
  expect(both).toEqual([one, [...one].reverse()]);
});

test("a seed gives the same history in two processes", async () => {
  const here = await hashes(SAMPLE);
  const elsewhere = await Promise.all([inProcess(SAMPLE), inProcess(SAMPLE)]);
  expect(elsewhere).toEqual([here, here]);
});

function inProcess(list: readonly number[]): Promise<unknown> {
  const loader = new URL("../../tools/typescript.mjs", import.meta.url).href;
  const program = fileURLToPath(new URL("hashes.ts", import.meta.url));
  return new Promise((resolve, reject) => {
    const child = fork(program, list.map(String), { execArgv: ["--import", loader] });
    child.on("message", resolve);
    child.on("error", reject);
    child.on("exit", (code) => {
      if (code !== 0)
        reject(new Error(`Expected the other process to end well, it ended with ${code}`));
    });
  });
}
