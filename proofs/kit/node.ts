/**
 * A node is one process of the program under proof: it is started with an input, asked to do
 * things, tells of others, and can be killed. On an engine that processes share it is a real
 * process and a kill is `kill -9`. On memory, whose state lives in one process, it is an instance
 * of the same program in this process, and a kill makes it a crashed one: from that instant the
 * store does not answer it, nothing it says is heard, and its sockets are cut.
 */
import type { Store } from "holdfast/store";

/** Data that crosses between processes. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [name: string]: Json | undefined };

/** What a program sees of those who started it. */
export interface Link {
  readonly name: string;
  readonly input: Json;
  /**
   * Aborts when the instance is killed in this process, or stopped: what it holds outside of the
   * store ends with it.
   */
  readonly signal: AbortSignal;
  /** Opens its store; without one in a program that was given none. */
  open(): Promise<Store>;
  /** Answers tasks of this name. */
  serve(task: string, work: (input: Json) => Promise<Json | undefined>): void;
  /** Tells of something. */
  tell(event: Json): void;
}

/** Sets itself up and resolves; it works on until it is stopped or killed. */
export type Program = (link: Link) => Promise<void>;

export interface Node {
  readonly name: string;
  ask(task: string, input?: Json): Promise<Json | undefined>;
  /** Ends it without a chance to give anything back. */
  kill(): Promise<void>;
  /** Ends it in order. */
  stop(): Promise<void>;
}

export interface NodeOptions {
  readonly name: string;
  readonly input?: Json | undefined;
  readonly sessionTtlMs?: number | undefined;
  readonly onEvent?: ((event: Json) => void) | undefined;
}

/** How a node's store is opened: a URL in a process of its own. */
export interface StoreSettings {
  readonly namespace: string;
  readonly sessionTtlMs: number | undefined;
  readonly drainMs: number;
}
