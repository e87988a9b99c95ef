/**
 * The killer: `kill -9` of worker processes in the middle of their work.
 *
 * A kill counts only if it hurt. After the process is dead, the store is asked for its session: if
 * that still holds leases, they were held at the instant of death, and nobody can have settled them
 * since (the holder is dead, and nobody else may touch them before the session's time is up). A
 * process that happened to hold nothing died in vain, and another one must follow.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Holdfast } from "holdfast";
import type { SessionView } from "holdfast/store";
import { PREFIX } from "./books.ts";
import type { KillRecord } from "./books.ts";
import type { Random } from "./generate.ts";

/** What the killer needs of the processes. */
export interface Victims {
  /** Those that take orders. */
  readonly pids: readonly number[];
  kill(pid: number): Promise<void>;
}

export interface KillerOptions {
  readonly kills: number;
  readonly random: Random;
  /** Between two kills: the time that the shop has to get over one. */
  readonly pauseMs: number;
  /** A victim lives on for up to so long, so that death comes at any point of an order's way. */
  readonly mercyMs: number;
  /** Asked for work when no process has any: it may let some orders in. */
  readonly feed: () => Promise<void>;
  /** True when there is nothing left to be killed for. */
  readonly isOver: () => boolean;
  readonly onEvent: (text: string) => void;
}

/** How often the sessions are looked at when a victim is wanted. */
const LOOK_MS = 2;
/** No process held anything for so long: more work is needed. */
const FEED_MS = 200;

export class Killer {
  readonly #hf: Holdfast;
  readonly #victims: Victims;
  readonly #options: KillerOptions;
  #counted = 0;
  #attempts = 0;

  constructor(hf: Holdfast, victims: Victims, options: KillerOptions) {
    this.#hf = hf;
    this.#victims = victims;
    this.#options = options;
  }

  /** Kills that counted. */
  get counted(): number {
    return this.#counted;
  }
  /** Processes that were killed. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Kills until enough kills counted, or nothing is left to be killed for. */
  async run(signal: AbortSignal): Promise<void> {
    const { kills, pauseMs, mercyMs, random } = this.#options;
    while (this.#counted < kills) {
      await sleep(pauseMs, undefined, { signal });
      const pid = await this.#findVictim(signal);
      if (pid === undefined) return;
      await sleep(Math.floor(random() * mercyMs), undefined, { signal });
      this.#attempts += 1;
      await this.#victims.kill(pid);
      await this.#judge(pid, signal);
    }
  }

  /** A process that holds leases at this moment; undefined: none ever will. */
  async #findVictim(signal: AbortSignal): Promise<number | undefined> {
    for (let looks = 0; !this.#options.isOver(); looks++) {
      if ((looks * LOOK_MS) % FEED_MS === 0) await this.#options.feed();
      const { pids } = this.#victims;
      const sessions = await this.#sessions();
      const holders = pids.filter((pid) => (sessionOf(sessions, pid)?.leases ?? 0) > 0);
      const at = Math.floor(this.#options.random() * holders.length);
      if (holders.length > 0) return holders[at];
      await sleep(LOOK_MS, undefined, { signal });
    }
    return undefined;
  }

  /** Asks the store what the dead process held. */
  async #judge(pid: number, signal: AbortSignal): Promise<void> {
    const session = sessionOf(await this.#sessions(), pid);
    if (session === undefined || session.leases === 0) {
      this.#options.onEvent(`killed process ${pid}: it held nothing, not counted`);
      return;
    }
    this.#counted += 1;
    const { leases } = session;
    const record: KillRecord = { pid, session: session.session, leases };
    await this.#hf.kv.put(`${PREFIX.kill}${this.#counted}`, record, { signal });
    const orders = leases === 1 ? "1 order" : `${leases} orders`;
    this.#options.onEvent(`kill -9 of process ${pid}, which held ${orders}`);
  }

  async #sessions(): Promise<readonly SessionView[]> {
    const { store } = this.#hf;
    const partition = store.partitionName();
    const [sessions] = await store.read([{ read: "session.list", partition }]);
    return sessions;
  }
}

/** The live session of a process, by the process number in its label (host/number/program). */
function sessionOf(sessions: readonly SessionView[], pid: number): SessionView | undefined {
  return sessions.find(
    ({ label, leftMs }) => leftMs > 0 && label.split("/").at(-2) === String(pid),
  );
}
