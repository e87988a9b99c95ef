/**
 * Concurrent histories of the queue port: random work of several processes, audited against what
 * was promised.
 */
import assert from "node:assert/strict";
import type { Settlement } from "../ports/queue/index.ts";
import type { ClaimedJob, JobState } from "../store/ops.ts";
import { concurrently, draw, pick, type Cases, type World } from "./kit.ts";
import { assertCounts, drain, startAll, type Worker } from "./queue-kit.ts";

const MAX_LEASED = 8;
const KEYS = ["k0", "k1", "k2", null] as const;
const FINISHING: ReadonlySet<string> = new Set(["completed", "dead", "cancelled"]);

/** What the auditor knows of a job. */
interface Known {
  readonly id: string;
  readonly key: string | null;
  /** Its number, once an answer told it. */
  seq: number | undefined;
  isAcknowledged: boolean;
  /**
   * The session that surely holds it: none from the moment at which it may have been settled or
   * lost.
   */
  holder: string | undefined;
  token: number;
  /** A finishing settle was sent; `finished`: it was answered. */
  mayBeFinished: boolean;
  finished: number;
}

/**
 * Notes what was sent and what was answered, in the order in which this process saw it. It claims
 * only what must be so whatever order the store chose for calls under way: so everything that it
 * finds is a broken promise.
 */
class Auditor {
  readonly jobs = new Map<string, Known>();
  #held = 0;

  adding(id: string, key: string | null): Known {
    const state = {
      seq: undefined,
      holder: undefined,
      token: 0,
      mayBeFinished: false,
      finished: 0,
    };
    const job: Known = { id, key, isAcknowledged: false, ...state };
    this.jobs.set(id, job);
    return job;
  }

  claimed(claim: ClaimedJob, session: string): void {
    const job = this.jobs.get(claim.id);
    assert.ok(job !== undefined, `${claim.id} was never added`);
    assert.equal(job.holder, undefined, `${job.id} is held twice`);
    assert.equal(job.finished, 0, `${job.id} was delivered after it was finished`);
    assert.ok(claim.token > job.token, `${job.id}: token ${claim.token} after ${job.token}`);
    assert.equal(claim.key, job.key);
    job.seq ??= claim.seq;
    assert.equal(job.seq, claim.seq);
    for (const other of this.jobs.values()) this.#assertNotPassed(other, job);
    job.token = claim.token;
    job.holder = session;
    this.#held++;
    assert.ok(this.#held <= MAX_LEASED, `${this.#held} are held`);
  }

  #assertNotPassed(other: Known, job: Known): void {
    if (job.key === null || other.key !== job.key || other === job) return;
    if (!other.isAcknowledged || other.seq === undefined || other.mayBeFinished) return;
    assert.ok(other.seq > (job.seq as number), `${job.id} passed ${other.id} of ${job.key}`);
  }

  /** The job may be out of its holder's hands from now on. */
  letGo(id: string): Known {
    const job = this.jobs.get(id) as Known;
    if (job.holder !== undefined) this.#held--;
    job.holder = undefined;
    return job;
  }

  lost(session: string): void {
    for (const job of this.jobs.values()) if (job.holder === session) this.letGo(job.id);
  }

  settling(id: string, how: Settlement): void {
    if (FINISHING.has(how.outcome)) (this.jobs.get(id) as Known).mayBeFinished = true;
    this.letGo(id);
  }

  settled(id: string, state: JobState): void {
    const job = this.jobs.get(id) as Known;
    if (!FINISHING.has(state)) return;
    job.mayBeFinished = true;
    job.finished++;
    assert.equal(job.finished, 1, `${id} was finished twice`);
  }
}

const HOWS: readonly Settlement[] = [
  { outcome: "completed" },
  { outcome: "completed" },
  { outcome: "completed" },
  { outcome: "dead" },
  { outcome: "retry" },
  { outcome: "retry", delayMs: 3 },
  { outcome: "released" },
];

/** One process's share of the work. `isOver` ends it between two calls. */
async function work(
  worker: Worker,
  auditor: Auditor,
  steps: number,
  isOver: () => boolean,
): Promise<void> {
  const { world } = worker;
  const { random } = world;
  const mine: ClaimedJob[] = [];
  for (let step = 0; step < steps && !isOver(); step++) {
    const kind = draw(random, 20);
    if (kind < 7) await add(worker, auditor);
    else if (kind < 12) {
      for (const job of await worker.claim(1 + draw(random, 3))) {
        auditor.claimed(job, worker.session.id);
        mine.push(job);
      }
    } else if (kind < 19) {
      const job = mine.splice(draw(random, mine.length), 1)[0];
      if (job !== undefined) await settle(worker, auditor, job, pick(random, HOWS));
    } else {
      mine.length = 0;
      auditor.lost(worker.session.id);
      await worker.replace();
    }
    if (draw(random, 10) === 0) await world.clock.yield();
  }
}

async function add(worker: Worker, auditor: Auditor): Promise<void> {
  const key = pick(worker.world.random, KEYS);
  const id = worker.world.name("j");
  const job = auditor.adding(id, key);
  const { seq } = await worker.queue.add({ id, payload: "", ...(key === null ? {} : { key }) });
  job.seq = seq;
  job.isAcknowledged = true;
}

async function settle(
  worker: Worker,
  auditor: Auditor,
  job: ClaimedJob,
  how: Settlement,
): Promise<void> {
  auditor.settling(job.id, how);
  auditor.settled(job.id, await worker.settle(job, how));
}

/** Everything that was acknowledged ends exactly once; what was not may or may not be there. */
async function finish(auditor: Auditor, worker: Worker): Promise<void> {
  await assertCounts(worker.queue);
  for (const id of await drain(worker, MAX_LEASED)) {
    const job = auditor.jobs.get(id) as Known;
    assert.equal(job.finished, 0, `${id} was delivered after it was finished`);
    job.finished++;
  }
  for (const job of auditor.jobs.values()) {
    const view = await worker.queue.get(job.id);
    if (job.isAcknowledged) assert.ok(view !== null, `${job.id} was lost`);
    if (view === null) continue;
    assert.ok(FINISHING.has(view.state), `${job.id} is ${view.state} in the end`);
    assert.ok(job.finished === 1 || job.mayBeFinished, `${job.id} was finished by nobody`);
  }
  await assertCounts(worker.queue);
}

async function start(world: World, count: number): Promise<readonly Worker[]> {
  const all = await startAll(world, count);
  await (all[0] as Worker).queue.configure({ maxLeased: MAX_LEASED, maxDeliveries: 1_000_000 });
  return all;
}

export const queueHistoryCases: Cases = {
  "Through any history of adds, claims, settles and lost sessions no job is held twice, passes its key, is lost, or finishes twice.":
    async (world) => {
      const auditor = new Auditor();
      const all = await start(world, 4);
      await concurrently(4, (i) => work(all[i] as Worker, auditor, 120, () => false));
      for (const worker of all) {
        auditor.lost(worker.session.id);
        await worker.replace();
      }
      await finish(auditor, all[0] as Worker);
    },

  "When all processes die in the middle of their calls still no job is held twice, passes its key, is lost, or finishes twice.":
    async (world) => {
      const auditor = new Auditor();
      for (let life = 0; life < 3; life++) {
        const all = await start(world, 4);
        let dies: Promise<void> | undefined;
        const dieAfter = 20 + draw(world.random, 60);
        await concurrently(4, async (i) => {
          const isOver = (): boolean => dies !== undefined;
          const call = work(all[i] as Worker, auditor, i === 0 ? dieAfter : 200, isOver);
          if (i > 0) return call.catch(assertKilled);
          await call;
          dies = world.crash();
        });
        await dies;
        for (const worker of all) {
          auditor.lost(worker.session.id);
          await endOf(world, worker.session.id);
        }
      }
      const [worker] = await start(world, 1);
      await finish(auditor, worker as Worker);
    },
};

/** The only failure that a dead process's calls may meet. */
function assertKilled(error: unknown): void {
  const code = (error as { code?: unknown }).code;
  if (code !== "UNAVAILABLE" && code !== "CLOSED") throw error;
}

/** The session's TTL passes. */
async function endOf(world: World, session: string): Promise<void> {
  const { store } = await world.aside();
  await store.commit(world.namespace, [{ op: "session.renew", session, ttlMs: 1 }]);
  await world.pass(2);
}
