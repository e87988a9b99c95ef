/**
 * The loop of one worker: claim up to what is free and a bounded number ahead, start, settle, claim
 * again.
 *
 * At most one claim is under way. It leaves in the same turn as the settles of the jobs that made
 * room for it, and so travels in the same commit. When a claim brought less than it asked for, the
 * loop sleeps until a hint says that jobs became ready, the store's `nextMs` has passed, or the
 * slow poll comes (1 to 1.5 s): hints may be lost and cost time then, never jobs.
 *
 * What it holds lives in `Leases`, which calls back here (`Holder`); what runs handlers is the
 * `Runner`.
 */
import type { Timer } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { deferred } from "../../core/signal.ts";
import { isTracing } from "../../core/telemetry.ts";
import type { Queue } from "../../ports/queue/index.ts";
import { refusalError, type Placed } from "../../store/group.ts";
import type { ClaimedJob, QueueSettle } from "../../store/ops.ts";
import type { Session } from "../../store/session.ts";
import {
  Call,
  HeldJob,
  stopReason,
  type CompleteOutcome,
  type Holder,
  type Settled,
} from "./job.ts";
import type { Leases } from "./leases.ts";
import { LoopDelay } from "./overload.ts";
import { claimRetryMs, idleMs, isFatal, jobsToClaim, PACE, StartRate } from "./pace.ts";
import { storeOutput } from "./payload.ts";
import { endingOf, endingOfFailure, endingOfReturn } from "./outcome.ts";
import type { Ending, Verdict } from "./outcome.ts";
import { ReadyList } from "./ready.ts";
import type { Rules } from "./rules.ts";
import type { QueueSettings } from "./settings.ts";
import type { Tally } from "./tally.ts";

/** Starts handlers. */
export interface Runner {
  /** Jobs that one call of the handler takes. */
  readonly batch: number;
  /**
   * Starts one call. Calls `Loop.completed` or `Loop.failed` for each job, and `Loop.ended` when
   * the handler has let go.
   */
  start(call: Call, loop: Loop): void;
}

export interface LoopOptions {
  /** Calls of the handler at once. */
  readonly concurrency: number;
  /** Jobs that may be claimed ahead, at most. */
  readonly prefetch: number;
  readonly maxLoopDelayMs: number | null;
}

export class Loop implements Holder {
  readonly queue: Queue;
  readonly settings: QueueSettings;
  /** True while a tracer records; looked up once a claim. */
  isTracing = false;
  readonly #leases: Leases;
  readonly #rules: Rules;
  readonly #runner: Runner;
  readonly #tally: Tally;
  readonly #options: LoopOptions;
  readonly #delay: LoopDelay;
  readonly #stops: (() => void)[] = [];
  readonly #onFatal: (error: unknown) => void;

  /** Claimed and not started. */
  readonly #ready = new ReadyList();
  #calls = 0;
  #unsettled = 0;
  #isStopping = false;
  #isPaused = false;
  #isClaiming = false;
  #isFilling = false;
  /** What a handler gets to stop; less once the worker drains. */
  #graceMs: number;
  #isPumpDue = false;
  /** True: another claim may bring jobs. */
  #mayHaveMore = true;
  #hints = 0;
  #troubles = 0;
  #answeredAtMs: number | undefined;
  #wake: Timer | undefined;
  readonly #rate: StartRate;
  #idle: (() => void)[] = [];

  constructor(
    queue: Queue,
    parts: {
      readonly settings: QueueSettings;
      readonly leases: Leases;
      readonly rules: Rules;
      readonly runner: Runner;
      readonly tally: Tally;
      readonly onFatal: (error: unknown) => void;
    },
    options: LoopOptions,
  ) {
    this.queue = queue;
    this.settings = parts.settings;
    this.#graceMs = parts.settings.graceMs;
    this.#leases = parts.leases;
    this.#rules = parts.rules;
    this.#runner = parts.runner;
    this.#tally = parts.tally;
    this.#onFatal = parts.onFatal;
    this.#options = options;
    this.#rate = new StartRate(queue.store.clock.monotonicMs());
    this.#stops.push(
      queue.onReady(() => this.#hint()),
      this.#leases.join(),
    );
    this.#delay = new LoopDelay(queue.store.clock, options.maxLoopDelayMs, (isOver, delayMs) => {
      this.#tally.overload(isOver, delayMs);
      if (!isOver) this.#pump();
    });
    this.#pump();
  }

  get running(): number {
    return this.#calls;
  }
  get ready(): number {
    return this.#ready.size;
  }
  get unsettled(): number {
    return this.#unsettled;
  }
  get sinceClaimMs(): number | null {
    if (this.#answeredAtMs === undefined) return null;
    return Math.floor(this.queue.store.clock.monotonicMs() - this.#answeredAtMs);
  }
  get loopDelayMs(): number {
    return this.#delay.delayMs;
  }
  get isOverloaded(): boolean {
    return this.#delay.isOverloaded;
  }
  get isPaused(): boolean {
    return this.#isPaused;
  }

  // -------------------------------------------------------------- claiming

  #hint(): void {
    this.#hints++;
    this.#mayHaveMore = true;
    this.#pump();
  }

  /**
   * Decides at the end of this turn: handlers that end together make room for one claim, behind
   * their settles.
   */
  #pump(): void {
    if (this.#isPumpDue || this.#isClaiming || this.#isStopping) return;
    this.#isPumpDue = true;
    queueMicrotask(() => {
      this.#isPumpDue = false;
      this.#claimIfDue();
    });
  }

  #claimIfDue(): void {
    if (this.#isClaiming || this.#isStopping || this.#isPaused || !this.#mayHaveMore) return;
    const { concurrency, prefetch } = this.#options;
    const { batch } = this.#runner;
    const max = jobsToClaim({
      free: (concurrency - this.#calls) * batch,
      ready: this.ready,
      prefetch: this.#rate.prefetch(this.queue.store.clock.monotonicMs(), prefetch),
      unsettled: this.#unsettled,
      concurrency: concurrency * batch,
    });
    // When the delay is over, the measuring pumps again.
    if (max === 0 || this.#delay.isOverloaded) return;
    this.#isClaiming = true;
    this.#wake?.cancel();
    this.#wake = undefined;
    void this.#claim(max);
  }

  async #claim(max: number): Promise<void> {
    const hints = this.#hints;
    let nextMs: number | null = null;
    try {
      const answer = await this.#leases.claim(max, this.#rules);
      if (!answer.ok) throw refusalError(answer.refusal);
      const { claimed, session } = answer;
      this.#troubles = 0;
      this.#answeredAtMs = this.queue.store.clock.monotonicMs();
      nextMs = claimed.nextMs;
      this.#mayHaveMore = claimed.jobs.length >= max || this.#hints !== hints;
      this.#take(claimed.jobs, session);
    } catch (error) {
      nextMs = this.#troubled(error);
      this.#mayHaveMore = false;
    }
    this.#isClaiming = false;
    this.#fill();
    if (this.#mayHaveMore) this.#pump();
    else if (!this.#isStopping) this.#sleep(nextMs);
    this.#checkIdle();
  }

  /** How long to wait after a failed claim; what can't be cured ends the worker. */
  #troubled(error: unknown): number {
    const { random } = this.queue.store;
    if (this.#isStopping) return 0;
    this.#tally.trouble("claim", error);
    if (isFatal(error)) this.#onFatal(error);
    return claimRetryMs(this.#troubles++, random);
  }

  #sleep(nextMs: number | null): void {
    const { clock, random } = this.queue.store;
    this.#wake?.cancel();
    this.#wake = clock.timer(idleMs(nextMs, random), () => this.#hint());
  }

  #take(jobs: readonly ClaimedJob[], session: Session): void {
    // A reply that came after the session was over brings jobs that are somebody else's.
    if (jobs.length === 0 || session.isOver) return;
    this.isTracing = isTracing();
    const deadlineMs = this.queue.store.clock.monotonicMs() + PACE.prefetchReturnMs;
    for (const claimed of jobs) {
      const held = new HeldJob(this.queue.name, claimed, session, this);
      held.deadlineMs = deadlineMs;
      this.#leases.hold(held);
      this.#ready.push(held);
      this.#tally.claimed(claimed);
    }
    if (this.#isStopping || this.#isPaused) this.#returnReady();
  }

  // -------------------------------------------------------------- running

  /**
   * Starts what waits here, as long as slots are free. A handler may end within its start, hence
   * the guard.
   */
  #fill(): void {
    if (this.#isFilling || this.#isStopping || this.#isPaused) return;
    this.#isFilling = true;
    const { concurrency } = this.#options;
    const nowMs = this.ready > 0 ? this.queue.store.clock.monotonicMs() : 0;
    while (this.#calls < concurrency && this.ready > 0 && !this.#isStopping) this.#start(nowMs);
    this.#isFilling = false;
    // Whatever is left waits here for a slot: it must not wait too long.
    const { first } = this.#ready;
    if (first !== undefined) this.#leases.arm(first.deadlineMs);
  }

  #start(nowMs: number): void {
    const jobs = this.#ready.take(this.#runner.batch);
    const call = new Call(jobs);
    const deadlineMs = nowMs + this.settings.timeoutMs;
    for (const held of jobs) {
      held.stage = "running";
      held.startedMs = nowMs;
      held.deadlineMs = deadlineMs;
      held.call = call;
    }
    this.#leases.arm(deadlineMs);
    this.#calls++;
    this.#rate.started(jobs.length);
    this.#runner.start(call, this);
  }

  /** The handler has let go, or was given up: its slot is free. */
  ended(call: Call): void {
    for (const held of call.jobs) {
      if (held.isAnswered) this.#leases.forget(held);
      else held.hasEnded = true;
    }
    this.#free(call);
  }

  #free(call: Call): void {
    if (call.isOver) return;
    call.isOver = true;
    this.#tally.ended(call);
    this.#calls--;
    this.#fill();
    if (this.#mayHaveMore) this.#pump();
    this.#checkIdle();
  }

  // -------------------------------------------------------------- how handlers end

  /** The handler's output, encoded, or its verdict, for a job that is not over. */
  completed(held: HeldJob, returned: Data | null | Verdict): void {
    if (held.stage !== "over") this.#end(held, endingOfReturn(held, returned));
  }

  /** The handler threw. */
  failed(held: HeldJob, thrown: unknown): void {
    if (held.stage === "over") return;
    const { random } = this.queue.store;
    this.#end(held, endingOfFailure(held, thrown, this.settings.retry, random));
  }

  /** A payload that can't be read, or an output that can't be stored: no retry can cure it. */
  unusable(held: HeldJob, error: unknown): void {
    if (held.stage !== "over") this.#end(held, endingOf(held, "dead", error));
  }

  #end(held: HeldJob, { op, failure }: Ending): void {
    this.#unsettled++;
    this.#leases.settle(held, op, failure);
  }

  // -------------------------------------------------------------- what the jobs ask

  storeOutput(output: unknown): Data | null | Promise<Data | null> {
    return storeOutput(this.settings, output);
  }

  async settleWith(
    held: HeldJob,
    op: QueueSettle,
    ops: readonly Placed[],
  ): Promise<CompleteOutcome> {
    this.#unsettled++;
    const outcome = await this.#leases.settleWith(held, op, ops).finally(() => {
      this.#unsettled--;
      this.#checkIdle();
    });
    if (outcome.kind === "refused" || held.stage === "over") return outcome;
    if (outcome.kind === "lost") {
      this.onLost(held, outcome.error);
      return outcome;
    }
    held.stage = "over";
    held.isAnswered = true;
    this.#tally.applied(held, "completed", undefined);
    // The handler may go on; its deadline stands, so that its slot is not held for ever.
    if (held.hasEnded) this.#leases.forget(held);
    return outcome;
  }

  async writeProgress(held: HeldJob, value: Data): Promise<void> {
    try {
      await this.#leases.progress(held, value);
    } catch (error) {
      // Of a job that is over nobody misses it.
      if (held.stage !== "over") this.#tally.trouble("progress", error);
    }
  }

  // -------------------------------------------------------------- what the leases tell

  onSettled(held: HeldJob, settled: Settled, failure: unknown): void {
    this.#unsettled--;
    held.isAnswered = true;
    if (held.hasEnded || held.call === undefined) this.#leases.forget(held);
    if (settled.kind === "applied") this.#tally.applied(held, settled.state, failure);
    else if (settled.kind === "lost") this.#tally.lost(held, settled.error);
    else this.#tally.trouble("settle", settled.error);
    if (this.#mayHaveMore) this.#pump();
    this.#checkIdle();
  }

  onDue(held: HeldJob, nowMs: number): void {
    switch (held.stage) {
      case "waiting":
        return this.#returnReady();
      case "running":
        return this.#stop(held, "timeout", nowMs);
      case "ending":
        this.#giveUp(held);
        break;
      case "over":
        // Its handler completed it and goes on: it has to hear of its time's end, too.
        if (held.cause === undefined) return this.#stop(held, "timeout", nowMs);
        break;
    }
    held.deadlineMs = Infinity;
    const { call } = held;
    const isDone = call?.jobs.every((each) => each.stage === "over" || each.isGivenUp);
    if (call === undefined || call.isOver || isDone !== true) return;
    this.#tally.abandoned(held);
    this.ended(call);
  }

  /** It was asked to stop and did not. A completion of its own that is under way decides first. */
  #giveUp(held: HeldJob): void {
    held.isGivenUp = true;
    const settle = (): void => this.failed(held, held.reason);
    if (held.completing === undefined) settle();
    else void held.completing.then(settle, settle);
  }

  #stop(held: HeldJob, cause: "timeout" | "cancel" | "drain", nowMs: number): void {
    this.#armGrace(held, nowMs);
    held.stop(cause, stopReason(cause, held.id, this.settings.timeoutMs));
  }

  /** A handler that was told before has what is left of its grace, and no more. */
  #armGrace(held: HeldJob, nowMs: number): void {
    const endMs = nowMs + this.#graceMs;
    held.deadlineMs = held.cause === undefined ? endMs : Math.min(held.deadlineMs, endMs);
    this.#leases.arm(held.deadlineMs);
  }

  onCancel(held: HeldJob): void {
    if (held.stage === "running") {
      return this.#stop(held, "cancel", this.queue.store.clock.monotonicMs());
    }
    if (held.stage !== "waiting") return;
    this.#ready.remove(held);
    this.#end(held, endingOf(held, "cancelled"));
  }

  onLost(held: HeldJob, error: HoldfastError): void {
    const wasWaiting = held.stage === "waiting";
    held.stage = "over";
    held.isAnswered = true;
    if (wasWaiting) this.#ready.remove(held);
    if (wasWaiting || held.hasEnded) this.#leases.forget(held);
    else this.#armGrace(held, this.queue.store.clock.monotonicMs());
    held.stop("lost", error);
    this.#tally.lost(held, error);
    this.#mayHaveMore = true;
    this.#pump();
  }

  // -------------------------------------------------------------- stopping

  /** Gives back what was claimed ahead; it counts as no attempt. */
  #returnReady(): void {
    for (const held of this.#ready.take(Infinity)) this.#end(held, endingOf(held, "released"));
  }

  pause(): void {
    this.#isPaused = true;
    this.#returnReady();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#hint();
    this.#fill();
  }

  /** Claims no more, and gives back what was claimed ahead. */
  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#wake?.cancel();
    this.#stops[0]?.();
    this.#delay.stop();
    this.#returnReady();
  }

  /**
   * Aborts every handler that still runs, also one that has completed its job; after `graceMs` it
   * is given up, and its job handed back.
   */
  abort(graceMs: number): void {
    this.#graceMs = graceMs;
    const nowMs = this.queue.store.clock.monotonicMs();
    for (const held of this.#leases.held) {
      const isRunning = held.worker === this && held.call !== undefined && !held.hasEnded;
      if (isRunning) this.#stop(held, "drain", nowMs);
    }
  }

  /** Resolves when no handler runs, no claim is under way and every settle was answered. */
  idle(): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#idle.push(resolve);
    this.#checkIdle();
    return promise;
  }

  /** Nothing more will come: leaves the queue. */
  leave(): void {
    for (const stop of this.#stops) stop();
  }

  #checkIdle(): void {
    if (this.#idle.length === 0) return;
    if (this.#calls > 0 || this.#unsettled > 0 || this.#isClaiming || this.ready > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const tell of idle) tell();
  }
}
