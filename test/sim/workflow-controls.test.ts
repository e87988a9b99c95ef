/**
 * The simulation of workflows must find what is broken: each broken store and execution is caught
 * within a few seeds, with all that a replay needs.
 */
import { expect, test } from "vitest";
import { SimulationError } from "../../src/sim/index.ts";
import { firstFailure } from "./seeds.ts";
import { BROKEN_RUNS, BROKEN_STORES } from "./workflow-broken.ts";
import { workflowWorkload, type WorkflowWorkloadOptions } from "./workflow-workload.ts";

const SEEDS = Array.from({ length: 60 }, (_, index) => index + 1);

/** Judged by what programs could see: the audit of the tables is off. */
async function isCaught(make: () => WorkflowWorkloadOptions): Promise<string> {
  const run = (seed: number): Promise<unknown> =>
    workflowWorkload(seed, { ...make(), isAudited: false });
  const failure = await firstFailure(SEEDS, run);
  if (failure === undefined) throw new Error(`Not caught within ${SEEDS.length} seeds`);
  const { seed, error } = failure;
  if (!(error instanceof SimulationError)) throw new Error("It failed otherwise", { cause: error });
  expect(error.message).toContain(`Replay: npm run test:sim -- --seed ${seed}`);
  // The seed finds it again, at the same event.
  const again = await firstFailure([seed], run);
  expect(again?.error).toMatchObject({ traceHash: error.traceHash });
  return error.message.split("\n")[0] as string;
}

/** What each must be caught by: its own fault, not what follows from it. */
const WORDS: Readonly<Record<string, RegExp>> = {
  "loses a record of a journal": /says where journal and events end|records (follow|stay)/,
  "loses an event": /says where journal and events end|events are numbered/,
  "records without looking at the token": /a session that records is not over|token records/,
  "sends again under the same id": /under one id one event is sent/,
  "sleeps through events": /no event is slept through/,
  "never wakes a sleeper": /to be done within/,
  "hides which steps were begun": /all of it is undone|is recorded once|in their order/,
  "gives a journal in another order": /in the order of their records|in their order/,
  "records a step without its ops": /one effect a record/,
  "calls a step whose record stands": /is not called once its record stands/,
  "gives other values at a replay": /a step gives what is on record/,
  "skips an undo": /what is on record as undone was undone/,
  "undoes in the wrong order": /undos are called in their order/,
  "undoes again what is undone": /is not undone again/,
  "gives an event twice": /outcomes come to the code in the order|a wait gives what is on record/,
};

for (const [what, state] of Object.entries(BROKEN_STORES)) {
  test(`workflows: a store that ${what} is caught, with its seed and replay`, async () => {
    expect(await isCaught(() => ({ state }))).toMatch(WORDS[what] as RegExp);
  });
}

for (const [what, wrap] of Object.entries(BROKEN_RUNS)) {
  test(`workflows: an execution that ${what} is caught`, async () => {
    expect(await isCaught(() => ({ wrap: wrap() }))).toMatch(WORDS[what] as RegExp);
  });
}
