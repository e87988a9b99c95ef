/**
 * The journal of a held run, in memory while it is held: read once, appended to, so that a step
 * costs the same however many came before. Records that arrive while an append is under way gather
 * and leave together as the next one.
 */
import { dataBytes } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { deferred, sleep, type Deferred } from "../../core/signal.ts";
import type { Runs } from "../../ports/runs/index.ts";
import type { RecordInput, RunEvent, RunRecord, RunState } from "../../store/ops.ts";
import type { HeldJob } from "../jobs/index.ts";

const RETRY_INITIAL_MS = 20;
const RETRY_MAX_MS = 2_000;
/** Of one append, as long as it is made of several. */
const APPEND_BYTES = 2_097_152;

interface Waiting {
  readonly records: readonly RecordInput[];
  readonly done: Deferred<void>;
}

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
  #lastEvent: number;
  /** True until the first append after deliveries that got nowhere. */
  #isProgressDue: boolean;

  constructor(runs: Runs, held: HeldJob) {
    this.#runs = runs;
    this.#held = held;
    this.nowMs = held.claimed.run?.nowMs ?? 0;
    this.#lastEvent = held.claimed.run?.lastEvent ?? 0;
    this.#isProgressDue = held.claimed.delivery > 1;
  }

  /** The last record of that key. */
  find(key: string): RunRecord | undefined {
    return this.#byKey.get(key)?.last;
  }
  count(key: string): number {
    return this.#byKey.get(key)?.count ?? 0;
  }

  /** True while records are on their way. */
  get isBusy(): boolean {
    return this.#isAppending || this.#waiting.length > 0;
  }
  /** Events that are known to be there are not read yet. */
  get isBehind(): boolean {
    return this.events.length < this.#lastEvent;
  }

  /** Reads what is there. */
  async load(): Promise<void> {
    const lastRecord = this.#held.claimed.run?.lastRecord ?? 0;
    while (this.records.length < lastRecord || this.isBehind) await this.#read();
  }

  /** Reads events that came since; true if there are any. */
  async refresh(): Promise<boolean> {
    if (this.#isReading) return false;
    const before = this.events.length;
    this.#isReading = true;
    try {
      do await this.#read();
      while (this.isBehind);
    } finally {
      this.#isReading = false;
    }
    return this.events.length > before;
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
      for (const record of page.records.slice(this.records.length - afterRecord))
        this.#push(record);
    }
    this.events.push(...page.events.filter(({ no }) => no > this.events.length));
    this.#lastEvent = Math.max(this.#lastEvent, this.events.length);
  }

  /** Resolves when the records are in the journal; rejects if the run is held no more. */
  append(records: readonly RecordInput[]): Promise<void> {
    const waiting = { records, done: deferred<void>() };
    this.#waiting.push(waiting);
    if (!this.#isAppending) {
      this.#isAppending = true;
      // At the end of this turn: what happens together is one append.
      queueMicrotask(() => void this.#flush());
    }
    return waiting.done.promise;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#next();
      const records = batch.flatMap((each) => each.records);
      try {
        this.#added(records, await this.#commit(records));
        for (const { done } of batch) done.resolve();
      } catch (error) {
        this.#isAppending = false;
        for (const { done } of [...batch, ...this.#waiting]) done.reject(error);
        this.#waiting = [];
        return;
      }
    }
    this.#isAppending = false;
  }

  /** What one op may carry; a single larger append goes alone, to be refused in words. */
  #next(): readonly Waiting[] {
    const batch: Waiting[] = [];
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      count += waiting.records.length;
      bytes += waiting.records.reduce((sum, { data }) => sum + dataBytes(data), 0);
      if (batch.length > 0 && (count > LIMITS.recordsPerOp || bytes > APPEND_BYTES)) break;
      batch.push(waiting);
    }
    this.#waiting.splice(0, batch.length);
    return batch;
  }

  /** Until the store has answered: the same records again do no harm. */
  async #commit(records: readonly RecordInput[]): Promise<RunState> {
    const { claimed, session, signal } = this.#held;
    const { clock, random } = this.#runs.store;
    const after = this.records.length;
    for (let tries = 0; ; tries++) {
      try {
        const isProgress = this.#isProgressDue;
        const state = await this.#runs.record(session, claimed, after, records, { isProgress });
        this.#isProgressDue = false;
        return state;
      } catch (error) {
        if (!canRepeat(error) || session.isOver) throw error;
      }
      const boundMs = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** tries);
      await sleep(clock, 1 + Math.floor(random.next() * boundMs), signal);
    }
  }

  #added(records: readonly RecordInput[], { nowMs, lastEvent }: RunState): void {
    this.nowMs = Math.max(this.nowMs, nowMs);
    this.#lastEvent = Math.max(this.#lastEvent, lastEvent);
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

function canRepeat(error: unknown): boolean {
  if (!isHoldfastError(error) || error.code === "CLOSED") return false;
  return error.retryable || error.outcome === "unknown";
}
