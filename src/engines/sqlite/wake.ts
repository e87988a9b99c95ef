/**
 * Wake-ups from other processes without a server. Every commit writes the write-ahead file, so the
 * system's file notification on it says within microseconds that somebody is writing. It says so
 * before the commit is visible (the sync comes between), so that a look that finds nothing is
 * repeated every millisecond at first, and more and more seldom for 44 ms after the last write. Our
 * own writes cause looks as well, at most one a millisecond of 2 us each. An idle process makes one
 * look a second, in case the notification fails.
 *
 * Where the system gives no notification (its limit of watches is reached), looks every 20 ms stand
 * in.
 */
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import type { Clock, Timer } from "../../core/clock.ts";

const IDLE_MS = 1_000;
const BLIND_MS = 20;
/** Pauses between the looks after a write: fine where most syncs end, then wider. */
const REPEATS_MS: readonly number[] = [
  ...Array.from({ length: 10 }, () => 1),
  ...Array.from({ length: 5 }, () => 2),
  ...Array.from({ length: 6 }, () => 4),
];
/** Where writes never end, every look finds some: then only the widest pauses. */
const LAST_REPEATS = 6;

export class Wake {
  readonly #path: string;
  readonly #clock: Clock;
  /** Looks and tells; true if there was news. Must not throw. */
  readonly #look: () => boolean;
  #watcher: FSWatcher | undefined;
  #poll: Timer | undefined;
  #repeat: Timer | undefined;
  #step = 0;
  #hasWrites = false;
  #isOn = false;

  constructor(path: string, clock: Clock, look: () => boolean) {
    this.#path = path;
    this.#clock = clock;
    this.#look = look;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#watch();
    this.#schedule();
    // What came before the watch began.
    this.#written();
  }

  stop(): void {
    this.#isOn = false;
    this.#poll?.cancel();
    this.#repeat?.cancel();
    this.#repeat = undefined;
    this.#unwatch();
  }

  #watch(): void {
    try {
      // Not `persistent`: who listens keeps its process alive by other means.
      const watcher = watch(`${this.#path}-wal`, { persistent: false }, (event) => {
        // The file was removed or replaced: watch the new one from the next poll on.
        if (event === "rename") this.#unwatch();
        this.#written();
      });
      watcher.on("error", () => this.#unwatch());
      this.#watcher = watcher;
    } catch {
      this.#watcher = undefined;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #schedule(): void {
    const delayMs = this.#watcher === undefined ? BLIND_MS : IDLE_MS;
    const fire = (): void => {
      if (!this.#isOn) return;
      this.#look();
      if (this.#watcher === undefined) this.#watch();
      this.#schedule();
    };
    this.#poll = this.#clock.timer(delayMs, fire, { keepAlive: false });
  }

  #written(): void {
    if (!this.#isOn) return;
    this.#hasWrites = true;
    // A chain of looks is under way: it will see this write, too.
    if (this.#repeat !== undefined) return;
    this.#step = 0;
    this.#again();
  }

  #again(): void {
    if (this.#look()) {
      // Whoever wrote is likely to write more.
      this.#step = 0;
      this.#hasWrites = false;
    }
    if (this.#step >= REPEATS_MS.length) {
      this.#repeat = undefined;
      if (!this.#hasWrites) return;
      this.#hasWrites = false;
      this.#step = REPEATS_MS.length - LAST_REPEATS;
    }
    const delayMs = REPEATS_MS[this.#step++] as number;
    const fire = (): void => {
      this.#repeat = undefined;
      if (this.#isOn) this.#again();
    };
    this.#repeat = this.#clock.timer(delayMs, fire, { keepAlive: false });
  }
}
