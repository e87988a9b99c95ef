import { describe, expect, test } from "vitest";
import { run, type Io } from "./run.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function holdfast(argv: readonly string[], io: Partial<Io> = {}): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await run(argv, {
    env: {},
    out: (text) => (out += text),
    err: (text) => (err += text),
    columns: undefined,
    isErrTerminal: false,
    interrupt: () => new AbortController().signal,
    ...io,
  });
  return { code, out, err };
}

describe("help and version", () => {
  test.each([
    "inspect",
    "inspect queues",
    "inspect jobs",
    "inspect keys",
    "inspect runs",
    "inspect sessions",
    "journals",
    "journals check",
    "journals export",
    "prove",
  ])("%s has help with examples", async (command) => {
    const { code, out, err } = await holdfast([...command.split(" "), "--help"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`holdfast ${command}`);
    expect(out).toMatch(/\nExamples:\n {2}holdfast /);
  });

  test("the whole has help; a missing command gets it as an error", async () => {
    const asked = await holdfast(["--help"]);
    expect(asked).toMatchObject({ code: 0, err: "" });
    expect(await holdfast([])).toEqual({ code: 2, out: "", err: asked.out });
  });

  test("the version is the package's", async () => {
    expect((await holdfast(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("exit codes", () => {
  test("2 for bad usage, with one line", async () => {
    const { code, out, err } = await holdfast(["inspect", "jbos", "q"]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toBe(
      'holdfast: Unknown inspect command "jbos": did you mean "jobs"? (see: holdfast inspect --help)\n',
    );
    expect((await holdfast(["inspect", "queues"])).err).toContain("--engine or HOLDFAST_URL");
    expect((await holdfast(["prove", "zz"])).err).toContain('Unknown row "zz"');
    expect((await holdfast(["prove"])).code).toBe(2);
  });

  test.each([
    ["an unknown scheme", "gopher://ann:s3cret@hole/db", "MISCONFIGURED"],
    ["no URL at all", "app.db", "MISCONFIGURED"],
    ["a store that nobody else can see", "memory:", "UNSUPPORTED"],
    ["a file that is not there", "sqlite:./no/such/folder/app.db", "MISCONFIGURED"],
  ])("3 for %s, without its credentials", async (_what, url, word) => {
    const { code, out, err } = await holdfast(["inspect", "queues", "--verbose"], {
      env: { HOLDFAST_URL: url },
    });
    expect([code, out]).toEqual([3, ""]);
    expect(err.split("\n")[0]).toContain(`holdfast: ${word}: `);
    expect(err).not.toContain("s3cret");
  });

  test("no stack unless it is asked for", async () => {
    const plain = await holdfast(["inspect", "queues", "--engine", "gopher:x"]);
    expect(plain.err.trimEnd().split("\n")).toHaveLength(1);
    const verbose = await holdfast(["inspect", "queues", "--engine", "gopher:x", "--verbose"]);
    expect(verbose.err).toMatch(/\n +at /);
  });
});

describe("prove --list", () => {
  test("names the rows, for people and for programs", async () => {
    const listed = await holdfast(["prove", "--list"]);
    expect(listed.code).toBe(0);
    expect(listed.out).toMatch(/^a7 /);
    const { out } = await holdfast(["prove", "--list", "--json"]);
    const { rows } = JSON.parse(out) as { rows: { row: string; broken: string }[] };
    expect(rows.map(({ row }) => row)).toEqual(["a7", "b1"]);
    for (const { broken } of rows) expect(broken.length).toBeGreaterThan(20);
  });

  test("colours only a terminal that wants it", async () => {
    const argv = ["prove", "--list"];
    expect((await holdfast(argv, { columns: 80 })).out).toContain("\u001b[1m");
    expect((await holdfast(argv, { columns: 80, env: { NO_COLOR: "1" } })).out).not.toContain(
      "\u001b",
    );
    expect((await holdfast(argv, { columns: 80, env: { TERM: "dumb" } })).out).not.toContain(
      "\u001b",
    );
    expect((await holdfast(argv)).out).not.toContain("\u001b");
  });
});
