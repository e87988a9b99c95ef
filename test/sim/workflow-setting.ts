/** What the seed makes of the workload of workflows, and what its processes share. */
import { SeededRandom } from "../../src/core/random.ts";
import { unchecked } from "../../src/features/jobs/index.ts";
import { workflow, type Run, type Workflow } from "../../src/features/workflow/index.ts";
import type { QueueModel } from "./model.ts";
import type { RunAudit } from "./run-audit.ts";
import type { EventName, Script } from "./saga.ts";

export const NAMESPACE = "shop";
const NAME = "saga";
export const QUEUE = `$run/${NAME}`;
export const EFFECT = "effects";
/** When the faults end, and with them the program's own restlessness. */
export const UNTIL_MS = 15_000;

export interface Input {
  readonly id: string;
}
export interface Payload {
  readonly from: string;
  readonly no: number;
}
export type Events = Readonly<Record<EventName, Payload>>;
export type Sagas = Workflow<Input, Input, unknown, unknown, Events>;
export type SagaRun = Run<Events, Input>;

/** What the seed makes of the workload, besides the faults. */
export interface Shape {
  readonly definition: ReturnType<typeof define>;
  readonly maxLeased: number | null;
  readonly nodes: number;
  /** Of each node. */
  readonly runs: number;
  readonly delayedShare: number;
  readonly awaitedShare: number;
  readonly cancelShare: number;
  readonly isPausedAtTimes: boolean;
  readonly sessionTtlMs: number;
  /** Share of attempts that look away from their signal. */
  readonly deafShare: number;
  readonly concurrency: number;
  /** Mean life of a worker, and of a store; 0: for ever. */
  readonly workerMs: number;
  readonly storeMs: number;
}

function define(max: number | undefined) {
  const event = unchecked<Payload>();
  return workflow(NAME, {
    input: unchecked<Input>(),
    events: { go: event, note: event, ring: event },
    retry: { attempts: 4, backoff: { initialMs: 20 } },
    undoRetry: { attempts: 4, backoff: { initialMs: 20, maxMs: 2_000, factor: 10 } },
    stepTimeoutMs: 20_000,
    keep: { ms: 864_000_000 },
    concurrency: { max },
  });
}

export function shapeOf(seed: number): Shape {
  const random = new SeededRandom(seed ^ 0x5a6a);
  const draw = (min: number, max: number): number =>
    min + Math.floor(random.next() * (max - min + 1));
  const maybe = (share: number): boolean => random.next() < share;
  const maxLeased = maybe(0.3) ? draw(1, 3) : null;
  return {
    ...{ definition: define(maxLeased ?? undefined), maxLeased },
    nodes: draw(2, 3),
    runs: draw(1, 4),
    delayedShare: maybe(0.5) ? 0 : random.next() / 2,
    awaitedShare: maybe(0.5) ? 0 : random.next(),
    cancelShare: maybe(0.4) ? 0 : random.next() / 3,
    isPausedAtTimes: maybe(0.2),
    sessionTtlMs: draw(600, 4_000),
    deafShare: maybe(0.5) ? 0 : random.next() / 2,
    concurrency: draw(1, 6),
    workerMs: maybe(0.4) ? draw(500, 6_000) : 0,
    storeMs: maybe(0.3) ? draw(1_500, 8_000) : 0,
  };
}

/** What the program was told, over all instances and their deaths. */
export interface Told {
  readonly started: Set<string>;
  /** Events whose sending was acknowledged: run, number, payload. */
  readonly sent: { readonly run: string; readonly no: number; readonly value: Payload }[];
  /** Runs that each instance has yet to start. */
  readonly left: Map<string, number>;
  /** Sendings without an id that were told of as unknown, and all others: numbers of payloads. */
  payloads: number;
}

export interface Setting {
  readonly seed: number;
  readonly shape: Shape;
  readonly told: Told;
  readonly model: QueueModel;
  readonly audit: RunAudit;
  readonly scripts: Map<string, Script>;
  /** How often each function was called, in all processes together. */
  readonly calls: Map<string, number>;
  readonly wrap: (run: SagaRun) => SagaRun;
}
