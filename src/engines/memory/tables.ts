/**
 * The tables in this process's memory: maps by name, B+ trees where order matters. Rows are shared
 * objects, so that a changed field is seen at once and the `save...` calls only put a row where it
 * is found.
 */
import type { Data } from "../../core/codec.ts";
import { compareKeys, compareNumbers } from "../shared/embedded/order.ts";
import type {
  JournalEntry,
  KvRow,
  PartitionRow,
  SessionRow,
  Tables,
} from "../shared/embedded/tables.ts";
import { QueueTables } from "./queue-tables.ts";
import { ExpiryIndex, SortedMap } from "./sorted.ts";

interface JournalRow {
  readonly revision: number;
  readonly count: number;
  readonly entries: readonly JournalEntry[];
}

interface Partition {
  readonly row: PartitionRow;
  readonly kv: SortedMap<string, KvRow>;
  readonly journal: SortedMap<number, JournalRow>;
  readonly sessions: Map<string, SessionRow>;
}

export class MemoryTables extends QueueTables implements Tables {
  readonly #byName = new Map<string, Partition>();
  readonly #byNo = new Map<number, Partition>();
  readonly #sessions = new Map<number, SessionRow>();
  readonly #expiring = new ExpiryIndex<KvRow>();
  #sessionNo = 0;

  partitionByName(name: string): PartitionRow | undefined {
    return this.#byName.get(name)?.row;
  }
  partitionByNo(no: number): PartitionRow {
    return this.#partition(no).row;
  }
  createPartition(name: string): PartitionRow {
    const row: PartitionRow = {
      no: this.#byNo.size + 1,
      name,
      revision: 0,
      nextSeq: 1,
      isSealed: false,
      movedTo: null,
      journalCount: 0,
      journalFloor: 0,
    };
    const partition: Partition = {
      row,
      kv: new SortedMap(compareKeys),
      journal: new SortedMap(compareNumbers),
      sessions: new Map(),
    };
    this.#byName.set(name, partition);
    this.#byNo.set(row.no, partition);
    return row;
  }
  savePartition(): void {
    // Rows are shared objects.
  }
  partitions(): PartitionRow[] {
    return [...this.#byNo.values()].map((partition) => partition.row);
  }
  #partition(no: number): Partition {
    return this.#byNo.get(no) as Partition;
  }

  kv(partition: number, key: string): KvRow | undefined {
    return this.#byNo.get(partition)?.kv.get(key);
  }
  saveKv(row: KvRow): void {
    const { kv } = this.#partition(row.partition);
    const before = kv.get(row.key);
    if (before !== undefined) this.#expiring.delete(before);
    kv.set(row.key, row);
    this.#expiring.add(row);
  }
  deleteKv(row: KvRow): void {
    this.#partition(row.partition).kv.delete(row.key);
    this.#expiring.delete(row);
  }
  kvRange(partition: number, prefix: string, after: string | null, limit: number): KvRow[] {
    const rows: KvRow[] = [];
    const kv = this.#byNo.get(partition)?.kv;
    if (kv === undefined) return rows;
    const from = after !== null && compareKeys(after, prefix) > 0 ? after : prefix;
    for (const row of kv.values(from)) {
      if (row.key === after) continue;
      if (!row.key.startsWith(prefix) || rows.length >= limit) break;
      rows.push(row);
    }
    return rows;
  }
  kvExpired(nowMs: number, limit: number): KvRow[] {
    return this.#expiring.due(nowMs, limit);
  }
  kvOfSession(partition: number, session: string, limit: number): KvRow[] {
    const rows: KvRow[] = [];
    for (const row of this.#partition(partition).kv.values()) {
      if (rows.length >= limit) break;
      if (row.session === session) rows.push(row);
    }
    return rows;
  }

  session(partition: number, id: string): SessionRow | undefined {
    return this.#byNo.get(partition)?.sessions.get(id);
  }
  sessionByNo(no: number): SessionRow | undefined {
    return this.#sessions.get(no);
  }
  createSession(row: Omit<SessionRow, "no">): SessionRow {
    const session: SessionRow = { ...row, no: ++this.#sessionNo };
    this.#partition(row.partition).sessions.set(row.id, session);
    this.#sessions.set(session.no, session);
    return session;
  }
  saveSession(): void {
    // Rows are shared objects.
  }
  deleteSession(row: SessionRow): void {
    this.#partition(row.partition).sessions.delete(row.id);
    this.#sessions.delete(row.no);
  }
  sessionsOver(nowMs: number, limit: number): SessionRow[] {
    const rows: SessionRow[] = [];
    for (const row of this.#sessions.values()) {
      if (rows.length >= limit) break;
      if (row.isEnded || row.untilMs <= nowMs) rows.push(row);
    }
    return rows;
  }
  sessions(partition: number): SessionRow[] {
    return [...(this.#byNo.get(partition)?.sessions.values() ?? [])];
  }

  appendJournal(
    partition: number,
    revision: number,
    count: number,
    entries: readonly JournalEntry[],
  ): void {
    this.#partition(partition).journal.set(revision, { revision, count, entries });
  }
  journal(partition: number, after: number, limit: number): JournalEntry[][] {
    const rows: JournalEntry[][] = [];
    for (const row of this.#partition(partition).journal.values(after + 1)) {
      if (rows.length >= limit) break;
      rows.push([...row.entries]);
    }
    return rows;
  }
  trimJournal(partition: number, count: number): number | undefined {
    const { journal } = this.#partition(partition);
    let floor: number | undefined;
    for (;;) {
      const first = journal.first();
      const row = first === undefined ? undefined : journal.get(first);
      if (row === undefined || row.count > count) return floor;
      journal.delete(row.revision);
      floor = row.revision;
    }
  }

  publish(_partition: number, _topic: string, _message: Data): void {
    // Messages go out from the commit's result; nothing is kept.
  }
}
