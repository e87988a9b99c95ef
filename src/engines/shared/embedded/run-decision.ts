/** What may refuse the ops of runs; a part of a group's decision (`decide.ts`), by reads alone. */
import { LIMITS } from "../../../core/limits.ts";
import type { QueueSettle, RunsRecord, RunsRestart, RunsSend } from "../../../store/ops.ts";
import { isSameData } from "./refusals.ts";
import type { Verdict } from "./refusals.ts";
import { isRecorded, receiver } from "./run-ops.ts";
import type { Scope } from "./scope.ts";
import type { JobRow, QueueRow } from "./tables.ts";

/** Most groups have no op of a run: what it keeps is made when it is first needed. */
export class RunDecision {
  readonly #scope: Scope;
  /** Where journals end after the group's earlier ops. */
  #ends: Map<number, number> | undefined;
  /** Events that the group's earlier ops send, by run. */
  #sent: Map<number, number> | undefined;
  /** What the group's earlier ops send under an id, by run and id. */
  #byId: Map<string, RunsSend> | undefined;
  /** Runs that the group's earlier ops end. */
  #ended: Set<number> | undefined;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  settled({ seq, outcome }: QueueSettle): void {
    const isOver = outcome === "completed" || outcome === "cancelled";
    if (isOver) (this.#ended ??= new Set()).add(seq);
  }

  /** Of a run that its sender holds. */
  record(op: RunsRecord): Verdict | undefined {
    const { tables } = this.#scope;
    const queue = this.#queue(op);
    const last = this.#last(queue, op.seq);
    const { after, records } = op;
    if (last === after) {
      (this.#ends ??= new Map()).set(op.seq, after + records.length);
      return undefined;
    }
    if (!op.isOnce && last > after && isRecorded(tables, queue, op)) return undefined;
    return elsewhere(op, last);
  }

  /** Of a run that its sender holds. */
  restart(op: RunsRestart): Verdict | undefined {
    const queue = this.#queue(op);
    const last = this.#last(queue, op.seq);
    if (last !== op.after) return elsewhere(op, last);
    const [row] = last === 0 ? [] : this.#scope.tables.records(queue, op.seq, last - 1, 1);
    if ((row?.key ?? null) !== op.lastKey) return otherwise(op, row?.key ?? null);
    (this.#ends ??= new Map()).set(op.seq, 0);
    return undefined;
  }

  #queue(op: RunsRecord | RunsRestart): number {
    const { tables, partition } = this.#scope;
    return (tables.queueByName(partition.no, op.queue) as QueueRow).no;
  }
  #last(queue: number, seq: number): number {
    return this.#ends?.get(seq) ?? this.#scope.tables.lastRecord(queue, seq);
  }

  /** `isStarted`: an earlier op of the group starts the run. */
  send(op: RunsSend, isStarted: boolean): Verdict | undefined {
    const run = receiver(this.#scope, op);
    if (run === "missing") {
      if (isStarted) return this.#repeat(op);
      return op.isLenient ? undefined : missing(op);
    }
    if (run === "ended" || this.#ended?.has(run.seq) === true) {
      return op.isLenient ? undefined : ended(op);
    }
    return this.#repeat(op) ?? this.#event(op, run);
  }

  /** Judges it beside the group's earlier sendings under its id. */
  #repeat(op: RunsSend): Verdict | undefined {
    if (op.id === null) return undefined;
    const place = `${op.queue}\n${op.run}\n${op.id}`;
    const known = this.#byId?.get(place);
    if (known === undefined) (this.#byId ??= new Map()).set(place, op);
    return known === undefined || isSame(known, op) ? undefined : taken(op);
  }

  #event(op: RunsSend, { queue, seq }: JobRow): Verdict | undefined {
    const { tables } = this.#scope;
    const known = op.id === null ? undefined : tables.eventById(queue, seq, op.id);
    if (known !== undefined) return isSame(known, op) ? undefined : taken(op);
    const sent = (this.#sent?.get(seq) ?? 0) + 1;
    if (tables.lastEvent(queue, seq) + sent > LIMITS.runEvents) return full(op);
    (this.#sent ??= new Map()).set(seq, sent);
    return undefined;
  }
}

function isSame(known: Pick<RunsSend, "event" | "data">, { event, data }: RunsSend): boolean {
  return known.event === event && isSameData(known.data, data);
}

function detailsOf({ queue, run, event }: RunsSend): Verdict["details"] {
  return { queue, run, event };
}

function elsewhere({ queue, seq, after }: RunsRecord | RunsRestart, last: number): Verdict {
  const message = `Expected the journal of run ${seq} in "${queue}" to end at record ${after}, found ${last}: read what it has, and go on from there`;
  return { code: "CONFLICT", message, details: { queue, seq, after, last } };
}

function otherwise({ queue, seq, lastKey }: RunsRestart, found: string | null): Verdict {
  const message = `Expected the last record of run ${seq} in "${queue}" to be "${lastKey}", found "${found}": read what it has, and go on from there`;
  return { code: "CONFLICT", message, details: { queue, seq, lastKey, found } };
}

function missing(op: RunsSend): Verdict {
  const message = `Expected run "${op.run}" in "${op.queue}" to be there, found none: start it first, or look at its id`;
  return { code: "NOT_FOUND", message, details: detailsOf(op) };
}

function ended(op: RunsSend): Verdict {
  const message = `Expected run "${op.run}" in "${op.queue}" to go on, but it has ended: event "${op.event}" comes too late`;
  return { code: "CONFLICT", message, details: detailsOf(op) };
}

function taken(op: RunsSend): Verdict {
  const message = `Expected the sending "${op.id}" to run "${op.run}" to be new or the same, found one with another event or value: use another id`;
  return { code: "ALREADY_EXISTS", message, details: detailsOf(op) };
}

function full(op: RunsSend): Verdict {
  const message = `Run "${op.run}" in "${op.queue}" has ${LIMITS.runEvents} events, which is the limit: go on as a new run`;
  return { code: "LIMITED", message, details: detailsOf(op) };
}
