/** A journal in the hands of who holds its run no more, and does not know it yet. */
import { expect, test } from "vitest";
import type { RunPage } from "../../store/driver.ts";
import { Journal } from "./journal.ts";

function record(no: number) {
  return { no, key: `step:${no}`, data: "{}", atMs: 0, dueMs: null };
}
function event(no: number) {
  return { no, event: "e", data: "1", id: null, atMs: 0 };
}

/** As claimed, with so many records and events, from a store that gives these pages in turn. */
function journalOf(lastRecord: number, lastEvent: number, pages: readonly Partial<RunPage>[]) {
  const bare = { records: [], events: [], hasMore: false, nowMs: 0 };
  let reads = 0;
  const runs = { journal: async () => ({ ...bare, ...pages[reads++] }) };
  const claimed = { id: "1", seq: 1, token: 7, delivery: 1, run: { lastRecord, lastEvent } };
  return new Journal(runs as never, { claimed } as never);
}

test("records that somebody else appended say that the run is held no more", async () => {
  const fenced = { code: "FENCED", outcome: "not-applied" };
  const loading = journalOf(1, 0, [{ records: [record(1), record(2)] }]);
  await expect(loading.load()).rejects.toMatchObject(fenced);
  const later = journalOf(1, 0, [{ records: [record(1)] }, { records: [record(2)] }]);
  await later.load();
  await expect(later.refresh()).rejects.toMatchObject(fenced);
});

test("a journal that somebody else began anew is not waited for", async () => {
  const fenced = { code: "FENCED" };
  await expect(journalOf(3, 0, [{ records: [record(1)] }]).load()).rejects.toMatchObject(fenced);
  await expect(journalOf(0, 3, [{ events: [event(1)] }]).load()).rejects.toMatchObject(fenced);
});

test("what was there when the run was claimed, and events that came since, are read page by page", async () => {
  const journal = journalOf(3, 1, [
    { records: [record(1), record(2)], events: [event(1)], hasMore: true },
    { records: [record(3)], events: [event(2)], nowMs: 5 },
  ]);
  await journal.load();
  expect(journal.records.map(({ no }) => no)).toEqual([1, 2, 3]);
  expect(journal.events.map(({ no }) => no)).toEqual([1, 2]);
  expect(journal.nowMs).toBe(5);
});
