/**
 * The engine under proof: its URL, a namespace of the proof's own, and the nodes that were started
 * on it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, HoldfastError, type Holdfast } from "holdfast";
import { memory, MemoryState } from "holdfast/engines/memory";
import { Kv } from "holdfast/ports/kv";
import { listQueues, Queue } from "holdfast/ports/queue";
import { Store, systemRandom } from "holdfast/store";
import type { ProgramName } from "../programs.ts";
import { InstanceNode } from "./instance-node.ts";
import { until } from "./figures.ts";
import type { Node, NodeOptions, StoreSettings } from "./node.ts";
import { ProcessNode } from "./process-node.ts";

export interface Engine {
  readonly scheme: string;
  /** The proof's own handle. */
  readonly store: Store;
  /** What a kill is here. */
  readonly kill: "kill -9" | "crashed instance";
  /** Starts a node with a store on this engine. */
  start(program: ProgramName, options: NodeOptions): Promise<Node>;
  /** Starts a real process without a store. */
  startOutside(program: ProgramName, options: NodeOptions): Promise<Node>;
  /** A folder for what the proof keeps outside of the store; it goes with the engine. */
  scratch(): Promise<string>;
  /** Ends all nodes, removes what the proof wrote, and closes. */
  close(): Promise<void>;
}

/** Nodes have little to wait for: a proof that ends stops them first. */
const DRAIN_MS = 2_000;
const STOP_WITHIN_MS = 5_000;
const CLEAN_WITHIN_MS = 10_000;
const PURGE_PAGE = 1_000;
/** What a purge takes; a leased job is given back first, by the end of its session. */
const PURGED = ["ready", "scheduled", "blocked", "completed", "cancelled", "dead"] as const;

/** Opens the engine of the URL, or a SQLite file in a temporary folder. */
export async function openEngine(url: string | undefined, name: string): Promise<Engine> {
  const namespace = `${name}-${systemRandom.text(8)}`;
  if (url !== undefined && /^memory:/i.test(url)) return openMemory(namespace);
  const folder = url === undefined ? await makeFolder() : undefined;
  try {
    const target = url ?? `sqlite:${join(folder as string, "proof.db")}`;
    const hf = await connect(target, { namespace, drainMs: DRAIN_MS });
    return new OpenedEngine({ store: hf.store, namespace, url: target, folder });
  } catch (error) {
    if (folder !== undefined) await removeFolder(folder);
    throw error;
  }
}

async function openMemory(namespace: string): Promise<Engine> {
  const state = new MemoryState();
  const store = await Store.open(memory({ state }), { namespace, drainMs: DRAIN_MS });
  return new OpenedEngine({ store, namespace, state });
}

function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "holdfast-"));
}

function removeFolder(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true });
}

interface Opened {
  readonly store: Store;
  readonly namespace: string;
  /** For nodes in processes of their own. */
  readonly url?: string | undefined;
  /** Where the store itself lies, if it is to be removed in the end. */
  readonly folder?: string | undefined;
  /** For nodes in this process. */
  readonly state?: MemoryState | undefined;
}

class OpenedEngine implements Engine {
  readonly store: Store;
  readonly #opened: Opened;
  readonly #nodes = new Set<Promise<Node>>();
  #isClosing = false;
  #scratch: Promise<string> | undefined;

  constructor(opened: Opened) {
    this.store = opened.store;
    this.#opened = opened;
  }

  get scheme(): string {
    return this.store.capabilities.engine;
  }
  get kill(): Engine["kill"] {
    return this.#opened.state === undefined ? "kill -9" : "crashed instance";
  }

  start(program: ProgramName, options: NodeOptions): Promise<Node> {
    const { namespace, state, url = null } = this.#opened;
    const { sessionTtlMs } = options;
    const store: StoreSettings = { namespace, sessionTtlMs, drainMs: DRAIN_MS };
    return this.#adopt(() =>
      state === undefined
        ? ProcessNode.start(options, { program, url, store })
        : InstanceNode.start(options, program, state, store),
    );
  }

  startOutside(program: ProgramName, options: NodeOptions): Promise<Node> {
    const store: StoreSettings = { namespace: "none", sessionTtlMs: undefined, drainMs: DRAIN_MS };
    return this.#adopt(() => ProcessNode.start(options, { program, url: null, store }));
  }

  /** Keeps the node from its very start, so that closing ends it however far it has come. */
  async #adopt(start: () => Promise<Node>): Promise<Node> {
    if (this.#isClosing) throw new HoldfastError("CLOSED", "The proof is over: it starts nothing");
    const starting = start();
    this.#nodes.add(starting);
    return starting;
  }

  scratch(): Promise<string> {
    this.#scratch ??= makeFolder();
    return this.#scratch;
  }

  async close(): Promise<void> {
    const { folder, state } = this.#opened;
    this.#isClosing = true;
    try {
      // First its own handle: what still runs of a proof that was interrupted (its visitors, say)
      // writes nothing from here on.
      await this.store.close();
    } finally {
      await Promise.allSettled([...this.#nodes].map(async (node) => this.#end(await node)));
    }
    try {
      // A temporary store goes as a whole.
      if (folder === undefined && state === undefined) await this.#clean();
    } finally {
      if (folder !== undefined) await removeFolder(folder);
      if (this.#scratch !== undefined) await removeFolder(await this.#scratch);
    }
  }

  async #end(node: Node): Promise<void> {
    const timer = this.store.clock.timer(STOP_WITHIN_MS, () => void node.kill());
    try {
      await node.stop();
    } finally {
      timer.cancel();
    }
  }

  /** Leaves a store of the user's as it was, but for empty queues. */
  async #clean(): Promise<void> {
    const { namespace, url } = this.#opened;
    if (url === undefined) return;
    await using hf = await connect(url, { namespace, drainMs: DRAIN_MS });
    await endSessions(hf.store);
    const kv = new Kv(hf.store);
    for await (const { key } of kv.scan("", { limit: PURGE_PAGE })) await kv.delete(key);
    // A session that held much gives it back in parts, one with each commit: so again and again.
    const isEmpty = await until(hf.store.clock, CLEAN_WITHIN_MS, () => purgeAll(hf));
    if (isEmpty) return;
    const message = `Expected the proof to remove its jobs, some are left in ${namespace}`;
    throw new HoldfastError("FAILED", message);
  }
}

/** Ends what is left of nodes that are dead: without that, their jobs stay leased for a TTL. */
async function endSessions(store: Store): Promise<void> {
  const partition = store.partitionName();
  const [sessions] = await store.read([{ read: "session.list", partition }]);
  for (const { session } of sessions)
    await store.commit(partition, [{ op: "session.end", session }]);
}

/** Whether no job is left. */
async function purgeAll({ store }: Holdfast): Promise<boolean> {
  for (const { queue: name } of await listQueues(store)) {
    const queue = new Queue(store, name);
    for (const state of PURGED) await queue.purge(state);
  }
  const left = await listQueues(store);
  return left.every(({ counts }) => Object.values(counts).every((count) => count === 0));
}
