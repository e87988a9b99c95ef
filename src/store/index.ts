/**
 * `holdfast/store`: what one opened URL is, for those who build on it (features) or below it
 * (engines).
 *
 * To write an engine: implement `StoreDriver`, state its `Capabilities`, and run
 * `holdfast/conformance` on it.
 */
export { systemClock, ManualClock } from "../core/clock.ts";
export type { Clock, Timer } from "../core/clock.ts";
export { bytesCodec, dataBytes, jsonCodec } from "../core/codec.ts";
export type { Codec, Data, Schema } from "../core/codec.ts";
export { LIMITS } from "../core/limits.ts";
export { SeededRandom, systemRandom } from "../core/random.ts";
export type { Random } from "../core/random.ts";
export type { Wait } from "../core/signal.ts";
export type { Capabilities, Durability } from "./capabilities.ts";
export { isDefinition, opens } from "./definition.ts";
export type { Definition } from "./definition.ts";
export type {
  Channel,
  ExportPage,
  ExportRecord,
  JobPage,
  KvChange,
  KvChanges,
  KvPage,
  ListJobs,
  ListKv,
  QueueChanges,
  Read,
  ReadJobs,
  ReadKv,
  ReadQueueChanges,
  ReadQueues,
  ReadResult,
  ReadSessions,
  ReadStore,
  StoreDriver,
  StoreInfo,
} from "./driver.ts";
export { refusalError, resultsOf } from "./group.ts";
export type { Committed, OpsOf, Placed } from "./group.ts";
export { DEFAULT_QUEUE_CONFIG, JOB_STATES } from "./ops.ts";
export type {
  Affected,
  BusPublish,
  Cancelled,
  Claimed,
  ClaimedJob,
  Dedupe,
  DedupeMode,
  Enqueued,
  Group,
  GroupResult,
  JobState,
  JobView,
  KvAdd,
  KvCheck,
  KvDelete,
  KvEntry,
  KvGet,
  KvOp,
  KvPut,
  Op,
  OpResult,
  QueueCancel,
  QueueClaim,
  QueueConfig,
  QueueConfigure,
  QueueCounts,
  QueueEnqueue,
  QueueOp,
  QueuePause,
  QueueProgress,
  QueuePurge,
  QueueRedrive,
  QueueSettle,
  QueueView,
  RateConfig,
  Refusal,
  Renewed,
  SessionEnd,
  SessionOp,
  SessionOpen,
  SessionRenew,
  SessionView,
  SettleOutcome,
} from "./ops.ts";
export type { Allow, StoreOptions } from "./options.ts";
export { Session } from "./session.ts";
export type { AskedCancels, SessionHost, SessionOptions } from "./session.ts";
export { Store } from "./store.ts";
export type { Child } from "./store.ts";
