/** What the audit makes of stored text: it takes nothing on trust. Pure. */
import type { EntryStep, LedgerEntry } from "./books.ts";

const STEPS: readonly EntryStep[] = ["reserve", "post", "reverse", "release", "book", "refuse"];

/** Undefined for what is no JSON. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** A field of what may be an object. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

/** The entry as it should look; undefined for anything else. */
export function parseEntry(text: string): LedgerEntry | undefined {
  const entry = parse(text) as Partial<LedgerEntry> | null | undefined;
  if (typeof entry !== "object" || entry === null) return undefined;
  const { order, step, moves, postings } = entry;
  const isEntry =
    typeof order === "string" &&
    STEPS.includes(step as EntryStep) &&
    Array.isArray(moves) &&
    moves.every(({ code, delta }) => typeof code === "string" && Number.isSafeInteger(delta)) &&
    Array.isArray(postings) &&
    postings.every(
      ({ account, amountPence }) =>
        typeof account === "string" && Number.isSafeInteger(amountPence),
    );
  return isEntry ? (entry as LedgerEntry) : undefined;
}

type Pair = readonly [name: string, amount: number];

/** True if both say the same, in any order. */
export function isSameEntry(one: LedgerEntry, other: LedgerEntry): boolean {
  return (
    one.step === other.step &&
    textOf(one.moves.map(({ code, delta }) => [code, delta])) ===
      textOf(other.moves.map(({ code, delta }) => [code, delta])) &&
    textOf(one.postings.map(({ account, amountPence }) => [account, amountPence])) ===
      textOf(other.postings.map(({ account, amountPence }) => [account, amountPence]))
  );
}

function textOf(pairs: readonly Pair[]): string {
  return pairs
    .map((pair) => JSON.stringify(pair))
    .sort()
    .join();
}
