/**
 * A run's history in words, for people and programs that look at it from outside: what became of
 * each step, wait and compensation, and what is next.
 */
import type { HistoryEntry } from "./info.ts";
import type { FailureData, GotData, RetryData, StepData, StopData } from "./records.ts";

/** One line of a timeline. Times are milliseconds since 1970 by the store's clock. */
export interface TimelineEntry {
  readonly atMs: number;
  /** What happened: `done`, `failed`, `undone`, `sleeps`, `event` ... */
  readonly what: string;
  /** The step's, the sleep's or the event's; empty where it is about the run as a whole. */
  readonly name: string;
  /**
   * How many attempts there were by then, of what was tried again; of a step without those that
   * only the process knew of, which waited for less than a second.
   */
  readonly attempts: number | undefined;
  /** When it goes on, or is over at the latest. */
  readonly dueMs: number | undefined;
  readonly error: string | undefined;
  /** Of what has one: a step's value, an event's payload. As it was stored. */
  readonly value: unknown;
}

type Said = Partial<Omit<TimelineEntry, "atMs">> & Pick<TimelineEntry, "what">;

/** The lines of what `Workflow.history` gives. */
export function timelineOf(history: readonly HistoryEntry[]): readonly TimelineEntry[] {
  const tries = new Map<string, number>();
  return history.map((entry) => {
    const { atMs, name, dueMs } = entry;
    const bare = { attempts: undefined, dueMs, error: undefined, value: undefined };
    return { atMs, name, ...bare, ...said(entry, tries) };
  });
}

/** `tries`: the attempts so far that failed, by step or compensation. */
function said(entry: HistoryEntry, tries: Map<string, number>): Said {
  const { kind, name, value } = entry;
  const ofUndo = `${name}\u0000undo`;
  switch (kind) {
    case "step":
      return ofStep(value as StepData, tries.get(name));
    case "retry": {
      const { message, next } = value as RetryData;
      tries.set(name, next - 1);
      return { what: "to be tried again", attempts: next - 1, error: message };
    }
    case "undone": {
      const failed = tries.get(ofUndo);
      return { what: "undone", attempts: failed === undefined ? undefined : failed + 1 };
    }
    case "unfit": {
      const attempts = (tries.get(ofUndo) ?? 0) + 1;
      tries.set(ofUndo, attempts);
      return { what: "undo failed", attempts, error: (value as FailureData).message };
    }
    case "got":
      return "t" in (value as GotData) ? { what: "timed out" } : { what: "got the event" };
    case "stop": {
      const { ended, error } = value as StopData;
      return { what: `the run is ${ended}`, error: error.message };
    }
    case "parked":
      return ofParked(value as { readonly step: string; readonly error: FailureData });
    case "cancel":
      return { what: "cancel is asked", error: typeof value === "string" ? value : undefined };
    case "anew":
      return { what: "begins anew" };
    case "event":
      return { what: "event", value };
    default:
      return { what: WORDS[kind] };
  }
}

/** Of what has nothing more to say. */
const WORDS = {
  begin: "begun",
  sleep: "sleeps",
  woke: "woke",
  wait: "waits for the event",
  patch: "patch",
  redrive: "redriven",
} as const;

function ofStep(data: StepData, failed: number | undefined): Said {
  const attempts = failed === undefined ? undefined : failed + 1;
  if ("e" in data) return { what: "failed", attempts, error: data.e.message };
  return { what: "done", attempts, value: data.v };
}

function ofParked({ step, error }: { readonly step: string; readonly error: FailureData }): Said {
  return { what: "needs attention", name: step, error: error.message };
}
