/**
 * Records of a held run in the caller's own better-sqlite3 transaction: they are written straight
 * into the journal, on the caller's connection, if the run is still held, so that they stand or
 * fall with the caller's own rows. What is read here holds until its COMMIT: the file's write lock
 * is taken first.
 */
import type { Clock } from "../../core/clock.ts";
import { refusalError } from "../../store/group.ts";
import type { RunsRecord, RunState } from "../../store/ops.ts";
import type { Database, Statement } from "./database.ts";
import { jobOf } from "./directory-tables.ts";
import { mapError } from "./errors.ts";
import { checkGuest, checkOpen, type Home } from "./guest.ts";

const INSERT =
  "INSERT INTO hf_record (job, no, at_ms, due_ms, key, data) VALUES (?, ?, ?, ?, ?, ?)";
const CLOCK = "SELECT max(clock_ms) FROM hf_partition";
// Writes nothing, but takes the write lock, if BEGIN IMMEDIATE has not.
const LOCK = "UPDATE hf_meta SET one = one WHERE 0";
const HELD = `
  SELECT p.no, s.until_ms, s.is_ended
  FROM hf_partition p
  JOIN hf_queue q ON q.partition = p.no AND q.name = ?
  JOIN hf_session s ON s.partition = p.no AND s.id = ?
  JOIN hf_lease l ON l.session = s.no AND l.job = (p.no - 1) * 1099511627776 + ?
    AND l.queue = q.no AND l.token = ?
  WHERE p.name = ?`;
const LAST = "SELECT max(no) FROM hf_record WHERE job = ?";
const LAST_EVENT = "SELECT max(no) FROM hf_event WHERE job = ?";

/** A connection of the caller's that has been found to be usable. */
interface Guest {
  readonly lock: Statement;
  readonly clock: Statement;
  readonly held: Statement;
  readonly last: Statement;
  readonly lastEvent: Statement;
  readonly insert: Statement;
}

type HeldColumns = [partition: number, untilMs: number, isEnded: number];

/** One per open store. */
export class RecordDoor {
  readonly #home: Home;
  readonly #clock: Clock;
  readonly #guests = new WeakMap<Database, Guest>();

  constructor(home: Home, clock: Clock) {
    this.#home = home;
    this.#clock = clock;
  }

  /** Throws `LEASE_LOST`, `FENCED` or `CONFLICT`, having written nothing. Synchronous. */
  write(database: Database, partition: string, op: RunsRecord): RunState {
    const guest = this.#guest(database);
    checkOpen(database);
    try {
      guest.lock.run();
      const job = this.#held(guest, partition, op);
      const last = (guest.last.get(job) as number | null) ?? 0;
      if (last !== op.after) throw elsewhere(op, last);
      const nowMs = this.#nowMs(guest);
      for (const [i, { key, data, delayMs }] of op.records.entries()) {
        const dueMs = delayMs === null ? null : nowMs + delayMs;
        guest.insert.run(job, last + 1 + i, nowMs, dueMs, key, data);
      }
      const lastEvent = (guest.lastEvent.get(job) as number | null) ?? 0;
      return { lastRecord: last + op.records.length, lastEvent, nowMs };
    } catch (error) {
      throw mapError(error, this.#home.path, "not-applied");
    }
  }

  /** Never below what the store has seen. */
  #nowMs(guest: Guest): number {
    return Math.max(Math.floor(this.#clock.wallMs()), (guest.clock.get() as number | null) ?? 0);
  }

  /** The number of the run's job, if it is held. */
  #held(guest: Guest, partition: string, op: RunsRecord): number {
    const { queue, session, seq, token } = op;
    const found = guest.held.get(queue, session, seq, token, partition) as HeldColumns | undefined;
    const details = { queue, seq, token };
    if (found === undefined) {
      const message = `Run ${seq} of queue "${queue}" is not held under token ${token} any more: it was settled or went to another holder`;
      throw refusalError({ index: 0, code: "FENCED", message, details });
    }
    const [no, untilMs, isEnded] = found;
    if (isEnded === 0 && untilMs > this.#nowMs(guest)) return jobOf(no, seq);
    const message = `Session "${session}" has ended: stop what it held and open a new one`;
    throw refusalError({ index: 0, code: "LEASE_LOST", message, details });
  }

  #guest(database: Database): Guest {
    const known = this.#guests.get(database);
    if (known !== undefined) return known;
    checkGuest(database, this.#home);
    const guest: Guest = {
      lock: database.prepare(LOCK),
      clock: database.prepare(CLOCK).pluck(),
      held: database.prepare(HELD).raw(),
      last: database.prepare(LAST).pluck(),
      lastEvent: database.prepare(LAST_EVENT).pluck(),
      insert: database.prepare(INSERT),
    };
    this.#guests.set(database, guest);
    return guest;
  }
}

function elsewhere({ queue, seq, after }: RunsRecord, last: number): Error {
  const message = `Expected the journal of run ${seq} in "${queue}" to end at record ${after}, found ${last}: read what it has, and go on from there`;
  return refusalError({
    ...{ index: 0, code: "CONFLICT", message },
    details: { queue, seq, after, last },
  });
}
