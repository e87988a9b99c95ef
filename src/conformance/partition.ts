/** A partition that holds something of everything, and its whole content as plain data. */
import assert from "node:assert/strict";
import { bytesCodec } from "../core/codec.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { ExportRecord, StoreDriver } from "../store/driver.ts";
import type { ClaimedJob } from "../store/ops.ts";
import type { Session } from "../store/session.ts";
import type { Store } from "../store/store.ts";
import type { World } from "./kit.ts";

/** What a partition was filled with, and who holds what in it. */
export interface Filled {
  readonly store: Store;
  readonly session: Session;
  readonly queue: Queue;
  readonly held: ClaimedJob;
  readonly cancelled: ClaimedJob;
}

/**
 * Fills the test's partition: keys of every kind, a queue with jobs in every state, marks, rules, a
 * pause, live sessions.
 */
export async function fillPartition(world: World): Promise<Filled> {
  const store = await world.store();
  const session = await store.session();
  await fillKeys(store, session);
  await fillRules(store);
  const queue = new Queue(store, "jobs");
  await queue.configure({ ageMs: 100, maxDeliveries: 7, perKey: 2, keepMs: 3_600_000 });
  const add = (id: string, more: object = {}) => queue.add({ id, payload: `"${id}"`, ...more });
  for (const id of ["completed", "cancelled", "dead"]) await add(id);
  const [a, b, c] = (await queue.claim(session, 3)).jobs as [ClaimedJob, ClaimedJob, ClaimedJob];
  const result = Uint8Array.of(0, 255);
  await queue.settle(session, a, { outcome: "completed", result });
  await queue.settle(session, b, { outcome: "cancelled", error: "stopped" });
  await queue.settle(session, c, { outcome: "dead", error: "broken" });
  await add("held", { key: "k" });
  await add("held-cancelled", { key: "k", trace: "a trace" });
  const [held, cancelled] = (await queue.claim(session, 2)).jobs as [ClaimedJob, ClaimedJob];
  await queue.progress(session, held, "50");
  await queue.cancel("held-cancelled", { reason: "asked" });
  await add("retried", { key: "r" });
  await add("behind", { key: "r" });
  await add("behind-too", { key: "r" });
  const [retried] = (await queue.claim(session, 1)).jobs as [ClaimedJob];
  assert.equal(retried.id, "retried");
  const later = { outcome: "retry", delayMs: 500_000, error: "not yet", holdsKey: true } as const;
  await queue.settle(session, retried, later);
  for (const id of ["blocked-1", "blocked-2"]) await add(id, { key: "k" });
  for (const [i, priority] of [0, 9, 3, 9].entries()) await add(`ready-${i}`, { priority });
  await add("due-later", { delayMs: 400_000, key: "k" });
  await queue.add({ id: "bytes", payload: Uint8Array.of(0, 128, 255) });
  const window = { ttlMs: 300_000 } as const;
  await add("deduped", { dedupe: { key: "first", ...window } });
  await add("last", { dedupe: { key: "last", mode: "last", ...window } });
  return { store, session, queue, held, cancelled };
}

async function fillKeys(store: Store, session: Session): Promise<void> {
  const kv = new Kv<unknown>(store);
  await kv.put("plain", 1);
  await kv.put("plain", 1);
  await kv.put("ttl", "ends", { ttlMs: 250_000 });
  await kv.put("bound", "session", { session });
  await kv.put("deleted", 1);
  await kv.delete("deleted");
  await kv.add("counter", 41);
  await kv.put("a\uFFFF", 1);
  await kv.put("a\u{10000}", 2);
  await new Kv<unknown>(store, { codec: bytesCodec }).put("bytes", Uint8Array.of(255, 0, 128));
}

/** Queues whose rules are state too: one that is paused, one whose rate is used up. */
async function fillRules(store: Store): Promise<void> {
  const session = await store.session();
  const paused = new Queue(store, "paused");
  await paused.add({ id: "waits", payload: "" });
  await paused.pause();
  const paced = new Queue(store, "paced");
  await paced.configure({ rate: { count: 1, perMs: 200_000, burst: 1 } });
  for (const id of ["one", "two"]) await paced.add({ id, payload: "" });
  const [job] = (await paced.claim(session, 5)).jobs as [ClaimedJob];
  await paced.settle(session, job, { outcome: "completed" });
  const keyed = new Queue(store, "keyed");
  await keyed.configure({
    rate: { count: 1, perMs: 200_000, burst: 1, isPerKey: true },
    perKey: 5,
  });
  for (const id of ["one", "two"]) await keyed.add({ id, payload: "", key: "k" });
  const [first] = (await keyed.claim(session, 5)).jobs as [ClaimedJob];
  await keyed.settle(session, first, { outcome: "completed" });
}

/** Everything in the partition, page by page. */
export async function dump(
  driver: Pick<StoreDriver, "export">,
  partition: string,
  limit: number = 100,
): Promise<readonly ExportRecord[]> {
  const records: ExportRecord[] = [];
  let cursor: string | null = null;
  for (let pages = 0; ; pages++) {
    assert.ok(pages < 100_000, "an export ends");
    const page = await driver.export(partition, cursor, limit);
    records.push(...page.records);
    if (page.cursor === null) return records;
    ({ cursor } = page);
  }
}

/**
 * The records without the time at which they were read, and without that to which heartbeats move.
 */
export function timeless(records: readonly ExportRecord[]): readonly ExportRecord[] {
  return records.map((each) => {
    if (each.record === "partition") return { ...each, clockMs: 0 };
    return each.record === "session" ? { ...each, untilMs: 0 } : each;
  });
}
