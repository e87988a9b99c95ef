/**
 * How many jobs of a queue wait at each op of a group that is being judged: the store's counts, and
 * what the group's earlier ops will make of them.
 *
 * It is exact for adds, settles, cancels, redrives and ended sessions, and for a purge before them.
 * Which jobs a claim or a purge takes is known only when it runs: what a claim, or a purge after
 * other ops, takes out makes room from the next group on, and an op whose effect depends on it
 * counts as an add. So a bound may be met early in such a group, and is never crossed.
 */
import { LIMITS } from "../../../core/limits.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../../store/ops.ts";
import type {
  Op,
  QueueCancel,
  QueueConfig,
  QueuePurge,
  QueueRedrive,
  QueueSettle,
} from "../../../store/ops.ts";
import type { Scope } from "./scope.ts";
import type { LeaseRow, QueueRow, SessionRow } from "./tables.ts";

/** What the group's earlier ops made of a job. */
type Fate = "waiting" | "dead" | "over" | "gone";

/** One queue in the group. */
interface Flow {
  readonly row: QueueRow | undefined;
  config: QueueConfig;
  /** By how many there are more through the group's earlier ops. */
  waiting: number;
  /** By seq; by id for jobs that the group adds. */
  readonly fates: Map<number | string, Fate>;
  /** Held jobs whose cancel the group asks. */
  readonly asked: Set<number>;
  /** Some op may have moved jobs from one place to another. */
  isMoved: boolean;
  /** Jobs may be gone without a note in `fates`. */
  hasPurged: boolean;
  /** Jobs that waited may have started. */
  hasClaimed: boolean;
}

export class Waiting {
  readonly #scope: Scope;
  /** Only these queues' counts are asked for. */
  readonly #queues: ReadonlySet<string>;
  readonly #flows: Map<string, Flow> | undefined;
  readonly #hasCancels: boolean;
  /** True when an op of the group sets rules, so that even without a limit all adds count. */
  readonly mayLimit: boolean;

  constructor(scope: Scope, ops: readonly Op[]) {
    this.#scope = scope;
    const queues = new Set<string>();
    let [mayLimit, hasCancels] = [false, false];
    let last = "";
    // The usual groups cost nothing: a single op, or settles alone.
    for (const op of ops.length === 1 ? [] : ops) {
      if (op.op === "queue.enqueue") {
        if (op.queue !== last) queues.add(op.queue);
        last = op.queue;
      } else if (op.op === "queue.configure") mayLimit = true;
      else if (op.op === "queue.cancel") hasCancels = true;
    }
    this.#queues = queues;
    this.#flows = queues.size === 0 ? undefined : new Map();
    this.#hasCancels = hasCancels;
    this.mayLimit = mayLimit;
  }

  /** True when nobody will ask. */
  get isIdle(): boolean {
    return this.#flows === undefined;
  }

  /** Jobs that wait now; `row` is the queue's. */
  count(queue: string, row: QueueRow | undefined): number {
    const { ready = 0, scheduled = 0, blocked = 0 } = row?.counts ?? {};
    return ready + scheduled + blocked + (this.#flow(queue)?.waiting ?? 0);
  }
  /** The rules that hold now. */
  config(queue: string, row: QueueRow | undefined): QueueConfig {
    return this.#flow(queue)?.config ?? row?.config ?? DEFAULT_QUEUE_CONFIG;
  }
  /** True if an unstarted job is sure to be one still. */
  isThere(queue: string, place: number | string): boolean {
    const flow = this.#flow(queue);
    if (flow === undefined) return true;
    const fate = flow.fates.get(place);
    return !flow.hasPurged && !flow.hasClaimed && (fate === undefined || fate === "waiting");
  }
  hasPurged(queue: string): boolean {
    return this.#flow(queue)?.hasPurged ?? false;
  }
  /** True for a job (its seq, or the id under which the group adds it) that is not kept. */
  isGone(queue: string, place: number | string): boolean {
    return this.#flow(queue)?.fates.get(place) === "gone";
  }

  add(queue: string, id: string): void {
    const flow = this.#flow(queue);
    if (flow === undefined) return;
    flow.waiting++;
    flow.isMoved = true;
    if (this.#hasCancels) flow.fates.set(id, "waiting");
  }

  /** Notes what an op that holds will do. */
  note(op: Op): void {
    switch (op.op) {
      case "queue.configure": {
        const flow = this.#flow(op.queue);
        if (flow !== undefined) flow.config = op.config;
        return;
      }
      case "queue.claim": {
        const flow = this.#flow(op.queue);
        if (flow !== undefined) flow.isMoved = flow.hasClaimed = true;
        return;
      }
      case "queue.cancel":
        return this.#cancel(op);
      case "queue.redrive":
        return this.#redrive(op);
      case "queue.purge":
        return this.#purge(op);
      default:
    }
  }

  settle(op: QueueSettle, lease: LeaseRow): void {
    const flow = this.#flow(op.queue);
    if (flow?.row === undefined) return;
    const isAsked = lease.isCancelRequested || flow.asked.has(op.seq);
    const { outcome } = op;
    if (outcome === "dead") this.#die(flow, op.seq);
    else if (outcome === "completed" || outcome === "cancelled" || isAsked) over(flow, op.seq);
    else if (outcome === "retry" && this.#isLast(flow, flow.row, op.seq)) this.#die(flow, op.seq);
    else wait(flow, op.seq);
  }

  /** The session ends: what it holds goes back, as much as one op gives back. */
  end(session: SessionRow): void {
    const { tables } = this.#scope;
    const flows = [...(this.#flows?.values() ?? [])];
    const settled = flows.reduce((sum, { fates }) => sum + fates.size, 0);
    let budget: number = LIMITS.reapRows;
    for (const lease of tables.leasesOfSession(session.no, budget + settled)) {
      const flow = this.#flow(tables.queueByNo(lease.queue)?.name ?? "");
      if (flow?.fates.has(lease.seq) === true) continue;
      if (budget-- === 0) return;
      if (flow === undefined) continue;
      if (lease.isCancelRequested || flow.asked.has(lease.seq)) over(flow, lease.seq);
      else wait(flow, lease.seq);
    }
  }

  #flow(queue: string): Flow | undefined {
    if (this.#flows === undefined) return undefined;
    const known = this.#flows.get(queue);
    if (known !== undefined || !this.#queues.has(queue)) return known;
    const row = this.#scope.tables.queueByName(this.#scope.partition.no, queue);
    const flow: Flow = {
      ...{ row, config: row?.config ?? DEFAULT_QUEUE_CONFIG, waiting: 0 },
      ...{ fates: new Map(), asked: new Set(), isMoved: false },
      ...{ hasPurged: false, hasClaimed: false },
    };
    this.#flows.set(queue, flow);
    return flow;
  }

  /** Whether one more failed attempt is the last that the rules allow. */
  #isLast({ config }: Flow, row: QueueRow, seq: number): boolean {
    const job = this.#scope.tables.job(row.no, seq);
    return job !== undefined && job.attempts + 1 + job.lost >= config.maxDeliveries;
  }

  #die(flow: Flow, seq: number): void {
    const isKept = flow.config.keepDeadMs > 0;
    flow.isMoved = true;
    flow.fates.set(seq, isKept ? "dead" : "gone");
  }

  #cancel(op: QueueCancel): void {
    const flow = this.#flow(op.queue);
    if (flow === undefined) return;
    const { tables } = this.#scope;
    const job = flow.row === undefined ? undefined : tables.jobById(flow.row.no, op.id);
    const place = flow.fates.has(op.id) ? op.id : job?.seq;
    if (place === undefined) return;
    const fate = flow.fates.get(place);
    if (fate === undefined && typeof place === "number") {
      const no = (flow.row as QueueRow).no;
      if (tables.finished(no, place) !== undefined) return;
      if (tables.leaseOfJob(no, place) !== undefined) {
        flow.asked.add(place);
        return;
      }
    } else if (fate !== "waiting") return;
    // A purge may have had it already.
    if (!flow.hasPurged) flow.waiting--;
    over(flow, place);
  }

  #redrive(op: QueueRedrive): void {
    const flow = this.#flow(op.queue);
    if (flow?.row === undefined) return;
    const { tables, nowMs } = this.#scope;
    const { no } = flow.row;
    const seqs =
      op.ids === null
        ? this.#dead(flow, no, Math.min(op.max, LIMITS.pageRows))
        : op.ids.map((id) => tables.jobById(no, id)?.seq ?? 0);
    for (const seq of seqs) {
      const fate = flow.fates.get(seq);
      const row = fate === undefined ? tables.finished(no, seq) : undefined;
      const isDead = fate === "dead" || (row?.state === "dead" && row.expiresMs > nowMs);
      if (isDead) wait(flow, seq);
    }
  }

  /** The first dead jobs. */
  #dead({ fates }: Flow, no: number, max: number): number[] {
    const rows = this.#scope.tables.finishedRange(no, "dead", null, max + fates.size);
    const seqs = rows.map((row) => row.seq).filter((seq) => !fates.has(seq));
    for (const [seq, fate] of fates) {
      if (fate === "dead" && typeof seq === "number") seqs.push(seq);
    }
    return seqs.sort((a, b) => a - b).slice(0, max);
  }

  #purge({ queue, state, max }: QueuePurge): void {
    const flow = this.#flow(queue);
    if (flow?.row === undefined) return;
    if (state === "ready" || state === "scheduled" || state === "blocked") {
      const { no } = flow.row;
      if (!flow.isMoved) {
        const count = Math.min(max, LIMITS.reapRows);
        flow.waiting -= this.#scope.tables.waitingRange(no, state, null, count).length;
      }
      flow.isMoved = true;
    }
    flow.hasPurged = true;
  }
}

function wait(flow: Flow, seq: number): void {
  flow.isMoved = true;
  flow.waiting++;
  flow.fates.set(seq, "waiting");
}

function over(flow: Flow, place: number | string): void {
  flow.isMoved = true;
  flow.fates.set(place, flow.config.keepMs > 0 ? "over" : "gone");
}
