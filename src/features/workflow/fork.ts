/**
 * Forks: a new run that begins with what another had on record before a step. The events come with
 * its start, under the same numbers; the records are copied by who claims it first.
 */
import { jsonCodec } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Runs } from "../../ports/runs/index.ts";
import type { RecordInput, RunEvent, RunRecord } from "../../store/ops.ts";
import { CHILD_EVENT, PARENT_EVENT } from "./child.ts";
import { CANCEL_EVENT } from "./execution.ts";
import type { Journal } from "./journal.ts";
import { decode, kindOf, nameOf } from "./records.ts";

/** The event that comes with a fork's start: where its records are. */
export const FORK_EVENT = "$fork";
/** Keeps the number of an event that a fork does not inherit. */
const GONE_EVENT = "$gone";

interface ForkData {
  readonly seq: number;
  readonly upTo: number;
}

/** Records and events of a run, whole. */
export interface WholeJournal {
  readonly records: readonly RunRecord[];
  readonly events: readonly RunEvent[];
}

/** Reads all of a run's journal; null if it is not there. */
export async function readWhole(
  runs: Runs,
  seq: number,
  wait: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined } = {},
): Promise<WholeJournal | null> {
  const records: RunRecord[] = [];
  const events: RunEvent[] = [];
  for (let hasMore = true; hasMore;) {
    const place = { afterRecord: records.length, afterEvent: events.length };
    const page = await runs.journal(seq, { ...place, ...wait });
    if (page === null) return null;
    records.push(...page.records);
    events.push(...page.events);
    ({ hasMore } = page);
  }
  return { records, events };
}

/** The events of a fork from before that step, in their order: as many as its records name. */
export function forkEvents(
  { records, events }: WholeJournal,
  origin: { readonly seq: number; readonly run: string },
  step: string,
): readonly Pick<RunEvent, "event" | "data">[] {
  const at = records.findIndex(
    ({ key }) => nameOf(key) === step && ["begin", "retry", "step"].includes(kindOf(key)),
  );
  if (at === -1) {
    const steps = records.filter(({ key }) => kindOf(key) === "step");
    const names = steps.slice(0, 20).map(({ key }) => `"${nameOf(key)}"`);
    const list = names.length === 0 ? "none" : names.join(", ");
    const message = `Expected run "${origin.run}" to have come to step "${step}", it has not: its first steps are ${list}`;
    const details = { run: origin.run, step };
    throw new HoldfastError("NOT_FOUND", message, { outcome: "not-applied", details });
  }
  const data: ForkData = { seq: origin.seq, upTo: at };
  const inherited = events.map(({ event, data: sent }) =>
    isOwn(event) ? { event: GONE_EVENT, data: "null" } : { event, data: sent },
  );
  return [...inherited, { event: FORK_EVENT, data: jsonCodec.encode(data) }];
}

/** What concerns the run that was forked alone. */
function isOwn(event: string): boolean {
  return [CANCEL_EVENT, PARENT_EVENT, FORK_EVENT].includes(event);
}

/** What a run that continues as new has no use for any more. */
export function isSpent(event: string): boolean {
  return [CHILD_EVENT, FORK_EVENT, GONE_EVENT].includes(event);
}

/** Where the records of a fork are; undefined for what is no fork. */
export function originOf(events: readonly RunEvent[]): ForkData | undefined {
  const fork = events.find(({ event }) => event === FORK_EVENT);
  return fork === undefined ? undefined : decode<ForkData>({ key: FORK_EVENT, data: fork.data });
}

/** Copies what a fork begins with, as far as it is not there yet. */
export async function copyOrigin(runs: Runs, journal: Journal): Promise<void> {
  const { seq, upTo } = originOf(journal.events) ?? { seq: 0, upTo: 0 };
  if (journal.records.length >= upTo) return;
  const origin = await readWhole(runs, seq);
  if (origin === null) {
    const message = "The run that this one was forked from is kept no longer: fork from another";
    throw new HoldfastError("NOT_FOUND", message, { outcome: "not-applied" });
  }
  const missing = origin.records.slice(journal.records.length, upTo);
  const records = missing.map(({ key, data, dueMs }): RecordInput => {
    const delayMs = dueMs === null ? null : Math.max(0, dueMs - journal.nowMs);
    return { key, data, delayMs };
  });
  await Promise.all(records.map((record) => journal.append([record])));
}
