/** What goes between a node's process and the proof: tasks and answers, by number, and events. */
import { HoldfastError } from "holdfast";
import type { ProgramName } from "../programs.ts";
import type { Json, StoreSettings } from "./node.ts";

/**
 * The first message: who to be. The URL comes here, not in the arguments that every user of the
 * machine can list.
 */
export interface Start {
  readonly kind: "start";
  readonly name: string;
  readonly program: ProgramName;
  readonly input: Json;
  readonly url: string | null;
  readonly store: StoreSettings;
}

export type ToNode =
  | Start
  | { readonly kind: "task"; readonly no: number; readonly task: string; readonly input: Json }
  | { readonly kind: "stop" };

export type FromNode =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "answer"; readonly no: number; readonly value: Json | undefined }
  | { readonly kind: "refusal"; readonly no: number; readonly error: string }
  | { readonly kind: "event"; readonly event: Json };

/** An error as it crosses. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

type Task = (input: Json) => Promise<Json | undefined>;

/** The tasks of one program. */
export class Tasks {
  readonly #tasks = new Map<string, Task>();

  serve(name: string, work: Task): void {
    this.#tasks.set(name, work);
  }
  async run(name: string, input: Json): Promise<Json | undefined> {
    const work = this.#tasks.get(name);
    if (work === undefined)
      throw new TypeError(`Expected a task that the program serves, got ${name}`);
    return work(input);
  }
}

/** Questions that wait for their answer. When the other side is gone, so are they. */
export class Questions {
  #next = 1;
  readonly #waiting = new Map<number, PromiseWithEnds>();

  ask(send: (no: number) => void): Promise<Json | undefined> {
    const no = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(no, { resolve, reject });
      send(no);
    });
  }
  answer(message: FromNode): void {
    if (message.kind !== "answer" && message.kind !== "refusal") return;
    const waiting = this.#waiting.get(message.no);
    this.#waiting.delete(message.no);
    if (message.kind === "answer") waiting?.resolve(message.value);
    else waiting?.reject(new HoldfastError("FAILED", message.error));
  }
  failAll(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(new HoldfastError("UNAVAILABLE", why));
    this.#waiting.clear();
  }
}

interface PromiseWithEnds {
  readonly resolve: (value: Json | undefined) => void;
  readonly reject: (error: Error) => void;
}
