/**
 * Who may run the handler of a key, and what becomes of the key afterwards: the three groups that
 * are ever committed for it.
 *
 * claim    check(no such key) + put(bound to the session). One caller gets it; the commit's
 * revision
 *          is its fencing token. When the session is over the key is gone, and anyone may claim it.
 * finish   check(that revision) + put(the answer, ttlMs) + the ops. A holder that lost its claim
 *          while it was paused is refused by the check, with all of its ops.
 * release  check(that revision) + delete.
 *
 * Unknown outcomes: each group changes the revision that it checks, so that sending it again can't
 * apply it twice, and a copy that arrives late is refused. A claim is sent again under its own name
 * and found by it; a finish that is refused after an unknown outcome is looked for in the store.
 * The one thing that could be left behind is a claim that arrives after it was given up: it is
 * looked for 1, 5 and 30 s later.
 */
import type { Codec, Data } from "../../core/codec.ts";
import { HoldfastError, isHoldfastError, LeaseLostError, type Outcome } from "../../core/errors.ts";
import { newId } from "../../core/random.ts";
import { sleep } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { refusalError, type Placed } from "../../store/group.ts";
import type { Refusal } from "../../store/ops.ts";
import type { Session } from "../../store/session.ts";
import type { Store } from "../../store/store.ts";
import { readRecord, writeRecord, type RecordHead, type StoredRecord } from "./record.ts";
import type { IdempotencySettings } from "./settings.ts";

/** The right to run the handler of a key. */
export interface Claim {
  /** The key as the store has it. */
  readonly key: string;
  readonly fingerprint: string;
  /** Names this claim in its record. */
  readonly id: string;
  readonly session: Session;
  /** The fencing token: greater than that of every earlier claim of the key. */
  readonly revision: number;
  /** A try of it had no answer: a copy may still arrive. */
  readonly isUnknown: boolean;
}

/** What became of a finish. */
export type Finished =
  | { readonly kind: "applied"; readonly results: readonly unknown[] | null }
  /** One of the ops refused it; the claim is still held. */
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** The claim is gone. */
  | { readonly kind: "lost"; readonly error: HoldfastError };

/** Records are written and read here, not by the port. */
const RAW: Codec = Object.freeze({
  name: "raw",
  encode: (value: unknown) => value as Data,
  decode: (data: Data) => data,
});

const RETRY_INITIAL_MS = 20;
const RETRY_MAX_MS = 2_000;
/** A claim whose outcome is unknown is sent again no later than this after the first. */
const CLAIM_WITHIN_MS = 5_000;
/** How long the outcome of a finish is asked for once the session is over. */
const FINISH_WITHIN_MS = 30_000;
const ORPHAN_PASSES_MS = [1_000, 5_000, 30_000] as const;

const noop = (): void => {};

export class Claims {
  readonly kv: Kv<Data>;
  readonly #store: Store;
  readonly #settings: IdempotencySettings;
  /** Ends the pauses between tries when the store closes. */
  readonly #end = new AbortController();

  constructor(store: Store, settings: IdempotencySettings) {
    this.#store = store;
    this.#settings = settings;
    const { partition } = settings;
    this.kv = new Kv<Data>(store, { partition, codec: RAW, hasReserved: true });
  }

  /** No pause is waited for any more. */
  end(): void {
    const message = "The store was closed";
    this.#end.abort(new HoldfastError("CLOSED", message, { outcome: "not-applied" }));
  }

  // -------------------------------------------------------------- claiming

  /**
   * Claims the key; null if it is not free. Runs to a known end whatever its caller does meanwhile.
   * Throws what the store raises; then nothing is held for long.
   */
  async claim(key: string, fingerprint: string): Promise<Claim | null> {
    const { clock, random } = this.#store;
    const id = newId(clock.wallMs(), random);
    const startMs = clock.monotonicMs();
    let isUnknown = false;
    for (let tries = 0; ; tries++) {
      try {
        const session = await this.#store.session(this.kv.partitionName);
        const revision = await this.#claimIn(session, { key, fingerprint, id }, isUnknown);
        return revision === null ? null : { key, fingerprint, id, session, revision, isUnknown };
      } catch (error) {
        isUnknown ||= isHoldfastError(error) && error.outcome === "unknown";
        const isWorthIt = isHoldfastError(error, "LEASE_LOST") || (isUnknown && canRepeat(error));
        if (!isWorthIt || clock.monotonicMs() - startMs >= CLAIM_WITHIN_MS) {
          if (isUnknown) void this.#findOrphan(key, id);
          throw notRun(error);
        }
      }
      await this.#pause(tries);
    }
  }

  /** The revision of our claim; null if somebody else has the key. Throws what else refused it. */
  async #claimIn(
    session: Session,
    claim: Pick<Claim, "key" | "fingerprint" | "id">,
    isUnknown: boolean,
  ): Promise<number | null> {
    const { key, fingerprint, id } = claim;
    const head: RecordHead = { state: "in-flight", fingerprint, claim: id, session: session.id };
    const { op } = this.kv;
    const group = [op.check(key, 0), op.put(key, writeRecord(head, ""), { session })] as const;
    const committed = await this.#store.commitAll(group);
    if (committed.ok) return committed.revision;
    const { refusal } = committed;
    // The store says that it is over: find out, so that the next one is opened.
    if (refusal.code === "LEASE_LOST") await session.renew();
    if (refusal.index > 0 || refusal.code !== "CONFLICT") throw refusalError(refusal);
    if (!isUnknown) return null;
    const found = await this.read(key);
    const isOurs = found?.claim === id && found.session === session.id;
    return isOurs && found.state === "in-flight" ? found.revision : null;
  }

  // -------------------------------------------------------------- finishing

  /**
   * Stores the answer with the ops; tries until the outcome is known or the claim is gone. Rejects
   * with the outcome `unknown` if the store does not tell within 30 s from the session's end.
   */
  async finish(
    claim: Claim,
    answer: { readonly state: "answered" | "failed"; readonly data: Data },
    ops: readonly Placed[],
  ): Promise<Finished> {
    const { key, fingerprint, session, revision } = claim;
    const head = { state: answer.state, fingerprint, claim: claim.id, session: session.id };
    const { ttlMs } = this.#settings;
    const group: readonly Placed[] = [
      this.kv.op.check(key, revision),
      this.kv.op.put(key, writeRecord(head, answer.data), { ttlMs }),
      ...ops,
    ];
    const { clock } = this.#store;
    let isUnknown = false;
    let giveUpMs = Infinity;
    for (let tries = 0; ; tries++) {
      // After an unknown outcome the store alone can tell, whatever became of the session.
      if (!isUnknown && session.isOver) return { kind: "lost", error: overError(session) };
      if (session.isOver) giveUpMs = Math.min(giveUpMs, clock.monotonicMs() + FINISH_WITHIN_MS);
      try {
        const committed = await this.#store.commitAll(group);
        if (committed.ok) return { kind: "applied", results: committed.results.slice(2) };
        return await this.#refused(claim, committed.refusal, isUnknown);
      } catch (error) {
        const isOver = !canRepeat(error) || clock.monotonicMs() >= giveUpMs;
        if (isOver) throw isUnknown ? withOutcome(error, "unknown") : error;
        isUnknown ||= isHoldfastError(error) && error.outcome !== "not-applied";
      }
      await this.#pause(tries).catch((error: unknown) => {
        throw withOutcome(error, isUnknown ? "unknown" : "not-applied");
      });
    }
  }

  async #refused(claim: Claim, refusal: Refusal, isUnknown: boolean): Promise<Finished> {
    // The check stands first: it held, so that no earlier try was applied either.
    if (refusal.index > 1)
      return { kind: "refused", refusal: { ...refusal, index: refusal.index - 2 } };
    if (refusal.code !== "CONFLICT") throw refusalError(refusal);
    const found = isUnknown ? await this.read(claim.key) : null;
    if (found !== null && found.claim === claim.id && found.state !== "in-flight") {
      return { kind: "applied", results: null };
    }
    void claim.session.renew();
    const { name } = this.#settings;
    const message = `The claim on a key of "${name}" is not held any more: its session ended, or another process has taken it over. Nothing of this attempt was written`;
    const outcome = isUnknown ? "unknown" : "not-applied";
    const details = { name, token: claim.revision };
    return { kind: "lost", error: new HoldfastError("FENCED", message, { outcome, details }) };
  }

  // -------------------------------------------------------------- letting go

  /**
   * Makes the key free. Resolves after the first try; if that had no answer, further ones follow in
   * the background until one has, or the session is over, which frees the key too.
   */
  async release(claim: Claim): Promise<void> {
    if (!(await this.#release(claim))) void this.#releaseLater(claim);
    else if (claim.isUnknown) void this.#findOrphan(claim.key, claim.id);
  }

  /** True if the key is not ours any more. */
  async #release({
    key,
    revision,
    session,
  }: Pick<Claim, "key" | "revision" | "session">): Promise<boolean> {
    if (session.isOver) return true;
    try {
      // A refusal says that it is somebody else's already.
      await this.#store.commitAll([this.kv.op.check(key, revision), this.kv.op.delete(key)]);
      return true;
    } catch (error) {
      return !canRepeat(error);
    }
  }

  async #releaseLater(claim: Claim): Promise<void> {
    for (let tries = 0; !this.#end.signal.aborted; tries++) {
      await this.#pause(tries).catch(noop);
      if (await this.#release(claim)) return;
    }
  }

  /** Deletes what a claim that was given up may have left. */
  async #findOrphan(key: string, id: string): Promise<void> {
    const { clock } = this.#store;
    const startMs = clock.monotonicMs();
    for (const passMs of ORPHAN_PASSES_MS) {
      await this.#background(startMs + passMs - clock.monotonicMs());
      if (this.#end.signal.aborted) return;
      // A look that fails is no harm: the next pass looks again, and the session's end frees it.
      await this.#removeOrphan(key, id).catch(noop);
    }
  }

  async #removeOrphan(key: string, id: string): Promise<void> {
    const found = await this.read(key);
    if (found?.claim !== id || found.state !== "in-flight") return;
    await this.kv.tryDelete(key, { ifRevision: found.revision });
  }

  // -------------------------------------------------------------- looking

  async read(key: string): Promise<StoredRecord | null> {
    const found = await this.kv.get(key);
    return found === null ? null : readRecord(key, found.value, found.revision);
  }

  /** Full jitter over 20, 40, 80 ... 2,000 ms. */
  #pause(tries: number): Promise<void> {
    const { clock, random } = this.#store;
    const boundMs = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** tries);
    return sleep(clock, 1 + Math.floor(random.next() * boundMs), this.#end.signal);
  }

  /** A pause that does not keep the process alive. */
  #background(ms: number): Promise<void> {
    const { clock } = this.#store;
    return new Promise((resolve) => {
      clock.timer(Math.max(0, ms), resolve, { keepAlive: false });
    });
  }
}

/** The store may take the same group later, or has taken it. */
function canRepeat(error: unknown): error is HoldfastError {
  if (!isHoldfastError(error) || error.code === "CLOSED") return false;
  return error.retryable || error.outcome === "unknown";
}

function withOutcome<E>(error: E, outcome: Outcome): E | HoldfastError {
  if (!isHoldfastError(error)) return error;
  const { code, message, details, retryable, retryAfterMs } = error;
  const options = { outcome, retryable, details, retryAfterMs, cause: error } as const;
  if (code === "LEASE_LOST") return new LeaseLostError(message, options);
  return new HoldfastError(code, message, options);
}

/** A failed claim changed nothing that a caller can see: its handler did not run. */
function notRun<E>(error: E): E | HoldfastError {
  const isClear = !isHoldfastError(error) || error.outcome !== "unknown";
  return isClear ? error : withOutcome(error, "not-applied");
}

function overError(session: Session): HoldfastError {
  const reason: unknown = session.signal.reason;
  if (reason instanceof LeaseLostError) return reason;
  return new LeaseLostError(`The session ${session.id} is over`, { cause: reason });
}
