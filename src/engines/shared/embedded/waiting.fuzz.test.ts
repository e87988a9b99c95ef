/**
 * `maxWaiting` in mixed groups, against the same ops one by one: a group of adds, settles, cancels,
 * redrives and ended sessions is taken exactly if each of its ops would be; one that claims or
 * purges besides is never taken where they would not.
 */
import { expect, test } from "vitest";
import { ManualClock } from "../../../core/clock.ts";
import { SeededRandom } from "../../../core/random.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../../store/ops.ts";
import type { Claimed, GroupResult, Op, QueueEnqueue, SettleOutcome } from "../../../store/ops.ts";
import { MemoryState } from "../../memory/index.ts";

const PARTITION = "p";
const OUTCOMES: SettleOutcome[] = [
  ...(["completed", "retry", "released", "dead", "cancelled", "suspended"] as const),
];
const EXACT = ["add", "add", "add", "settle", "settle", "cancel", "redrive", "end"] as const;
const ALL = [...EXACT, "claim", "purge"] as const;

/** One state that takes whole groups, and one that takes their ops one by one. */
class Twins {
  readonly #random: SeededRandom;
  readonly #whole: MemoryState;
  readonly #single: MemoryState;
  /** Held jobs: their session, and their token where groups are whole. */
  readonly #held = new Map<number, { readonly session: string; readonly token: number }>();
  /** Their tokens in the other state. */
  readonly #tokens = new Map<number, number>();
  readonly #sessions: string[] = [];
  #ids = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const clock = new ManualClock();
    this.#whole = new MemoryState({ clock });
    this.#single = new MemoryState({ clock });
    const config = { ...DEFAULT_QUEUE_CONFIG, maxWaiting: 6, maxDeliveries: 2 };
    this.both([{ op: "queue.configure", queue: "q", config }]);
  }
  #int(below: number): number {
    return Math.floor(this.#random.next() * below);
  }
  #commit(state: MemoryState, ops: readonly Op[]): GroupResult {
    return state.commit([{ partition: PARTITION, ops }])[0] as GroupResult;
  }
  /** An op as the other state knows it. */
  #other(op: Op): Op {
    if (op.op !== "queue.settle") return op;
    return { ...op, token: this.#tokens.get(op.seq) ?? 0 };
  }
  /** Whether the group was taken, and whether each of its ops was. */
  both(ops: readonly Op[]): readonly [whole: boolean, single: boolean] {
    const whole = this.#commit(this.#whole, ops);
    const singles = ops.map((op) => this.#commit(this.#single, [this.#other(op)]));
    ops.forEach((op, i) => {
      const single = singles[i] as GroupResult;
      if (op.op !== "queue.claim" || !whole.ok || !single.ok) return;
      const others = (single.results[0] as Claimed).jobs;
      for (const { seq, token } of (whole.results[i] as Claimed).jobs) {
        this.#held.set(seq, { session: op.session, token });
        this.#tokens.set(seq, others.find((job) => job.seq === seq)?.token ?? 0);
      }
    });
    return [whole.ok, singles.every((single) => single.ok)];
  }
  /** A session, and some jobs for it. */
  open(): void {
    const session = `s${this.#sessions.length}`;
    this.#sessions.push(session);
    this.both([{ op: "session.open", session, ttlMs: 60_000, label: "" }]);
    this.both([{ op: "queue.claim", queue: "q", session, max: this.#int(4) + 1 }]);
  }
  group(kinds: readonly (typeof ALL)[number][]): Op[] {
    const ops = Array.from({ length: 1 + this.#int(7) }, () =>
      this.#op(kinds[this.#int(kinds.length)] ?? "add"),
    );
    const ended = ops.findIndex((op) => op.op === "session.end");
    // What names a session that the group ended is refused for that.
    const isLate = (op: Op, i: number): boolean => ended !== -1 && i > ended && "session" in op;
    return ops.filter((op, i) => !isLate(op, i));
  }
  #op(kind: (typeof ALL)[number]): Op {
    const session = this.#sessions.at(-1) as string;
    const id = this.#int(2) ? `j${this.#int(8)}` : `f${this.#int(this.#ids + 1)}`;
    switch (kind) {
      case "add":
        return this.#add();
      case "settle":
        return this.#settle() ?? this.#add();
      case "cancel":
        return { op: "queue.cancel", queue: "q", id, reason: null };
      case "redrive":
        return { op: "queue.redrive", queue: "q", ids: this.#int(2) ? null : [id, id], max: 2 };
      case "end":
        return { op: "session.end", session };
      case "claim":
        return { op: "queue.claim", queue: "q", session, max: 1 + this.#int(3) };
      case "purge": {
        const states = ["ready", "scheduled", "blocked", "dead"] as const;
        const state = states[this.#int(4)] ?? "ready";
        return { op: "queue.purge", queue: "q", state, max: 1 + this.#int(3) };
      }
    }
  }
  #add(): QueueEnqueue {
    const mode = (["first", "last", "debounce"] as const)[this.#int(3)] ?? "first";
    const dedupe = this.#int(3) === 0 ? { key: `d${this.#int(3)}`, ttlMs: 60_000, mode } : null;
    const isFresh = this.#int(3) > 0;
    const id = isFresh ? `f${++this.#ids}` : `j${this.#int(8)}`;
    const key = this.#int(3) === 0 ? `k${this.#int(2)}` : null;
    const rest = { delayMs: this.#int(4) === 0 ? 1_000 : 0, priority: 0, key, dedupe, trace: null };
    return { op: "queue.enqueue", queue: "q", id, isFresh, payload: "", ...rest };
  }
  #settle(): Op | undefined {
    const session = this.#sessions.at(-1) as string;
    const held = [...this.#held].filter(([, each]) => each.session === session);
    const [seq, one] = held[this.#int(held.length)] ?? [];
    if (seq === undefined || one === undefined) return undefined;
    this.#held.delete(seq);
    const outcome = OUTCOMES[this.#int(OUTCOMES.length)] ?? "completed";
    const rest = { result: null, error: null, delayMs: this.#int(2) * 1_000, holdsKey: true };
    return { op: "queue.settle", queue: "q", session, seq, token: one.token, outcome, ...rest };
  }
}

function run(seed: number, kinds: readonly (typeof ALL)[number][], isExact: boolean): number {
  const twins = new Twins(seed);
  let groups = 0;
  for (; groups < 40; groups++) {
    if (groups % 3 === 0) twins.open();
    const ops = twins.group(kinds);
    const [whole, single] = twins.both(ops);
    const what = `seed ${seed}, group ${groups}: ${JSON.stringify(ops)}`;
    if (isExact) expect(whole, what).toBe(single);
    else if (whole) expect(single, what).toBe(true);
    // From here on the two have different pasts.
    if (whole !== single || !whole) break;
  }
  return groups;
}

const SEEDS = Number(process.env["FUZZ_SEEDS"] ?? 12) * 100;

test.each([
  ["exact", EXACT, true],
  ["never crossed", ALL, false],
] as const)("in mixed groups a queue's bound is %s", (_, kinds, isExact) => {
  let groups = 0;
  for (let seed = 1; seed <= SEEDS; seed++) groups += run(seed, kinds, isExact);
  expect(groups).toBeGreaterThan(SEEDS);
});
