/** Journals and events in pages: what no export gave is refused, and repeats change nothing. */
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../../core/clock.ts";
import type { ExportRecord } from "../../../store/driver.ts";
import type { Op } from "../../../store/ops.ts";
import { MemoryState } from "../../memory/index.ts";
import { MemoryTables } from "../../memory/tables.ts";
import { exportPage, importPage } from "./transfer.ts";

const NOW_MS = 1_700_000_000_000;
const QUEUE = "$run/r";

/** What a store with a run, its journal, its events, and an ordinary job exports. */
function exported(): readonly ExportRecord[] {
  const state = new MemoryState({ clock: new ManualClock(NOW_MS) });
  const commit = (...ops: readonly Op[]): void => {
    const [result] = state.commit([{ partition: "p", ops }]);
    if (result?.ok !== true) throw new Error(JSON.stringify(result));
  };
  const job = { op: "queue.enqueue", id: "1", isFresh: false, payload: "", delayMs: 0 } as const;
  const plain = { priority: 0, key: null, dedupe: null, trace: null } as const;
  const event = { op: "runs.send", queue: QUEUE, run: "1", event: "e", isLenient: false } as const;
  commit({ ...job, ...plain, queue: QUEUE }, { ...job, ...plain, queue: "jobs" });
  commit({ ...event, data: "1", id: "a" }, { ...event, data: "2", id: null });
  commit({ op: "session.open", session: "s", ttlMs: 60_000, label: "" });
  commit({ op: "queue.claim", queue: QUEUE, session: "s", max: 1 });
  const lease = state.tables.leaseOfJob(1, 1);
  const held = { queue: QUEUE, session: "s", seq: 1, token: lease?.token ?? 0 } as const;
  const records = ["x", "y"].map((key) => ({ key, data: "v", delayMs: null }));
  commit({ op: "runs.record", ...held, after: 0, records, isProgress: false, isOnce: false });
  return all(state.tables);
}

function all(tables: MemoryTables, limit: number = 1_000): readonly ExportRecord[] {
  return pages(tables, limit).flat();
}
function pages(tables: MemoryTables, limit: number): (readonly ExportRecord[])[] {
  const list: (readonly ExportRecord[])[] = [];
  let cursor: string | null = null;
  do {
    const page: ReturnType<typeof exportPage> = exportPage(tables, "p", cursor, limit, NOW_MS);
    list.push(page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  return list;
}
function take(tables: MemoryTables, records: readonly unknown[]): void {
  importPage(tables, "p", records as readonly ExportRecord[], NOW_MS);
}

const sound = exported();
const isOfRun = ({ record }: ExportRecord): boolean => record.startsWith("run-");
const rest = sound.filter((record) => !isOfRun(record));
const [first, second, one, two] = sound.filter(isOfRun);

const JUNK: readonly (readonly [name: string, records: readonly unknown[]])[] = [
  ["a record of no run", [...rest, { ...first, seq: 7 }]],
  ["a record of an ordinary job", [...rest, { ...first, queue: "jobs", seq: 2 }]],
  ["a record before its run", [rest[0], first, ...rest.slice(1)]],
  ["a record after a gap", [...rest, second]],
  ["an event after a gap", [...rest, two]],
  ["two events under one id", [...rest, one, { ...two, id: "a" }]],
  ["a record without a key", [...rest, { ...first, key: "" }]],
  ["an event without a name", [...rest, { ...one, event: undefined }]],
  ["a record with data that is none", [...rest, { ...first, data: 1 }]],
];

describe("a page about runs that no export gave is refused, and nothing of it is written", () => {
  test.each(JUNK)("%s", (_name, records) => {
    const tables = new MemoryTables();
    expect(() => take(tables, records)).toThrowError(
      expect.objectContaining({ code: "INVALID_DATA", outcome: "not-applied" }),
    );
    expect(tables.partitions()).toEqual([]);
  });
});

test("an event under the id of one that an earlier page brought is refused", () => {
  const tables = new MemoryTables();
  take(tables, [...rest, one]);
  expect(() => take(tables, [{ ...two, id: "a" }])).toThrowError(
    expect.objectContaining({ code: "INVALID_DATA" }),
  );
});

test.each([1, 2, 3, 5, 1_000])("pages of %i come out as they went in, also twice", (limit) => {
  const source = new MemoryTables();
  take(source, sound);
  const tables = new MemoryTables();
  for (const page of pages(source, limit)) for (const _ of [1, 2]) take(tables, page);
  expect(all(tables).filter(isOfRun)).toEqual(sound.filter(isOfRun));
  expect(all(tables, limit).length).toBe(sound.length);
});
