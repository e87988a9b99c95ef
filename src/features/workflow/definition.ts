/** What a workflow is, as a value without I/O that every process of a program shares. */
import type { Schema, SchemaInput, SchemaOutput } from "../../core/codec.ts";
import { opens, type Definition } from "../../store/definition.ts";
import type { Store } from "../../store/store.ts";
import {
  checkWorkflowOptions,
  type EventSchemas,
  type EventsOf,
  type WorkflowOptions,
  type WorkflowSettings,
} from "./settings.ts";
import { Workflow } from "./workflow.ts";

/** What a definition without an output schema gives: whatever the handler returned. */
type OutputOf<SO extends Schema | undefined> = SO extends Schema ? SchemaOutput<SO> : unknown;
type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

/** A workflow as a value: made by `workflow()`, opened by `hf.open()`. */
export interface WorkflowDefinition<I, P, O, R, E> extends Definition<Workflow<I, P, O, R, E>> {
  readonly settings: WorkflowSettings;
}

/**
 * Defines a workflow. No I/O: share the definition between the processes that start runs and those
 * that work on them.
 *
 * Shape: `name` 1 to 195 characters, not beginning with `$`; options as in `WorkflowOptions`.
 * Errors: `TypeError` and `RangeError` for options that are wrong or unknown.
 *
 * ```ts
 * const placeOrder = workflow("place-order", {
 *   input: Order,
 *   output: Receipt,
 *   events: { approved: Approval },
 * });
 * ```
 */
export function workflow<
  SI extends Schema,
  SO extends Schema | undefined = undefined,
  // oxlint-disable-next-line typescript/no-empty-object-type -- no events: no names
  SE extends EventSchemas = {},
>(
  name: string,
  options: WorkflowOptions<SI, SO, SE>,
): WorkflowDefinition<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>, EventsOf<SE>> {
  const settings = checkWorkflowOptions(name, options);
  return Object.freeze({
    name,
    settings,
    [opens]: (store: Store) =>
      new Workflow<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>, EventsOf<SE>>(
        store,
        settings,
      ),
  });
}
