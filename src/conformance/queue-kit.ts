/** What the queue's suites share: a process with its session, and the usual steps. */
import assert from "node:assert/strict";
import { Queue, type JobInput, type QueueRules, type Settlement } from "../ports/queue/index.ts";
import type { ClaimedJob, JobState, JobView } from "../store/ops.ts";
import type { Session } from "../store/session.ts";
import type { Store } from "../store/store.ts";
import type { World } from "./kit.ts";
import { loseSession } from "./sessions.ts";

/** A process that works on a queue. */
export class Worker {
  readonly world: World;
  readonly store: Store;
  readonly queue: Queue;
  session: Session;

  private constructor(world: World, store: Store, queue: Queue, session: Session) {
    this.world = world;
    this.store = store;
    this.queue = queue;
    this.session = session;
  }

  static async start(world: World, name: string = "q"): Promise<Worker> {
    const store = await world.store();
    return new Worker(world, store, new Queue(store, name), await store.session());
  }

  async add(id: string, more: Partial<JobInput> = {}): Promise<void> {
    const added = await this.queue.add({ payload: id, id, ...more });
    assert.equal(added.status, "added", id);
  }

  async claim(max: number = 1): Promise<readonly ClaimedJob[]> {
    return (await this.queue.claim(this.session, max)).jobs;
  }

  /** Claims the one job there must be. */
  async one(id?: string): Promise<ClaimedJob> {
    const [job] = await this.claim(1);
    assert.ok(job !== undefined, `a job was ready${id === undefined ? "" : `: ${id}`}`);
    if (id !== undefined) assert.equal(job.id, id);
    return job;
  }

  /** Claims, and there must be none. */
  async none(): Promise<number | null> {
    const { jobs, nextMs } = await this.queue.claim(this.session, 10);
    assert.deepEqual(
      jobs.map((job) => job.id),
      [],
      "nothing may be claimed",
    );
    return nextMs;
  }

  async settle(job: ClaimedJob, how: Settlement = { outcome: "completed" }): Promise<JobState> {
    return this.queue.settle(this.session, job, how);
  }

  async view(id: string): Promise<JobView> {
    const view = await this.queue.get(id);
    assert.ok(view !== null, `job ${id} is there`);
    return view;
  }

  async state(id: string): Promise<JobState> {
    return (await this.view(id)).state;
  }

  /**
   * Its time in the store runs out while it believes to hold its session; it goes on with the same
   * one.
   */
  lose(): Promise<void> {
    return loseSession(this.world, this.session);
  }

  /** As `lose`, and then a new session of the process. */
  async replace(): Promise<void> {
    await this.lose();
    await this.session.close();
    this.session = await this.store.session();
  }
}

/** So many processes, started at once. */
export function startAll(world: World, count: number): Promise<Worker[]> {
  return Promise.all(Array.from({ length: count }, () => Worker.start(world)));
}

export async function workers(
  world: World,
  count: number,
  rules: QueueRules = {},
): Promise<readonly [Worker, Worker, ...Worker[]]> {
  const all = await startAll(world, Math.max(2, count));
  await (all[0] as Worker).queue.configure(rules);
  return all as unknown as readonly [Worker, Worker, ...Worker[]];
}

export function ids(jobs: readonly { readonly id: string }[]): string[] {
  return jobs.map((job) => job.id);
}

/**
 * Claims and completes until nothing is left, letting time pass where it must; gives the ids in the
 * order of their claims.
 */
export async function drain(worker: Worker, max: number = 10): Promise<string[]> {
  const order: string[] = [];
  for (let rounds = 0; ; rounds++) {
    assert.ok(rounds < 10_000, "the queue drains");
    const { jobs, nextMs } = await worker.queue.claim(worker.session, max);
    for (const job of jobs) {
      order.push(job.id);
      await worker.settle(job);
    }
    if (jobs.length > 0) continue;
    const { counts } = await worker.queue.stats();
    const left = counts.ready + counts.leased + counts.scheduled + counts.blocked;
    if (left === 0) return order;
    assert.ok(nextMs !== null, `something is claimable later: ${JSON.stringify(counts)}`);
    await worker.world.pass(nextMs);
  }
}

/** Every job of the queue, by the lists of its states. */
export async function reality(queue: Queue): Promise<ReadonlyMap<JobState, readonly JobView[]>> {
  const all = new Map<JobState, readonly JobView[]>();
  const states: readonly JobState[] = Object.keys((await queue.stats()).counts) as JobState[];
  for (const state of states) {
    const jobs: JobView[] = [];
    for await (const job of queue.scan(state, { limit: 7 })) jobs.push(job);
    all.set(state, jobs);
  }
  return all;
}

/** The counts are those of the lists, and each job is in one list alone. */
export async function assertCounts(queue: Queue): Promise<void> {
  const { counts } = await queue.stats();
  const seen = new Set<string>();
  for (const [state, jobs] of await reality(queue)) {
    assert.equal(counts[state], jobs.length, `the count of ${state} is that of the list`);
    for (const job of jobs) {
      assert.equal(job.state, state, `a listed job says so itself: ${job.id}`);
      assert.ok(!seen.has(job.id), `${job.id} is in one state alone`);
      seen.add(job.id);
    }
  }
}
