/**
 * The runs port: jobs with a journal. A run is a job of a queue of its own kind, held, settled and
 * kept as every job is; besides, its holder appends records to its journal, anybody sends it
 * events, and its holder may suspend it until an instant or an event. It is the low-level class
 * that the feature `workflow` is made of; `README.md` beside it states what it guarantees.
 */
import { LIMITS } from "../../core/limits.ts";
import { checkFunction, checkInteger, checkOptions } from "../../core/options.ts";
import type { Wait } from "../../core/signal.ts";
import type { RunPage } from "../../store/driver.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import type {
  Enqueued,
  JobState,
  Op,
  QueueEnqueue,
  QueueSettle,
  RecordInput,
  RunsRecord,
  RunsRestart,
  RunsSend,
  RunState,
  Sent,
} from "../../store/ops.ts";
import type { Session } from "../../store/session.ts";
import type { Store } from "../../store/store.ts";
import { Queue, type QueueOptions, type Receipt, type SettleOptions } from "../queue/index.ts";
import * as ops from "./ops.ts";
import type { EventInput, RecordMode, Renewal, RunInput, Suspension } from "./ops.ts";

export interface SuspendOptions extends Wait {
  /** Ops of the same partition that hold or fall together with it. */
  readonly also?: readonly Placed[] | undefined;
}

export interface JournalOptions extends Wait {
  /** Records after this number. Default 0: from the first. */
  readonly afterRecord?: number | undefined;
  readonly afterEvent?: number | undefined;
  /** Of each: 1 to 1,000; default 1,000. */
  readonly limit?: number | undefined;
}

export type Journal = RunPage;

/** The ops of one kind of runs, for groups that hold other ops too. */
export interface RunsOps {
  start(run: RunInput): Placed<QueueEnqueue>;
  record(
    session: Session,
    run: Receipt,
    after: number,
    records: readonly RecordInput[],
    mode?: RecordMode,
  ): Placed<RunsRecord>;
  restart(session: Session, run: Receipt, renewal: Renewal): Placed<RunsRestart>;
  send(run: string, event: EventInput): Placed<RunsSend>;
  suspend(session: Session, run: Receipt, suspension: Suspension): Placed<QueueSettle>;
}

const JOURNAL_KEYS = ["afterRecord", "afterEvent", "limit", "signal", "timeoutMs"] as const;

export class Runs {
  readonly store: Store;
  readonly name: string;
  /** The full name of the partition they live in. */
  readonly partition: string;
  /** The runs as jobs: claim, settle, list, count, redrive, pause, purge. */
  readonly queue: Queue;
  readonly op: RunsOps;

  constructor(store: Store, name: string, options: Omit<QueueOptions, "isReserved"> = {}) {
    checkOptions("options", options, ["partition"]);
    this.store = store;
    this.name = name;
    const queue = ops.queueName(name);
    this.queue = new Queue(store, queue, { ...options, isReserved: true });
    const { partition } = this.queue;
    this.partition = partition;
    const place = <O extends Op>(op: O): Placed<O> => ({ partition, op });
    this.op = {
      start: (run) => this.queue.op.enqueue(run),
      record: (session, run, after, records, mode) => {
        const holder = { session: idOf(session), run };
        return place(ops.record(queue, holder, after, records, mode));
      },
      restart: (session, run, renewal) => {
        const holder = { session: idOf(session), run };
        return place(ops.restart(queue, holder, renewal));
      },
      send: (run, event) => place(ops.send(queue, run, event)),
      suspend: (session, run, how) => place(ops.suspend(queue, idOf(session), run, how)),
    };
  }

  async #one<O extends Op>({ op }: Placed<O>, wait: Wait | undefined): Promise<unknown> {
    return resultsOf(await this.store.commit(this.partition, [op], wait))[0];
  }

  /**
   * Starts a run: it is claimable at once, or after `delayMs`.
   *
   * Guarantee: once it resolves the run is never lost, to the degree that `store.durability()`
   * says. Under an `id` it is started once: again with the same input changes nothing.
   * Errors: `ALREADY_EXISTS` (the id is a run's with another input), `OVERLOADED`, `TOO_LARGE`.
   * On abort: see `Store.commit`; with an `id` starting again is safe. Complexity: a share of one
   * round trip.
   */
  start(run: RunInput, wait?: Wait): Promise<Enqueued> {
    return this.queue.add(run, wait);
  }

  /**
   * Appends up to 1,000 records to the journal of a held run, whose last record is `after`.
   *
   * Guarantee: all of them or none, and only by who holds the run and has read its journal to the
   * end. The same records again after the same one change nothing, so that it may be repeated after
   * a lost answer; with ops of `also` they are refused with `CONFLICT`, so that the ops are done
   * once: who sees that reads the journal. `isProgress` starts the counts of attempts and
   * deliveries again.
   * Errors: `LEASE_LOST`, `FENCED` (the run is not held under the token), `CONFLICT` (the journal
   * ends elsewhere), `TOO_LARGE`, and what refuses an op of `also`.
   * Complexity: a share of one round trip.
   */
  async record(
    session: Session,
    run: Receipt,
    after: number,
    records: readonly RecordInput[],
    options: SettleOptions & { readonly isProgress?: boolean | undefined } = {},
  ): Promise<RunState> {
    checkOptions("options", options, ["also", "isProgress", "signal", "timeoutMs"]);
    const { also = [], isProgress, ...wait } = options;
    const isOnce = also.length > 0;
    const placed = this.op.record(session, run, after, records, { isProgress, isOnce });
    return resultsOf(await this.store.commitAll([placed, ...also], wait))[0];
  }

  /**
   * Begins a held run anew: with another payload, an empty journal,
   * and those of its events that `renewal` names, numbered from 1. It stays held. For runs that go
   * on for ever: neither journal nor events grow without end.
   *
   * Errors: as `record`; `CONFLICT` also if its last record has another key. With a record behind
   * it in one group (see `op`) that has a key of its own, a repeat after an unknown outcome is
   * refused with `CONFLICT` if it held.
   */
  async restart(session: Session, run: Receipt, renewal: Renewal, wait?: Wait): Promise<RunState> {
    return (await this.#one(this.op.restart(session, run, renewal), wait)) as RunState;
  }

  /**
   * Ends the lease of a held run until `untilMs`, or until an event after `seen` comes; one that is
   * there already ends the waiting at once. Gives the state the run has now.
   *
   * Errors: as `Queue.settle`; sending it again after an unknown outcome is safe.
   */
  async suspend(
    session: Session,
    run: Receipt,
    suspension: Suspension,
    options: SuspendOptions = {},
  ): Promise<JobState> {
    checkOptions("options", options, ["also", "signal", "timeoutMs"]);
    const { also = [], ...wait } = options;
    const placed = this.op.suspend(session, run, suspension);
    return resultsOf(await this.store.commitAll([placed, ...also], wait))[0];
  }

  /**
   * Sends an event to a run that has not ended.
   *
   * Guarantee: once it resolves the event is kept until the run is gone, and wakes it if it is
   * suspended. Under an `id` it is sent once.
   * Errors: `NOT_FOUND` (no such run), `CONFLICT` (it has ended), `ALREADY_EXISTS` (the id is
   * another event's), `LIMITED` (10,000 events of the run are kept), `TOO_LARGE`.
   * On abort: see `Store.commit`; with an `id` sending again is safe.
   */
  async send(run: string, event: EventInput, wait?: Wait): Promise<Sent> {
    return (await this.#one(this.op.send(run, event), wait)) as Sent;
  }

  /**
   * A page of the journal and of the events of a run by its number, or null if there is no such
   * run (any more).
   */
  async journal(seq: number, options: JournalOptions = {}): Promise<Journal | null> {
    checkOptions("options", options, JOURNAL_KEYS);
    const { afterRecord = 0, afterEvent = 0, limit = LIMITS.pageRows, ...wait } = options;
    const read = {
      read: "runs.journal",
      partition: this.partition,
      queue: this.queue.name,
      seq: checkInteger("seq", seq),
      afterRecord: checkInteger("afterRecord", afterRecord),
      afterEvent: checkInteger("afterEvent", afterEvent),
      limit: checkInteger("limit", limit, 1, LIMITS.pageRows),
    } as const;
    const [page]: readonly [Journal | null] = await this.store.read([read], wait);
    return page;
  }

  /**
   * Calls `listen` when a held run may have got an event; a hint: it may come for nothing, or be
   * lost. Gives the way to stop.
   */
  onEvent(listen: () => void): () => void {
    checkFunction("listen", listen);
    return this.queue.onCancel(listen);
  }
}

/** Judged before it is used: a session that is over is told so at once. */
function idOf(session: Session): string {
  session.check();
  return session.id;
}
