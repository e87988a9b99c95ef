/**
 * Rows that differ in their job number alone, gathered and written by one statement. A call into
 * SQLite costs about 1.2 us besides the work in the tree; 500 completions in a commit make two
 * calls instead of 1,000. Measured per row: an insert with its index 2.8 us alone and 1.2 us
 * gathered, a delete 1.4 us alone and 0.5 us in a run of neighbours.
 */
import type { Statement } from "./database.ts";

interface Gathered {
  readonly shared: readonly unknown[];
  readonly jobs: number[];
}

abstract class Bulk {
  #gathered: Gathered[] = [];

  get isEmpty(): boolean {
    return this.#gathered.length === 0;
  }

  /** Adds a row; `shared` are its other values. Rows that follow one another usually share them. */
  add(shared: readonly unknown[], job: number): void {
    const last = this.#gathered.at(-1);
    if (last !== undefined && isSame(last.shared, shared)) last.jobs.push(job);
    else this.#gathered.push({ shared, jobs: [job] });
  }

  forget(): void {
    this.#gathered = [];
  }

  flush(): void {
    if (this.#gathered.length === 0) return;
    const gathered = this.#gathered;
    this.#gathered = [];
    for (const { shared, jobs } of gathered) this.write(shared, jobs);
  }

  protected abstract write(shared: readonly unknown[], jobs: number[]): void;
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Below this, one statement a row is cheaper than a list as JSON. */
const FEW = 3;

/** `one` takes the shared values and a job, `many` the shared values and a JSON array of jobs. */
export class BulkInsert extends Bulk {
  readonly #one: Statement;
  readonly #many: Statement;

  constructor(one: Statement, many: Statement) {
    super();
    this.#one = one;
    this.#many = many;
  }
  protected write(shared: readonly unknown[], jobs: number[]): void {
    if (jobs.length >= FEW) this.#many.run(...shared, `[${jobs.join(",")}]`);
    else for (const job of jobs) this.#one.run(...shared, job);
  }
}

/**
 * `range` takes the shared values, a first and a last job. Only runs without a gap are deleted at
 * once, so that no row goes that was not named; who completes in the order of claiming makes long
 * runs.
 */
export class BulkDelete extends Bulk {
  readonly #range: Statement;

  constructor(range: Statement) {
    super();
    this.#range = range;
  }
  protected write(shared: readonly unknown[], jobs: number[]): void {
    jobs.sort((a, b) => a - b);
    let first = jobs[0] as number;
    let last = first;
    for (const job of jobs) {
      if (job > last + 1) {
        this.#range.run(...shared, first, last);
        first = job;
      }
      last = job;
    }
    this.#range.run(...shared, first, last);
  }
}
