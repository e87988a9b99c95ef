/**
 * What this process holds of one queue, for all its workers together: the held jobs, their
 * settling, the sweep of their deadlines, and what the session brings (its loss, asked cancels).
 *
 * Settling: settles are gathered within a turn and leave as groups of up to 128, because a group
 * costs a promise and an engine's attention by itself. If such a group is refused, nothing of it
 * was written and each settle goes again alone. A settle whose outcome is unknown is sent again;
 * while the session lives, only a settle of ours can have ended the lease, so that `FENCED` then
 * means that the first one was applied. It is repeated until it is answered or the session is over,
 * also when the worker has been closed meanwhile: a live session would hold the job for ever.
 *
 * Orphans: a claim whose outcome is unknown may have leased jobs to this live session without our
 * knowing. So the leased jobs of the queue are listed 1, 5 and 30 s later, and those of this
 * session that nobody here knows are given back.
 */
import type { Timer } from "../../core/clock.ts";
import type { Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError, LeaseLostError, type Outcome } from "../../core/errors.ts";
import type { Random } from "../../core/random.ts";
import { sleep } from "../../core/signal.ts";
import type { Queue } from "../../ports/queue/index.ts";
import { refusalError, type Placed } from "../../store/group.ts";
import type {
  Claimed,
  JobState,
  Op,
  QueueSettle,
  Refusal,
  SettleOutcome,
} from "../../store/ops.ts";
import type { AskedCancels, Session } from "../../store/session.ts";
import type { Store } from "../../store/store.ts";
import type { CompleteOutcome, HeldJob, Settled } from "./job.ts";
import type { Rules } from "./rules.ts";

const BUNDLE_JOBS = 128;
const BUNDLE_BYTES = 262_144;
/**
 * Orphans are looked for this long after a claim with an unknown outcome: a commit may be applied
 * late.
 */
const ORPHAN_PASSES_MS = [1_000, 5_000, 30_000] as const;
const RETRY_INITIAL_MS = 20;
const RETRY_MAX_MS = 2_000;

/** Full jitter over 20, 40, 80 ... 2,000 ms. */
export function troubleDelayMs(tries: number, random: Random): number {
  return 1 + Math.floor(random.next() * Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** tries));
}

interface Entry {
  /** Absent for orphans. */
  readonly held: HeldJob | undefined;
  readonly op: QueueSettle;
  readonly failure: unknown;
  readonly session: Session;
  isUnknown: boolean;
}

export type ClaimAnswer =
  | { readonly ok: true; readonly claimed: Claimed; readonly session: Session }
  | { readonly ok: false; readonly refusal: Refusal };

/** What a settle that was applied made of the job, where the store's own answer was lost. */
const STATE_AFTER: Readonly<Record<SettleOutcome, JobState>> = {
  completed: "completed",
  retry: "scheduled",
  dead: "dead",
  cancelled: "cancelled",
  released: "ready",
  suspended: "scheduled",
};

const noop = (): void => {};
const registry = new WeakMap<Store, Map<string, Leases>>();

/** The leases of the queue in this process; the same for every handle on it. */
export function leasesOf(queue: Queue): Leases {
  let ofStore = registry.get(queue.store);
  if (ofStore === undefined) registry.set(queue.store, (ofStore = new Map()));
  const name = `${queue.partition}\n${queue.name}`;
  let leases = ofStore.get(name);
  if (leases === undefined) ofStore.set(name, (leases = new Leases(queue)));
  return leases;
}

export class Leases {
  readonly #queue: Queue;
  readonly #store: Store;
  /**
   * Everything that is not forgotten: from its claim until its settle was answered and its handler
   * has let go.
   */
  readonly #held = new Set<HeldJob>();
  readonly #claims = new Set<Promise<unknown>>();
  readonly #orphansSettling = new Set<Entry>();
  #entries: Entry[] = [];
  #isFlushDue = false;
  #session: Session | undefined;
  #sweep: Timer | undefined;
  #sweepAtMs = Infinity;
  #workers = 0;
  #stopCancels: (() => void) | undefined;
  #isRenewing = false;
  #isRenewDue = false;

  constructor(queue: Queue) {
    this.#queue = queue;
    this.#store = queue.store;
  }

  get held(): ReadonlySet<HeldJob> {
    return this.#held;
  }

  /** A worker begins; gives the way to leave. */
  join(): () => void {
    if (this.#workers++ === 0) this.#stopCancels = this.#queue.onCancel(() => this.#renew());
    return () => {
      if (--this.#workers > 0) return;
      this.#stopCancels?.();
      this.#stopCancels = undefined;
    };
  }

  // -------------------------------------------------------------- claiming

  /** Claims up to `max` jobs for the worker; they are held from the moment that this resolves. */
  async claim(max: number, rules: Rules): Promise<ClaimAnswer> {
    const session = this.#session?.isOver === false ? this.#session : await this.#open();
    const op = { op: "queue.claim", queue: this.#queue.name, session: session.id, max } as const;
    const commit = rules.commit([op]);
    this.#claims.add(commit);
    try {
      const committed = await commit;
      if (!committed.ok) {
        // The store says that it is over: find out at once, so that its handlers stop.
        if (committed.refusal.code === "LEASE_LOST") await session.renew();
        return committed;
      }
      return { ok: true, claimed: committed.results[0], session };
    } catch (error) {
      const isUnknown = !isHoldfastError(error) || error.outcome !== "not-applied";
      if (isUnknown) void this.#findOrphans(session);
      throw error;
    } finally {
      this.#claims.delete(commit);
    }
  }

  hold(held: HeldJob): void {
    this.#held.add(held);
  }

  /** The job is out of our hands, and nobody works on it any more. */
  forget(held: HeldJob): void {
    this.#held.delete(held);
  }

  async #open(): Promise<Session> {
    const session = await this.#store.session(this.#queue.partition);
    if (session === this.#session) return session;
    this.#session = session;
    session.signal.addEventListener("abort", () => this.#over(session), { once: true });
    session.onCancels((asked) => this.#cancel(asked));
    return session;
  }

  #over(session: Session): void {
    const reason: unknown = session.signal.reason;
    const error = isHoldfastError(reason) ? reason : new LeaseLostError("The session is over");
    for (const held of this.#held) {
      if (held.session === session && held.stage !== "over") held.worker.onLost(held, error);
    }
  }

  // -------------------------------------------------------------- cancels

  #renew(): void {
    this.#isRenewDue = true;
    if (this.#isRenewing || this.#held.size === 0) return;
    this.#isRenewing = true;
    void this.#renewAll();
  }

  async #renewAll(): Promise<void> {
    while (this.#isRenewDue) {
      this.#isRenewDue = false;
      await this.#session?.renew();
    }
    this.#isRenewing = false;
  }

  #cancel({ partition, cancels }: AskedCancels): void {
    if (partition !== this.#queue.partition) return;
    const tokens = new Set<number>();
    for (const { queue, token } of cancels) if (queue === this.#queue.name) tokens.add(token);
    if (tokens.size === 0) return;
    for (const held of this.#held) {
      const { seq, token } = held.claimed;
      if (held.stage === "over" || held.cause !== undefined || !tokens.has(token)) continue;
      const isAsked = cancels.some((each) => each.token === token && each.seq === seq);
      if (isAsked) held.worker.onCancel(held);
    }
  }

  // -------------------------------------------------------------- deadlines

  /**
   * Makes sure that the sweep comes by the time of a deadline. One timer serves all jobs of the
   * queue.
   */
  arm(deadlineMs: number): void {
    if (deadlineMs >= this.#sweepAtMs) return;
    this.#sweep?.cancel();
    this.#sweepAtMs = deadlineMs;
    const delayMs = Math.max(0, deadlineMs - this.#store.clock.monotonicMs());
    this.#sweep = this.#store.clock.timer(delayMs, () => this.#sweepNow(), { keepAlive: false });
  }

  #sweepNow(): void {
    this.#sweepAtMs = Infinity;
    const nowMs = this.#store.clock.monotonicMs();
    // A copy: what is due may be forgotten, and what it frees may be started.
    for (const held of [...this.#held]) {
      if (held.deadlineMs <= nowMs) held.worker.onDue(held, nowMs);
    }
    let nextMs = Infinity;
    for (const held of this.#held) nextMs = Math.min(nextMs, held.deadlineMs);
    if (nextMs < Infinity) this.arm(nextMs);
  }

  // -------------------------------------------------------------- settling

  /**
   * Ends the lease, in the background; the worker is told what became of it. The job is over at
   * once.
   */
  settle(held: HeldJob, op: QueueSettle, failure?: unknown): void {
    held.stage = "over";
    held.deadlineMs = Infinity;
    this.#push({ held, op, failure, session: held.session, isUnknown: false });
  }

  #push(entry: Entry): void {
    this.#entries.push(entry);
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushDue = false;
    const entries = this.#entries;
    this.#entries = [];
    let bundle: Entry[] = [];
    let bytes = 0;
    for (const entry of entries) {
      const { result, error } = entry.op;
      bytes += (result?.length ?? 0) + (error?.length ?? 0);
      bundle.push(entry);
      if (bundle.length < BUNDLE_JOBS && bytes < BUNDLE_BYTES) continue;
      void this.#send(bundle);
      bundle = [];
      bytes = 0;
    }
    if (bundle.length > 0) void this.#send(bundle);
  }

  async #send(bundle: readonly Entry[]): Promise<void> {
    let entries = bundle;
    for (let tries = 0; ; tries++) {
      try {
        const ops = entries.map((entry) => entry.op);
        const committed = await this.#store.commit(this.#queue.partition, ops);
        if (committed.ok) {
          for (let i = 0; i < entries.length; i++) {
            this.#tell(entries[i] as Entry, {
              kind: "applied",
              state: committed.results[i] as JobState,
            });
          }
          return;
        }
        if (entries.length === 1) return this.#refused(entries[0] as Entry, committed.refusal);
        for (const entry of entries) void this.#send([entry]);
        return;
      } catch (error) {
        if (!canRepeat(error)) return this.#tellAll(entries, { kind: "failed", error });
        const isUnknown = error.outcome !== "not-applied";
        for (const entry of entries) entry.isUnknown ||= isUnknown;
      }
      await sleep(this.#store.clock, troubleDelayMs(tries, this.#store.random));
      entries = this.#stillHeld(entries);
      if (entries.length === 0) return;
    }
  }

  /** Tells of those whose session is over meanwhile, and gives the others. */
  #stillHeld(entries: readonly Entry[]): readonly Entry[] {
    return entries.filter((entry) => {
      if (!entry.session.isOver) return true;
      this.#tell(entry, { kind: "lost", error: overError(entry.session) });
      return false;
    });
  }

  #refused(entry: Entry, refusal: Refusal): void {
    if (refusal.code === "FENCED" && entry.isUnknown) {
      return this.#tell(entry, { kind: "applied", state: STATE_AFTER[entry.op.outcome] });
    }
    if (refusal.code === "LEASE_LOST") void entry.session.renew();
    const error = refusalError(refusal);
    const isLost = refusal.code === "FENCED" || refusal.code === "LEASE_LOST";
    this.#tell(entry, isLost ? { kind: "lost", error } : { kind: "failed", error });
  }

  #tellAll(entries: readonly Entry[], settled: Settled): void {
    for (const entry of entries) this.#tell(entry, settled);
  }

  #tell(entry: Entry, settled: Settled): void {
    const { held } = entry;
    if (held === undefined) this.#orphansSettling.delete(entry);
    else held.worker.onSettled(held, settled, entry.failure);
  }

  /**
   * Settles in one group with the ops, until the outcome is known or the job is out of our hands.
   */
  async settleWith(
    held: HeldJob,
    op: QueueSettle,
    ops: readonly Placed[],
  ): Promise<CompleteOutcome> {
    const placed = [{ partition: this.#queue.partition, op }, ...ops];
    let isUnknown = false;
    for (let tries = 0; ; tries++) {
      if (held.session.isOver) {
        const outcome = isUnknown ? "unknown" : "not-applied";
        return { kind: "lost", error: overError(held.session, outcome) };
      }
      try {
        const committed = await this.#store.commitAll(placed);
        if (committed.ok) return { kind: "applied", results: committed.results.slice(1) };
        return this.#refusedWith(held.session, committed.refusal, isUnknown);
      } catch (error) {
        if (!canRepeat(error)) throw isUnknown ? asUnknown(error) : error;
        isUnknown ||= error.outcome !== "not-applied";
      }
      await sleep(this.#store.clock, troubleDelayMs(tries, this.#store.random));
    }
  }

  /** Throws a refusal that is neither the job's nor one of the ops'. */
  #refusedWith(session: Session, refusal: Refusal, isUnknown: boolean): CompleteOutcome {
    const { code, index } = refusal;
    // The settle stands first: it held, so that no earlier try was applied either.
    if (index > 0) return { kind: "refused", refusal: { ...refusal, index: index - 1 } };
    if (code === "FENCED" && isUnknown) return { kind: "applied", results: null };
    const error = isUnknown ? asUnknown(refusalError(refusal)) : refusalError(refusal);
    if (code === "LEASE_LOST") void session.renew();
    else if (code !== "FENCED") throw error;
    return { kind: "lost", error };
  }

  /**
   * Throws why it was not written. It is not tried again: the next value, or the settling, makes
   * good for it.
   */
  async progress(held: HeldJob, value: Data): Promise<void> {
    const { seq, token } = held.claimed;
    const { name: queue, partition } = this.#queue;
    const op: Op = { op: "queue.progress", queue, session: held.session.id, seq, token, value };
    const committed = await this.#store.commit(partition, [op]);
    if (committed.ok) return;
    if (committed.refusal.code === "LEASE_LOST") await held.session.renew();
    throw refusalError(committed.refusal);
  }

  // -------------------------------------------------------------- orphans

  async #findOrphans(session: Session): Promise<void> {
    const { clock } = this.#store;
    const startMs = clock.monotonicMs();
    for (const passMs of ORPHAN_PASSES_MS) {
      await background(this.#store, startMs + passMs - clock.monotonicMs());
      if (session.isOver) return;
      // A look that fails is no harm: the next pass looks again, and the session's end gives all
      // back.
      await this.#giveBackOrphans(session).catch(noop);
    }
  }

  async #giveBackOrphans(session: Session): Promise<void> {
    const found: { readonly seq: number; readonly token: number }[] = [];
    for await (const view of this.#queue.scan("leased", { limit: 1_000 })) {
      if (view.session === session.id && view.token !== null) {
        found.push({ seq: view.seq, token: view.token });
      }
    }
    // What claims under way bring is known only when they are answered.
    await Promise.allSettled([...this.#claims]);
    const known = new Set<string>();
    for (const { claimed } of this.#held) known.add(`${claimed.seq} ${claimed.token}`);
    for (const { op } of this.#orphansSettling) known.add(`${op.seq} ${op.token}`);
    for (const { seq, token } of found) {
      if (known.has(`${seq} ${token}`)) continue;
      const op: QueueSettle = {
        op: "queue.settle",
        queue: this.#queue.name,
        session: session.id,
        outcome: "released",
        ...{ seq, token, result: null, error: null, delayMs: 0, holdsKey: true },
      };
      const entry: Entry = { held: undefined, op, failure: undefined, session, isUnknown: false };
      this.#orphansSettling.add(entry);
      this.#push(entry);
    }
  }
}

/** A pause that does not keep the process alive. */
function background(store: Store, ms: number): Promise<void> {
  return new Promise((resolve) => {
    store.clock.timer(Math.max(0, ms), resolve, { keepAlive: false });
  });
}

/**
 * True if sending the same settle again makes sense: the store may take it later, or it may have
 * been applied.
 */
function canRepeat(error: unknown): error is HoldfastError {
  if (!isHoldfastError(error) || error.code === "CLOSED") return false;
  return error.retryable || error.outcome === "unknown";
}

function overError(session: Session, outcome: Outcome = "not-applied"): HoldfastError {
  const reason: unknown = session.signal.reason;
  if (reason instanceof LeaseLostError && outcome === "not-applied") return reason;
  return new LeaseLostError(`The session ${session.id} is over`, { cause: reason, outcome });
}

/** The same error after an earlier try whose answer was lost: it may have been applied. */
export function asUnknown<E>(error: E): E | HoldfastError {
  if (!isHoldfastError(error)) return error;
  const { code, message, details, retryAfterMs } = error;
  const options = { outcome: "unknown", details, retryAfterMs, cause: error } as const;
  if (code === "LEASE_LOST") return new LeaseLostError(message, options);
  return new HoldfastError(code, message, options);
}
