/**
 * The bus port: messages to whoever listens now, in any process. It stores nothing: a message may
 * be lost, and losing one may cost time, never correctness. Use it for wake-ups and invalidation;
 * what must arrive belongs into a queue.
 */
import { jsonCodec, type Codec, type Data } from "../../core/codec.ts";
import { checkFunction, checkInteger, checkOneOf, checkOptions } from "../../core/options.ts";
import { checkWait, deferred, type Deferred, type Wait } from "../../core/signal.ts";
import { resultsOf, type Placed } from "../../store/group.ts";
import type { BusPublish } from "../../store/ops.ts";
import type { Store } from "../../store/store.ts";
import * as ops from "./ops.ts";

export interface BusOptions {
  /** A partition of the namespace; default: the namespace's own. */
  readonly partition?: string | undefined;
  /** Default JSON. */
  readonly codec?: Codec | undefined;
}

/** What goes when the buffer is full. */
export type BusOverflow = "drop-oldest" | "drop-newest";

export interface SubscribeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Messages that wait for a slow reader: 1 to 10,000; default 1,000. */
  readonly buffer?: number | undefined;
  /** Default `"drop-oldest"`. */
  readonly overflow?: BusOverflow | undefined;
}

export interface BusOps {
  publish(topic: string, message: unknown): Placed<BusPublish>;
}

const LONGEST_BUFFER = 10_000;
const DEFAULT_BUFFER = 1_000;

/**
 * One subscription's messages. It listens from the call of `subscribe` on, and must be iterated or
 * closed; it ends by `break`,
 * `close()`, the signal (the iteration throws its reason), or the store's close (the iteration
 * ends).
 */
export class Subscription<T = unknown> implements AsyncIterableIterator<T> {
  readonly #buffer: number;
  readonly #overflow: BusOverflow;
  readonly #signal: AbortSignal | undefined;
  readonly #messages: T[] = [];
  readonly #readers: Deferred<IteratorResult<T>>[] = [];
  #stop: (() => void) | undefined;
  #dropped = 0;
  #isOver = false;

  /** Made by `Bus.subscribe`. `listen` starts listening and gives the way to stop. */
  constructor(
    listen: (deliver: (message: T) => void, end: () => void) => () => void,
    options: SubscribeOptions,
  ) {
    checkOptions("options", options, ["signal", "buffer", "overflow"]);
    checkWait({ signal: options.signal });
    this.#buffer = checkInteger("buffer", options.buffer ?? DEFAULT_BUFFER, 1, LONGEST_BUFFER);
    this.#overflow = checkOneOf("overflow", options.overflow ?? "drop-oldest", [
      "drop-oldest",
      "drop-newest",
    ]);
    this.#signal = options.signal;
    this.#stop = listen(
      (message) => this.#deliver(message),
      () => this.close(),
    );
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Messages that this reader was too slow for. */
  get dropped(): number {
    return this.#dropped;
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#signal?.reason;
    for (const reader of this.#readers.splice(0)) reader.reject(reason);
    this.close();
  };

  #deliver(message: T): void {
    if (this.#isOver) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) return reader.resolve({ value: message, done: false });
    if (this.#messages.length >= this.#buffer) {
      this.#dropped++;
      if (this.#overflow === "drop-newest") return;
      this.#messages.shift();
    }
    this.#messages.push(message);
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#signal?.aborted === true) return Promise.reject(this.#signal.reason as Error);
    if (this.#messages.length > 0) {
      return Promise.resolve({ value: this.#messages.shift() as T, done: false });
    }
    if (this.#isOver) return Promise.resolve({ value: undefined, done: true });
    const reader = deferred<IteratorResult<T>>();
    this.#readers.push(reader);
    return reader.promise;
  }

  return(): Promise<IteratorResult<T>> {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Stops listening; what is buffered is dropped. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop?.();
    this.#stop = undefined;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#messages.length = 0;
    for (const reader of this.#readers.splice(0)) reader.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

export class Bus {
  readonly store: Store;
  /** The full name of the partition it speaks in. */
  readonly partitionName: string;
  readonly op: BusOps;
  readonly #options: BusOptions;
  readonly #codec: Codec;

  constructor(store: Store, options: BusOptions = {}) {
    checkOptions("options", options, ["partition", "codec"]);
    this.store = store;
    this.partitionName = store.partitionName(options.partition);
    this.#options = options;
    this.#codec = options.codec ?? jsonCodec;
    this.op = {
      publish: (topic, message) => ({
        partition: this.partitionName,
        op: ops.publish(topic, this.#codec.encode(message)),
      }),
    };
  }

  /** The same view of another partition of the namespace. */
  partition(name: string): Bus {
    return new Bus(this.store, { ...this.#options, partition: name });
  }

  /**
   * Sends a message (at most 64 KiB) to whoever listens to the topic now. It resolves when the
   * store has taken it, which says nothing of who got it. On abort: see `Store.commit`.
   */
  async publish(topic: string, message: unknown, wait?: Wait): Promise<void> {
    const { op } = this.op.publish(topic, message);
    resultsOf(await this.store.commit(this.partitionName, [op], wait));
  }

  /**
   * Messages of the topic from now on, through a bounded buffer: a slow reader loses some, and
   * `dropped` counts them.
   */
  subscribe<T = unknown>(topic: string, options: SubscribeOptions = {}): Subscription<T> {
    ops.checkTopic(topic);
    return new Subscription<T>(
      (deliver, end) => this.#listen(topic, (message) => deliver(message as T), end),
      options,
    );
  }

  /**
   * Calls `listen` with each message of the topic from now on; gives the way to stop. A throw of
   * `listen` is the process's.
   */
  listen<T = unknown>(topic: string, listen: (message: T) => void): () => void {
    ops.checkTopic(topic);
    checkFunction("listen", listen);
    return this.#listen(topic, (message) => listen(message as T));
  }

  #listen(topic: string, deliver: (message: unknown) => void, end?: () => void): () => void {
    const channel = { kind: "bus", partition: this.partitionName, name: topic } as const;
    const onMessage = (message: Data | null): void => {
      // A bare hint: the engine knows that something was lost, not what.
      if (message === null) return;
      let value: unknown;
      try {
        value = this.#codec.decode(message);
      } catch {
        // Another program's codec: to this one the message is lost, as any message may be.
        return;
      }
      deliver(value);
    };
    return this.store.subscribe(channel, onMessage, end);
  }
}
