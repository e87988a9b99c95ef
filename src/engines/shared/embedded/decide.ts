/**
 * The first phase of a group: everything that may refuse it is judged here, by reads alone. What passes can no longer fail, so
 * that the second phase writes without a way back.
 *
 * Checks of a key's revision judge the state before the group; bounds of a counter see the group's earlier ops.
 */
import { dataBytes } from "../../../core/codec.ts";
import type { Data } from "../../../core/codec.ts";
import type { KvAdd, Op, QueueEnqueue, QueueProgress, QueueSettle, Refusal } from "../../../store/ops.ts";
import { liveKv } from "./kv-ops.ts";
import type { Scope } from "./scope.ts";

type Verdict = Omit<Refusal, "index"> | undefined;

const INTEGER = /^-?\d{1,16}$/;

export class Decision {
  readonly #scope: Scope;
  readonly #isForced: boolean;
  /** What the group's earlier ops made of a key; null: deleted. */
  readonly #written = new Map<string, Data | null>();
  readonly #added = new Map<string, number>();

  constructor(scope: Scope, isForced: boolean) {
    this.#scope = scope;
    this.#isForced = isForced;
  }

  /** The first op that does not hold, or undefined. */
  judge(ops: readonly Op[]): Refusal | undefined {
    for (let index = 0; index < ops.length; index++) {
      const verdict = this.#op(ops[index] as Op);
      if (verdict !== undefined) return { index, ...verdict };
    }
    return undefined;
  }

  #op(op: Op): Verdict {
    switch (op.op) {
      case "kv.check":
        return this.#check(op.key, op.revision);
      case "kv.put":
        this.#written.set(op.key, op.value);
        return op.session === undefined ? undefined : this.#session(op.session);
      case "kv.delete":
        this.#written.set(op.key, null);
        return undefined;
      case "kv.add":
        return this.#add(op);
      case "queue.enqueue":
        return this.#enqueue(op);
      case "queue.claim":
        return this.#session(op.session);
      case "session.renew":
        return this.#session(op.session);
      case "queue.settle":
      case "queue.progress":
        return this.#held(op);
      default:
        return undefined;
    }
  }

  #check(key: string, revision: number): Verdict {
    const scope = this.#scope;
    const found = liveKv(scope.tables, scope.partition.no, key, scope.nowMs)?.revision ?? 0;
    if (found === revision) return undefined;
    const wanted = revision === 0 ? "no such key" : `revision ${revision}`;
    const message = `Expected key "${key}" to have ${wanted}, found ${found === 0 ? "no such key" : `revision ${found}`}: read it again and decide anew`;
    return { code: "CONFLICT", message, details: { key, expected: revision, found } };
  }

  #add(op: KvAdd): Verdict {
    const scope = this.#scope;
    const written = this.#written.get(op.key);
    const value =
      written === undefined
        ? (liveKv(scope.tables, scope.partition.no, op.key, scope.nowMs)?.value ?? "0")
        : (written ?? "0");
    if (typeof value !== "string" || !INTEGER.test(value)) {
      const message = `Expected key "${op.key}" to hold an integer, found ${dataBytes(value)} bytes of something else: use another key for the counter`;
      return { code: "INVALID_DATA", message, details: { key: op.key } };
    }
    const sum = Number(value) + op.delta;
    const min = op.min ?? Number.MIN_SAFE_INTEGER;
    const max = op.max ?? Number.MAX_SAFE_INTEGER;
    if (!Number.isSafeInteger(sum) || sum < min || sum > max) {
      const message = `Expected key "${op.key}" to stay from ${min} to ${max}, but ${value} + ${op.delta} does not`;
      return {
        code: "LIMITED",
        message,
        details: { key: op.key, value: Number(value), delta: op.delta, min, max },
      };
    }
    this.#written.set(op.key, String(sum));
    return undefined;
  }

  #session(id: string): Verdict {
    const scope = this.#scope;
    const row = scope.tables.session(scope.partition.no, id);
    if (row !== undefined && !row.isEnded && row.untilMs > scope.nowMs) return undefined;
    const message = `Session "${id}" has ended: stop what it held and open a new one`;
    return { code: "LEASE_LOST", message, details: { session: id } };
  }

  #held(op: QueueSettle | QueueProgress): Verdict {
    const lost = this.#session(op.session);
    if (lost !== undefined) return lost;
    const scope = this.#scope;
    const session = scope.tables.session(scope.partition.no, op.session);
    const lease = session === undefined ? undefined : scope.tables.lease(session.no, op.seq);
    if (lease?.token === op.token) return undefined;
    const message = `Job ${op.seq} of queue "${op.queue}" is not held under token ${op.token} any more: it was settled or went to another holder`;
    return { code: "FENCED", message, details: { queue: op.queue, seq: op.seq, token: op.token } };
  }

  #enqueue(op: QueueEnqueue): Verdict {
    const scope = this.#scope;
    const queue = scope.tables.queueByName(scope.partition.no, op.queue);
    if (queue === undefined || this.#isForced) return undefined;
    if (!op.isFresh) {
      const existing = scope.tables.jobById(queue.no, op.id);
      if (existing !== undefined) {
        if (isSame(existing.payload, op.payload)) return undefined;
        const message = `Expected job "${op.id}" of queue "${op.queue}" to be new or the same, found one with another payload: use another id`;
        return { code: "ALREADY_EXISTS", message, details: { queue: op.queue, id: op.id } };
      }
    }
    const { maxWaiting } = queue.config;
    if (maxWaiting === null) return undefined;
    const added = this.#added.get(op.queue) ?? 0;
    const { ready, scheduled, blocked } = queue.counts;
    const waiting = ready + scheduled + blocked + added;
    this.#added.set(op.queue, added + 1);
    if (waiting < maxWaiting) return undefined;
    const message = `Queue "${op.queue}" holds ${waiting} waiting jobs, its limit is ${maxWaiting}: try again when workers have caught up`;
    return { code: "OVERLOADED", message, details: { queue: op.queue, waiting, maxWaiting } };
  }
}

function isSame(a: Data, b: Data): boolean {
  if (typeof a === "string" && typeof b === "string") return a === b;
  return Buffer.from(a as Uint8Array).equals(Buffer.from(b as Uint8Array));
}
