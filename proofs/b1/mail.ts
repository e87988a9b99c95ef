/**
 * What the endpoint, the mailers and the sink share: the queue's definition, and the record that
 * the sink keeps.
 */
import { queue, unchecked, type QueueDefinition } from "holdfast/jobs";
import type { Json } from "../kit/node.ts";

export interface Mail {
  readonly id: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** A failed send is tried again soon; the sink refuses a mail once at most. */
const RETRY = { attempts: 5, backoff: { initialMs: 200, maxMs: 1_000 } } as const;
/** A send that takes longer has failed. */
const SEND_TIMEOUT_MS = 30_000;

export const emails: QueueDefinition<Mail> = queue("emails", {
  input: unchecked<Mail>(),
  timeoutMs: SEND_TIMEOUT_MS,
  retry: RETRY,
});

/**
 * A line of the sink's record. `begin`: a worker hands a mail over; `accepted`: it arrived;
 * `refused`: not now; `broken`: the worker was gone before it had arrived.
 */
export interface SinkLine {
  readonly atMs: number;
  readonly what: "begin" | "accepted" | "refused" | "broken";
  readonly mail: string;
  readonly worker: string;
}

export interface SinkInput {
  readonly recordPath: string;
  readonly sleepMs: number;
  /** The first try of each so-many-th mail is refused; 0: none is. */
  readonly refuseEvery: number;
}

export interface MailerInput {
  readonly sinkPort: number;
  readonly concurrency: number;
  readonly isBroken: boolean;
}

/** How many mails each worker has in the sink's hands now. */
export type InFlight = Readonly<Record<string, number>>;

/** The number in a mail's id, `mail-0042`. */
export function mailNumber(id: string): number {
  return Number(id.slice(id.indexOf("-") + 1));
}

export function mailId(number: number): string {
  return `mail-${String(number).padStart(5, "0")}`;
}

/** An interface as the plain data that it is. */
export function json(value: SinkInput | MailerInput): Json {
  return { ...value };
}
