/**
 * Validated builders of the key-value ops: what an engine gets from here has the shape it may
 * trust.
 */
import { checkStorable, dataBytes, type Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS, MAX_INTEGER } from "../../core/limits.ts";
import { checkInteger, checkMs, checkOptions, checkText, expected } from "../../core/options.ts";
import type { KvAdd, KvCheck, KvDelete, KvGet, KvPut } from "../../store/ops.ts";
import { Session } from "../../store/session.ts";

export interface PutOptions {
  /**
   * The key is gone this long after the write, by the store's clock. At least 1; rounded up to the
   * engine's granularity.
   */
  readonly ttlMs?: number | undefined;
  /** The key is gone when this session ends. It must be open in the partition. */
  readonly session?: Session | undefined;
}

export interface AddOptions {
  /** The sum may not go below; default the least safe integer. */
  readonly min?: number | undefined;
  /** The sum may not go above; default the greatest safe integer. */
  readonly max?: number | undefined;
}

/** Keys that begin with this are Holdfast's own. */
export const RESERVED = "$";

function tooLong(name: string, bytes: number): RangeError {
  return new RangeError(
    `Expected \`${name}\` to be at most ${LIMITS.keyBytes} UTF-8 bytes, got ${bytes}`,
  );
}

/**
 * A key: 1 to 1,024 UTF-8 bytes of well-formed text without NUL; one that begins with `$` is
 * reserved.
 */
export function checkKey(key: unknown, isReserved: boolean): string {
  const text = checkText("key", key, LIMITS.keyBytes);
  if (text.length * 3 > LIMITS.keyBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > LIMITS.keyBytes) throw tooLong("key", bytes);
  }
  if (!isReserved && text.startsWith(RESERVED)) {
    throw new RangeError(expected("key", "a key that does not begin with `$` (reserved)", key));
  }
  return text;
}

/** A prefix: as a key, but it may be empty. */
export function checkPrefix(prefix: unknown, isReserved: boolean): string {
  return prefix === "" ? "" : checkKey(prefix, isReserved);
}

/** A key's revision; 0 means that there is no such key. */
export function check(key: string, revision: number): KvCheck {
  return { op: "kv.check", key, revision: checkInteger("revision", revision) };
}

/** `granularityMs`: what the engine rounds TTLs up to. */
export function put(
  key: string,
  value: Data,
  options: PutOptions,
  where: { readonly partition: string; readonly granularityMs: number },
): KvPut {
  checkOptions("options", options, ["ttlMs", "session"]);
  checkValue(value);
  const { ttlMs, session } = options;
  if (session !== undefined) checkSession(session, where.partition);
  if (ttlMs !== undefined) checkMs("ttlMs", ttlMs, 1);
  const { granularityMs: step } = where;
  return {
    op: "kv.put",
    key,
    value,
    ttlMs: ttlMs === undefined ? undefined : Math.ceil(ttlMs / step) * step,
    session: session?.id,
  };
}

function checkValue(value: Data): void {
  checkStorable("value", value);
  if (typeof value === "string" && value.length * 3 <= LIMITS.valueBytes) return;
  const bytes = dataBytes(value);
  if (bytes <= LIMITS.valueBytes) return;
  throw new HoldfastError(
    "TOO_LARGE",
    `Expected a value of at most ${LIMITS.valueBytes} bytes, got ${bytes}: keep the bulk elsewhere and store a reference`,
    { outcome: "not-applied", details: { limit: LIMITS.valueBytes, got: bytes } },
  );
}

function checkSession(session: Session, partition: string): void {
  if (!(session instanceof Session))
    throw new TypeError(expected("session", "a session of the store", session));
  session.check();
  if (session.isOpenIn(partition)) return;
  const message = `Expected \`session\` to be open in partition "${partition}": get it by store.session("${partition}")`;
  throw new TypeError(message);
}

export function remove(key: string): KvDelete {
  return { op: "kv.delete", key };
}

export function add(key: string, delta: number, options: AddOptions): KvAdd {
  checkOptions("options", options, ["min", "max"]);
  checkInteger("delta", delta, -MAX_INTEGER);
  const { min, max } = options;
  if (min !== undefined) checkInteger("min", min, -MAX_INTEGER);
  if (max !== undefined) checkInteger("max", max, min ?? -MAX_INTEGER);
  return { op: "kv.add", key, delta, min, max };
}

export function get(key: string): KvGet {
  return { op: "kv.get", key };
}
