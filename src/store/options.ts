/** What a store may be told when it is opened, and whether the engine's promises are enough. */
import { systemClock, type Clock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { hostLabel } from "../core/host.ts";
import { LIMITS } from "../core/limits.ts";
import {
  checkInteger,
  checkMs,
  checkName,
  checkOneOf,
  checkOptions,
  expected,
} from "../core/options.ts";
import { systemRandom, type Random } from "../core/random.ts";
import { checkWait, type Wait } from "../core/signal.ts";
import type { Durability } from "./capabilities.ts";

/** A weaker promise that the user accepts by name. */
export type Allow = "unsynced";

export interface StoreOptions {
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  /** The default partition's name, and the first part of all others'. Default `"default"`. */
  readonly namespace?: string | undefined;
  /**
   * How long the process may be silent before others take over what it holds. 100 ms to 1 h;
   * default 10 s.
   */
  readonly sessionTtlMs?: number | undefined;
  /** The bound of `close()`. Default 20 s. */
  readonly drainMs?: number | undefined;
  /** `"unsynced"`: a persistent engine may acknowledge before a synced disk has the write. */
  readonly allow?: Allow | readonly Allow[] | undefined;
  /** What `session.list` shows for this process; default host, process number and program. */
  readonly label?: string | undefined;
}

const DEFAULTS = Object.freeze({
  namespace: "default",
  sessionTtlMs: 10_000,
  drainMs: 20_000,
} as const);

const KNOWN = [
  "clock",
  "random",
  "namespace",
  "sessionTtlMs",
  "drainMs",
  "allow",
  "label",
] as const;

const WAIT_KEYS = ["signal", "timeoutMs"] as const;

/** The options with their defaults, checked. */
export interface Settings {
  readonly clock: Clock;
  readonly random: Random;
  readonly namespace: string;
  readonly sessionTtlMs: number;
  readonly drainMs: number;
  readonly label: string;
  readonly allow: readonly Allow[];
}

export function settingsOf(options: StoreOptions): Settings {
  checkOptions("options", options, KNOWN);
  const { sessionTtlMinMs, sessionTtlMaxMs } = LIMITS;
  const ttlMs = options.sessionTtlMs ?? DEFAULTS.sessionTtlMs;
  const allow = typeof options.allow === "string" ? [options.allow] : (options.allow ?? []);
  for (const word of allow) checkOneOf("allow", word, ["unsynced"]);
  return {
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    namespace: checkPart("namespace", options.namespace ?? DEFAULTS.namespace),
    sessionTtlMs: checkInteger("sessionTtlMs", ttlMs, sessionTtlMinMs, sessionTtlMaxMs),
    drainMs: checkMs("drainMs", options.drainMs ?? DEFAULTS.drainMs),
    label: checkName("label", options.label ?? hostLabel()),
    allow,
  };
}

/** A namespace or partition: `/` joins the two, so neither may hold one. */
export function checkPart(name: string, value: unknown): string {
  const text = checkName(name, value);
  if (text.includes("/")) throw new RangeError(expected(name, "a name without `/`", value));
  return text;
}

/** A `Wait` and nothing else: an option that would be ignored is refused. */
export function checkWaitOnly(wait: Wait | undefined): void {
  checkOptions("options", wait, WAIT_KEYS);
  checkWait(wait);
}

/** Throws `MISCONFIGURED` if an acknowledged write has less than one synced copy. */
export function checkSynced(engine: string, durability: Durability): void {
  const { copies, synced, source } = durability;
  if (copies >= 1 && synced === "yes") return;
  const got = typeof synced === "string" ? synced : `within ${synced.withinMs} ms`;
  throw new HoldfastError(
    "MISCONFIGURED",
    `Expected ${engine} to have one synced copy when a write is acknowledged, got synced: ${got} (${source}): change its settings, or accept that with allow: "unsynced"`,
    { outcome: "not-applied", details: { engine, copies, synced, source } },
  );
}
