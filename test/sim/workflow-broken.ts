/**
 * Workflows that are broken on purpose, one promise each: what the simulation must find. Some are
 * stores that break what runs rest on; others stand between the library and the handler, and do
 * what a wrong execution would.
 */
import type { Clock } from "../../src/core/clock.ts";
import { MemoryState } from "../../src/engines/memory/index.ts";
import type { RecordRow } from "../../src/engines/shared/embedded/tables.ts";
import type { Attempt, StepOptions, StepWork } from "../../src/features/workflow/index.ts";
import type {
  Group,
  GroupResult,
  Op,
  OpResult,
  RunsRecord,
  RunsSend,
} from "../../src/store/ops.ts";
import type { EventName } from "./saga.ts";
import type { Events, SagaRun } from "./workflow-setting.ts";

/** Every how many times something goes wrong, where it does not always. */
const EVERY = 10;

// ---------------------------------------------------------------- stores

/** A store that takes other ops than it was given. */
abstract class OpsChanged extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => ({
        partition,
        ops: ops.map((op) => this.changed(op, partition)),
      })),
    );
  }
  protected abstract changed(op: Op, partition: string): Op;
}

/** Acknowledges some groups and writes nothing of them. */
abstract class Forgets extends MemoryState {
  #count = 0;
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    const isDropped = groups.map(({ ops }) => {
      return ops.every((op) => this.isForgotten(op)) && ++this.#count % EVERY === 0;
    });
    const kept = super.commit(groups.filter((_, index) => isDropped[index] !== true));
    let next = 0;
    return groups.map(({ partition, ops }, index) =>
      isDropped[index] === true
        ? { ok: true, revision: 1, results: ops.map((op) => this.answer(op, partition)) }
        : (kept[next++] as GroupResult),
    );
  }
  protected abstract isForgotten(op: Op): boolean;
  protected abstract answer(op: Op, partition: string): OpResult;
}

class ForgetsRecords extends Forgets {
  protected override isForgotten(op: Op): boolean {
    return op.op === "runs.record";
  }
  protected override answer(op: Op): OpResult {
    const { after, records } = op as RunsRecord;
    return { lastRecord: after + records.length, lastEvent: 0, nowMs: this.nowMs() };
  }
}

class ForgetsEvents extends Forgets {
  protected override isForgotten(op: Op): boolean {
    return op.op === "runs.send";
  }
  protected override answer(op: Op, name: string): OpResult {
    const { queue, run } = op as RunsSend;
    const partition = this.tables.partitionByName(name)?.no ?? 0;
    const no = this.tables.queueByName(partition, queue)?.no ?? 0;
    const seq = this.tables.jobById(no, run)?.seq ?? 0;
    return { no: this.tables.lastEvent(no, seq) + 1, status: "sent" };
  }
}

/** Whoever asks may append, at whatever place. */
class RecordsUnderAnyToken extends OpsChanged {
  protected override changed(op: Op, name: string): Op {
    if (op.op !== "runs.record") return op;
    const partition = this.tables.partitionByName(name)?.no ?? 0;
    const queue = this.tables.queueByName(partition, op.queue);
    const lease = queue && this.tables.leaseOfJob(queue.no, op.seq);
    const session = lease && this.tables.sessionByNo(lease.session)?.id;
    if (queue === undefined || lease === undefined || session === undefined) return op;
    const after = this.tables.lastRecord(queue.no, op.seq);
    const isFenced = lease.token !== op.token;
    return isFenced ? { ...op, session, token: lease.token, after } : op;
  }
}

/** Every sending counts, under an id or without. */
class SendsAgain extends OpsChanged {
  protected override changed(op: Op): Op {
    return op.op === "runs.send" ? { ...op, id: null } : op;
  }
}

class SleepsThroughEvents extends OpsChanged {
  protected override changed(op: Op): Op {
    const isSuspension = op.op === "queue.settle" && op.outcome === "suspended";
    return isSuspension ? { ...op, seen: Number.MAX_SAFE_INTEGER } : op;
  }
}

class NeverWakes extends OpsChanged {
  protected override changed(op: Op): Op {
    const isSuspension = op.op === "queue.settle" && op.outcome === "suspended";
    return isSuspension ? { ...op, untilMs: null } : op;
  }
}

/** Records hold without the ops that came with them. */
class SplitsGroups extends MemoryState {
  override commit(groups: readonly Group[]): readonly GroupResult[] {
    return super.commit(
      groups.map(({ partition, ops }) => {
        const isStep = ops.length > 1 && ops[0]?.op === "runs.record";
        return { partition, ops: isStep ? ops.slice(0, 1) : ops };
      }),
    );
  }
}

/** A journal that is not what was written. */
abstract class ReadsOtherwise extends MemoryState {
  constructor(options: { readonly clock: Clock }) {
    super(options);
    const { tables } = this;
    const records = tables.records.bind(tables);
    tables.records = (queue, seq, after, limit) => this.changed(records(queue, seq, after, limit));
  }
  protected abstract changed(rows: RecordRow[]): RecordRow[];
}

/** Whoever takes a run over does not learn which steps were begun. */
class HidesBegun extends ReadsOtherwise {
  protected override changed(rows: RecordRow[]): RecordRow[] {
    return rows.map((row) => ({ ...row, key: row.key.replace(/^begin:/, "sleep:") }));
  }
}

/** The first two outcomes of a page change places. */
class Reorders extends ReadsOtherwise {
  protected override changed(rows: RecordRow[]): RecordRow[] {
    const isStep = ({ key }: RecordRow): boolean => key.startsWith("step:");
    const [one, two] = rows.filter(isStep);
    if (one === undefined || two === undefined) return rows;
    return rows.map((row) => {
      if (row === one) return { ...row, key: two.key, data: two.data };
      return row === two ? { ...row, key: one.key, data: one.data } : row;
    });
  }
}

/** What is broken in the store → how to make it. */
export const BROKEN_STORES: Readonly<Record<string, (clock: Clock) => MemoryState>> = {
  "loses a record of a journal": (clock) => new ForgetsRecords({ clock }),
  "loses an event": (clock) => new ForgetsEvents({ clock }),
  "records without looking at the token": (clock) => new RecordsUnderAnyToken({ clock }),
  "sends again under the same id": (clock) => new SendsAgain({ clock }),
  "sleeps through events": (clock) => new SleepsThroughEvents({ clock }),
  "never wakes a sleeper": (clock) => new NeverWakes({ clock }),
  "hides which steps were begun": (clock) => new HidesBegun({ clock }),
  "gives a journal in another order": (clock) => new Reorders({ clock }),
  "records a step without its ops": (clock) => new SplitsGroups({ clock }),
};

// ---------------------------------------------------------------- executions

type Wrap = (run: SagaRun) => SagaRun;
type Step = SagaRun["step"];
type Undo = NonNullable<StepOptions<unknown>["undo"]>;

/** The run, but for what the overrides do in its place. */
function but(run: SagaRun, overrides: Partial<SagaRun>): SagaRun {
  return new Proxy(run, {
    get: (target, name) => {
      const own: unknown = Reflect.get(overrides, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Of a number of chances every so many-th is taken; one count a simulation. */
function turns(): () => boolean {
  let count = 0;
  return () => ++count % EVERY === 0;
}

function callsAgain(): Wrap {
  const isTurn = turns();
  return (run) => {
    const step: Step = async (name, work, options) => {
      let last: Attempt | undefined;
      const value = await run.step(name, (attempt) => work((last = attempt)), options);
      if (last !== undefined && isTurn()) await work(last);
      return value;
    };
    return but(run, { step });
  };
}

/** A replay that does not trust the record. */
function forgetsValues(): Wrap {
  return (run) => {
    const step: Step = async <T>(name: string, work: StepWork<T>, options?: StepOptions<T>) => {
      let isCalled = false;
      const noted: StepWork<T> = (attempt) => {
        isCalled = true;
        return work(attempt);
      };
      const value = await run.step(name, noted, options);
      return isCalled ? value : ({ nonce: 0, by: "nobody" } as T);
    };
    return but(run, { step });
  };
}

/** Gives each undo in place of the step's own what is made of it. */
function withUndos(run: SagaRun, change: (undo: Undo) => Undo): SagaRun {
  const step: Step = (name, work, options = {}) => {
    const undo = options.undo && change(options.undo as Undo);
    return run.step(name, work, { ...options, undo });
  };
  return but(run, { step });
}

function skipsUndos(): Wrap {
  const isTurn = turns();
  const skipping =
    (undo: Undo): Undo =>
    (done, attempt) =>
      isTurn() ? undefined : undo(done, attempt);
  return (run) => withUndos(run, skipping);
}

/** What was begun first is undone first. */
function undoesForwards(): Wrap {
  return (run) => {
    const undos: Undo[] = [];
    return withUndos(run, (undo) => {
      undos.push(undo);
      return (done, attempt) => undos.shift()?.(done, attempt);
    });
  };
}

/** Before an undo the one before it is called once more. */
function undoesTwice(): Wrap {
  return (run) => {
    let last: (() => unknown) | undefined;
    return withUndos(run, (undo) => async (done, attempt) => {
      await last?.();
      last = () => undo(done, attempt);
      return last();
    });
  };
}

/** Gives the event that it gave before. */
function givesTwice(): Wrap {
  return (run) => {
    const given = new Map<string, Events[EventName]>();
    const waitFor: SagaRun["waitFor"] = async (event) => {
      const value = given.get(event) ?? (await run.waitFor(event));
      given.set(event, value);
      return value;
    };
    return but(run, { waitFor });
  };
}

/** What is broken in the execution → how to make it. */
export const BROKEN_RUNS: Readonly<Record<string, () => Wrap>> = {
  "calls a step whose record stands": callsAgain,
  "gives other values at a replay": forgetsValues,
  "skips an undo": skipsUndos,
  "undoes in the wrong order": undoesForwards,
  "undoes again what is undone": undoesTwice,
  "gives an event twice": givesTwice,
};
