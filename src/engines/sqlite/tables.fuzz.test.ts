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
  SettleOutcome,
} from "../../store/ops.ts";
import { memory, MemoryState } from "../memory/index.ts";
import { sqlite } from "./index.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const QUEUES = ["a", "b"];
const PARTITIONS = ["one", "two"];
const SESSIONS = ["s1", "s2", "s3"];
const OUTCOMES: SettleOutcome[] = ["completed", "retry", "dead", "cancelled", "released"];

/** Random groups; remembers what was claimed, so that most settles hit. */
class Workload {
  readonly #random: SeededRandom;
  readonly held: { partition: string; queue: string; session: string; job: ClaimedJob }[] = [];
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
      if (op.op !== "queue.claim") return;
      const { partition } = group;
      const { queue, session } = op;
      for (const job of (result.results[i] as Claimed).jobs) {
        this.claimed++;
        this.held.push({ partition, queue, session, job });
      }
    });
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
    ];
    switch (this.pick(kinds)) {
      case "enqueue":
        return this.#enqueue();
      case "claim": {
        const { queue, session } = { queue: this.pick(QUEUES), session: this.pick(SESSIONS) };
        return { op: "queue.claim", queue, session, max: 1 + this.int(8) };
      }
      case "settle":
        return this.#settle(partition);
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
    const priority = this.int(5) - 2;
    const where = { queue: this.pick(QUEUES), id, isFresh, payload, trace: null };
    return { op: "queue.enqueue", ...where, delayMs, priority, key, dedupe };
  }
  #settle(partition: string): Op {
    const at = this.held.findIndex((held) => held.partition === partition);
    const held = at === -1 ? undefined : this.held[at];
    const queue = held?.queue ?? "a";
    const session = held?.session ?? "s1";
    const { seq = 1, token = 1 } = held?.job ?? {};
    if (this.int(6) === 0) {
      return { op: "queue.progress", queue, session, seq, token, value: `${this.int(9)}` };
    }
    if (at !== -1) this.held.splice(at, 1);
    const rest = { result: this.int(3) === 0 ? "r" : null, error: this.int(3) === 0 ? "e" : null };
    const retry = { delayMs: this.int(1_000), holdsKey: this.int(2) === 0 };
    const outcome = this.int(3) > 0 ? "completed" : this.pick(OUTCOMES);
    return { op: "queue.settle", queue, session, seq, token, outcome, ...rest, ...retry };
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

async function exported(driver: StoreDriver, partition: string): Promise<readonly ExportRecord[]> {
  const records: ExportRecord[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<StoreDriver["export"]>> = await driver.export(
      partition,
      cursor,
      7,
    );
    records.push(...page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  return records;
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

async function run(seed: number, steps: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
  folders.push(folder);
  const path = join(folder, "a.db");
  const clock = new ManualClock();
  const model = memory({ state: new MemoryState({ clock }) });
  const options = { clock, allow: "unsynced" } as const;
  let tested = await sqlite(path, options);
  const work = new Workload(seed);
  for (let step = 0; step < steps; step++) {
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
  // The workload did get somewhere.
  expect(work.claimed).toBeGreaterThan(5);
  await tested.close();
}

const seeds = Array.from({ length: Number(process.env["FUZZ_SEEDS"] ?? 12) }, (_, i) => i + 1);
test.each(seeds)("SQLite's tables answer as memory's do (seed %i)", { timeout: 60_000 }, (seed) =>
  run(seed, 200),
);
