import { describe, expect, test } from "vitest";
import { integerOption, nearest, oneOption, parse } from "./args.ts";
import { UsageError } from "./failure.ts";

function usage(...argv: string[]): string {
  try {
    parse(argv);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).message;
  }
  throw new Error(`Expected ${argv.join(" ")} to be refused`);
}

describe("a good command line", () => {
  test("has its command, arguments and options, in any order", () => {
    const expected = {
      kind: "run",
      command: "inspect jobs",
      args: ["emails", "mail-1"],
      options: { engine: "sqlite:./a.db", json: true },
    };
    const engine = ["--engine", "sqlite:./a.db"];
    expect(parse(["inspect", "jobs", "emails", "mail-1", "--json", ...engine])).toEqual(expected);
    expect(parse([...engine, "--json", "inspect", "jobs", "emails", "mail-1"])).toEqual(expected);
    expect(parse(["inspect", ...engine, "jobs", "emails", "--json", "mail-1"])).toEqual(expected);
  });

  test("may name things that begin with a dash, after --", () => {
    expect(parse(["inspect", "keys", "--", "--odd"])).toMatchObject({ args: ["--odd"] });
  });

  test("asks for help in every usual way", () => {
    const all = { kind: "help", about: "", isAsked: true };
    for (const argv of [["--help"], ["-h"], ["help"]]) expect(parse(argv)).toEqual(all);
    const jobs = { kind: "help", about: "inspect jobs", isAsked: true };
    expect(parse(["inspect", "jobs", "--help"])).toEqual(jobs);
    expect(parse(["help", "inspect", "jobs"])).toEqual(jobs);
    expect(parse(["inspect", "--help"])).toEqual({ kind: "help", about: "inspect", isAsked: true });
    expect(parse(["prove", "-h"])).toEqual({ kind: "help", about: "prove", isAsked: true });
    expect(parse(["--version"])).toEqual({ kind: "version" });
  });

  test("without a command gets help that was not asked for", () => {
    expect(parse([])).toEqual({ kind: "help", about: "", isAsked: false });
    expect(parse(["inspect"])).toEqual({ kind: "help", about: "inspect", isAsked: false });
  });
});

describe("a bad command line says what was expected", () => {
  test.each([
    [["inspct"], 'Unknown command "inspct": did you mean "inspect"?'],
    [["frobnicate"], 'Unknown command "frobnicate": expected one of inspect, journals, prove'],
    [["inspect", "queus"], 'Unknown inspect command "queus": did you mean "queues"?'],
    [["inspect", "queue"], 'Unknown inspect command "queue": did you mean "queues"?'],
    [["inspect", "jobs"], 'Expected QUEUE after "inspect jobs"'],
    [
      ["inspect", "sessions", "x"],
      'Expected at most 0 arguments after "inspect sessions", got "x"',
    ],
    [
      ["inspect", "jobs", "q", "--stat", "dead"],
      'Unknown option "--stat": did you mean "--state"?',
    ],
    [["inspect", "jobs", "q", "-x"], 'Unknown option "-x": expected one of --engine'],
    [["inspect", "jobs", "q", "--limit"], "Option '--limit <value>' argument missing"],
    [["inspect", "jobs", "q", "--json=1"], "Option '--json' does not take an argument"],
    [
      ["inspect", "queues", "--state", "dead"],
      'Option --state does not belong to "inspect queues"',
    ],
    [["inspect", "jobs", "q", "--broken"], 'Option --broken does not belong to "inspect jobs"'],
    [["journals", "chekc"], 'Unknown journals command "chekc": did you mean "check"?'],
    [["journals", "check", "x"], 'Expected at most 0 arguments after "journals check"'],
    [["journals", "export", "--from", "x"], 'Option --from does not belong to "journals export"'],
    [["prove", "b1", "--namespace", "x"], 'Option --namespace does not belong to "prove"'],
  ])("%j", (argv, message) => {
    expect(usage(...argv)).toContain(message);
  });

  test("whole numbers are whole numbers in their range", () => {
    const range = { min: 1, max: 1_000 };
    expect(integerOption({}, "limit", range)).toBeUndefined();
    expect(integerOption({ limit: "17" }, "limit", range)).toBe(17);
    for (const limit of ["0", "1001", "-1", "1.5", "1e2", "0x10", "", " 1", "ten"]) {
      expect(() => integerOption({ limit }, "limit", range), limit).toThrow(UsageError);
    }
  });

  test("two actions at once are refused", () => {
    const names = ["retry", "cancel"] as const;
    expect(oneOption({}, names)).toBeUndefined();
    expect(oneOption({ cancel: true }, names)).toBe("cancel");
    expect(() => oneOption({ cancel: true, retry: true }, names)).toThrow("--retry and --cancel");
  });
});

test("the nearest word is near, or there is none", () => {
  const words = ["queues", "jobs", "keys", "sessions"];
  expect(nearest("quesues", words)).toBe("queues");
  expect(nearest("sesions", words)).toBe("sessions");
  expect(nearest("JOBS", words)).toBe("jobs");
  expect(nearest("jbos", words)).toBe("jobs");
  expect(nearest("workflows", words)).toBeUndefined();
  expect(nearest("", words)).toBeUndefined();
});
