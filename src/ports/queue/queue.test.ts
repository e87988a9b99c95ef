import { describe, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { sleep } from "../../core/signal.ts";
import { memory } from "../../engines/memory/index.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../store/ops.ts";
import { Store } from "../../store/store.ts";
import { Kv } from "../kv/index.ts";
import type { JobInput, QueueRules } from "./ops.ts";
import { listQueues, Queue } from "./queue.ts";

async function open(): Promise<{ store: Store; queue: Queue; clock: ManualClock }> {
  const clock = new ManualClock();
  const store = await Store.open(memory({ clock }), { clock });
  return { store, queue: new Queue(store, "jobs"), clock };
}

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);
const NOT_MS = [-1, 1.5, Number.NaN, Infinity, 400 * 86_400_000 + 1, 2 ** 53];
const NOT_NAMES = ["", "$x", "a\u0000b", "a\nb", "\uDC00", "x".repeat(201)];
const NOT_IDS = ["", "a\u0000b", "\uD800", "x".repeat(201)];

describe("input that is refused", () => {
  test.each(NOT_NAMES)("a queue named %j is a RangeError", async (name) => {
    const { store } = await open();
    expect(() => new Queue(store, name)).toThrow(RangeError);
  });

  const wrongJobs: [string, Partial<JobInput>][] = [
    ...NOT_IDS.map((id): [string, Partial<JobInput>] => [
      `id ${JSON.stringify(id.slice(0, 9))}`,
      { id },
    ]),
    ...NOT_IDS.map((key): [string, Partial<JobInput>] => [
      `key ${JSON.stringify(key.slice(0, 9))}`,
      { key },
    ]),
    ...NOT_MS.map((delayMs): [string, Partial<JobInput>] => [`delayMs ${delayMs}`, { delayMs }]),
    ...[...NOT_MS, 101].map((priority): [string, Partial<JobInput>] => [
      `priority ${priority}`,
      { priority },
    ]),
    ...[...NOT_MS, 0].map((ttlMs): [string, Partial<JobInput>] => [
      `dedupe.ttlMs ${ttlMs}`,
      { dedupe: { key: "k", ttlMs } },
    ]),
    ["dedupe.key empty", { dedupe: { key: "", ttlMs: 1 } }],
    ["dedupe.mode unknown", { dedupe: { key: "k", ttlMs: 1, mode: "always" as never } }],
  ];
  test.each(wrongJobs)("a job with %s is a RangeError", async (_, input) => {
    const { queue } = await open();
    const job = { payload: "x", ...input };
    expect(await caught(queue.add(job))).toBeInstanceOf(RangeError);
    expect(await caught(queue.addMany([{ payload: "fine" }, job]))).toBeInstanceOf(RangeError);
    expect((await queue.stats()).counts.ready).toBe(0);
  });

  test.each([
    ["no job", undefined],
    ["no payload", {}],
    ["an object payload", { payload: {} }],
    ["an unknown field", { payload: "x", prio: 1 }],
    ["a numeric id", { payload: "x", id: 7 }],
    ["a text delay", { payload: "x", delayMs: "7" }],
    ["dedupe as text", { payload: "x", dedupe: "k" }],
    ["an unknown dedupe field", { payload: "x", dedupe: { key: "k", ttlMs: 1, for: 1 } }],
  ])("%s is a TypeError", async (_, job) => {
    const { queue } = await open();
    expect(await caught(queue.add(job as never))).toBeInstanceOf(TypeError);
  });

  test("a payload, result or progress above its limit is TOO_LARGE", async () => {
    const { store, queue } = await open();
    const session = await store.session();
    const large = { code: "TOO_LARGE", outcome: "not-applied" };
    expect(await caught(queue.add({ payload: "x".repeat(1_048_577) }))).toMatchObject(large);
    expect(await caught(queue.add({ payload: "€".repeat(349_526) }))).toMatchObject(large);
    await queue.add({ payload: new Uint8Array(1_048_576) });
    const [job] = (await queue.claim(session, 1)).jobs;
    const result = "x".repeat(1_048_577);
    const settled = queue.settle(session, job as never, { outcome: "completed", result });
    expect(await caught(settled)).toMatchObject(large);
    const progress = queue.progress(session, job as never, "x".repeat(16_385));
    expect(await caught(progress)).toMatchObject(large);
    expect(await queue.settle(session, job as never, { outcome: "completed" })).toBe("completed");
  });

  const wrongRules: [string, QueueRules][] = [
    ...(["ageMs", "keepMs", "keepDeadMs"] as const).flatMap((name) =>
      NOT_MS.map((value): [string, QueueRules] => [`${name} ${value}`, { [name]: value }]),
    ),
    ...(["perKey", "maxLeased", "maxDeliveries", "maxWaiting"] as const).flatMap((name) =>
      [0, -1, 1.5, 2 ** 53].map((value): [string, QueueRules] => [
        `${name} ${value}`,
        { [name]: value },
      ]),
    ),
    ["keepCount -1", { keepCount: -1 }],
    ["rate.count 0", { rate: { count: 0, perMs: 1 } }],
    ["rate.perMs 0", { rate: { count: 1, perMs: 0 } }],
    ["rate.burst 0", { rate: { count: 1, perMs: 1, burst: 0 } }],
    ["rate.count fractional", { rate: { count: 0.5, perMs: 1 } }],
  ];
  test.each(wrongRules)("rules with %s are a RangeError", async (_, rules) => {
    const { queue } = await open();
    expect(await caught(queue.configure(rules))).toBeInstanceOf(RangeError);
  });

  test("unknown rules and wrong settlements are refused", async () => {
    const { store, queue } = await open();
    expect(await caught(queue.configure({ perkey: 1 } as never))).toBeInstanceOf(TypeError);
    expect(
      await caught(queue.configure({ rate: { count: 1, perMs: 1, per: 1 } as never })),
    ).toBeInstanceOf(TypeError);
    const session = await store.session();
    const job = { seq: 1, token: 1 };
    for (const settlement of [
      undefined,
      { outcome: "completed", delayMs: 1 },
      { outcome: "released", error: "x" },
      { outcome: "retry", holdsKey: "yes" },
      { outcome: "dead", error: 7 },
    ]) {
      expect(await caught(queue.settle(session, job, settlement as never))).toBeInstanceOf(
        TypeError,
      );
    }
    for (const settlement of [
      { outcome: "done" },
      ...NOT_MS.map((delayMs) => ({ outcome: "retry", delayMs })),
    ]) {
      expect(await caught(queue.settle(session, job, settlement as never))).toBeInstanceOf(
        RangeError,
      );
    }
    const wrong = { seq: -1, token: 1 };
    expect(await caught(queue.settle(session, wrong, { outcome: "released" }))).toBeInstanceOf(
      RangeError,
    );
  });

  test("numbers of claims, pages, redrives and purges have bounds", async () => {
    const { store, queue } = await open();
    const session = await store.session();
    const works = [
      ...[0, -1, 1.5, 1_001].map((max) => queue.claim(session, max)),
      ...[0, 1_001].map((limit) => queue.list("ready", { limit })),
      queue.list("waiting" as never),
      queue.purge("leased" as never),
      queue.purge("dead", { max: 0 }),
      queue.redrive({ max: 0 }),
      queue.redrive({ ids: [] }),
      queue.redrive({ ids: Array.from({ length: 1_001 }, (_, i) => `${i}`) }),
      queue.get(Array.from({ length: 1_001 }, (_, i) => `${i}`)),
      queue.changes(-1),
      queue.cancel(""),
    ];
    for (const work of works) expect(await caught(work)).toBeInstanceOf(RangeError);
  });
});

describe("adding many", () => {
  test("adds in order, in several groups", async () => {
    const { store, queue } = await open();
    const jobs = Array.from({ length: 2_500 }, (_, i) => ({ payload: `${i}` }));
    const added = await queue.addMany(jobs);
    expect(added.map(({ seq }) => seq)).toEqual(added.map((_, i) => (added[0]?.seq ?? 0) + i));
    const page = await queue.claim(await store.session(), 3);
    expect(page.jobs.map(({ payload }) => payload)).toEqual(["0", "1", "2"]);
    expect(await queue.addMany([])).toEqual([]);
  });

  test("keeps groups under 1 MiB", async () => {
    const { queue } = await open();
    const payload = "x".repeat(1_000_000);
    expect(await queue.addMany(Array.from({ length: 12 }, () => ({ payload })))).toHaveLength(12);
  });

  test("tells after a failure how many were added", async () => {
    const { queue } = await open();
    await queue.configure({ maxWaiting: 1_500 });
    const jobs = Array.from({ length: 2_500 }, () => ({ payload: "x" }));
    const error = await caught(queue.addMany(jobs));
    expect(error).toMatchObject({
      code: "OVERLOADED",
      outcome: "not-applied",
      details: { added: 1_000 },
    });
    expect((await queue.stats()).counts.ready).toBe(1_000);
  });

  test("refuses more than 100,000", async () => {
    const { queue } = await open();
    const jobs = Array.from({ length: 100_001 }, () => ({ payload: "x" }));
    expect(await caught(queue.addMany(jobs))).toBeInstanceOf(RangeError);
  });
});

/** A store whose commits and reads take 40 ms each. */
async function openSlow(): Promise<{ store: Store; queue: Queue; clock: ManualClock }> {
  const clock = new ManualClock();
  const inner = memory({ clock });
  const slow = async <T>(run: () => Promise<T>): Promise<T> => {
    await sleep(clock, 40);
    return run();
  };
  const store = await Store.open(
    {
      ...{ capabilities: inner.capabilities, watch: inner.watch.bind(inner) },
      commit: (groups) => slow(() => inner.commit(groups)),
      read: (reads) => slow(() => inner.read(reads)),
      subscribe: (...args) => inner.subscribe(...args),
      export: (...args) => inner.export(...args),
      import: (...args) => inner.import(...args),
      seal: (...args) => inner.seal(...args),
      durability: () => inner.durability(),
      close: () => inner.close(),
    },
    { clock },
  );
  return { store, queue: new Queue(store, "jobs"), clock };
}

describe("one timeout for a call of several steps", () => {
  const TIMEOUT = { code: "TIMEOUT" };

  /** How long the work took, by the clock, and what it ended with. */
  async function timed(clock: ManualClock, work: Promise<unknown>): Promise<[unknown, number]> {
    const startMs = clock.monotonicMs();
    let end: [unknown, number] | undefined;
    const done = caught(work).then((result) => (end = [result, clock.monotonicMs() - startMs]));
    for (let i = 0; i < 1_000 && end === undefined; i++) await clock.advance(1);
    return done;
  }

  test("holds for a long add, which tells how many went before", async () => {
    const { queue, clock } = await openSlow();
    const jobs = Array.from({ length: 5_000 }, () => ({ payload: "x" }));
    const [error, tookMs] = await timed(clock, queue.addMany(jobs, { timeoutMs: 100 }));
    expect(error).toMatchObject({ ...TIMEOUT, details: { added: 2_000 } });
    expect(tookMs).toBeLessThanOrEqual(101);
  });

  test("holds for a purge and a redrive", async () => {
    const { queue, clock } = await openSlow();
    const jobs = Array.from({ length: 5_000 }, () => ({ payload: "x" }));
    await timed(clock, queue.addMany(jobs));
    const [error, tookMs] = await timed(clock, queue.purge("ready", { timeoutMs: 100 }));
    expect(error).toMatchObject(TIMEOUT);
    expect(tookMs).toBeLessThanOrEqual(101);
    // The step that was under way goes on.
    await clock.advance(100);
    const [redriven, redriveMs] = await timed(clock, queue.redrive({ timeoutMs: 60, max: 9 }));
    expect([redriven, redriveMs <= 60]).toEqual([0, true]);
    const [late, lateMs] = await timed(clock, queue.redrive({ timeoutMs: 30 }));
    expect(late).toMatchObject(TIMEOUT);
    expect(lateMs).toBeLessThanOrEqual(31);
  });

  test("holds for a claim that opens the session first", async () => {
    const { store, clock } = await openSlow();
    const opening = store.session();
    await clock.advance(50);
    const session = await opening;
    const there = new Queue(store, "jobs", { partition: "eu" });
    const [error, tookMs] = await timed(clock, there.claim(session, 1, { timeoutMs: 60 }));
    expect(error).toMatchObject(TIMEOUT);
    expect(tookMs).toBeLessThanOrEqual(61);
    expect(session.isOpenIn(there.partition)).toBe(true);
  });

  test("an aborted or wrong wait is refused before anything is sent", async () => {
    const { store, clock } = await openSlow();
    const opening = store.session();
    await clock.advance(50);
    const session = await opening;
    const there = new Queue(store, "jobs", { partition: "eu" });
    const signal = AbortSignal.abort("no");
    expect(await caught(there.claim(session, 1, { signal }))).toBe("no");
    expect(await caught(there.claim(session, 1, { timeout: 1 } as never))).toBeInstanceOf(
      TypeError,
    );
    expect(await caught(there.purge("ready", { signal }))).toBe("no");
    await clock.advance(1_000);
    expect(session.isOpenIn(there.partition)).toBe(false);
  });

  test("an abort in the middle of a long add is rethrown as it is", async () => {
    const { queue, clock } = await openSlow();
    const controller = new AbortController();
    const jobs = Array.from({ length: 5_000 }, () => ({ payload: "x" }));
    const adding = timed(clock, queue.addMany(jobs, { signal: controller.signal }));
    const reason = new Error("enough");
    clock.timer(100, () => controller.abort(reason));
    expect((await adding)[0]).toBe(reason);
  });
});

describe("what the class adds to the driver", () => {
  test("claims open the session where it is not yet", async () => {
    const { store } = await open();
    const queue = new Queue(store, "jobs", { partition: "eu" });
    await queue.add({ payload: "x" });
    const session = await store.session();
    expect(session.isOpenIn(queue.partition)).toBe(false);
    expect((await queue.claim(session, 1)).jobs).toHaveLength(1);
  });

  test("a session that is over is told so before anything is sent", async () => {
    const { store, queue } = await open();
    const session = await store.session();
    await session.close();
    const lost = { code: "LEASE_LOST", outcome: "not-applied" };
    expect(await caught(queue.claim(session, 1))).toMatchObject(lost);
    const job = { seq: 1, token: 1 };
    expect(await caught(queue.settle(session, job, { outcome: "released" }))).toMatchObject(lost);
    expect(await caught(queue.progress(session, job, "x"))).toMatchObject(lost);
  });

  test("settling with other ops holds or falls together", async () => {
    const { store, queue } = await open();
    const kv = new Kv(store);
    const session = await store.session();
    await queue.add({ payload: "x" });
    const [job] = (await queue.claim(session, 1)).jobs;
    const also = [queue.op.enqueue({ payload: "next" }), kv.op.add("stock", -1, { min: 0 })];
    const failed = queue.settle(session, job as never, { outcome: "completed" }, { also });
    expect(await caught(failed)).toMatchObject({ code: "LIMITED" });
    expect((await queue.stats()).counts).toMatchObject({ ready: 0, leased: 1 });
    await kv.put("stock", 1);
    const done = await queue.settle(session, job as never, { outcome: "completed" }, { also });
    expect(done).toBe("completed");
    expect((await queue.stats()).counts).toMatchObject({ ready: 1, completed: 1 });
    const across = { also: [kv.partition("eu").op.put("k", 1)] };
    const refused = queue.settle(session, job as never, { outcome: "completed" }, across);
    expect(await caught(refused)).toMatchObject({ code: "UNSUPPORTED" });
  });

  test("purge and redrive go in steps, and stop at what was there or at `max`", async () => {
    const { queue, store } = await open();
    await queue.addMany(Array.from({ length: 2_300 }, () => ({ payload: "x" })));
    const session = await store.session();
    for (;;) {
      const { jobs } = await queue.claim(session, 1_000);
      if (jobs.length === 0) break;
      await Promise.all(jobs.map((job) => queue.settle(session, job, { outcome: "dead" })));
    }
    expect(await queue.redrive({ max: 1_200 })).toBe(1_200);
    expect((await queue.stats()).counts).toMatchObject({ ready: 1_200, dead: 1_100 });
    expect(await queue.redrive()).toBe(1_100);
    expect(await queue.purge("ready", { max: 5 })).toBe(5);
    expect(await queue.purge("ready")).toBe(2_295);
    expect(await queue.purge("ready")).toBe(0);
  });

  test("a redrive of ids takes no `max`: it would say something else", async () => {
    const { queue } = await open();
    const error = await caught(queue.redrive({ ids: ["a", "b"], max: 1 }));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain("`max`");
  });

  test("lists page by page, reads by id, counts what was never used", async () => {
    const { store, queue } = await open();
    const none = await queue.stats();
    expect(none).toMatchObject({
      queue: "jobs",
      config: DEFAULT_QUEUE_CONFIG,
      oldestReadyMs: null,
    });
    for (const id of ["a", "b", "c"]) await queue.add({ id, payload: id });
    const first = await queue.list("ready", { limit: 2 });
    expect(first.jobs.map(({ id }) => id)).toEqual(["a", "b"]);
    const second = await queue.list("ready", { limit: 2, after: first.next as number });
    expect(second).toMatchObject({ jobs: [{ id: "c" }], next: null });
    const ids: string[] = [];
    for await (const { id } of queue.scan("ready", { limit: 1 })) ids.push(id);
    expect(ids).toEqual(["a", "b", "c"]);
    expect((await queue.get("b"))?.payload).toBe("b");
    expect(await queue.get(["z", "a"])).toMatchObject([null, { id: "a" }]);
    expect((await listQueues(store)).map((view) => view.queue)).toEqual(["jobs"]);
  });

  test("rules that are left out have their defaults, not their former values", async () => {
    const { queue } = await open();
    await queue.configure({ perKey: 3, rate: { count: 5, perMs: 1_000 } });
    const rate = { count: 5, perMs: 1_000, burst: 5, isPerKey: false };
    expect((await queue.stats()).config).toEqual({ ...DEFAULT_QUEUE_CONFIG, perKey: 3, rate });
    await queue.configure({ maxLeased: 2 });
    expect((await queue.stats()).config).toEqual({ ...DEFAULT_QUEUE_CONFIG, maxLeased: 2 });
  });

  test("an error text is cut, not refused", async () => {
    const { store, queue } = await open();
    await queue.add({ id: "a", payload: "x" });
    const session = await store.session();
    const [job] = (await queue.claim(session, 1)).jobs;
    await queue.settle(session, job as never, { outcome: "dead", error: "e".repeat(9_999) });
    expect((await queue.get("a"))?.error).toHaveLength(2_000);
  });

  test("hints tell of ready, done and cancelled jobs, until stopped", async () => {
    const { store, queue, clock } = await open();
    const heard: string[] = [];
    const stops = [
      queue.onReady(() => heard.push("ready")),
      queue.onDone(() => heard.push("done")),
      queue.onCancel(() => heard.push("cancel")),
    ];
    await queue.add({ id: "a", payload: "x" });
    const session = await store.session();
    const [job] = (await queue.claim(session, 1)).jobs;
    expect(await queue.cancel("a", { reason: "enough" })).toBe("requested");
    const cancels: unknown[] = [];
    session.onCancels((asked) => cancels.push(...asked.cancels));
    await session.renew();
    expect(cancels).toEqual([{ queue: "jobs", seq: job?.seq, token: job?.token }]);
    await queue.settle(session, job as never, { outcome: "cancelled" });
    await clock.advance(0);
    expect(new Set(heard)).toEqual(new Set(["ready", "cancel", "done"]));
    for (const stop of stops) stop();
    heard.length = 0;
    await queue.add({ payload: "x" });
    expect(heard).toEqual([]);
  });
});
