/** A node that is a real process: its kill is `kill -9`. */
import { fork, type ChildProcess } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { HoldfastError } from "holdfast";
import type { Json, Node, NodeOptions } from "./node.ts";
import { Questions, type FromNode, type Start, type ToNode } from "./wire.ts";

// The same extension as this file's: compiled beside compiled, source beside source.
const CHILD = new URL(`../child${extname(import.meta.url)}`, import.meta.url);

/** What of the child's own words is kept, to explain its end. */
const STDERR_CHARS = 2_000;

export class ProcessNode implements Node {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #questions = new Questions();
  readonly #exited: Promise<void>;
  readonly #onEvent: ((event: Json) => void) | undefined;
  #stderr = "";
  #onReady: (() => void) | undefined;
  #onFailed: ((error: Error) => void) | undefined;

  private constructor(options: NodeOptions) {
    this.name = options.name;
    this.#onEvent = options.onEvent;
    this.#child = fork(fileURLToPath(CHILD), [], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    this.#child.on("message", (message: FromNode) => this.#hear(message));
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_CHARS);
    });
    const exited = new Promise<void>((resolve) => {
      this.#child.once("exit", (code, signal) => {
        this.#gone(`The process of ${this.name} ended (${signal ?? `exit code ${code}`})`);
        resolve();
      });
    });
    // What it had said before it ended may arrive after that; the channel closes behind its last
    // word.
    const silent = new Promise<void>((resolve) => void this.#child.once("disconnect", resolve));
    this.#exited = Promise.all([exited, silent]).then(() => undefined);
  }

  /** Starts the process and waits until its program is set up. */
  static async start(
    options: NodeOptions,
    start: Omit<Start, "kind" | "name" | "input">,
  ): Promise<Node> {
    const node = new ProcessNode(options);
    const ready = new Promise<void>((resolve, reject) => {
      node.#onReady = resolve;
      node.#onFailed = reject;
    });
    const { name, input = null } = options;
    node.#send({ kind: "start", name, input, ...start });
    try {
      await ready;
      return node;
    } catch (error) {
      await node.kill();
      throw error;
    }
  }

  ask(task: string, input: Json = null): Promise<Json | undefined> {
    return this.#questions.ask((no) => this.#send({ kind: "task", no, task, input }));
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.connected) this.#send({ kind: "stop" });
    await this.#exited;
  }

  #send(message: ToNode): void {
    this.#child.send(message, (error) => {
      if (error !== null)
        this.#gone(`The process of ${this.name} can't be reached: ${error.message}`);
    });
  }

  #hear(message: FromNode): void {
    if (message.kind === "ready") this.#onReady?.();
    else if (message.kind === "failed") this.#fail(`${this.name}: ${message.error}`);
    else if (message.kind === "event") this.#onEvent?.(message.event);
    else this.#questions.answer(message);
  }

  #gone(why: string): void {
    this.#questions.failAll(why);
    this.#fail(this.#stderr === "" ? why : `${why}: ${this.#stderr.trim()}`);
  }

  #fail(why: string): void {
    this.#onFailed?.(new HoldfastError("FAILED", why));
  }
}
