/**
 * The groups that wait for the store, in order, any of which may be withdrawn.
 *
 * Batches are cut when they leave, not when they fill: what was withdrawn leaves no gap in a
 * commit. A withdrawn group is let go at once, payload and all; its empty slot goes when half of
 * the slots are empty, so that a withdrawal costs O(1) on average and what is kept is bounded by
 * what waits. (Slots that stay until they leave kept 20,000 withdrawn groups behind one slow
 * commit.)
 */
import type { Group, GroupResult } from "./ops.ts";

/** A group on its way. `promise` settles once; it can be withdrawn as long as it has not left. */
export class Pending {
  readonly group: Group;
  readonly bytes: number;
  readonly promise: Promise<GroupResult>;
  resolve!: (result: GroupResult) => void;
  reject!: (error: unknown) => void;
  state: "waiting" | "sent" | "done" = "waiting";
  /** Its place in the backlog; -1: it is not in there. */
  slot = -1;

  constructor(group: Group, bytes: number) {
    this.group = group;
    this.bytes = bytes;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** What one batch carries at most; a single larger group goes alone. */
export interface BatchSize {
  readonly groupsPerCommit: number;
  readonly opsPerCommit: number;
  readonly commitBytes: number;
}

/** Fewer slots than this are not worth a look. */
const SLOTS_KEPT = 64;

export class Backlog {
  /** `undefined`: it left, or was withdrawn. All before `#head` are. */
  #slots: (Pending | undefined)[] = [];
  #head = 0;
  #size = 0;

  /** Places kept in memory, empty ones too. */
  get slots(): number {
    return this.#slots.length;
  }

  push(pending: Pending): void {
    pending.slot = this.#slots.length;
    this.#slots.push(pending);
    this.#size++;
  }

  /** Lets go of a group that waits here; for others it does nothing. */
  remove(pending: Pending): void {
    if (pending.slot < 0) return;
    this.#clear(pending);
    this.#tidy();
  }

  /** Takes the next batch off, in order; empty if nothing waits. */
  take(most: BatchSize): Pending[] {
    const batch: Pending[] = [];
    let ops = 0;
    let bytes = 0;
    while (this.#size > 0 && batch.length < most.groupsPerCommit) {
      const pending = this.#slots[this.#head];
      if (pending !== undefined) {
        ops += pending.group.ops.length;
        bytes += pending.bytes;
        const isFull = ops > most.opsPerCommit || bytes > most.commitBytes;
        if (isFull && batch.length > 0) break;
        batch.push(pending);
        this.#clear(pending);
      }
      this.#head++;
    }
    this.#tidy();
    return batch;
  }

  /** Takes all off, in order. */
  takeAll(): Pending[] {
    const max = Infinity;
    return this.take({ groupsPerCommit: max, opsPerCommit: max, commitBytes: max });
  }

  #clear(pending: Pending): void {
    this.#slots[pending.slot] = undefined;
    pending.slot = -1;
    this.#size--;
  }

  #tidy(): void {
    if (this.#size === 0) {
      this.#slots = [];
      this.#head = 0;
      return;
    }
    const { length } = this.#slots;
    if (length < SLOTS_KEPT || this.#size * 2 > length) return;
    const kept: Pending[] = [];
    for (let i = this.#head; i < length; i++) {
      const pending = this.#slots[i];
      if (pending === undefined) continue;
      pending.slot = kept.length;
      kept.push(pending);
    }
    this.#slots = kept;
    this.#head = 0;
  }
}
