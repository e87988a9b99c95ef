/**
 * What the tests of the SQLite engine share: folders that are removed, and real processes on one
 * file.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { QueueEnqueue } from "../../src/store/ops.ts";

/** A folder for one test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "holdfast-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function job(id: string, more: Partial<QueueEnqueue> = {}): QueueEnqueue {
  return {
    ...{ op: "queue.enqueue", queue: "q", id, isFresh: true, payload: "x", delayMs: 0 },
    ...{ priority: 0, key: null, dedupe: null, trace: null },
    ...more,
  };
}

/** Beside node_modules, so that programs find packages. */
const programs = fileURLToPath(
  new URL("../../node_modules/.cache/holdfast/programs", import.meta.url),
);
let count = 0;

/** A process of its own that runs a module's text. It talks in lines of JSON. */
export class Program {
  readonly process: ChildProcess;
  readonly #iterator: AsyncIterator<string>;
  readonly ended: Promise<number | null>;

  /**
   * `code` may use `sqlite`, `job`, `args`, `say(value)` and `heard()` (resolves at the next line
   * from us).
   */
  constructor(code: string, ...args: readonly unknown[]) {
    const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const text = `
      import { createInterface } from "node:readline";
      import { sqlite } from ${url("../../src/engines/sqlite/index.ts")};
      import Database from "better-sqlite3";
      const args = ${JSON.stringify(args)};
      const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
      const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
      const heard = () => lines.next();
      const job = (id, more) => ({ op: "queue.enqueue", queue: "q", id, isFresh: true, payload: "x",
        delayMs: 0, priority: 0, key: null, dedupe: null, trace: null, ...more });
      ${code}
      process.exit(0);`;
    mkdirSync(programs, { recursive: true });
    const file = join(programs, `${process.pid}-${++count}.mjs`);
    writeFileSync(file, text);
    const hooks = new URL("../../tools/typescript.mjs", import.meta.url).href;
    this.process = spawn(process.execPath, ["--import", hooks, file], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.ended = new Promise((resolve) => this.process.on("close", resolve));
    const lines = createInterface({ input: this.process.stdout as NodeJS.ReadableStream });
    this.#iterator = lines[Symbol.asyncIterator]();
    onTestFinished(async () => {
      this.process.kill("SIGKILL");
      await this.ended;
      rmSync(file, { force: true });
    });
  }

  /** The next line that the program says. */
  async hear(): Promise<unknown> {
    const { value, done } = await this.#iterator.next();
    if (done === true) throw new Error("The program ended without a word");
    return JSON.parse(value);
  }

  go(): void {
    this.process.stdin?.write("\n");
  }

  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.ended;
  }
}
