/**
 * The key-value port: versioned keys in byte order, with a TTL or bound to a session. `README.md`
 * beside this file states what it guarantees. Values pass a codec (JSON unless told otherwise) and,
 * if one is given, a schema, on write and on read.
 */
import { jsonCodec, validate, type Codec, type Data, type Schema } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkInteger, checkOptions, checkText, expected } from "../../core/options.ts";
import type { Wait } from "../../core/signal.ts";
import type { KvChanges, KvPage } from "../../store/driver.ts";
import { refusalError, resultsOf, type Placed } from "../../store/group.ts";
import type {
  KvAdd,
  KvCheck,
  KvDelete,
  KvEntry,
  KvGet,
  KvOp,
  KvPut,
  Refusal,
} from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import * as ops from "./ops.ts";
import type { AddOptions, PutOptions } from "./ops.ts";

export interface KvOptions<V> {
  /** A partition of the namespace; default: the namespace's own. */
  readonly partition?: string | undefined;
  /** Default JSON. */
  readonly codec?: Codec | undefined;
  /** What every value must be, checked on write and on read. */
  readonly schema?: Schema<unknown, V> | undefined;
  /**
   * True: keys that begin with `$` are taken and shown. They are Holdfast's own; for its features
   * and tools.
   */
  readonly hasReserved?: boolean | undefined;
}

/** A key as it stands. `revision` is that of the group that wrote it last. */
export interface KvValue<V> {
  readonly key: string;
  readonly value: V;
  readonly revision: number;
}

/** What was written. `ttlMs` is the one in effect: rounded up to the engine's granularity. */
export interface Written {
  readonly revision: number;
  readonly ttlMs: number | undefined;
}

/** `revision` of a refusal is the one found; 0: there is no such key. */
export type TryPut =
  | ({ readonly ok: true } & Written)
  | { readonly ok: false; readonly revision: number };
export type TryDelete =
  | { readonly ok: true; readonly existed: boolean }
  | { readonly ok: false; readonly revision: number };
/** `value` of a refusal is the one that stands. */
export type TryAdd =
  | { readonly ok: true; readonly value: number; readonly revision: number }
  | { readonly ok: false; readonly value: number };

export interface ListOptions extends Wait {
  /** The `next` of the page before. */
  readonly after?: string | undefined;
  /** 1 to 1,000; default 100. */
  readonly limit?: number | undefined;
}

/**
 * Keys in byte order, all as of `revision`, which is also the cursor from which a watch misses
 * nothing.
 */
export interface KvList<V> {
  readonly entries: readonly KvValue<V>[];
  readonly revision: number;
  /** Give it as `after` for the next page; null: this was the last. */
  readonly next: string | null;
}

/** A key's last state; without `value` it was deleted or has expired. */
export type KvChangeOf<V> =
  | { readonly type: "put"; readonly key: string; readonly value: V; readonly revision: number }
  | { readonly type: "delete"; readonly key: string; readonly revision: number };

export interface KvChangesOf<V> {
  readonly changes: readonly KvChangeOf<V>[];
  /** Watching from here misses nothing after this batch. */
  readonly cursor: number;
  /** Changes were lost to this watcher: list anew; the watch goes on from `cursor`. */
  readonly isResync: boolean;
}

export interface WatchOptions {
  readonly signal?: AbortSignal | undefined;
  /** A list's `revision` or a batch's `cursor`; default: from now. */
  readonly cursor?: number | undefined;
  /** A batch of more changes becomes one resync. 1 to 10,000, which is the default. */
  readonly buffer?: number | undefined;
}

/** The ops of this view, for groups that hold other ops too. Their values are encoded already. */
export interface KvOps<V> {
  check(key: string, revision: number): Placed<KvCheck>;
  put(key: string, value: V, options?: PutOptions): Placed<KvPut>;
  delete(key: string): Placed<KvDelete>;
  add(key: string, delta: number, options?: AddOptions): Placed<KvAdd>;
  /** Its result is an encoded entry: `decode` it. */
  get(key: string): Placed<KvGet>;
}

const KNOWN = ["partition", "codec", "schema", "hasReserved"] as const;
const PUT_KEYS = ["ttlMs", "session", "signal", "timeoutMs"] as const;
const TRY_PUT_KEYS = ["ifRevision", ...PUT_KEYS] as const;
const TRY_DELETE_KEYS = ["ifRevision", "signal", "timeoutMs"] as const;
const ADD_KEYS = ["min", "max", "signal", "timeoutMs"] as const;
const LIST_KEYS = ["after", "limit", "signal", "timeoutMs"] as const;
const PAGE_ROWS = 100;

export class Kv<V = unknown> {
  readonly store: Store;
  /** The full name of the partition it shows. */
  readonly partitionName: string;
  readonly op: KvOps<V>;
  readonly #options: KvOptions<V>;
  readonly #codec: Codec;
  readonly #hasReserved: boolean;

  constructor(store: Store, options: KvOptions<V> = {}) {
    checkOptions("options", options, KNOWN);
    this.store = store;
    this.partitionName = store.partitionName(options.partition);
    this.#options = options;
    this.#codec = options.codec ?? jsonCodec;
    this.#hasReserved = options.hasReserved ?? false;
    this.op = this.#builders();
  }

  /** The same view of another partition of the namespace. */
  partition(name: string): Kv<V> {
    return new Kv<V>(this.store, { ...this.#options, partition: name });
  }

  #builders(): KvOps<V> {
    const { partitionName: partition } = this;
    const granularityMs = this.store.capabilities.ttlGranularityMs;
    const place = <O extends KvOp>(op: O): Placed<O> => ({ partition, op });
    const key = (name: string): string => ops.checkKey(name, this.#hasReserved);
    return {
      check: (name, revision) => place(ops.check(key(name), revision)),
      put: (name, value, options = {}) =>
        place(ops.put(key(name), this.#encode(value), options, { partition, granularityMs })),
      delete: (name) => place(ops.remove(key(name))),
      add: (name, delta, options = {}) => place(ops.add(key(name), delta, options)),
      get: (name) => place(ops.get(key(name))),
    };
  }

  #encode(value: V): Data {
    const valid = validate(this.#options.schema, value, "the value");
    if (valid instanceof Promise) {
      valid.catch(() => {});
      throw new TypeError(
        "Expected `schema` to validate synchronously, got a promise: use a synchronous schema",
      );
    }
    return this.#codec.encode(valid);
  }

  #valueOf(data: Data, key: string): V {
    const value = this.#codec.decode(data);
    if (this.#options.schema === undefined) return value as V;
    const valid = validate(this.#options.schema, value, `the stored value of "${key}"`);
    if (!(valid instanceof Promise)) return valid as V;
    valid.catch(() => {});
    throw new TypeError(
      "Expected `schema` to validate synchronously, got a promise: use a synchronous schema",
    );
  }

  /** An encoded entry, as an op gives it, with its value. */
  decode(entry: KvEntry): KvValue<V>;
  decode(entry: KvEntry | null): KvValue<V> | null;
  decode(entry: KvEntry | null): KvValue<V> | null {
    if (entry === null) return null;
    const { key, value, revision } = entry;
    return { key, value: this.#valueOf(value, key), revision };
  }

  // -------------------------------------------------------------- reading

  /**
   * The key as it stands, or null; for an array of keys (up to 1,000), each in its place, all as of
   * one instant. Linearizable.
   */
  get(key: string, wait?: Wait): Promise<KvValue<V> | null>;
  get(keys: readonly string[], wait?: Wait): Promise<readonly (KvValue<V> | null)[]>;
  async get(
    key: string | readonly string[],
    wait?: Wait,
  ): Promise<KvValue<V> | null | readonly (KvValue<V> | null)[]> {
    const keys = typeof key === "string" ? [key] : key;
    if (!Array.isArray(keys)) throw new TypeError(expected("key", "a string or an array", key));
    checkInteger("keys.length", keys.length, 0, LIMITS.getKeys);
    for (const each of keys) ops.checkKey(each, this.#hasReserved);
    const read = { read: "kv.get", partition: this.partitionName, keys } as const;
    const [entries] = await this.store.read([read], wait);
    const values = entries.map((entry) => this.decode(entry));
    return typeof key === "string" ? (values[0] ?? null) : values;
  }

  /** A page of the keys with the prefix, in byte order, all as of the revision that it names. */
  async list(prefix: string = "", options: ListOptions = {}): Promise<KvList<V>> {
    checkOptions("options", options, LIST_KEYS);
    const { after, limit = PAGE_ROWS, ...wait } = options;
    const read = {
      read: "kv.list",
      partition: this.partitionName,
      prefix: ops.checkPrefix(prefix, this.#hasReserved),
      after: after === undefined ? null : checkText("after", after, LIMITS.keyBytes),
      limit: checkInteger("limit", limit, 1, LIMITS.pageRows),
    } as const;
    const [page]: readonly [KvPage] = await this.store.read([read], wait);
    const shown = page.entries.filter(({ key }) => this.#shows(key));
    const last = page.entries.at(-1);
    return {
      entries: shown.map((entry) => this.decode(entry)),
      revision: page.revision,
      next: page.hasMore && last !== undefined ? last.key : null,
    };
  }

  /**
   * All keys with the prefix, page by page: each page is of one revision, later pages of later
   * ones. `timeoutMs` bounds each page: the time between them is the caller's.
   */
  async *scan(
    prefix: string = "",
    options: Omit<ListOptions, "after"> = {},
  ): AsyncGenerator<KvValue<V>, void, void> {
    let after: string | undefined;
    for (;;) {
      const page: KvList<V> = await this.list(prefix, { ...options, after });
      yield* page.entries;
      if (page.next === null) return;
      after = page.next;
    }
  }

  /**
   * Batches of changes of the keys with the prefix after the cursor: each key in order, at least
   * its last state, deletions and expiries included. The first batch comes at once, possibly empty,
   * and names the cursor it starts from.
   *
   * Overflow: intermediate states merge; what was trimmed before it was read, or does not fit
   * `buffer`, becomes one resync.
   * Ends by `break`, or by throwing the signal's reason. A lost connection is taken up again from
   * the last cursor.
   */
  async *watch(
    prefix: string = "",
    options: WatchOptions = {},
  ): AsyncGenerator<KvChangesOf<V>, void, void> {
    checkOptions("options", options, ["signal", "cursor", "buffer"]);
    ops.checkPrefix(prefix, this.#hasReserved);
    const { signal, cursor, buffer = LIMITS.watchBuffer } = options;
    checkInteger("buffer", buffer, 1, LIMITS.watchBuffer);
    const from = cursor === undefined ? null : checkInteger("cursor", cursor);
    for await (const batch of this.store.watch(this.partitionName, prefix, from, signal)) {
      yield this.#batchOf(batch, buffer);
    }
  }

  #batchOf(batch: KvChanges, buffer: number): KvChangesOf<V> {
    const { cursor, isResync } = batch;
    if (isResync || batch.changes.length > buffer) return { changes: [], cursor, isResync: true };
    const changes: KvChangeOf<V>[] = [];
    for (const { key, value, revision } of batch.changes) {
      if (!this.#shows(key)) continue;
      if (value === null) changes.push({ type: "delete", key, revision });
      else changes.push({ type: "put", key, value: this.#valueOf(value, key), revision });
    }
    return { changes, cursor, isResync: false };
  }

  #shows(key: string): boolean {
    return this.#hasReserved || !key.startsWith(ops.RESERVED);
  }

  // -------------------------------------------------------------- writing

  /**
   * Writes the value whatever was there. Without `ttlMs` and `session` the key stays until it is
   * deleted.
   *
   * Errors: `TOO_LARGE` (1 MiB), `INVALID_DATA` (schema), `LEASE_LOST` (the session is over).
   * Complexity: a share of one round trip.
   */
  async put(key: string, value: V, options: PutOptions & Wait = {}): Promise<Written> {
    checkOptions("options", options, PUT_KEYS);
    const { ttlMs, session, ...wait } = options;
    const { op } = this.op.put(key, value, { ttlMs, session });
    const committed = await this.store.commit(this.partitionName, [op], wait);
    if (!committed.ok) throw refusalError(committed.refusal);
    return { revision: committed.revision, ttlMs: op.ttlMs };
  }

  /**
   * Compare-and-set: writes only if the key's revision is `ifRevision`; 0: only if there is no such
   * key.
   */
  async tryPut(
    key: string,
    value: V,
    options: PutOptions & Wait & { readonly ifRevision: number },
  ): Promise<TryPut> {
    checkOptions("options", options, TRY_PUT_KEYS);
    const { ttlMs, session, ifRevision, ...wait } = options;
    const check = this.op.check(key, ifRevision);
    const put = this.op.put(key, value, { ttlMs, session });
    const committed = await this.store.commit(this.partitionName, [check.op, put.op], wait);
    if (committed.ok) return { ok: true, revision: committed.revision, ttlMs: put.op.ttlMs };
    return { ok: false, revision: found(committed.refusal) };
  }

  /** Deletes the key; true if it was there. */
  async delete(key: string, wait?: Wait): Promise<boolean> {
    const { op } = this.op.delete(key);
    return resultsOf(await this.store.commit(this.partitionName, [op], wait))[0];
  }

  /** Deletes the key only if its revision is `ifRevision`. */
  async tryDelete(
    key: string,
    options: Wait & { readonly ifRevision: number },
  ): Promise<TryDelete> {
    checkOptions("options", options, TRY_DELETE_KEYS);
    const { ifRevision, ...wait } = options;
    const check = this.op.check(key, ifRevision);
    const remove = this.op.delete(key);
    const committed = await this.store.commit(this.partitionName, [check.op, remove.op], wait);
    if (committed.ok) return { ok: true, existed: committed.results[1] };
    return { ok: false, revision: found(committed.refusal) };
  }

  /**
   * Adds to a counter (an absent key counts as 0, an existing one keeps its expiry) and gives the
   * sum.
   *
   * Errors: `LIMITED` if the sum would leave [min, max] or the safe integers, `INVALID_DATA` if the
   * key holds no integer. Nothing is written then. Adds of many callers to one key share one
   * commit.
   */
  async add(key: string, delta: number, options: AddOptions & Wait = {}): Promise<number> {
    checkOptions("options", options, ADD_KEYS);
    const { min, max, ...wait } = options;
    const { op } = this.op.add(key, delta, { min, max });
    return resultsOf(await this.store.commit(this.partitionName, [op], wait))[0];
  }

  /** As `add`, but a sum out of bounds is an answer, not an error. */
  async tryAdd(key: string, delta: number, options: AddOptions & Wait = {}): Promise<TryAdd> {
    checkOptions("options", options, ADD_KEYS);
    const { min, max, ...wait } = options;
    const { op } = this.op.add(key, delta, { min, max });
    const committed = await this.store.commit(this.partitionName, [op], wait);
    if (committed.ok)
      return { ok: true, value: committed.results[0], revision: committed.revision };
    const { refusal } = committed;
    if (refusal.code !== "LIMITED") throw refusalError(refusal);
    return { ok: false, value: numberOf(refusal, "value") };
  }
}

/** The revision that a refused check found; any other refusal is thrown. */
function found(refusal: Refusal): number {
  if (refusal.code !== "CONFLICT") throw refusalError(refusal);
  return numberOf(refusal, "found");
}

function numberOf(refusal: Refusal, name: "found" | "value"): number {
  const value = refusal.details?.[name];
  if (typeof value === "number") return value;
  const message = `Expected the engine's ${refusal.code} refusal to name \`${name}\` in its details: the engine is not conformant`;
  throw new HoldfastError("INCOMPATIBLE", message, { outcome: "not-applied" });
}
