/**
 * `holdfast/workflow/testing`: a test kit for workflows, for any test runner. A world with virtual
 * time, whose processes may die; a workflow broken off at every instant in turn; and journals of
 * live runs replayed against today's code.
 */
export { CrashError, crashEverywhere } from "./testing/crash.ts";
export type { CrashPlan, CrashReport, EventToSend, RunOutcome } from "./testing/crash.ts";
export { exportJournals, JOURNAL_FORMAT, parseJournal } from "./testing/journals.ts";
export type { ExportedDefinition, ExportOptions, RunJournal } from "./testing/journals.ts";
export { TestProcess } from "./testing/process.ts";
export { replayJournals } from "./testing/replay.ts";
export type { BrokenRun, ReplayOptions, ReplayReport } from "./testing/replay.ts";
export { testWorld, TestWorld } from "./testing/world.ts";
export type { TestWorldOptions, UntilOptions } from "./testing/world.ts";
