/**
 * A job in the hands of a handler.
 *
 *   waiting ──start──► running ──abort──► ending
 *      │                  │                 │
 *      └──────────────────┴───── end ───────┴────► over
 *
 * waiting  Claimed ahead; its handler has not begun. It may be given back at once.
 * running  Its handler runs.
 * ending   Its signal was aborted (timeout, cancel, drain); the handler has `graceMs` to stop.
 * over     Settled, given back or lost: nothing that its handler still does reaches the store. One
 *          that goes on after its own completion is still asked to stop, and given up, in its time.
 */
import { jsonCodec, dataBytes, type Data } from "../../core/codec.ts";
import { HoldfastError, LeaseLostError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Committed, OpsOf, Placed } from "../../store/group.ts";
import type { ClaimedJob, JobState, QueueSettle, Refusal } from "../../store/ops.ts";
import type { Session } from "../../store/session.ts";
import { refusalError } from "../../store/group.ts";

type ResultsOf<P extends readonly Placed[]> = Extract<
  Committed<OpsOf<P>>,
  { readonly ok: true }
>["results"];

/** A completion that holds. A handler may return it in place of an output. */
export class Completion<P extends readonly Placed[] = readonly Placed[]> {
  readonly ok = true as const;
  /**
   * What the ops gave, in their order; null if the store's answer was lost on the way (the
   * completion holds nevertheless).
   */
  readonly results: ResultsOf<P> | null;

  constructor(results: ResultsOf<P> | null) {
    this.results = results;
  }
}

/** A completion that one of its ops refused: nothing was written, the job is still held. */
export interface Refused {
  readonly ok: false;
  /** `index` counts the ops given; see `Refusal`. */
  readonly refusal: Refusal;
}

/** What a handler knows of its job, and may do with it. `R` is what completing it takes. */
export interface Job<R = unknown> {
  /** The same at each attempt: the idempotency key for what lies outside the store. */
  readonly id: string;
  readonly key: string | undefined;
  readonly priority: number;
  /** Failed attempts + 1. */
  readonly attempt: number;
  /** Failed attempts + lost leases + 1. */
  readonly delivery: number;
  /**
   * Fencing token: greater than that of every earlier delivery of this job. Give it to resources
   * that check it.
   */
  readonly token: bigint;
  /** How long it waited since it could first have run, by the store's clock. */
  readonly waitedMs: number;
  /**
   * Aborts when the job must stop: `TIMEOUT`, cancelled (`CLOSED` with `details.why` "cancelled"),
   * the end of a drain (`CLOSED`, "drain"), or `LEASE_LOST` or `FENCED`, after which nothing it
   * does reaches the store. A timeout and a drain abort it after `complete`, too. Made when it is
   * first read.
   */
  readonly signal: AbortSignal;
  /**
   * Notes how far the job is: any value with a JSON form of at most 16 KiB. The newest value is
   * written in the background; values in between may merge, and one that fails is told to
   * `observe` ("trouble") and not tried again. Throws `INVALID_DATA` or `TOO_LARGE`.
   */
  progress(value: unknown): void;
  /**
   * Completes the job in one group with the ops: all of it holds, or nothing does. The handler's
   * return value is ignored afterwards. Throws what refused it (`LIMITED`, `CONFLICT` ...) with the
   * job still held, `LEASE_LOST` or `FENCED` if it is not held any more, and `UNSUPPORTED` for ops
   * of another partition.
   */
  complete<const P extends readonly Placed[] = readonly []>(
    output: R,
    ops?: P,
  ): Promise<Completion<P>>;
  /**
   * As `complete`, but gives a refusal of one of the ops as a value, so that the handler may decide
   * otherwise and try again.
   */
  tryComplete<const P extends readonly Placed[] = readonly []>(
    output: R,
    ops?: P,
  ): Promise<Completion<P> | Refused>;
}

export type Stage = "waiting" | "running" | "ending" | "over";
/** Why a job has to stop. */
export type StopCause = "timeout" | "cancel" | "drain" | "lost";

/** How a completion by the handler ended. */
export type CompleteOutcome =
  | { readonly kind: "applied"; readonly results: readonly unknown[] | null }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** The lease is gone. */
  | { readonly kind: "lost"; readonly error: HoldfastError };

/** What became of a settle. */
export type Settled =
  | { readonly kind: "applied"; readonly state: JobState }
  | { readonly kind: "lost"; readonly error: HoldfastError }
  /** The store can't take it; the lease ends with the session. */
  | { readonly kind: "failed"; readonly error: unknown };

/** The worker of a held job: what the job needs of it, and what the leases tell it. */
export interface Holder {
  onSettled(held: HeldJob, settled: Settled, failure: unknown): void;
  /** The job's deadline has passed. */
  onDue(held: HeldJob, nowMs: number): void;
  /** Its cancel was asked. */
  onCancel(held: HeldJob): void;
  /** The session is over: the job is somebody else's. */
  onLost(held: HeldJob, error: HoldfastError): void;
  /** The result as it will be stored; may throw or reject. */
  storeOutput(output: unknown): Data | null | Promise<Data | null>;
  /** Settles together with the ops, until the outcome is known. */
  settleWith(held: HeldJob, settle: QueueSettle, ops: readonly Placed[]): Promise<CompleteOutcome>;
  writeProgress(held: HeldJob, value: Data): Promise<void>;
}

/** One call of a handler: a slot of the worker's concurrency. */
export class Call {
  readonly jobs: readonly HeldJob[];
  isOver = false;
  /** Set by the runner: told when a job of it must stop for a reason that holds for all. */
  onStop: ((reason: unknown) => void) | undefined = undefined;

  constructor(jobs: readonly HeldJob[]) {
    this.jobs = jobs;
  }
}

const COMPLETING = "A completion of the job is under way or was applied already";

export class HeldJob implements Job {
  readonly claimed: ClaimedJob;
  readonly session: Session;
  readonly queue: string;
  readonly worker: Holder;
  stage: Stage = "waiting";
  cause: StopCause | undefined;
  reason: unknown;
  /**
   * When the sweep looks at it: the end of its timeout, of its grace, or of its waiting. Monotonic.
   */
  deadlineMs: number = Infinity;
  startedMs = 0;
  call: Call | undefined;
  /** The store has answered its settle, or it was lost. */
  isAnswered = false;
  /** Its handler has let go, or was given up. */
  hasEnded = false;
  /** Its handler did not stop in time: what it does from now on is its own affair. */
  isGivenUp = false;
  /**
   * A completion under way. While there is one, nothing else settles the job: see
   * `Loop.settleWith`.
   */
  completing: Promise<CompleteOutcome> | undefined;
  #controller: AbortController | undefined;
  #progress: Data | undefined;
  #isWritingProgress = false;

  constructor(queue: string, claimed: ClaimedJob, session: Session, worker: Holder) {
    this.queue = queue;
    this.claimed = claimed;
    this.session = session;
    this.worker = worker;
  }

  get id(): string {
    return this.claimed.id;
  }
  get key(): string | undefined {
    return this.claimed.key ?? undefined;
  }
  get priority(): number {
    return this.claimed.priority;
  }
  get attempt(): number {
    return this.claimed.attempt;
  }
  get delivery(): number {
    return this.claimed.delivery;
  }
  get token(): bigint {
    return BigInt(this.claimed.token);
  }
  get waitedMs(): number {
    return this.claimed.waitedMs;
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.cause !== undefined) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  /** Asks the handler to stop; the first cause stands, but a lost lease overrides every other. */
  stop(cause: StopCause, reason: unknown): void {
    if (this.cause === undefined || cause === "lost") {
      this.cause = cause;
      this.reason = reason;
    }
    if (this.stage === "running") this.stage = "ending";
    this.#controller?.abort(reason);
    if (cause !== "cancel") this.call?.onStop?.(reason);
  }

  /** The op that ends the lease. */
  settlement(outcome: QueueSettle["outcome"]): QueueSettle {
    return {
      op: "queue.settle",
      queue: this.queue,
      session: this.session.id,
      seq: this.claimed.seq,
      token: this.claimed.token,
      outcome,
      result: null,
      error: null,
      delayMs: 0,
      holdsKey: true,
    };
  }

  progress(value: unknown): void {
    const data = jsonCodec.encode(value);
    const bytes = dataBytes(data);
    if (bytes > LIMITS.progressBytes) {
      const message = `Expected progress of at most ${LIMITS.progressBytes} bytes, got ${bytes}: keep the bulk elsewhere and pass a reference`;
      const details = { limit: LIMITS.progressBytes, got: bytes };
      throw new HoldfastError("TOO_LARGE", message, { outcome: "not-applied", details });
    }
    if (this.stage === "over") return;
    this.#progress = data;
    if (!this.#isWritingProgress) void this.#writeProgress();
  }

  async #writeProgress(): Promise<void> {
    this.#isWritingProgress = true;
    while (this.#progress !== undefined && this.stage !== "over") {
      const data = this.#progress;
      this.#progress = undefined;
      await this.worker.writeProgress(this, data);
    }
    this.#isWritingProgress = false;
  }

  async complete<const P extends readonly Placed[] = readonly []>(
    output: unknown,
    ops?: P,
  ): Promise<Completion<P>> {
    const done = await this.tryComplete(output, ops);
    if (!done.ok) throw refusalError(done.refusal);
    return done;
  }

  async tryComplete<const P extends readonly Placed[] = readonly []>(
    output: unknown,
    ops?: P,
  ): Promise<Completion<P> | Refused> {
    this.#checkHeld();
    if (this.completing !== undefined) throw this.#closed(COMPLETING);
    const completing = this.#complete(output, ops ?? []);
    this.completing = completing;
    const outcome = await completing.finally(() => {
      this.completing = undefined;
    });
    if (outcome.kind === "lost") throw outcome.error;
    if (outcome.kind === "refused") return { ok: false, refusal: outcome.refusal };
    return new Completion(outcome.results as ResultsOf<P> | null);
  }

  async #complete(output: unknown, ops: readonly Placed[]): Promise<CompleteOutcome> {
    const result = await this.worker.storeOutput(output);
    this.#checkHeld();
    const settle = { ...this.settlement("completed"), result };
    return this.worker.settleWith(this, settle, ops);
  }

  #checkHeld(): void {
    if (this.cause === "lost") {
      const message = `Job "${this.id}" is not held any more: stop working on it`;
      throw new LeaseLostError(message, { cause: this.reason });
    }
    if (this.stage === "over") throw this.#closed("The job was settled already");
    if (this.isGivenUp) throw this.#closed("The handler did not stop in time and was given up");
  }

  #closed(why: string): HoldfastError {
    const details = { queue: this.queue, id: this.id };
    return new HoldfastError("CLOSED", `${why} (job "${this.id}")`, {
      outcome: "not-applied",
      details,
    });
  }
}

/** The reason that a job's signal carries. */
export function stopReason(
  cause: Exclude<StopCause, "lost">,
  id: string,
  timeoutMs: number,
): HoldfastError {
  if (cause === "timeout") {
    const message = `Job "${id}" ran longer than timeoutMs ${timeoutMs}`;
    return new HoldfastError("TIMEOUT", message, { retryable: true, details: { id, why: cause } });
  }
  const why = cause === "cancel" ? "cancelled" : "drain";
  const message =
    cause === "cancel"
      ? `Job "${id}" was cancelled: stop working on it`
      : `The worker of job "${id}" stops and its drainMs are over: the job goes to another worker`;
  return new HoldfastError("CLOSED", message, { details: { id, why } });
}
