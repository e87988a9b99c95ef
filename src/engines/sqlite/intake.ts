/**
 * Ops in the caller's own better-sqlite3 transaction. They are written as rows of `hf_intake` on
 * the caller's connection, so that they stand or fall with the caller's own rows; the next commit
 * of anybody takes them in, in order, and as facts: no bound of a queue refuses them any more. A
 * crash at any point leaves both the caller's rows and the ops, or neither.
 *
 * A transaction here must be synchronous. An `await` between its BEGIN and COMMIT would hold the
 * file's write lock for as long as the event loop pleases, against every process. So at the first
 * op of a transaction a microtask is queued: a synchronous transaction is over before it runs. If
 * the transaction is still open then, it is rolled back, and everything that follows on the
 * connection throws until its COMMIT or ROLLBACK is called, so that no rest of it is written by
 * itself.
 */
import type { Clock } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import { LIMITS } from "../../core/limits.ts";
import { refusalError } from "../../store/group.ts";
import type { Group, Op, QueueEnqueue } from "../../store/ops.ts";
import { idTaken, isSameData, partitionMoved } from "../shared/embedded/refusals.ts";
import { breakOff } from "./break-off.ts";
import type { Database, Statement } from "./database.ts";
import { tooManyPartitions } from "./directory-tables.ts";
import { mapError } from "./errors.ts";
import { checkGuest, checkOpen, type Home } from "./guest.ts";
import { REPLACED } from "./job-rows.ts";

const INSERT = "INSERT INTO hf_intake (partition, ops) VALUES (?, ?)";
const SEALED = "SELECT moved_to FROM hf_partition WHERE name = ? AND is_sealed = 1";
const HAS_PARTITION = "SELECT 1 FROM hf_partition WHERE name = ?";
// With those that wait to be made.
const COUNT_PARTITIONS = `
  SELECT count(*)
  FROM (SELECT name FROM hf_partition UNION SELECT partition FROM hf_intake WHERE partition != ?)`;
// What the job was added with, if it is there still and nothing has replaced that.
const PAYLOAD = `
  SELECT j.payload
  FROM hf_partition p
  JOIN hf_queue q ON q.partition = p.no AND q.name = ?
  JOIN hf_job j ON j.queue = q.no AND j.id = ?
  WHERE p.name = ? AND (j.flags & ${REPLACED}) = 0
    AND NOT EXISTS (
      SELECT 1
      FROM hf_finished f
      WHERE f.queue = j.queue AND f.state IN (0, 1, 2) AND f.job = j.job AND f.expires_ms <= ?)`;

// ---------------------------------------------------------------- rows

/** Bytes have no JSON form. */
interface Bytes {
  readonly base64: string;
}

function packData(data: Data): string | Bytes {
  return typeof data === "string" ? data : { base64: Buffer.from(data).toString("base64") };
}
function unpackData(data: string | Bytes): Data {
  return typeof data === "string" ? data : new Uint8Array(Buffer.from(data.base64, "base64"));
}

function packOps(ops: readonly QueueEnqueue[]): string {
  return JSON.stringify(ops.map((op) => ({ ...op, payload: packData(op.payload) })));
}
function unpackOps(text: string): Op[] {
  const ops = JSON.parse(text) as (Omit<QueueEnqueue, "payload"> & { payload: string | Bytes })[];
  return ops.map((op) => ({ ...op, payload: unpackData(op.payload) }));
}

// ---------------------------------------------------------------- taking in

const PENDING = "SELECT no, partition, ops FROM hf_intake ORDER BY no LIMIT ?+0";
const REMOVE = "DELETE FROM hf_intake WHERE no <= ?";
/** Groups taken in by one commit; the rest waits for the next. */
const GROUPS = LIMITS.groupsPerCommit;

/** The writer's side: reads the groups that wait, and removes them once they are taken in. */
export class Intake {
  readonly #pending: Statement;
  readonly #remove: Statement;
  #last = 0;

  constructor(database: Database) {
    this.#pending = database.prepare(PENDING).raw();
    this.#remove = database.prepare(REMOVE);
  }

  /** The first groups that wait, oldest first. */
  read(): Group[] {
    const rows = this.#pending.all(GROUPS) as [number, string, string][];
    this.#last = rows.at(-1)?.[0] ?? 0;
    return rows.map(([, partition, ops]) => ({ partition, ops: unpackOps(ops) }));
  }

  /** Removes what `read` gave, in the same transaction. True: more may wait. */
  remove(groups: readonly Group[]): boolean {
    if (groups.length > 0) this.#remove.run(this.#last);
    return groups.length === GROUPS;
  }
}

// ---------------------------------------------------------------- putting in

/** A connection of the caller's that has been found to be usable. */
interface Guest {
  readonly insert: Statement;
  readonly sealed: Statement;
  readonly hasPartition: Statement;
  readonly countPartitions: Statement;
  readonly payload: Statement;
  /** A microtask watches the transaction that is open now. */
  isWatched: boolean;
}

export interface IntakeDoorOptions extends Home {
  readonly clock: Clock;
  /**
   * Called in the first microtask after a transaction ended: commits, so that what was put in is
   * taken in at once.
   */
  readonly onPut: () => void;
}

/** The caller's side: one per open store. */
export class IntakeDoor {
  readonly #options: IntakeDoorOptions;
  readonly #guests = new WeakMap<Database, Guest>();

  constructor(options: IntakeDoorOptions) {
    this.#options = options;
  }

  /**
   * Writes the ops as one group into the transaction that is open on `database`. Synchronous; see
   * the file's head.
   */
  put(database: Database, partition: string, ops: readonly QueueEnqueue[]): void {
    const guest = this.#guest(database);
    checkOpen(database);
    try {
      checkTakable(guest, partition, ops, this.#options.clock.wallMs());
      guest.insert.run(partition, packOps(ops));
    } catch (error) {
      throw mapError(error, this.#options.path, "not-applied");
    }
    if (guest.isWatched) return;
    guest.isWatched = true;
    queueMicrotask(() => {
      guest.isWatched = false;
      if (database.open && database.inTransaction) breakOff(database, this.#options.clock);
      else this.#options.onPut();
    });
  }

  #guest(database: Database): Guest {
    const known = this.#guests.get(database);
    if (known !== undefined) return known;
    checkGuest(database, this.#options);
    const guest: Guest = {
      insert: database.prepare(INSERT),
      sealed: database.prepare(SEALED).pluck(),
      hasPartition: database.prepare(HAS_PARTITION).pluck(),
      countPartitions: database.prepare(COUNT_PARTITIONS).pluck(),
      payload: database.prepare(PAYLOAD).pluck(),
      isWatched: false,
    };
    this.#guests.set(database, guest);
    return guest;
  }
}

/**
 * Refuses what could not be taken in: once the caller's transaction stands it is a fact. What is
 * read here holds until its COMMIT: SQLite refuses the insert that follows if anybody has committed
 * since the read.
 */
function checkTakable(
  guest: Guest,
  partition: string,
  ops: readonly QueueEnqueue[],
  nowMs: number,
): void {
  const sealed = guest.sealed.get(partition) as string | null | undefined;
  if (sealed !== undefined) throw refusalError({ index: 0, ...partitionMoved(partition, sealed) });
  if (guest.hasPartition.get(partition) === undefined) {
    if ((guest.countPartitions.get(partition) as number) >= LIMITS.sqlitePartitions)
      throw tooManyPartitions(partition);
    return;
  }
  for (const [index, op] of ops.entries()) {
    if (op.isFresh) continue;
    const found = guest.payload.get(op.queue, op.id, partition, nowMs) as Data | undefined;
    if (found === undefined || isSameData(found, op.payload)) continue;
    throw refusalError({ index, ...idTaken(op) });
  }
}
