/** The ops of runs, which are jobs with a journal; see `ops.ts`. */
import type { Data } from "../core/codec.ts";

/**
 * Queues whose names begin so hold runs: their jobs have a journal, and events are sent to them.
 * Both are gone with the job.
 */
export const RUN_QUEUE = "$run/";

/** Where a run's journal and events end. */
export interface RunState {
  /** The number of the last record; 0: there is none. */
  readonly lastRecord: number;
  readonly lastEvent: number;
  /** The store's now. */
  readonly nowMs: number;
}

export interface RecordInput {
  readonly key: string;
  readonly data: Data;
  /** The record is due so long after it was written; null: it is never. */
  readonly delayMs: number | null;
}
/**
 * Appends to the journal of a held run, whose last record must be `after`: so nobody writes who has
 * not read all of it. Refused as settle is, and with `CONFLICT` if the journal ends elsewhere. The
 * same records again after the same one change nothing, unless `isOnce`.
 */
export interface RunsRecord {
  readonly op: "runs.record";
  readonly queue: string;
  readonly session: string;
  readonly seq: number;
  readonly token: number;
  readonly after: number;
  readonly records: readonly RecordInput[];
  /** True: the run got further, so that the counts of attempts and deliveries start again. */
  readonly isProgress: boolean;
  /**
   * True: the same records again are refused with `CONFLICT`, too, so that what else is in the
   * group is done once with them.
   */
  readonly isOnce: boolean;
}

/**
 * Sends an event to a run that is there: it is kept until the run is gone, and wakes a suspended
 * one. Refused with `NOT_FOUND` if there is no such run, `CONFLICT` if it has ended,
 * `ALREADY_EXISTS` if another event came under the id, `LIMITED` if the run has too many.
 */
export interface RunsSend {
  readonly op: "runs.send";
  readonly queue: string;
  /** The run's id. */
  readonly run: string;
  readonly event: string;
  readonly data: Data;
  /** Sending again under this id changes nothing; null: every sending counts. */
  readonly id: string | null;
  /** True: a run that is missing or has ended is passed over, and refuses nothing. */
  readonly isLenient: boolean;
}
export interface Sent {
  /** The event's number in its run, from 1; 0: it was passed over. */
  readonly no: number;
  readonly status: "sent" | "exists" | "passed-over";
}
/**
 * Begins a held run anew, with another payload: its journal is empty, its events are those of the
 * numbers given, in that order and numbered from 1. It stays held. Refused as `runs.record` is, and
 * with `CONFLICT` if its last record has another key: followed by a record with a key of its own in
 * the group, a repeat is refused.
 */
export interface RunsRestart {
  readonly op: "runs.restart";
  readonly queue: string;
  readonly session: string;
  readonly seq: number;
  readonly token: number;
  /** The number of its last record; 0: there is none. */
  readonly after: number;
  /** The key of its last record; null: there is none. */
  readonly lastKey: string | null;
  readonly payload: Data;
  readonly events: readonly number[];
}
export type RunsOp = RunsRecord | RunsSend | RunsRestart;

/** One entry of a run's journal. Times by the store's clock. */
export interface RunRecord {
  readonly no: number;
  readonly key: string;
  readonly data: Data;
  readonly atMs: number;
  readonly dueMs: number | null;
}
export interface RunEvent {
  readonly no: number;
  readonly event: string;
  readonly data: Data;
  readonly id: string | null;
  readonly atMs: number;
}
