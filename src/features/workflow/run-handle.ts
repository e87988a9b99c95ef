/** The run in the hands of its handler: what it asks becomes requests of its execution. */
import { validate } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { checkFunction, checkMs, checkOptions, checkText, expected } from "../../core/options.ts";
import { checkRetry, permanent } from "../../core/retry.ts";
import type { Definition } from "../../store/definition.ts";
import type { RunEvent, RunRecord } from "../../store/ops.ts";
import { Completed, type Attempt, type LiveAttempt, type StepWork } from "./attempts.ts";
import {
  CHILD_EVENT,
  checkChildOptions,
  childOutcome,
  shortId,
  startChild,
  stopChild,
  type AnyDefinition,
  type ChildEnd,
  type ChildOptions,
  type ChildOutcome,
  type ChildStart,
  type Parent,
} from "./child.ts";
import type { Execution, Request } from "./execution.ts";
import { isSpent } from "./fork.ts";
import type { SyncDatabase } from "./journal.ts";
import { decode, keyOf, StepError, type GotData, type StepData } from "./records.ts";
import { Continued, type Run, type StepOptions } from "./run.ts";
import type { WorkflowSettings } from "./settings.ts";
import { LiveStep, type Undo } from "./step.ts";
import type { Undos } from "./undo.ts";

export class RunHandle<E, I = unknown> implements Run<E, I> {
  readonly #execution: Execution;
  readonly #settings: WorkflowSettings;
  readonly #undos: Undos;
  readonly #uses = new Map<string, number>();
  /** What the code was told of patches: the same wherever it asks. */
  readonly #patches = new Map<string, boolean>();
  /** Numbers of events that waits have taken. */
  readonly #taken = new Set<number>();

  constructor(execution: Execution, settings: WorkflowSettings, undos: Undos) {
    this.#execution = execution;
    this.#settings = settings;
    this.#undos = undos;
  }

  get id(): string {
    return this.#execution.held.id;
  }
  get token(): bigint {
    return this.#execution.held.token;
  }
  get signal(): AbortSignal {
    return this.#execution.stopper.signal;
  }

  progress(value: unknown): void {
    this.#execution.held.progress(value);
  }

  step<T>(name: string, work: StepWork<T>, options?: StepOptions<T>): Promise<T> {
    checkFunction("work", work);
    checkOptions("options", options, ["retry", "timeoutMs", "undo", "undoRetry"]);
    return this.#step(this.#name("step", name), work, options);
  }

  #step<T>(unique: string, work: StepWork<T>, options: StepOptions<T> = {}): Promise<T> {
    const { retry, timeoutMs, undo, undoRetry } = options;
    const settings = this.#settings;
    const step = {
      name: unique,
      work,
      retry: retry === undefined ? settings.retry : checkRetry(retry),
      timeoutMs:
        timeoutMs === undefined ? settings.stepTimeoutMs : checkMs("timeoutMs", timeoutMs, 1),
      hasUndo: undo !== undefined,
    };
    if (undo !== undefined) {
      checkFunction("undo", undo);
      const policy =
        undoRetry === undefined ? settings.undoRetry : checkRetry(undoRetry, "undoRetry");
      this.#undos.add(unique, {
        undo: undo as Undo<unknown>,
        retry: policy,
        timeoutMs: step.timeoutMs,
      });
    }
    return this.#ask<T>(
      keyOf("step", unique),
      (request) => new LiveStep(this.#execution, request, step).start(),
      (record) => {
        const data = decode<StepData>(record);
        if ("e" in data) throw new StepError(unique, data.e);
        return data.v as T;
      },
    );
  }

  sleep(name: string, ms: number): Promise<void> {
    checkMs("ms", ms);
    const unique = this.#name("sleep", name);
    const mark = keyOf("sleep", unique);
    const start = (request: Request): void => {
      void this.#waitUntil(request, mark, ms, (nowMs, dueMs) =>
        nowMs >= dueMs ? null : undefined,
      );
    };
    return this.#ask(keyOf("woke", unique), start, () => {});
  }

  async waitFor<K extends keyof E & string>(
    event: K,
    options?: { readonly timeoutMs?: number | undefined },
  ): Promise<E[K]> {
    checkOptions("options", options, ["timeoutMs"]);
    const { timeoutMs } = options ?? {};
    const got = await this.#event(event, timeoutMs);
    if (got !== null) return got.value as E[K];
    const message = `Run "${this.id}" waited ${timeoutMs} ms for the event "${event}", and it did not come`;
    throw new HoldfastError("TIMEOUT", message, { details: { run: this.id, event } });
  }

  async tryWaitFor<K extends keyof E & string>(
    event: K,
    options: { readonly timeoutMs: number },
  ): Promise<E[K] | null> {
    checkOptions("options", options, ["timeoutMs"]);
    const got = await this.#event(event, checkMs("timeoutMs", options?.timeoutMs));
    return got === null ? null : (got.value as E[K]);
  }

  async patched(name: string): Promise<boolean> {
    const key = keyOf("patch", checkText("name", name, 200));
    const execution = this.#execution;
    const before = this.#patches.get(key);
    if (before !== undefined) return before;
    // A run that was here before the code asked has more on record already.
    const isNew = execution.journal.count(key) > 0 || execution.isAtEnd;
    this.#patches.set(key, isNew);
    if (!isNew) return false;
    return this.#ask(
      key,
      () => execution.note(key, true),
      () => true,
    );
  }

  transaction<T>(
    name: string,
    database: SyncDatabase,
    work: (attempt: Attempt) => T,
    options?: StepOptions<T>,
  ): Promise<T> {
    checkFunction("work", work);
    const unique = this.#name("step", name);
    const execution = this.#execution;
    const attempt = async (step: Attempt): Promise<Completed<T>> => {
      let value: T | undefined;
      const done = execution.transact(keyOf("step", unique), database, () => {
        // It may be over by the time that its turn comes.
        step.signal.throwIfAborted();
        return (value = synchronous(name, work(step)));
      });
      (step as LiveAttempt).completesWith(done);
      await done;
      return new Completed<T>(value as T, []);
    };
    return this.#step<T>(unique, attempt, options);
  }

  async child<CI, O>(
    name: string,
    definition: AnyDefinition<CI, O>,
    input: CI,
    options?: ChildOptions<O>,
  ): Promise<O> {
    const outcome = await this.tryChild(name, definition, input, options);
    if (outcome.ok) return outcome.value;
    const { id, status, error } = outcome;
    const message = `Child run "${id}" of workflow "${definition.name}" ended as ${status}: ${error.message}`;
    const details = { workflow: definition.name, run: id, status, error: error.message };
    throw new HoldfastError("FAILED", message, { details });
  }

  async tryChild<CI, O>(
    name: string,
    definition: AnyDefinition<CI, O>,
    input: CI,
    options: ChildOptions<O> = {},
  ): Promise<ChildOutcome<O>> {
    checkChildOptions(options);
    const unique = this.#name("step", name);
    const { id, end } = await this.#child(definition, unique, input, options);
    if (end !== undefined) return childOutcome(definition, end);
    const isMeant = ({ event, data }: RunEvent): boolean =>
      event === CHILD_EVENT && decode<ChildEnd>({ key: event, data }).id === id;
    const sent = await this.#take(`${CHILD_EVENT} ${unique}`, isMeant, undefined);
    const { data } = sent as RunEvent;
    return childOutcome(definition, decode<ChildEnd>({ key: CHILD_EVENT, data }));
  }

  open<H>(definition: Definition<H>): H {
    return this.#execution.store.handle(definition);
  }

  continueAs(input: I): Continued<I> {
    return new Continued(input);
  }

  // ---------------------------------------------------------------- parts

  async #event(event: string, timeoutMs: number | undefined): Promise<{ value: unknown } | null> {
    const schema = this.#settings.events[event];
    if (schema === undefined) {
      const names = Object.keys(this.#settings.events).join(", ") || "none";
      throw new TypeError(expected("event", `an event of the definition (${names})`, event));
    }
    if (timeoutMs !== undefined) checkMs("timeoutMs", timeoutMs);
    const unique = this.#name("got", event);
    const sent = await this.#take(unique, (each) => each.event === event, timeoutMs);
    if (sent === null) return null;
    const value = decode({ key: event, data: sent.data });
    return { value: await validate(schema, value, `the event "${event}" of run "${this.id}"`) };
  }

  /** The first event that is meant and that no other wait has taken; null after the time-out. */
  async #take(
    unique: string,
    isMeant: (event: RunEvent) => boolean,
    timeoutMs: number | undefined,
  ): Promise<RunEvent | null> {
    const { journal } = this.#execution;
    const start = (request: Request): void => {
      void this.#waitUntil(request, keyOf("wait", unique), timeoutMs, (nowMs, dueMs) => {
        const found = journal.events.find((each) => isMeant(each) && !this.#taken.has(each.no));
        if (found !== undefined && found.atMs <= dueMs) {
          this.#taken.add(found.no);
          return { n: found.no } satisfies GotData;
        }
        // One that is known to be there, and not read yet, may have come in time.
        const isLate = nowMs >= dueMs && !journal.isBehind;
        return isLate ? ({ t: true } satisfies GotData) : undefined;
      });
    };
    const got = await this.#ask<GotData>(keyOf("got", unique), start, (record) => {
      const data = decode<GotData>(record);
      if ("n" in data) this.#taken.add(data.n);
      return data;
    });
    if ("t" in got) return null;
    const sent = journal.events[got.n - 1];
    if (sent !== undefined) return sent;
    throw new HoldfastError("CORRUPT", `Event ${got.n} of run "${this.id}" is not there`);
  }

  /** Numbers of the events that nothing has taken yet and something may, in their order. */
  untaken(): readonly number[] {
    const { events } = this.#execution.journal;
    const kept = events.filter(({ no, event }) => !this.#taken.has(no) && !isSpent(event));
    return kept.map(({ no }) => no);
  }

  #child<CI, O>(
    definition: AnyDefinition<CI, O>,
    unique: string,
    input: CI,
    options: ChildOptions<O>,
  ): Promise<ChildStart> {
    const execution = this.#execution;
    const { store, held } = execution;
    const { name: workflow, queue } = this.#settings;
    const id = options.id ?? shortId(execution.childId(unique));
    const { retry, undoRetry } = options;
    const parent: Parent = { store, held, workflow, partition: queue.partition };
    return this.#step(unique, () => startChild(parent, definition, id, input), {
      ...{ retry, undoRetry },
      undo: (_, attempt) => stopChild(store, definition, id, options, attempt),
    });
  }

  /**
   * Waits until `over` gives an outcome to record; `mark` keeps the instant of the time-out, from
   * the first time that the run gets here.
   */
  async #waitUntil(
    request: Request,
    mark: string,
    delayMs: number | undefined,
    over: (nowMs: number, dueMs: number) => unknown,
  ): Promise<void> {
    const execution = this.#execution;
    const { journal } = execution;
    let dueMs: number | null = null;
    if (delayMs !== undefined) {
      execution.begin();
      try {
        if (journal.count(mark) === 0) await execution.record(mark, null, delayMs);
        dueMs = journal.find(mark)?.dueMs ?? null;
      } catch {
        // The stretch is over: `record` has said so.
        return;
      } finally {
        execution.end();
      }
    }
    const check = (): boolean => {
      const outcome = over(journal.nowMs, dueMs ?? Infinity);
      if (outcome === undefined) return false;
      execution.note(request.key, outcome);
      return true;
    };
    execution.wait({ request, dueMs, check });
  }

  /** The name with its count, if it was used before. */
  #name(kind: "step" | "sleep" | "got", name: string): string {
    checkText("name", name, 190);
    if (COUNTED.test(name)) {
      throw new RangeError(expected("name", "a name that does not end in # and a number", name));
    }
    const place = `${kind}:${name}`;
    const uses = (this.#uses.get(place) ?? 0) + 1;
    const before = uses === 1 ? undefined : numbered(name, uses - 1);
    const outcome = kind === "sleep" ? "woke" : kind;
    if (
      kind !== "got" &&
      before !== undefined &&
      this.#execution.isRequested(keyOf(outcome, before))
    ) {
      throw new TypeError(
        `Expected each ${kind} that is under way to have a name of its own, got "${name}" twice: which is which could not be told from the record`,
      );
    }
    this.#uses.set(place, uses);
    return numbered(name, uses);
  }

  #ask<T>(
    key: string,
    start: (request: Request) => void,
    read: (record: RunRecord) => T,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const request: Request = {
        key,
        start: () => start(request),
        settle: (record) => {
          try {
            resolve(read(record));
          } catch (error) {
            reject(error);
          }
        },
        reject,
      };
      this.#execution.request(request);
    });
  }
}

/** Names that are used again are counted so. */
const COUNTED = /#\d+$/;

function synchronous<T>(name: string, value: T): T {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== "function") return value;
  Promise.resolve(value).catch(() => {});
  throw permanent(
    new TypeError(
      `Expected the work of transaction "${name}" to be synchronous, got a promise: what it awaits would hold the file's write lock. Do that in a step before`,
    ),
  );
}

function numbered(name: string, uses: number): string {
  return uses === 1 ? name : `${name}#${uses}`;
}
