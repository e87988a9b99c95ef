/**
 * One stretch of a run: from its claim until it ends, is suspended, or is lost. The handler runs
 * from its beginning each time; what the journal has is given to it in the order of the records,
 * and only what comes after the last of them is really done.
 *
 * replaying  The journal has outcomes that the code has not asked for yet. What it asks for besides
 *            is held back: it may have been under way when the run was taken over. If the code
 *            waits for nothing else, it does not match the record.
 * live       Steps run, waits wait. Each outcome goes into the journal first, and from there to the
 *            code, so that it sees the same the next time.
 * stopping   The run was cancelled or has failed: what is under way is aborted, and what the code
 *            asks for is refused, until it ends. Then its steps are undone (`undo.ts`).
 *
 * When the code waits for nothing but instants and events the run is suspended: its promises are
 * left behind unresolved, and nothing of it stays in memory.
 */
import type { Timer } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { deferred } from "../../core/signal.ts";
import type { Placed } from "../../store/group.ts";
import { RUN_QUEUE, type RunRecord } from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import { Verdict, type HeldJob } from "../jobs/index.ts";
import {
  BrokenTransaction,
  isOfOps,
  type Appended,
  type Journal,
  type SyncDatabase,
} from "./journal.ts";
import {
  decode,
  encode,
  failureData,
  isOutcome,
  kindOf,
  nameOf,
  type StepData,
  type StopData,
} from "./records.ts";

/** The event that asks for a cancel. */
export const CANCEL_EVENT = "$cancel";
/** Code that asks for what the journal does not have may be waiting for something of its own. */
const MISMATCH_AFTER_MS = 1_000;
/** A run that is held looks for events this often. */
const LOOK_EVERY_MS = 10_000;

/** Something that the code waits for. */
export interface Request {
  /** Of the record that will say how it ended. */
  readonly key: string;
  /** Begins to do it; called once, when the journal has no outcome of it. */
  start(): void;
  /** Gives the outcome to the code. */
  settle(record: RunRecord): void;
  /** The run stops. */
  reject(error: unknown): void;
}

/** A request that waits for an instant, an event, or both. */
export interface Waiting {
  readonly request: Request;
  readonly dueMs: number | null;
  /** Looks whether it is over, and says so to the journal; true if it is. */
  check(): boolean;
}

export type Ended = { readonly value: unknown } | { readonly error: unknown };

export class Execution {
  readonly store: Store;
  readonly held: HeldJob;
  readonly journal: Journal;
  /** Aborts what is under way: at a cancel, at a failure, when the run is lost. */
  readonly stopper: AbortController = new AbortController();
  stop: StopData | undefined;
  #cursor = 0;
  /** The number of the outcome that was given last. */
  #given = 0;
  readonly #requests = new Map<string, Request>();
  readonly #unstarted = new Set<Request>();
  readonly #waits = new Map<string, Waiting>();
  #running = 0;
  #ended: Ended | undefined;
  #isDelivering = false;
  /** The code goes on with what it was given, until this resolves. */
  #turn: Promise<void> | undefined;
  #isIdleDue = false;
  #isLookDue = false;
  #mismatch: Timer | undefined;
  #later: Timer | undefined;
  #isOver = false;
  readonly #done = deferred<Ended | Verdict>();
  readonly #begin: (request: Request) => void;

  /** `begin`: a replay that only looks begins nothing. Default: what is asked for is done. */
  constructor(
    store: Store,
    held: HeldJob,
    journal: Journal,
    begin: (request: Request) => void = (request) => request.start(),
  ) {
    this.store = store;
    this.held = held;
    this.journal = journal;
    this.#begin = begin;
  }

  /** Unique for the step of the run, whatever runs there are, and however often it began anew. */
  stepId(step: string): string {
    return `${this.held.queue.slice(RUN_QUEUE.length)}/${this.childId(step)}`;
  }
  /** Unique among the runs of one name that this run makes. */
  childId(step: string): string {
    const { generation } = this.journal;
    const id = generation === 0 ? this.held.id : `${this.held.id}~${generation}`;
    return `${id}/${step}`;
  }

  get isLive(): boolean {
    return this.#cursor >= this.journal.records.length;
  }
  /** The record that the code has to ask for next. */
  get next(): RunRecord | undefined {
    return this.journal.records[this.#cursor];
  }
  /** Nothing is on record behind what was given last. */
  get isAtEnd(): boolean {
    return this.#given >= this.journal.records.length;
  }

  /**
   * Runs the handler until it has ended and nothing of it is under way, or the run can be
   * suspended. Rejects if the run is lost, or its code does not match the journal.
   */
  async run(handler: () => Promise<unknown>): Promise<Ended | Verdict> {
    const onLost = (): void => this.broken(this.held.reason);
    this.held.signal.addEventListener("abort", onLost, { once: true });
    if (this.held.signal.aborted) onLost();
    this.#noteCancel();
    // One that was cancelled before it began never begins.
    const begun = this.stop === undefined ? handler : () => Promise.reject(this.#stopError());
    (async () => begun())().then(
      (value) => this.#handlerEnded({ value }),
      (error: unknown) => this.#handlerEnded({ error }),
    );
    void this.#deliver();
    this.#lookLater();
    return this.#done.promise.finally(() => {
      this.#later?.cancel();
      this.#mismatch?.cancel();
      this.held.signal.removeEventListener("abort", onLost);
    });
  }

  /**
   * Nothing more can be recorded: the stretch ends here, and nobody hears of its promises again.
   */
  broken(error: unknown): void {
    this.#isOver = true;
    this.stopper.abort(error);
    this.#done.reject(error);
  }
  #over(outcome: Ended | Verdict): void {
    this.#isOver = true;
    this.#done.resolve(outcome);
  }

  // -------------------------------------------------------------- what the code asks

  request(request: Request): void {
    if (this.stop !== undefined && this.isLive) {
      return request.reject(this.#stopError());
    }
    // What the handler left behind when it ended begins nothing new.
    if (this.#ended !== undefined || this.#isOver) return;
    this.#requests.set(request.key, request);
    this.#unstarted.add(request);
    void this.#deliver();
  }
  isRequested(key: string): boolean {
    return this.#requests.has(key);
  }

  /** Work that keeps the run from being suspended. */
  begin(): void {
    this.#running++;
  }
  end(): void {
    this.#running--;
    this.#settle();
    this.#idle();
  }

  wait(waiting: Waiting): void {
    // It was stopped while the instant of the waiting was being recorded.
    if (this.stop !== undefined) return this.#refuse(waiting.request);
    if (waiting.check()) return;
    this.#waits.set(waiting.request.key, waiting);
    this.#lookLater();
    this.#idle();
  }

  /** Appends an outcome, or a mark, and gives it to who waits for it. */
  async record(key: string, value: unknown, delayMs: number | null = null): Promise<void> {
    const record = encode(key, value, delayMs);
    try {
      await this.journal.append([record]);
    } catch (error) {
      this.broken(error);
      throw error;
    }
    if (this.journal.isBehind) void this.news();
    void this.#deliver();
  }

  /** As `record`, in one commit with ops, of which one may refuse it. */
  async recordWith(key: string, value: unknown, ops: readonly Placed[]): Promise<Appended> {
    const record = encode(key, value);
    try {
      const appended = await this.journal.append([record], ops);
      if (this.journal.isBehind) void this.news();
      void this.#deliver();
      return appended;
    } catch (error) {
      if (!isOfOps(error)) this.broken(error);
      throw error;
    }
  }

  /** As `record`, in one transaction of the user's with what `work` does, whose value it is. */
  async transact(key: string, database: SyncDatabase, work: () => unknown): Promise<void> {
    try {
      await this.journal.transact(database, () => encode(key, { v: work() } satisfies StepData));
    } catch (error) {
      if (error instanceof BrokenTransaction) this.broken(error.cause);
      throw error;
    }
    if (this.journal.isBehind) void this.news();
    void this.#deliver();
  }

  /** As `record`, for who does not wait for it. */
  note(key: string, value: unknown): void {
    this.begin();
    const end = (): void => this.end();
    this.record(key, value).then(end, end);
  }

  /** It was aborted, and has no outcome. */
  refuse(request: Request): void {
    if (this.stop !== undefined) this.#refuse(request);
  }

  /** Events came, or may have. */
  async news(): Promise<void> {
    if (this.#isOver) return;
    try {
      await this.journal.refresh();
    } catch (error) {
      return this.broken(error);
    }
    // The stretch may have ended meanwhile: nothing of it begins again.
    if (this.#isOver) return;
    this.#noteCancel();
    this.#look();
    this.#lookLater();
  }

  // -------------------------------------------------------------- giving outcomes

  async #deliver(): Promise<void> {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    const { records } = this.journal;
    while (this.#cursor < records.length) {
      if (this.#turn !== undefined) {
        await this.#turn;
        continue;
      }
      const record = records[this.#cursor] as RunRecord;
      if (!isOutcome(record.key)) {
        this.#cursor++;
        if (kindOf(record.key) === "stop") this.#stopped(decode<StopData>(record));
        continue;
      }
      const request = this.#requests.get(record.key);
      if (request === undefined) break;
      this.#cursor++;
      this.#give(request, record);
      // What is next comes when the code has gone on as far as it could.
      this.#turn = this.store.clock.yield().then(() => void (this.#turn = undefined));
    }
    this.#isDelivering = false;
    if (this.isLive) this.#goOn();
    else this.#stalled();
  }

  #give(request: Request, record: RunRecord): void {
    this.#given = record.no;
    this.#requests.delete(request.key);
    this.#unstarted.delete(request);
    this.#waits.delete(request.key);
    this.#mismatch?.cancel();
    this.#mismatch = undefined;
    request.settle(record);
  }

  /** All that was recorded is given: what is asked for now is done. */
  #goOn(): void {
    this.#mismatch?.cancel();
    this.#mismatch = undefined;
    if (this.stop === undefined) this.#noteCancel();
    if (this.#ended !== undefined && "error" in this.#ended) this.fail(this.#ended.error);
    // The first of them may be over at once: that is not the end as long as others are to begin.
    this.#running++;
    for (const request of this.#unstarted) {
      this.#unstarted.delete(request);
      if (this.stop === undefined) this.#begin(request);
      else this.#refuse(request);
    }
    this.#running--;
    this.#settle();
    if (this.#isLookDue) this.#look();
    else this.#idle();
  }

  /** The journal goes on with something that nobody asks for. */
  #stalled(): void {
    if (this.#ended !== undefined) return this.broken(this.#mismatchError("the code ended"));
    if (this.#unstarted.size === 0 || this.#mismatch !== undefined) return;
    this.#mismatch = this.store.clock.timer(MISMATCH_AFTER_MS, () => {
      const [request] = this.#unstarted;
      if (request !== undefined) this.broken(this.#mismatchError(describe(request.key)));
    });
  }

  #mismatchError(found: string): HoldfastError {
    const record = this.next;
    const wanted = describe(record?.key ?? "");
    const { id } = this.held;
    const message = `Expected the code of run "${id}" to ask for ${wanted}, as record ${record?.no} says, got ${found}: bring the old code back, or let it go on as it was behind a patch`;
    const details = { run: id, record: record?.no, expected: record?.key, got: found };
    return new HoldfastError("NON_DETERMINISTIC", message, { outcome: "not-applied", details });
  }

  // -------------------------------------------------------------- stopping

  /** The run has failed, unless it was stopped before: the rest of it stops. */
  fail(error: unknown): void {
    this.#stopped({ ended: "failed", error: failureData(error) });
  }

  #noteCancel(): void {
    if (this.stop !== undefined || !this.isLive || this.#ended !== undefined) return;
    const asked = this.journal.events.find(({ event }) => event === CANCEL_EVENT);
    if (asked === undefined) return;
    const reason = decode<string | null>({ key: CANCEL_EVENT, data: asked.data });
    const message = reason ?? "The run was cancelled";
    this.#stopped({ ended: "cancelled", error: { name: "Cancelled", message, code: "CLOSED" } });
  }

  #stopped(stop: StopData): void {
    if (this.stop !== undefined) return;
    this.stop = stop;
    const error = this.#stopError();
    this.stopper.abort(error);
    for (const { request } of this.#waits.values()) this.#refuse(request);
    if (!this.isLive) return;
    for (const request of this.#unstarted) this.#refuse(request);
  }

  #refuse(request: Request): void {
    this.#requests.delete(request.key);
    this.#unstarted.delete(request);
    this.#waits.delete(request.key);
    request.reject(this.#stopError());
  }

  #stopError(): HoldfastError {
    const { ended, error } = this.stop as StopData;
    const message = `Run "${this.held.id}" ${ended === "failed" ? "has failed" : "is cancelled"} (${error.message}): nothing more of it is done`;
    return new HoldfastError("CLOSED", message, { outcome: "not-applied", details: { ended } });
  }

  #handlerEnded(ended: Ended): void {
    this.#ended = ended;
    this.#settle();
    void this.#deliver();
  }

  /** The handler has ended and nothing of it is under way. */
  #settle(): void {
    const ended = this.#ended;
    if (ended === undefined || !this.isLive) return;
    if ("error" in ended) this.fail(ended.error);
    if (this.#running === 0 && !this.journal.isBusy) this.#over(ended);
  }

  // -------------------------------------------------------------- waiting

  #look(): void {
    if (this.stop !== undefined) return;
    // Once more when all that is recorded is given.
    this.#isLookDue = !this.isLive;
    if (this.#isLookDue) return;
    for (const [key, waiting] of this.#waits) if (waiting.check()) this.#waits.delete(key);
    this.#idle();
  }

  /**
   * While steps run, nobody else says that an instant has come; and of an event only a hint told,
   * which may be lost.
   */
  #lookLater(): void {
    this.#later?.cancel();
    if (this.#isOver) return;
    let delayMs = LOOK_EVERY_MS;
    for (const { dueMs } of this.#waits.values()) {
      if (dueMs !== null) delayMs = Math.min(delayMs, dueMs - this.journal.nowMs);
    }
    const look = (): void => void this.news();
    this.#later = this.store.clock.timer(Math.max(1, delayMs), look, { keepAlive: false });
  }

  /** Suspends at the end of this turn, if nothing happens until then. */
  #idle(): void {
    if (this.#isIdleDue || !this.#isIdle()) return;
    this.#isIdleDue = true;
    void this.store.clock.yield().then(() => {
      this.#isIdleDue = false;
      if (this.#isIdle()) this.#suspend();
    });
  }

  #isIdle(): boolean {
    if (!this.isLive || this.#isDelivering) return false;
    if (this.#ended !== undefined || this.#isOver) return false;
    if (this.#running > 0 || this.journal.isBusy || this.#waits.size === 0) return false;
    // What is being read may be what is waited for.
    if (this.journal.isReading) return false;
    return this.#requests.size === this.#waits.size;
  }

  #suspend(): void {
    let untilMs: number | null = null;
    for (const { dueMs } of this.#waits.values()) {
      if (dueMs !== null) untilMs = Math.min(untilMs ?? Infinity, dueMs);
    }
    const seen = this.journal.events.length;
    this.#over(new Verdict({ outcome: "suspended", untilMs, seen }));
  }
}

/** What a record of that key is about, in words. */
export function describe(key: string): string {
  const words: Readonly<Record<string, string>> = {
    step: "step",
    got: "the event",
    woke: "the sleep",
    patch: "the patch",
  };
  return `${words[kindOf(key)] ?? "the"} "${nameOf(key)}"`;
}
