import { expect, test } from "vitest";
import { validate, type Schema } from "./codec.ts";

/** Resolves as promises of other libraries and realms do: it is no `Promise` of this one. */
class Thenable<T> {
  readonly #value: T;
  constructor(value: T) {
    this.#value = value;
  }
  // oxlint-disable-next-line unicorn/no-thenable
  then(resolve: (value: T) => void): void {
    resolve(this.#value);
  }
}

function schemaOf(result: unknown): Schema {
  const standard = { version: 1, vendor: "test", validate: () => result };
  return { "~standard": standard } as unknown as Schema;
}

test("a schema's answer is awaited whatever kind of promise it is", async () => {
  expect(validate(schemaOf({ value: 1 }), 0, "it")).toBe(1);
  for (const answer of [Promise.resolve({ value: 1 }), new Thenable({ value: 1 })]) {
    const valid = validate(schemaOf(answer), 0, "it");
    expect(valid).toBeInstanceOf(Promise);
    expect(await valid).toBe(1);
  }
  const refused = new Thenable({ issues: [{ message: "no", path: ["a"] }] });
  await expect(validate(schemaOf(refused), 0, "it")).rejects.toMatchObject({
    code: "INVALID_DATA",
    details: { issues: ["a: no"] },
  });
});
