/** A process of a test's world: a handle on the shared store that dies when it is told to. */
import { Holdfast } from "../../../connect.ts";
import type { Data } from "../../../core/codec.ts";
import { SeededRandom } from "../../../core/random.ts";
import { memory, type MemoryState } from "../../../engines/memory/index.ts";
import type { Channel, Read, ReadResult, StoreDriver } from "../../../store/driver.ts";
import type { Group, GroupResult, Op } from "../../../store/ops.ts";
import { Store } from "../../../store/store.ts";
import { ProcessClock, type VirtualClock } from "./clock.ts";

/** Ops that keep a session alive, and nothing else. */
const HOUSEKEEPING: ReadonlySet<Op["op"]> = new Set(["session.open", "session.renew"]);

/** Told of what a process commits; it may have the process die there. */
export interface CommitHooks {
  before?: ((groups: readonly Group[]) => void) | undefined;
  after?: ((groups: readonly Group[], results: readonly GroupResult[]) => void) | undefined;
}

/** A session that the store knows of, by its partition. */
interface OpenSession {
  readonly partition: string;
  readonly session: string;
}

/** The way of one process to the store; nothing goes in or out once it is cut. */
class ProcessDriver implements StoreDriver {
  readonly capabilities: StoreDriver["capabilities"];
  readonly hooks: CommitHooks = {};
  readonly sessions: Map<string, OpenSession> = new Map();
  readonly #inner: StoreDriver;
  readonly #onSign: () => void;
  #isCut = false;

  constructor(inner: StoreDriver, onSign: () => void) {
    this.#inner = inner;
    this.#onSign = onSign;
    this.capabilities = inner.capabilities;
  }

  cut(): void {
    this.#isCut = true;
  }
  /** Read anew each time: whatever runs meanwhile may cut it. */
  get isCut(): boolean {
    return this.#isCut;
  }

  async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    if (this.isCut) return never();
    this.hooks.before?.(groups);
    if (this.isCut) return never();
    if (groups.some(({ ops }) => ops.some(({ op }) => !HOUSEKEEPING.has(op)))) this.#onSign();
    const results = await this.#inner.commit(groups);
    this.#noteSessions(groups);
    this.hooks.after?.(groups, results);
    return this.isCut ? never() : results;
  }
  #noteSessions(groups: readonly Group[]): void {
    for (const { partition, ops } of groups) {
      for (const op of ops) {
        const name = "session" in op ? `${partition} ${op.session}` : "";
        if (op.op === "session.open") {
          this.sessions.set(name, { partition, session: op.session });
        } else if (op.op === "session.end") this.sessions.delete(name);
      }
    }
  }
  async read<const R extends readonly Read[]>(
    reads: R,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    if (this.isCut) return never();
    const results = await this.#inner.read(reads);
    return this.isCut ? never() : results;
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    return this.#inner.subscribe(channel, (message) => {
      if (this.isCut) return;
      this.#onSign();
      listen(message);
    });
  }
  watch(...args: Parameters<StoreDriver["watch"]>): ReturnType<StoreDriver["watch"]> {
    return this.#inner.watch(...args);
  }
  export(...args: Parameters<StoreDriver["export"]>): ReturnType<StoreDriver["export"]> {
    return this.#inner.export(...args);
  }
  import(...args: Parameters<StoreDriver["import"]>): Promise<void> {
    return this.#inner.import(...args);
  }
  seal(...args: Parameters<StoreDriver["seal"]>): Promise<void> {
    return this.#inner.seal(...args);
  }
  durability(): ReturnType<StoreDriver["durability"]> {
    return this.#inner.durability();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** The dead hear no answer. */
function never(): Promise<never> {
  return new Promise(() => {});
}

export interface ProcessParts {
  readonly name: string;
  readonly state: MemoryState;
  readonly clock: VirtualClock;
  readonly seed: number;
  readonly namespace: string;
  readonly sessionTtlMs: number;
  /** How long after its death what it held is free for others. */
  readonly takeoverMs: number;
  readonly onSign: () => void;
}

/** One process of a `TestWorld`. */
export class TestProcess {
  readonly name: string;
  /** As `connect` gives it. */
  readonly hf: Holdfast;
  readonly #parts: ProcessParts;
  readonly #driver: ProcessDriver;
  readonly #clock: ProcessClock;

  /** Made by `TestWorld.process`. */
  constructor(parts: ProcessParts, hf: Holdfast, driver: ProcessDriver, clock: ProcessClock) {
    this.name = parts.name;
    this.hf = hf;
    this.#parts = parts;
    this.#driver = driver;
    this.#clock = clock;
  }

  get isCrashed(): boolean {
    return this.#driver.isCut;
  }

  /**
   * The process dies, at this instant and with all that it has in memory: it commits nothing more,
   * hears nothing, and none of its timers fires. What it held goes to others when the world's
   * `takeoverMs` have passed. A step's function that is under way in it goes on as far as it can by
   * itself, as a request does that is on its way already.
   */
  crash(): void {
    if (this.isCrashed) return;
    this.#driver.cut();
    this.#clock.stop();
    const { state, takeoverMs: ttlMs } = this.#parts;
    // Sessions of this world are long, so that idle time costs nothing; that of the dead is not.
    const groups = [...this.#driver.sessions.values()].map(({ partition, session }): Group => ({
      partition,
      ops: [{ op: "session.renew", session, ttlMs }],
    }));
    state.commit(groups);
  }

  /** The hooks of its commits. */
  get hooks(): CommitHooks {
    return this.#driver.hooks;
  }

  /** Has the sessions that it holds live on, over a jump of time. */
  async renewSessions(): Promise<void> {
    if (this.isCrashed) return;
    const { store } = this.hf;
    if (store.state !== "running") return;
    for (const { partition } of this.#driver.sessions.values()) {
      await (await store.session(partition)).renew();
    }
  }
}

export async function openProcess(parts: ProcessParts): Promise<TestProcess> {
  const { name: label, state, seed, namespace, sessionTtlMs, onSign } = parts;
  const driver = new ProcessDriver(memory({ state }), onSign);
  const clock = new ProcessClock(parts.clock, onSign);
  const random = new SeededRandom(seed);
  const options = { clock, random, namespace, sessionTtlMs, label };
  const store = await Store.open(driver, options);
  return new TestProcess(parts, new Holdfast(store), driver, clock);
}
