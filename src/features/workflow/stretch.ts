/** One stretch of a run, from its claim to the settling that ends it. */
import type { Data } from "../../core/codec.ts";
import { isHoldfastError } from "../../core/errors.ts";
import type { Runs } from "../../ports/runs/index.ts";
import { Verdict, type HeldJob } from "../jobs/index.ts";
import { tellParents, type ChildEnd } from "./child.ts";
import { Execution } from "./execution.ts";
import { copyOrigin } from "./fork.ts";
import { Journal } from "./journal.ts";
import { decode } from "./records.ts";
import { Continued, type Run } from "./run.ts";
import { RunHandle } from "./run-handle.ts";
import type { WorkflowSettings } from "./settings.ts";
import { Undos, type EndData } from "./undo.ts";

export interface StretchParts<E> {
  readonly runs: Runs;
  readonly settings: WorkflowSettings;
  readonly held: HeldJob;
  readonly handler: (run: Run<E>) => unknown;
  /** Checks and encodes the input that a run continues with. */
  readonly encodeInput: (input: unknown) => Data;
  /** The executions that hear of events. */
  readonly executions: Set<Execution>;
}

export async function runStretch<E>(parts: StretchParts<E>): Promise<Verdict> {
  const { runs, settings, held, handler, executions } = parts;
  const journal = new Journal(runs, held);
  await journal.load();
  await copyOrigin(runs, journal);
  const execution = new Execution(runs.store, held, journal);
  const undos = new Undos();
  const run = new RunHandle<E>(execution, settings, undos);
  executions.add(execution);
  try {
    const ended = await execution.run(async () => handler(run));
    if (ended instanceof Verdict) return ended;
    if (execution.stop === undefined && "value" in ended) {
      try {
        if (ended.value instanceof Continued) return await renew(parts, run, journal, ended.value);
        const result = await held.worker.storeOutput(ended.value);
        const v = result === null ? undefined : decode({ key: "output", data: result });
        await tell(parts, journal, { id: held.id, v });
        return new Verdict({ outcome: "completed", result });
      } catch (error) {
        if (!isOfValue(error)) throw error;
        // What it did is undone: nobody would see what came of it.
        execution.fail(error);
      }
    }
    const verdict = await undos.run(execution);
    await tell(parts, journal, failedEnd(held, verdict));
    return verdict;
  } finally {
    executions.delete(execution);
  }
}

/** What the handler gave can't be used; anything else is trouble, to be tried again. */
function isOfValue(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return true;
  const codes = ["INVALID_DATA", "TOO_LARGE", "UNSUPPORTED"] as const;
  return codes.some((code) => isHoldfastError(error, code));
}

async function renew<E>(
  { encodeInput }: StretchParts<E>,
  run: RunHandle<E>,
  journal: Journal,
  { input }: Continued,
): Promise<Verdict> {
  await journal.restart(encodeInput(input), run.untaken());
  return new Verdict({ outcome: "released" });
}

/** Undefined where the run has not ended: it is suspended, or parked. */
function failedEnd({ id }: HeldJob, { settlement }: Verdict): ChildEnd | undefined {
  const { outcome, result } = settlement;
  if (outcome !== "cancelled" || typeof result !== "string") return undefined;
  const { ended, error } = decode<EndData>({ key: "end", data: result });
  return { id, ended, error };
}

async function tell<E>(
  { runs, held }: StretchParts<E>,
  journal: Journal,
  end: ChildEnd | undefined,
): Promise<void> {
  if (end !== undefined) await tellParents(runs.store, journal.events, held, end);
}
