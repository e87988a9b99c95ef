/**
 * What a run shows while it goes: a block that is drawn anew on a terminal, a line now and then
 * elsewhere, nothing at all for programs.
 */
import { ENDINGS } from "./books.ts";
import type { Ending } from "./books.ts";

/** How far the sale is. */
export interface Progress {
  readonly seconds: number;
  /** Orders in all, and how many of them arrived and ended. */
  readonly total: number;
  readonly arrived: number;
  readonly ended: number;
  readonly endings: Readonly<Record<Ending, number>>;
  /** Orders that ended a second, lately. */
  readonly perSecond: number;
  /** Orders in the store that no process holds, and those that one does. */
  readonly waiting: number;
  readonly held: number;
  /** How long the first of the waiting has waited; null: none waits. */
  readonly oldestMs: number | null;
  /** Processes that take orders now, of those there should be. */
  readonly processes: number;
  readonly processesWanted: number;
  readonly kills: number;
  readonly killsWanted: number;
  readonly restarts: number;
}

export interface View {
  /** Something that is said once. */
  say(text: string): void;
  update(progress: Progress): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

/** Where a view is drawn: the part of a terminal's stream that it needs. */
export interface Screen {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Nothing, for `--json`. */
export const silentView: View = Object.freeze({ say: () => {}, update: () => {}, end: () => {} });

/** The view that fits the screen. */
export function openView(screen: Screen): View {
  return screen.isTTY === true ? new LiveView(screen) : new PlainView(screen);
}

const LINE_EVERY_SECONDS = 2;

/** A line every two seconds: for files, pipes and continuous integration. */
class PlainView implements View {
  readonly #screen: Screen;
  #nextSeconds = 0;
  #last: string | undefined;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  say(text: string): void {
    this.#screen.write(`${text}\n`);
  }

  update(progress: Progress): void {
    this.#last = lineOf(progress);
    if (progress.seconds < this.#nextSeconds) return;
    this.#nextSeconds = progress.seconds + LINE_EVERY_SECONDS;
    this.#flush();
  }

  end(): void {
    this.#flush();
  }

  #flush(): void {
    if (this.#last !== undefined) this.#screen.write(`${this.#last}\n`);
    this.#last = undefined;
  }
}

/** One line for all of it. */
export function lineOf(progress: Progress): string {
  const { ended, total, perSecond, waiting, held, kills, killsWanted, restarts } = progress;
  const parts = [
    `${progress.seconds.toFixed(0).padStart(3)} s`,
    `${ended} of ${total} orders`,
    `${perSecond.toFixed(0)}/s`,
    `${waiting} waiting, ${held} held`,
    `oldest ${ageOf(progress.oldestMs)}`,
    `kills ${kills} of ${killsWanted}`,
    `restarts ${restarts}`,
  ];
  return parts.join(" · ");
}

const EVENTS_SHOWN = 6;
const BAR_CHARS = 40;
const MIN_COLUMNS = 20;
const USUAL_COLUMNS = 80;
const ESCAPE = "\x1b[";
const CLEAR_BELOW = "\x1b[J";
const BOLD = "\x1b[1m";
const DIM = "\x1b[2m";
const RED = "\x1b[31m";
const GREEN = "\x1b[32m";
const PLAIN = "\x1b[0m";

/** A block of lines that is drawn over itself. */
class LiveView implements View {
  readonly #screen: Screen;
  readonly #events: string[] = [];
  #progress: Progress | undefined;
  #height = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  say(text: string): void {
    if (this.#progress === undefined) {
      this.#screen.write(`${text}\n`);
      return;
    }
    const at = `${this.#progress.seconds.toFixed(1).padStart(5)} s`;
    this.#events.push(`${DIM}${at}${PLAIN}  ${text}`);
    if (this.#events.length > EVENTS_SHOWN) this.#events.shift();
    this.#draw();
  }

  update(progress: Progress): void {
    this.#progress = progress;
    this.#draw();
  }

  end(): void {
    this.#progress = undefined;
  }

  #draw(): void {
    if (this.#progress === undefined) return;
    // Some terminals don't know how wide they are.
    const { columns = 0 } = this.#screen;
    const width = (columns >= MIN_COLUMNS ? columns : USUAL_COLUMNS) - 1;
    const lines = ["", ...blockOf(this.#progress), "", ...this.#events, ""];
    const up = this.#height === 0 ? "" : `\x1b[${this.#height}A\r`;
    this.#height = lines.length;
    const text = lines.map((line) => cut(line, width)).join("\n");
    this.#screen.write(`${up}${CLEAR_BELOW}${text}\n`);
  }
}

function blockOf(progress: Progress): string[] {
  const { ended, total, arrived, kills, killsWanted } = progress;
  const done = total === 0 ? 1 : ended / total;
  const coming = total === 0 ? 0 : (arrived - ended) / total;
  const full = Math.floor(done * BAR_CHARS);
  const ahead = Math.min(BAR_CHARS - full, Math.ceil(coming * BAR_CHARS));
  const rest = BAR_CHARS - full - ahead;
  const bar = `${GREEN}${"█".repeat(full)}${PLAIN}${"▒".repeat(ahead)}${DIM}${"░".repeat(rest)}`;
  const share = `${Math.floor(done * 100)} %`;
  const dots = `${"●".repeat(kills)}${"○".repeat(Math.max(0, killsWanted - kills))}`;
  const isHurt = progress.processes < progress.processesWanted;
  const running = `${progress.processes} of ${progress.processesWanted}`;
  return [
    `  ${bar}${PLAIN} ${BOLD}${share}${PLAIN}  ${ended} of ${total} orders`,
    row("ended", ENDINGS.map((ending) => `${progress.endings[ending]} ${ending}`).join(" · ")),
    row("rate", `${BOLD}${progress.perSecond.toFixed(0)}${PLAIN} orders a second`),
    row("waiting", `${waitingOf(progress)} · ${progress.held} held`),
    row("workers", isHurt ? `${RED}${running}${PLAIN}` : running),
    row("kills", `${RED}${killsWanted > 40 ? "" : dots}${PLAIN} ${kills} of ${killsWanted}`),
    row("restarts", String(progress.restarts)),
  ];
}

function row(name: string, text: string): string {
  return `  ${DIM}${name.padEnd(9)}${PLAIN} ${text}`;
}

function waitingOf({ waiting, oldestMs }: Progress): string {
  return waiting === 0 ? "0" : `${waiting}, the oldest for ${ageOf(oldestMs)}`;
}

function ageOf(ms: number | null): string {
  return ms === null ? "0.0 s" : `${(ms / 1_000).toFixed(1)} s`;
}

/** Cuts a line at so many visible characters; what colours it takes no room. */
export function cut(line: string, width: number): string {
  let seen = 0;
  let text = "";
  line.split(ESCAPE).forEach((part, index) => {
    const colour = index === 0 ? "" : part.slice(0, part.indexOf("m") + 1);
    const visible = part.slice(colour.length, colour.length + Math.max(0, width - seen));
    seen += visible.length;
    text += index === 0 ? visible : ESCAPE + colour + visible;
  });
  return text;
}
