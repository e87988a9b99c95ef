/**
 * The front door: a URL becomes a `Holdfast`. Only this file knows both engines and ports; it knows
 * no feature, since a definition brings its own way of opening.
 *
 * Engines are imported when a URL names them, so that importing the library loads no engine and no
 * client.
 */
import { systemClock, type Clock } from "./core/clock.ts";
import { HoldfastError } from "./core/errors.ts";
import { checkOptions, expected } from "./core/options.ts";
import type { Random } from "./core/random.ts";
import { checkWait, waitFor, type Wait } from "./core/signal.ts";
import type { MemoryState } from "./engines/memory/index.ts";
import { Bus } from "./ports/bus/index.ts";
import { Kv } from "./ports/kv/index.ts";
import { Queue, type QueueOptions } from "./ports/queue/index.ts";
import type { Durability } from "./store/capabilities.ts";
import type { Definition } from "./store/definition.ts";
import type { StoreDriver } from "./store/driver.ts";
import { refusalError, type Committed, type OpsOf, type Placed } from "./store/group.ts";
import { Store, type Allow, type StoreOptions } from "./store/store.ts";

export interface ConnectOptions extends Wait {
  /**
   * Names of this program's things begin with it: programs of other namespaces share the store
   * without meeting. Default `"default"`.
   */
  readonly namespace?: string | undefined;
  /** The bound of `close()`: workers end or give back their jobs within it. Default 20 s. */
  readonly drainMs?: number | undefined;
  /**
   * How long the process may be silent before others take over what it holds. 100 ms to 1 h;
   * default 10 s.
   */
  readonly sessionTtlMs?: number | undefined;
  /** `"unsynced"`: a write may be acknowledged before a synced disk has it. */
  readonly allow?: Allow | readonly Allow[] | undefined;
  /**
   * What `holdfast inspect sessions` shows for this process. Default host, process number, program.
   */
  readonly label?: string | undefined;
  /** For tests and simulation. */
  readonly clock?: Clock | undefined;
  /** For tests and simulation. */
  readonly random?: Random | undefined;
}

/** One URL, or one for each port; today all must be the default's. */
export type Urls = string | { readonly default: string; readonly [port: string]: string };

/** A URL taken apart. `params` is what follows the `?`. */
interface Target {
  readonly scheme: string;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
}

const KNOWN = [
  "namespace",
  "drainMs",
  "sessionTtlMs",
  "allow",
  "label",
  "clock",
  "random",
  "signal",
  "timeoutMs",
] as const;

/** What an opened URL gives. Closing it (or `await using`) drains its workers first. */
export class Holdfast implements AsyncDisposable {
  readonly store: Store;
  /** JSON values; for a schema, a codec or another partition make a `Kv` of `holdfast/ports/kv`. */
  readonly kv: Kv;
  /** JSON messages. */
  readonly bus: Bus;

  /** Made by `connect`. */
  constructor(store: Store) {
    this.store = store;
    this.kv = new Kv(store);
    this.bus = new Bus(store);
  }

  /** The definition's handle, the same one each time. */
  open<H>(definition: Definition<H>): H {
    return this.store.handle(definition);
  }

  /**
   * The low-level queue port, on text and bytes; for handlers, retries and schemas define a `queue`
   * of `holdfast/jobs`.
   */
  queue(name: string, options?: QueueOptions): Queue {
    return new Queue(this.store, name, options);
  }

  /**
   * Commits ops of any ports (`kv.op`, `queue.op`, `bus.op`) as one group: all of them hold, or
   * none does and this throws what the first op that did not hold says. The results are the ops',
   * in order.
   */
  async commit<const P extends readonly Placed[]>(
    ops: P,
    wait?: Wait,
  ): Promise<Extract<Committed<OpsOf<P>>, { ok: true }>> {
    const committed = await this.store.commitAll(ops, wait);
    if (!committed.ok) throw refusalError(committed.refusal);
    return committed;
  }

  /** As `commit`, but a refusal is an answer. */
  tryCommit<const P extends readonly Placed[]>(ops: P, wait?: Wait): Promise<Committed<OpsOf<P>>> {
    return this.store.commitAll(ops, wait);
  }

  /** What an acknowledged write has, read from the engine's real settings. */
  durability(): Promise<Durability> {
    return this.store.durability();
  }

  /**
   * Drains workers, waits for commits in flight, ends the session and frees everything, within
   * `drainMs`. What fails on the way stops none of it: the first failure is thrown at the end.
   */
  close(): Promise<void> {
    return this.store.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens a store by URL.
 *
 * Shape: `memory:` (this process, gone with the handle), `memory:NAME` (one state for all who name
 * it, as long as the process lives; its clock is the first one's), `sqlite:PATH`.
 * Errors: `MISCONFIGURED` for a URL that can't be opened or promises too little without `allow`;
 * `UNSUPPORTED` for different stores by port. A URL is never printed, since it may hold a password.
 * On abort or timeout: what was opened meanwhile is closed. `signal` ends the connecting only, not
 * the handle.
 *
 * @example
 * await using hf = await connect("sqlite:./app.db", { namespace: "shop" });
 */
export async function connect(urls: Urls, options: ConnectOptions = {}): Promise<Holdfast> {
  checkOptions("options", options, KNOWN);
  const { signal, timeoutMs, ...rest } = options;
  checkWait({ signal, timeoutMs });
  const target = parseUrl(oneUrl(urls));
  const opening = openStore(target, rest);
  try {
    const clock = options.clock ?? systemClock;
    const store = await waitFor(opening, clock, { signal, timeoutMs }, "Connecting");
    return new Holdfast(store);
  } catch (error) {
    opening.then((store) => store.close()).catch(() => {});
    throw error;
  }
}

async function openStore(target: Target, options: StoreOptions): Promise<Store> {
  const driver = await openDriver(target, options);
  // What is opened for reading acknowledges no write: there is nothing that could promise too
  // little.
  const isReadOnly = target.params["mode"] === "ro";
  return Store.open(driver, isReadOnly ? { ...options, allow: "unsynced" } : options);
}

function misconfigured(message: string, details: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied", details });
}

function oneUrl(urls: Urls): string {
  if (typeof urls === "string") return urls;
  if (typeof urls !== "object" || urls === null) {
    throw new TypeError(expected("url", "a string, or an object with `default`", urls));
  }
  for (const port of new Set(["default", ...Object.keys(urls)])) {
    const url = urls[port];
    if (typeof url !== "string") throw new TypeError(expected(`url.${port}`, "a string", url));
    if (url === urls.default) continue;
    const message = `Expected port \`${port}\` to be on the default store, got another URL: several stores by port are not supported yet`;
    throw new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied", details: { port } });
  }
  return urls.default;
}

/** Takes a URL apart; nothing of it but its scheme may be printed. */
function parseUrl(url: string): Target {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url);
  if (match === null) {
    const message = "Expected a URL such as sqlite:./app.db or memory:, got text without a scheme";
    throw misconfigured(message, {});
  }
  const scheme = (match[1] as string).toLowerCase();
  const rest = match[2] as string;
  const at = rest.indexOf("?");
  const raw = (at === -1 ? rest : rest.slice(0, at)).replace(/^\/\//, "");
  const params = Object.fromEntries(new URLSearchParams(at === -1 ? "" : rest.slice(at + 1)));
  try {
    return { scheme, path: decodeURIComponent(raw), params };
  } catch {
    const message = `Expected a ${scheme}: URL with well-formed percent escapes, got one without: write a percent sign as %25`;
    throw misconfigured(message, { scheme });
  }
}

type Opener = (target: Target, options: StoreOptions) => Promise<StoreDriver>;

/** States of `memory:NAME`, for all who name them in this process. */
const memories = new Map<string, MemoryState>();

const ENGINES: Readonly<Record<string, Opener>> = {
  memory: async ({ path, params }, { clock }) => {
    refuseParams("memory", params);
    const { memory, MemoryState } = await import("./engines/memory/index.ts");
    if (path === "") return memory({ clock });
    let state = memories.get(path);
    if (state === undefined) memories.set(path, (state = new MemoryState({ clock })));
    return memory({ state });
  },
  sqlite: async ({ path, params }, { clock, allow }) => {
    if (path === "")
      throw misconfigured("Expected a path in the sqlite: URL, got none: sqlite:./app.db", {});
    const { sqlite } = await import("./engines/sqlite/index.ts");
    return sqlite(path, { clock, allow, params });
  },
};

function refuseParams(scheme: string, params: Readonly<Record<string, string>>): void {
  const [name] = Object.keys(params);
  if (name === undefined) return;
  throw misconfigured(`Expected a ${scheme}: URL without parameters, got \`${name}\``, {
    scheme,
    name,
  });
}

async function openDriver(target: Target, options: StoreOptions): Promise<StoreDriver> {
  const { scheme } = target;
  const open = Object.hasOwn(ENGINES, scheme) ? ENGINES[scheme] : undefined;
  if (open !== undefined) return open(target, options);
  const known = Object.keys(ENGINES);
  const message = `Expected a URL of scheme ${known.map((name) => `${name}:`).join(" or ")}, got ${scheme}:`;
  throw misconfigured(message, { scheme, known });
}
