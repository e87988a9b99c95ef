/**
 * Validators of arguments: each throws a plain `TypeError` or `RangeError` that says what was
 * expected and what was got.
 */
import { LIMITS, MAX_INTEGER } from "./limits.ts";

function show(value: unknown): string {
  if (typeof value === "string") return `"${value.length > 60 ? `${value.slice(0, 57)}…` : value}"`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}

/** The sentence all refusals share. */
export function expected(name: string, what: string, got: unknown): string {
  return `Expected \`${name}\` to be ${what}, got ${show(got)} (${got === null ? "null" : typeof got})`;
}

/** An integer in [min, max]. */
export function checkInteger(
  name: string,
  value: unknown,
  min: number = 0,
  max: number = MAX_INTEGER,
): number {
  if (typeof value !== "number") throw new TypeError(expected(name, "an integer", value));
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(expected(name, `an integer from ${min} to ${max}`, value));
  }
  return value;
}

/** Integer milliseconds in [min, 400 days]. */
export function checkMs(name: string, value: unknown, min: number = 0): number {
  return checkInteger(name, value, min, LIMITS.durationMs);
}

/** A function. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw new TypeError(expected(name, "a function", value));
}

/** A boolean. */
export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw new TypeError(expected(name, "a boolean", value));
  return value;
}

/** One of a fixed set of words. */
export function checkOneOf<T extends string>(name: string, value: unknown, words: readonly T[]): T {
  if (!words.includes(value as T)) {
    throw new RangeError(
      expected(name, `one of ${words.map((word) => `"${word}"`).join(", ")}`, value),
    );
  }
  return value as T;
}

// A lone surrogate can't be written as UTF-8: two different keys would become the same bytes.
const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001F\u007F]/;

/**
 * A name of ours (queue, namespace, topic ...): 1 to 200 printable characters, not beginning with
 * `$` (reserved).
 */
export function checkName(name: string, value: unknown): string {
  const text = checkText(name, value, LIMITS.nameChars);
  if (CONTROL.test(text)) throw new RangeError(expected(name, "free of control characters", value));
  if (text.startsWith("$")) {
    throw new RangeError(expected(name, "a name that does not begin with `$` (reserved)", value));
  }
  return text;
}

/** A string of 1 to `maxChars` characters that has a UTF-8 form and no NUL. */
export function checkText(name: string, value: unknown, maxChars: number): string {
  if (typeof value !== "string") throw new TypeError(expected(name, "a string", value));
  if (value.length === 0 || value.length > maxChars) {
    throw new RangeError(expected(name, `1 to ${maxChars} characters long`, value));
  }
  if (value.includes("\u0000") || LONE_SURROGATE.test(value)) {
    throw new RangeError(expected(name, "well-formed text without NUL", value));
  }
  return value;
}

/** A plain options object (or nothing); an unknown option is a typo, and is refused. */
export function checkOptions(name: string, value: unknown, known: readonly string[]): void {
  if (value === undefined) return;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(expected(name, "an object", value));
  }
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw new TypeError(
        `Unknown option \`${key}\` in \`${name}\`: expected one of ${known.join(", ")}`,
      );
    }
  }
}
