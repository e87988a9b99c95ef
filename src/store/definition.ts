/**
 * A definition is a value without I/O that every process of a program shares; a store makes its
 * typed handle from it. The front door needs to know no feature: a feature brings its own
 * definition, and the symbol below is all that both know.
 */
import type { Store } from "./store.ts";

/** The member by which a definition opens; the same in every copy of the library in the process. */
export const opens: unique symbol = Symbol.for("holdfast.opens") as never;

/** What `open()` takes. `name` is for people and for the records that the feature keeps. */
export interface Definition<H> {
  readonly name: string;
  /** Makes the handle. Called once for each store; does no I/O. */
  [opens](store: Store): H;
}

/** True for a value that `open()` can take. */
export function isDefinition(value: unknown): value is Definition<unknown> {
  const isHolder = (typeof value === "object" && value !== null) || typeof value === "function";
  return isHolder && typeof (value as Record<symbol, unknown>)[opens] === "function";
}
