/**
 * Keys. Within a transaction they are cached and written back once: 500 additions to one hot key
 * are one row update. Whatever reads by range flushes first.
 */
import type { Data } from "../../core/codec.ts";
import { compareKeys } from "../shared/embedded/order.ts";
import type { KvRow } from "../shared/embedded/tables.ts";
import type { Database, Statement } from "./database.ts";
import { DirectoryTables } from "./directory-tables.ts";

const COLUMNS = "no, partition, key, value, revision, expires_ms, session";
const SELECT_KEY = `SELECT ${COLUMNS} FROM hf_kv WHERE partition = ? AND key = ?`;
const INSERT_KEY = `
  INSERT INTO hf_kv (partition, key, value, revision, expires_ms, session)
  VALUES (?, ?, ?, ?, ?, ?)`;
const UPSERT_KEY = `
  ${INSERT_KEY}
  ON CONFLICT (partition, key) DO UPDATE SET value = excluded.value,
    revision = excluded.revision, expires_ms = excluded.expires_ms,
    session = excluded.session`;
// The common update leaves the two partial indexes alone; naming their columns would make SQLite
// check them.
const UPDATE_VALUE = "UPDATE hf_kv SET value = ?, revision = ? WHERE no = ?";
const UPDATE_KEY =
  "UPDATE hf_kv SET value = ?, revision = ?, expires_ms = ?, session = ? WHERE no = ?";
const DELETE_KEY = "DELETE FROM hf_kv WHERE partition = ? AND key = ?";
// Text is compared as UTF-8 bytes (BINARY), and every text comes before every blob: an empty blob
// is the end of all keys.
const RANGE_FROM = `
  SELECT ${COLUMNS}
  FROM hf_kv
  WHERE partition = ? AND key >= ? AND key < ?
  ORDER BY key LIMIT ?+0`;
const RANGE_AFTER = `
  SELECT ${COLUMNS}
  FROM hf_kv
  WHERE partition = ? AND key > ? AND key < ?
  ORDER BY key LIMIT ?+0`;
const EXPIRED = `SELECT ${COLUMNS} FROM hf_kv WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?+0`;
const OF_SESSION = `SELECT ${COLUMNS} FROM hf_kv WHERE partition = ? AND session = ? LIMIT ?+0`;

const END_OF_KEYS = new Uint8Array(0);

/** Where a key stands in the file: its row number, known not to be there, or not looked for. */
const ABSENT = 0;
const UNKNOWN = -1;

interface Entry {
  readonly partition: number;
  readonly key: string;
  /** undefined: deleted, or not there. */
  row: KvRow | undefined;
  no: number;
  storedExpiresMs: number | null;
  storedSession: string | null;
  isDirty: boolean;
}

type KvColumns = [number, number, string, Data, number, number | null, string | null];

function kvOf(columns: KvColumns): KvRow {
  const [, partition, key, value, revision, expiresMs, session] = columns;
  return { partition, key, value, revision, expiresMs, session };
}

/**
 * The least text that is above every text with the prefix, in UTF-8 byte order; a blob if there is
 * none.
 */
export function endOfPrefix(prefix: string): string | Uint8Array {
  const points = Array.from(prefix);
  while (points.length > 0) {
    const last = (points.pop() as string).codePointAt(0) as number;
    if (last === 0x10ffff) continue;
    // Byte order is code point order, and surrogates are no code points of their own.
    const next = last === 0xd7ff ? 0xe000 : last + 1;
    return points.join("") + String.fromCodePoint(next);
  }
  return END_OF_KEYS;
}

export class KvTables extends DirectoryTables {
  readonly #entries = new Map<number, Map<string, Entry>>();
  #dirty: Entry[] = [];

  readonly #select: Statement;
  readonly #insert: Statement;
  readonly #upsert: Statement;
  readonly #updateValue: Statement;
  readonly #update: Statement;
  readonly #delete: Statement;
  readonly #rangeFrom: Statement;
  readonly #rangeAfter: Statement;
  readonly #expired: Statement;
  readonly #ofSession: Statement;

  constructor(database: Database) {
    super(database);
    this.#select = database.prepare(SELECT_KEY).raw();
    this.#insert = database.prepare(INSERT_KEY);
    this.#upsert = database.prepare(UPSERT_KEY);
    this.#updateValue = database.prepare(UPDATE_VALUE);
    this.#update = database.prepare(UPDATE_KEY);
    this.#delete = database.prepare(DELETE_KEY);
    this.#rangeFrom = database.prepare(RANGE_FROM).raw();
    this.#rangeAfter = database.prepare(RANGE_AFTER).raw();
    this.#expired = database.prepare(EXPIRED).raw();
    this.#ofSession = database.prepare(OF_SESSION).raw();
  }

  override begin(nowMs: number): void {
    super.begin(nowMs);
    this.#forget();
  }
  override reset(): void {
    super.reset();
    this.#forget();
  }
  override end(hasWritten: boolean): void {
    this.#flush();
    super.end(hasWritten);
  }
  /** Values may be large: they are kept for one transaction. */
  #forget(): void {
    this.#entries.clear();
    this.#dirty = [];
  }

  kv(partition: number, key: string): KvRow | undefined {
    const cached = this.#entries.get(partition)?.get(key);
    if (cached !== undefined) return cached.row;
    const columns = this.#select.get(partition, key) as KvColumns | undefined;
    const entry = this.#entry(partition, key);
    if (columns === undefined) {
      entry.no = ABSENT;
      return undefined;
    }
    entry.no = columns[0];
    entry.storedExpiresMs = columns[5];
    entry.storedSession = columns[6];
    entry.row = kvOf(columns);
    return entry.row;
  }
  saveKv(row: KvRow): void {
    this.#change(row, row);
  }
  deleteKv(row: KvRow): void {
    this.#change(row, undefined);
  }
  kvRange(partition: number, prefix: string, after: string | null, limit: number): KvRow[] {
    this.#flush();
    const isAfter = after !== null && compareKeys(after, prefix) >= 0;
    const statement = isAfter ? this.#rangeAfter : this.#rangeFrom;
    const start = isAfter ? after : prefix;
    return this.#rows(statement.all(partition, start, endOfPrefix(prefix), limit));
  }
  kvExpired(nowMs: number, limit: number): KvRow[] {
    this.#flush();
    return this.#rows(this.#expired.all(nowMs, limit));
  }
  kvOfSession(partition: number, session: string, limit: number): KvRow[] {
    this.#flush();
    return this.#rows(this.#ofSession.all(partition, session, limit));
  }

  #rows(rows: unknown[]): KvRow[] {
    return (rows as KvColumns[]).map(kvOf);
  }

  #entry(partition: number, key: string): Entry {
    let keys = this.#entries.get(partition);
    if (keys === undefined) {
      keys = new Map();
      this.#entries.set(partition, keys);
    }
    let entry = keys.get(key);
    if (entry === undefined) {
      entry = {
        ...{ partition, key, row: undefined, no: UNKNOWN },
        ...{ storedExpiresMs: null, storedSession: null, isDirty: false },
      };
      keys.set(key, entry);
    }
    return entry;
  }

  #change(at: KvRow, row: KvRow | undefined): void {
    const entry = this.#entry(at.partition, at.key);
    entry.row = row;
    if (entry.isDirty) return;
    entry.isDirty = true;
    this.#dirty.push(entry);
  }

  #flush(): void {
    if (this.#dirty.length === 0) return;
    for (const entry of this.#dirty) {
      entry.isDirty = false;
      if (entry.row === undefined) this.#erase(entry);
      else this.#write(entry, entry.row);
    }
    this.#dirty = [];
  }

  #erase(entry: Entry): void {
    if (entry.no !== ABSENT) this.#delete.run(entry.partition, entry.key);
    entry.no = ABSENT;
  }

  #write(entry: Entry, row: KvRow): void {
    const { value, revision, expiresMs, session } = row;
    if (entry.no > 0) {
      if (entry.storedExpiresMs === expiresMs && entry.storedSession === session) {
        this.#updateValue.run(value, revision, entry.no);
      } else this.#update.run(value, revision, expiresMs, session, entry.no);
    } else {
      const statement = entry.no === ABSENT ? this.#insert : this.#upsert;
      statement.run(entry.partition, entry.key, value, revision, expiresMs, session);
      entry.no = UNKNOWN;
    }
    entry.storedExpiresMs = expiresMs;
    entry.storedSession = session;
  }
}
