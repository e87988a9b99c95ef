/** Pages that no export gave: refused with what was expected and got, and nothing is written. */
import { describe, expect, test } from "vitest";
import type { ExportRecord } from "../../../store/driver.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../../store/ops.ts";
import { MemoryTables } from "../../memory/tables.ts";
import { exportPage, importPage } from "./transfer.ts";

const NOW_MS = 1_700_000_000_000;

const head = { record: "partition", revision: 9, nextSeq: 9, clockMs: NOW_MS } as const;
const session = {
  record: "session",
  ...{ session: "s", label: "", ttlMs: 1_000 },
  ...{ untilMs: NOW_MS, isEnded: false },
} as const;
const config = DEFAULT_QUEUE_CONFIG;
const queue = { record: "queue", queue: "q", config, isPaused: false, rateMs: 0 } as const;
const kv = {
  record: "kv",
  ...{ key: "k", value: "v", revision: 3 },
  ...{ expiresMs: null, session: null },
} as const;
const mark = {
  record: "mark",
  kind: "dedupe",
  ...{ queue: "q", name: "d" },
  ...{ value: 1, id: "j", writer: "w", expiresMs: NOW_MS },
} as const;
const view = {
  state: "ready",
  ...{ id: "j", seq: 1, payload: "p", key: null, priority: 0 },
  ...{ attempts: 0, lost: 0, createdMs: NOW_MS, dueMs: null, session: null, token: null },
  ...{ isCancelRequested: false, progress: null, result: null, error: null, finishedMs: null },
  attributes: {},
} as const;
const job = {
  record: "job",
  ...{ queue: "q", view, at: NOW_MS },
  ...{
    holdsKey: false,
    hasStarted: true,
    isReplaced: true,
    isSuspended: false,
    expiresMs: null,
    trace: null,
  },
} as const;
const sound = [head, session, queue, kv, mark, job] as const;

function withView(more: object): object {
  return { ...job, view: { ...view, ...more } };
}

function importing(tables: MemoryTables, records: unknown): () => void {
  return () => importPage(tables, "p", records as readonly ExportRecord[], NOW_MS);
}

const JUNK: readonly (readonly [name: string, records: unknown])[] = [
  ["no array", { record: "partition" }],
  ["null", [null]],
  ["text", ["partition"]],
  ["no kind", [{}]],
  ["another kind", [{ record: "rows" }]],
  ["a later page first", [queue]],
  ["a head that is not first", [...sound, head]],
  ["a head without numbers", [{ record: "partition" }]],
  ["a revision that is none", [{ ...head, revision: -1 }]],
  ["a session that never lives", [head, { ...session, ttlMs: "1" }]],
  ["a reserved session", [head, { ...session, session: "$import" }]],
  ["a queue without rules", [head, { ...queue, config: undefined }]],
  ["a rule out of range", [head, { ...queue, config: { ...config, perKey: 0 } }]],
  ["a rate's time that is none", [head, { ...queue, rateMs: Number.NaN }]],
  ["a value that is none", [head, { ...kv, value: 7 }]],
  ["a value with NUL", [head, { ...kv, value: "a\u0000b" }]],
  ["a revision above the source's", [head, { ...kv, revision: 10 }]],
  ["a mark of an unknown queue", [head, mark]],
  ["a mark of another kind", [head, queue, { ...mark, kind: "time" }]],
  ["a job of an unknown queue", [head, job]],
  ["a job of queue number 7", [head, queue, { ...job, queue: 7 }]],
  ["a job without a view", [head, queue, { ...job, view: undefined }]],
  ["a job in no state", [head, queue, withView({ state: "gone" })]],
  ["a job number above the source's", [head, queue, withView({ seq: 9 })]],
  ["a blocked job without a key", [head, queue, withView({ state: "blocked" })]],
  ["a lease of nobody", [head, queue, withView({ state: "leased", session: "s", token: 1 })]],
  ["a lease without a token", [head, session, queue, withView({ state: "leased", session: "s" })]],
  ["a finished job without a time", [head, queue, withView({ state: "completed" })]],
  ["two jobs of one id", [head, queue, job, withView({ seq: 2 })]],
  ["two jobs of one number", [head, queue, job, withView({ id: "other" })]],
];

describe("a page that no export gave is refused, and nothing of it is written", () => {
  test.each(JUNK)("%s", (_name, records) => {
    const tables = new MemoryTables();
    expect(importing(tables, records)).toThrowError(
      expect.objectContaining({
        ...{ code: "INVALID_DATA", outcome: "not-applied" },
        message: expect.stringMatching(/^Expected .+, got .+/),
      }),
    );
    expect(tables.partitions()).toEqual([]);
  });
});

test("a record that does not fit what an earlier page brought is refused", () => {
  const tables = new MemoryTables();
  importing(tables, sound)();
  const clashes = [withView({ seq: 2 }), withView({ id: "other" }), { ...job, queue: "none" }];
  for (const record of clashes) {
    expect(importing(tables, [record])).toThrowError(
      expect.objectContaining({ code: "INVALID_DATA" }),
    );
  }
  importing(tables, sound)();
  expect(tables.queueByName(1, "q")?.counts.ready).toBe(1);
  // What a repeat of an add, and a replacement, are judged by comes along.
  expect(tables.job(1, 1)).toMatchObject({ hasStarted: true, isReplaced: true });
  expect(tables.mark(1, "dedupe", "d")).toMatchObject({ id: "j", writer: "w" });
});

test("every instant is moved from the source's clock to the target's, by the same in all pages", () => {
  const tables = new MemoryTables();
  const byMs = 5_000_000;
  const ttl = { ...kv, expiresMs: NOW_MS + 1_000 };
  const rate = { ...mark, kind: "rate", name: "k", value: NOW_MS + 0.5, id: null } as const;
  const paced = { ...queue, rateMs: NOW_MS + 0.25 };
  const pages: readonly (readonly ExportRecord[])[] = [
    [head, session],
    [paced, ttl],
    [mark, rate, job],
  ];
  // Time passes between the pages, and they come again.
  for (const repeat of [0, 1]) {
    for (const [index, page] of pages.entries()) {
      importPage(tables, "p", page, NOW_MS + byMs + 700 * index + 5_000 * repeat);
    }
  }
  expect(tables.session(1, "s")?.untilMs).toBe(session.untilMs + byMs);
  expect(tables.kv(1, "k")?.expiresMs).toBe(ttl.expiresMs + byMs);
  expect(tables.queueByName(1, "q")?.rateMs).toBe(paced.rateMs + byMs);
  expect(tables.mark(1, "dedupe", "d")).toMatchObject({ value: 1, expiresMs: NOW_MS + byMs });
  expect(tables.mark(1, "rate", "k")?.value).toBe(rate.value + byMs);
  expect(tables.job(1, 1)).toMatchObject({ at: NOW_MS + byMs, createdMs: NOW_MS + byMs });
  const { records } = exportPage(tables, "p", null, 10, NOW_MS);
  expect(records.filter((each) => each.record === "session")).toHaveLength(1);
});
