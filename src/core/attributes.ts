/** What jobs and runs are found by: names with a text each. */
import { LIMITS } from "./limits.ts";
import { checkText, expected } from "./options.ts";

/** Up to 16 names with a text each. */
export type Attributes = Readonly<Record<string, string>>;

/**
 * A copy without a prototype, so that a name may be "constructor". Throws `TypeError` or
 * `RangeError`.
 */
export function checkAttributes(name: string, value: unknown): Attributes {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(expected(name, "an object of texts", value));
  }
  const entries = Object.entries(value as Readonly<Record<string, unknown>>);
  if (entries.length > LIMITS.attributes) {
    throw new RangeError(expected(name, `at most ${LIMITS.attributes} names`, entries.length));
  }
  const copy = emptyAttributes();
  for (const [key, text] of entries) {
    checkText(`a name of ${name}`, key, LIMITS.nameChars);
    copy[key] = checkText(`${name}.${key}`, text, LIMITS.nameChars);
  }
  return copy;
}

/** As they were stored. */
export function parseAttributes(text: string): Attributes {
  // `__proto__` is an own name in what JSON.parse gives; assigning it to a plain object is not.
  const copy = emptyAttributes();
  for (const [key, value] of Object.entries(JSON.parse(text) as Attributes)) copy[key] = value;
  return copy;
}

function emptyAttributes(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}
