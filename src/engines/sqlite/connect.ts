/**
 * What a path and its options mean, and whether the surroundings can keep what the engine promises.
 * Nothing is opened here.
 */
import { statfsSync, statSync } from "node:fs";
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { systemClock } from "../../core/clock.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { checkInteger, checkOneOf, checkOptions, expected } from "../../core/options.ts";
import type { ConnectionSettings } from "./database.ts";

const MODES = ["ro", "rw", "rwc"] as const;
const SWITCH = ["on", "off"] as const;
const NETWORK = ["refuse", "allow"] as const;

export interface SqliteOptions {
  /**
   * `ro`: reads only; `rw`: the file must exist; `rwc`: it is made if it does not. Default `rwc`.
   */
  readonly mode?: (typeof MODES)[number] | undefined;
  /**
   * `"unsynced"`: a commit is acknowledged before the disk has it; a power failure may lose the
   * last ones, a crash of the process does not.
   */
  readonly allow?: "unsynced" | readonly "unsynced"[] | undefined;
  /**
   * The greatest size of the file in pages of 4 KB; a commit beyond it fails with `UNAVAILABLE`.
   * Default: none.
   */
  readonly maxPageCount?: number | undefined;
  /** How long a commit may wait for the write lock, 1 to 600,000 ms. Default 10 s. */
  readonly lockTimeoutMs?: number | undefined;
  /**
   * `off`: commits run on the calling thread and block it while the disk syncs. Default `on`; `off`
   * with an injected clock.
   */
  readonly thread?: (typeof SWITCH)[number] | undefined;
  /**
   * `allow`: the file may lie on a network or user-space file system. WAL needs memory shared by
   * all processes, so only one machine may use it then. Default `refuse`.
   */
  readonly network?: (typeof NETWORK)[number] | undefined;
  /** For tests and simulation; needs `thread: "off"`. */
  readonly clock?: Clock | undefined;
  /** The parameters of a URL: `mode`, `max_page_count`, `lockTimeoutMs`, `thread`, `network`. */
  readonly params?: Readonly<Record<string, string>> | undefined;
}

export interface Plan {
  readonly settings: ConnectionSettings;
  readonly isThreaded: boolean;
  readonly clock: Clock;
}

const DEFAULTS = Object.freeze({ mode: "rwc", lockTimeoutMs: 10_000, network: "refuse" } as const);
const KNOWN = [
  "mode",
  "allow",
  "maxPageCount",
  "lockTimeoutMs",
  "thread",
  "network",
  "clock",
  "params",
] as const;
/** Parameters of the URL and the options they set. */
const PARAMS: Readonly<Record<string, keyof SqliteOptions>> = Object.freeze({
  mode: "mode",
  max_page_count: "maxPageCount",
  lockTimeoutMs: "lockTimeoutMs",
  thread: "thread",
  network: "network",
});
/** SQLite's own bound. */
const MAX_PAGES = 4_294_967_294;

function misconfigured(
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): HoldfastError {
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied", details });
}

/** Checks the options and the surroundings; throws `MISCONFIGURED`, `TypeError` or `RangeError`. */
export function plan(path: string, options: SqliteOptions): Plan {
  checkOptions("options", options, KNOWN);
  const all = { ...options, ...fromParams(options.params ?? {}) };
  const allow = typeof all.allow === "string" ? [all.allow] : (all.allow ?? []);
  for (const word of allow) checkOneOf("allow", word, ["unsynced"]);
  const { clock = systemClock } = all;
  const thread = checkOneOf("thread", all.thread ?? (clock === systemClock ? "on" : "off"), SWITCH);
  if (thread === "on" && clock !== systemClock) {
    throw new TypeError(
      expected("thread", `"off" with a clock of your own: a thread has the host's`, thread),
    );
  }
  const { maxPageCount } = all;
  const mode = checkOneOf("mode", all.mode ?? DEFAULTS.mode, MODES);
  const settings: ConnectionSettings = {
    path: reached(path, mode, checkOneOf("network", all.network ?? DEFAULTS.network, NETWORK)),
    mode,
    isSynced: !allow.includes("unsynced"),
    maxPageCount:
      maxPageCount === undefined ? null : checkInteger("maxPageCount", maxPageCount, 1, MAX_PAGES),
    lockTimeoutMs: checkInteger(
      "lockTimeoutMs",
      all.lockTimeoutMs ?? DEFAULTS.lockTimeoutMs,
      1,
      600_000,
    ),
  };
  return { settings, isThreaded: thread === "on" && mode !== "ro", clock };
}

/**
 * The options that a URL's parameters set. A fault in a URL is one of the surroundings, not of the
 * code.
 */
function fromParams(params: Readonly<Record<string, string>>): SqliteOptions {
  const found: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(params)) {
    const option = Object.hasOwn(PARAMS, name) ? PARAMS[name] : undefined;
    if (option === undefined) {
      const known = Object.keys(PARAMS);
      const message = `Expected parameters of a sqlite: URL to be among ${known.join(", ")}, got \`${name}\`: correct or remove it`;
      throw misconfigured(message, { name, known });
    }
    found[option] = paramValue(name, option, text);
  }
  return found;
}

function paramValue(name: string, option: keyof SqliteOptions, text: string): string | number {
  if (option === "maxPageCount" || option === "lockTimeoutMs") {
    const max = option === "maxPageCount" ? MAX_PAGES : 600_000;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
    throw misconfigured(
      `Expected \`${name}\` in the sqlite: URL to be an integer from 1 to ${max}, got "${text}"`,
    );
  }
  const words: readonly string[] =
    option === "mode" ? MODES : option === "thread" ? SWITCH : NETWORK;
  if (words.includes(text)) return text;
  throw misconfigured(
    `Expected \`${name}\` in the sqlite: URL to be one of ${words.join(", ")}, got "${text}"`,
  );
}

// ---------------------------------------------------------------- the file's place

/** As `place`; what the system says on the way (no right to look, a loop of links) is told, too. */
function reached(...asked: Parameters<typeof place>): string {
  try {
    return place(...asked);
  } catch (cause) {
    const { code } = cause as { readonly code?: unknown };
    if (!(cause instanceof Error) || isHoldfastError(cause) || typeof code !== "string") {
      throw cause;
    }
    const message = `Expected ${JSON.stringify(asked[0])} to be a path of a file that this user may reach, but the system refused (${code}: ${cause.message}): correct the path, or its folders' permissions`;
    throw new HoldfastError("MISCONFIGURED", message, {
      outcome: "not-applied",
      details: { native: code },
      cause,
    });
  }
}

/**
 * The file's real path; throws if it can't be one. Symbolic links are followed, so that two names
 * of a file are one store.
 */
function place(
  path: string,
  mode: ConnectionSettings["mode"],
  network: "refuse" | "allow",
): string {
  if (typeof path !== "string") throw new TypeError(expected("path", "a string", path));
  if (path === "" || path === ":memory:") {
    throw misconfigured(
      `Expected the path of a file, got "${path}": for a store in memory use memory:`,
    );
  }
  const full = resolve(path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) {
    throw misconfigured(`Expected ${full} to be a file, got a folder: name a file in it`);
  }
  if (stat === undefined && mode !== "rwc") {
    throw misconfigured(
      `Expected ${full} to exist for mode=${mode}, but it does not: name the right file, or make it without mode=${mode}`,
    );
  }
  const folder = dirname(full);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw misconfigured(`Expected the folder ${folder} to exist, but it does not: make it first`);
  }
  const real = stat === undefined ? join(realpathSync(folder), basename(full)) : realpathSync(full);
  if (network === "refuse") checkFileSystem(real, fileSystemOf(dirname(real)));
  return real;
}

/**
 * Linux's numbers (statfs(2)) of file systems that do not share memory between machines, or leave
 * it to a user's program.
 */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xfe534d42, "SMB2"],
  [0xff534d42, "CIFS"],
  [0x65735546, "FUSE"],
  [0x01021997, "9P"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
  [0x786f4256, "VirtualBox shared folder"],
  [0xbacbacbc, "VMware shared folder"],
]);

function fileSystemOf(folder: string): number {
  // Elsewhere the numbers mean something else.
  return process.platform === "linux" ? statfsSync(folder).type : 0;
}

/** Exported for its test: no network file system is at hand there. */
export function checkFileSystem(path: string, type: number): void {
  // Some systems give the number as a signed one.
  const name = NETWORK_FILE_SYSTEMS.get(type >>> 0);
  if (name === undefined) return;
  const message = `Expected ${path} to lie on a local disk, got a ${name} file system: SQLite's write-ahead log needs memory that all processes share, and would corrupt the file across machines. Move it to a local disk, or pass network=allow if only this machine ever opens it`;
  throw misconfigured(message, { fileSystem: name });
}
