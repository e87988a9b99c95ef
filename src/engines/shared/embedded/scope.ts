/**
 * One commit in progress, and one group's changes within it. A scope makes the group's partition
 * and hands out the group's revision only when something changes, so that a refused group or an
 * empty claim writes nothing.
 */
import type { Data } from "../../../core/codec.ts";
import { LIMITS } from "../../../core/limits.ts";
import type { Channel } from "../../../store/driver.ts";
import type { JobState } from "../../../store/ops.ts";
import type { JournalEntry, PartitionRow, QueueRow, Tables } from "./tables.ts";

export interface Message {
  readonly channel: Channel;
  readonly message: Data;
}

/**
 * Journal entries are trimmed in steps of this many, so that a trim is not paid by every commit.
 */
const TRIM_STEP = 8_192;

export class Commit {
  readonly tables: Tables;
  readonly nowMs: number;
  readonly messages: Message[] = [];
  /** Queues in which jobs became ready, finished, or were asked to stop. */
  readonly readied: Set<QueueRow> = new Set<QueueRow>();
  readonly finished: Set<QueueRow> = new Set<QueueRow>();
  readonly cancelled: Set<QueueRow> = new Set<QueueRow>();
  isDirty = false;
  readonly #journals = new Map<PartitionRow, JournalEntry[]>();

  constructor(tables: Tables, nowMs: number) {
    this.tables = tables;
    this.nowMs = nowMs;
  }

  /** The partition's list of changes in this commit. */
  entries(partition: PartitionRow): JournalEntry[] {
    let entries = this.#journals.get(partition);
    if (entries === undefined) {
      entries = [];
      this.#journals.set(partition, entries);
    }
    return entries;
  }

  /** Writes the journal; the last thing a commit does to the tables. */
  end(): void {
    for (const [partition, entries] of this.#journals) {
      if (entries.length === 0) continue;
      const before = partition.journalCount;
      partition.journalCount += entries.length;
      const { no, revision, journalCount } = partition;
      this.tables.appendJournal(no, revision, journalCount, entries);
      const isTrimDue = Math.floor(before / TRIM_STEP) !== Math.floor(journalCount / TRIM_STEP);
      if (isTrimDue && journalCount > LIMITS.journalEntries) {
        const floor = this.tables.trimJournal(no, journalCount - LIMITS.journalEntries);
        if (floor !== undefined) partition.journalFloor = floor;
      }
      this.tables.savePartition(partition);
    }
  }

  /** The hints that go out once the commit is durable. */
  channels(): Channel[] {
    const channels: Channel[] = [];
    const add = (kind: Channel["kind"], queues: Set<QueueRow>): void => {
      for (const queue of queues) {
        const partition = this.tables.partitionByNo(queue.partition).name;
        channels.push({ kind, partition, name: queue.name });
      }
    };
    add("queue", this.readied);
    add("done", this.finished);
    add("cancel", this.cancelled);
    return channels;
  }
}

/** A partition that was never written: no row has its number, so that every read finds nothing. */
export function unwritten(name: string): PartitionRow {
  return {
    ...{ no: 0, name, revision: 0, nextSeq: 1, isSealed: false, movedTo: null },
    ...{ journalCount: 0, journalFloor: 0 },
  };
}

export class Scope {
  readonly commit: Commit;
  readonly tables: Tables;
  readonly nowMs: number;
  #partition: PartitionRow;
  #entries: JournalEntry[] | undefined;
  #revision = 0;

  constructor(commit: Commit, partition: PartitionRow) {
    this.commit = commit;
    this.tables = commit.tables;
    this.#partition = partition;
    this.nowMs = commit.nowMs;
  }

  /** For reads; whoever writes asks for `madePartition`. */
  get partition(): PartitionRow {
    return this.#partition;
  }

  /** The partition, made if this is the first that is written into it. */
  get madePartition(): PartitionRow {
    if (this.#partition.no === 0) {
      this.#partition = this.tables.createPartition(this.#partition.name);
      this.commit.isDirty = true;
    }
    return this.#partition;
  }

  /** The group's revision, drawn on the first change: the source of fencing tokens. */
  get revision(): number {
    if (this.#revision === 0) {
      const partition = this.madePartition;
      this.#revision = ++partition.revision;
      this.tables.savePartition(partition);
      this.commit.isDirty = true;
    }
    return this.#revision;
  }

  /** The revision the group ends at, changed or not. */
  get endRevision(): number {
    return this.#revision === 0 ? this.partition.revision : this.#revision;
  }

  logKv(key: string, isGone: boolean): void {
    this.#log([this.revision, "k", key, isGone ? 1 : 0]);
  }

  logJob(queue: QueueRow, seq: number, state: JobState): void {
    this.#log([this.revision, "q", queue.no, seq, state]);
  }

  #log(entry: JournalEntry): void {
    this.#entries ??= this.commit.entries(this.#partition);
    this.#entries.push(entry);
  }
}
