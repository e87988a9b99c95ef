/** `holdfast/ports/queue`: the queue port. Its guarantees: README.md beside this file. */
export { listQueues, Queue } from "./queue.ts";
export type { BulkOptions, JobList, QueueOps, QueueOptions, SettleOptions } from "./queue.ts";
export type { ListOptions, PageOptions } from "./list.ts";
export type { DedupeInput, JobInput, QueueRules, RateInput, Receipt, Settlement } from "./ops.ts";
