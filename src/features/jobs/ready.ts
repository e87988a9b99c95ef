/** Jobs claimed and not started, in the order of their claim. Taking from the front costs O(1). */
import type { HeldJob } from "./job.ts";

/** Taken places are given up in steps of this many. */
const COMPACT_STEP = 1_024;

export class ReadyList {
  #jobs: HeldJob[] = [];
  /** The index of the first that was not taken. */
  #from = 0;

  get size(): number {
    return this.#jobs.length - this.#from;
  }
  get first(): HeldJob | undefined {
    return this.#jobs[this.#from];
  }
  push(job: HeldJob): void {
    this.#jobs.push(job);
  }
  /** Removes and gives up to `max` from the front. */
  take(max: number): readonly HeldJob[] {
    const to = Math.min(this.#jobs.length, this.#from + max);
    const taken = this.#jobs.slice(this.#from, to);
    this.#from = to;
    if (to === this.#jobs.length) {
      this.#jobs = [];
      this.#from = 0;
    } else if (to > COMPACT_STEP) {
      this.#jobs = this.#jobs.slice(to);
      this.#from = 0;
    }
    return taken;
  }
  remove(job: HeldJob): void {
    this.#jobs = this.#jobs.slice(this.#from).filter((each) => each !== job);
    this.#from = 0;
  }
}
