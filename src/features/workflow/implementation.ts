/**
 * A workflow with its code, as a value: what a module exports so that others than its workers can
 * use it, the test kit and `holdfast journals check` among them.
 */
import { checkFunction, expected } from "../../core/options.ts";
import type { WorkflowDefinition } from "./definition.ts";
import type { RunHandler } from "./workflow.ts";

const BRAND: unique symbol = Symbol.for("holdfast.implementation") as never;

/** Made by `implement`. */
export interface Implementation<I = unknown, P = I, O = unknown, R = O, E = object> {
  readonly definition: WorkflowDefinition<I, P, O, R, E>;
  readonly handler: RunHandler<P, R, E, I>;
}

/** An implementation of whatever workflow. */
// oxlint-disable-next-line typescript/no-explicit-any -- a handler takes what its own workflow has
export type AnyImplementation = Implementation<any, any, any, any, any>;
export type AnyHandler = AnyImplementation["handler"];

/**
 * Puts a definition and its handler together. No I/O, and nothing is run.
 *
 * ```ts
 * export const placing = implement(placeOrder, async (order, run) => { ... });
 * hf.open(placing.definition).work(placing.handler);
 * ```
 */
export function implement<I, P, O, R, E>(
  definition: WorkflowDefinition<I, P, O, R, E>,
  handler: RunHandler<NoInfer<P>, NoInfer<R>, NoInfer<E>, NoInfer<I>>,
): Implementation<I, P, O, R, E> {
  if (typeof definition?.settings?.events !== "object") {
    throw new TypeError(expected("definition", "what `workflow()` gives", definition));
  }
  checkFunction("handler", handler);
  const implementation = { definition, handler };
  Object.defineProperty(implementation, BRAND, { value: true });
  return Object.freeze(implementation);
}

/** True for what `implement` gives, from any copy of the library in the process. */
export function isImplementation(value: unknown): value is AnyImplementation {
  return typeof value === "object" && value !== null && BRAND in value;
}
