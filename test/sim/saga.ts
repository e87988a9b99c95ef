/**
 * What the workflows of the simulation do, as data drawn from a seed, and what must come of it,
 * told from the outcomes alone. Pure: the program runs a script through the library, the model
 * reads it beside the journal.
 */
import { SeededRandom } from "../../src/core/random.ts";

/** `ring` is waited for by several at once, and who gets which is not told. */
export const EVENTS = ["go", "note", "ring"] as const;
export type EventName = (typeof EVENTS)[number];

export interface StepNode {
  readonly kind: "step";
  readonly name: string;
  /** The name with its count, as it stands in the journal. */
  readonly key: string;
  /** How many calls fail before one holds; Infinity: every one fails. */
  readonly failures: number;
  /** The first failure is the last: no retry would help. */
  readonly isFatal: boolean;
  /** The code goes on behind its failure. */
  readonly isCaught: boolean;
  /** Its first call hangs until it is aborted. */
  readonly hangs: boolean;
  readonly workMs: number;
  /** The wait before the second attempt; above 1 s it suspends the run. */
  readonly retryMs: number;
  /** It counts an effect in the store in one commit with its record. */
  readonly hasEffect: boolean;
  readonly hasUndo: boolean;
  /** How many calls of its undo fail before one holds. */
  readonly undoFailures: number;
  /** Its undo fails for good until the faults are over: the run needs attention. */
  readonly isUndoStuck: boolean;
}
export interface SleepNode {
  readonly kind: "sleep";
  readonly name: string;
  readonly ms: number;
}
export interface WaitNode {
  readonly kind: "wait";
  readonly event: EventName;
  /** Undefined: without end. */
  readonly timeoutMs: number | undefined;
}
/** The handler throws of itself. */
export interface CrashNode {
  readonly kind: "crash";
  readonly name: string;
}
/** Side by side. `all`: the first failure ends it; `settled`: each goes to its end. */
export interface ParallelNode {
  readonly kind: "all" | "settled";
  readonly branches: readonly (readonly Node[])[];
}
/** A step against time. */
export interface RaceNode {
  readonly kind: "race";
  readonly step: StepNode;
  readonly sleep: SleepNode;
}
export type Node = StepNode | SleepNode | WaitNode | CrashNode | ParallelNode | RaceNode;

export interface Script {
  readonly nodes: readonly Node[];
  readonly steps: ReadonlyMap<string, StepNode>;
  /** Its code goes on asking after the run was stopped. */
  readonly isStubborn: boolean;
  /** It ends only by a cancel. */
  readonly isEndless: boolean;
}

class Writer {
  readonly #random: SeededRandom;
  readonly steps = new Map<string, StepNode>();
  #names = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }
  int(min: number, max: number): number {
    return min + Math.floor(this.#random.next() * (max - min + 1));
  }
  maybe(share: number): boolean {
    return this.#random.next() < share;
  }

  script(): Script {
    const isSmooth = this.maybe(0.4);
    const nodes = Array.from({ length: this.int(2, 6) }, () => this.#node(isSmooth));
    // A name that is used again, one time after the other.
    const again = this.maybe(0.3) ? this.int(2, 3) : 0;
    for (let use = 1; use <= again; use++) nodes.push(this.#step(isSmooth, "again", use));
    const isEndless = this.maybe(0.1);
    if (isEndless) nodes.push(this.#endless());
    else if (!isSmooth && this.maybe(0.5)) nodes.push(this.#ending());
    return { nodes, steps: this.steps, isStubborn: this.maybe(0.2), isEndless };
  }

  #endless(): Node {
    const ms = 86_400_000;
    if (this.maybe(0.5)) return { kind: "sleep", name: this.#name("z"), ms };
    return { kind: "wait", event: "note", timeoutMs: ms };
  }
  #ending(): Node {
    if (this.maybe(0.3)) return { kind: "crash", name: this.#name("bug") };
    return { ...this.#step(false), failures: Infinity, isFatal: true, isCaught: false };
  }
  #name(letter: string): string {
    return `${letter}${++this.#names}`;
  }

  /** `branch`: of a parallel node, where it is in one. */
  #node(isSmooth: boolean, branch?: number): Node {
    const chance = this.#random.next();
    if (chance < 0.5) return this.#step(isSmooth);
    if (chance < 0.6) return this.#sleep();
    if (chance < 0.75) return this.#wait(branch);
    if (chance < 0.82) return { kind: "race", step: this.#step(isSmooth), sleep: this.#sleep() };
    if (branch !== undefined) return this.#step(isSmooth);
    const branches = Array.from({ length: this.int(2, 3) }, (_, index) =>
      Array.from({ length: this.int(1, 2) }, () => this.#node(isSmooth, index)),
    );
    return { kind: this.maybe(0.5) ? "all" : "settled", branches };
  }
  #sleep(): SleepNode {
    const ms = this.maybe(0.2) ? 0 : this.int(1, this.maybe(0.3) ? 4_000 : 300);
    return { kind: "sleep", name: this.#name("z"), ms };
  }
  #wait(branch: number = this.int(0, 1)): WaitNode {
    // Waits for one event side by side have no order of their own.
    const event = this.maybe(0.5) ? "ring" : EVENTS[branch];
    const timeoutMs = this.maybe(0.2) ? 0 : this.int(50, 3_000);
    return {
      kind: "wait",
      event: event ?? "ring",
      timeoutMs: this.maybe(0.5) ? undefined : timeoutMs,
    };
  }
  #step(isSmooth: boolean, shared?: string, use: number = 1): StepNode {
    const name = shared ?? this.#name("s");
    const key = use === 1 ? name : `${name}#${use}`;
    const isBad = !isSmooth && this.maybe(0.15);
    const hasUndo = this.maybe(0.6);
    const step: StepNode = {
      ...{ kind: "step", name, key, hasUndo },
      failures: isBad ? Infinity : this.maybe(0.3) ? this.int(1, 2) : 0,
      isFatal: this.maybe(0.5),
      isCaught: this.maybe(0.5),
      hangs: this.maybe(0.08),
      workMs: this.maybe(0.2) ? this.int(300, 2_500) : this.int(0, 60),
      retryMs: this.maybe(0.2) ? this.int(1_001, 2_000) : this.int(0, 50),
      hasEffect: this.maybe(0.3),
      undoFailures: this.maybe(0.3) ? this.int(1, 2) : 0,
      isUndoStuck: this.maybe(0.08),
    };
    this.steps.set(key, step);
    return step;
  }
}

/** What the run of that number does. */
export function scriptOf(seed: number, run: number): Script {
  const writer = new Writer(seed * 1_000 + run);
  const script = writer.script();
  // The last of a name's nodes may have been changed after it was noted.
  for (const node of script.nodes) if (node.kind === "step") writer.steps.set(node.key, node);
  return script;
}

// ---------------------------------------------------------------- what must come of it

/** How something that a script asked for came out, and as the how many-th of its run. */
export type Outcome =
  | { readonly no: number; readonly value: unknown }
  | { readonly no: number; readonly error: string };

/** The outcomes of a run as its journal has them. */
export interface Outcomes {
  step(key: string): Outcome | undefined;
  sleep(name: string): Outcome | undefined;
  /** The next of the event's waits in the order in which the code asked. */
  wait(event: EventName): Outcome | undefined;
}

/** `failed`: with one of the messages; `open`: something that it waits for has no outcome. */
export type Ending =
  | { readonly kind: "done"; readonly value: unknown }
  | { readonly kind: "failed"; readonly messages: readonly string[] }
  | { readonly kind: "open" };

const OPEN: Ending = { kind: "open" };

export function endingOf(nodes: readonly Node[], outcomes: Outcomes): Ending {
  const values: unknown[] = [];
  for (const node of nodes) {
    const ending = endingOfNode(node, outcomes);
    if (ending.kind !== "done") return ending;
    values.push(ending.value);
  }
  return { kind: "done", value: values };
}

function endingOfNode(node: Node, outcomes: Outcomes): Ending {
  switch (node.kind) {
    case "step":
      return endingOfStep(node, outcomes.step(node.key));
    case "sleep":
      return of(outcomes.sleep(node.name));
    case "wait": {
      const ending = of(outcomes.wait(node.event));
      if (ending.kind !== "done" || node.event !== "ring") return ending;
      return { kind: "done", value: "waited" };
    }
    case "crash":
      return { kind: "failed", messages: [`a bug: ${node.name}`] };
    case "race": {
      const step = outcomes.step(node.step.key);
      const sleep = outcomes.sleep(node.sleep.name);
      if (step === undefined && sleep === undefined) return OPEN;
      const isLate = step === undefined || (sleep !== undefined && sleep.no < step.no);
      return isLate ? { kind: "done", value: "late" } : endingOfStep(node.step, step);
    }
    case "all":
    case "settled":
      return endingOfBranches(node, outcomes);
  }
}

function of(outcome: Outcome | undefined): Ending {
  if (outcome === undefined) return OPEN;
  if ("error" in outcome) return { kind: "failed", messages: [outcome.error] };
  return { kind: "done", value: outcome.value };
}

function endingOfStep(node: StepNode, outcome: Outcome | undefined): Ending {
  if (outcome === undefined || !("error" in outcome) || !node.isCaught) return of(outcome);
  return { kind: "done", value: `caught: ${outcome.error}` };
}

function endingOfBranches(node: ParallelNode, outcomes: Outcomes): Ending {
  const endings = node.branches.map((branch) => endingOf(branch, outcomes));
  const messages = endings.flatMap((each) => (each.kind === "failed" ? each.messages : []));
  const isOpen = endings.some(({ kind }) => kind === "open");
  if (messages.length > 0 && (node.kind === "all" || !isOpen)) return { kind: "failed", messages };
  if (isOpen) return OPEN;
  return { kind: "done", value: endings.map((each) => (each.kind === "done" ? each.value : null)) };
}
