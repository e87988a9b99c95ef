/**
 * What a queue must have done, told from the commits alone: each op that the store took is played
 * on a small model that knows no structure, and the model judges whether it could be. It looks into
 * the tables only for what has no op: jobs that died because their holders were lost.
 */
import type { MemoryState } from "../../src/engines/memory/index.ts";
import type { CommitEvent } from "../../src/sim/index.ts";
import type {
  Affected,
  Claimed,
  ClaimedJob,
  Enqueued,
  Group,
  JobState,
  Op,
  OpResult,
  QueueEnqueue,
  QueueSettle,
  RateConfig,
  RunsRecord,
  RunsSend,
  Sent,
} from "../../src/store/ops.ts";
import { auditQueue } from "./audit.ts";

interface Job {
  readonly seq: number;
  readonly id: string;
  readonly key: string | null;
  isDelayed: boolean;
  /** The end of its dedupe window: no delay goes past it. */
  readonly windowMs: number;
  /** Not to be claimed before, by the store's clock. */
  dueMs: number;
  token: number;
  /** The session it is leased to: that very one, not another of its name. */
  holder: Session | null;
  completions: number;
  attempts: number;
  /** Leases that ended because their session's time did. */
  lost: number;
  /** It left its place while retrying: later jobs of its key may pass. */
  hasYielded: boolean;
  /** Of a run: where its journal and its events end, and whether an event wakes it. */
  records: number;
  events: number;
  isSuspended: boolean;
}

interface Session {
  untilMs: number;
  isEnded: boolean;
}

export interface ModelOptions {
  readonly partition: string;
  readonly queue: string;
  /** The counter that each completion raises by one, in its own group; null: there is none. */
  readonly effectKey: string | null;
  readonly maxLeased: number | null;
  /** Jobs of one key that may be held at once; at 1 their order is judged too. Default 1. */
  readonly perKey?: number;
  readonly rate?: RateConfig | null;
  /** Whether the tables are audited after each commit. */
  readonly isAudited: boolean;
}

function check(condition: boolean, message: string, data?: unknown): asserts condition {
  if (condition) return;
  throw new Error(`Model: ${message} ${data === undefined ? "" : JSON.stringify(data)}`);
}

export class QueueModel {
  readonly #options: ModelOptions;
  readonly jobs: Map<number, Job> = new Map<number, Job>();
  readonly #byId = new Map<string, Job>();
  readonly #sessions = new Map<string, Session>();
  /** Instants at which jobs were claimed; by key, where the rate is a key's. */
  readonly #starts = new Map<string, number[]>();
  #lastSeq = 0;
  completed = 0;

  constructor(options: ModelOptions) {
    this.#options = options;
  }

  /** Plays a commit; throws if the store should not have taken it so. */
  commit(state: MemoryState, { groups, results }: CommitEvent): void {
    const nowMs = state.nowMs();
    const play = (plays: (op: Op, result: OpResult) => void): void => {
      for (let i = 0; i < groups.length; i++) {
        const group = groups[i] as Group;
        const result = results[i];
        if (result?.ok !== true || group.partition !== this.#options.partition) continue;
        group.ops.forEach((op, at) => plays(op, result.results[at] as OpResult));
      }
    };
    // What is finished is asked of the tables, and they are those after the whole commit: a job
    // that a later group redrives was still dead for an earlier group's claim, and in nobody's way.
    play((op, result) => {
      if (op.op === "queue.redrive" && op.queue === this.#options.queue) {
        this.#redriven(op.ids ?? [], (result as Affected).count);
      }
    });
    play((op, result) => this.#op(state, op, result, nowMs));
    this.#checkEffect(state);
    const { partition, queue, isAudited } = this.#options;
    if (isAudited) auditQueue(state, partition, queue);
  }

  /** The job of that id, if it was ever added. */
  byId(id: string): Job | undefined {
    return this.#byId.get(id);
  }

  /** Jobs that the store has not brought to an end. */
  unfinished(state: MemoryState): Job[] {
    return [...this.jobs.values()].filter((job) => !this.#isFinished(state, job));
  }

  /** The end: what was completed is what the store says was completed. */
  end(state: MemoryState): void {
    const { tables } = state;
    const no = this.#queueNo(state);
    if (no === undefined) return;
    for (const job of this.jobs.values()) {
      const row = tables.finished(no, job.seq);
      const isCompleted = row?.state === "completed";
      check(isCompleted === (job.completions === 1), "a completion is kept", { job, row });
    }
  }

  #op(state: MemoryState, op: Op, result: OpResult, nowMs: number): void {
    if ("queue" in op && op.queue !== this.#options.queue) return;
    switch (op.op) {
      case "session.open": {
        const untilMs = nowMs + op.ttlMs;
        const before = this.#sessions.get(op.session);
        const isGone = before === undefined || before.isEnded || before.untilMs <= nowMs;
        if (isGone) this.#sessions.set(op.session, { untilMs, isEnded: false });
        else before.untilMs = untilMs;
        return;
      }
      case "session.renew": {
        const session = this.#live(op.session, nowMs, "renewed");
        session.untilMs = nowMs + op.ttlMs;
        return;
      }
      case "session.end": {
        const session = this.#sessions.get(op.session);
        // What time has ended already can't be ended in order any more.
        if (session !== undefined && session.untilMs > nowMs) session.isEnded = true;
        return;
      }
      case "queue.enqueue":
        return this.#enqueued(op, result as Enqueued, nowMs);
      case "queue.claim":
        return this.#claim(state, op.session, result as Claimed, nowMs);
      case "queue.settle":
        return this.#settled(op, result as JobState, nowMs);
      case "queue.redrive":
        return this.#redriven(op.ids ?? [], (result as Affected).count);
      case "runs.record":
        return this.#recorded(op, nowMs);
      case "runs.send":
        return this.#sent(op, result as Sent, nowMs);
      default:
    }
  }

  #live(id: string, nowMs: number, what: string): Session {
    const session = this.#sessions.get(id);
    check(session !== undefined, `a session that ${what} was opened`, id);
    const isLive = !session.isEnded && session.untilMs > nowMs;
    check(isLive, `a session that ${what} is not over`, { id, session, nowMs });
    return session;
  }

  #enqueued(op: QueueEnqueue, { id, seq, status }: Enqueued, nowMs: number): void {
    const known = this.#byId.get(id);
    if (status !== "added") {
      check(known !== undefined, "a job that is there already was added before", { id, status });
      if (status === "replaced") this.#replaced(known, op, nowMs);
      return;
    }
    check(known === undefined, "an id is added once", { id });
    check(seq > this.#lastSeq, "numbers of jobs grow", { seq, last: this.#lastSeq });
    this.#lastSeq = seq;
    const { key, delayMs } = op;
    const marks = { token: 0, holder: null, completions: 0, attempts: 0, lost: 0 };
    const dueMs = nowMs + delayMs;
    const windowMs = op.dedupe === null ? dueMs : nowMs + op.dedupe.ttlMs;
    const times = { isDelayed: delayMs > 0, dueMs, windowMs };
    const ofRun = { records: 0, events: 0, isSuspended: false };
    const job = { seq, id, key, ...times, ...marks, hasYielded: false, ...ofRun };
    this.jobs.set(seq, job);
    this.#byId.set(id, job);
  }

  /** A repeat of the add that replaced it before changes nothing, and the model can't tell it. */
  #replaced(job: Job, { id, isFresh, dedupe, delayMs }: QueueEnqueue, nowMs: number): void {
    if (dedupe?.mode !== "debounce") return;
    const dueMs = Math.min(nowMs + delayMs, job.windowMs);
    const isPutOff = isFresh && id !== job.id && delayMs > 0;
    if (isPutOff) check(job.token === 0 || job.holder === null, "what runs is not replaced", job);
    job.dueMs = isPutOff ? dueMs : Math.min(job.dueMs, dueMs);
    // Later jobs of its key may pass meanwhile.
    if (delayMs > 0) job.isDelayed = true;
  }

  #claim(state: MemoryState, id: string, { jobs }: Claimed, nowMs: number): void {
    const session = this.#live(id, nowMs, "claims");
    for (const job of jobs) this.#claimed(state, job, session, nowMs);
    this.#checkRate(jobs, nowMs);
    const { maxLeased } = this.#options;
    if (maxLeased === null || jobs.length === 0) return;
    const held = [...this.jobs.values()].filter((job) => this.#isHeld(job, nowMs));
    check(held.length <= maxLeased, `at most ${maxLeased} unexpired leases`, held);
  }

  #claimed(state: MemoryState, claimed: ClaimedJob, session: Session, nowMs: number): void {
    const job = this.jobs.get(claimed.seq);
    check(job !== undefined, "a claimed job was added", claimed);
    check(job.completions === 0, "a completed job is not claimed again", claimed);
    check(nowMs >= job.dueMs, "a job does not come early", { claimed, job, nowMs });
    check(claimed.token > job.token, "tokens of a job grow", { claimed, job });
    check(!this.#isHeld(job, nowMs), "a job has one unexpired lease", { claimed, job });
    // Its last holder is gone without a word: lost if its time ended it, uncounted if it closed.
    if (job.holder !== null && !job.holder.isEnded) job.lost++;
    const isCounted =
      claimed.attempt === job.attempts + 1 && claimed.delivery === job.attempts + job.lost + 1;
    check(isCounted, "attempts and deliveries are counted", { claimed, job });
    if (claimed.run !== undefined) {
      const { lastRecord, lastEvent } = claimed.run;
      const isWhole = lastRecord === job.records && lastEvent === job.events;
      check(isWhole, "a claim says where journal and events end", { claimed, job });
    }
    job.isSuspended = false;
    job.token = claimed.token;
    job.holder = session;
    if (job.key !== null) this.#checkKey(state, job, nowMs);
  }

  /** In any span of t ms at most `burst + count × t / perMs` jobs start. */
  #checkRate(jobs: readonly ClaimedJob[], nowMs: number): void {
    const { rate } = this.#options;
    if (rate === undefined || rate === null) return;
    for (const { key } of jobs) {
      if (rate.isPerKey && key === null) continue;
      const of = rate.isPerKey ? (key as string) : "";
      const starts = this.#starts.get(of) ?? [];
      this.#starts.set(of, starts);
      starts.push(nowMs);
      starts.forEach((fromMs, index) => {
        const allowed = rate.burst + (rate.count * (nowMs - fromMs)) / rate.perMs;
        const started = starts.length - index;
        check(started <= allowed + 1e-6, "no more starts than the rate allows", { rate, starts });
      });
    }
  }

  #redriven(ids: readonly string[], count: number): void {
    check(ids.length <= 1, "the model knows redrives of one job", ids);
    const job = this.#byId.get(ids[0] ?? "");
    if (count === 0 || job === undefined) return;
    // It begins anew, behind those of its key that went past while it was dead.
    job.attempts = 0;
    job.lost = 0;
    job.holder = null;
    job.hasYielded = true;
  }

  /** Strict order per key: nobody of the key is held, and nobody who came before still waits. */
  #checkKey(state: MemoryState, job: Job, nowMs: number): void {
    const { perKey = 1 } = this.#options;
    let held = 1;
    for (const other of this.jobs.values()) {
      if (other === job || other.key !== job.key || this.#isFinished(state, other)) continue;
      if (this.#isHeld(other, nowMs)) held++;
      check(held <= perKey, `at most ${perKey} jobs of a key are held`, { job, other });
      const mayPass = other.seq > job.seq || other.isDelayed || other.hasYielded;
      check(mayPass || perKey > 1, "the jobs of a key come in order", { job, other });
    }
    job.hasYielded = false;
  }

  /** The job, if the op is its holder's. */
  #held(op: QueueSettle | RunsRecord, nowMs: number, what: string): Job {
    const job = this.jobs.get(op.seq);
    check(job !== undefined, `a job that ${what} was added`, op);
    const session = this.#live(op.session, nowMs, what);
    check(job.token === op.token, `only the newest token ${what}`, { op, job });
    check(job.holder === session, `only the holder ${what}`, { op, job });
    return job;
  }

  #recorded(op: RunsRecord, nowMs: number): void {
    const job = this.#held(op, nowMs, "records");
    // The same append once more changes nothing.
    if (op.after < job.records) return;
    check(op.after === job.records, "records follow the last one", { op, job });
    job.records += op.records.length;
    if (op.isProgress) Object.assign(job, { attempts: 0, lost: 0 });
  }

  #sent(op: RunsSend, { no, status }: Sent, nowMs: number): void {
    if (status !== "sent") return;
    const job = this.#byId.get(op.run);
    check(job !== undefined, "a run that is sent to was started", op);
    check(no === ++job.events, "events are numbered in the order of sending", { op, no, job });
    if (job.isSuspended) job.dueMs = nowMs;
  }

  #suspended(job: Job, op: QueueSettle, state: JobState, nowMs: number): void {
    const isBehind = job.events > (op.seen ?? 0);
    const isRight = state === (isBehind ? "ready" : "scheduled");
    check(isRight, "no event is slept through that the holder did not know", { op, job, state });
    const dueMs = isBehind ? nowMs : (op.untilMs ?? Infinity);
    Object.assign(job, { attempts: 0, lost: 0, isSuspended: true, dueMs });
  }

  #settled(op: QueueSettle, state: JobState, nowMs: number): void {
    const job = this.#held(op, nowMs, "settles");
    job.holder = null;
    if (op.outcome === "suspended") this.#suspended(job, op, state, nowMs);
    if (op.outcome === "retry") {
      job.attempts++;
      job.dueMs = nowMs + op.delayMs;
    }
    if (op.outcome === "retry" && !op.holdsKey) job.hasYielded = true;
    if (op.outcome !== "completed") return;
    job.completions++;
    this.completed++;
    check(job.completions === 1, "a job is completed once", job);
  }

  #isHeld(job: Job, nowMs: number): boolean {
    return job.holder !== null && !job.holder.isEnded && job.holder.untilMs > nowMs;
  }

  #queueNo(state: MemoryState): number | undefined {
    const { partition, queue } = this.#options;
    const row = state.tables.partitionByName(partition);
    return row === undefined ? undefined : state.tables.queueByName(row.no, queue)?.no;
  }

  #isFinished(state: MemoryState, job: Job): boolean {
    if (job.completions > 0) return true;
    const no = this.#queueNo(state);
    return no !== undefined && state.tables.finished(no, job.seq) !== undefined;
  }

  /** Effects stand or fall with their completions, at every instant. */
  #checkEffect(state: MemoryState): void {
    const { partition, effectKey } = this.#options;
    const row = state.tables.partitionByName(partition);
    if (row === undefined || effectKey === null) return;
    const value = Number(state.tables.kv(row.no, effectKey)?.value ?? 0);
    check(value === this.completed, "one effect a completion", {
      effects: value,
      completed: this.completed,
    });
  }
}
