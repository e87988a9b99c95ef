/**
 * Who carries out writes: the writer on this thread, or (`remote.ts`) the one in a thread of its
 * own. Both answer alike.
 */
import type { Durability } from "../../store/capabilities.ts";
import type { ExportRecord, Seal } from "../../store/driver.ts";
import type { Group } from "../../store/ops.ts";
import type { Clock } from "../../core/clock.ts";
import type { Baseline, Foreign } from "./foreign.ts";
import type { Committed, Writer, WriterStats } from "./writer.ts";

export interface Executor {
  commit(groups: readonly Group[]): Promise<Committed>;
  import(partition: string, records: readonly ExportRecord[]): Promise<Committed>;
  seal(partition: string, seal: Seal): Promise<Committed>;
  durability(): Promise<Durability>;
  stats(): Promise<WriterStats>;
  /** Somebody waits for what other processes do after the baseline; null: nobody any more. */
  watch(baseline: Baseline | null): void;
  /** Whether somebody listens: a thread then keeps its process alive. */
  keepAlive(isListening: boolean): void;
  close(): Promise<void>;
}

/** Writes on the calling thread: each commit blocks it for as long as the disk syncs. */
export class LocalExecutor implements Executor {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #onForeign: (foreign: Foreign) => void;

  constructor(writer: Writer, clock: Clock, onForeign: (foreign: Foreign) => void) {
    this.#writer = writer;
    this.#clock = clock;
    this.#onForeign = onForeign;
  }

  async commit(groups: readonly Group[]): Promise<Committed> {
    const committed = await this.#writer.commit(groups);
    this.tidy();
    return committed;
  }
  /** As `commit`, without the housekeeping: the caller answers first, and then calls `tidy`. */
  commitOnly(groups: readonly Group[]): Promise<Committed> {
    return this.#writer.commit(groups);
  }
  /** What is due after a commit and nobody waits for. */
  tidy(): void {
    this.#writer.afterCommit();
    if (this.#writer.hasIntake) void this.#takeIn();
  }
  /** Takes in the rest of a long intake, one commit a turn of the loop. */
  async #takeIn(): Promise<void> {
    await this.#clock.yield();
    try {
      const { channels, messages } = await this.commit([]);
      this.#onForeign({ channels, messages });
    } catch {
      // The next commit meets the same trouble, and has somebody to tell.
    }
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<Committed> {
    return this.#writer.import(partition, records);
  }
  seal(partition: string, seal: Seal): Promise<Committed> {
    return this.#writer.seal(partition, seal);
  }
  async durability(): Promise<Durability> {
    return this.#writer.durability();
  }
  async stats(): Promise<WriterStats> {
    return this.#writer.stats;
  }
  watch(baseline: Baseline | null): void {
    this.#writer.watch(baseline);
  }
  /** Nothing here waits for anything by itself. */
  keepAlive(): void {}
  close(): Promise<void> {
    return this.#writer.close();
  }
}
