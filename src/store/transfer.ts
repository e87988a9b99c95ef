/**
 * What moving a partition may be told: cursors, pages and seals, checked at the store's front door.
 * That the records of a page are whole, and fit those before, is the engine's to judge: it alone
 * sees what is there.
 */
import { dataBytes } from "../core/codec.ts";
import { HoldfastError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { checkBoolean, checkOptions, checkText, expected } from "../core/options.ts";
import type { ExportRecord, Seal } from "./driver.ts";

const SEAL_KEYS = ["isSealed", "movedTo"] as const;
/** A record's other fields, in bytes. */
const RECORD_BYTES = 128;

/** A cursor as a page gave it, or null. What it says is the engine's to judge. */
export function checkCursor(cursor: string | null): void {
  if (cursor === null) return;
  if (typeof cursor !== "string") {
    throw new TypeError(expected("cursor", "a string or null", cursor));
  }
  if (cursor.length <= LIMITS.cursorChars) return;
  const message = `Expected an export cursor given by the page before, got ${cursor.length} characters`;
  throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
}

export function checkSeal(seal: Seal): Seal {
  if (seal === undefined) throw new TypeError(expected("seal", "an object", seal));
  checkOptions("seal", seal, SEAL_KEYS);
  const { isSealed, movedTo } = seal;
  return {
    isSealed: checkBoolean("seal.isSealed", isSealed),
    movedTo: movedTo === null ? null : checkText("seal.movedTo", movedTo, LIMITS.placeChars),
  };
}

/** A list of records within the limits of one import. */
export function checkRecords(records: readonly ExportRecord[]): void {
  if (!Array.isArray(records)) throw new TypeError(expected("records", "an array", records));
  if (records.length > LIMITS.importRecords) {
    throw tooLarge("records", LIMITS.importRecords, records.length);
  }
  let bytes = 0;
  for (const record of records as readonly unknown[]) {
    if (typeof record !== "object" || record === null) {
      const message = "Expected each of `records` to be a record of an export, got something else";
      throw new HoldfastError("INVALID_DATA", message, { outcome: "not-applied" });
    }
    bytes += RECORD_BYTES + dataOf(record);
  }
  if (bytes > LIMITS.importBytes) throw tooLarge("bytes", LIMITS.importBytes, bytes);
}

/** Bytes of all text and bytes that the record carries, whatever its shape. */
function dataOf(record: object): number {
  let bytes = 0;
  for (const value of Object.values(record) as unknown[]) {
    if (typeof value === "string" || value instanceof Uint8Array) bytes += dataBytes(value);
    else if (typeof value === "object" && value !== null) bytes += shallow(value);
  }
  return bytes;
}

/** A job's view; nothing that an export gives is nested deeper. */
function shallow(view: object): number {
  let bytes = 0;
  for (const value of Object.values(view) as unknown[]) {
    if (typeof value === "string" || value instanceof Uint8Array) bytes += dataBytes(value);
  }
  return bytes;
}

function tooLarge(what: "records" | "bytes", limit: number, got: number): HoldfastError {
  const message = `Expected an import of at most ${limit} ${what}, got ${got}: export smaller pages, or split this one`;
  const details = { limit, got };
  return new HoldfastError("TOO_LARGE", message, { outcome: "not-applied", details });
}
