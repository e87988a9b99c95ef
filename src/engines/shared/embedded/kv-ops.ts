/** The key-value ops of the write phase, and what a live key is. */
import type { Data } from "../../../core/codec.ts";
import type { KvAdd, KvDelete, KvEntry, KvGet, KvPut } from "../../../store/ops.ts";
import type { Scope } from "./scope.ts";
import type { KvRow, Tables } from "./tables.ts";

/**
 * The row, unless its time is up or its session is over: an expired key is never seen, removed or
 * not.
 */
export function liveKv(
  tables: Tables,
  partition: number,
  key: string,
  nowMs: number,
): KvRow | undefined {
  const row = tables.kv(partition, key);
  return row !== undefined && isLive(tables, row, nowMs) ? row : undefined;
}

export function isLive(tables: Tables, row: KvRow, nowMs: number): boolean {
  if (row.expiresMs !== null && row.expiresMs <= nowMs) return false;
  if (row.session === null) return true;
  const session = tables.session(row.partition, row.session);
  return session !== undefined && !session.isEnded && session.untilMs > nowMs;
}

export function entryOf(row: KvRow): KvEntry {
  return { key: row.key, value: row.value, revision: row.revision };
}

export function put(scope: Scope, op: KvPut): null {
  const expiresMs = op.ttlMs === undefined ? null : scope.nowMs + op.ttlMs;
  write(scope, op.key, op.value, expiresMs, op.session ?? null);
  return null;
}

function write(
  scope: Scope,
  key: string,
  value: Data,
  expiresMs: number | null,
  session: string | null,
): void {
  const { revision } = scope;
  const partition = scope.partition.no;
  scope.tables.saveKv({ partition, key, value, revision, expiresMs, session });
  scope.logKv(key, false);
}

export function remove(scope: Scope, op: KvDelete): boolean {
  const row = scope.tables.kv(scope.partition.no, op.key);
  if (row === undefined) return false;
  const wasLive = isLive(scope.tables, row, scope.nowMs);
  scope.tables.deleteKv(row);
  scope.logKv(op.key, true);
  return wasLive;
}

export function add(scope: Scope, op: KvAdd): number {
  const row = liveKv(scope.tables, scope.partition.no, op.key, scope.nowMs);
  const sum = (row === undefined ? 0 : Number(row.value)) + op.delta;
  write(scope, op.key, String(sum), row?.expiresMs ?? null, row?.session ?? null);
  return sum;
}

export function get(scope: Scope, op: KvGet): KvEntry | null {
  const row = liveKv(scope.tables, scope.partition.no, op.key, scope.nowMs);
  return row === undefined ? null : entryOf(row);
}
