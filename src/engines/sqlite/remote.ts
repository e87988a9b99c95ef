/**
 * The caller's side of the writer's thread. A commit is one message there and one back.
 *
 * If the thread dies, what was under way fails with `UNAVAILABLE`, outcome unknown, and later calls
 * with `UNAVAILABLE`, not applied: the store must be opened again. The thread keeps the process
 * alive only while an answer is awaited or somebody listens.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SHARE_ENV, Worker } from "node:worker_threads";
import { errorFromData, HoldfastError } from "../../core/errors.ts";
import { deferred } from "../../core/signal.ts";
import type { Deferred } from "../../core/signal.ts";
import type { Durability } from "../../store/capabilities.ts";
import type { ExportRecord, Seal } from "../../store/driver.ts";
import type { Group } from "../../store/ops.ts";
import type { ConnectionSettings } from "./database.ts";
import type { Executor } from "./executor.ts";
import type { Baseline, Foreign } from "./foreign.ts";
import { detach, packGroups, thrownFromData, unpack } from "./messages.ts";
import type { Reply, Request } from "./messages.ts";
import type { Committed, WriterStats } from "./writer.ts";

/**
 * From the sources (tests on Node 20 load them through tools/typescript.mjs, which threads
 * inherit), or beside us in dist.
 */
const isSource = import.meta.url.endsWith(".ts");

function startThread(settings: ConnectionSettings): Worker {
  const url = new URL(isSource ? "./thread.ts" : "./thread.js", import.meta.url);
  if (!existsSync(fileURLToPath(url))) {
    const message = `Expected the writer's thread at ${fileURLToPath(url)}, found none: when you bundle your program, keep \`holdfast\` external, or open the store with thread=off`;
    throw new HoldfastError("MISCONFIGURED", message, { outcome: "not-applied" });
  }
  return new Worker(url, {
    name: "holdfast-sqlite",
    workerData: settings,
    env: SHARE_ENV,
    // What the program loads for itself (loaders, instrumentation) is none of the thread's
    // business.
    ...(isSource ? {} : { execArgv: [] }),
  });
}

export class RemoteExecutor implements Executor {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #onForeign: (foreign: Foreign) => void;
  readonly #pending = new Map<number, Deferred<unknown>>();
  readonly #opening: Deferred<HoldfastError | undefined>;
  #lastId = 0;
  #isListening = false;
  #isClosing = false;
  #death: HoldfastError | undefined;

  private constructor(settings: ConnectionSettings, onForeign: (foreign: Foreign) => void) {
    this.#path = settings.path;
    this.#onForeign = onForeign;
    this.#opening = deferred();
    this.#worker = startThread(settings);
    this.#worker.on("message", (reply: Reply) => this.#onReply(reply));
    this.#worker.on("error", (error) => this.#died(error));
    this.#worker.on("exit", (code) => this.#died(new Error(`exit code ${code}`)));
  }

  /**
   * Resolves when the thread has opened the file; `refusal`: the file may be read but not written.
   */
  static async open(
    settings: ConnectionSettings,
    onForeign: (foreign: Foreign) => void,
  ): Promise<{ readonly executor: RemoteExecutor } | { readonly refusal: HoldfastError }> {
    const executor = new RemoteExecutor(settings, onForeign);
    try {
      const refusal = await executor.#opening.promise;
      if (refusal === undefined) {
        executor.#keepAlive();
        return { executor };
      }
      await executor.#end();
      return { refusal };
    } catch (error) {
      await executor.#end();
      throw error;
    }
  }

  commit(groups: readonly Group[]): Promise<Committed> {
    return this.#call<Committed>((id) => [id, "commit", packGroups(groups)]);
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<Committed> {
    return this.#call<Committed>((id) => [id, "import", partition, detach(records)]);
  }
  seal(partition: string, seal: Seal): Promise<Committed> {
    return this.#call<Committed>((id) => [id, "seal", partition, seal]);
  }
  durability(): Promise<Durability> {
    return this.#call<Durability>((id) => [id, "durability"]);
  }
  stats(): Promise<WriterStats> {
    return this.#call<WriterStats>((id) => [id, "stats"]);
  }
  watch(baseline: Baseline | null): void {
    if (this.#death !== undefined || this.#isClosing) return;
    this.#send([0, "watch", baseline]);
  }
  keepAlive(isListening: boolean): void {
    this.#isListening = isListening;
    this.#keepAlive();
  }
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#death === undefined) await this.#call((id) => [id, "close"]).catch(() => {});
    await this.#end();
  }

  #call<T>(request: (id: number) => Request): Promise<T> {
    if (this.#death !== undefined) return Promise.reject(this.#gone());
    const id = ++this.#lastId;
    const waiting = deferred<unknown>();
    this.#pending.set(id, waiting);
    if (this.#pending.size === 1) this.#keepAlive();
    try {
      this.#send(request(id));
    } catch (error) {
      this.#pending.delete(id);
      waiting.reject(error);
    }
    return waiting.promise as Promise<T>;
  }

  #send(request: Request): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(request);
  }

  #keepAlive(): void {
    if (this.#pending.size > 0 || this.#isListening) this.#worker.ref();
    else this.#worker.unref();
  }

  #onReply(reply: Reply): void {
    const [id, kind] = reply;
    if (kind === "foreign") return this.#onForeign(reply[2]);
    if (kind === "ready") {
      const refusal = reply[2];
      return this.#opening.resolve(refusal === null ? undefined : errorFromData(refusal));
    }
    const waiting: Deferred<unknown> | undefined = id === 0 ? this.#opening : this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#keepAlive();
    if (kind === "error") waiting?.reject(thrownFromData(reply[2]));
    else if (kind === "value") waiting?.resolve(reply[2]);
    else waiting?.resolve(unpack(reply[2]));
  }

  #died(cause: unknown): void {
    if (this.#death !== undefined) return;
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Expected the writer's thread of ${this.#path} to run, but it ended (${why}): open the store again`;
    this.#death = new HoldfastError("UNAVAILABLE", message, { outcome: "unknown", cause });
    this.#opening.reject(this.#gone());
    for (const waiting of this.#pending.values()) waiting.reject(this.#death);
    this.#pending.clear();
  }

  #gone(): HoldfastError {
    const message = this.#death?.message ?? "";
    return new HoldfastError("UNAVAILABLE", message, {
      outcome: "not-applied",
      cause: this.#death,
    });
  }

  async #end(): Promise<void> {
    await this.#worker.terminate();
  }
}
