/**
 * The first phase of a group: everything that may refuse it is judged here, by reads alone. What
 * passes can no longer fail, so that the second phase writes without a way back.
 *
 * Checks of a key's revision judge the state before the group. All else sees the group's earlier
 * ops: bounds of a counter, sessions opened or ended, leases settled, ids and dedupe keys added,
 * rules configured, room made or taken (`waiting.ts`).
 */
import { dataBytes } from "../../../core/codec.ts";
import type { Data } from "../../../core/codec.ts";
import type {
  KvAdd,
  KvDelete,
  KvPut,
  Op,
  QueueEnqueue,
  QueueProgress,
  QueueSettle,
  Refusal,
  RunsOp,
  RunsRecord,
  RunsRestart,
  SessionOpen,
} from "../../../store/ops.ts";
import { liveKv } from "./kv-ops.ts";
import { overRow } from "./placement.ts";
import { standingJob } from "./queue-ops.ts";
import { idTaken, isSameData } from "./refusals.ts";
import type { Verdict } from "./refusals.ts";
import { RunDecision } from "./run-decision.ts";
import type { Scope } from "./scope.ts";
import type { JobRow, QueueRow, SessionRow } from "./tables.ts";
import { Waiting } from "./waiting.ts";

/** Undefined: the op holds. */
type Judged = Verdict | undefined;

const INTEGER = /^-?\d{1,16}$/;

/** A Record, so that the compiler misses none. */
const KNOWN: Readonly<Record<Op["op"], true>> = {
  ...{ "kv.check": true, "kv.put": true, "kv.delete": true, "kv.add": true, "kv.get": true },
  ...{ "queue.configure": true, "queue.enqueue": true, "queue.claim": true },
  ...{ "queue.settle": true, "queue.progress": true, "queue.cancel": true },
  ...{ "queue.redrive": true, "queue.pause": true, "queue.purge": true },
  ...{ "runs.record": true, "runs.send": true, "runs.restart": true },
  ...{ "session.open": true, "session.renew": true, "session.end": true, "bus.publish": true },
};
const OPS: ReadonlySet<string> = new Set(Object.keys(KNOWN));

/** What the group's earlier ops made of a key; value null: deleted. */
interface Written {
  readonly value: Data | null;
  readonly session: string | null;
}

export class Decision {
  readonly #scope: Scope;
  readonly #ops: readonly Op[];
  readonly #isForced: boolean;
  readonly #written = new Map<string, Written>();
  /** Sessions that the group's earlier ops opened (true) or ended (false). */
  readonly #sessions = new Map<string, boolean>();
  /** Jobs that the group's earlier ops settled. */
  readonly #settled = new Set<number>();
  /** Payloads by queue and id that the group's earlier ops added. */
  readonly #payloads = new Map<string, Data>();
  /**
   * By queue and dedupe key: the unstarted job that the group's earlier ops left for it. Its seq,
   * or the id under which they add it.
   */
  readonly #deduped = new Map<string, number | string>();
  readonly #waiting: Waiting;
  readonly #runs: RunDecision;

  constructor(scope: Scope, ops: readonly Op[], isForced: boolean) {
    this.#scope = scope;
    this.#ops = ops;
    this.#isForced = isForced;
    this.#waiting = new Waiting(scope, ops);
    this.#runs = new RunDecision(scope);
  }

  /** The first op that does not hold, or undefined. */
  judge(): Refusal | undefined {
    for (let index = 0; index < this.#ops.length; index++) {
      const verdict = this.#op(this.#ops[index] as Op);
      if (verdict !== undefined) return { index, ...verdict };
    }
    return undefined;
  }

  #op(op: Op): Judged {
    switch (op.op) {
      case "kv.check":
        return this.#check(op.key, op.revision);
      case "kv.put":
      case "kv.delete":
        return this.#write(op);
      case "kv.add":
        return this.#add(op);
      case "queue.enqueue":
        return this.#enqueue(op);
      case "queue.claim":
      case "session.renew":
        this.#waiting.note(op);
        return this.#session(op.session);
      case "queue.settle":
      case "queue.progress":
        return this.#held(op);
      case "session.open":
        return this.#open(op);
      case "session.end":
        return this.#end(op.session);
      default:
        return this.#other(op);
    }
  }

  #other(op: Op): Judged {
    if (op.op === "runs.record" || op.op === "runs.restart" || op.op === "runs.send") {
      return this.#run(op);
    }
    this.#waiting.note(op);
    return OPS.has(op.op) ? undefined : unknown(op);
  }

  #write(op: KvPut | KvDelete): Judged {
    const isPut = op.op === "kv.put";
    this.#written.set(op.key, isPut ? { value: op.value, session: op.session ?? null } : DELETED);
    return isPut && op.session !== undefined ? this.#session(op.session) : undefined;
  }

  #check(key: string, revision: number): Judged {
    const scope = this.#scope;
    const found = liveKv(scope.tables, scope.partition.no, key, scope.nowMs)?.revision ?? 0;
    if (found === revision) return undefined;
    const wanted = revision === 0 ? "no such key" : `revision ${revision}`;
    const message = `Expected key "${key}" to have ${wanted}, found ${found === 0 ? "no such key" : `revision ${found}`}: read it again and decide anew`;
    return { code: "CONFLICT", message, details: { key, expected: revision, found } };
  }

  #add(op: KvAdd): Judged {
    const { value: found, session } = this.#valueOf(op.key);
    const value = found ?? "0";
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
    this.#written.set(op.key, { value: String(sum), session });
    return undefined;
  }

  /** What a key holds by now: nothing, if it was bound to a session that the group has ended. */
  #valueOf(key: string): Written {
    const { tables, partition, nowMs } = this.#scope;
    const is = this.#written.get(key) ?? liveKv(tables, partition.no, key, nowMs) ?? DELETED;
    const isOver = is.session !== null && this.#sessions.get(is.session) === false;
    return isOver ? DELETED : is;
  }

  #row(session: string): SessionRow | undefined {
    return this.#scope.tables.session(this.#scope.partition.no, session);
  }

  #session(id: string): Judged {
    const isOpen = this.#sessions.get(id);
    const row = this.#row(id);
    if (isOpen === true) return undefined;
    const isLive = row !== undefined && !row.isEnded && row.untilMs > this.#scope.nowMs;
    if (isLive && isOpen !== false) return undefined;
    const message = `Session "${id}" has ended: stop what it held and open a new one`;
    return { code: "LEASE_LOST", message, details: { session: id } };
  }

  #open(op: SessionOpen): Judged {
    // What has ended stays so while anything is left of it: others may have seen its end already.
    const isKnown = this.#row(op.session) !== undefined || this.#sessions.has(op.session);
    const verdict = isKnown ? this.#session(op.session) : undefined;
    if (verdict === undefined) this.#sessions.set(op.session, true);
    return verdict;
  }

  #end(session: string): Judged {
    const row = this.#waiting.isIdle ? undefined : this.#row(session);
    const isFirst = this.#sessions.get(session) !== false;
    if (row !== undefined && !row.isEnded && isFirst) this.#waiting.end(row);
    this.#sessions.set(session, false);
    return undefined;
  }

  #held(op: QueueSettle | QueueProgress | RunsRecord | RunsRestart): Judged {
    const lost = this.#session(op.session);
    if (lost !== undefined) return lost;
    const { tables, partition } = this.#scope;
    const session = this.#row(op.session);
    const lease = session === undefined ? undefined : tables.lease(session.no, op.seq);
    const isIts = lease?.token === op.token && !this.#settled.has(op.seq);
    if (isIts && lease.queue === tables.queueByName(partition.no, op.queue)?.no) {
      if (op.op === "queue.settle") {
        this.#settled.add(op.seq);
        this.#runs.settled(op);
        this.#waiting.settle(op, lease);
      }
      return undefined;
    }
    const message = `Job ${op.seq} of queue "${op.queue}" is not held under token ${op.token} any more: it was settled or went to another holder`;
    return { code: "FENCED", message, details: { queue: op.queue, seq: op.seq, token: op.token } };
  }

  #run(op: RunsOp): Judged {
    if (op.op === "runs.record") return this.#held(op) ?? this.#runs.record(op);
    if (op.op === "runs.restart") return this.#held(op) ?? this.#runs.restart(op);
    return this.#runs.send(op, this.#payloads.has(`${op.queue}\n${op.run}`));
  }

  #enqueue(op: QueueEnqueue): Judged {
    if (this.#isForced) return undefined;
    const { tables, partition } = this.#scope;
    const queue = tables.queueByName(partition.no, op.queue);
    const existing = op.isFresh ? undefined : this.#payloadOf(op, queue);
    if (existing !== undefined) return this.#repeat(op, existing);
    const { maxWaiting } = this.#waiting.config(op.queue, queue);
    const isCounted = maxWaiting !== null || this.#waiting.mayLimit;
    const isJudged = isCounted || mayRepeat(op, this.#ops.length);
    const verdict = isJudged ? this.#standing(op, queue) : null;
    if (verdict !== null) return verdict;
    if (!op.isFresh) this.#payloads.set(placeOf(op), op.payload);
    return isCounted ? this.#room(op) : undefined;
  }

  /** Counts the job that the op adds. */
  #room(op: QueueEnqueue): Judged {
    const { tables, partition } = this.#scope;
    const queue = tables.queueByName(partition.no, op.queue);
    const { maxWaiting } = this.#waiting.config(op.queue, queue);
    const waiting = this.#waiting.count(op.queue, queue);
    if (maxWaiting !== null && waiting >= maxWaiting) return full(op, waiting, maxWaiting);
    this.#waiting.add(op.queue, op.id);
    return undefined;
  }

  /** The id is taken: by the same add, or by another. */
  #repeat(op: QueueEnqueue, existing: Data | typeof REPLACED): Judged {
    if (existing !== REPLACED && !isSameData(existing, op.payload)) return idTaken(op);
    // A purge may have had the job, so that this adds it anew.
    return this.#waiting.hasPurged(op.queue) ? this.#room(op) : undefined;
  }

  /** What the job of that id was added with, in the store or by the group's earlier ops. */
  #payloadOf(op: QueueEnqueue, queue: QueueRow | undefined): Data | typeof REPLACED | undefined {
    const isGone = this.#waiting.isGone(op.queue, op.id);
    const added = isGone ? undefined : this.#payloads.get(placeOf(op));
    if (added !== undefined) return added;
    const job = queue === undefined ? undefined : this.#jobOf(op, queue);
    return job?.isReplaced === true ? REPLACED : job?.payload;
  }

  #jobOf(op: QueueEnqueue, queue: QueueRow): JobRow | undefined {
    const { tables, nowMs } = this.#scope;
    const job = tables.jobById(queue.no, op.id);
    if (job === undefined || this.#waiting.isGone(op.queue, job.seq)) return undefined;
    return overRow(tables, job, nowMs) === undefined ? job : undefined;
  }

  /** The verdict on a repeat of a dedupe key that adds no job; null: it adds one. */
  #standing(op: QueueEnqueue, queue: QueueRow | undefined): Judged | null {
    const { dedupe } = op;
    if (dedupe === null) return null;
    const place = `${op.queue}\n${dedupe.key}`;
    const isFirst = dedupe.mode === "first";
    let job = this.#deduped.get(place);
    if (job === undefined) {
      const standing = queue === undefined ? undefined : standingJob(this.#scope, queue, op);
      if (standing !== undefined && isFirst) return undefined;
      // The add that replaced the payload, come again: as under a taken id.
      if (standing?.isAgain === true) return this.#again(op, standing.job as JobRow);
      job = standing?.job?.seq;
    }
    if (job !== undefined && (isFirst || this.#waiting.isThere(op.queue, job))) {
      this.#deduped.set(place, job);
      return undefined;
    }
    this.#deduped.set(place, op.id);
    return null;
  }

  #again(op: QueueEnqueue, { seq, payload }: JobRow): Judged | null {
    return this.#waiting.isGone(op.queue, seq) ? null : this.#repeat(op, payload);
  }
}

/**
 * True for an add that may be the one that replaced a payload, come again, or whose id another op
 * of the group may name.
 */
function mayRepeat({ isFresh, dedupe }: QueueEnqueue, ops: number): boolean {
  return !isFresh && dedupe !== null && (dedupe.mode !== "first" || ops > 1);
}

function placeOf({ queue, id }: QueueEnqueue): string {
  return `${queue}\n${id}`;
}

const DELETED: Written = Object.freeze({ value: null, session: null });
/** In place of a payload that another add replaced: nothing tells the first one any more. */
const REPLACED = Symbol("replaced");

/** From a newer library, through a file or a wire that it shares with this one. */
function unknown(op: { readonly op: string }): Judged {
  const message = `Expected an op that this version of Holdfast knows, got "${op.op}": use the version that wrote it, or a newer one, in every process of this store`;
  return { code: "INCOMPATIBLE", message, details: { op: op.op } };
}

function full(op: QueueEnqueue, waiting: number, maxWaiting: number): Judged {
  const message = `Queue "${op.queue}" holds ${waiting} waiting jobs, its limit is ${maxWaiting}: try again when workers have caught up`;
  return { code: "OVERLOADED", message, details: { queue: op.queue, waiting, maxWaiting } };
}
