/**
 * A process that takes part in the contract run: it writes, reads, holds keys and watches, when it
 * is asked to. The broken variant makes the four mistakes that the contract is there to prevent.
 */
import { Kv } from "holdfast/ports/kv";
import type { Store } from "holdfast/store";
import type { Json, Link } from "../kit/node.ts";
import { wait } from "../kit/figures.ts";
import { messageOf } from "../kit/wire.ts";

export interface MemberInput {
  readonly isBroken: boolean;
}
export interface IncrementTask {
  readonly key: string;
  readonly times: number;
}
export interface PutTask {
  readonly key: string;
  readonly value: number;
  /** Bound to the member's session. */
  readonly isHeld: boolean;
}
export interface WriteTask {
  readonly prefix: string;
  readonly count: number;
  readonly gapMs: number;
}
export interface WatchTask {
  readonly prefix: string;
  readonly cursor: number;
}
/** A batch of a watch, as it crosses to the proof. `value` null: the key is gone. */
export interface WatchEvent {
  readonly cursor: number;
  readonly isResync: boolean;
  readonly changes: readonly {
    readonly key: string;
    readonly revision: number;
    readonly value: number | null;
  }[];
}

/** The end of a watch that nobody asked for. */
export interface WatchFailure {
  readonly failure: string;
}

/** A task or an event as the plain data that it is. */
export function plain(
  value: MemberInput | IncrementTask | PutTask | WriteTask | WatchTask | WatchEvent | WatchFailure,
): Json {
  return value as unknown as Json;
}

/** Keys that are written over and over in a watched range. */
export const HOT_KEYS = 5;
/** How long the broken variant believes what it read. */
const CACHE_MS = 400;

export async function member(link: Link): Promise<void> {
  const { isBroken } = link.input as unknown as MemberInput;
  const store = await link.open();
  const self = new Member(store, isBroken, link);
  link.serve("increment", (task) => self.increment(task as unknown as IncrementTask));
  link.serve("put", (task) => self.put(task as unknown as PutTask));
  link.serve("get", async (key) => self.get(key as string));
  link.serve("present", async (keys) => self.present(keys as readonly string[]));
  link.serve("write", (task) => self.write(task as unknown as WriteTask));
  link.serve("written", async () => self.written);
  link.serve("watch", async (task) => void self.watch(task as unknown as WatchTask));
}

class Member {
  readonly #store: Store;
  readonly #kv: Kv<number>;
  readonly #isBroken: boolean;
  readonly #link: Link;
  /** What the broken variant believes. */
  readonly #cache = new Map<string, { readonly value: number | null; readonly untilMs: number }>();
  /** Steps of `write` that are done. */
  written = 0;

  constructor(store: Store, isBroken: boolean, link: Link) {
    this.#store = store;
    this.#kv = new Kv<number>(store);
    this.#isBroken = isBroken;
    this.#link = link;
  }

  /** Increments by compare-and-set, all at once; gives how many tries that took. */
  async increment({ key, times }: IncrementTask): Promise<number> {
    const tries = await Promise.all(Array.from({ length: times }, () => this.#incrementOnce(key)));
    return tries.reduce((sum, each) => sum + each, 0);
  }

  async #incrementOnce(key: string): Promise<number> {
    for (let tries = 1; ; tries++) {
      const found = await this.#kv.get(key);
      const next = (found?.value ?? 0) + 1;
      if (this.#isBroken) {
        await this.#kv.put(key, next);
        return tries;
      }
      const put = await this.#kv.tryPut(key, next, { ifRevision: found?.revision ?? 0 });
      if (put.ok) return tries;
    }
  }

  /** Gives the revision. */
  async put({ key, value, isHeld }: PutTask): Promise<number> {
    const isBound = isHeld && !this.#isBroken;
    const session = isBound ? await this.#store.session() : undefined;
    return (await this.#kv.put(key, value, { session })).revision;
  }

  async get(key: string): Promise<number | null> {
    return (await this.#read([key]))[0] ?? null;
  }

  async present(keys: readonly string[]): Promise<readonly boolean[]> {
    return (await this.#read(keys)).map((value) => value !== null);
  }

  async #read(keys: readonly string[]): Promise<readonly (number | null)[]> {
    const { clock } = this.#store;
    const cached = keys.map((key) => this.#cache.get(key));
    const isFresh = cached.every(
      (entry) => entry !== undefined && entry.untilMs > clock.monotonicMs(),
    );
    if (this.#isBroken && isFresh) return cached.map((entry) => entry?.value ?? null);
    const values = (await this.#kv.get(keys)).map((entry) => entry?.value ?? null);
    const untilMs = clock.monotonicMs() + CACHE_MS;
    keys.forEach((key, i) => this.#cache.set(key, { value: values[i] ?? null, untilMs }));
    return values;
  }

  /** A key of its own for each step, a hot key besides, and deletions of earlier ones. */
  async write({ prefix, count, gapMs }: WriteTask): Promise<number> {
    for (let i = 0; i < count; i++) {
      const writes: Promise<unknown>[] = [
        this.#kv.put(`${prefix}own/${i}`, i),
        this.#kv.put(`${prefix}hot/${i % HOT_KEYS}`, i),
      ];
      if (i % 7 === 6) writes.push(this.#kv.delete(`${prefix}own/${i - 5}`));
      await Promise.all(writes);
      this.written = i + 1;
      await wait(this.#store.clock, gapMs);
    }
    return count;
  }

  /** Tells of every batch, until the process ends; of the watch's own failure too. */
  async watch(task: WatchTask): Promise<void> {
    try {
      await this.#follow(task);
    } catch (error) {
      if (!this.#link.signal.aborted) this.#link.tell(plain({ failure: messageOf(error) }));
    }
  }

  async #follow({ prefix, cursor }: WatchTask): Promise<void> {
    const from = this.#isBroken ? undefined : cursor;
    const { signal } = this.#link;
    for await (const batch of this.#kv.watch(prefix, { cursor: from, signal })) {
      const changes = batch.changes.map((change) => {
        const { key, revision } = change;
        return { key, revision, value: change.type === "put" ? change.value : null };
      });
      this.#link.tell(plain({ cursor: batch.cursor, isResync: batch.isResync, changes }));
    }
  }
}
