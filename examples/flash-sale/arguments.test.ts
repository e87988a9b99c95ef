import { expect, test } from "vitest";
import { HELP, shopArguments } from "./arguments.ts";
import { storePath } from "./audit-read.ts";

test("without arguments the run is that of npm start", () => {
  expect(shopArguments([])).toEqual({
    ...{ orders: undefined, seed: 1, count: 500, repeat: 1, stock: 0.6 },
    ...{ processes: 4, kills: 5, engine: undefined, isBroken: false, isJson: false, isHelp: false },
  });
});

test("every option is read", () => {
  const text =
    "--orders a.csv --seed 7 --count 10 --repeat 2 --stock 0.25 --processes 2 --kills 0 " +
    "--engine sqlite:x.db --broken --json --help";
  expect(shopArguments(text.split(" "))).toEqual({
    ...{ orders: "a.csv", seed: 7, count: 10, repeat: 2, stock: 0.25 },
    ...{
      processes: 2,
      kills: 0,
      engine: "sqlite:x.db",
      isBroken: true,
      isJson: true,
      isHelp: true,
    },
  });
});

test.each([
  ["--count 0", "Expected --count to be a whole number from 1 to 800000, got 0"],
  ["--count 1.5", "Expected --count to be a whole number"],
  ["--count x", "Expected --count to be a whole number"],
  ["--processes 65", "from 1 to 64, got 65"],
  ["--stock=-1", "Expected --stock to be a number from 0 to 1000, got -1"],
  ["--kills=", "Expected --kills to be a whole number"],
  ["--fast", "--fast"],
  ["file.csv", "positional"],
])("refuses %s", (text, message) => {
  expect(() => shopArguments(text.split(" "))).toThrow(message);
});

test("the help names every option", () => {
  const names = ["orders", "count", "seed", "repeat", "stock", "processes", "kills", "engine"];
  for (const name of [...names, "broken", "json", "help"]) expect(HELP).toContain(`--${name}`);
});

test("a store's path is read from its URL as connect reads it", () => {
  expect(storePath("sqlite:./a.db")).toBe("./a.db");
  expect(storePath("sqlite:///tmp/a%20b.db?thread=off")).toBe("/tmp/a b.db");
  expect(() => storePath("memory:")).toThrow("got memory");
});
