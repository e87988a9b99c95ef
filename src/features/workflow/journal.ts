/**
 * The journal of a held run, in memory while it is held: read once, appended to, so that a step
 * costs the same however many came before. Records that arrive while an append is under way gather
 * and leave together as the next one.
 */
import { dataBytes, type Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { deferred, sleep, type Deferred } from "../../core/signal.ts";
import type { Runs } from "../../ports/runs/index.ts";
import { refusalError, type Placed } from "../../store/group.ts";
import type { RecordInput, Refusal, RunEvent, RunRecord, RunState } from "../../store/ops.ts";
import type { HeldJob } from "../jobs/index.ts";
import { encode, keyOf, kindOf, nameOf } from "./records.ts";

const RETRY_INITIAL_MS = 20;
const RETRY_MAX_MS = 2_000;
/** Of one append, as long as it is made of several. */
const APPEND_BYTES = 2_097_152;

interface Waiting {
  readonly records: readonly RecordInput[];
  readonly ops: readonly Placed[];
  /** The record is made, and written, in a transaction of the user's. */
  readonly transaction?: UserTransaction;
  readonly done: Deferred<Appended>;
}

/** A connection to SQLite whose transactions are synchronous, as better-sqlite3 has them. */
export interface SyncDatabase {
  readonly inTransaction: boolean;
  transaction<T>(work: () => T): { immediate(): T };
}

interface UserTransaction {
  readonly database: SyncDatabase;
  /** What the user does in it; gives the record that stands or falls with it. */
  readonly work: () => RecordInput;
}

/** What ops that left with records gave; null: the answer was lost, but they held. */
export type Appended =
  | { readonly ok: true; readonly results: readonly unknown[] | null }
  /** One of the ops was refused, so that nothing was written. `index` counts the ops. */
  | { readonly ok: false; readonly refusal: Refusal };

export class Journal {
  readonly records: RunRecord[] = [];
  readonly events: RunEvent[] = [];
  /** The store's clock as it was heard of last. */
  nowMs: number;
  readonly #byKey = new Map<string, { readonly last: RunRecord; readonly count: number }>();
  readonly #runs: Runs;
  readonly #held: HeldJob;
  #waiting: Waiting[] = [];
  #isAppending = false;
  #isReading = false;
  #isReadDue = false;
  #lastEvent: number;
  /** The last record when the run was claimed: all later ones are this holder's. */
  readonly #claimedRecord: number;
  /** True until the first append after deliveries that got nowhere. */
  #isProgressDue: boolean;

  constructor(runs: Runs, held: HeldJob) {
    this.#runs = runs;
    this.#held = held;
    this.nowMs = held.claimed.run?.nowMs ?? 0;
    this.#lastEvent = held.claimed.run?.lastEvent ?? 0;
    this.#claimedRecord = held.claimed.run?.lastRecord ?? 0;
    this.#isProgressDue = held.claimed.delivery > 1;
  }

  /** The last record of that key. */
  find(key: string): RunRecord | undefined {
    return this.#byKey.get(key)?.last;
  }
  count(key: string): number {
    return this.#byKey.get(key)?.count ?? 0;
  }

  /** How often the run continued as new. */
  get generation(): number {
    const [first] = this.records;
    return first !== undefined && kindOf(first.key) === "anew" ? Number(nameOf(first.key)) : 0;
  }

  /** True while records are on their way. */
  get isBusy(): boolean {
    return this.#isAppending || this.#waiting.length > 0;
  }
  /** Events are being read; who asked for them is told when all are there. */
  get isReading(): boolean {
    return this.#isReading;
  }
  /** Events that are known to be there are not read yet. */
  get isBehind(): boolean {
    return this.events.length < this.#lastEvent;
  }

  /** Reads what was there when the run was claimed, and events that came since. */
  async load(): Promise<void> {
    while (this.records.length < this.#claimedRecord || this.isBehind) {
      const before = this.records.length + this.events.length;
      await this.#read();
      if (this.records.length + this.events.length === before) throw this.#notOurs();
    }
  }

  /** Reads events that came since; true if there are any. */
  async refresh(): Promise<boolean> {
    // What is being read may be older than what the caller heard of.
    this.#isReadDue = true;
    if (this.#isReading) return false;
    const before = this.events.length;
    this.#isReading = true;
    try {
      while (this.#isReadDue || this.isBehind) {
        this.#isReadDue = false;
        await this.#read();
      }
    } finally {
      this.#isReading = false;
    }
    return this.events.length > before;
  }

  /** Only its holder appends: what somebody else did says so before the session's end does. */
  #notOurs(): HoldfastError {
    const { id, token } = this.#held.claimed;
    const message = `Run "${id}" is not held under token ${token} any more: somebody else goes on with its journal`;
    return new HoldfastError("FENCED", message, { outcome: "not-applied" });
  }

  async #read(): Promise<void> {
    const { seq, id } = this.#held.claimed;
    const afterRecord = this.records.length;
    const page = await this.#runs.journal(seq, { afterRecord, afterEvent: this.events.length });
    if (page === null) {
      const message = `Expected the journal of run "${id}", found none: the run is gone`;
      throw new HoldfastError("NOT_FOUND", message, { outcome: "not-applied" });
    }
    // While appends are under way their records are added by their answers.
    if (!this.#isAppending) {
      for (const record of page.records.slice(this.records.length - afterRecord)) {
        if (record.no > this.#claimedRecord) throw this.#notOurs();
        this.#push(record);
      }
    }
    this.events.push(...page.events.filter(({ no }) => no > this.events.length));
    this.#lastEvent = Math.max(this.#lastEvent, this.events.length);
    if (page.hasMore) this.#isReadDue = true;
    else this.nowMs = Math.max(this.nowMs, page.nowMs);
  }

  /**
   * Resolves when the records are in the journal, in one commit with the ops; rejects if the run is
   * held no more.
   */
  append(records: readonly RecordInput[], ops: readonly Placed[] = []): Promise<Appended> {
    return this.#enqueue({ records, ops, done: deferred<Appended>() });
  }

  /**
   * Does the work and writes its record in one transaction on the user's connection, when nothing
   * else is being appended. Rejects with what the work throws, having written nothing.
   */
  async transact(database: SyncDatabase, work: () => RecordInput): Promise<void> {
    const transaction = { database, work };
    await this.#enqueue({ records: [], ops: [], transaction, done: deferred<Appended>() });
  }

  #enqueue(waiting: Waiting): Promise<Appended> {
    this.#waiting.push(waiting);
    if (!this.#isAppending) {
      this.#isAppending = true;
      // At the end of this turn: what happens together is one append.
      queueMicrotask(() => void this.#flush());
    }
    return waiting.done.promise;
  }

  /**
   * Begins the run anew, with an empty journal and the events of these numbers. One commit; a
   * repeat of it finds a journal that ends elsewhere.
   */
  async restart(payload: Data, events: readonly number[]): Promise<void> {
    const { claimed, session } = this.#held;
    const { store, op } = this.#runs;
    const after = this.records.length;
    const lastKey = this.records.at(-1)?.key ?? null;
    const first = encode(keyOf("anew", String(this.generation + 1)), null);
    const ops = [
      op.restart(session, claimed, { after, lastKey, payload, events }),
      op.record(session, claimed, 0, [first], { isOnce: true }),
    ];
    let isUnknown = false;
    await this.#repeat(async () => {
      try {
        const committed = await store.commitAll(ops);
        if (committed.ok) return;
        if (committed.refusal.code === "CONFLICT" && isUnknown) return;
        throw refusalError(committed.refusal);
      } catch (error) {
        isUnknown ||= isHoldfastError(error) && error.outcome === "unknown";
        throw error;
      }
    });
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#next();
      const records = batch.flatMap((each) => each.records);
      const ops = batch.flatMap((each) => each.ops);
      const transaction = batch[0]?.transaction;
      try {
        if (transaction !== undefined) {
          this.#transact(transaction);
          batch[0]?.done.resolve({ ok: true, results: [] });
          continue;
        }
        const { state, appended } = await this.#commit(records, ops);
        if (state !== undefined) this.#added(records, state);
        for (const { done } of batch) done.resolve(appended);
      } catch (error) {
        const isItsOwn =
          transaction === undefined ? isOfOps(error) : !(error instanceof BrokenTransaction);
        if (isItsOwn) {
          for (const { done } of batch) done.reject(error);
          continue;
        }
        this.#isAppending = false;
        for (const { done } of [...batch, ...this.#waiting]) done.reject(error);
        this.#waiting = [];
        return;
      }
    }
    this.#isAppending = false;
  }

  #transact({ database, work }: UserTransaction): void {
    if (database.inTransaction) {
      const message =
        "Expected a connection without an open transaction, got one that is in it: the step opens its own";
      throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
    }
    const { store, partition, op } = this.#runs;
    const { claimed, session } = this.#held;
    let isRecording = false;
    const write = (): { readonly record: RecordInput; readonly state: RunState } => {
      const record = work();
      isRecording = true;
      const placed = op.record(session, claimed, this.records.length, [record]);
      return { record, state: store.recordIn(database, partition, placed.op) };
    };
    try {
      const { record, state } = database.transaction(write).immediate();
      this.#added([record], state);
    } catch (error) {
      // Not held any more; or it failed as it was committed, and nobody knows whether it holds.
      if (isRecording && !canRefuse(error)) throw new BrokenTransaction(error);
      throw error;
    }
  }

  /**
   * What one op may carry; a single larger append goes alone, to be refused in words, and so does
   * one with ops, since they may be refused.
   */
  #next(): readonly Waiting[] {
    const batch: Waiting[] = [];
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      count += waiting.records.length;
      bytes += waiting.records.reduce((sum, { data }) => sum + dataBytes(data), 0);
      if (batch.length > 0 && (count > LIMITS.recordsPerOp || bytes > APPEND_BYTES)) break;
      const isAlone = waiting.ops.length > 0 || waiting.transaction !== undefined;
      if (batch.length > 0 && isAlone) break;
      batch.push(waiting);
      if (isAlone) break;
    }
    this.#waiting.splice(0, batch.length);
    return batch;
  }

  /**
   * Until the store has answered. The same records again do no harm; with ops they are refused, so
   * that the ops are done once.
   */
  async #commit(
    records: readonly RecordInput[],
    ops: readonly Placed[],
  ): Promise<{ readonly state: RunState | undefined; readonly appended: Appended }> {
    const { claimed, session } = this.#held;
    const { store, op } = this.#runs;
    const after = this.records.length;
    const mode = { isProgress: this.#isProgressDue, isOnce: ops.length > 0 };
    const placed = op.record(session, claimed, after, records, mode);
    let isUnknown = false;
    return this.#repeat(async () => {
      try {
        const committed = await store.commitAll([placed, ...ops]);
        if (committed.ok) {
          const [state, ...results] = committed.results;
          this.#isProgressDue = false;
          if (!isUnknown) return { state, appended: { ok: true, results } };
          // An earlier try may have written them, and they are due as it said.
          this.#heard(state);
          return { ...(await this.#found(after)), appended: { ok: true, results } };
        }
        const { refusal } = committed;
        // The records stood first: no earlier try was applied either.
        if (refusal.index > 0) return { state: undefined, appended: refusedWith(refusal) };
        // Nobody but us appends, so that it was this that held.
        if (refusal.code === "CONFLICT" && isUnknown && mode.isOnce) return this.#found(after);
        throw refusalError(refusal);
      } catch (error) {
        isUnknown ||= isHoldfastError(error) && error.outcome !== "not-applied";
        throw error;
      }
    });
  }

  /** Until the store has answered, or the run is held no more. */
  async #repeat<T>(work: () => Promise<T>): Promise<T> {
    const { session, signal } = this.#held;
    const { clock, random } = this.#runs.store;
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!canRepeat(error) || session.isOver) throw error;
      }
      const boundMs = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** tries);
      await sleep(clock, 1 + Math.floor(random.next() * boundMs), signal);
    }
  }

  /** Reads what an append wrote whose answer was lost. */
  async #found(after: number): Promise<{ readonly state: undefined; readonly appended: Appended }> {
    const page = await this.#runs.journal(this.#held.claimed.seq, { afterRecord: after });
    for (const record of page?.records ?? []) this.#push(record);
    this.#isProgressDue = false;
    return { state: undefined, appended: { ok: true, results: null } };
  }

  #heard({ nowMs, lastEvent }: RunState): void {
    this.nowMs = Math.max(this.nowMs, nowMs);
    this.#lastEvent = Math.max(this.#lastEvent, lastEvent);
  }

  #added(records: readonly RecordInput[], state: RunState): void {
    this.#heard(state);
    const { nowMs } = state;
    for (const { key, data, delayMs } of records) {
      const dueMs = delayMs === null ? null : nowMs + delayMs;
      this.#push({ no: this.records.length + 1, key, data, atMs: nowMs, dueMs });
    }
  }

  #push(record: RunRecord): void {
    this.records.push(record);
    this.#byKey.set(record.key, { last: record, count: this.count(record.key) + 1 });
  }
}

/** A transaction after which the run can't go on as if nothing had been. */
export class BrokenTransaction extends Error {
  constructor(cause: unknown) {
    super("A step's transaction broke", { cause });
    this.name = "BrokenTransaction";
  }
}

/** The connection can't be used, or the store is closed: nothing was written. */
function canRefuse(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return true;
  if (!isHoldfastError(error) || error.outcome !== "not-applied") return false;
  return !["FENCED", "LEASE_LOST", "CONFLICT"].includes(error.code);
}

/** The ops could not be sent at all: nothing was, and the run is none the worse for it. */
export function isOfOps(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return true;
  return isHoldfastError(error) && (error.code === "UNSUPPORTED" || error.code === "TOO_LARGE");
}

function refusedWith(refusal: Refusal): Appended {
  return { ok: false, refusal: { ...refusal, index: refusal.index - 1 } };
}

function canRepeat(error: unknown): error is HoldfastError {
  if (!isHoldfastError(error)) return false;
  // The journal ends elsewhere than we know: no repeat mends that.
  if (error.code === "CLOSED" || error.code === "CONFLICT") return false;
  return error.retryable || error.outcome === "unknown";
}
