/**
 * Awaited answers: whatever the number of callers of a key in this process, one watch of it. At
 * each change the key is read, and who waited before that read is told what it found; so nobody is
 * told something older than what its own claim was refused for.
 *
 * A key that became free without an answer (its handler threw, its process died) is told to all of
 * them: each tries to claim it, in one commit, and one gets it.
 */
import { deferred, waitFor, type Deferred } from "../../core/signal.ts";
import type { Claims } from "./claims.ts";
import type { StoredRecord } from "./record.ts";

interface Awaited {
  readonly waiters: Set<Deferred<StoredRecord | null>>;
  /** Ends the watch. */
  readonly end: AbortController;
}

export class Waiters {
  readonly #claims: Pick<Claims, "kv" | "read">;
  readonly #awaited = new Map<string, Awaited>();

  constructor(claims: Pick<Claims, "kv" | "read">) {
    this.#claims = claims;
  }

  /**
   * The record once its key is not in flight any more; null if it is free. Rejects with the
   * signal's reason, with what a read raises, or when the hub is closed.
   *
   * Complexity: a watch a key, and a read a change.
   */
  async settled(key: string, signal: AbortSignal): Promise<StoredRecord | null> {
    const awaited = this.#awaited.get(key) ?? this.#begin(key);
    const waiter = deferred<StoredRecord | null>();
    awaited.waiters.add(waiter);
    try {
      const { clock } = this.#claims.kv.store;
      return await waitFor(waiter.promise, clock, { signal }, "The answer");
    } finally {
      awaited.waiters.delete(waiter);
      this.#endIfUnused(key, awaited);
    }
  }

  /** Ends all waits with the error. */
  close(error: unknown): void {
    for (const [key, awaited] of this.#awaited) this.#fail(key, awaited, error);
  }

  #begin(key: string): Awaited {
    const awaited: Awaited = { waiters: new Set(), end: new AbortController() };
    this.#awaited.set(key, awaited);
    void this.#watch(key, awaited);
    return awaited;
  }

  async #watch(key: string, awaited: Awaited): Promise<void> {
    const { signal } = awaited.end;
    try {
      // The first batch comes at once: from then on nothing is missed.
      for await (const _ of this.#claims.kv.watch(key, { signal })) await this.#look(key, awaited);
    } catch (error) {
      if (!signal.aborted) this.#fail(key, awaited, error);
    }
  }

  async #look(key: string, awaited: Awaited): Promise<void> {
    const { waiters } = awaited;
    let asked: ReadonlySet<Deferred<StoredRecord | null>>;
    do {
      asked = new Set(waiters);
      const record = await this.#claims.read(key);
      if (record?.state !== "in-flight") {
        for (const waiter of asked) {
          waiter.resolve(record);
          waiters.delete(waiter);
        }
        // At once: who comes later must not join a watch that has seen its change already.
        this.#endIfUnused(key, awaited);
      }
      // Who came during the read has not been looked for.
    } while ([...waiters].some((waiter) => !asked.has(waiter)));
  }

  #endIfUnused(key: string, awaited: Awaited): void {
    if (awaited.waiters.size > 0 || this.#awaited.get(key) !== awaited) return;
    this.#awaited.delete(key);
    awaited.end.abort();
  }

  #fail(key: string, awaited: Awaited, error: unknown): void {
    for (const waiter of awaited.waiters) waiter.reject(error);
    awaited.waiters.clear();
    this.#endIfUnused(key, awaited);
  }
}
