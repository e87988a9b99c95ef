import { expect, test } from "vitest";
import { simulate, type SimulationOptions } from "./index.ts";

const wrong: [string, Partial<SimulationOptions>][] = [
  ["no nodes", { nodes: 0 }],
  ["too many nodes", { nodes: 65 }],
  ["half a node", { nodes: 1.5 }],
  ["no number as seed", { seed: Number.NaN }],
  ["a fractional seed", { seed: 0.5 }],
  ["a negative seed", { seed: -1 }],
  ["no events", { maxEvents: 0 }],
  ["a negative time of faults", { untilMs: -1 }],
  ["an endless time to heal", { healMs: Infinity }],
];

test.each(wrong)("%s is a RangeError, and the program is not run", async (_, options) => {
  let runs = 0;
  const program = async (): Promise<void> => void runs++;
  await expect(simulate(program, { seed: 1, ...options })).rejects.toBeInstanceOf(RangeError);
  expect(runs).toBe(0);
});

test("what is no program and no seed are TypeErrors", async () => {
  const nothing = simulate(undefined as never, { seed: 1 });
  await expect(nothing).rejects.toBeInstanceOf(TypeError);
  const seedless = simulate(async () => {}, { seed: "1" as never });
  await expect(seedless).rejects.toBeInstanceOf(TypeError);
});

test("as many nodes as were asked for run", async () => {
  for (const nodes of [1, 64]) {
    const names = new Set<string>();
    const program = async ({ name }: { readonly name: string }): Promise<void> =>
      void names.add(name);
    await simulate(program, { seed: 0, nodes, faults: "none" });
    expect(names.size).toBe(nodes);
  }
});
