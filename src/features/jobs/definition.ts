/** What a queue is, as a value without I/O that every process of a program shares. */
import type { Schema, SchemaInput, SchemaOutput } from "../../core/codec.ts";
import { opens, type Definition } from "../../store/definition.ts";
import type { Store } from "../../store/store.ts";
import { JobQueue } from "./queue.ts";
import {
  checkQueueOptions,
  type OutputOf,
  type QueueOptions,
  type QueueSettings,
  type ReturnOf,
} from "./settings.ts";

/** A queue as a value: made by `queue()`, opened by `hf.open()`. */
export interface QueueDefinition<I, P = I, O = unknown, R = O> extends Definition<
  JobQueue<I, P, O, R>
> {
  readonly settings: QueueSettings;
}

/**
 * Defines a queue. No I/O: share the definition between the processes that add jobs and those that
 * work on them.
 *
 * Shape: `name` 1 to 200 characters, not beginning with `$`; options as in `QueueOptions`.
 * Guarantee: the store keeps the rules (`concurrency`, `rate`, `priority`, `keep`, `maxWaiting`,
 * `retry.deliveries`) for all processes; they are sent with the first group that a process commits
 * for the queue, and the last writer wins.
 * Errors: `TypeError` and `RangeError` for options that are wrong or unknown.
 *
 * ```ts
 * const emails = queue("emails", {
 *   input: z.object({ to: z.string(), text: z.string() }),
 *   key: (mail) => mail.to,
 *   retry: { attempts: 8, backoff: { initialMs: 500, maxMs: 60_000 } },
 * });
 * ```
 */
export function queue<SI extends Schema, SO extends Schema | undefined = undefined>(
  name: string,
  options: QueueOptions<SI, SO>,
): QueueDefinition<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>> {
  const settings = checkQueueOptions(name, options);
  return Object.freeze({
    name: settings.name,
    settings,
    [opens]: (store: Store) =>
      new JobQueue<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>>(store, settings),
  });
}
