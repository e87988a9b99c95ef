/**
 * Holdfast: the distributed-systems standard library for TypeScript.
 *
 * This is the front door, with the names that people type daily. Features are subpaths of their own
 * (`holdfast/jobs` ...).
 */
export { connect, Holdfast } from "./connect.ts";
export type { ConnectOptions, Urls } from "./connect.ts";
export { ERROR_CODES, HoldfastError, isHoldfastError, LeaseLostError } from "./core/errors.ts";
export type { ErrorCode, HoldfastErrorOptions, Outcome } from "./core/errors.ts";
export type { Clock, Timer } from "./core/clock.ts";
export type { Data } from "./core/codec.ts";
export type { Random } from "./core/random.ts";
export type { Wait } from "./core/signal.ts";
export { shutdownSignal } from "./shutdown.ts";
export type { Durability } from "./store/capabilities.ts";
export type { Definition } from "./store/definition.ts";
export type { Committed, Placed } from "./store/group.ts";
export type { Allow } from "./store/store.ts";
