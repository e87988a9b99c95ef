/**
 * The options of a workflow: validated once, when the definition is made, every default filled in.
 */
import { jsonCodec, type Schema, type SchemaOutput } from "../../core/codec.ts";
import { checkMs, checkOptions, expected } from "../../core/options.ts";
import { checkRetry, type RetryOptions, type RetryPolicy } from "../../core/retry.ts";
import { RUN_QUEUE } from "../../store/ops.ts";
import { queue, type QueueOptions } from "../jobs/index.ts";

/** Schemas by the names of events. */
export type EventSchemas = Readonly<Record<string, Schema>>;
/** What each event carries. */
export type EventsOf<SE extends EventSchemas> = { readonly [K in keyof SE]: SchemaOutput<SE[K]> };

export interface WorkflowOptions<
  SI extends Schema,
  SO extends Schema | undefined,
  SE extends EventSchemas,
> {
  /** Checked when a run is started, and again before its handler sees it. */
  readonly input: SI;
  /** Checks what the handler returned, and again when the result is read. Without it: anything. */
  readonly output?: SO;
  /** The events that its runs may wait for, each checked when it is sent and when it is read. */
  readonly events?: SE | undefined;
  /** How often a step is tried, unless it says so itself. Default: 5 attempts, 200 ms to 60 s. */
  readonly retry?: RetryOptions | undefined;
  /** The same for compensations. Default: 10 attempts, 200 ms to 60 s. */
  readonly undoRetry?: RetryOptions | undefined;
  /**
   * One attempt of a step or compensation, unless it says so itself. Integer milliseconds, at
   * least 1; default 5 minutes.
   */
  readonly stepTimeoutMs?: number | undefined;
  /**
   * How long ended runs stay readable, an hour by default, and their ids taken: a start under the
   * same id is a new run after that. `deadMs` is for those that need attention.
   */
  readonly keep?: QueueOptions<SI, SO>["keep"];
  /** Runs that are held at once, in all processes together. Default: no limit. */
  readonly concurrency?: { readonly max?: number | undefined } | undefined;
  /** Runs that may wait, asleep or not; a start above it is refused with `OVERLOADED`. */
  readonly maxWaiting?: number | undefined;
  /** A partition of the namespace; default: the namespace's own. */
  readonly partition?: string | undefined;
}

/** The settings of the queue that holds its runs. */
export type RunQueueSettings = ReturnType<typeof queue>["settings"];

export interface WorkflowSettings {
  readonly name: string;
  readonly events: EventSchemas;
  readonly retry: RetryPolicy;
  readonly undoRetry: RetryPolicy;
  readonly stepTimeoutMs: number;
  readonly queue: RunQueueSettings;
}

export const WORKFLOW_DEFAULTS = {
  undoAttempts: 10,
  stepTimeoutMs: 300_000,
  /** One stretch of a run between two suspensions: what hangs outside of a step ends with it. */
  timeoutMs: 86_400_000,
  /** Runs that need attention are kept as long as anything may be kept. */
  deadMs: 34_560_000_000,
} as const;

/**
 * Of the run as a whole: what is tried again is its replay, after trouble with the store or a
 * record that the code does not match.
 */
const REPLAYS = { attempts: 10, backoff: { initialMs: 1_000, maxMs: 60_000 } } as const;

const KNOWN = [
  "input",
  "output",
  "events",
  "retry",
  "undoRetry",
  "stepTimeoutMs",
  "keep",
  "concurrency",
  "maxWaiting",
  "partition",
] as const;

/** Validates the options; throws `TypeError` or `RangeError`. */
export function checkWorkflowOptions(
  name: string,
  options: WorkflowOptions<Schema, Schema | undefined, EventSchemas>,
): WorkflowSettings {
  if (options === undefined) throw new TypeError(expected("options", "an object", options));
  checkOptions("options", options, KNOWN);
  const { input, output, keep, concurrency, maxWaiting, partition } = options;
  checkOptions("concurrency", concurrency, ["max"]);
  checkOptions("keep", keep, ["ms", "count", "deadMs"]);
  const d = WORKFLOW_DEFAULTS;
  const base = queue(name, {
    ...{ input, output, concurrency, maxWaiting, partition, retry: REPLAYS },
    keep: { deadMs: d.deadMs, ...keep },
    timeoutMs: d.timeoutMs,
    codec: jsonCodec,
  });
  return Object.freeze({
    name,
    events: checkEvents(options.events),
    retry: checkRetry(options.retry),
    undoRetry: checkRetry(options.undoRetry, "undoRetry", d.undoAttempts),
    stepTimeoutMs: checkMs("stepTimeoutMs", options.stepTimeoutMs ?? d.stepTimeoutMs, 1),
    queue: Object.freeze({ ...base.settings, name: RUN_QUEUE + name }),
  });
}

function checkEvents(events: EventSchemas | undefined): EventSchemas {
  if (events === undefined) return Object.freeze({});
  if (typeof events !== "object" || events === null) {
    throw new TypeError(expected("events", "an object of schemas", events));
  }
  for (const [name, schema] of Object.entries(events)) {
    if (name.startsWith("$")) {
      throw new RangeError(expected("events", "names that do not begin with `$`", name));
    }
    if (typeof schema?.["~standard"]?.validate !== "function") {
      throw new TypeError(expected(`events.${name}`, "a Standard Schema", schema));
    }
  }
  // A copy without a prototype: an event may be called "constructor".
  return Object.freeze(Object.assign(Object.create(null), events) as EventSchemas);
}
