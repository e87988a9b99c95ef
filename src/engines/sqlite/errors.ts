/**
 * Native errors → `HoldfastError`. A result code says what happened; where it happened says what
 * became of the commit.
 */
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import type { ErrorCode, Outcome } from "../../core/errors.ts";

/** The SQLite result code ("SQLITE_BUSY" ...), or undefined if the error is not SQLite's. */
export function sqliteCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code } = error as { readonly code?: unknown };
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : undefined;
}

/**
 * Somebody else holds a lock, and will let go. `PROTOCOL` is a lost race for the index of the
 * write-ahead file; SQLite gives up on it after some seconds of its own.
 */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code.startsWith("SQLITE_BUSY") || code === "SQLITE_PROTOCOL");
}

interface Meaning {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** What was got, and what to do. */
  readonly say: (path: string) => string;
}

// By the first prefix that fits.
const MEANINGS: readonly (readonly [prefix: string, meaning: Meaning])[] = [
  [
    "SQLITE_FULL",
    {
      code: "UNAVAILABLE",
      retryable: true,
      say: (path) =>
        `Expected room for a write in ${path}, but the disk or its page limit (max_page_count) is full: free some space or raise the limit`,
    },
  ],
  [
    "SQLITE_NOTADB",
    {
      code: "MISCONFIGURED",
      retryable: false,
      say: (path) =>
        `Expected ${path} to be a SQLite database, but it is another kind of file, encrypted, or its first page was overwritten: name another file, or restore this one`,
    },
  ],
  [
    "SQLITE_CORRUPT",
    {
      code: "CORRUPT",
      retryable: false,
      say: (path) =>
        `Expected ${path} to be intact, but SQLite found damaged pages: stop all writers, copy the file with its -wal, and restore a backup or run \`sqlite3 FILE .recover\``,
    },
  ],
  [
    "SQLITE_READONLY",
    {
      code: "MISCONFIGURED",
      retryable: false,
      say: (path) =>
        `Expected ${path} to be writable, but it was opened with mode=ro or its permissions forbid it: open it without mode=ro, or let this user write the file and its folder`,
    },
  ],
  [
    "SQLITE_CANTOPEN",
    {
      code: "MISCONFIGURED",
      retryable: false,
      say: (path) =>
        `Expected to open ${path}, but the system refused: its folder must exist, and this user must be allowed to read and write both`,
    },
  ],
  [
    "SQLITE_PERM",
    {
      code: "MISCONFIGURED",
      retryable: false,
      say: (path) =>
        `Expected to be allowed to open ${path}, but the system refused: check its permissions`,
    },
  ],
  [
    "SQLITE_BUSY",
    {
      code: "UNAVAILABLE",
      retryable: true,
      say: (path) => `Expected the lock of ${path}, but another connection holds it: try again`,
    },
  ],
  [
    "SQLITE_IOERR",
    {
      code: "UNAVAILABLE",
      retryable: true,
      say: (path) =>
        `Expected the disk to serve ${path}, but it failed: check the system's log and the disk`,
    },
  ],
];

const OTHER: Meaning = {
  code: "UNAVAILABLE",
  retryable: false,
  say: (path) => `Expected SQLite to serve ${path}, but it failed`,
};

/**
 * The error for the caller. Ours pass as they are, and so do defects (`InvariantError`,
 * `TypeError`): they are never dressed up as an outage. The native message comes last; it never
 * holds data.
 */
export function mapError(error: unknown, path: string, outcome: Outcome | undefined): unknown {
  const native = sqliteCode(error);
  if (isHoldfastError(error) || native === undefined) return error;
  const meaning = MEANINGS.find(([prefix]) => native.startsWith(prefix))?.[1] ?? OTHER;
  const message = `${meaning.say(path)} (${native}: ${(error as Error).message})`;
  const { code, retryable } = meaning;
  return new HoldfastError(code, message, {
    retryable,
    outcome,
    details: { native },
    cause: error,
  });
}
