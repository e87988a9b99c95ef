/**
 * A node on memory: an instance of the program in this process, whose kill is a crash (see
 * `node.ts`).
 */
import { memory, type MemoryState } from "holdfast/engines/memory";
import { Store } from "holdfast/store";
import { PROGRAMS, type ProgramName } from "../programs.ts";
import { MortalDriver } from "./crash.ts";
import type { Json, Node, NodeOptions, StoreSettings } from "./node.ts";
import { messageOf, Questions, Tasks } from "./wire.ts";

export class InstanceNode implements Node {
  readonly name: string;
  readonly #driver: MortalDriver;
  readonly #options: NodeOptions;
  readonly #settings: StoreSettings;
  readonly #ended = new AbortController();
  readonly #tasks = new Tasks();
  readonly #questions = new Questions();
  #opening: Promise<Store> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: NodeOptions, state: MemoryState, settings: StoreSettings) {
    this.name = options.name;
    this.#options = options;
    this.#driver = new MortalDriver(memory({ state }));
    this.#settings = settings;
  }

  static async start(
    options: NodeOptions,
    program: ProgramName,
    state: MemoryState,
    settings: StoreSettings,
  ): Promise<Node> {
    const node = new InstanceNode(options, state, settings);
    const { name, input = null, onEvent } = options;
    const run = await PROGRAMS[program]();
    await run({
      name,
      input: structuredClone(input),
      signal: node.#ended.signal,
      open: () => node.#open(),
      serve: (task, work) => node.#tasks.serve(task, work),
      tell: (event) => {
        if (!node.#ended.signal.aborted) onEvent?.(structuredClone(event));
      },
    });
    return node;
  }

  #open(): Promise<Store> {
    this.#opening ??= Store.open(this.#driver, {
      ...this.#settings,
      label: `proof/${this.#options.name}`,
    });
    return this.#opening;
  }

  async ask(task: string, input: Json = null): Promise<Json | undefined> {
    return this.#questions.ask((no) => void this.#answer(no, task, structuredClone(input)));
  }

  async #answer(no: number, task: string, input: Json): Promise<void> {
    try {
      const value = await this.#tasks.run(task, input);
      this.#questions.answer({ kind: "answer", no, value: structuredClone(value) });
    } catch (error) {
      this.#questions.answer({ kind: "refusal", no, error: messageOf(error) });
    }
  }

  async kill(): Promise<void> {
    this.#driver.kill();
    this.#end("was killed");
    // Frees its timers. What it still says goes to a driver that does not answer.
    this.#closing ??= this.#close();
  }

  async stop(): Promise<void> {
    this.#end("was stopped");
    this.#closing ??= this.#close();
    await this.#closing;
  }

  #end(how: string): void {
    this.#ended.abort();
    this.#questions.failAll(`The instance ${this.name} ${how}`);
  }

  async #close(): Promise<void> {
    try {
      await (await this.#opening)?.close();
    } catch {
      // A crashed instance closes as well as it can.
    }
  }
}
