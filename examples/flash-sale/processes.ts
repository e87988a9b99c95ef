/**
 * Processes of one program: so many are always running. One that dies is replaced at once, whether
 * it was killed on purpose or fell over; none outlives the sale, however that ends.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { READY, STOP } from "./settings.ts";

export interface ProcessesOptions {
  readonly count: number;
  /** The file beside this one, without its ending. */
  readonly program: "worker" | "payment-main";
  /** What it finds in its environment, asked for whenever one is started. */
  readonly env: () => Readonly<Record<string, string>>;
  /** Told what a process says, but for its being ready. */
  readonly onMessage?: ((pid: number, message: unknown) => void) | undefined;
  /** So many may fall over by themselves; then something is wrong with the program. Default 10. */
  readonly maxCrashes?: number | undefined;
  /** Told what happened, in words for people. */
  readonly onEvent: (text: string) => void;
}

interface Running {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  readonly dead: Promise<void>;
  isReady: boolean;
  isKilled: boolean;
}

/** How long a worker may take to leave before it is killed. */
const STOP_MS = 10_000;
const MAX_CRASHES = 10;
const ERROR_CHARS = 4_000;

const ENDING = import.meta.url.endsWith(".ts") ? "ts" : "js";

export class Processes {
  readonly #options: ProcessesOptions;
  readonly #running = new Set<Running>();
  readonly #failure: AbortController = new AbortController();
  #isStopping = false;
  #restarts = 0;
  #crashes = 0;
  #errors = "";

  constructor(options: ProcessesOptions) {
    this.#options = options;
  }

  /** Processes that took the place of one that died. */
  get restarts(): number {
    return this.#restarts;
  }
  /** Process numbers of those that are at work. */
  get pids(): readonly number[] {
    return [...this.#running]
      .filter(({ isReady, isKilled }) => isReady && !isKilled)
      .map(({ child }) => child.pid ?? 0);
  }
  /** Aborts when so many fell over by themselves that the sale makes no sense. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  /** Starts all of them; resolves when all are at work. Rejects if they can't. */
  async start(): Promise<void> {
    const starting = Array.from({ length: this.#options.count }, () => this.#spawn());
    await Promise.race([
      Promise.all(starting.map(({ ready }) => ready)),
      rejectOn(this.#failure.signal),
    ]);
  }

  /** Kills one, with no warning. Resolves when it is dead; another one is starting then. */
  async kill(pid: number): Promise<void> {
    const running = [...this.#running].find(({ child }) => child.pid === pid);
    if (running === undefined) return;
    running.isKilled = true;
    running.child.kill("SIGKILL");
    await running.dead;
  }

  /** Lets all of them end what they hold, and kills those that don't within 10 s. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const running = [...this.#running];
    for (const { child } of running) {
      if (child.connected) child.send(STOP, () => {});
    }
    const late = new AbortController();
    const all = Promise.all(running.map(({ dead }) => dead));
    await Promise.race([all, sleep(STOP_MS, undefined, { signal: late.signal }).catch(() => {})]);
    late.abort();
    this.killAll();
    await all;
  }

  /** For the last moment of the program itself: nothing is left behind. */
  killAll(): void {
    this.#isStopping = true;
    for (const { child } of this.#running) child.kill("SIGKILL");
  }

  #spawn(): Running {
    const { program, env: more, onMessage } = this.#options;
    const file = fileURLToPath(new URL(`./${program}.${ENDING}`, import.meta.url));
    const env = { ...process.env, ...more() };
    const child = fork(file, [], { env, stdio: ["ignore", "ignore", "pipe", "ipc"] });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-ERROR_CHARS);
    });
    const dead = new Promise<void>((resolve) => {
      // A process that could not be started has no exit.
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    const ready = new Promise<void>((resolve) => {
      child.on("message", (message) => {
        if (message === READY) resolve();
        else onMessage?.(child.pid ?? 0, message);
      });
    });
    const running: Running = { child, ready, dead, isReady: false, isKilled: false };
    this.#running.add(running);
    void ready.then(() => (running.isReady = true));
    void dead.then(() => this.#replace(running));
    return running;
  }

  #replace(running: Running): void {
    this.#running.delete(running);
    if (this.#isStopping) return;
    if (!running.isKilled) {
      this.#crashes += 1;
      const { exitCode, signalCode } = running.child;
      this.#options.onEvent(
        `${this.#options.program} ${running.child.pid} ended by itself (${signalCode ?? exitCode})`,
      );
      if (this.#crashes >= (this.#options.maxCrashes ?? MAX_CRASHES)) {
        const message = `${this.#crashes} processes (${this.#options.program}) ended by themselves. They said:\n${this.#errors}`;
        this.#failure.abort(new Error(message));
        return;
      }
    }
    this.#restarts += 1;
    this.#spawn();
  }
}

/** Rejects with the signal's reason when it aborts. */
export function rejectOn(signal: AbortSignal): Promise<never> {
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  // It may lose every race that it is in.
  aborted.catch(() => {});
  return aborted;
}
