/**
 * The memory engine: the reference semantics, and the store inside the simulator. It keeps
 * everything in this process, so that its durability is none; all else it promises as the others
 * do.
 *
 * Clock: the injected one, through `StoreClock`. Cost: O(log n) per op, no I/O. A commit is one
 * synchronous step; it is answered on a later turn, as any other engine's would be.
 */
import { systemClock } from "../../core/clock.ts";
import type { Clock } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Capabilities, Durability } from "../../store/capabilities.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  Seal,
  StoreDriver,
} from "../../store/driver.ts";
import type { Group, GroupResult } from "../../store/ops.ts";
import { Channels } from "../shared/embedded/channels.ts";
import { runCommit } from "../shared/embedded/machine.ts";
import { readKvChanges, runRead } from "../shared/embedded/read.ts";
import { StoreClock } from "../shared/embedded/store-clock.ts";
import { exportPage, importPage, sealPartition } from "../shared/embedded/transfer.ts";
import { watchJournal } from "../shared/embedded/watch.ts";
import { own, ownGroups } from "./own.ts";
import { MemoryTables } from "./tables.ts";

const CAPABILITIES: Capabilities = Object.freeze<Capabilities>({
  engine: "memory",
  atomic: "store",
  ports: ["kv", "queue", "runs", "bus"],
  isPersistent: false,
  isShared: false,
  joinsUserTransaction: false,
  hasExpiryEvents: true,
  maxOpsPerGroup: LIMITS.opsPerGroup,
  commitsInFlight: 1,
  ttlGranularityMs: 1,
});

export interface MemoryOptions {
  readonly clock?: Clock | undefined;
}

/** The state itself: several drivers may be opened on it, as several processes on one server. */
export class MemoryState {
  readonly tables: MemoryTables = new MemoryTables();
  readonly channels: Channels = new Channels();
  readonly clock: StoreClock;
  #highWaterMs = 0;
  /**
   * Bytes are in the state: what goes out must be copied. Text alone, the common case, needs no
   * copy.
   */
  #hasBytes = false;

  constructor(options: MemoryOptions = {}) {
    this.clock = new StoreClock(options.clock ?? systemClock);
  }
  nowMs(): number {
    this.#highWaterMs = this.clock.nowMs(this.#highWaterMs);
    return this.#highWaterMs;
  }
  /** What leaves the state: a copy where it could share a buffer with it. */
  out<T>(data: T): T {
    return this.#hasBytes ? own(data) : data;
  }
  import(partition: string, records: readonly ExportRecord[]): void {
    this.#hasBytes = true;
    importPage(this.tables, partition, structuredClone(records), this.nowMs());
  }
  commit(given: readonly Group[]): readonly GroupResult[] {
    const { groups, hasBytes } = ownGroups(given);
    this.#hasBytes ||= hasBytes;
    const outcome = runCommit(this.tables, groups, this.nowMs());
    for (const channel of outcome.channels) this.channels.emit(channel, null);
    for (const { channel, message } of outcome.messages) this.channels.emit(channel, message);
    if (outcome.isDirty) this.channels.emitChange();
    return this.out(outcome.results);
  }
}

class MemoryDriver implements StoreDriver {
  readonly capabilities: Capabilities = CAPABILITIES;
  readonly #state: MemoryState;
  readonly #stops = new Set<() => void>();
  readonly #ended = new AbortController();

  constructor(state: MemoryState) {
    this.#state = state;
  }
  #open(): MemoryState {
    if (!this.#ended.signal.aborted) return this.#state;
    const message = "The memory store was closed: open a new one";
    throw new HoldfastError("CLOSED", message, { outcome: "not-applied" });
  }
  async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    return this.#open().commit(groups);
  }
  async read<const R extends readonly Read[]>(
    reads: R,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    const state = this.#open();
    const nowMs = state.nowMs();
    const results = state.out(reads.map((read) => runRead(state.tables, read, nowMs)));
    return results as unknown as { [I in keyof R]: ReadResult<R[I]> };
  }
  watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncIterable<KvChanges> {
    const state = this.#open();
    const readChanges = async (at: number | null): Promise<KvChanges> =>
      state.out(readKvChanges(state.tables, partition, prefix, at, state.nowMs()));
    const onChange = (listen: () => void): (() => void) => state.channels.onChange(listen);
    return watchJournal(readChanges, onChange, cursor, signal);
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    const stop = this.#open().channels.subscribe(channel, listen);
    this.#stops.add(stop);
    return () => {
      this.#stops.delete(stop);
      stop();
    };
  }
  async export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    const state = this.#open();
    return state.out(exportPage(state.tables, partition, cursor, limit, state.nowMs()));
  }
  async import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    this.#open().import(partition, records);
  }
  async seal(partition: string, seal: Seal): Promise<void> {
    sealPartition(this.#open().tables, partition, seal);
  }
  async durability(): Promise<Durability> {
    return { copies: 1, synced: "no", source: "memory of this process" };
  }
  async close(): Promise<void> {
    this.#ended.abort();
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  }
}

/** Opens a driver on the state, or on a new one. */
export function memory(
  options: MemoryOptions & { readonly state?: MemoryState | undefined } = {},
): StoreDriver {
  return new MemoryDriver(options.state ?? new MemoryState(options));
}
