/** A workflow on one store: `hf.open(definition)`. Starts runs, sends them events, works on them. */
import { jsonCodec, validate } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../../core/errors.ts";
import { checkFunction, checkOptions, checkText, expected } from "../../core/options.ts";
import type { Wait } from "../../core/signal.ts";
import { LIMITS } from "../../core/limits.ts";
import { Runs, type Journal as JournalPage } from "../../ports/runs/index.ts";
import type { JobState, RunEvent, RunRecord, Sent } from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import {
  JobQueue,
  Verdict,
  type AddedJob,
  type HeldJob,
  type Job,
  type QueueStats,
  type Worker,
  type WorkOptions,
} from "../jobs/index.ts";
import { CANCEL_EVENT, Execution } from "./execution.ts";
import { historyOf, RunInfo, type HistoryEntry } from "./info.ts";
import { Journal } from "./journal.ts";
import { RunHandle, type Run } from "./run.ts";
import type { WorkflowSettings } from "./settings.ts";
import { Undos } from "./undo.ts";

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
}

export interface SendOptions extends Wait {
  /** Sending again under this id changes nothing. 1 to 200 characters; default: none. */
  readonly id?: string | undefined;
}

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
export type RunHandler<P, R, E> = (input: P, run: Run<E>) => Promise<R> | R;

/**
 * `I` is what `start` takes, `P` what the handler sees, `R` what it returns, `O` what the awaiting
 * side gets, `E` what each event carries.
 */
export class Workflow<I, P = I, O = unknown, R = O, E = Record<never, never>> {
  readonly name: string;
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
    checkOptions("options", options, ["id", "delayMs", "priority", "signal", "timeoutMs"]);
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
    const schema = this.#settings.events[event];
    if (schema === undefined) {
      const names = Object.keys(this.#settings.events).join(", ") || "none";
      throw new TypeError(expected("event", `an event of "${this.name}" (${names})`, event));
    }
    await validate(schema, value, `the event "${event}" of workflow "${this.name}"`);
    const { id, ...wait } = options ?? {};
    return (await this.#send(run, { event, value, id }, wait)).no;
  }

  /**
   * Cancels a run, whatever it is doing: what is under way is aborted, nothing new begins, and the
   * steps that were begun are undone. True: it was asked (and may have ended in order meanwhile);
   * false: it has ended already.
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
  work(handler: RunHandler<P, R, E>, options?: WorkOptions): Worker {
    checkFunction("handler", handler);
    const executions = new Set<Execution>();
    const worker = this.#jobs.work(
      // What it gives is a verdict, or nothing.
      ((input: P, job: Job) => {
        return this.#stretch(input, job as HeldJob, handler, executions);
      }) as never,
      options,
    );
    const stop = this.#runs.onEvent(() => {
      for (const execution of executions) void execution.news();
    });
    worker.done.then(stop, stop);
    return worker;
  }

  async #stretch(
    input: P,
    held: HeldJob,
    handler: RunHandler<P, R, E>,
    executions: Set<Execution>,
  ): Promise<Verdict> {
    const journal = new Journal(this.#runs, held);
    await journal.load();
    const execution = new Execution(this.#store, held, journal);
    const undos = new Undos();
    const run = new RunHandle<E>(execution, this.#settings, undos);
    executions.add(execution);
    try {
      const ended = await execution.run(async () => handler(input, run));
      if (ended instanceof Verdict) return ended;
      if (execution.stop === undefined && "value" in ended) {
        try {
          const result = await held.worker.storeOutput(ended.value);
          return new Verdict({ outcome: "completed", result });
        } catch (error) {
          // What it did is undone: nobody would see what came of it.
          execution.fail(error);
        }
      }
      return await undos.run(execution);
    } finally {
      executions.delete(execution);
    }
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
   * A page of the runs that are where jobs in that state are: `cancelled` holds failed and
   * cancelled runs, `dead` those that need attention.
   */
  async list(
    state: JobState,
    options?: Wait & { readonly after?: number | undefined; readonly limit?: number | undefined },
  ): Promise<RunList> {
    const { jobs, next } = await this.#jobs.list(state, options);
    return { runs: jobs.map((job) => new RunInfo(job)), next };
  }

  /** What happened in the run, in the order of time; null if it is not there (any more). */
  async history(run: string, wait?: Wait): Promise<readonly HistoryEntry[] | null> {
    const info = await this.get(run, wait);
    if (info === null) return null;
    const records: RunRecord[] = [];
    const events: RunEvent[] = [];
    for (let hasMore = true; hasMore;) {
      const place = { afterRecord: records.length, afterEvent: events.length };
      const page: JournalPage | null = await this.#runs.journal(info.seq, { ...place, ...wait });
      if (page === null) return null;
      records.push(...page.records);
      events.push(...page.events);
      ({ hasMore } = page);
    }
    return historyOf(records, events);
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
