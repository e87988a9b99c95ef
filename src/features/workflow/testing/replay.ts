/**
 * Journals replayed against today's code. Each handler runs as it would when its run is claimed
 * next: what the journal has is given to it in order. Where the journal ends the replay ends,
 * before anything is really done: no function of a step or an undo is called, nothing is recorded,
 * no store is touched. What it says is which runs could not go on with this code.
 */
import { ManualClock, systemClock } from "../../../core/clock.ts";
import { jsonCodec, validate } from "../../../core/codec.ts";
import { describeError, HoldfastError, isHoldfastError } from "../../../core/errors.ts";
import { checkInteger, checkMs, checkOptions, expected } from "../../../core/options.ts";
import { sleep } from "../../../core/signal.ts";
import { Runs } from "../../../ports/runs/index.ts";
import type { HeldJob } from "../../jobs/index.ts";
import { CANCEL_EVENT, describe, Execution, type Ended } from "../execution.ts";
import { isImplementation, type AnyImplementation } from "../implementation.ts";
import type { RunStatus } from "../info.ts";
import { Journal } from "../journal.ts";
import { isKnown, keyOf, kindOf, nameOf, type Outcome } from "../records.ts";
import { RunHandle } from "../run-handle.ts";
import { Undos } from "../undo.ts";
import { checkJournal, type RunJournal } from "./journals.ts";
import { openReadOnly } from "./read-only.ts";

/** A run that could not go on with the code as it is. */
export interface BrokenRun {
  readonly workflow: string;
  readonly run: string;
  readonly status: RunStatus;
  /** The number of the record that the code does not match; null: it is about none of them. */
  readonly record: number | null;
  /** What the journal says, in words: `step "charge"`. */
  readonly expected: string;
  /** What the code does in its place. */
  readonly found: string;
}

export interface ReplayReport {
  /** How many journals were replayed. */
  readonly checked: number;
  /** Journals of workflows that were not given. */
  readonly skipped: number;
  readonly broken: readonly BrokenRun[];
}

export interface ReplayOptions {
  /**
   * How long code may take, in real milliseconds, that awaits something of its own between its
   * steps. Default 50.
   */
  readonly patienceMs?: number | undefined;
  /** How many are replayed at once: 1 to 1,000; default 32. */
  readonly concurrency?: number | undefined;
}

const DEFAULTS = Object.freeze({ patienceMs: 50, concurrency: 32 });
/** More than what code may take to ask for what the journal has. */
const MISMATCH_MS = 2_000;
/** After so many turns of the loop without a move the code has gone on as far as it can. */
const REST_TURNS = 8;

/**
 * Replays journals against the handlers of their workflows.
 *
 * Shape: journals as `exportJournals` or `parseJournal` give them. Guarantee: only the code between
 * the steps runs, as at every replay; nothing else does.
 * Errors: `UNSUPPORTED` for a journal, or a record in it, of a newer version; `INVALID_DATA` for
 * what is no journal; `TypeError` and `RangeError` for arguments. Complexity: about what it takes
 * to read the journal.
 *
 * ```ts
 * const { broken } = await replayJournals([placing], exportJournals(hf, placeOrder));
 * ```
 */
export async function replayJournals(
  implementations: readonly AnyImplementation[],
  journals: Iterable<RunJournal> | AsyncIterable<RunJournal>,
  options: ReplayOptions = {},
): Promise<ReplayReport> {
  checkOptions("options", options, ["patienceMs", "concurrency"]);
  const patienceMs = checkMs("patienceMs", options.patienceMs ?? DEFAULTS.patienceMs);
  const { concurrency = DEFAULTS.concurrency } = options;
  checkInteger("concurrency", concurrency, 1, 1_000);
  const byName = new Map<string, AnyImplementation>();
  for (const each of implementations) {
    if (!isImplementation(each)) {
      throw new TypeError(expected("implementations", "what `implement` gives", each));
    }
    byName.set(each.definition.name, each);
  }
  const found: Promise<BrokenRun | undefined>[] = [];
  let skipped = 0;
  let underWay: Promise<unknown>[] = [];
  for await (const journal of journals) {
    checkRecords(checkJournal(journal));
    const implementation = byName.get(journal.workflow);
    if (implementation === undefined) {
      skipped++;
      continue;
    }
    const replayed = replay(implementation, journal, patienceMs);
    found.push(replayed);
    underWay.push(replayed);
    if (underWay.length < concurrency) continue;
    await Promise.all(underWay);
    underWay = [];
  }
  const broken = (await Promise.all(found)).filter((each) => each !== undefined);
  return { checked: found.length, skipped, broken };
}

function checkRecords({ run, records }: RunJournal): void {
  const at = records.findIndex(({ key }) => !isKnown(key));
  if (at === -1) return;
  const { key } = records[at] as { readonly key: string };
  const message = `Expected records of known kinds in the journal of run "${run}", got "${key}": it was written by a newer version of Holdfast, which is needed to replay it`;
  const details = { run, record: at + 1, key };
  throw new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied", details });
}

/** Counts how often the code was given something: then it may go on. */
class ReplayClock extends ManualClock {
  moves = 0;
  override yield(): Promise<void> {
    this.moves++;
    return super.yield();
  }
}

/** What is known when the replay has come to its end. */
interface Replayed {
  readonly journal: RunJournal;
  readonly execution: Execution;
  readonly undos: Undos;
  /** Keys that the code asked for beyond the journal's end. */
  readonly asked: readonly string[];
  readonly ended: Ended | undefined;
  /** Why the replay was broken off. */
  readonly failure: unknown;
}

async function replay(
  { definition, handler }: AnyImplementation,
  journal: RunJournal,
  patienceMs: number,
): Promise<BrokenRun | undefined> {
  const { settings } = definition;
  let input: unknown;
  try {
    input = await validate(settings.queue.input, journal.input, "its input");
  } catch (error) {
    return broken(journal, null, "an input that its schema takes", describeError(error));
  }
  const clock = new ReplayClock(instantOf(journal));
  const store = await openReadOnly(journal, clock);
  const runs = new Runs(store, settings.name, { partition: settings.queue.partition });
  const held = heldOf(journal, runs.queue.name, clock.wallMs());
  const records = new Journal(runs, held);
  await records.load();
  const asked: string[] = [];
  const execution = new Execution(store, held, records, ({ key }) => void asked.push(key));
  const undos = new Undos();
  const run = new RunHandle<object>(execution, settings, undos);
  let ended: Ended | undefined;
  let own: Ended | undefined;
  let failure: unknown;
  const code = async (): Promise<unknown> => {
    try {
      const value: unknown = await handler(input, run as never);
      own = { value };
      return value;
    } catch (error) {
      own = { error };
      throw error;
    }
  };
  execution.run(code).then(
    (how) => void (ended = how as Ended),
    (error: unknown) => void (failure = error),
  );
  const look = (): Replayed => ({ journal, execution, undos, asked, ended, failure });
  const isOver = (): boolean => ended !== undefined || failure !== undefined;
  await rest(clock, () => asked.length, isOver);
  if (!isOver() && !isFit(look())) {
    await sleep(systemClock, patienceMs);
    await rest(clock, () => asked.length, isOver);
  }
  if (!isOver() && !execution.isLive) await clock.advance(MISMATCH_MS);
  return judge(look(), own);
}

/** Until the code waits for what it is not given. */
async function rest(clock: ReplayClock, asked: () => number, isOver: () => boolean): Promise<void> {
  let moves = -1;
  for (let still = 0; still < REST_TURNS && !isOver(); still++) {
    await systemClock.yield();
    if (clock.moves + asked() !== moves) still = 0;
    moves = clock.moves + asked();
  }
}

/** By the store's clock then: when the last thing was noted. */
function instantOf({ records, events }: RunJournal): number {
  return [...records, ...events].reduce((last, { atMs }) => Math.max(last, atMs), 0);
}

/** The run as if it were held. */
function heldOf({ run, records, events }: RunJournal, queue: string, nowMs: number): HeldJob {
  const state = { lastRecord: records.length, lastEvent: events.length, nowMs };
  const held = {
    ...{ id: run, queue, token: 0n, signal: new AbortController().signal, reason: undefined },
    claimed: { id: run, seq: 1, token: 0, delivery: 1, run: state },
    session: { isOver: false },
    progress: (value: unknown) => void jsonCodec.encode(value),
  };
  return held as unknown as HeldJob;
}

// ---------------------------------------------------------------- judging

function isFit(replayed: Replayed): boolean {
  return replayed.execution.isLive && openMark(replayed) === undefined;
}

function judge(replayed: Replayed, own: Ended | undefined): BrokenRun | undefined {
  const { journal, execution, failure } = replayed;
  if (failure !== undefined) return ofFailure(replayed, own);
  if (!execution.isLive) {
    const { next } = execution;
    return broken(journal, next?.no ?? null, describe(next?.key ?? ""), STANDS);
  }
  if (journal.status === "completed") return ofCompleted(replayed);
  const [step] = replayed.undos.missing(execution.journal);
  if (step !== undefined) {
    const what = `${describe(keyOf("step", step.name))} with an undo`;
    return broken(journal, step.no, what, foundOf(replayed));
  }
  return isStopping(journal) ? undefined : ofWaiting(replayed);
}

/** The run itself had failed or was cancelled; not today's code, where the journal ends. */
function isStopping({ records, events }: RunJournal): boolean {
  return (
    records.some(({ key }) => kindOf(key) === "stop") ||
    events.some(({ event }) => event === CANCEL_EVENT)
  );
}

/** What the run is at, and would not go on with. */
function ofWaiting(replayed: Replayed): BrokenRun | undefined {
  const { journal, ended } = replayed;
  const open = openMark(replayed);
  if (open !== undefined) return broken(journal, open.no, describe(open.key), foundOf(replayed));
  // A run that waits and has no mark waits for an event, unless it has not begun yet.
  const hasBegun = journal.records.length > 0;
  const isAwaiting = journal.status === "waiting" && journal.error === undefined && hasBegun;
  if (!isAwaiting || ended === undefined) return undefined;
  return broken(journal, null, "an event to be waited for", foundOf(replayed));
}

const STANDS = "code that waits for something of its own";

function ofFailure({ journal, failure }: Replayed, own: Ended | undefined): BrokenRun {
  if (!isHoldfastError(failure, "NON_DETERMINISTIC")) {
    return broken(journal, null, "code that can be replayed", describeError(failure));
  }
  const { record, expected: key, got } = failure.details;
  const isEnd = own !== undefined;
  const found = isEnd ? endOf(own) : String(got);
  return broken(journal, Number(record), describe(String(key)), found);
}

function ofCompleted(replayed: Replayed): BrokenRun | undefined {
  const { journal, ended } = replayed;
  const isSame = ended !== undefined && "value" in ended;
  return isSame ? undefined : broken(journal, null, "the end of the code", foundOf(replayed));
}

/** What the code does where the journal ends. */
function foundOf({ asked, ended }: Replayed): string {
  if (ended !== undefined) return endOf(ended);
  const [key] = asked;
  return key === undefined ? STANDS : describe(key);
}

function endOf(ended: Ended): string {
  if ("value" in ended) return "the end of the code";
  return `the end of the code (${describeError(ended.error, 300)})`;
}

/** What each mark says that the run was at, by its outcome. */
const AT: Readonly<Record<string, Outcome>> = { retry: "step", sleep: "woke", wait: "got" };

/** Something that the run was at, for which the code does not ask. */
function openMark({ journal, execution }: Replayed): { key: string; no: number } | undefined {
  const over = new Set(journal.records.map(({ key }) => key));
  for (const [index, { key: mark }] of journal.records.entries()) {
    const outcome = AT[kindOf(mark)];
    if (outcome === undefined) continue;
    const key = keyOf(outcome, nameOf(mark));
    if (!over.has(key) && !execution.isRequested(key)) return { key, no: index + 1 };
  }
  return undefined;
}

function broken(
  { workflow, run, status }: RunJournal,
  record: number | null,
  expected: string,
  found: string,
): BrokenRun {
  return { workflow, run, status, record, expected, found };
}
