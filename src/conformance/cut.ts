/**
 * A handle whose process can be killed: from then on it gets no answer, not even to what is under
 * way.
 */
import type { Data } from "../core/codec.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Capabilities, Durability } from "../store/capabilities.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  Seal,
  StoreDriver,
} from "../store/driver.ts";
import type { Group, GroupResult, QueueEnqueue, RunsRecord, RunState } from "../store/ops.ts";

export class CutDriver implements StoreDriver {
  readonly capabilities: Capabilities;
  readonly enqueueIn?: (tx: unknown, partition: string, ops: readonly QueueEnqueue[]) => void;
  readonly recordIn?: (tx: unknown, partition: string, op: RunsRecord) => RunState;
  readonly #inner: StoreDriver;
  readonly #cut = new AbortController();
  readonly #stops = new Set<() => void>();
  #freed: Promise<void> | undefined;

  constructor(inner: StoreDriver) {
    this.#inner = inner;
    this.capabilities = inner.capabilities;
    if (inner.enqueueIn !== undefined) this.enqueueIn = inner.enqueueIn.bind(inner);
    if (inner.recordIn !== undefined) this.recordIn = inner.recordIn.bind(inner);
  }

  /** The process is gone: calls under way are never answered, later ones never sent. */
  cut(): void {
    this.#cut.abort();
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  }

  /** Closes the handle below. */
  free(): Promise<void> {
    this.#freed ??= this.#inner.close();
    return this.#freed;
  }

  #check(outcome: "not-applied" | "unknown"): void {
    if (!this.#cut.signal.aborted) return;
    // Not retryable: the kit's dead processes do not come back.
    throw new HoldfastError("UNAVAILABLE", "The process of this handle was killed", { outcome });
  }

  async #run<T>(call: () => Promise<T>): Promise<T> {
    this.#check("not-applied");
    const answer = await call();
    this.#check("unknown");
    return answer;
  }

  commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    return this.#run(() => this.#inner.commit(groups));
  }
  read<const R extends readonly Read[]>(reads: R): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    return this.#run(() => this.#inner.read(reads));
  }
  async *watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncGenerator<KvChanges, void, void> {
    const ended = new AbortController();
    const end = (): void => ended.abort();
    signal.addEventListener("abort", end);
    this.#cut.signal.addEventListener("abort", end);
    if (signal.aborted || this.#cut.signal.aborted) end();
    try {
      for await (const batch of this.#inner.watch(partition, prefix, cursor, ended.signal)) {
        this.#check("unknown");
        yield batch;
      }
      this.#check("unknown");
    } finally {
      signal.removeEventListener("abort", end);
      this.#cut.signal.removeEventListener("abort", end);
      end();
    }
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    const unsubscribe = this.#inner.subscribe(channel, listen);
    const stop = (): void => {
      if (this.#stops.delete(stop)) unsubscribe();
    };
    this.#stops.add(stop);
    return stop;
  }
  export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    return this.#run(() => this.#inner.export(partition, cursor, limit));
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    return this.#run(() => this.#inner.import(partition, records));
  }
  seal(partition: string, seal: Seal): Promise<void> {
    return this.#run(() => this.#inner.seal(partition, seal));
  }
  durability(): Promise<Durability> {
    return this.#run(() => this.#inner.durability());
  }
  /** In order, if the process still lives; a killed one closes nothing by itself. */
  async close(): Promise<void> {
    if (!this.#cut.signal.aborted) await this.free();
  }
}
