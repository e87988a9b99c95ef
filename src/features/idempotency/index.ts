/**
 * `holdfast/idempotency`: one stored answer per key. Define calls with `idempotency()`, open them
 * with `hf.open()`, and `run` handlers under a key; or put the middleware for Express, Fastify or
 * Hono in front of a service. The guide: docs/guide/idempotency.md.
 */
export { unchecked } from "../../core/codec.ts";
export { permanent, PermanentError } from "../../core/retry.ts";
export { Completion } from "./attempt.ts";
export type { Attempt, Handler, Refused } from "./attempt.ts";
export { idempotency, type IdempotencyDefinition } from "./definition.ts";
export { Idempotency } from "./idempotency.ts";
export type { Outcome, RunOptions, Stored } from "./idempotency.ts";
export type { IdempotencyOptions, InFlight } from "./settings.ts";
export { expressIdempotency } from "./express.ts";
export type { ExpressRequestLike, ExpressResponseLike } from "./express.ts";
export { fastifyIdempotency } from "./fastify.ts";
export type { FastifyLike, FastifyReplyLike, FastifyRequestLike } from "./fastify.ts";
export { honoIdempotency } from "./hono.ts";
export type { HonoContextLike } from "./hono.ts";
export { attemptOf, scopedKey, type HttpOptions } from "./http.ts";
export type { HttpAnswer } from "./replies.ts";
