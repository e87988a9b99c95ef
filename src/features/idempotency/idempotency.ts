/**
 * One stored answer per key: the handle that a program holds.
 *
 * Guarantee: of all calls of a key, in all processes, one handler at a time runs under a live
 * claim; the answer it returns is stored in one group with its ops, once; every later call with the
 * same input gets an equal answer without a handler, until `ttlMs` is over.
 * Not guaranteed: that a handler runs once. It runs again if it threw, if its process died before
 * its answer was stored, or if it was given up; what it does outside the store takes `attempt.id`
 * as its own idempotency key, or `attempt.token` as its fence.
 *
 * What happens      | what callers see
 * ----------------- | ----------------------------------------------------------------------------
 * handler throws    | this caller gets the error; the key is free, and one who waits runs its own
 * process dies      | its session ends within its TTL; then one who waits runs its own handler
 * process is paused | the same; when it goes on, its answer and its ops are refused (`FENCED`)
 * store is cut off  | the holder gives up at its session's deadline (`LEASE_LOST`); others go on
 * reply is lost     | the outcome is found out; nothing is written twice
 *
 * Complexity: a first call is two commits (claim, answer), a repeat one refused commit and one
 * read.
 */
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkFunction, checkOneOf, checkOptions, checkText } from "../../core/options.ts";
import type { PermanentError } from "../../core/retry.ts";
import { checkWait, waitFor, type Wait } from "../../core/signal.ts";
import { ATTRIBUTES, inSpan, isTracing, SpanKind } from "../../core/telemetry.ts";
import type { Session } from "../../store/session.ts";
import type { Child, Store } from "../../store/store.ts";
import { decodeAnswer } from "./answer.ts";
import { HeldAttempt, type Answer, type Handler } from "./attempt.ts";
import { Claims, type Claim } from "./claims.ts";
import { failureOf } from "./failure.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { StoredRecord } from "./record.ts";
import { IN_FLIGHT, type IdempotencySettings, type InFlight } from "./settings.ts";
import { Waiters } from "./waiters.ts";

export interface RunOptions {
  /**
   * Ends the call with the signal's own reason. If its handler runs already, the attempt's signal
   * aborts too, and what the handler still returns is stored for those who come later.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long it may take until its own handler begins or another call's answer is there; then
   * `TIMEOUT`, and its handler never ran. Integer milliseconds; default: no limit. The handler
   * itself is bounded by the definition's `timeoutMs`.
   */
  readonly timeoutMs?: number | undefined;
  /** Of this call; default: the definition's. */
  readonly inFlight?: InFlight | undefined;
}

/** What a call came to. */
export type Outcome<O> =
  /** `isReplayed`: the answer of an earlier call; its own handler did not run. */
  | { readonly ok: true; readonly output: O; readonly isReplayed: boolean }
  /** Another call of the key is under way. */
  | { readonly ok: false; readonly why: "in-flight"; readonly retryAfterMs: number }
  /** The key is taken by a call with another input. */
  | { readonly ok: false; readonly why: "mismatch" };

/** What is stored under a key. */
export type Stored<O> =
  | { readonly state: "in-flight"; readonly session: string; readonly token: bigint }
  | { readonly state: "answered"; readonly output: O }
  | { readonly state: "failed"; readonly error: PermanentError | HoldfastError };

type Acquired =
  | { readonly kind: "claimed"; readonly claim: Claim }
  | { readonly kind: "stored"; readonly record: StoredRecord }
  | { readonly kind: "in-flight" | "mismatch" };

/** What a refused caller is told to wait: nobody knows how long the other one takes. */
const RETRY_AFTER_MS = 1_000;
/**
 * Of the store's `drainMs`: what handlers may still take, and what those that were aborted may. The
 * store shuts at three quarters of a short one, and the keys are to be free by then.
 */
const DRAIN_SHARE = 0.6;
const GRACE_SHARE = 0.1;

const RUN_KEYS = ["signal", "timeoutMs", "inFlight"] as const;
const noop = (): void => {};

/**
 * Idempotent calls on one store: `hf.open(definition)`. `O` is what callers get, `R` what handlers
 * return.
 */
export class Idempotency<O = unknown, R = O> {
  readonly name: string;
  readonly #store: Store;
  readonly #settings: IdempotencySettings;
  readonly #claims: Claims;
  readonly #waiters: Waiters;
  readonly #attempts = new Set<HeldAttempt>();
  #session: Session | undefined;
  #isAdopted = false;
  #isClosing = false;

  constructor(store: Store, settings: IdempotencySettings) {
    this.name = settings.name;
    this.#store = store;
    this.#settings = settings;
    this.#claims = new Claims(store, settings);
    this.#waiters = new Waiters(this.#claims);
  }

  // -------------------------------------------------------------- calling

  /**
   * The answer of the key: that of an earlier call with the same input, or what the handler returns
   * now.
   *
   * Shape: `key` 1 to 200 characters; `input` plain data, whose fingerprint is kept and which is
   * handed to the handler; an answer of up to 1 MiB less 1 KiB.
   * Guarantee: see the head of this file.
   * Errors: `ALREADY_EXISTS` (the key is taken by another input), `CONFLICT` (another call is under
   * way and `inFlight` is "refuse"; retryable, with `retryAfterMs`), `TIMEOUT`, `INVALID_DATA` (the
   * input has no fingerprint), `LEASE_LOST` and `FENCED` (the claim was lost; call again), what the
   * handler throws, `UNAVAILABLE`, `OVERLOADED`, `CLOSED`; `TypeError` and `RangeError` for
   * arguments. What `permanent()` marked and an output that can't be stored are thrown by every
   * call of the key.
   * On abort: see `RunOptions.signal`.
   * Complexity: two commits for a first call, one commit and one read for a repeat.
   *
   * ```ts
   * const receipt = await charges.run(key, { cents: 500 }, async ({ cents }, attempt) =>
   *   bank.charge(cents, { idempotencyKey: attempt.id, signal: attempt.signal }));
   * ```
   */
  async run<I>(key: string, input: I, handler: Handler<I, R>, options?: RunOptions): Promise<O> {
    const outcome = await this.tryRun(key, input, handler, options);
    if (outcome.ok) return outcome.output;
    throw outcome.why === "mismatch" ? this.#mismatch(key) : this.#inFlight(key);
  }

  /** As `run`, but another call in flight and another input are values, not errors. */
  async tryRun<I>(
    key: string,
    input: I,
    handler: Handler<I, R>,
    options: RunOptions = {},
  ): Promise<Outcome<O>> {
    checkKey(key);
    checkFunction("handler", handler);
    checkOptions("options", options, RUN_KEYS);
    const { signal, timeoutMs, inFlight = this.#settings.inFlight } = options;
    checkOneOf("inFlight", inFlight, IN_FLIGHT);
    checkWait({ signal, timeoutMs });
    const fingerprint = this.#fingerprint(input);
    const call = async (): Promise<Outcome<O>> => {
      const acquired = await this.#acquireWithin(key, fingerprint, { signal, timeoutMs, inFlight });
      if (acquired.kind === "stored") return this.#answered(acquired.record, true);
      if (acquired.kind === "claimed") {
        const attempt = this.#start(acquired.claim, key);
        const answer = await this.#follow(attempt, signal, () =>
          attempt.start(input, handler as Handler<unknown, unknown>),
        );
        return this.#answered(answer, false);
      }
      if (acquired.kind === "mismatch") return { ok: false, why: "mismatch" };
      return { ok: false, why: "in-flight", retryAfterMs: RETRY_AFTER_MS };
    };
    return isTracing() ? this.#traced(call) : call();
  }

  #traced(call: () => Promise<Outcome<O>>): Promise<Outcome<O>> {
    const options = { kind: SpanKind.INTERNAL, attributes: {} };
    return inSpan(`idempotent ${this.name}`, options, async (span) => {
      const outcome = await call();
      const ran = outcome.ok && !outcome.isReplayed;
      span.setAttribute(ATTRIBUTES.outcome, outcome.ok ? (ran ? "ran" : "replayed") : outcome.why);
      return outcome;
    });
  }

  #fingerprint(input: unknown): string {
    const { fingerprint } = this.#settings;
    return fingerprintOf(fingerprint === undefined ? input : fingerprint(input));
  }

  async #answered(answer: Answer | StoredRecord, isReplayed: boolean): Promise<Outcome<O>> {
    if (answer.state === "failed") throw failureOf(answer.data);
    const output = (await decodeAnswer(this.#settings, answer.data)) as O;
    return { ok: true, output, isReplayed };
  }

  // -------------------------------------------------------------- acquiring

  /** As `#acquire`; a caller that leaves meanwhile leaves no claim behind. */
  async #acquireWithin(
    key: string,
    fingerprint: string,
    { signal, timeoutMs, inFlight }: Wait & { readonly inFlight: InFlight },
  ): Promise<Acquired> {
    this.#adopt();
    const { clock } = this.#store;
    const gone = new AbortController();
    const storeKey = this.#settings.prefix + key;
    const acquiring = this.#acquire(storeKey, fingerprint, inFlight, gone.signal);
    const what = `The answer of a key of "${this.name}"`;
    try {
      return await waitFor(acquiring, clock, { signal, timeoutMs }, what, "not-applied");
    } catch (error) {
      gone.abort(error);
      acquiring.then((acquired) => {
        if (acquired.kind === "claimed") void this.#claims.release(acquired.claim);
      }, noop);
      throw error;
    }
  }

  /** Claims the key, or finds out who has it; waits for that one's answer if it is to. */
  async #acquire(
    key: string,
    fingerprint: string,
    inFlight: InFlight,
    gone: AbortSignal,
  ): Promise<Acquired> {
    for (;;) {
      this.#checkOpen();
      gone.throwIfAborted();
      const claim = await this.#claims.claim(key, fingerprint);
      if (claim !== null) return this.#claimed(claim);
      let record = await this.#claims.read(key);
      const isAwaited = record?.state === "in-flight" && inFlight === "wait";
      if (isAwaited && record?.fingerprint === fingerprint) {
        this.#checkOpen();
        record = await this.#waiters.settled(key, gone);
      }
      if (record === null) continue;
      if (record.fingerprint !== fingerprint) return { kind: "mismatch" };
      return record.state === "in-flight" ? { kind: "in-flight" } : { kind: "stored", record };
    }
  }

  /** Nobody begins while the store closes. */
  async #claimed(claim: Claim): Promise<Acquired> {
    if (!this.#isClosing) return { kind: "claimed", claim };
    await this.#claims.release(claim);
    throw this.#closed();
  }

  // -------------------------------------------------------------- attempts

  #start(claim: Claim, key: string): HeldAttempt {
    const { clock } = this.#store;
    const tools = { clock, claims: this.#claims, settings: this.#settings };
    const attempt = new HeldAttempt(tools, claim, key);
    this.#attempts.add(attempt);
    const forget = (): void => void this.#attempts.delete(attempt);
    attempt.result.then(forget, forget);
    this.#listen(claim.session);
    return attempt;
  }

  /** One listener a session, whatever the number of attempts. */
  #listen(session: Session): void {
    if (this.#session === session) return;
    this.#session = session;
    const onOver = (): void => {
      for (const attempt of this.#attempts) {
        if (attempt.claim.session === session) attempt.lose(session.signal.reason);
      }
    };
    session.signal.addEventListener("abort", onOver, { once: true });
  }

  /** The attempt's answer, or the end of its caller's patience, which ends the attempt too. */
  async #follow(
    attempt: HeldAttempt,
    signal: AbortSignal | undefined,
    start: () => void,
  ): Promise<Answer> {
    const { session } = attempt.claim;
    if (session.isOver) attempt.lose(session.signal.reason);
    else start();
    if (signal === undefined) return attempt.result;
    const onAbort = (): void => attempt.stop(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const what = `A handler of "${this.name}"`;
      return await waitFor(attempt.result, this.#store.clock, { signal }, what);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  // -------------------------------------------------------------- looking, forgetting

  /** What is stored under the key, or null. Errors: `INVALID_DATA`, `CORRUPT`, `UNAVAILABLE`. */
  async get(key: string, wait?: Wait): Promise<Stored<O> | null> {
    const record = await this.#read(key, wait);
    if (record === null) return null;
    const { state, session, revision, data } = record;
    if (state === "in-flight") return { state, session, token: BigInt(revision) };
    if (state === "failed") return { state, error: failureOf(data) };
    return { state, output: (await decodeAnswer(this.#settings, data)) as O };
  }

  /**
   * Forgets the stored answer, so that the next call of the key runs its handler again; true if
   * there was one. Errors: `CONFLICT` (retryable) if a call of the key is under way.
   */
  async forget(key: string, wait?: Wait): Promise<boolean> {
    for (;;) {
      const record = await this.#read(key, wait);
      if (record === null) return false;
      if (record.state === "in-flight") throw this.#inFlight(key);
      const { kv } = this.#claims;
      const options = { ...wait, ifRevision: record.revision };
      const deleted = await kv.tryDelete(this.#settings.prefix + key, options);
      if (deleted.ok) return deleted.existed;
    }
  }

  async #read(key: string, wait: Wait | undefined): Promise<StoredRecord | null> {
    checkKey(key);
    checkWait(wait);
    const reading = this.#claims.read(this.#settings.prefix + key);
    return waitFor(reading, this.#store.clock, wait, "The read");
  }

  // -------------------------------------------------------------- closing

  /** The store closes this before itself. Throws `CLOSED` once it has begun to. */
  #adopt(): void {
    this.#checkOpen();
    if (this.#isAdopted) return;
    const child: Child = { close: () => this.#close() };
    this.#store.adopt(child);
    this.#isAdopted = true;
  }

  /** Waits end at once; handlers have a while to return, and a while more after their abort. */
  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#waiters.close(this.#closed());
    const { clock, drainMs } = this.#store;
    const graceMs = Math.min(this.#settings.graceMs, Math.floor(drainMs * GRACE_SHARE));
    const timer = clock.timer(Math.floor(drainMs * DRAIN_SHARE), () => {
      for (const attempt of this.#attempts) attempt.end(this.#closed(), graceMs);
    });
    await Promise.allSettled([...this.#attempts].map((attempt) => attempt.result));
    timer.cancel();
    this.#claims.end();
  }

  #checkOpen(): void {
    if (this.#isClosing) throw this.#closed();
  }

  #closed(): HoldfastError {
    const message = `The store of "${this.name}" is closing: open a new one`;
    return new HoldfastError("CLOSED", message, { outcome: "not-applied" });
  }

  #inFlight(key: string): HoldfastError {
    const { name } = this;
    const message = `Another call of key "${key}" of "${name}" is under way: call again later for its answer`;
    return new HoldfastError("CONFLICT", message, {
      retryable: true,
      outcome: "not-applied",
      retryAfterMs: RETRY_AFTER_MS,
      details: { name, key },
    });
  }

  #mismatch(key: string): HoldfastError {
    const { name } = this;
    const message = `Expected key "${key}" of "${name}" to come with the input of its first call, got another one: use a new key for a new request`;
    return new HoldfastError("ALREADY_EXISTS", message, {
      outcome: "not-applied",
      details: { name, key },
    });
  }
}

function checkKey(key: unknown): void {
  checkText("key", key, LIMITS.idChars);
}
