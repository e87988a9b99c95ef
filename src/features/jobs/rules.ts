/**
 * The queue's rules on their way to the store: sent in front of the first group that uses the
 * queue, until one was committed.
 */
import type { Wait } from "../../core/signal.ts";
import type { Store } from "../../store/store.ts";
import { resultsOf, type Committed } from "../../store/group.ts";
import type { Op, QueueConfigure } from "../../store/ops.ts";

export class Rules {
  readonly #store: Store;
  readonly #partition: string;
  readonly #configure: QueueConfigure;
  #isKnown = false;
  #isSent = false;

  constructor(store: Store, partition: string, configure: QueueConfigure) {
    this.#store = store;
    this.#partition = partition;
    this.#configure = configure;
  }

  /**
   * Commits the ops in the queue's partition, behind the rules if the store does not have them from
   * us yet.
   */
  commit<const O extends readonly Op[]>(ops: O, wait?: Wait): Promise<Committed<O>> {
    if (this.#isKnown) return this.#store.commit(this.#partition, ops, wait);
    return this.#first(ops, wait);
  }

  async #first<const O extends readonly Op[]>(
    ops: O,
    wait: Wait | undefined,
  ): Promise<Committed<O>> {
    const all: readonly Op[] = [this.#configure, ...ops];
    const committed = await this.#store.commit(this.#partition, all, wait);
    if (!committed.ok) {
      const { refusal } = committed;
      return { ok: false, refusal: { ...refusal, index: Math.max(0, refusal.index - 1) } };
    }
    this.#isKnown = true;
    const results = committed.results.slice(1) as unknown as Extract<
      Committed<O>,
      { ok: true }
    >["results"];
    return { ok: true, revision: committed.revision, results };
  }

  /**
   * A commit that changes nothing (if the rules are the store's): all that was committed before it
   * is seen after it.
   */
  async touch(wait?: Wait): Promise<void> {
    resultsOf(await this.#store.commit(this.#partition, [this.#configure], wait));
  }

  /** Sends the rules ahead of a group that somebody else will commit. */
  sendAhead(): void {
    if (this.#isKnown || this.#isSent) return;
    this.#isSent = true;
    this.#store.commit(this.#partition, [this.#configure]).then(
      (committed) => {
        this.#isSent = false;
        this.#isKnown ||= committed.ok;
      },
      () => {
        this.#isSent = false;
      },
    );
  }
}
