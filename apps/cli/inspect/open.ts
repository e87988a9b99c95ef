/**
 * Opening a store to look into it: an existing one, for a short time, without a thread of its own.
 */
import { connect, HoldfastError, isHoldfastError, type Holdfast } from "holdfast";
import type { Layout } from "../table.ts";
import type { Options } from "../args.ts";
import { OpenError, UsageError } from "../failure.ts";
import { visible } from "../text.ts";

/** What a command found: a value for programs, and text for people. */
export interface View {
  readonly json: unknown;
  /** False: what was asked for did not hold, and the exit code says so. */
  readonly isOk?: boolean;
  text(layout: Layout): string;
}

/** Where a command looks: the opened store, and a partition of its namespace. */
export interface Place {
  readonly hf: Holdfast;
  readonly partition: string | undefined;
}

const CONNECT_TIMEOUT_MS = 15_000;
const CLOSE_WITHIN_MS = 5_000;

/** The URL given by `--engine` or HOLDFAST_URL, if any. */
export function engineUrl(options: Options, env: NodeJS.ProcessEnv): string | undefined {
  const url = options.engine ?? env["HOLDFAST_URL"];
  return url === "" ? undefined : url;
}

/** Opens the store that the options name, runs `use` on it, and closes it. */
export async function withStore<T>(
  options: Options,
  env: NodeJS.ProcessEnv,
  use: (place: Place) => Promise<T>,
): Promise<T> {
  const url = engineUrl(options, env);
  if (url === undefined) {
    const message = "Expected the store's URL in --engine or HOLDFAST_URL, such as sqlite:./app.db";
    throw new UsageError(message, "inspect");
  }
  const hf = await open(url, options.namespace);
  try {
    return await use({ hf, partition: options.partition });
  } finally {
    await hf.close();
  }
}

async function open(url: string, namespace: string | undefined): Promise<Holdfast> {
  try {
    const hf = await connect(forInspection(url), {
      namespace,
      timeoutMs: CONNECT_TIMEOUT_MS,
      drainMs: CLOSE_WITHIN_MS,
    });
    if (hf.store.capabilities.isShared) return hf;
    await hf.close();
    const { engine } = hf.store.capabilities;
    const why = "its state lives inside the program and can't be seen from outside";
    const message = `Expected a store that several processes share, got ${engine}: ${why}`;
    throw new HoldfastError("UNSUPPORTED", message);
  } catch (error) {
    throw new OpenError(explained(error, url));
  }
}

/**
 * The engine speaks of `mode=rw`, which nobody typed: of a missing file the command says what it
 * means to who typed its path.
 */
function explained(error: unknown, url: string): unknown {
  const isOurMode = forInspection(url) !== url && !/[?&]mode=/.test(url);
  if (!isOurMode || !isHoldfastError(error, "MISCONFIGURED")) return error;
  const [, path] = /^Expected (.+) to exist for mode=rw,/s.exec(error.message) ?? [];
  if (path === undefined) return error;
  const message = `There is no file ${path}: correct the path in --engine or HOLDFAST_URL, or start the program that makes the store (inspecting never makes one)`;
  return new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied", cause: error });
}

/**
 * The URL for a look: a SQLite file must be there already (a mistyped path must not make an empty
 * store), and needs no writer thread for one command. What the URL says itself stands.
 */
export function forInspection(url: string): string {
  if (!/^sqlite:/i.test(url)) return url;
  const at = url.indexOf("?");
  const params = new URLSearchParams(at === -1 ? "" : url.slice(at + 1));
  if (!params.has("mode")) params.set("mode", "rw");
  if (!params.has("thread")) params.set("thread", "off");
  return `${at === -1 ? url : url.slice(0, at)}?${params.toString()}`;
}

/**
 * A sentence for an empty list that names where there is something, since a wrong namespace is the
 * usual reason.
 */
export async function nothingHere(place: Place, what: string): Promise<string> {
  const { store } = place.hf;
  const here = store.partitionName(place.partition);
  const { partitions } = await store.info();
  const others = partitions.map(({ partition }) => partition).filter((name) => name !== here);
  const shown = others.slice(0, 10).map(visible).join(", ");
  const more = others.length > 10 ? ` and ${others.length - 10} more` : "";
  const hint =
    others.length === 0 ? "" : `; this store also holds ${shown}${more} (--namespace, --partition)`;
  return `No ${what} in ${visible(here)}${hint}.\n`;
}
