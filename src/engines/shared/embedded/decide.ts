/**
 * The first phase of a group: everything that may refuse it is judged here, by reads alone. What
 * passes can no longer fail, so that the second phase writes without a way back.
 *
 * Checks of a key's revision judge the state before the group. All else sees the group's earlier
 * ops: bounds of a counter, sessions opened or ended, leases settled, ids and dedupe keys added,
 * rules configured.
 */
import { dataBytes } from "../../../core/codec.ts";
import type { Data } from "../../../core/codec.ts";
import type {
  KvAdd,
  Op,
  QueueConfig,
  QueueEnqueue,
  QueueProgress,
  QueueSettle,
  Refusal,
  SessionOpen,
} from "../../../store/ops.ts";
import { liveKv } from "./kv-ops.ts";
import { standingJob } from "./queue-ops.ts";
import type { Scope } from "./scope.ts";
import type { QueueRow, SessionRow } from "./tables.ts";

type Verdict = Omit<Refusal, "index"> | undefined;

const INTEGER = /^-?\d{1,16}$/;

export class Decision {
  readonly #scope: Scope;
  readonly #isForced: boolean;
  /** What the group's earlier ops made of a key; null: deleted. */
  readonly #written = new Map<string, Data | null>();
  /** Sessions that the group's earlier ops opened (true) or ended (false). */
  readonly #sessions = new Map<string, boolean>();
  /** Jobs that the group's earlier ops settled. */
  readonly #settled = new Set<number>();
  readonly #configs = new Map<string, QueueConfig>();
  /** Payloads by queue and id, and dedupe keys by queue, that the group's earlier ops added. */
  readonly #payloads = new Map<string, Data>();
  readonly #deduped = new Set<string>();
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
      case "queue.configure":
        this.#configs.set(op.queue, op.config);
        return undefined;
      case "queue.enqueue":
        return this.#enqueue(op);
      case "queue.claim":
      case "session.renew":
        return this.#session(op.session);
      case "queue.settle":
      case "queue.progress":
        return this.#held(op);
      case "session.open":
        return this.#open(op);
      case "session.end":
        this.#sessions.set(op.session, false);
        return undefined;
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

  #row(session: string): SessionRow | undefined {
    return this.#scope.tables.session(this.#scope.partition.no, session);
  }

  #session(id: string): Verdict {
    const isOpen = this.#sessions.get(id);
    const row = this.#row(id);
    if (isOpen === true) return undefined;
    const isLive = row !== undefined && !row.isEnded && row.untilMs > this.#scope.nowMs;
    if (isLive && isOpen !== false) return undefined;
    const message = `Session "${id}" has ended: stop what it held and open a new one`;
    return { code: "LEASE_LOST", message, details: { session: id } };
  }

  #open(op: SessionOpen): Verdict {
    // What has ended stays so while anything is left of it: others may have seen its end already.
    const isKnown = this.#row(op.session) !== undefined || this.#sessions.has(op.session);
    const verdict = isKnown ? this.#session(op.session) : undefined;
    if (verdict === undefined) this.#sessions.set(op.session, true);
    return verdict;
  }

  #held(op: QueueSettle | QueueProgress): Verdict {
    const lost = this.#session(op.session);
    if (lost !== undefined) return lost;
    const { tables, partition } = this.#scope;
    const session = this.#row(op.session);
    const lease = session === undefined ? undefined : tables.lease(session.no, op.seq);
    const isIts = lease?.token === op.token && !this.#settled.has(op.seq);
    if (isIts && lease.queue === tables.queueByName(partition.no, op.queue)?.no) {
      if (op.op === "queue.settle") this.#settled.add(op.seq);
      return undefined;
    }
    const message = `Job ${op.seq} of queue "${op.queue}" is not held under token ${op.token} any more: it was settled or went to another holder`;
    return { code: "FENCED", message, details: { queue: op.queue, seq: op.seq, token: op.token } };
  }

  #enqueue(op: QueueEnqueue): Verdict {
    if (this.#isForced) return undefined;
    const { tables, partition } = this.#scope;
    const queue = tables.queueByName(partition.no, op.queue);
    const existing = op.isFresh ? undefined : this.#payloadOf(op, queue);
    if (existing !== undefined) return isSame(existing, op.payload) ? undefined : taken(op);
    const maxWaiting = (this.#configs.get(op.queue) ?? queue?.config)?.maxWaiting ?? null;
    if (maxWaiting === null || this.#isRepeat(op, queue)) return undefined;
    const added = this.#added.get(op.queue) ?? 0;
    this.#added.set(op.queue, added + 1);
    const { ready, scheduled, blocked } = queue?.counts ?? NONE;
    const waiting = ready + scheduled + blocked + added;
    return waiting < maxWaiting ? undefined : full(op, waiting, maxWaiting);
  }

  /** What the job of that id holds, in the store or by the group's earlier ops. */
  #payloadOf(op: QueueEnqueue, queue: QueueRow | undefined): Data | undefined {
    const place = `${op.queue}\n${op.id}`;
    const inStore =
      queue === undefined ? undefined : this.#scope.tables.jobById(queue.no, op.id)?.payload;
    const existing = this.#payloads.get(place) ?? inStore;
    if (existing === undefined) this.#payloads.set(place, op.payload);
    return existing;
  }

  /** True for a repeat of a dedupe key that adds no job. */
  #isRepeat(op: QueueEnqueue, queue: QueueRow | undefined): boolean {
    const { dedupe } = op;
    if (dedupe === null) return false;
    const place = `${op.queue}\n${dedupe.key}`;
    if (this.#deduped.has(place)) return true;
    this.#deduped.add(place);
    return queue !== undefined && standingJob(this.#scope, queue, dedupe) !== undefined;
  }
}

const NONE = { ready: 0, scheduled: 0, blocked: 0 } as const;

function full(op: QueueEnqueue, waiting: number, maxWaiting: number): Verdict {
  const message = `Queue "${op.queue}" holds ${waiting} waiting jobs, its limit is ${maxWaiting}: try again when workers have caught up`;
  return { code: "OVERLOADED", message, details: { queue: op.queue, waiting, maxWaiting } };
}

function taken(op: QueueEnqueue): Verdict {
  const message = `Expected job "${op.id}" of queue "${op.queue}" to be new or the same, found one with another payload: use another id`;
  return { code: "ALREADY_EXISTS", message, details: { queue: op.queue, id: op.id } };
}

function isSame(a: Data, b: Data): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return Buffer.compare(a, b) === 0;
}
