/**
 * `holdfast/jobs`: queues and workers. Define a queue with `queue()`, open it with `hf.open()`, add
 * jobs, and work on them. The guide, with every guarantee in numbers: docs/guide/jobs.md.
 */
export { unchecked } from "../../core/codec.ts";
export type { AddCallOptions, AddManyOptions, AddOptions, DedupeOptions } from "./add.ts";
export { queue, type QueueDefinition } from "./definition.ts";
export { JobInfo } from "./info.ts";
export { Completion } from "./job.ts";
export type { HeldJob, Job, Refused } from "./job.ts";
export { Verdict } from "./outcome.ts";
export { AddedJob, JobQueue } from "./queue.ts";
export type { JobList, JobOps, QueueStats } from "./queue.ts";
export { permanent, PermanentError, type BackoffOptions } from "../../core/retry.ts";
export type { RetryOptions } from "./retry.ts";
export type { Batch, BatchHandler, BatchItem, Handler, Returned } from "./run.ts";
export type { QueueOptions, RateOptions } from "./settings.ts";
export type { EventJob, WorkerCounts, WorkerEvent } from "./tally.ts";
export { Worker } from "./worker.ts";
export type { BatchOptions, WorkerStats, WorkOptions } from "./worker.ts";
