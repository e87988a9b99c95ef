/**
 * A session: one lease a process and store, whatever the number of jobs, locks and keys that point
 * at it.
 *
 *             open in a partition              deadline passed, or LEASE_LOST on renewal
 *   (new) ──────────────────────────► held ──────────────────────────────────────────► lost
 *                                      │ close()
 *                                      └──────► ended
 *
 * held   Renewed at a third of its TTL, by timers of the main loop alone: a process whose loop is
 *        stuck loses it, as it must. A failed renewal is not loss; it is tried again, until the
 *        deadline.
 * lost   The signal is aborted first, `lost` resolves after. Nothing brings this session back:
 *        `Store.session()` opens another one, with another id.
 *
 * The holder's deadline is counted from before the request was sent, less a safety margin of 2 % of
 * the TTL + 10 ms (clock rates differ; a timer fires late), so that the holder gives up before the
 * store gives its leases to others. It is judged on two clocks, because monotonic time stops in
 * suspend and wall time jumps: whichever is ahead ends it. A wall clock set forward by more than
 * the time left therefore costs the session; one set back costs nothing. After a blocked loop or a
 * suspend the deadline is judged before anything else: at each timer, each reply, and each use.
 *
 * On loss the session is not ended in the store: what is left of its TTL there is time for the
 * holder's code to stop.
 *
 * Source: C. Gray and D. Cheriton, "Leases", SOSP 1989, section 2.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { HoldfastError, LeaseLostError } from "../core/errors.ts";
import { Lifetime } from "../core/lifetime.ts";
import { checkWait, deferred, waitFor, type Wait } from "../core/signal.ts";
import { refusalError, type Committed } from "./group.ts";
import type { Op, Renewed } from "./ops.ts";

/** What a session needs of its store. */
export interface SessionHost {
  readonly clock: Clock;
  /** Commits ahead of the groups that wait. */
  commitUrgent<const O extends readonly Op[]>(partition: string, ops: O): Promise<Committed<O>>;
  /** The session was lost or has ended. */
  onSessionOver(session: Session): void;
}

export interface SessionOptions {
  readonly id: string;
  readonly ttlMs: number;
  /** Host, process and program, for people. */
  readonly label: string;
}

/** Jobs held by the session whose cancel was asked. */
export interface AskedCancels {
  readonly partition: string;
  readonly cancels: Renewed["cancels"];
}

/**
 * The session's lease in one partition: both clocks' ends, counted from the newest request that was
 * answered.
 */
interface Lease {
  sentMs: number;
  monotonicEndMs: number;
  wallEndMs: number;
}

/** Clock rates may differ by this share of the TTL. */
const DRIFT_RATIO = 0.02;
/** A timer may fire this late. */
const TIMER_SLACK_MS = 10;
const RENEWALS_PER_TTL = 3;
/**
 * Looks at the clocks per TTL: how soon a resumed machine notices, and how soon a failed renewal is
 * tried again.
 */
const BEATS_PER_TTL = 12;
const LONGEST_BEAT_MS = 500;

/** How long the holder may count on a lease of this TTL, from before the request was sent. */
export function holderMs(ttlMs: number): number {
  return ttlMs - Math.ceil(ttlMs * DRIFT_RATIO) - TIMER_SLACK_MS;
}

export class Session extends Lifetime {
  readonly id: string;
  readonly ttlMs: number;
  readonly label: string;
  /**
   * Aborts with the `LeaseLostError` when the session is lost, and with `CLOSED` when it is closed.
   */
  readonly signal: AbortSignal;
  /**
   * Resolves after the signal was aborted for a loss; stays pending if the session ends in order.
   */
  readonly lost: Promise<LeaseLostError>;

  readonly #host: SessionHost;
  readonly #abort = new AbortController();
  readonly #loss = deferred<LeaseLostError>();
  readonly #leases = new Map<string, Lease>();
  readonly #opening = new Map<string, Promise<void>>();
  readonly #cancelListeners = new Set<(asked: AskedCancels) => void>();
  #error: HoldfastError | undefined;
  #timer: Timer | undefined;
  #renewAtMs = 0;
  #monotonicEndMs = Infinity;
  #wallEndMs = Infinity;

  /** Made by `Store.session()`; holds nothing until it is opened in a partition. */
  constructor(host: SessionHost, options: SessionOptions) {
    super("The session");
    this.#host = host;
    this.id = options.id;
    this.ttlMs = options.ttlMs;
    this.label = options.label;
    this.signal = this.#abort.signal;
    this.lost = this.#loss.promise;
  }

  /** Lost or ended: nothing may be done under it any more. Judges the deadline. */
  get isOver(): boolean {
    return !this.#judge();
  }

  /**
   * Throws `LeaseLostError` if the session is lost or has ended; judges the deadline now, on both
   * clocks.
   */
  check(): void {
    if (this.#judge()) return;
    const error = this.#error;
    if (error instanceof LeaseLostError) throw error;
    throw new LeaseLostError(`The session ${this.id} was closed: open another one`, {
      cause: error,
    });
  }

  /** Milliseconds that the holder may still count on; 0 when over or not open yet. */
  remainingMs(): number {
    if (!this.#judge() || this.#leases.size === 0) return 0;
    const { clock } = this.#host;
    const leftMs = Math.min(
      this.#monotonicEndMs - clock.monotonicMs(),
      this.#wallEndMs - clock.wallMs(),
    );
    return Math.max(0, Math.floor(leftMs));
  }

  /** True once the session holds a lease in the partition. */
  isOpenIn(partition: string): boolean {
    return this.#leases.has(partition);
  }

  /**
   * Makes sure that the session holds a lease in the partition: one commit the first time, nothing
   * after. On abort or timeout the opening goes on without this caller.
   */
  openIn(partition: string, wait?: Wait): Promise<void> {
    try {
      checkWait(wait);
      this.check();
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#leases.has(partition)) return Promise.resolve();
    let opening = this.#opening.get(partition);
    if (opening === undefined) {
      opening = this.#open(partition).finally(() => this.#opening.delete(partition));
      this.#opening.set(partition, opening);
    }
    // Others may wait for the same opening: one caller's abort ends its own wait only.
    return waitFor(opening, this.#host.clock, wait, "Opening the session");
  }

  /** Calls `listen` with the asked cancels that a renewal brought; gives the way to stop. */
  onCancels(listen: (asked: AskedCancels) => void): () => void {
    this.#cancelListeners.add(listen);
    return () => void this.#cancelListeners.delete(listen);
  }

  /**
   * Renews now, in every partition, and so learns of asked cancels. Never rejects: a failed renewal
   * is not loss, and is tried again by the heartbeat.
   */
  async renew(): Promise<void> {
    if (!this.#judge()) return;
    this.#renewAtMs = this.#host.clock.monotonicMs() + this.ttlMs / RENEWALS_PER_TTL;
    await Promise.all([...this.#leases.keys()].map((partition) => this.#renewIn(partition)));
  }

  async #open(partition: string): Promise<void> {
    const { id: session, ttlMs, label } = this;
    const sent = this.#instants();
    const ops = [{ op: "session.open", session, ttlMs, label }] as const;
    const committed = await this.#host.commitUrgent(partition, ops);
    if (!committed.ok) throw refusalError(committed.refusal);
    this.#hold(partition, sent);
    // The reply may have come later than its TTL, or after the session was closed.
    this.check();
    if (this.#timer === undefined) {
      this.#renewAtMs = sent.monotonicMs + ttlMs / RENEWALS_PER_TTL;
      this.#arm();
    }
  }

  #instants(): { readonly monotonicMs: number; readonly wallMs: number } {
    const { clock } = this.#host;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  #hold(partition: string, sent: { readonly monotonicMs: number; readonly wallMs: number }): void {
    const before = this.#leases.get(partition);
    // Replies may cross: only a request sent later moves the end. Both ends move together, since an
    // old wall end may be from before the clock was set.
    if (before !== undefined && before.sentMs >= sent.monotonicMs) return;
    const validMs = holderMs(this.ttlMs);
    this.#leases.set(partition, {
      sentMs: sent.monotonicMs,
      monotonicEndMs: sent.monotonicMs + validMs,
      wallEndMs: sent.wallMs + validMs,
    });
    this.#monotonicEndMs = Infinity;
    this.#wallEndMs = Infinity;
    for (const lease of this.#leases.values()) {
      this.#monotonicEndMs = Math.min(this.#monotonicEndMs, lease.monotonicEndMs);
      this.#wallEndMs = Math.min(this.#wallEndMs, lease.wallEndMs);
    }
  }

  async #renewIn(partition: string): Promise<void> {
    const { id: session, ttlMs } = this;
    const sent = this.#instants();
    let committed: Committed<readonly [{ op: "session.renew"; session: string; ttlMs: number }]>;
    try {
      committed = await this.#host.commitUrgent(partition, [
        { op: "session.renew", session, ttlMs },
      ]);
    } catch {
      return this.#renewSoon();
    }
    // The deadline known so far is judged before the reply: a late reply brings nothing back.
    if (!this.#judge()) return;
    if (!committed.ok) {
      if (committed.refusal.code === "LEASE_LOST") this.#lose(committed.refusal.message);
      else this.#renewSoon();
      return;
    }
    this.#hold(partition, sent);
    const { cancels } = committed.results[0];
    if (cancels.length === 0) return;
    for (const listen of this.#cancelListeners) listen({ partition, cancels });
  }

  #renewSoon(): void {
    const soonMs = this.#host.clock.monotonicMs() + this.#beatMs();
    this.#renewAtMs = Math.min(this.#renewAtMs, soonMs);
  }

  #beatMs(): number {
    return Math.min(LONGEST_BEAT_MS, this.ttlMs / BEATS_PER_TTL);
  }

  #arm(): void {
    const { clock } = this.#host;
    const toEndMs = Math.min(
      this.#monotonicEndMs - clock.monotonicMs(),
      this.#wallEndMs - clock.wallMs(),
    );
    const delayMs = Math.max(1, Math.ceil(Math.min(this.#beatMs(), toEndMs)));
    this.#timer = clock.timer(delayMs, () => this.#beat(), { keepAlive: false });
  }

  #beat(): void {
    if (!this.#judge()) return;
    if (this.#host.clock.monotonicMs() >= this.#renewAtMs) void this.renew();
    this.#arm();
  }

  /** True while held. Passing the deadline on either clock is loss, found here. */
  #judge(): boolean {
    if (this.#error !== undefined) return false;
    const { clock } = this.#host;
    const isPast = clock.monotonicMs() >= this.#monotonicEndMs || clock.wallMs() >= this.#wallEndMs;
    if (!isPast) return true;
    this.#lose("its deadline passed before a renewal was answered");
    return false;
  }

  #lose(why: string): void {
    if (this.#error !== undefined) return;
    const message = `The session ${this.id} was lost: ${why}. What it held may belong to others: stop, and open another session`;
    const error = new LeaseLostError(message, { details: { session: this.id } });
    this.#over(error);
    this.#loss.resolve(error);
  }

  #over(error: HoldfastError): void {
    this.#error = error;
    this.#timer?.cancel();
    this.#abort.abort(error);
    this.#cancelListeners.clear();
    this.#host.onSessionOver(this);
  }

  /**
   * Ends the session in every partition: its jobs go back uncounted, its keys are deleted. The
   * signal is aborted first.
   */
  protected async drain(): Promise<void> {
    if (!this.#judge()) return;
    this.#over(new HoldfastError("CLOSED", `The session ${this.id} was closed`));
    await Promise.allSettled(this.#opening.values());
    const ends = [...this.#leases.keys()].map((partition) =>
      this.#host.commitUrgent(partition, [{ op: "session.end", session: this.id }]),
    );
    // An end that fails is no harm: the TTL ends the session too.
    await Promise.allSettled(ends);
  }
}
