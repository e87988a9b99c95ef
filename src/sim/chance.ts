/**
 * Chance of a simulated world: one seed, split into a stream for each purpose, so that one more
 * draw for a job's id does not shift the network's delays. All draws are counted together: the
 * count is part of the trace, and names the event where two runs part even if it changed nothing
 * else.
 */
import type { Random, SeededRandom } from "../core/random.ts";

/** How many numbers were drawn, over all streams of one world. */
export interface DrawCount {
  draws: number;
}

/** A counted stream with the shapes of chance that a fault plan needs. */
export class Chance implements Random {
  readonly #random: SeededRandom;
  readonly #count: DrawCount;

  constructor(random: SeededRandom, count: DrawCount) {
    this.#random = random;
    this.#count = count;
  }
  next(): number {
    this.#count.draws++;
    return this.#random.next();
  }
  text(chars: number): string {
    this.#count.draws += chars;
    return this.#random.text(chars);
  }
  /** An independent stream. */
  split(): Chance {
    this.#count.draws++;
    return new Chance(this.#random.split(), this.#count);
  }
  /**
   * True with the probability `rate`. Draws nothing for 0, so that an absent fault costs no draw.
   */
  hits(rate: number): boolean {
    return rate > 0 && this.next() < rate;
  }
  /** A number in [min, max). */
  between(min: number, max: number): number {
    return min + this.next() * (max - min);
  }
  /** A whole number in [min, max]. */
  integer(min: number, max: number): number {
    return Math.floor(this.between(min, max + 1));
  }
  /** The time to the next of events that come independently, every `meanMs` on average. */
  gapMs(meanMs: number): number {
    return -Math.log(1 - this.next()) * meanMs;
  }
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)] as T;
  }
}
