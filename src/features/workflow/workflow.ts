/**
 * A workflow on one store: `hf.open(definition)`. Starts runs, sends them events, works on them.
 */
import type { Attributes } from "../../core/attributes.ts";
import { jsonCodec, validate, type Data, type Schema } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  checkFunction,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
} from "../../core/options.ts";
import { newId } from "../../core/random.ts";
import type { Wait } from "../../core/signal.ts";
import type { ListOptions } from "../../ports/queue/index.ts";
import { Runs } from "../../ports/runs/index.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import type { JobView, QueueEnqueue, RunsSend, Sent } from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import {
  JobQueue,
  type AddedJob,
  type HeldJob,
  type Job,
  type QueueStats,
  type Worker,
  type WorkOptions,
} from "../jobs/index.ts";
import { CANCEL_EVENT, type Execution } from "./execution.ts";
import { forkEvents, readWhole } from "./fork.ts";
import { historyOf, RunInfo, STATES, type HistoryEntry, type RunStatus } from "./info.ts";
import type { Continued, Run } from "./run.ts";
import type { WorkflowSettings } from "./settings.ts";
import { runStretch } from "./stretch.ts";

export interface StartOptions extends Wait {
  /**
   * The run's own name, 1 to 200 characters: starting it again with the same input changes nothing
   * as long as the run is kept; with another input it is refused with `ALREADY_EXISTS`. Default: a
   * new one.
   */
  readonly id?: string | undefined;
  /** Not before this many milliseconds, by the store's clock. Default 0. */
  readonly delayMs?: number | undefined;
  /** 0 to 100. Default 0. */
  readonly priority?: number | undefined;
  /** What `list` finds it by: up to 16 names with a text each, of 1 to 200 characters. */
  readonly attributes?: Attributes | undefined;
}

export interface SendOptions extends Wait {
  /** Sending again under this id changes nothing. 1 to 200 characters; default: none. */
  readonly id?: string | undefined;
}

const START_KEYS = ["id", "delayMs", "priority", "attributes"] as const;

/** A run that was started, or the one that was there. */
export interface StartedRun<O> {
  readonly id: string;
  readonly status: "added" | "exists";
  /** Waits for its result: see `Workflow.result`. */
  result(wait?: Wait): Promise<O>;
}

export interface RunList {
  readonly runs: readonly RunInfo[];
  /** Give it as `after` for the next page; null: this was the last. */
  readonly next: number | null;
}

/** A run's code: an ordinary async function. It runs from its beginning at each replay. */
export type RunHandler<P, R, E, I = unknown> = (
  input: P,
  run: Run<E, I>,
) => Promise<R | Continued<I>> | R | Continued<I>;

export interface ForkOptions extends Wait {
  /** The step that is done anew, and all that the run did after it began. */
  readonly from: string;
  /** The new run's own name. Default: a new one. */
  readonly id?: string | undefined;
}

/** Ops of this workflow for groups with other ops, of its partition. */
export interface WorkflowOps<I, E> {
  /**
   * The op that starts a run. Throws what `start` throws for wrong options and inputs, and
   * `UNSUPPORTED` if the schema is asynchronous.
   */
  start(input: I, options?: Omit<StartOptions, keyof Wait>): Placed<QueueEnqueue>;
  /** The op that sends an event; it refuses the group with what `send` throws. */
  send<K extends keyof E & string>(
    run: string,
    event: K,
    value: E[K],
    options?: Omit<SendOptions, keyof Wait>,
  ): Placed<RunsSend>;
}

/**
 * `I` is what `start` takes, `P` what the handler sees, `R` what it returns, `O` what the awaiting
 * side gets, `E` what each event carries.
 */
// oxlint-disable-next-line typescript/no-generated-empty-object-type -- no events: no names
export class Workflow<I, P = I, O = unknown, R = O, E = Record<never, never>> {
  readonly name: string;
  readonly op: WorkflowOps<I, E>;
  readonly #settings: WorkflowSettings;
  readonly #store: Store;
  readonly #jobs: JobQueue<I, P, O, R>;
  readonly #runs: Runs;

  constructor(store: Store, settings: WorkflowSettings) {
    this.name = settings.name;
    this.#settings = settings;
    this.#store = store;
    this.#jobs = new JobQueue<I, P, O, R>(store, settings.queue);
    this.#runs = new Runs(store, settings.name, { partition: settings.queue.partition });
    this.op = {
      start: (input, options) => {
        checkOptions("options", options, START_KEYS);
        return this.#jobs.op.add(input, options);
      },
      send: (run, event, value, options) => {
        checkOptions("options", options, ["id"]);
        const { id } = options ?? {};
        const checked = validate(this.#schema(event), value, this.#eventTitle(event));
        if (checked instanceof Promise) throw asynchronous(checked);
        return this.#runs.op.send(run, { event, data: jsonCodec.encode(value), id });
      },
    };
  }

  /**
   * Starts a run.
   *
   * Guarantee: once it resolves the run is never lost, to the degree that `store.durability()`
   * says, and goes on until it has ended or needs attention, whatever process dies. With an `id` it
   * is started once.
   * Errors: `INVALID_DATA` and `TOO_LARGE` (input), `ALREADY_EXISTS` (the `id` is a run's with
   * another input), `OVERLOADED`, `UNAVAILABLE`, `TIMEOUT`; `TypeError` and `RangeError`.
   * On abort: a start that has not left does not happen; else it may have.
   */
  async start(input: I, options?: StartOptions): Promise<StartedRun<O>> {
    checkOptions("options", options, [...START_KEYS, "signal", "timeoutMs"]);
    const added: AddedJob<O> = await this.#jobs.add(input, options);
    const { id, status } = added;
    const result = (wait?: Wait): Promise<O> => this.result(id, wait);
    return { id, status: status === "exists" ? "exists" : "added", result };
  }

  /**
   * Sends an event to a run. It is kept until the run takes it by `waitFor`, or is gone, so that it
   * may come before the run waits for it. Gives its number in the run.
   *
   * Errors: `INVALID_DATA` (the event's schema), `NOT_FOUND` (no such run), `CONFLICT` (it has
   * ended), `ALREADY_EXISTS` (another event under the `id`), `LIMITED` (10,000 events),
   * `TOO_LARGE`; `TypeError` for an event that the definition does not have.
   */
  async send<K extends keyof E & string>(
    run: string,
    event: K,
    value: E[K],
    options?: SendOptions,
  ): Promise<number> {
    checkOptions("options", options, ["id", "signal", "timeoutMs"]);
    await validate(this.#schema(event), value, this.#eventTitle(event));
    const { id, ...wait } = options ?? {};
    return (await this.#send(run, { event, value, id }, wait)).no;
  }

  #schema(event: string): Schema {
    const schema = this.#settings.events[event];
    if (schema !== undefined) return schema;
    const names = Object.keys(this.#settings.events).join(", ") || "none";
    throw new TypeError(expected("event", `an event of "${this.name}" (${names})`, event));
  }
  #eventTitle(event: string): string {
    return `the event "${event}" of workflow "${this.name}"`;
  }

  /**
   * Starts a run inside the caller's own synchronous SQLite transaction: it is there if and when
   * that commits. See `JobQueue.addIn` for what `tx` is, and for the errors.
   */
  startIn(tx: unknown, input: I, options?: Omit<StartOptions, keyof Wait>): StartedRun<O> {
    checkOptions("options", options, START_KEYS);
    const added = this.#jobs.addIn(tx, input, options);
    const result = (wait?: Wait): Promise<O> => added.result(wait);
    return { id: added.id, status: "added", result };
  }

  /**
   * Starts a new run with the input of another and all that it had on record before it came to a
   * step: from that step on everything is done anew, by today's code. The other run stays as it is:
   * what it undid is not done again, so fork from a step from which that is right.
   *
   * Errors: `NOT_FOUND` (the run, or a step that it did not come to), `ALREADY_EXISTS` (`id`),
   * `TOO_LARGE` (the run has more events than a group takes); as `start` besides. The run's journal
   * must be kept until the fork has been claimed once.
   */
  async fork(run: string, options: ForkOptions): Promise<StartedRun<O>> {
    checkOptions("options", options, ["from", "id", "signal", "timeoutMs"]);
    const { clock, random } = this.#store;
    const { from, id = newId(clock.wallMs(), random), ...wait } = options;
    checkText("from", from, LIMITS.nameChars);
    const { op } = this.#runs;
    const [job, taken] = await this.#runs.queue.get([run, id], wait);
    if (taken !== null) {
      const message = `Expected \`id\` to be new, found a run "${id}" of workflow "${this.name}"`;
      throw new HoldfastError("ALREADY_EXISTS", message, { details: { run: id } });
    }
    const whole = isThere(job) ? await readWhole(this.#runs, job.seq, wait) : null;
    if (!isThere(job) || whole === null) {
      const message = `Expected run "${run}" of workflow "${this.name}" to be there, found none`;
      throw new HoldfastError("NOT_FOUND", message, { details: { run } });
    }
    const { seq, payload, attributes } = job;
    const sends = forkEvents(whole, { seq, run }, from).map((event) => op.send(id, event));
    resultsOf(await this.#store.commitAll([op.start({ id, payload, attributes }), ...sends], wait));
    return { id, status: "added", result: (how?: Wait): Promise<O> => this.result(id, how) };
  }

  /**
   * Cancels a run, whatever it is doing: what is under way is aborted, nothing new begins, and the
   * steps that were begun are undone. True: it was asked (and may have ended in order meanwhile);
   * false: it has ended already. One that needs attention hears of it when it is redriven.
   *
   * Errors: `NOT_FOUND`. The cancel is durable, and reaches the run wherever it is held.
   */
  async cancel(
    run: string,
    options?: Wait & { readonly reason?: string | undefined },
  ): Promise<boolean> {
    checkOptions("options", options, ["reason", "signal", "timeoutMs"]);
    const { reason, ...wait } = options ?? {};
    if (reason !== undefined) checkText("reason", reason, LIMITS.errorChars);
    const value = reason ?? null;
    try {
      await this.#send(run, { event: CANCEL_EVENT, value, id: undefined }, wait);
      return true;
    } catch (error) {
      if (isHoldfastError(error, "CONFLICT")) return false;
      throw error;
    }
  }

  #send(
    run: string,
    { event, value, id }: { event: string; value: unknown; id: string | undefined },
    wait: Wait,
  ): Promise<Sent> {
    return this.#runs.send(run, { event, data: jsonCodec.encode(value), id }, wait);
  }

  /**
   * Works on the workflow's runs until the worker is closed. Any number of processes may.
   *
   * Guarantee: a run is held by one process at a time; what another still does after its lease was
   * lost changes nothing. A run whose process dies goes on elsewhere from its last record.
   * Errors: `TypeError` and `RangeError` for options, `CLOSED`.
   */
  work(handler: RunHandler<P, R, E, I>, options?: WorkOptions): Worker {
    checkFunction("handler", handler);
    const executions = new Set<Execution>();
    const encodeInput = (input: unknown): Data => this.#encodeInput(input as I);
    const shared = { runs: this.#runs, settings: this.#settings, executions, encodeInput };
    const worker = this.#jobs.work(
      // What it gives is a verdict, or nothing.
      ((input: P, job: Job) => {
        const held = job as HeldJob;
        return runStretch<E>({ ...shared, held, handler: (run) => handler(input, run as never) });
      }) as never,
      options,
    );
    const stop = this.#runs.onEvent(() => {
      for (const execution of executions) void execution.news();
    });
    worker.done.then(stop, stop);
    return worker;
  }

  /** Checked and encoded; a schema that is asynchronous is refused with `UNSUPPORTED`. */
  #encodeInput(input: I): Data {
    return this.#jobs.op.add(input).op.payload;
  }

  /**
   * The result of a run, once it has completed.
   *
   * Errors: `FAILED` (details: `status` "failed", "cancelled" or "attention", `error`, `undone`),
   * `NOT_FOUND` (there is none, or it is kept no longer), `TIMEOUT`, `CLOSED`; the signal's reason.
   * On abort: the run goes on.
   */
  async result(run: string, wait?: Wait): Promise<O> {
    try {
      return await this.#jobs.result(run, wait);
    } catch (error) {
      if (!isHoldfastError(error, "FAILED")) throw error;
      const info = await this.get(run, wait);
      if (info === null) throw error;
      const { status, undone } = info;
      const message = `Run "${run}" of workflow "${this.name}" ended as ${status}: ${info.error}`;
      const details = { workflow: this.name, run, status, error: info.error, undone };
      throw new HoldfastError("FAILED", message, { details, cause: error });
    }
  }

  /** The run, or null if it is not there (any more). */
  async get(run: string, wait?: Wait): Promise<RunInfo | null> {
    const job = await this.#jobs.get(run, wait);
    return job === null ? null : new RunInfo(job);
  }

  /**
   * A page of the runs of that status, in the order of their starting; of all, or of those that
   * `attributes`, `fromMs` and `beforeMs` (when they were started) and `idPrefix` mean. Complexity:
   * a look at each run of the status, up to about 10,000 for one page, which may so be short, or
   * empty, though `next` is there.
   */
  async list(status: RunStatus, options?: ListOptions): Promise<RunList> {
    checkOneOf("status", status, Object.keys(STATES) as RunStatus[]);
    const { jobs, next } = await this.#jobs.list(STATES[status], options);
    const runs = jobs.map((job) => new RunInfo(job));
    // Failed and cancelled runs are in one place.
    return { runs: runs.filter((run) => run.status === status), next };
  }

  /** What happened in the run, in the order of time; null if it is not there (any more). */
  async history(run: string, wait?: Wait): Promise<readonly HistoryEntry[] | null> {
    const info = await this.get(run, wait);
    if (info === null) return null;
    const whole = await readWhole(this.#runs, info.seq, wait);
    return whole === null ? null : historyOf(whole.records, whole.events);
  }

  /** Counts by state of the jobs that the runs are; see `list`. */
  stats(wait?: Wait): Promise<QueueStats> {
    return this.#jobs.stats(wait);
  }

  /**
   * Has runs that need attention go on: those of the ids (up to 1,000), or the oldest, up to `max`.
   * Gives how many.
   */
  redrive(
    options?: Wait & {
      readonly ids?: readonly string[] | undefined;
      readonly max?: number | undefined;
    },
  ): Promise<number> {
    return this.#jobs.redrive(options);
  }

  /** Stops claims in all processes until `resume()`; what is held goes on. */
  pause(wait?: Wait): Promise<void> {
    return this.#jobs.pause(wait);
  }
  resume(wait?: Wait): Promise<void> {
    return this.#jobs.resume(wait);
  }
}

function isThere(job: JobView | null | undefined): job is JobView {
  return job !== null && job !== undefined;
}

function asynchronous(checked: Promise<unknown>): HoldfastError {
  checked.catch(() => {});
  const message =
    "Expected a synchronous schema for `op.send`, got an asynchronous one: use `send`";
  return new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied" });
}
