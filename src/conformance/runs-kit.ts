/** What the suite of runs shares: a process that works on runs. */
import assert from "node:assert/strict";
import { Runs, type Journal, type RunInput } from "../ports/runs/index.ts";
import type { ClaimedJob, JobView, RecordInput, RunState } from "../store/ops.ts";
import type { Session } from "../store/session.ts";
import type { Store } from "../store/store.ts";
import type { World } from "./kit.ts";
import { loseSession } from "./sessions.ts";

export class Holder {
  readonly world: World;
  readonly store: Store;
  readonly runs: Runs;
  session: Session;

  private constructor(world: World, store: Store, runs: Runs, session: Session) {
    this.world = world;
    this.store = store;
    this.runs = runs;
    this.session = session;
  }

  static async start(world: World, name: string = "order"): Promise<Holder> {
    const store = await world.store();
    return new Holder(world, store, new Runs(store, name), await store.session());
  }

  async start(id: string, more: Partial<RunInput> = {}): Promise<void> {
    const started = await this.runs.start({ payload: id, id, ...more });
    assert.equal(started.status, "added", id);
  }

  async claim(max: number = 10): Promise<readonly ClaimedJob[]> {
    return (await this.runs.queue.claim(this.session, max)).jobs;
  }

  /** Claims the one run there must be. */
  async one(id?: string): Promise<ClaimedJob> {
    const [run] = await this.claim(1);
    assert.ok(run !== undefined, `a run was ready${id === undefined ? "" : `: ${id}`}`);
    if (id !== undefined) assert.equal(run.id, id);
    return run;
  }

  /** Claims, and there must be none. */
  async none(): Promise<void> {
    const ids = (await this.claim()).map((run) => run.id);
    assert.deepEqual(ids, [], "nothing may be claimed");
  }

  record(run: ClaimedJob, after: number, ...keys: string[]): Promise<RunState> {
    return this.runs.record(this.session, run, after, keys.map(entry));
  }

  suspend(run: ClaimedJob, untilMs: number | null = null, seen: number = 0): Promise<string> {
    return this.runs.suspend(this.session, run, { untilMs, seen });
  }

  complete(run: ClaimedJob): Promise<string> {
    return this.runs.queue.settle(this.session, run, { outcome: "completed" });
  }

  async view(id: string): Promise<JobView> {
    const view = await this.runs.queue.get(id);
    assert.ok(view !== null, `run ${id} is there`);
    return view;
  }

  async journal(id: string): Promise<Journal> {
    const page = await this.runs.journal((await this.view(id)).seq);
    assert.ok(page !== null, `the journal of ${id} is there`);
    return page;
  }
  async keys(id: string): Promise<readonly string[]> {
    return (await this.journal(id)).records.map(({ key }) => key);
  }
  async events(id: string): Promise<readonly string[]> {
    return (await this.journal(id)).events.map(({ event }) => event);
  }

  /** Its time in the store runs out while it believes to hold its session. */
  lose(): Promise<void> {
    return loseSession(this.world, this.session);
  }
}

/** A record of that key; its data says so. */
export function entry(key: string): RecordInput {
  return { key, data: `"${key}"`, delayMs: null };
}

export function holders(world: World): Promise<[Holder, Holder]> {
  return Promise.all([Holder.start(world), Holder.start(world)]);
}
