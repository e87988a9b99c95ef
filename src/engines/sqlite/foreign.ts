/**
 * What other connections did since we last looked: which queues have news, and which messages came
 * over the bus. SQLite says cheaply that somebody else committed (`PRAGMA data_version`, 2 us,
 * blind to our own commits); the event counters of `hf_queue` say to which queues it matters, so
 * that a busy neighbour wakes only those who wait for what it did.
 */
import type { Data } from "../../core/codec.ts";
import type { Channel } from "../../store/driver.ts";
import type { Message } from "../shared/embedded/scope.ts";
import type { Database, Statement } from "./database.ts";
import type { QueueEvents } from "./directory-tables.ts";

const VERSION = "PRAGMA data_version";
const EVENTS = `
  SELECT q.no, p.name, q.name, q.ready_events, q.done_events, q.cancel_events
  FROM hf_queue q
  JOIN hf_partition p ON p.no = q.partition`;
const LAST_BUS = "SELECT coalesce(max(no), 0) FROM hf_bus";
const BUS = `
  SELECT b.no, p.name, b.topic, b.message
  FROM hf_bus b
  JOIN hf_partition p ON p.no = b.partition
  WHERE b.no > ?
  ORDER BY b.no LIMIT ?+0`;
/** Messages picked up at once. */
const BUS_ROWS = 1_000;

export interface Foreign {
  readonly channels: readonly Channel[];
  readonly messages: readonly Message[];
}

/**
 * What is no news any more, as plain data: taken where somebody begins to listen, used where the
 * looking is done.
 */
export interface Baseline {
  readonly busNo: number;
  /** By queue number. */
  readonly events: readonly (readonly [no: number, events: readonly number[]])[];
}

type EventColumns = [
  ...[no: number, partition: string, queue: string],
  ...[ready: number, done: number, cancel: number],
];
type BusColumns = [no: number, partition: string, topic: string, message: Data];

/**
 * Own messages remembered while nobody listens; those of before the last so many commits are not
 * asked for any more.
 */
const OWN_COMMITS = 256;

const KINDS: readonly Channel["kind"][] = ["queue", "done", "cancel"];

export class ForeignChanges {
  readonly #version: Statement;
  readonly #events: Statement;
  readonly #lastBus: Statement;
  readonly #bus: Statement;
  readonly #known = new Map<number, readonly number[]>();
  #knownVersion = -1;
  #knownBusNo = 0;
  /**
   * Ring numbers of messages of our own, first and last of a commit: who listens here was told of
   * them already.
   */
  #own: (readonly [first: number, last: number])[] = [];

  constructor(database: Database) {
    this.#version = database.prepare(VERSION).pluck();
    this.#events = database.prepare(EVENTS).raw();
    this.#lastBus = database.prepare(LAST_BUS).pluck();
    this.#bus = database.prepare(BUS).raw();
  }

  /** What there is at this moment. */
  baseline(): Baseline {
    const events = (this.#events.all() as EventColumns[]).map(
      ([no, , , ...counts]) => [no, counts] as const,
    );
    return { busNo: this.#lastBus.get() as number, events };
  }

  /** What came after the baseline is news: the next `look` tells it. */
  start(baseline: Baseline): void {
    this.#knownVersion = -1;
    this.#knownBusNo = baseline.busNo;
    this.#known.clear();
    for (const [no, events] of baseline.events) this.#known.set(no, events);
  }

  /** What is new, or undefined. More messages than one look takes are left for the next. */
  look(): Foreign | undefined {
    const version = this.#version.get() as number;
    if (version === this.#knownVersion) return undefined;
    const channels = this.#queueNews();
    const { messages, isFull } = this.#busNews();
    if (!isFull) this.#knownVersion = version;
    return { channels, messages };
  }

  /**
   * Our own commit is no news to us: hints of these queues, and so many messages up to this number.
   * Called in its transaction.
   */
  noteOwn(
    queues: readonly { readonly no: number; readonly events: QueueEvents }[],
    messages: number,
    lastBusNo: number,
  ): void {
    for (const { no, events } of queues) {
      this.#known.set(no, [events.ready, events.done, events.cancel]);
    }
    if (messages === 0) return;
    this.#own.push([lastBusNo - messages + 1, lastBusNo]);
    if (this.#own.length > OWN_COMMITS) this.#own.shift();
  }

  #queueNews(): Channel[] {
    const channels: Channel[] = [];
    for (const row of this.#events.all() as EventColumns[]) {
      const [no, partition, name, ...events] = row;
      const known = this.#known.get(no);
      for (let i = 0; i < KINDS.length; i++) {
        if (events[i] === (known?.[i] ?? 0)) continue;
        channels.push({ kind: KINDS[i] as Channel["kind"], partition, name });
      }
      this.#known.set(no, events);
    }
    return channels;
  }

  #busNews(): { readonly messages: readonly Message[]; readonly isFull: boolean } {
    const rows = this.#bus.all(this.#knownBusNo, BUS_ROWS) as BusColumns[];
    const last = rows.at(-1);
    if (last === undefined) return { messages: [], isFull: false };
    this.#knownBusNo = last[0];
    const news = rows.filter(([no]) => !this.#own.some(([from, to]) => no >= from && no <= to));
    this.#own = this.#own.filter(([, to]) => to > this.#knownBusNo);
    const messages = news.map(([, partition, topic, message]): Message => {
      return { channel: { kind: "bus", partition, name: topic }, message };
    });
    return { messages, isFull: rows.length === BUS_ROWS };
  }
}
