/**
 * The tables against memory's: the same random groups, one by one and in batches, on the same
 * clock, must give the same answers and the same exports. What SQLite's tables put off, gather and
 * cache is thereby seen to make no difference.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { SeededRandom } from "../../core/random.ts";
import type { ExportRecord, StoreDriver } from "../../store/driver.ts";
import { DEFAULT_QUEUE_CONFIG, JOB_STATES } from "../../store/ops.ts";
import type {
  Claimed,
  ClaimedJob,
  Group,
  GroupResult,
  Op,
  RunState,
  SettleOutcome,
} from "../../store/ops.ts";
import { memory, MemoryState } from "../memory/index.ts";
import { sqlite } from "./index.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const RUNS = "$run/r";
const QUEUES = ["a", "b", RUNS];
/** What is added to and claimed from: runs as often as jobs. */
const BUSY = [...QUEUES, RUNS];
const PARTITIONS = ["one", "two"];
const SESSIONS = ["s1", "s2", "s3"];
const OUTCOMES: SettleOutcome[] = ["completed", "retry", "dead", "cancelled", "released"];

/** A held job; `records`: where the journal ended when the holder heard of it last. */
interface Held {
  readonly partition: string;
  readonly queue: string;
  readonly session: string;
  readonly job: ClaimedJob;
  records: number;
}

/** Random groups; remembers what was claimed, so that most settles hit. */
class Workload {
  readonly #random: SeededRandom;
  readonly held: Held[] = [];
  recorded = 0;
  suspended = 0;
  claimed = 0;
  #ids = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }
  int(below: number): number {
    return Math.floor(this.#random.next() * below);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)] as T;
  }
  group(): Group {
    const partition = this.pick(PARTITIONS);
    const ops: Op[] = [];
    const count = this.int(4) === 0 ? 1 + this.int(6) : 1;
    for (let i = 0; i < count; i++) ops.push(this.#op(partition));
    return { partition, ops };
  }
  note(group: Group, result: GroupResult): void {
    if (!result.ok) return;
    group.ops.forEach((op, i) => {
      if (op.op === "runs.record") this.#appended(op.token, result.results[i] as RunState);
      if (op.op === "queue.settle" && op.outcome === "suspended") this.suspended++;
      if (op.op !== "queue.claim") return;
      const { partition } = group;
      const { queue, session } = op;
      for (const job of (result.results[i] as Claimed).jobs) {
        this.claimed++;
        this.held.push({ partition, queue, session, job, records: job.run?.lastRecord ?? 0 });
      }
    });
  }
  #appended(token: number, { lastRecord }: RunState): void {
    this.recorded++;
    const held = this.held.find(({ job }) => job.token === token);
    if (held !== undefined) held.records = lastRecord;
  }
  #op(partition: string): Op {
    const kinds = [
      ...[
        "enqueue",
        "enqueue",
        "enqueue",
        "enqueue",
        "claim",
        "claim",
        "settle",
        "settle",
        "settle",
      ],
      ...["settle", "kv", "kv", "kv", "session", "session", "queue", "bus", "cancel"],
      ...["record", "record", "record", "record", "record", "send", "send", "send"],
    ];
    switch (this.pick(kinds)) {
      case "enqueue":
        return this.#enqueue();
      case "claim": {
        const { queue, session } = { queue: this.pick(BUSY), session: this.pick(SESSIONS) };
        return { op: "queue.claim", queue, session, max: 1 + this.int(8) };
      }
      case "settle":
        return this.#settle(partition);
      case "record":
        return this.#record(partition);
      case "send":
        return this.#send();
      case "kv":
        return this.#kv();
      case "session":
        return this.#session();
      case "bus":
        return { op: "bus.publish", topic: "t", message: "m" };
      case "cancel":
        return { op: "queue.cancel", queue: this.pick(QUEUES), id: this.#id(), reason: "no" };
      default:
        return this.#queue();
    }
  }
  #id(): string {
    return `j${this.int(this.#ids + 1)}`;
  }
  #enqueue(): Op {
    const isFresh = this.int(4) > 0;
    const id = isFresh ? `j${++this.#ids}` : this.#id();
    const key = this.int(2) === 0 ? null : `k${this.int(4)}`;
    const mode = this.pick(["first", "last", "debounce"] as const);
    const dedupe =
      this.int(4) > 0 ? null : { key: `d${this.int(5)}`, ttlMs: 1 + this.int(2_000), mode };
    const payload = this.int(8) === 0 ? new Uint8Array([1, this.int(4)]) : `p${this.int(3)}`;
    const delayMs = this.int(3) === 0 ? this.int(3_000) : 0;
    const priority = this.int(5);
    const where = { queue: this.pick(BUSY), id, isFresh, payload, trace: null };
    return { op: "queue.enqueue", ...where, delayMs, priority, key, dedupe };
  }
  #settle(partition: string): Op {
    const isIts = (held: Held): boolean => held.partition === partition;
    const isNewest = this.int(2) === 0;
    const newest = this.held.length - 1 - [...this.held].reverse().findIndex(isIts);
    const first = this.held.findIndex(isIts);
    const at = isNewest && first !== -1 ? newest : first;
    const held = at === -1 ? undefined : this.held[at];
    const queue = held?.queue ?? "a";
    const session = held?.session ?? "s1";
    const { seq = 1, token = 1 } = held?.job ?? {};
    if (this.int(6) === 0) {
      return { op: "queue.progress", queue, session, seq, token, value: `${this.int(9)}` };
    }
    if (at !== -1) this.held.splice(at, 1);
    if (queue === RUNS && this.int(2) === 0) return this.#suspend(session, seq, token);
    const rest = { result: this.int(3) === 0 ? "r" : null, error: this.int(3) === 0 ? "e" : null };
    const retry = { delayMs: this.int(1_000), holdsKey: this.int(2) === 0 };
    const outcome = this.int(3) > 0 ? "completed" : this.pick(OUTCOMES);
    return { op: "queue.settle", queue, session, seq, token, outcome, ...rest, ...retry };
  }
  /** Mostly right behind the last record; sometimes once more, elsewhere, or by nobody. */
  #record(partition: string): Op {
    // The newest is the likeliest to be held still.
    const isIts = (each: Held): boolean => each.queue === RUNS && each.partition === partition;
    const held = [...this.held].reverse().find(isIts);
    const { session = "s1", records: last = 0 } = held ?? {};
    const { seq = 1, token = 1 } = held?.job ?? {};
    const after = Math.max(0, last - (this.int(5) === 0 ? this.int(3) : 0));
    const records = Array.from({ length: 1 + this.int(3) }, () => ({
      key: `step:${this.int(3)}`,
      data: this.int(6) === 0 ? new Uint8Array([this.int(3)]) : `"${this.int(3)}"`,
      delayMs: this.int(3) === 0 ? this.int(2_000) : null,
    }));
    const mode = { isProgress: this.int(4) === 0, isOnce: this.int(4) === 0 };
    return { op: "runs.record", queue: RUNS, session, seq, token, after, records, ...mode };
  }
  #send(): Op {
    const id = this.int(2) === 0 ? null : `e${this.int(6)}`;
    const [event, data] = [`n${this.int(2)}`, `"${this.int(2)}"`];
    const isLenient = this.int(3) === 0;
    return { op: "runs.send", queue: RUNS, run: this.#id(), event, data, id, isLenient };
  }
  #suspend(session: string, seq: number, token: number): Op {
    const untilMs = this.int(3) === 0 ? null : 1_700_000_000_000 + this.int(60_000);
    const when = { untilMs, seen: this.int(4) };
    const rest = { result: null, error: null, delayMs: 0, holdsKey: true } as const;
    const outcome = "suspended";
    return { op: "queue.settle", queue: RUNS, session, seq, token, outcome, ...when, ...rest };
  }
  #kv(): Op {
    const key = this.pick(["n/1", "n/2", "t/1", "t/2", "t/\uE000", "t/\u{1F600}"]);
    const kind = this.int(6);
    if (kind === 0) return { op: "kv.delete", key };
    if (kind === 1) return { op: "kv.get", key };
    if (kind === 2) return { op: "kv.check", key, revision: this.int(2) === 0 ? 0 : this.int(500) };
    if (kind === 3 && key.startsWith("t")) {
      return { op: "kv.put", key, value: "v", ttlMs: 1 + this.int(2_000) };
    }
    if (kind === 4 && key.startsWith("t")) {
      return { op: "kv.put", key, value: "v", session: this.pick(SESSIONS) };
    }
    return { op: "kv.add", key, delta: this.int(7) - 3, min: -4 };
  }
  #session(): Op {
    const session = this.pick(SESSIONS);
    const ttlMs = 1_000 + this.int(3_000);
    if (this.int(6) === 0) return { op: "session.end", session };
    if (this.int(3) === 0) return { op: "session.renew", session, ttlMs };
    return { op: "session.open", session, ttlMs, label: "x" };
  }
  #queue(): Op {
    const queue = this.pick(QUEUES);
    const kind = this.int(6);
    if (kind === 0) return { op: "queue.pause", queue, isPaused: this.int(2) === 0 };
    if (kind === 1) return { op: "queue.redrive", queue, ids: null, max: 3 };
    if (kind === 2) return { op: "queue.redrive", queue, ids: [this.#id()], max: 3 };
    if (kind === 3) {
      const state = this.pick(JOB_STATES.filter((name) => name !== "leased"));
      return { op: "queue.purge", queue, state, max: 2 };
    }
    const rate = { count: 5, perMs: 1_000, burst: 3, isPerKey: this.int(2) === 0 };
    const config = {
      ...DEFAULT_QUEUE_CONFIG,
      ...{ perKey: 1 + this.int(2), maxLeased: this.int(2) === 0 ? null : 3 },
      ...{ rate: this.int(2) === 0 ? null : rate, maxDeliveries: 3, keepMs: this.int(3) * 700 },
      ...{ keepCount: 2, keepDeadMs: 3_000, maxWaiting: this.int(2) === 0 ? null : 20 },
    };
    return { op: "queue.configure", queue, config };
  }
}

type Pages = readonly (readonly ExportRecord[])[];

async function pagesOf(driver: StoreDriver, partition: string, limit: number): Promise<Pages> {
  const pages: (readonly ExportRecord[])[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<StoreDriver["export"]>> = await driver.export(
      partition,
      cursor,
      limit,
    );
    pages.push(page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  return pages;
}

async function exported(driver: StoreDriver, partition: string): Promise<readonly ExportRecord[]> {
  return (await pagesOf(driver, partition, 7)).flat();
}

/** Moves the partitions into another store, pages of some size, some of them more than once. */
async function move(from: StoreDriver, to: StoreDriver, work: Workload): Promise<void> {
  for (const partition of PARTITIONS) {
    const pages = await pagesOf(from, partition, 1 + work.int(9));
    for (const page of pages) {
      for (let times = work.int(3) === 0 ? 2 : 1; times > 0; times--) {
        await to.import(partition, page);
      }
    }
    await to.seal(partition, { isSealed: false, movedTo: null });
  }
}

async function seal(driver: StoreDriver, isSealed: boolean): Promise<void> {
  for (const name of PARTITIONS) await driver.seal(name, { isSealed, movedTo: null });
}

async function state(driver: StoreDriver): Promise<unknown> {
  const parts = [];
  for (const partition of PARTITIONS) {
    const lists = QUEUES.flatMap((queue) =>
      JOB_STATES.map((name) => {
        return {
          read: "queue.list",
          partition,
          queue,
          state: name,
          after: null,
          limit: 5,
        } as const;
      }),
    );
    const [{ changes }] = await driver.read([
      { read: "queue.changes", partition, queue: "a", cursor: 0, limit: 1_000 },
    ]);
    parts.push(
      await exported(driver, partition),
      await driver.read([
        { read: "queue.stats", partition, queues: null },
        { read: "session.list", partition },
        { read: "kv.list", partition, prefix: "t/", after: null, limit: 3 },
        ...lists,
      ]),
      // Jobs that one session gives back at once have no order among themselves.
      [...changes].sort((a, b) => a.seq - b.seq),
    );
  }
  return parts;
}

/** Byte arrays of any kind compare by their bytes. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, item: unknown) => {
      const bytes = item as { type?: string; data?: unknown };
      if (bytes?.type === "Buffer") return { bytes: bytes.data };
      return item instanceof Uint8Array ? { bytes: [...item] } : item;
    }),
  );
}

/**
 * Seals both, which take nothing then, and moves each into the other engine: what one gives the
 * other takes. Gives the new model.
 */
async function moved(
  { model, tested }: { readonly model: StoreDriver; readonly tested: StoreDriver },
  target: StoreDriver,
  clock: ManualClock,
  work: Workload,
): Promise<StoreDriver> {
  for (const driver of [model, tested]) await seal(driver, true);
  const groups = [work.group(), work.group()];
  const refused = await model.commit(groups);
  expect(refused.every(({ ok }) => !ok)).toBe(true);
  expect(plain(await tested.commit(groups))).toEqual(plain(refused));
  const other = memory({ state: new MemoryState({ clock }) });
  await move(tested, other, work);
  await move(model, target, work);
  await tested.close();
  return other;
}

async function run(seed: number, steps: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
  folders.push(folder);
  let path = join(folder, "a.db");
  const clock = new ManualClock();
  let model: StoreDriver = memory({ state: new MemoryState({ clock }) });
  const options = { clock, allow: "unsynced" } as const;
  let tested = await sqlite(path, options);
  const work = new Workload(seed);
  let moves = 0;
  for (let step = 0; step < steps; step++) {
    if (work.int(60) === 0) {
      moves++;
      path = join(folder, `${step}.db`);
      const target = await sqlite(path, options);
      model = await moved({ model, tested }, target, clock, work);
      tested = target;
      const wanted = plain(await state(model));
      expect(plain(await state(tested)), `seed ${seed}, move at ${step}`).toEqual(wanted);
    }
    const groups = Array.from({ length: work.int(5) === 0 ? 12 : work.int(3) }, () => work.group());
    const expected = await model.commit(groups);
    const got = await tested.commit(groups);
    expect(plain(got), `seed ${seed}, step ${step}`).toEqual(plain(expected));
    groups.forEach((group, i) => work.note(group, expected[i] as GroupResult));
    if (work.int(3) === 0) clock.block(work.int(900));
    if (work.int(40) === 0) {
      // Without its caches.
      await tested.close();
      tested = await sqlite(path, options);
    }
    if (step % 25 === 24) {
      const wanted = plain(await state(model));
      expect(plain(await state(tested)), `seed ${seed}, step ${step}`).toEqual(wanted);
    }
  }
  total.claimed += work.claimed;
  total.recorded += work.recorded;
  total.suspended += work.suspended;
  total.moves += moves;
  await tested.close();
}

const total = { claimed: 0, recorded: 0, suspended: 0, moves: 0 };

const seeds = Array.from({ length: Number(process.env["FUZZ_SEEDS"] ?? 12) }, (_, i) => i + 1);
test.each(seeds)("SQLite's tables answer as memory's do (seed %i)", { timeout: 60_000 }, (seed) =>
  run(seed, 200),
);

test("the workloads did get somewhere", () => {
  expect(total.claimed).toBeGreaterThan(10 * seeds.length);
  expect(total.recorded).toBeGreaterThan(4 * seeds.length);
  expect(total.suspended).toBeGreaterThan(seeds.length);
  expect(total.moves).toBeGreaterThan(seeds.length);
});
