/**
 * A job's row as this engine hands it out: read whole, or known to exist and read only when
 * somebody looks into it.
 */
import type { Data } from "../../core/codec.ts";
import type { JobRow, WaitingState } from "../shared/embedded/tables.ts";
import { seqOf } from "./directory-tables.ts";

/** Stored codes of the waiting states. */
export const WAITING: Readonly<Record<WaitingState, number>> = Object.freeze({
  ready: 0,
  scheduled: 1,
  blocked: 2,
});
const WAITING_STATES: readonly WaitingState[] = ["ready", "scheduled", "blocked"];

// Four facts in one column: most jobs have none of them, and a column costs every insert.
const HOLDS_KEY = 1;
const HAS_STARTED = 2;
/** Set when a later add of its dedupe key has put another payload into the job. */
export const REPLACED = 4;
const SUSPENDED = 8;

export function flagsOf({ holdsKey, hasStarted, isReplaced, isSuspended }: JobRow): number {
  return (
    (holdsKey ? HOLDS_KEY : 0) +
    (hasStarted === true ? HAS_STARTED : 0) +
    (isReplaced === true ? REPLACED : 0) +
    (isSuspended === true ? SUSPENDED : 0)
  );
}

export type JobColumns = [
  ...[job: number, queue: number, state: number, at: number, flags: number],
  ...[attempts: number, lost: number, priority: number, createdMs: number],
  ...[id: string, key: string | null, trace: string | null, error: string | null],
  ...[attributes: string | null, progress: Data | null],
  payload: Data,
];

export class StoredJob implements JobRow {
  readonly seq: number;
  readonly queue: number;
  readonly id: string;
  readonly key: string | null;
  readonly priority: number;
  payload: Data;
  attempts: number;
  lost: number;
  readonly createdMs: number;
  state: WaitingState;
  at: number;
  holdsKey: boolean;
  error: string | null;
  readonly trace: string | null;
  readonly attributes: string | null;
  progress: Data | null;
  hasStarted: boolean;
  isReplaced: boolean;
  isSuspended: boolean;
  readonly #storedPayload: Data;

  constructor(columns: JobColumns) {
    this.seq = seqOf(columns[0]);
    this.queue = columns[1];
    this.state = WAITING_STATES[columns[2]] as WaitingState;
    this.at = columns[3];
    const flags = columns[4];
    this.holdsKey = (flags & HOLDS_KEY) !== 0;
    this.hasStarted = (flags & HAS_STARTED) !== 0;
    this.isReplaced = (flags & REPLACED) !== 0;
    this.isSuspended = (flags & SUSPENDED) !== 0;
    this.attempts = columns[5];
    this.lost = columns[6];
    this.priority = columns[7];
    this.createdMs = columns[8];
    this.id = columns[9];
    this.key = columns[10];
    this.trace = columns[11];
    this.error = columns[12];
    this.attributes = columns[13];
    this.progress = columns[14];
    this.payload = columns[15];
    this.#storedPayload = columns[15];
  }
  get isPayloadChanged(): boolean {
    return this.payload !== this.#storedPayload;
  }
}

/**
 * Completing a job needs its number and its key, and the lease row has both: reading the body as
 * well (1.7 us, and up to a megabyte of payload) is put off until a field of it is asked for, as a
 * retry does.
 */
export class KnownJob implements JobRow {
  readonly queue: number;
  readonly seq: number;
  readonly #key: string | null | undefined;
  readonly #load: () => StoredJob;
  #body: StoredJob | undefined;

  /** `key` undefined: not known either. */
  constructor(queue: number, seq: number, key: string | null | undefined, load: () => StoredJob) {
    this.queue = queue;
    this.seq = seq;
    this.#key = key;
    this.#load = load;
  }
  get #row(): StoredJob {
    this.#body ??= this.#load();
    return this.#body;
  }
  get isPayloadChanged(): boolean {
    return this.#body?.isPayloadChanged ?? false;
  }
  get key(): string | null {
    return this.#key === undefined ? this.#row.key : this.#key;
  }
  get id(): string {
    return this.#row.id;
  }
  get priority(): number {
    return this.#row.priority;
  }
  get createdMs(): number {
    return this.#row.createdMs;
  }
  get trace(): string | null {
    return this.#row.trace;
  }
  get attributes(): string | null {
    return this.#row.attributes;
  }
  get progress(): Data | null {
    return this.#row.progress;
  }
  set progress(value: Data | null) {
    this.#row.progress = value;
  }
  get payload(): Data {
    return this.#row.payload;
  }
  set payload(value: Data) {
    this.#row.payload = value;
  }
  get attempts(): number {
    return this.#row.attempts;
  }
  set attempts(value: number) {
    this.#row.attempts = value;
  }
  get lost(): number {
    return this.#row.lost;
  }
  set lost(value: number) {
    this.#row.lost = value;
  }
  get state(): WaitingState {
    return this.#row.state;
  }
  set state(value: WaitingState) {
    this.#row.state = value;
  }
  get at(): number {
    return this.#row.at;
  }
  set at(value: number) {
    this.#row.at = value;
  }
  get holdsKey(): boolean {
    return this.#row.holdsKey;
  }
  set holdsKey(value: boolean) {
    this.#row.holdsKey = value;
  }
  get hasStarted(): boolean {
    return this.#row.hasStarted;
  }
  set hasStarted(value: boolean) {
    this.#row.hasStarted = value;
  }
  get isReplaced(): boolean {
    return this.#row.isReplaced;
  }
  set isReplaced(value: boolean) {
    this.#row.isReplaced = value;
  }
  get isSuspended(): boolean {
    return this.#row.isSuspended;
  }
  set isSuspended(value: boolean) {
    this.#row.isSuspended = value;
  }
  get error(): string | null {
    return this.#row.error;
  }
  set error(value: string | null) {
    this.#row.error = value;
  }
}
