/**
 * The way between an instance and the store. Each call is a request that arrives, an effect, and a
 * reply that comes back, and each of the three may be late or missing:
 *
 *   caller ──request──► store (effect, at one instant) ──reply──► caller
 *
 * refused      Nothing was sent: `UNAVAILABLE`, not applied.
 * lost, cut    Before or after the effect: `UNAVAILABLE`, outcome unknown, at once or after the
 *              timeout.
 * slow         The caller's timeout may pass first: it is told "unknown", and the effect may still
 *              come after that.
 * crash        Replies to the dead are dropped; a request under way may still arrive.
 */
import type { Data } from "../core/codec.ts";
import { HoldfastError, isHoldfastError } from "../core/errors.ts";
import { deferred } from "../core/signal.ts";
import type { Capabilities, Durability } from "../store/capabilities.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  Seal,
  StoreDriver,
} from "../store/driver.ts";
import type { Group, GroupResult } from "../store/ops.ts";
import type { Chance } from "./chance.ts";
import type { FaultPlan } from "./faults.ts";
import type { SimNode } from "./node.ts";
import type { Scheduler } from "./scheduler.ts";

/** Which way a partition cuts. */
export type Cut = "both" | "requests" | "replies";

/** A commit as the store saw it. */
export interface CommitEvent {
  readonly node: string;
  readonly groups: readonly Group[];
  readonly results: readonly GroupResult[];
}

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  /** The faults of now. */
  readonly plan: () => FaultPlan;
  /** Called at the instant of each commit's effect; may throw, which ends the world. */
  readonly onCommit: (event: CommitEvent) => void;
}

/** The share of requests under way that a crash of their sender takes along. */
const LOST_WITH_SENDER = 0.5;

export class Network {
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  readonly #plan: () => FaultPlan;
  readonly #cuts = new Map<SimNode, Cut>();
  readonly onCommit: (event: CommitEvent) => void;

  constructor(options: NetworkOptions) {
    this.scheduler = options.scheduler;
    this.chance = options.chance;
    this.#plan = options.plan;
    this.onCommit = options.onCommit;
  }
  get plan(): FaultPlan {
    return this.#plan();
  }
  /** Cuts the instance off from the store, until `join`. */
  cut(node: SimNode, way: Cut): void {
    this.#cuts.set(node, way);
    this.scheduler.note(node.name, "cut", way);
  }
  join(node: SimNode): void {
    if (this.#cuts.delete(node)) this.scheduler.note(node.name, "joined", "");
  }
  /** Why a request of the node does not get through now; undefined: it does. */
  lossOfRequest(node: SimNode): string | undefined {
    const cut = this.#cuts.get(node);
    if (cut === "both" || cut === "requests") return "cut off";
    return this.chance.hits(this.plan.lostRequestRate) ? "request lost" : undefined;
  }
  lossOfReply(node: SimNode): string | undefined {
    if (this.isDeaf(node)) return "cut off";
    return this.chance.hits(this.plan.lostReplyRate) ? "reply lost" : undefined;
  }
  isDeaf(node: SimNode): boolean {
    const cut = this.#cuts.get(node);
    return cut === "both" || cut === "replies";
  }
  delayMs(): number {
    const { minDelayMs, maxDelayMs, slowRate, slowMs } = this.plan;
    const base = this.chance.between(minDelayMs, maxDelayMs);
    return this.chance.hits(slowRate) ? base + this.chance.between(0, slowMs) : base;
  }
}

function unavailable(why: string, outcome: "not-applied" | "unknown" | undefined): HoldfastError {
  const message = `The simulated store could not be reached: ${why}`;
  return new HoldfastError("UNAVAILABLE", message, { retryable: true, outcome });
}

interface Call<T> {
  readonly label: string;
  readonly isWrite: boolean;
  readonly isRenewal?: boolean;
  readonly detail?: () => string;
  /** The effect, at the store. */
  reach(): Promise<T>;
}

function labelOf(groups: readonly Group[]): string {
  if (groups.length === 0) return "tick";
  const kinds = new Set<string>();
  for (const { ops } of groups) for (const { op } of ops) kinds.add(op);
  return [...kinds].join("+");
}

function detailOf(groups: readonly Group[]): string {
  const text = JSON.stringify(groups.map(({ ops }) => ops));
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function resultOf(results: readonly GroupResult[]): string {
  const parts = results.map((result) =>
    result.ok ? `r${result.revision}` : `refused ${result.refusal.code}`,
  );
  return `→ ${parts.slice(0, 12).join(", ")}${parts.length > 12 ? " …" : ""}`;
}

/** One process's driver: a driver of the shared state behind the network. */
export class SimDriver implements StoreDriver {
  readonly capabilities: Capabilities;
  readonly #inner: StoreDriver;
  readonly #network: Network;
  readonly #node: SimNode;
  readonly #epoch: number;
  readonly #underWay = new Set<Promise<unknown>>();
  /** Ends what the store keeps for this process: watches, subscriptions. */
  readonly #gone = new AbortController();
  #isClosed = false;

  constructor(inner: StoreDriver, network: Network, node: SimNode) {
    this.#inner = inner;
    this.#network = network;
    this.#node = node;
    this.#epoch = node.epoch;
    const { commitsInFlight } = network.plan;
    this.capabilities = Object.freeze({ ...inner.capabilities, isShared: true, commitsInFlight });
    node.onDeath(() => this.#gone.abort());
  }
  get #isDead(): boolean {
    return !this.#node.isAlive(this.#epoch);
  }

  commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    const isRenewal = groups.some(({ ops }) => ops.some(({ op }) => op === "session.renew"));
    const detail = (): string => detailOf(groups);
    const reach = async (): Promise<readonly GroupResult[]> => {
      const results = await this.#inner.commit(groups);
      const { name } = this.#node;
      this.#network.scheduler.note(name, "effect", labelOf(groups), () => resultOf(results));
      this.#network.onCommit({ node: name, groups, results });
      return results;
    };
    return this.#call({ label: labelOf(groups), isWrite: true, isRenewal, detail, reach });
  }
  read<const R extends readonly Read[]>(reads: R): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    const label = reads.map(({ read }) => read).join("+");
    const detail = (): string => JSON.stringify(reads).slice(0, 300);
    return this.#call({ label, isWrite: false, detail, reach: () => this.#inner.read(reads) });
  }
  async *watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncGenerator<KvChanges, void, void> {
    // Ends at the store when the process dies or the watcher stops; the process itself learns of
    // its signal alone.
    const ended = new AbortController();
    const end = (): void => ended.abort();
    for (const each of [signal, this.#gone.signal]) {
      if (each.aborted) end();
      each.addEventListener("abort", end);
    }
    try {
      let isFirst = true;
      for await (const batch of this.#inner.watch(partition, prefix, cursor, ended.signal)) {
        const isOpen = await this.#deliver(batch, isFirst, signal);
        isFirst = false;
        if (!isOpen) return;
        yield batch;
      }
      // The dead wait for ever: nothing of theirs may run on.
      if (this.#isDead) await new Promise<never>(() => {});
    } finally {
      end();
      signal.removeEventListener("abort", end);
      this.#gone.signal.removeEventListener("abort", end);
    }
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    if (this.#isDead) return () => {};
    let isOn = true;
    const stop = this.#inner.subscribe(channel, (message) => {
      this.#hint(channel, () => {
        if (isOn) listen(message);
      });
    });
    const off = (): void => {
      isOn = false;
      this.#gone.signal.removeEventListener("abort", off);
      stop();
    };
    this.#gone.signal.addEventListener("abort", off);
    return off;
  }
  export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    const reach = (): Promise<ExportPage> => this.#inner.export(partition, cursor, limit);
    return this.#call({ label: "export", isWrite: false, reach });
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    const reach = (): Promise<void> => this.#inner.import(partition, records);
    return this.#call({ label: "import", isWrite: true, reach });
  }
  seal(partition: string, seal: Seal): Promise<void> {
    const reach = (): Promise<void> => this.#inner.seal(partition, seal);
    return this.#call({ label: "seal", isWrite: true, reach });
  }
  durability(): Promise<Durability> {
    return this.#inner.durability();
  }
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay);
    this.#gone.abort();
    await this.#inner.close();
  }

  // -------------------------------------------------------------- messages

  #call<T>(call: Call<T>): Promise<T> {
    // The dead hear nothing, and nobody hears them.
    if (this.#isDead) return new Promise<never>(() => {});
    if (this.#isClosed) {
      const message = "The simulated store was closed: open a new one";
      return Promise.reject(new HoldfastError("CLOSED", message, { outcome: "not-applied" }));
    }
    const promise = this.#send(call);
    this.#underWay.add(promise);
    const done = (): void => void this.#underWay.delete(promise);
    promise.then(done, done);
    return promise;
  }

  #send<T>(call: Call<T>): Promise<T> {
    const { scheduler, chance, plan } = this.#network;
    const { label, isWrite } = call;
    const { promise, resolve, reject } = deferred<T>();
    const fail = (why: string, isSent: boolean): void => {
      scheduler.note(this.#node.name, "failed", label, () => why);
      const outcome = isSent ? "unknown" : "not-applied";
      reject(unavailable(why, isWrite ? outcome : undefined));
    };
    if (chance.hits(plan.refusedRate)) {
      this.#plan("reply", label, plan.minDelayMs, () => fail("connection refused", false));
      return promise;
    }
    const answer = (kind: string, delayMs: number, settle: () => void): void => {
      this.#plan(kind, label, delayMs, () => {
        timeout.cancel();
        settle();
      });
    };
    const lose = (why: string): void => {
      scheduler.note(this.#node.name, "lost", label, () => why);
      if (!chance.hits(plan.resetShare)) return;
      answer("reset", this.#network.delayMs(), () => fail(`${why}, connection reset`, true));
    };
    const timeout = this.#plan("timeout", label, plan.timeoutMs, () => fail("no answer", true));
    const loss = this.#network.lossOfRequest(this.#node);
    if (loss !== undefined) {
      lose(loss);
      return promise;
    }
    this.#arrive(call, lose, (error, value) => {
      answer("reply", this.#network.delayMs(), () =>
        error === undefined ? resolve(value as T) : reject(error),
      );
    });
    return promise;
  }

  /** Plans the request's arrival: its effect, then the way back. */
  #arrive<T>(
    call: Call<T>,
    lose: (why: string) => void,
    reply: (error: HoldfastError | undefined, value?: T) => void,
  ): void {
    const network = this.#network;
    const { scheduler, chance, plan } = network;
    let delayMs = network.delayMs();
    if (call.isRenewal === true && chance.hits(plan.lateRenewalRate)) {
      delayMs += chance.between(0, plan.lateRenewalMs);
    }
    const { label, detail } = call;
    const options = { atMs: scheduler.nowMs + delayMs, kind: "arrive", label, detail };
    scheduler.at({ ...options, label: `${this.#node.name} ${label}` }, () => {
      if (this.#isDead && chance.hits(LOST_WITH_SENDER)) return;
      const back = (error: HoldfastError | undefined, value?: T): void => {
        const loss = network.lossOfReply(this.#node);
        if (loss === undefined) reply(error, value);
        else lose(loss);
      };
      call
        .reach()
        .then(
          (value) => back(undefined, value),
          (error: unknown) => (isHoldfastError(error) ? back(error) : scheduler.fail(error)),
        )
        .catch((error: unknown) => scheduler.fail(error));
    });
  }

  /** Plans something that happens to this process. */
  #plan(kind: string, label: string, delayMs: number, run: () => void): { cancel(): void } {
    const { scheduler } = this.#network;
    if (this.#isDead) return { cancel: () => undefined };
    return scheduler.at({ atMs: scheduler.nowMs + delayMs, kind, label, owner: this.#node }, run);
  }

  #hint(channel: Channel, tell: () => void): void {
    const network = this.#network;
    const { chance, plan } = network;
    if (network.isDeaf(this.#node) || chance.hits(plan.lostHintRate)) return;
    const lateMs = chance.hits(plan.lateHintRate) ? chance.between(0, plan.lateHintMs) : 0;
    const label = `${channel.kind} ${channel.name}`;
    this.#plan("hint", label, network.delayMs() + lateMs, tell);
    // A hint may come twice; a message of the bus does not.
    if (channel.kind === "bus" || !chance.hits(plan.doubleHintRate)) return;
    this.#plan("hint", label, network.delayMs() + lateMs, tell);
  }

  /**
   * Brings a watch's batch to its process; false: the watcher has stopped. The first batch answers
   * a request.
   */
  async #deliver(batch: KvChanges, isFirst: boolean, signal: AbortSignal): Promise<boolean> {
    const network = this.#network;
    const { promise, resolve, reject } = deferred<void>();
    const loss = isFirst ? network.lossOfRequest(this.#node) : undefined;
    const isBroken = loss !== undefined || network.chance.hits(network.plan.brokenWatchRate);
    const label = `${batch.changes.length} changes`;
    const delayMs = isFirst ? network.delayMs() + network.delayMs() : network.delayMs();
    const arrive = (): void => {
      // Cut off: the connection is found broken after a while.
      if (network.isDeaf(this.#node) || isBroken) reject(unavailable("the watch broke", undefined));
      else resolve();
    };
    this.#plan("watch", label, isBroken ? delayMs + network.plan.timeoutMs : delayMs, arrive);
    const onAbort = (): void => resolve();
    signal.addEventListener("abort", onAbort);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    return !signal.aborted;
  }
}
