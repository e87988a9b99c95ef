/**
 * Seeded histories of calls under faults: lost replies, outages, a crash, a process that is paused
 * and comes back, callers that leave, handlers that throw. Whatever happened, each effect was done
 * once, and all answers of a key are equal.
 */
import { expect, test } from "vitest";
import { turns, World, type Process } from "../../../test/kit/jobs.ts";
import { ManualClock } from "../../core/clock.ts";
import { SeededRandom } from "../../core/random.ts";
import { sleep } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { idempotency } from "./definition.ts";

const SEEDS = 150;
const STEPS = 40;
const KEYS = ["a", "b", "c"] as const;
const charges = idempotency("charges", { timeoutMs: 4_000, graceMs: 200 });

/** What one seed came to. */
interface Seen {
  readonly answers: Map<string, Set<unknown>>;
  /** How often something that the history is about has happened. */
  readonly counts: { replays: number; fenced: number; retried: number };
}

class History {
  readonly world = new World();
  /** The paused process's own. */
  readonly clock = new ManualClock(this.world.clock.wallMs());
  readonly seen: Seen = { answers: new Map(), counts: { replays: 0, fenced: 0, retried: 0 } };
  readonly #random: SeededRandom;
  readonly #calls: Promise<void>[] = [];
  #isPaused = false;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  #below(bound: number): number {
    return Math.floor(this.#random.next() * bound);
  }

  async run(): Promise<void> {
    const { world, clock } = this;
    const options = { sessionTtlMs: 1_000 };
    await world.process(options);
    await world.process(options);
    await world.process({ ...options, clock });
    for (let step = 0; step < STEPS; step++) {
      this.#step();
      await this.#pass(this.#below(400));
    }
    for (const process of world.processes) {
      process.isDown = false;
      process.lostReplies.count = 0;
    }
    this.#isPaused = false;
    await this.#pass(60_000);
    await Promise.all(this.#calls);
  }

  async #pass(ms: number): Promise<void> {
    const stepMs = 50;
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.world.clock.advance(stepMs);
      if (!this.#isPaused) await this.clock.advance(stepMs);
    }
  }

  #step(): void {
    const { processes } = this.world;
    const process = processes[this.#below(processes.length)] as Process;
    switch (this.#below(10)) {
      case 0:
        process.lostReplies = { op: "kv.put", count: 1 + this.#below(3) };
        break;
      case 1:
        process.isDown = !process.isDown;
        break;
      case 2:
        this.#isPaused = !this.#isPaused;
        break;
      case 3:
        // One of them, and late: the history is to have calls in flight by then.
        if (this.#random.next() < 0.2 && process === processes[1]) process.isCrashed = true;
        break;
      default: {
        const call = this.#call(process);
        if (process !== processes[1]) this.#calls.push(call);
      }
    }
  }

  async #call(process: Process): Promise<void> {
    const key = KEYS[this.#below(KEYS.length)] ?? "a";
    const delayMs = this.#below(1_500);
    const fails = this.#random.next() < 0.2;
    const wait = this.#random.next() < 0.3 ? { timeoutMs: this.#below(1_000) } : {};
    const kv = new Kv(process.store);
    const { clock } = process.store;
    try {
      const outcome = await process.store.handle(charges).tryRun(
        key,
        key,
        async (_, attempt) => {
          await sleep(clock, delayMs);
          if (fails) throw new Error("no");
          const output = `${this.world.processes.indexOf(process)}-${attempt.token}`;
          return attempt.complete(output, [kv.op.add(`charged:${key}`, 1)]);
        },
        wait,
      );
      if (outcome.ok) this.#answered(key, outcome.output);
      if (outcome.ok && outcome.isReplayed) this.seen.counts.replays++;
    } catch (error) {
      const { code } = error as { readonly code?: string };
      if (code === "FENCED" || code === "LEASE_LOST") this.seen.counts.fenced++;
      else this.seen.counts.retried++;
    }
  }

  #answered(key: string, output: unknown): void {
    const answers = this.seen.answers.get(key) ?? new Set();
    this.seen.answers.set(key, answers.add(output));
  }

  /** Calls each key once more, and counts what was done. */
  async check(): Promise<void> {
    const [process] = this.world.processes;
    const { store } = process as Process;
    const kv = new Kv(store);
    for (const key of KEYS) {
      const before = Number((await kv.get(`charged:${key}`))?.value ?? 0);
      const calls = store.handle(charges);
      const last = await this.world.pass(calls.tryRun(key, key, () => "nothing was done before"));
      const answers = [...(this.seen.answers.get(key) ?? [])];
      expect({ key, before, answers: answers.length }).toMatchObject({
        before: last.ok && last.isReplayed ? 1 : 0,
      });
      if (answers.length > 0) expect([last.ok && last.output]).toEqual(answers);
    }
  }

  async close(): Promise<void> {
    const { processes } = this.world;
    const closing = Promise.all(processes.map(({ store }) => store.close()));
    let isClosed = false;
    void closing.then(() => (isClosed = true));
    while (!isClosed) {
      await this.#pass(1_000);
      await turns(1);
    }
  }
}

test(`under faults each effect is done once and all answers are equal, over ${SEEDS} seeds`, async () => {
  const counts = { replays: 0, fenced: 0, retried: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const history = new History(seed);
    try {
      await history.run();
      await history.check();
    } catch (error) {
      throw new Error(`Seed ${seed} failed: ${String(error)}`, { cause: error });
    }
    await history.close();
    const of = history.seen.counts;
    counts.replays += of.replays;
    counts.fenced += of.fenced;
    counts.retried += of.retried;
  }
  // The histories are about something.
  expect(counts.replays).toBeGreaterThan(SEEDS);
  expect(counts.fenced).toBeGreaterThan(SEEDS / 10);
  expect(counts.retried).toBeGreaterThan(SEEDS);
}, 60_000);
