/** `holdfast/ports/runs`: the runs port. Its guarantees: README.md beside this file. */
export { Runs } from "./runs.ts";
export type { Journal, JournalOptions, RunsOps, SuspendOptions } from "./runs.ts";
export type { EventInput, RunInput, Suspension } from "./ops.ts";
export { RUN_QUEUE } from "../../store/ops.ts";
