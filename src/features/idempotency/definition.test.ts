/** What a definition and a call refuse before anything is sent. */
import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { World } from "../../../test/kit/jobs.ts";
import type { Idempotency } from "./idempotency.ts";
import { idempotency, type IdempotencyDefinition } from "./definition.ts";
import { fingerprintOf } from "./fingerprint.ts";

test("a definition is frozen, with its defaults", () => {
  const charges = idempotency("charges");
  expect(Object.isFrozen(charges)).toBe(true);
  expect(charges.settings).toMatchObject({
    ...{ name: "charges", ttlMs: 86_400_000, inFlight: "wait" },
    ...{ timeoutMs: 300_000, graceMs: 2_000, prefix: "$idempotency/charges/" },
  });
});

test("the handle's types are those of the schema", () => {
  const output = z.object({ at: z.string().transform((text) => text.length) });
  const calls = idempotency("calls", { output });
  expectTypeOf(calls).toEqualTypeOf<IdempotencyDefinition<{ at: number }, { at: string }>>();
  type Run = Idempotency<{ at: number }, { at: string }>;
  // @ts-expect-error: the handler returns what the schema takes, not what it gives
  const _wrong = (it: Run) => it.run("k", 1, () => ({ at: 1 }));
});

test.each([
  ["name", ""],
  ["name", "$own"],
  ["name", "x".repeat(201)],
  ["name", "/".repeat(150)],
])("a wrong %s is refused: %j", (_, name) => {
  expect(() => idempotency(name)).toThrow(RangeError);
});

test.each([
  ["ttlMs", 0],
  ["ttlMs", 1.5],
  ["ttlMs", "1h"],
  ["timeoutMs", 0],
  ["graceMs", -1],
  ["inFlight", "queue"],
  ["fingerprint", "sha"],
  ["output", {}],
  ["codec", {}],
  ["partition", "$x"],
  ["retries", 3],
])("a wrong or unknown option is refused: %s = %j", (name, value) => {
  expect(() => idempotency("x", { [name]: value })).toThrow(/Expected|expected one of/);
});

test("wrong arguments of a call are refused before anything is sent", async () => {
  const world = new World();
  const process = await world.process();
  const calls = process.store.handle(idempotency("x"));
  const handler = (): number => 1;
  await expect(calls.run("", 1, handler)).rejects.toThrow(RangeError);
  await expect(calls.run("x".repeat(201), 1, handler)).rejects.toThrow(RangeError);
  await expect(calls.run(1 as never, 1, handler)).rejects.toThrow(TypeError);
  await expect(calls.run("k", 1, "handler" as never)).rejects.toThrow(TypeError);
  await expect(calls.run("k", 1, handler, { ttlMs: 1 } as object)).rejects.toThrow(TypeError);
  await expect(calls.run("k", 1, handler, { timeoutMs: -1 })).rejects.toThrow(RangeError);
  await expect(calls.run("k", 1, handler, { inFlight: "no" as never })).rejects.toThrow(RangeError);
  await expect(calls.get("")).rejects.toThrow(RangeError);
  await expect(calls.forget("")).rejects.toThrow(RangeError);
  await expect(calls.get("k", { signal: AbortSignal.abort("gone") })).rejects.toBe("gone");
  expect(process.sent).toEqual([]);
  // The longest key of the longest name fits a key of the store.
  const longest = process.store.handle(idempotency("é".repeat(200)));
  expect(await longest.run("\uFFFD".repeat(200), 1, handler)).toBe(1);
  await world.close();
});

test("the fingerprint tells apart what differs, and nothing else", () => {
  const same = [
    [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ],
    [{ a: 1 }, { a: 1, b: undefined }],
    [0, -0],
    [new Date(0), "1970-01-01T00:00:00.000Z"],
    [Buffer.from("a"), Uint8Array.of(97)],
    [Object.create(null), {}],
  ];
  for (const [a, b] of same) expect(fingerprintOf(a)).toBe(fingerprintOf(b));
  const all = [
    ...[undefined, null, "", "null", "undefined", 0, "0", false, [], {}, [[]], [null]],
    ...[[undefined], { a: null }, { a: [] }, { a: {} }, { "a:": 1 }, { a: 1 }, Buffer.from("")],
    ...[Buffer.from("json:0"), [Buffer.from("a")], ["a"], [Buffer.from("b")], "é", "e\u0301"],
  ];
  expect(new Set(all.map(fingerprintOf)).size).toBe(all.length);
});
