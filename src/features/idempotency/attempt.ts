/**
 * A handler at work under a claim.
 *
 *   running ──abort──► ending ──graceMs──► given up
 *      │                  │                   │
 *      └─── returned, threw, completed ───────┴────► over
 *
 * running   The claim is held.
 * ending    Its signal was aborted: timeoutMs, a drain, or its caller left. What it still returns
 * is
 *           stored; what it throws frees the key.
 * given up  It did not stop in time (a caller who left gives nothing up): the key is free, and
 *           nothing that the handler still does reaches the store.
 * over      The answer is stored, the key is free, or the claim was lost.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError, LeaseLostError } from "../../core/errors.ts";
import { isPermanent } from "../../core/retry.ts";
import { deferred, type Deferred } from "../../core/signal.ts";
import { refusalError, type Committed, type OpsOf, type Placed } from "../../store/group.ts";
import type { Refusal } from "../../store/ops.ts";
import { encodeAnswer, unusable } from "./answer.ts";
import type { Claim, Claims, Finished } from "./claims.ts";
import { failureData } from "./failure.ts";
import { outsideId } from "./fingerprint.ts";
import type { IdempotencySettings } from "./settings.ts";

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

/** A completion that one of its ops refused: nothing was written, the key is still held. */
export interface Refused {
  readonly ok: false;
  /** `index` counts the ops given; see `Refusal`. */
  readonly refusal: Refusal;
}

/** What a handler knows of its call, and may do with it. `R` is what completing it takes. */
export interface Attempt<R = unknown> {
  /**
   * The idempotency key for what lies outside the store: the same at each attempt of this key with
   * this input, another for every other. 40 characters of hex.
   */
  readonly id: string;
  readonly key: string;
  /**
   * Fencing token: greater than that of every earlier attempt of this key. Give it to resources
   * that check it.
   */
  readonly token: bigint;
  /**
   * Aborts when the handler must stop: `TIMEOUT` (`timeoutMs`), the end of a drain (`CLOSED`), the
   * caller's own reason if its signal was aborted, or `LEASE_LOST`, after which nothing it does
   * reaches the store. Made when it is first read.
   */
  readonly signal: AbortSignal;
  /**
   * Stores the answer in one group with the ops: all of it holds, or nothing does. The handler's
   * return value is ignored afterwards. Throws what refused it (`LIMITED`, `CONFLICT` ...) with the
   * key still held, `INVALID_DATA` or `TOO_LARGE` for the output, `LEASE_LOST` or `FENCED` if the
   * key is not held any more, and `UNSUPPORTED` for ops of another partition.
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

export type Handler<I, R> = (
  input: I,
  attempt: Attempt<R>,
) => Promise<R | Completion> | R | Completion;

/** What was stored. */
export interface Answer {
  readonly state: "answered" | "failed";
  readonly data: Data;
}

/** What an attempt works with. */
export interface Tools {
  readonly clock: Clock;
  readonly claims: Claims;
  readonly settings: IdempotencySettings;
}

const noop = (): void => {};

export class HeldAttempt implements Attempt {
  readonly id: string;
  readonly key: string;
  readonly claim: Claim;
  readonly #tools: Tools;
  readonly #result: Deferred<Answer> = deferred();
  #controller: AbortController | undefined;
  #reason: unknown;
  #isStopped = false;
  #isLost = false;
  #isGivenUp = false;
  #hasReturned = false;
  /** The answer that is stored. */
  #answer: Answer | undefined;
  /** A completion by the handler, from its call on. */
  #completing: Promise<Finished> | undefined;
  /** A finish under way: while there is one, nothing else ends the attempt. */
  #finishing: Promise<Finished> | undefined;
  #timer: Timer | undefined;

  constructor(tools: Tools, claim: Claim, key: string) {
    this.#tools = tools;
    this.claim = claim;
    this.key = key;
    this.id = outsideId([tools.settings.name, key, claim.fingerprint]);
    this.#result.promise.catch(noop);
  }

  get token(): bigint {
    return BigInt(this.claim.revision);
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isStopped) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** The stored answer, or why there is none. */
  get result(): Promise<Answer> {
    return this.#result.promise;
  }

  // -------------------------------------------------------------- its life

  /** Runs the handler, once. */
  start(input: unknown, handler: Handler<unknown, unknown>): void {
    const { clock, settings } = this.#tools;
    const onTimeout = (): void => this.end(timedOut(settings), settings.graceMs);
    this.#timer = clock.timer(settings.timeoutMs, onTimeout, { keepAlive: false });
    this.#run(input, handler)
      .then(this.#result.resolve, this.#result.reject)
      .finally(() => this.#timer?.cancel());
  }

  async #run(input: unknown, handler: Handler<unknown, unknown>): Promise<Answer> {
    let output: unknown;
    try {
      output = await handler(input, this);
    } catch (error) {
      return this.#threw(error);
    }
    await this.#afterCompleting();
    if (this.#answer !== undefined) return this.#answer;
    this.#checkHeld();
    // A completion that is not this attempt's says nothing of an output.
    return this.#store(await this.#answerOf(output instanceof Completion ? undefined : output));
  }

  /** What an output becomes; one that can't be stored is a permanent failure: its work was done. */
  async #answerOf(output: unknown): Promise<Answer> {
    const { settings } = this.#tools;
    try {
      return { state: "answered", data: await encodeAnswer(settings, output) };
    } catch (error) {
      return { state: "failed", data: failureData(unusable(settings, error)) };
    }
  }

  async #threw(error: unknown): Promise<Answer> {
    await this.#afterCompleting();
    if (this.#answer !== undefined) return this.#answer;
    if (this.#isLost || this.#isGivenUp) throw error;
    if (isPermanent(error)) return this.#store({ state: "failed", data: failureData(error) });
    await this.#tools.claims.release(this.claim);
    throw error;
  }

  /** A completion that the handler did not await goes first. */
  async #afterCompleting(): Promise<void> {
    this.#hasReturned = true;
    if (this.#completing !== undefined) await Promise.allSettled([this.#completing]);
  }

  async #store(answer: Answer): Promise<Answer> {
    this.#checkHeld();
    const finished = await this.#finish(answer, []);
    if (finished.kind === "applied") return answer;
    throw finished.kind === "lost" ? finished.error : refusalError(finished.refusal);
  }

  async #finish(answer: Answer, ops: readonly Placed[]): Promise<Finished> {
    const finishing = this.#tools.claims.finish(this.claim, answer, ops);
    this.#finishing = finishing;
    try {
      const finished = await finishing;
      if (finished.kind === "applied") this.#answer = answer;
      else if (finished.kind === "lost") this.#lost(finished.error);
      return finished;
    } catch (error) {
      // The caller must hear that, and not that the session is over and nothing was written.
      if (isHoldfastError(error) && error.outcome === "unknown") this.#reason = error;
      throw error;
    } finally {
      this.#finishing = undefined;
      // It was not to be given up while nobody knew what became of it.
      if (this.#answer === undefined && (this.#isGivenUp || this.#isLost)) this.#drop();
    }
  }

  // -------------------------------------------------------------- its end

  /** Asks the handler to stop. The first reason stands. */
  stop(reason: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** Asks the handler to stop, and gives it up if it has not after so long. */
  end(reason: unknown, graceMs: number): void {
    this.stop(reason);
    this.#timer?.cancel();
    const giveUp = (): void => {
      this.#isGivenUp = true;
      // It goes on after its own completion, whose answer its caller gets now.
      if (this.#answer !== undefined) return this.#result.resolve(this.#answer);
      this.#reason = reason;
      if (this.#finishing === undefined) this.#drop();
    };
    this.#timer = this.#tools.clock.timer(graceMs, giveUp, { keepAlive: false });
  }

  /** The session is over: the key is somebody else's, unless a finish under way says otherwise. */
  lose(reason: unknown): void {
    if (this.#isLost || this.#answer !== undefined) return;
    this.#lost(lostReason(reason));
  }

  #lost(error: HoldfastError): void {
    this.#isLost = true;
    this.#isStopped = true;
    this.#reason = error;
    this.#controller?.abort(error);
    if (this.#finishing === undefined) this.#drop();
  }

  /** The caller hears of it at once; the key is free, now or with its session. */
  #drop(): void {
    this.#result.reject(this.#reason);
    if (!this.#isLost) void this.#tools.claims.release(this.claim);
  }

  #checkHeld(): void {
    if (this.#isLost) throw this.#reason;
    if (this.#isGivenUp) throw this.#closed("The handler did not stop in time and was given up");
    if (this.#answer !== undefined) throw this.#closed("The answer of the key is stored already");
  }

  #closed(why: string): HoldfastError {
    const { key } = this;
    const { name } = this.#tools.settings;
    const options = { outcome: "not-applied", details: { name, key } } as const;
    return new HoldfastError("CLOSED", `${why} (key "${key}" of "${name}")`, options);
  }

  // -------------------------------------------------------------- completing

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
    if (this.#hasReturned) throw this.#closed("The handler has returned already");
    if (this.#completing !== undefined) throw this.#closed("A completion of the key is under way");
    const completing = this.#complete(output, ops ?? []);
    this.#completing = completing;
    const finished = await completing.finally(() => {
      this.#completing = undefined;
    });
    if (finished.kind === "lost") throw finished.error;
    if (finished.kind === "refused") return { ok: false, refusal: finished.refusal };
    return new Completion(finished.results as ResultsOf<P> | null);
  }

  async #complete(output: unknown, ops: readonly Placed[]): Promise<Finished> {
    const data = await encodeAnswer(this.#tools.settings, output);
    this.#checkHeld();
    return this.#finish({ state: "answered", data }, ops);
  }
}

function lostReason(reason: unknown): HoldfastError {
  if (isHoldfastError(reason, "LEASE_LOST")) return reason;
  return new LeaseLostError("The session is over", { cause: reason });
}

function timedOut({ name, timeoutMs }: IdempotencySettings): HoldfastError {
  const message = `A handler of "${name}" ran longer than timeoutMs ${timeoutMs}`;
  return new HoldfastError("TIMEOUT", message, { retryable: true, details: { name } });
}
