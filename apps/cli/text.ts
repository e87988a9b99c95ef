/**
 * Text that may hold anything → text that a terminal may show. Stored data is untrusted here: a
 * control character in a payload must never reach the terminal raw, where it could move the cursor,
 * hide text or answer a query.
 */
import type { Data } from "holdfast";

/**
 * Controls, format characters (zero-width, direction), lone surrogates, and the two Unicode line
 * ends.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** What `JSON.stringify` leaves as it is among them. */
const UNSAFE_IN_JSON = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function hex(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    out += `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return out;
}

/** The text with every unsafe character written as an escape, on one line. */
export function visible(text: string): string {
  return text.replace(UNSAFE, (char) => SHORT_ESCAPES[char] ?? hex(char));
}

/** As `visible`, but line ends stay: for our own messages. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

/** One JSON value, with a line end. Whatever a string holds, the output is safe to show. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2).replace(UNSAFE_IN_JSON, hex)}\n`;
}

/** The same on one line. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replace(UNSAFE_IN_JSON, hex)}\n`;
}

// Combining marks take no column; East Asian wide characters and emoji take two.
const MARK = /^\p{M}$/u;
const WIDE = new RegExp(
  String.raw`^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f` +
    String.raw`\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]$`,
  "u",
);

function charWidth(char: string): number {
  if (char.length === 1 && char >= " " && char <= "~") return 1;
  if (MARK.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}

/** How many columns the text takes on a terminal. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const char of text) columns += charWidth(char);
  return columns;
}

/** The text cut to so many columns; what was cut shows as `…`. */
export function cut(text: string, columns: number): string {
  // Each character takes a column at least, marks aside: short text need not be measured.
  if (columnsOf(text.slice(0, columns * 4 + 4)) <= columns && text.length <= columns * 4)
    return text;
  let out = "";
  let used = 0;
  for (const char of text) {
    const width = charWidth(char);
    if (used + width > columns - 1) break;
    out += char;
    used += width;
  }
  return columns === 0 ? "" : `${out}…`;
}

/**
 * Stored data on one line: text as it is, bytes as hexadecimal digits; at most about `chars` of it.
 */
export function dataText(data: Data, chars: number): string {
  if (typeof data === "string") {
    // Cut before escaping, so that a long payload is not walked; an escape may be cut after.
    return data.length <= chars ? visible(data) : `${visible(data.slice(0, chars))}…`;
  }
  const shown = Buffer.from(data.subarray(0, Math.ceil(chars / 2))).toString("hex");
  return `${data.byteLength} bytes: ${shown}${shown.length < data.byteLength * 2 ? "…" : ""}`;
}

/**
 * Stored data as a JSON value: the value that its text stands for, the text if it is no JSON, bytes
 * as base64.
 */
export function dataJson(data: Data | null): unknown {
  if (data === null || data === "") return null;
  if (typeof data !== "string") return { base64: Buffer.from(data).toString("base64") };
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return data;
  }
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
];

/** A span in its largest unit, with the next one where that says much: `3d 4h`, `14d`, `12s`. */
export function spanText(ms: number): string {
  const index = UNITS.findIndex(([, size]) => ms >= size);
  if (index === -1) return `${Math.max(0, Math.floor(ms))}ms`;
  const [unit, size] = UNITS[index] as readonly [string, number];
  const count = Math.floor(ms / size);
  const next = UNITS[index + 1];
  const rest = next === undefined || count >= 10 ? 0 : Math.floor((ms % size) / next[1]);
  return rest === 0 ? `${count}${unit}` : `${count}${unit} ${rest}${next?.[0]}`;
}

/** An instant as seen from now: `2m 5s ago`, `in 3h`. Both by the store's clock. */
export function whenText(atMs: number, nowMs: number): string {
  return atMs > nowMs ? `in ${spanText(atMs - nowMs)}` : `${spanText(nowMs - atMs)} ago`;
}

const INSTANT = new Intl.DateTimeFormat("sv-SE", {
  timeZone: "UTC",
  dateStyle: "short",
  timeStyle: "medium",
});

/** An instant as UTC with both its date and its distance from now. */
export function instantText(atMs: number, nowMs: number): string {
  return `${INSTANT.format(atMs)} UTC (${whenText(atMs, nowMs)})`;
}

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** `12,345`. */
export function numberText(value: number): string {
  return GROUPED.format(value);
}

/** `1 job`, `2 jobs`. */
export function counted(count: number, noun: string): string {
  return `${numberText(count)} ${noun}${count === 1 ? "" : "s"}`;
}
