/** A job as people and programs see it from outside. */
import type { Attributes } from "../../core/attributes.ts";
import { jsonCodec } from "../../core/codec.ts";
import type { JobState, JobView } from "../../store/ops.ts";
import { decode } from "./payload.ts";
import type { QueueSettings } from "./settings.ts";

/**
 * A job as it stood when it was read. Times are milliseconds since 1970 by the store's clock. What
 * was stored by the program (`input`, `output`, `progress`) is decoded when it is asked for, so
 * that a damaged record does not spoil a list: the getter throws `CORRUPT`.
 */
export class JobInfo {
  readonly id: string;
  /** The store's number of the job: grows in the order of adding. */
  readonly seq: number;
  readonly state: JobState;
  readonly key: string | undefined;
  readonly priority: number;
  /** Failed attempts so far. */
  readonly attempts: number;
  /** Leases lost by processes that died or were paused. */
  readonly lost: number;
  readonly createdMs: number;
  /** When it is due; for scheduled jobs (delayed, or waiting for a retry). */
  readonly dueMs: number | undefined;
  readonly finishedMs: number | undefined;
  /** The last failure, or the reason of a cancel. */
  readonly error: string | undefined;
  readonly isCancelRequested: boolean;
  /** The fencing token under which it is held now. */
  readonly token: bigint | undefined;
  /** What it was added with, to be found by. */
  readonly attributes: Attributes;
  readonly #view: JobView;
  readonly #settings: QueueSettings;

  constructor(settings: QueueSettings, view: JobView) {
    this.id = view.id;
    this.seq = view.seq;
    this.state = view.state;
    this.key = view.key ?? undefined;
    this.priority = view.priority;
    this.attempts = view.attempts;
    this.lost = view.lost;
    this.createdMs = view.createdMs;
    this.dueMs = view.dueMs ?? undefined;
    this.finishedMs = view.finishedMs ?? undefined;
    this.error = view.error ?? undefined;
    this.isCancelRequested = view.isCancelRequested;
    this.token = view.token === null ? undefined : BigInt(view.token);
    this.attributes = view.attributes;
    this.#view = view;
    this.#settings = settings;
  }
  /** The input as it was stored, not checked by the schema. */
  get input(): unknown {
    return decode(this.#settings, this.#view.payload, "payload");
  }
  /** What the handler returned, not checked by the schema; undefined unless completed. */
  get output(): unknown {
    const { result } = this.#view;
    return result === null ? undefined : decode(this.#settings, result, "result");
  }
  /** What the holder reported last. */
  get progress(): unknown {
    const { progress } = this.#view;
    return progress === null ? undefined : jsonCodec.decode(progress);
  }
}

/** True for states that a job does not leave by itself. */
export function isFinished(state: JobState): boolean {
  return state === "completed" || state === "cancelled" || state === "dead";
}
