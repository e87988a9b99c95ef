/**
 * What runs of workflows must have done, told from the commits and from what the program saw, both
 * at the instants at which they happened. It trusts nothing of the library: it reads the journal by
 * itself, keeps what was sent, knows what each function gave, and says from the script what must
 * come of it all.
 */
import { isDeepStrictEqual } from "node:util";
import type { MemoryState } from "../../src/engines/memory/index.ts";
import type { CommitEvent } from "../../src/sim/index.ts";
import type {
  Claimed,
  Group,
  Op,
  OpResult,
  QueueSettle,
  RunsRecord,
  RunsSend,
  Sent,
} from "../../src/store/ops.ts";
import { endingOf, type Outcome, type Outcomes, type Script } from "./saga.ts";

/** A record as it stands, and under which token it was written. */
interface Rec {
  readonly no: number;
  readonly kind: string;
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly token: number;
  readonly dueMs: number | null;
}
interface Sending {
  readonly no: number;
  readonly event: string;
  readonly id: string | null;
  readonly value: unknown;
  readonly atMs: number;
}
/** All that is known of a run. */
export interface Facts {
  readonly id: string;
  readonly script: Script;
  readonly records: Rec[];
  readonly outcomes: Rec[];
  readonly byKey: Map<string, Rec>;
  readonly events: Sending[];
  readonly taken: Set<number>;
  /** By token: the last event that was there when it was given out. */
  readonly claims: Map<number, number>;
  /** The newest. */
  token: number;
  readonly undone: string[];
  /** Steps that have to be undone, the first one first; known from the stop on. */
  order: readonly string[];
  ended: "completed" | "failed" | "cancelled" | undefined;
}

const OUTCOMES = new Set(["step", "got", "woke", "patch"]);
/** What may still be recorded once a run was stopped. */
const AFTER_STOP = new Set(["undone", "unfit", "parked", "redrive"]);
const CANCEL = "$cancel";

function check(condition: boolean, message: string, data?: unknown): asserts condition {
  if (condition) return;
  throw new Error(`Runs: ${message} ${data === undefined ? "" : JSON.stringify(data)}`);
}

function recOf(op: RunsRecord, at: number, nowMs: number): Rec {
  const { key, data, delayMs } = op.records[at] as RunsRecord["records"][number];
  const colon = key.indexOf(":");
  return {
    no: op.after + 1 + at,
    kind: key.slice(0, colon),
    name: key.slice(colon + 1),
    data: (JSON.parse(data as string) ?? {}) as Rec["data"],
    token: op.token,
    dueMs: delayMs === null ? null : nowMs + delayMs,
  };
}

export interface AuditOptions {
  readonly partition: string;
  readonly queue: string;
  /** The counter that steps with an effect raise in one commit with their records. */
  readonly effectKey: string;
  readonly scriptOf: (id: string) => Script;
}

export class RunAudit {
  readonly #options: AuditOptions;
  readonly runs: Map<string, Facts> = new Map<string, Facts>();
  readonly #bySeq = new Map<number, Facts>();
  /** What functions of steps gave, and what they threw: by run, step and token. */
  readonly #gave = new Map<string, unknown[]>();
  readonly #threw = new Map<string, string[]>();
  /** Undos that held. */
  readonly #held = new Set<string>();
  #effects = 0;
  readonly counts: Record<string, number> = {
    ...{ completed: 0, failed: 0, cancelled: 0, dead: 0, suspended: 0 },
    ...{ calls: 0, repeats: 0, undos: 0, events: 0, takeovers: 0 },
  };

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  // ---------------------------------------------------------------- what the store took

  commit(state: MemoryState, { groups, results }: CommitEvent): void {
    const nowMs = state.nowMs();
    for (const [i, group] of groups.entries()) {
      const result = results[i];
      if (result?.ok !== true || group.partition !== this.#options.partition) continue;
      group.ops.forEach((op, at) => this.#op(op, result.results[at] as OpResult, group, nowMs));
    }
    this.#checkEffects(state);
  }

  #op(op: Op, result: OpResult, _group: Group, nowMs: number): void {
    if (!("queue" in op) || op.queue !== this.#options.queue) return;
    switch (op.op) {
      case "queue.enqueue":
        return this.#started(op.id, (result as { readonly seq: number }).seq);
      case "queue.claim":
        return this.#claimed(result as Claimed);
      case "queue.settle":
        return this.#settled(op);
      case "runs.record":
        return this.#recorded(op, nowMs);
      case "runs.send":
        return this.#sent(op, result as Sent, nowMs);
      default:
    }
  }

  #started(id: string, seq: number): void {
    if (this.runs.has(id)) return;
    const facts: Facts = {
      ...{ id, script: this.#options.scriptOf(id), records: [], outcomes: [], undone: [] },
      ...{ byKey: new Map(), events: [], taken: new Set(), claims: new Map() },
      ...{ token: 0, order: [], ended: undefined },
    };
    this.runs.set(id, facts);
    this.#bySeq.set(seq, facts);
  }

  #claimed({ jobs }: Claimed): void {
    for (const { seq, token, delivery } of jobs) {
      const facts = this.#ofSeq(seq);
      facts.token = token;
      facts.claims.set(token, facts.events.length);
      if (delivery > 1) this.counts["takeovers"]!++;
    }
  }

  #ofSeq(seq: number): Facts {
    const facts = this.#bySeq.get(seq);
    check(facts !== undefined, "a run was started", seq);
    return facts;
  }

  #sent(op: RunsSend, { no, status }: Sent, atMs: number): void {
    const facts = this.#facts(op.run);
    const value: unknown = JSON.parse(op.data as string);
    const { event, id } = op;
    const known = id === null ? undefined : facts.events.find((each) => each.id === id);
    if (status === "exists") {
      const isIt = known?.no === no && isDeepStrictEqual(known.value, value);
      check(isIt, "a sending that was there is the same", { op, known });
      return;
    }
    check(known === undefined, "under one id one event is sent", { op, known });
    check(no === facts.events.length + 1, "events are numbered in order", { op, no });
    facts.events.push({ no, event, id, value, atMs });
    this.counts["events"]!++;
  }

  #recorded(op: RunsRecord, nowMs: number): void {
    const facts = this.#ofSeq(op.seq);
    for (let at = 0; at < op.records.length; at++) {
      const rec = recOf(op, at, nowMs);
      const there = facts.records[rec.no - 1];
      if (there !== undefined) {
        const isIt = there.kind === rec.kind && there.name === rec.name;
        check(isIt && isDeepStrictEqual(there.data, rec.data), "records stay", { there, rec });
        continue;
      }
      check(rec.no === facts.records.length + 1, "records follow each other", { rec });
      this.#appended(facts, rec, nowMs);
      facts.records.push(rec);
      facts.byKey.set(`${rec.kind}:${rec.name}`, rec);
      if (OUTCOMES.has(rec.kind)) facts.outcomes.push(rec);
    }
  }

  // ---------------------------------------------------------------- records

  #appended(facts: Facts, rec: Rec, nowMs: number): void {
    const { byKey, id } = facts;
    const { kind, name } = rec;
    const mayRepeat = ["retry", "unfit", "parked", "redrive"].includes(kind);
    const isNew = mayRepeat || !byKey.has(`${kind}:${name}`);
    check(isNew, "a thing is recorded once", { run: id, rec });
    const isStopped = byKey.has("stop:");
    const isInTurn = AFTER_STOP.has(kind) === isStopped;
    check(isInTurn, "steps come before the stop, compensation after it", { run: id, rec });
    switch (kind) {
      case "step":
        return this.#stepped(facts, rec);
      case "woke":
        return this.#woke(facts, rec, nowMs);
      case "got":
        return this.#got(facts, rec, nowMs);
      case "stop":
        return this.#stopped(facts, rec);
      case "undone":
        return this.#undone(facts, rec);
      default:
    }
  }

  #stepped(facts: Facts, { name, data, token }: Rec): void {
    const step = facts.script.steps.get(name);
    check(step !== undefined, "a step of the script is recorded", { run: facts.id, name });
    const isBegun = !step.hasUndo || facts.byKey.has(`begin:${name}`);
    check(isBegun, "a step with an undo was noted as begun", { run: facts.id, name });
    const place = `${facts.id} ${name} ${token}`;
    if ("e" in data) {
      const { message, code } = data["e"] as { message: string; code?: string };
      const isIts = code === "TIMEOUT" || this.#threw.get(place)?.includes(message) === true;
      check(isIts, "a failure on record is one that its function threw", { place, data });
      return;
    }
    const gave = this.#gave.get(place) ?? [];
    const isIts = gave.some((value) => isDeepStrictEqual(value, data["v"]));
    check(isIts, "a value on record is one that its function gave", { place, data, gave });
    if (step.hasEffect) this.#effects++;
  }

  #woke({ byKey, id }: Facts, { name }: Rec, nowMs: number): void {
    const dueMs = byKey.get(`sleep:${name}`)?.dueMs ?? Infinity;
    check(nowMs >= dueMs, "a sleep is not over before it is due", { run: id, name, nowMs, dueMs });
  }

  /** Each event once, in the order of sending, and none passed over that came in time. */
  #got(facts: Facts, { name, data }: Rec, nowMs: number): void {
    const event = name.replace(/#\d+$/, "");
    const dueMs = facts.byKey.get(`wait:${name}`)?.dueMs ?? Infinity;
    const next = facts.events.find((each) => each.event === event && !facts.taken.has(each.no));
    const about = { run: facts.id, name, data, dueMs, next };
    if ("t" in data) {
      check(nowMs >= dueMs, "a wait does not time out before it is due", about);
      check((next?.atMs ?? Infinity) >= dueMs, "an event that came in time is taken", about);
      return;
    }
    const isNext = next !== undefined && next.no === data["n"];
    check(isNext, "events are taken once, in the order of sending", about);
    check(next.atMs <= dueMs, "an event that came too late is not taken", about);
    facts.taken.add(next.no);
  }

  #stopped(facts: Facts, { data }: Rec): void {
    const isAsked = facts.events.some(({ event }) => event === CANCEL);
    check(data["ended"] === "failed" || isAsked, "who stops as cancelled was cancelled", facts.id);
    facts.order = orderOf(facts);
  }

  #undone(facts: Facts, { name, token }: Rec): void {
    const next = facts.order[facts.undone.length];
    const about = { run: facts.id, name, order: facts.order, undone: facts.undone };
    check(next === name, "steps are undone in their order", about);
    const isHeld = this.#held.has(`${facts.id} ${name} ${token}`);
    check(isHeld, "what is on record as undone was undone", about);
    facts.undone.push(name);
    const isDone = facts.byKey.get(`step:${name}`)?.data["v"] !== undefined;
    if (facts.script.steps.get(name)?.hasEffect === true && isDone) this.#effects--;
  }

  // ---------------------------------------------------------------- ends

  #settled({ seq, outcome, result }: QueueSettle): void {
    const facts = this.#ofSeq(seq);
    check(facts.ended === undefined, "a run ends once", { run: facts.id, outcome });
    if (outcome === "suspended" || outcome === "dead") this.counts[outcome]!++;
    if (outcome === "completed") this.#completed(facts, result as string);
    if (outcome === "cancelled") this.#compensated(facts, result as string);
  }

  #completed(facts: Facts, result: string): void {
    const { byKey, id } = facts;
    check(!byKey.has("stop:"), "a run that was stopped does not complete", id);
    for (const { kind, name } of facts.records) {
      if (kind !== "begin") continue;
      // One that lost a race may be left behind while it waits for its next attempt.
      const hasEnded = byKey.has(`step:${name}`) || byKey.has(`retry:${name}`);
      check(hasEnded, "a step of a completed run has ended", { id, name });
    }
    const ending = endingOf(facts.script.nodes, outcomesOf(facts));
    const value: unknown = JSON.parse(result);
    const isIt = ending.kind === "done" && isDeepStrictEqual(value, ending.value);
    check(isIt, "the result is what the script gives", { run: id, value, ending });
    this.#ended(facts, "completed");
  }

  #compensated(facts: Facts, result: string): void {
    const { id, order, undone, byKey } = facts;
    const stop = byKey.get("stop:")?.data as
      | { readonly ended: "failed" | "cancelled"; readonly error: { readonly message: string } }
      | undefined;
    check(stop !== undefined, "a run that ends undone was stopped", id);
    check(isDeepStrictEqual(order, undone), "all of it is undone", { run: id, order, undone });
    const end = JSON.parse(result) as { readonly ended: string; readonly undone: string[] };
    const isTold = end.ended === stop.ended && isDeepStrictEqual(end.undone, undone);
    check(isTold, "its end says what was undone", { run: id, end, undone });
    if (stop.ended === "failed") {
      this.#failed(facts, stop.error.message);
    }
    this.#ended(facts, stop.ended);
  }

  #failed(facts: Facts, message: string): void {
    const ending = endingOf(facts.script.nodes, outcomesOf(facts));
    const isOfScript = ending.kind === "failed" && ending.messages.includes(message);
    // Of waits side by side the script can't tell which one has the outcome.
    const isOfStep = facts.outcomes.some(({ kind, name, data }) => {
      const error = data["e"] as { readonly message: string } | undefined;
      return kind === "step" && error?.message === message && !isCaught(facts, name);
    });
    const isIt = isOfScript || (ending.kind === "open" && isOfStep);
    check(isIt, "a run fails of what its script fails of", { run: facts.id, message, ending });
  }

  #ended(facts: Facts, how: "completed" | "failed" | "cancelled"): void {
    facts.ended = how;
    this.counts[how]!++;
  }

  #checkEffects(state: MemoryState): void {
    const { partition, effectKey } = this.#options;
    const row = state.tables.partitionByName(partition);
    if (row === undefined) return;
    const value = Number(state.tables.kv(row.no, effectKey)?.value ?? 0);
    check(value === this.#effects, "one effect a record", { value, records: this.#effects });
  }

  // ---------------------------------------------------------------- what the program did and saw

  #facts(id: string): Facts {
    const facts = this.runs.get(id);
    check(facts !== undefined, "a run was started", id);
    return facts;
  }

  /** A step's function is called under a token. */
  called(id: string, name: string, token: number): void {
    const facts = this.#facts(id);
    const about = { run: id, name, token };
    const isBefore = (key: string): boolean => (facts.byKey.get(key)?.token ?? Infinity) <= token;
    check(!isBefore(`step:${name}`), "a step is not called once its record stands", about);
    check(!isBefore("stop:"), "no step of a stopped run is called", about);
    const hasUndo = facts.script.steps.get(name)?.hasUndo === true;
    const isNoted = !hasUndo || facts.byKey.has(`begin:${name}`);
    check(isNoted, "a step with an undo is noted before it is called", about);
    const lastEvent = facts.claims.get(token) ?? 0;
    const isCancelled = facts.events.some(({ event, no }) => event === CANCEL && no <= lastEvent);
    // A cancel comes too late for a handler that has returned, and left a step behind.
    const mayBegin =
      !isCancelled || endingOf(facts.script.nodes, outcomesOf(facts)).kind === "done";
    check(mayBegin, "no step is called of a run that was cancelled before its claim", about);
    const isCurrent = facts.token === token;
    check(!isCurrent || facts.ended === undefined, "no step of an ended run is called", about);
    this.counts["calls"]!++;
    // It gave a value before, of which there is no record.
    if (this.#gave.has(`${id} ${name}`)) this.counts["repeats"]!++;
  }

  gave(id: string, name: string, token: number, value: unknown): void {
    note(this.#gave, `${id} ${name} ${token}`, value);
    note(this.#gave, `${id} ${name}`, value);
  }
  threw(id: string, name: string, token: number, message: string): void {
    note(this.#threw, `${id} ${name} ${token}`, message);
  }

  /** An undo is called, with the step's value. */
  undoing(id: string, name: string, token: number, done: unknown): void {
    const facts = this.#facts(id);
    const about = { run: id, name, token, done };
    check(facts.ended !== "completed", "nothing of a completed run is undone", about);
    const stop = facts.byKey.get("stop:");
    check((stop?.token ?? Infinity) <= token, "a run is stopped before it is undone", about);
    const undone = facts.byKey.get(`undone:${name}`)?.token ?? Infinity;
    check(undone > token, "what is on record as undone is not undone again", about);
    const { order } = facts;
    const isNext = facts.token !== token || order[facts.undone.length] === name;
    check(isNext, "undos are called in their order", { ...about, order, undone: facts.undone });
    const value = facts.byKey.get(`step:${name}`)?.data["v"];
    check(isDeepStrictEqual(done, value), "an undo gets its step's value", { ...about, value });
    this.counts["undos"]!++;
  }
  undoHeld(id: string, name: string, token: number): void {
    this.#held.add(`${id} ${name} ${token}`);
  }

  /** What a handler under that token sees, from its beginning on. */
  stretch(id: string, token: number): Stretch {
    return new Stretch(this.#facts(id), token);
  }

  /** Untaken events of the name. */
  hasEvent(id: string, event: string): boolean {
    const facts = this.runs.get(id);
    return facts?.events.some((each) => each.event === event && !facts.taken.has(each.no)) === true;
  }
}

function note<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key) ?? [];
  map.set(key, list);
  list.push(value);
}

function isCaught({ script }: Facts, step: string): boolean {
  return script.steps.get(step)?.isCaught === true;
}

/** Of what was begun: what nobody knows the end of first, then what ended last. */
function orderOf({ records, byKey }: Facts): string[] {
  const begun = records.filter(({ kind }) => kind === "begin").map(({ name }) => name);
  const open = begun.filter((name) => !byKey.has(`step:${name}`)).reverse();
  const over = records.filter(({ kind, name }) => kind === "step" && begun.includes(name));
  return [...open, ...over.map(({ name }) => name).reverse()];
}

/** What came out, as the script is judged by. */
function outcomesOf({ byKey, events }: Facts): Outcomes {
  const waits = new Map<string, number>();
  const outcome = (key: string, value: (data: Rec["data"]) => unknown): Outcome | undefined => {
    const rec = byKey.get(key);
    if (rec === undefined) return undefined;
    if ("e" in rec.data) {
      return { no: rec.no, error: (rec.data["e"] as { readonly message: string }).message };
    }
    return { no: rec.no, value: value(rec.data) };
  };
  return {
    step: (key) => outcome(`step:${key}`, (data) => data["v"]),
    sleep: (name) => outcome(`woke:${name}`, () => "slept"),
    wait: (event) => {
      const use = (waits.get(event) ?? 0) + 1;
      waits.set(event, use);
      const eventOf = (data: Rec["data"]): unknown =>
        "t" in data ? null : events[(data["n"] as number) - 1]?.value;
      return outcome(use === 1 ? `got:${event}` : `got:${event}#${use}`, eventOf);
    },
  };
}

/** A replay gives the handler what the journal has, in its order, and nothing else. */
export class Stretch {
  readonly #facts: Facts;
  readonly #token: number;
  #seen = 0;

  constructor(facts: Facts, token: number) {
    this.#facts = facts;
    this.#token = token;
  }

  step(name: string, value: unknown): void {
    const { data } = this.#next("step", name, value);
    const isIt = !("e" in data) && isDeepStrictEqual(data["v"], value);
    check(isIt, "a step gives what is on record", { run: this.#facts.id, name, value, data });
  }
  stepFailed(name: string, message: string): void {
    const { data } = this.#next("step", name, message);
    const isIt = (data["e"] as { message?: string } | undefined)?.message === message;
    check(isIt, "a step fails as is on record", { run: this.#facts.id, name, message, data });
  }
  slept(name: string): void {
    this.#next("woke", name, undefined);
  }
  /** null: it timed out. */
  got(event: string, value: unknown): void {
    const { name, data } = this.#next("got", undefined, value);
    const found = "t" in data ? null : this.#facts.events[(data["n"] as number) - 1]?.value;
    const isIt = name.replace(/#\d+$/, "") === event && isDeepStrictEqual(found, value);
    check(isIt, "a wait gives what is on record", { run: this.#facts.id, name, value, found });
  }

  #next(kind: string, name: string | undefined, value: unknown): Rec {
    const rec = this.#facts.outcomes[this.#seen++];
    const isIt = rec?.kind === kind && (name === undefined || rec.name === name);
    const about = { run: this.#facts.id, token: this.#token, kind, name, value, rec };
    check(isIt, "outcomes come to the code in the order of their records", about);
    return rec;
  }
}
