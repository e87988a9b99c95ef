/**
 * `holdfast/workflow`: durable workflows. Define one with `workflow()`, open it with `hf.open()`,
 * start runs, and work on them.
 */
export { unchecked } from "../../core/codec.ts";
export { permanent } from "../../core/retry.ts";
export { Completed } from "./attempts.ts";
export type { Attempt, Refused, StepWork } from "./attempts.ts";
export type { AnyDefinition, ChildHandle, ChildOptions, ChildOutcome } from "./child.ts";
export { workflow, type WorkflowDefinition } from "./definition.ts";
export { implement, isImplementation } from "./implementation.ts";
export type { AnyImplementation, Implementation } from "./implementation.ts";
export { RunInfo } from "./info.ts";
export type { HistoryEntry, RunStatus } from "./info.ts";
export { StepError } from "./records.ts";
export { Continued } from "./run.ts";
export type { Run, StepOptions } from "./run.ts";
export type { EventSchemas, EventsOf, WorkflowOptions } from "./settings.ts";
export { timelineOf, type TimelineEntry } from "./timeline.ts";
export { Workflow } from "./workflow.ts";
export type {
  ForkOptions,
  RunHandler,
  RunList,
  SendOptions,
  StartedRun,
  StartOptions,
  WorkflowOps,
} from "./workflow.ts";
