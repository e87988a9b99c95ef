/** What a workflow's handler has of its run: steps, sleeps, events, children, patches. */
import type { RetryOptions } from "../../core/retry.ts";
import type { Definition } from "../../store/definition.ts";
import type { Attempt, StepWork } from "./attempts.ts";
import type { AnyDefinition, ChildOptions, ChildOutcome } from "./child.ts";
import type { SyncDatabase } from "./journal.ts";
import type { Undo } from "./step.ts";

export interface StepOptions<T> {
  /** Default: the workflow's. */
  readonly retry?: RetryOptions | undefined;
  /** One attempt. Integer milliseconds, at least 1; default: the workflow's `stepTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /**
   * Takes the step back when the run fails or is cancelled. It is noted before the step's first
   * attempt; it gets the step's value, or undefined where nobody knows what became of the step: it
   * must bear both, and being called again.
   */
  readonly undo?: Undo<T> | undefined;
  /** The same as `retry`, for `undo`. Default: the workflow's `undoRetry`. */
  readonly undoRetry?: RetryOptions | undefined;
}

/** What a handler returns to go on as a new run: see `Run.continueAs`. */
export class Continued<I = unknown> {
  readonly input: I;
  constructor(input: I) {
    this.input = input;
  }
}

/** `E`: what each event carries; `I`: what `start` takes. */
export interface Run<E, I = unknown> {
  readonly id: string;
  /** Fencing token: greater than that of everybody who held the run before. */
  readonly token: bigint;
  /** Aborts when the run has to stop: it is cancelled, has failed, or is lost. */
  readonly signal: AbortSignal;
  /**
   * Does `work` and records what it gave: from then on it is given from the record, and `work` is
   * not called again.
   *
   * Shape: `name` 1 to 200 characters, what it gives anything with a JSON form of at most 1 MiB. A
   * name that was used before counts on: "charge", "charge#2". Steps that run side by side need
   * names of their own.
   * Guarantee: recorded once; `work` runs at least once, and again where the process died before
   * the record, so let it use `attempt.id`. What it does to the same store it may do exactly once:
   * see `attempt.complete`. What it throws is tried again as `retry` says, but for
   * `permanent(error)`; the last failure is recorded, and thrown here as an `Error` of the same
   * name, message and code.
   * Errors: `NON_DETERMINISTIC` (the run's record says otherwise), `CLOSED` (the run stops), and
   * `INVALID_DATA` or `TOO_LARGE` for a value that can't be recorded, which fails the step.
   * Complexity: one record, two with `undo`; the same for the first and the ten-thousandth.
   */
  step<T>(name: string, work: StepWork<T>, options?: StepOptions<T>): Promise<T>;
  /**
   * A step that is one transaction on the caller's own better-sqlite3 connection to the store's
   * file: what `work` writes there and the step's record hold together, or neither does.
   *
   * Guarantee: exactly once. `work` is synchronous, and runs inside BEGIN IMMEDIATE and COMMIT;
   * what it throws rolls back, and is tried again as `retry` says.
   * Errors: `UNSUPPORTED` on other engines, `MISCONFIGURED` (another file, another copy of SQLite,
   * a transaction that is open), `TypeError` (`work` is asynchronous); as `step` besides.
   * Cost: a commit on this thread, which waits for the file's lock as long as the connection's
   * `timeout` says. Let the connection sync as the store does (better-sqlite3's default).
   */
  transaction<T>(
    name: string,
    database: SyncDatabase,
    work: (attempt: Attempt) => T,
    options?: StepOptions<T>,
  ): Promise<T>;
  /** Waits by the store's clock. The run holds no memory and no process meanwhile. */
  sleep(name: string, ms: number): Promise<void>;
  /**
   * The next event of that name that no other wait has taken, or `TIMEOUT` after `timeoutMs`
   * (default: it waits without end). The run holds no memory and no process meanwhile.
   */
  waitFor<K extends keyof E & string>(
    event: K,
    options?: { readonly timeoutMs?: number | undefined },
  ): Promise<E[K]>;
  /** As `waitFor`, but null after `timeoutMs`. */
  tryWaitFor<K extends keyof E & string>(
    event: K,
    options: { readonly timeoutMs: number },
  ): Promise<E[K] | null>;
  /**
   * True in a run that gets here for the first time with code that asks; false in one that passed
   * this place before the code asked. So changed code can go on with runs that live:
   * `if (await run.patched("vat")) ... else ...`.
   */
  patched(name: string): Promise<boolean>;
  /**
   * Starts a run of another workflow, and waits until it has ended: gives its output, or throws
   * `FAILED` (details: `workflow`, `run`, `status`, `error`). The run holds no memory and no
   * process meanwhile.
   *
   * Guarantee: started once, under a name made of this run's and the step's unless `options.id`
   * gives one. If this run fails or is cancelled first, the child is cancelled, takes back what it
   * did, and has ended before steps that came earlier are undone; see `onStop` and `undo`.
   * Errors: besides, what refuses a start (`INVALID_DATA`, `ALREADY_EXISTS` ...). A child that
   * needs attention has not ended: this run waits until somebody redrives it.
   */
  child<CI, O>(
    name: string,
    definition: AnyDefinition<CI, O>,
    input: CI,
    options?: ChildOptions<O>,
  ): Promise<O>;
  /** As `child`, but gives a failure as a value. */
  tryChild<CI, O>(
    name: string,
    definition: AnyDefinition<CI, O>,
    input: CI,
    options?: ChildOptions<O>,
  ): Promise<ChildOutcome<O>>;
  /** The handle of a definition on the run's store, as `hf.open` gives it. */
  open<H>(definition: Definition<H>): H;
  /**
   * Return it from the handler to go on as a new run of the same id with another input: the journal
   * is empty again, events that no wait has taken are kept, and what was done can't be undone any
   * more. For runs that would go on for ever. An input that its schema refuses fails the run.
   */
  continueAs(input: I): Continued<I>;
  /** Notes how far the run is, for people: any value with a JSON form of at most 16 KiB. */
  progress(value: unknown): void;
}
