/**
 * A driver whose process can be killed: from that instant no call is answered, not even those under
 * way.
 */
import type { Data } from "holdfast";
import type {
  Capabilities,
  Channel,
  ExportPage,
  ExportRecord,
  Group,
  GroupResult,
  KvChanges,
  Read,
  ReadResult,
  StoreDriver,
} from "holdfast/store";
import type { Durability } from "holdfast";

/** The answer that never comes. */
function silence<T>(): Promise<T> {
  return new Promise<T>(() => {});
}

export class MortalDriver implements StoreDriver {
  readonly capabilities: Capabilities;
  readonly #inner: StoreDriver;
  readonly #death = new AbortController();
  readonly #stops = new Set<() => void>();

  constructor(inner: StoreDriver) {
    this.#inner = inner;
    this.capabilities = inner.capabilities;
  }

  /** What it asked before may still take effect; it will not learn of it. */
  kill(): void {
    this.#death.abort();
    for (const stop of this.#stops) stop();
    this.#stops.clear();
    void this.#inner.close();
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    if (this.#death.signal.aborted) return silence();
    try {
      const answer = await call();
      return this.#death.signal.aborted ? await silence<T>() : answer;
    } catch (error) {
      if (this.#death.signal.aborted) return silence();
      throw error;
    }
  }

  commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    return this.#ask(() => this.#inner.commit(groups));
  }
  read<const R extends readonly Read[]>(reads: R): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    return this.#ask(() => this.#inner.read(reads));
  }
  async *watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncGenerator<KvChanges, void, void> {
    for await (const batch of this.#inner.watch(partition, prefix, cursor, signal)) {
      if (this.#death.signal.aborted) await silence();
      yield batch;
    }
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    if (this.#death.signal.aborted) return () => {};
    const stop = this.#inner.subscribe(channel, listen);
    this.#stops.add(stop);
    return () => {
      if (this.#stops.delete(stop)) stop();
    };
  }
  export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    return this.#ask(() => this.#inner.export(partition, cursor, limit));
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    return this.#ask(() => this.#inner.import(partition, records));
  }
  seal(
    partition: string,
    seal: { readonly isSealed: boolean; readonly movedTo: string | null },
  ): Promise<void> {
    return this.#ask(() => this.#inner.seal(partition, seal));
  }
  durability(): Promise<Durability> {
    return this.#ask(() => this.#inner.durability());
  }
  async close(): Promise<void> {
    if (!this.#death.signal.aborted) await this.#inner.close();
  }
}
