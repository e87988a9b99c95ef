/** Validated builders of the ops of runs: what an engine gets has the shape it may trust. */
import type { Data } from "../../core/codec.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkBoolean,
  checkInteger,
  checkMs,
  checkName,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import {
  RUN_QUEUE,
  type QueueSettle,
  type RecordInput,
  type RunsRecord,
  type RunsRestart,
  type RunsSend,
} from "../../store/ops.ts";
import { checkData, type JobInput, type Receipt } from "../queue/ops.ts";

/** A run to start. */
export type RunInput = Omit<JobInput, "dedupe">;

export interface EventInput {
  /** What happened: 1 to 200 characters. */
  readonly event: string;
  /** Text or bytes, at most 1 MiB. */
  readonly data: Data;
  /** The sender's, 1 to 200 characters: sending again under it changes nothing. Default: none. */
  readonly id?: string | undefined;
  /** True: a run that is missing or has ended is passed over. Default false: it is an error. */
  readonly isLenient?: boolean | undefined;
}

export interface RecordMode {
  /** The run got further: its counts of attempts and deliveries start again. Default false. */
  readonly isProgress?: boolean | undefined;
  /** The same records again are refused with `CONFLICT`, too. Default false. */
  readonly isOnce?: boolean | undefined;
}

/** What a run begins anew with. */
export interface Renewal {
  /** The number of its last record; 0: there is none. */
  readonly after: number;
  /** The key of its last record; null: there is none. */
  readonly lastKey: string | null;
  readonly payload: Data;
  /** The numbers of the events that it keeps. */
  readonly events: readonly number[];
}

export interface Suspension {
  /** An instant of the store's clock; null: until an event comes. */
  readonly untilMs: number | null;
  /** The number of the last event that the holder knows: a later one ends the waiting at once. */
  readonly seen: number;
}

const EVENT_KEYS = ["event", "data", "id", "isLenient"] as const;

/** The name of the queue in which the runs of that name are. */
export function queueName(name: string): string {
  checkName("name", name);
  return checkText("name", RUN_QUEUE + name, LIMITS.nameChars);
}

function checkHeld(run: Receipt): Receipt {
  if (typeof run !== "object" || run === null) {
    throw new TypeError(expected("run", "a claimed run", run));
  }
  return { seq: checkInteger("run.seq", run.seq), token: checkInteger("run.token", run.token) };
}

function checkRecord(record: RecordInput): RecordInput {
  if (typeof record !== "object" || record === null) {
    throw new TypeError(expected("record", "an object", record));
  }
  checkOptions("record", record, ["key", "data", "delayMs"]);
  const { key, data, delayMs } = record;
  return {
    key: checkText("record.key", key, LIMITS.recordKeyChars),
    data: checkData("record.data", data, LIMITS.recordBytes),
    delayMs: delayMs === null ? null : checkMs("record.delayMs", delayMs),
  };
}

/** `holder`: the session, and the run as it was claimed. */
export function record(
  queue: string,
  holder: { readonly session: string; readonly run: Receipt },
  after: number,
  records: readonly RecordInput[],
  { isProgress = false, isOnce = false }: RecordMode = {},
): RunsRecord {
  if (!Array.isArray(records)) throw new TypeError(expected("records", "an array", records));
  checkInteger("records.length", records.length, 1, LIMITS.recordsPerOp);
  return {
    op: "runs.record",
    queue,
    session: holder.session,
    ...checkHeld(holder.run),
    after: checkInteger("after", after),
    records: (records as readonly RecordInput[]).map(checkRecord),
    isProgress: checkBoolean("isProgress", isProgress),
    isOnce: checkBoolean("isOnce", isOnce),
  };
}

/** `renewal`: what the run begins anew with. */
export function restart(
  queue: string,
  holder: { readonly session: string; readonly run: Receipt },
  renewal: Renewal,
): RunsRestart {
  if (typeof renewal !== "object" || renewal === null) {
    throw new TypeError(expected("renewal", "an object", renewal));
  }
  checkOptions("renewal", renewal, ["after", "lastKey", "payload", "events"]);
  const { after, lastKey, payload, events } = renewal;
  if (!Array.isArray(events)) throw new TypeError(expected("renewal.events", "an array", events));
  checkInteger("renewal.events.length", events.length, 0, LIMITS.runEvents);
  return {
    op: "runs.restart",
    queue,
    session: holder.session,
    ...checkHeld(holder.run),
    after: checkInteger("renewal.after", after),
    lastKey: lastKey === null ? null : checkText("renewal.lastKey", lastKey, LIMITS.recordKeyChars),
    payload: checkData("renewal.payload", payload, LIMITS.payloadBytes),
    events: (events as readonly number[]).map((no) => checkInteger("renewal.events", no, 1)),
  };
}

export function send(queue: string, run: string, input: EventInput): RunsSend {
  checkText("run", run, LIMITS.idChars);
  if (typeof input !== "object" || input === null) {
    throw new TypeError(expected("event", "an object", input));
  }
  checkOptions("event", input, EVENT_KEYS);
  const { event, data, id, isLenient = false } = input;
  return {
    op: "runs.send",
    queue,
    run,
    event: checkText("event", event, LIMITS.nameChars),
    data: checkData("data", data, LIMITS.recordBytes),
    id: id === undefined ? null : checkText("id", id, LIMITS.idChars),
    isLenient: checkBoolean("isLenient", isLenient),
  };
}

export function suspend(
  queue: string,
  session: string,
  run: Receipt,
  suspension: Suspension,
): QueueSettle {
  const { seq, token } = checkHeld(run);
  if (typeof suspension !== "object" || suspension === null) {
    throw new TypeError(expected("suspension", "an object", suspension));
  }
  checkOptions("suspension", suspension, ["untilMs", "seen"]);
  const { untilMs, seen } = suspension;
  return {
    op: "queue.settle",
    ...{ queue, session, seq, token, outcome: "suspended" },
    untilMs: untilMs === null ? null : checkInteger("untilMs", untilMs),
    seen: checkInteger("seen", seen),
    ...{ result: null, error: null, delayMs: 0, holdsKey: true },
  };
}
