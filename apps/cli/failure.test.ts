import { HoldfastError, LeaseLostError } from "holdfast";
import { describe, expect, test } from "vitest";
import * as failure from "./failure.ts";

const { ActionError, EXIT, OpenError, UsageError, exitCode, failureText } = failure;

describe("exit codes", () => {
  test.each([
    ["usage", new UsageError("x"), EXIT.usage],
    ["an argument the library refused", new RangeError("Expected `queue` to be ..."), EXIT.usage],
    ["an action", new ActionError("NOT_FOUND", "x"), EXIT.failed],
    ["a refusal", new LeaseLostError("x"), EXIT.failed],
    ["a bug", new TypeError("undefined is not a function"), EXIT.failed],
    ["an outage", new HoldfastError("UNAVAILABLE", "x"), EXIT.store],
    ["a bad URL", new HoldfastError("MISCONFIGURED", "x"), EXIT.store],
    ["a file that is none", new OpenError(new HoldfastError("CORRUPT", "x")), EXIT.store],
    ["whatever else met at opening", new OpenError(new Error("x")), EXIT.store],
    ["a bad namespace", new OpenError(new RangeError("Expected `namespace` ...")), EXIT.usage],
  ])("%s", (_name, error, code) => {
    expect(exitCode(error)).toBe(code);
  });
});

describe("a failure's text", () => {
  test("is one line with code and message", () => {
    expect(failureText(new ActionError("NOT_FOUND", "There is no job"))).toBe(
      "holdfast: NOT_FOUND: There is no job\n",
    );
    expect(failureText(new UsageError("Expected QUEUE", "inspect jobs"))).toBe(
      "holdfast: Expected QUEUE (see: holdfast inspect jobs --help)\n",
    );
    expect(failureText(new Error("a\u001b[2J\nb"))).toMatch(/^holdfast: Error: a\\u001b\[2J\\nb /);
  });

  test("has a stack, and causes, only when asked for", () => {
    const error = new OpenError(
      new HoldfastError("CORRUPT", "damaged", { cause: new Error("disk") }),
    );
    expect(failureText(error)).toBe("holdfast: CORRUPT: damaged\n");
    const verbose = failureText(error, { isVerbose: true });
    expect(verbose).toContain("failure.test.ts");
    expect(verbose).toContain("Error: disk");
  });
});

describe("credentials", () => {
  const urls = [
    "postgres://ann:s3cret@db.example.org:5432/app",
    "redis://:s3cret@cache:6379",
    "redis://cache:6379?password=s3cret",
    "nats://s3cret@bus",
    "etcd://host/?auth_token=s3cret&x=1",
  ];
  test.each(urls)("of %s are not shown", (url) => {
    const raw = new Error(`connect to ${url} failed, s3cret`);
    for (const isVerbose of [false, true]) {
      expect(failureText(raw, { url, isVerbose })).not.toContain("s3cret");
    }
    expect(failure.withoutCredentials(`tried ${url}`)).not.toContain("s3cret");
  });

  test("decoded ones neither", () => {
    const url = "postgres://ann:p%40ss%2Fword@db/app";
    expect(failureText(new Error("bad password p@ss/word"), { url })).not.toContain("p@ss/word");
  });

  test("the rest of a URL stays", () => {
    const text = failure.withoutCredentials("see postgres://ann:x@db:5432/app and sqlite:./a.db");
    expect(text).toBe("see postgres://***@db:5432/app and sqlite:./a.db");
  });
});
