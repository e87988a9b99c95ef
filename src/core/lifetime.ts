/**
 * The base of everything that lives: created → running → draining → closed, closed once, within a
 * stated bound.
 */
import { HoldfastError } from "./errors.ts";

export type LifetimeState = "running" | "draining" | "closed";

export abstract class Lifetime implements AsyncDisposable {
  #state: LifetimeState = "running";
  #closing: Promise<void> | undefined;
  readonly #what: string;

  constructor(what: string) {
    this.#what = what;
  }
  get state(): LifetimeState {
    return this.#state;
  }
  /** Throws `CLOSED` unless running. */
  protected checkRunning(): void {
    if (this.#state === "running") return;
    throw new HoldfastError("CLOSED", `${this.#what} is ${this.#state}: open a new one`, {
      outcome: "not-applied",
    });
  }
  /**
   * Drains, then aborts what is left, then frees everything. Calling it again gives the same
   * promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#run();
    return this.#closing;
  }
  async #run(): Promise<void> {
    this.#state = "draining";
    try {
      await this.drain();
    } finally {
      this.#state = "closed";
    }
  }
  /** What closing means here; must end within the bound that the class states. */
  protected abstract drain(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
