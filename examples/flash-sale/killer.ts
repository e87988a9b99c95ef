/**
 * The killer: `kill -9` of workers and of the payment service in the middle of their work.
 *
 * A kill counts only if it hurt. After a worker is dead, the store is asked for its session: if
 * that still holds leases, they were held at the instant of death, and nobody can have settled them
 * since (the holder is dead, and nobody else may touch them before the session's time is up). The
 * payment service leaves a note of the calls that it had not answered. A process that happened to
 * have nothing to do died in vain, and another one must follow.
 *
 * Victims are chosen in turn: any worker that holds orders, the payment service, and a worker that
 * is just undoing an order.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Holdfast } from "holdfast";
import { Runs } from "holdfast/ports/runs";
import type { SessionView } from "holdfast/store";
import { ORDERS_WORKFLOW, PREFIX } from "./books.ts";
import type { HeldRun, KillRecord } from "./books.ts";
import type { Random } from "./generate.ts";

/** What the killer needs of the processes. */
export interface Victims {
  /** Workers that take orders. */
  readonly workers: readonly number[];
  /** Those of them that are just undoing an order, as far as they have said so. */
  readonly compensating: readonly number[];
  /** The payment service, while it runs. */
  readonly payment: number | undefined;
  /** Calls that the payment service has open, or had when it died. */
  readonly openCalls: number;
  kill(pid: number): Promise<void>;
}

export interface KillerOptions {
  readonly kills: number;
  readonly random: Random;
  /** Between two kills: the time that the shop has to get over one. */
  readonly pauseMs: number;
  /** A worker lives on for up to so long, so that death comes at any point of an order's way. */
  readonly mercyMs: number;
  /** Asked for work when no process has any: it may let some orders in. */
  readonly feed: () => Promise<void>;
  /** True when there is nothing left to be killed for. */
  readonly isOver: () => boolean;
  readonly onEvent: (text: string) => void;
}

type Aim = "worker" | "payment" | "compensating";
const AIMS: readonly Aim[] = ["worker", "payment", "compensating"];

/** How often is looked when a victim is wanted. */
const LOOK_MS = 2;
/** Nobody was fit for so long: more work is needed. */
const FEED_MS = 200;
/** Nobody was undoing anything for so long: any worker will do. */
const PATIENCE_LOOKS = 2_000;

export class Killer {
  readonly #hf: Holdfast;
  readonly #runs: Runs;
  readonly #victims: Victims;
  readonly #options: KillerOptions;
  #counted = 0;
  #attempts = 0;
  #aim = 0;

  constructor(hf: Holdfast, victims: Victims, options: KillerOptions) {
    this.#hf = hf;
    this.#runs = new Runs(hf.store, ORDERS_WORKFLOW);
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
      const aim = AIMS[this.#aim % AIMS.length] ?? "worker";
      const pid = await this.#findVictim(aim, signal);
      if (pid === undefined) return;
      // What is to be hit is over in a moment; a worker's orders go on.
      if (aim === "worker") await sleep(Math.floor(random() * mercyMs), undefined, { signal });
      this.#attempts += 1;
      await this.#victims.kill(pid);
      const record = aim === "payment" ? this.#judgePayment(pid) : await this.#judgeWorker(pid);
      const hasHit = record !== null && (aim !== "compensating" || isCompensating(record));
      // What was missed is aimed at again.
      if (hasHit) this.#aim += 1;
      if (record !== null) await this.#note(record, signal);
      else this.#options.onEvent(`killed process ${pid}: it held nothing, not counted`);
    }
  }

  /** A process that has what is aimed at, at this moment; undefined: none ever will. */
  async #findVictim(aim: Aim, signal: AbortSignal): Promise<number | undefined> {
    for (let looks = 0; !this.#options.isOver(); looks++) {
      if ((looks * LOOK_MS) % FEED_MS === 0) await this.#options.feed();
      const found = await this.#look(aim, looks);
      const at = Math.floor(this.#options.random() * found.length);
      if (found.length > 0) return found[at];
      await sleep(LOOK_MS, undefined, { signal });
    }
    return undefined;
  }

  async #look(aim: Aim, looks: number): Promise<readonly number[]> {
    const { workers, compensating, payment, openCalls } = this.#victims;
    if (aim === "payment") return payment !== undefined && openCalls > 0 ? [payment] : [];
    if (aim === "compensating" && looks < PATIENCE_LOOKS) return compensating;
    const sessions = await this.#sessions();
    return workers.filter((pid) => (sessionOf(sessions, pid)?.leases ?? 0) > 0);
  }

  #judgePayment(pid: number): KillRecord | null {
    const open = this.#victims.openCalls;
    return open > 0 ? { what: "payment", pid, open } : null;
  }

  /** Asks the store what the dead worker held. */
  async #judgeWorker(pid: number): Promise<KillRecord | null> {
    const found = sessionOf(await this.#sessions(), pid);
    if (found === undefined || found.leases === 0) return null;
    const { session, leases } = found;
    const { jobs } = await this.#runs.queue.list("leased", { limit: 1_000 });
    const runs: HeldRun[] = [];
    for (const job of jobs) {
      if (job.session !== session) continue;
      const journal = await this.#runs.journal(job.seq);
      const isStopped = journal?.records.some(({ key }) => key.startsWith("stop:")) ?? false;
      runs.push({ id: job.id, token: job.token ?? 0, isCompensating: isStopped });
    }
    return { what: "worker", pid, session, leases, runs };
  }

  async #note(record: KillRecord, signal: AbortSignal): Promise<void> {
    this.#counted += 1;
    await this.#hf.kv.put(`${PREFIX.kill}${this.#counted}`, record, { signal });
    this.#options.onEvent(inWords(record));
  }

  async #sessions(): Promise<readonly SessionView[]> {
    const { store } = this.#hf;
    const partition = store.partitionName();
    const [sessions] = await store.read([{ read: "session.list", partition }]);
    return sessions;
  }
}

function isCompensating(record: KillRecord): boolean {
  return record.what === "worker" && record.runs.some((run) => run.isCompensating);
}

function inWords(record: KillRecord): string {
  if (record.what === "payment") {
    const calls = record.open === 1 ? "1 call" : `${record.open} calls`;
    return `kill -9 of the payment service ${record.pid}, which had ${calls} open`;
  }
  const { pid, leases, runs } = record;
  const held = leases === 1 ? "1 lease" : `${leases} leases`;
  const undoing = runs.filter((run) => run.isCompensating).length;
  const rest = undoing === 0 ? "" : `, ${undoing} in the middle of undoing`;
  return `kill -9 of worker ${pid}, which held ${held}${rest}`;
}

/** The live session of a process, by the process number in its label (host/number/program). */
function sessionOf(sessions: readonly SessionView[], pid: number): SessionView | undefined {
  return sessions.find(
    ({ label, leftMs }) => leftMs > 0 && label.split("/").at(-2) === String(pid),
  );
}
