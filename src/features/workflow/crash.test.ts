/**
 * A run of six steps, broken off at every instant at which its process may die, with every answer
 * lost and every commit refused in turn: what it comes to must always be the same.
 */
import { describe, expect, test } from "vitest";
import { engine, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { isHoldfastError } from "../../core/errors.ts";
import { permanent } from "../../core/retry.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import type { Group, Op } from "../../store/ops.ts";
import { workflow } from "./definition.ts";
import type { Attempt } from "./index.ts";
import type { Run } from "./run.ts";
import type { Workflow } from "./workflow.ts";

const text = unchecked<string>();
const backoff = { initialMs: 10, jitter: "none" } as const;
const definition = workflow("saga", {
  input: text,
  output: text,
  events: { paid: text },
  retry: { attempts: 3, backoff },
  undoRetry: { attempts: 5, backoff },
});
type Events = { readonly paid: string };
type Sagas = Workflow<string, string, string, string, Events>;

/** How it ends; `parked`: an undo fails until somebody has the run go on. */
const VARIANTS = ["completes", "fails", "cancelled", "parked"] as const;
type Variant = (typeof VARIANTS)[number];

/** What it came to. */
interface Totals {
  readonly ended: string;
  /** Kinds and names of records, without those of attempts that failed. */
  readonly history: readonly string[];
  /** What is left of what the steps did outside of the store, by their ids. */
  readonly ledger: readonly string[];
  /** What is left of what they did in one commit with their records. */
  readonly effects: number;
}
interface Played {
  readonly totals: Totals;
  /** Calls of each step's function and undo. */
  readonly calls: Readonly<Record<string, number>>;
  /** Instants at which a worker's process could have died, and what they were. */
  readonly instants: readonly string[];
}

/** Told of every such instant. */
type OnInstant = (process: Process, instant: number) => void;

const SESSION = { sessionTtlMs: 2_000 } as const;
const PASSED_OVER = new Set(["retry", "unfit", "parked", "redrive", "event", "cancel"]);
const FOR_EVER = new Promise<never>(() => {});

function kindsOf(groups: readonly Group[]): string {
  const kinds = groups.flatMap(({ ops }) =>
    ops.map((op) => (op.op === "queue.settle" ? `${op.op} ${op.outcome}` : op.op)),
  );
  return [...new Set(kinds)].join("+") || "nothing";
}

class Play {
  readonly #world = new World();
  readonly #variant: Variant;
  readonly #onInstant: OnInstant;
  readonly #calls = new Map<string, number>();
  readonly #ledger = new Set<string>();
  readonly #instants: string[] = [];
  /** Where the two steps that run side by side meet. */
  readonly #charged = deferred<void>();
  #isMended = false;

  constructor(variant: Variant, onInstant: OnInstant = () => {}) {
    this.#variant = variant;
    this.#onInstant = onInstant;
  }

  /** `prepare` may break the processes: who starts the run, and who works on it first. */
  async run(prepare: (client: Process, worker: Process) => void = () => {}): Promise<Played> {
    const world = this.#world;
    const client = await world.process(SESSION);
    let worker = await world.process(SESSION);
    prepare(client, worker);
    this.#work(worker);
    const sagas: Sagas = client.store.handle(definition);
    let ended: string | undefined;
    let failure: unknown;
    this.#drive(sagas).then(
      (how) => void (ended = how),
      (error: unknown) => void (failure = error),
    );
    for (let i = 0; i < 600 && ended === undefined && failure === undefined; i++) {
      await world.clock.advance(50);
      if (!worker.isCrashed) continue;
      worker = await world.process(SESSION);
      this.#work(worker);
    }
    if (ended === undefined) throw failure ?? new Error(`No end: ${this.#instants.join(", ")}`);
    const totals = await this.#totals(sagas, client, ended);
    await this.#close();
    const calls = Object.fromEntries(this.#calls);
    return { totals, calls, instants: this.#instants };
  }

  async #close(): Promise<void> {
    const { processes } = this.#world;
    // The stores of the dead are not closed in order: nobody would answer them.
    const dead = processes.filter(({ isCrashed }) => isCrashed);
    for (const process of dead) {
      processes.splice(processes.indexOf(process), 1);
      await process.driver().close();
    }
    await this.#world.close();
  }

  async #totals(sagas: Sagas, client: Process, ended: string): Promise<Totals> {
    const world = this.#world;
    const history = (await world.pass(sagas.history("1"))) ?? [];
    const effects = await world.pass(new Kv(client.store).get("effects"));
    return {
      ended,
      history: history
        .filter(({ kind }) => !PASSED_OVER.has(kind))
        .map(({ kind, name }) => `${kind} ${name}`),
      ledger: [...this.#ledger].sort(),
      effects: Number(effects?.value ?? 0),
    };
  }

  // -------------------------------------------------------------- who starts it

  async #drive(sagas: Sagas): Promise<string> {
    await insist(() => sagas.start("x", { id: "1" }));
    await insist(() => sagas.send("1", "paid", "in full", { id: "payment" }));
    if (this.#variant === "cancelled") await this.#cancelAsleep(sagas);
    for (;;) {
      const ended = await sagas.result("1").catch((error: unknown) => {
        if (!isHoldfastError(error, "FAILED")) throw error;
        const { status, error: why } = error.details as { status: string; error: string };
        return `${status}: ${why}`;
      });
      if (!ended.startsWith("attention")) return ended;
      this.#isMended = true;
      await insist(() => sagas.redrive({ ids: ["1"] }));
    }
  }

  async #cancelAsleep(sagas: Sagas): Promise<void> {
    for (;;) {
      const history = await sagas.history("1");
      if (history?.some(({ kind }) => kind === "sleep") === true) break;
      await new Promise<void>((resolve) => this.#world.clock.timer(100, resolve));
    }
    await insist(() => sagas.cancel("1", { reason: "no longer" }));
  }

  // -------------------------------------------------------------- who works on it

  #work(process: Process): void {
    const at = (what: string): void => {
      if (process.isCrashed) return;
      this.#instants.push(what);
      this.#onInstant(process, this.#instants.length);
    };
    process.onCommit = (groups) => at(`before ${kindsOf(groups)}`);
    process.onAnswer = (groups) => at(`after ${kindsOf(groups)}`);
    process.onAfterRead = () => at("after a read");
    const kv = new Kv(process.store);
    /** What the function of a step or an undo does; the dead do nothing. */
    const does = (what: string, effect: (attempt: Attempt) => unknown) => {
      return async (attempt: Attempt): Promise<unknown> => {
        if (process.isCrashed) return FOR_EVER;
        at(`call of ${what}`);
        if (process.isCrashed) return FOR_EVER;
        this.#calls.set(what, (this.#calls.get(what) ?? 0) + 1);
        const value: unknown = await effect(attempt);
        if (process.isCrashed) return FOR_EVER;
        at(`return of ${what}`);
        return process.isCrashed ? FOR_EVER : value;
      };
    };
    const sagas: Sagas = process.store.handle(definition);
    sagas.work((_, run) => this.#saga(run, kv, does));
  }

  async #saga(
    run: Run<Events>,
    kv: Kv,
    does: (what: string, effect: (attempt: Attempt) => unknown) => StepFunction,
  ): Promise<string> {
    const isAtFault = this.#variant === "fails" || this.#variant === "parked";
    const step = (name: string, more?: (attempt: Attempt) => unknown): Promise<unknown> => {
      const undo = does(`undo ${name}`, (attempt) => this.#undo(name, attempt));
      const effect = async (attempt: Attempt): Promise<unknown> => {
        this.#ledger.add(attempt.id);
        return (await more?.(attempt)) ?? `${name}!`;
      };
      return run.step(name, does(name, effect), { undo: (_, attempt) => undo(attempt) });
    };
    const values = [await step("reserve")];
    const charge = step("charge", () => this.#charged.resolve());
    const pack = step("pack", () => this.#charged.promise.then(() => undefined));
    values.push(...(await Promise.all([charge, pack])));
    values.push(await run.waitFor("paid"));
    const book = does("book", (attempt) => attempt.complete("booked", [kv.op.add("effects", 1)]));
    const unbook = does("undo book", (attempt) =>
      attempt.complete(null, [kv.op.add("effects", -1)]),
    );
    values.push(await run.step("book", book, { undo: (done, at) => done && unbook(at) }));
    await run.sleep("rest", this.#variant === "cancelled" ? 3_600_000 : 3_000);
    const label = (): void => {
      if (this.#calls.get("label") === 1) throw new Error("no paper");
    };
    values.push(await step("label", label));
    if (isAtFault)
      await run.step(
        "ship",
        does("ship", () => Promise.reject(permanent("no ship"))),
      );
    else values.push(await step("ship"));
    return values.join();
  }

  #undo(name: string, { id }: Attempt): void {
    const tries = this.#calls.get(`undo ${name}`);
    if (name === "label" && tries === 1) throw new Error("the glue holds");
    const isBroken = name === "charge" && this.#variant === "parked" && !this.#isMended;
    if (isBroken) throw permanent("the bank is closed");
    this.#ledger.delete(id.replace(/\/undo$/, ""));
  }
}

type StepFunction = (attempt: Attempt) => Promise<unknown>;

/** As a careful client does: all that it sends may be sent again. */
async function insist<T>(send: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await send();
    } catch (error) {
      if (!isHoldfastError(error, "UNAVAILABLE") || tries === 10) throw error;
    }
  }
}

const EXPECTED: Readonly<Record<Variant, string>> = {
  completes: "reserve!,charge!,pack!,in full,booked,label!,ship!",
  fails: "failed: no ship",
  cancelled: "cancelled: no longer",
  parked: "failed: no ship",
};

describe.each(VARIANTS)("a saga that is to end as: %s", (variant) => {
  test("comes to what it is expected to without faults, each function called as often as it must", async () => {
    const { totals, calls } = await new Play(variant).run();
    expect(totals.ended).toBe(EXPECTED[variant]);
    expect(totals.effects).toBe(variant === "completes" ? 1 : 0);
    expect(totals.ledger).toHaveLength(variant === "completes" ? 5 : 0);
    const undone = totals.history.filter((line) => line.startsWith("undone"));
    const order = ["label", "book", "pack", "charge", "reserve"].map((name) => `undone ${name}`);
    const begun = variant === "cancelled" ? order.slice(1) : order;
    expect(undone).toEqual(variant === "completes" ? [] : begun);
    const { label = 0, "undo label": unlabel = 0, "undo charge": refund = 0, ...others } = calls;
    if (variant !== "cancelled") expect(label).toBe(2);
    if (unlabel > 0) expect(unlabel).toBe(2);
    if (refund > 0) expect(refund).toBe(variant === "parked" ? 2 : 1);
    expect(new Set(Object.values(others))).toEqual(new Set([1]));
  });

  test("comes to the same if its process dies at any instant", async () => {
    const { totals, calls, instants } = await new Play(variant).run();
    for (let at = 1; at <= instants.length; at += engine.stride) {
      const play = new Play(variant, (process, instant) => {
        if (instant === at) process.isCrashed = true;
      });
      const where = `crash ${at}: ${instants[at - 1]}`;
      const found = await play.run();
      expect(found.totals, where).toEqual(totals);
      // Once more at most: where it died between the call and the record of it.
      for (const [name, count] of Object.entries(found.calls)) {
        expect(count, `${where}, calls of ${name}`).toBeLessThanOrEqual((calls[name] ?? 0) + 1);
      }
    }
    expect(instants.length).toBeGreaterThan(50);
  });

  test("comes to the same if who takes it over dies as well", async () => {
    const { totals, instants } = await new Play(variant).run();
    for (let first = 1; first <= instants.length; first += 5 * engine.stride) {
      // Instants are counted on: the second process dies so many of its own later.
      for (const later of [1, 3, 8, 13, 21, 34]) {
        const play = new Play(variant, (process, instant) => {
          if (instant === first || instant === first + later) process.isCrashed = true;
        });
        expect((await play.run()).totals, `crashes ${first} and ${first + later}`).toEqual(totals);
      }
    }
  });

  const KINDS: readonly Op["op"][] = [
    ...(["runs.record", "queue.settle", "queue.claim", "session.open", "session.renew"] as const),
    ...(["runs.send", "queue.enqueue", "queue.redrive"] as const),
  ];
  test.each(KINDS)("comes to the same if answers to %s are lost", async (op) => {
    const { totals, calls } = await new Play(variant).run();
    for (const count of [1, 2, 3, 5, 8]) {
      const found = await new Play(variant).run((client, worker) => {
        client.lostReplies = { op, count };
        worker.lostReplies = { op, count };
      });
      // Nobody died: nothing is done twice.
      expect(found.calls, `${count} lost answers`).toEqual(calls);
      expect(found.totals, `${count} lost answers`).toEqual(totals);
    }
  });

  test("comes to the same if any one commit's answer is lost, or the commit is refused", async () => {
    const { totals, calls, instants } = await new Play(variant).run();
    for (let at = 1; at <= instants.length; at += engine.stride) {
      const what = instants[at - 1] as string;
      if (!what.startsWith("before ")) continue;
      const ofClaims = { op: "queue.claim", count: 0 } as const;
      const ops = what.slice("before ".length).split("+");
      for (const how of ["lost", "refused"] as const) {
        const play = new Play(variant, (process, instant) => {
          if (instant !== at) return;
          const op = ops[0]?.split(" ")[0] as Op["op"];
          process.lostReplies = how === "lost" ? { op, count: 1 } : ofClaims;
          if (how === "refused") process.refusals = 1;
        });
        const where = `${how} ${at}: ${what}`;
        const found = await play.run();
        expect(found.totals, where).toEqual(totals);
        expect(found.calls, where).toEqual(calls);
      }
    }
  });
});
