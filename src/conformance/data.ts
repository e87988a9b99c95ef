/** Values that careless engines damage. */
import assert from "node:assert/strict";
import type { Data } from "../core/codec.ts";
import { LIMITS } from "../core/limits.ts";

function allBytes(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => byte);
}

/** Text with what SQL, JSON, C and UTF-16 stumble over. */
export const AWKWARD_TEXT: readonly string[] = [
  "",
  " ",
  "0",
  "null",
  "plain",
  `quotes ' " \` \\ and %_?:;--/*`,
  "line\nbreak\r\n\ttab\u0001",
  "é and e\u0301 are two texts",
  "漢字 \uD83D\uDE80 \u{10FFFF} \uE000 \uFFFD \uFFFF",
];

/** Text that has no UTF-8 form, or that text columns refuse. */
export const UNSTORABLE_TEXT: readonly string[] = ["\uD800", "a\uDC00b", "cut \uD83D", "a\u0000b"];

/** A text and a byte string at the size limit, for the tests that can bear them. */
export function largest(bytes: number = LIMITS.valueBytes): readonly Data[] {
  const block = allBytes();
  const long = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += block.length) long.set(block.subarray(0, bytes - at), at);
  return ["é".repeat(bytes / 2), long];
}

/** Byte strings that are no UTF-8, and some that are. */
export function awkwardBytes(): readonly Uint8Array[] {
  return [
    new Uint8Array(0),
    Uint8Array.of(0),
    Uint8Array.of(0x80),
    Uint8Array.of(0xff, 0xfe),
    Uint8Array.of(0xc3, 0x28),
    Uint8Array.of(0xed, 0xa0, 0x80),
    new TextEncoder().encode("text as bytes"),
    allBytes(),
    // A view into a larger buffer: only the view may be stored.
    allBytes().subarray(17, 99),
  ];
}

/** Text came back as that text, bytes as those bytes. */
export function assertSame(got: unknown, put: Data): void {
  if (typeof put === "string") return assert.equal(got, put);
  assert.ok(got instanceof Uint8Array, "bytes come back as bytes");
  assert.ok(Buffer.from(got).equals(put), `${put.length} bytes come back as they were put`);
}
