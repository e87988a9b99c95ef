/**
 * Reads a SQLite store by its documented tables, and the payment service's database by its own,
 * with the bare client: no line of the library is between the files and the audit.
 *
 * Tables used: `hf_partition`, `hf_queue`, `hf_kv`, `hf_job`, and the places of a job (`hf_ready`,
 * `hf_scheduled`, `hf_blocked`, `hf_lease`, `hf_finished`). The views for people are not: they show
 * one state for each job, and a job in two places is just what the audit looks for.
 */
import Database from "better-sqlite3";
import { MAILS_QUEUE, NAMESPACE, ORDERS_WORKFLOW } from "./books.ts";
import type { Books, JobRow, KeyRow, PaymentRow, Payments } from "./audit.ts";

/** A store that was opened for reading. */
export interface OpenBooks extends Books {
  close(): void;
}
export interface OpenPayments extends Payments {
  close(): void;
}

/** What the queues are called that hold the runs of workflows. */
const RUN_QUEUE = "$run/";

const PARTITION = "SELECT no FROM hf_partition WHERE name = ?";
const QUEUE = "SELECT no FROM hf_queue WHERE partition = ? AND name = ?";

/** The revision is that of the commit that wrote the key last: the order of things. */
const KEYS = `
  SELECT key, CAST(value AS TEXT) AS value FROM hf_kv
  WHERE partition = ? AND substr(key, 1, length(?)) = ?
  ORDER BY revision, no`;

const JOBS = `
  WITH places AS (
    SELECT job FROM hf_ready WHERE queue = :queue
    UNION ALL SELECT job FROM hf_scheduled WHERE queue = :queue
    UNION ALL SELECT job FROM hf_blocked WHERE queue = :queue
    UNION ALL SELECT job FROM hf_lease WHERE queue = :queue
    UNION ALL SELECT job FROM hf_finished WHERE queue = :queue),
  counted AS (SELECT job, count(*) AS places FROM places GROUP BY job),
  ended AS (
    SELECT job, max(state) AS state, max(finished_ms) AS finished_ms, max(result) AS result
    FROM hf_finished WHERE queue = :queue GROUP BY job)
  SELECT j.id, coalesce(c.places, 0) AS places, e.state, j.created_ms AS createdMs,
    e.finished_ms AS finishedMs, CAST(e.result AS TEXT) AS result
  FROM hf_job j LEFT JOIN counted c ON c.job = j.job LEFT JOIN ended e ON e.job = j.job
  WHERE j.queue = :queue
  ORDER BY j.job`;

/** What `hf_finished.state` means. */
const STATES = ["completed", "cancelled", "dead"] as const;

type StoredJob = Omit<JobRow, "finished"> & { readonly state: number | null };

/**
 * The path of a store's URL, as `connect` reads it.
 *
 * Errors: an engine whose rows can't be read from outside.
 */
export function storePath(url: string): string {
  const match = /^sqlite:(?:\/\/)?([^?]+)/i.exec(url);
  if (match?.[1] !== undefined) return decodeURIComponent(match[1]);
  const [scheme] = url.split(":");
  throw new Error(
    `Expected a store that can be read from outside, got ${scheme}: the audit reads sqlite: URLs`,
  );
}

/** Where the payment service keeps its database, unless it is told: beside the store. */
export function paymentsPath(store: string): string {
  return `${store.replace(/\.db$/, "")}-payments.db`;
}

/** Opens the file. It writes nothing, but may have to recover the log of a killed process. */
export function openBooks(path: string): OpenBooks {
  const database = new Database(path, { fileMustExist: true });
  try {
    database.pragma("query_only = ON");
    const partition = number(database, PARTITION, NAMESPACE);
    const runs = number(database, QUEUE, partition, RUN_QUEUE + ORDERS_WORKFLOW);
    const mails = number(database, QUEUE, partition, MAILS_QUEUE);
    return {
      runs: () => jobs(database, runs),
      mails: () => jobs(database, mails),
      keys: (prefix) =>
        database.prepare<unknown[], KeyRow>(KEYS).iterate(partition, prefix, prefix),
      close: () => void database.close(),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

const CHARGES =
  "SELECT key, order_no AS 'order', pence FROM charge WHERE outcome = 'charged' ORDER BY key";
const REFUNDS = "SELECT key, order_no AS 'order', pence FROM refund ORDER BY key";
const CREDITS = "SELECT key, order_no AS 'order', pence FROM credit ORDER BY key";

/** Opens the payment service's file, which nobody else may have open. */
export function openPayments(path: string): OpenPayments {
  const database = new Database(path, { fileMustExist: true });
  database.pragma("query_only = ON");
  const rows = (sql: string): Iterable<PaymentRow> =>
    database.prepare<unknown[], PaymentRow>(sql).iterate();
  return {
    charges: () => rows(CHARGES),
    refunds: () => rows(REFUNDS),
    credits: () => rows(CREDITS),
    lateCharges: () => number(database, "SELECT count(*) FROM late"),
    close: () => void database.close(),
  };
}

function* jobs(database: Database.Database, queue: number): Generator<JobRow> {
  for (const row of database.prepare<[{ queue: number }], StoredJob>(JOBS).iterate({ queue })) {
    const { state, ...rest } = row;
    yield { ...rest, finished: state === null ? null : (STATES[state] ?? "dead") };
  }
}

/** The number that a name stands for; -1, which nothing has, if the sale never got so far. */
function number(database: Database.Database, sql: string, ...names: unknown[]): number {
  const found = database
    .prepare(sql)
    .pluck()
    .get(...names);
  return typeof found === "number" ? found : -1;
}
