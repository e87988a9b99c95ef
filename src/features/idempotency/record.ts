/**
 * What the store keeps under a key: one line of JSON that says what it is, and behind it the answer
 * as the codec gave it, so that people can read both.
 *
 *            claim (bound to the session)          finish (same group as the ops)
 *   (none) ─────────────────────────────► in-flight ─────────────────────────────► answered, failed
 *      ▲                                     │                                          │
 *      └── the handler threw, session over ──┘                                          │
 *      └──────────────────────────────── ttlMs passed, forget() ───────────────────────┘
 */
import { dataBytes, type Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";

export type RecordState = "in-flight" | "answered" | "failed";

/** What each record says of itself. */
export interface RecordHead {
  readonly state: RecordState;
  /** Of the input, in hex. */
  readonly fingerprint: string;
  /** Names the claim under which it was written: whoever made the claim knows its own. */
  readonly claim: string;
  /** The session that holds the key, or held it. */
  readonly session: string;
}

export interface StoredRecord extends RecordHead {
  /** The answer (`answered`) or the failure (`failed`); empty while it is in flight. */
  readonly data: Data;
  readonly revision: number;
}

/** The version of this form; another one is not read as if it were this one. */
const FORMAT = 1;
/** Kept of a value's limit for the head, which is well below it. */
const HEAD_BYTES = 1_024;
const LINE_END = 10;

/** An answer may have so many UTF-8 bytes. */
export const ANSWER_BYTES: number = LIMITS.valueBytes - HEAD_BYTES;

/** The record as the store keeps it. */
export function writeRecord(head: RecordHead, data: Data): Data {
  const { state, fingerprint, claim, session } = head;
  const line = `${JSON.stringify({ format: FORMAT, state, fingerprint, claim, session })}\n`;
  return typeof data === "string" ? line + data : Buffer.concat([Buffer.from(line), data]);
}

/** Throws `TOO_LARGE` for an answer that is above the limit; nothing was written. */
export function checkAnswerSize(name: string, data: Data): Data {
  // A character is at most 3 bytes: short text need not be measured.
  if (typeof data === "string" && data.length * 3 <= ANSWER_BYTES) return data;
  const bytes = dataBytes(data);
  if (bytes <= ANSWER_BYTES) return data;
  const message = `Expected an answer of "${name}" to be at most ${ANSWER_BYTES} bytes, got ${bytes}: keep the bulk elsewhere and answer with a reference`;
  throw new HoldfastError("TOO_LARGE", message, {
    outcome: "not-applied",
    details: { limit: ANSWER_BYTES, got: bytes },
  });
}

/** The record that was stored. Throws `CORRUPT`, or `INCOMPATIBLE` for one of a later version. */
export function readRecord(key: string, value: Data, revision: number): StoredRecord {
  const [line, data] = split(value);
  const head = parse(line);
  if (head === undefined) {
    throw new HoldfastError("CORRUPT", `Expected a record of idempotency under "${key}", got none`);
  }
  const { format, ...rest } = head;
  if (format !== FORMAT) {
    const message = `Expected a record of format ${FORMAT} under "${key}", got ${String(format)}: a newer version of Holdfast wrote it`;
    throw new HoldfastError("INCOMPATIBLE", message, { details: { format } });
  }
  return { ...(rest as unknown as RecordHead), data, revision };
}

function split(value: Data): readonly [line: string, data: Data] {
  if (typeof value === "string") {
    const end = value.indexOf("\n");
    return end < 0 ? [value, ""] : [value.slice(0, end), value.slice(end + 1)];
  }
  const end = value.indexOf(LINE_END);
  const line = Buffer.from(end < 0 ? value : value.subarray(0, end)).toString("utf8");
  if (end < 0) return [line, ""];
  // Plain bytes, as the codec gave them, though the engine may keep a Buffer.
  const { buffer, byteOffset, byteLength } = value;
  return [line, new Uint8Array(buffer, byteOffset + end + 1, byteLength - end - 1)];
}

const STATES: ReadonlySet<unknown> = new Set<RecordState>(["in-flight", "answered", "failed"]);

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  let head: unknown;
  try {
    head = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof head !== "object" || head === null) return undefined;
  const { format, state, fingerprint, claim, session } = head as Record<string, unknown>;
  if (typeof format !== "number") return undefined;
  if (format !== FORMAT) return { format };
  const hasTexts = [fingerprint, claim, session].every((each) => typeof each === "string");
  return STATES.has(state) && hasTexts ? { format, state, fingerprint, claim, session } : undefined;
}
