import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { ManualClock, systemClock } from "../core/clock.ts";
import { HoldfastError, type HoldfastErrorOptions } from "../core/errors.ts";
import { SeededRandom } from "../core/random.ts";
import { deferred, type Deferred } from "../core/signal.ts";
import { Batcher, type BatcherOptions, type Pending } from "./batcher.ts";
import type { Group, GroupResult } from "./ops.ts";

/**
 * A driver that answers when told; each group's result carries the group's own partition as its
 * message.
 */
class Script {
  readonly sent: { readonly groups: readonly Group[]; readonly reply: Deferred<void> }[] = [];
  readonly commit = async (groups: readonly Group[]): Promise<readonly GroupResult[]> => {
    const reply = deferred<void>();
    this.sent.push({ groups, reply });
    await reply.promise;
    return groups.map((group) => answerOf(group));
  };
  names(): string[] {
    return this.sent.map(({ groups }) => groups.map((group) => group.partition).join(""));
  }
  answer(index: number): void {
    this.sent[index]?.reply.resolve();
  }
  fail(
    index: number,
    options: HoldfastErrorOptions,
    code: "UNAVAILABLE" | "TOO_LARGE" = "UNAVAILABLE",
  ): void {
    this.sent[index]?.reply.reject(new HoldfastError(code, "scripted", options));
  }
}

function answerOf(group: Group): GroupResult {
  const refusal = { index: 0, code: "CONFLICT", message: group.partition } as const;
  if (group.partition.startsWith("!")) return { ok: false, refusal };
  return { ok: true, revision: group.partition.charCodeAt(0), results: [] };
}

function group(name: string, ops = 1): Group {
  return { partition: name, ops: Array.from({ length: ops }, () => ({ op: "kv.get", key: "k" })) };
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const turn = (): Promise<void> => systemClock.yield();

function make(options: Partial<BatcherOptions> = {}): {
  script: Script;
  batcher: Batcher;
  clock: ManualClock;
} {
  const script = new Script();
  const clock = new ManualClock();
  const random = new SeededRandom(1);
  const batcher = new Batcher(script.commit, { clock, random, commitsInFlight: 1, ...options });
  return { script, batcher, clock };
}

function submit(batcher: Batcher, names: string, bytes = 1): Pending[] {
  return names.split("").map((name) => batcher.submit(group(name), bytes));
}

describe("gathering", () => {
  test("a synchronous burst leaves together, at the end of the microtask", async () => {
    const { script, batcher } = make();
    submit(batcher, "abc");
    expect(script.sent).toHaveLength(0);
    await Promise.resolve();
    expect(script.names()).toEqual(["abc"]);
  });

  test("groups that arrive during a commit leave together as the next one", async () => {
    const { script, batcher } = make();
    submit(batcher, "a");
    await turn();
    submit(batcher, "bc");
    await turn();
    submit(batcher, "d");
    await turn();
    expect(script.names()).toEqual(["a"]);
    expect(batcher.waiting).toBe(3);
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "bcd"]);
  });

  test("callers who were just answered travel with the next commit, however deep their awaits", async () => {
    const { script, batcher } = make();
    const deep = async (depth: number): Promise<void> => {
      if (depth > 0) return deep(depth - 1);
      await batcher.submit(group("x"), 1).promise;
    };
    const caller = async (depth: number): Promise<void> => {
      await deep(depth);
      await deep(depth);
    };
    const callers = [0, 3, 9, 20].map((depth) => caller(depth));
    await turn();
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["xxxx", "xxxx"]);
    script.answer(1);
    await Promise.all(callers);
  });

  test("at most `commitsInFlight` commits are under way", async () => {
    const { script, batcher } = make({ commitsInFlight: 2 });
    for (const name of "abcd") {
      submit(batcher, name);
      await turn();
    }
    expect(script.names()).toEqual(["a", "b"]);
    expect(batcher.inFlight).toBe(2);
    script.answer(1);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "b", "cd"]);
    expect(batcher.inFlight).toBe(2);
  });

  test("an urgent group goes ahead of all that wait, and is never refused", async () => {
    const { script, batcher } = make({ limits: { groupsWaiting: 2 } });
    submit(batcher, "a");
    await turn();
    submit(batcher, "bc");
    expect(() => submit(batcher, "d")).toThrow(expect.objectContaining({ code: "OVERLOADED" }));
    batcher.submitUrgent(group("u"));
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "ubc"]);
  });
});

describe("bounds", () => {
  test("a commit carries at most `groupsPerCommit` groups", async () => {
    const { script, batcher } = make({ limits: { groupsPerCommit: 2 }, commitsInFlight: 9 });
    submit(batcher, "abcde");
    await turn();
    expect(script.names()).toEqual(["ab", "cd", "e"]);
  });

  test("a commit carries at most `opsPerCommit` ops; a larger group goes alone", async () => {
    const { script, batcher } = make({ limits: { opsPerCommit: 4 }, commitsInFlight: 9 });
    for (const [name, ops] of [
      ["a", 3],
      ["b", 1],
      ["c", 1],
      ["D", 9],
      ["e", 1],
    ] as const) {
      batcher.submit(group(name, ops), 1);
    }
    await turn();
    expect(script.names()).toEqual(["ab", "c", "D", "e"]);
  });

  test("a commit carries at most `commitBytes` bytes; a larger group goes alone", async () => {
    const { script, batcher } = make({ limits: { commitBytes: 10 }, commitsInFlight: 9 });
    submit(batcher, "a", 6);
    submit(batcher, "b", 4);
    submit(batcher, "c", 1);
    submit(batcher, "D", 50);
    submit(batcher, "e", 1);
    await turn();
    expect(script.names()).toEqual(["ab", "c", "D", "e"]);
  });

  test("when too many groups or bytes wait, more are refused: retryable, not applied", async () => {
    const { script, batcher } = make({ limits: { groupsWaiting: 3, bytesWaiting: 100 } });
    submit(batcher, "a");
    await turn();
    submit(batcher, "bcd");
    const refusal = { code: "OVERLOADED", retryable: true, outcome: "not-applied" };
    expect(() => submit(batcher, "e")).toThrow(expect.objectContaining(refusal));
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "bcd"]);
    submit(batcher, "f", 60);
    expect(() => submit(batcher, "g", 41)).toThrow(expect.objectContaining(refusal));
    expect(batcher.waiting).toBe(1);
  });
});

describe("results", () => {
  test("each group gets its own result; a refusal touches no other", async () => {
    const { script, batcher } = make();
    const [a, no, b] = submit(batcher, "a!b").map((pending) => pending.promise);
    await turn();
    script.answer(0);
    expect(await a).toEqual({ ok: true, revision: 97, results: [] });
    expect(await no).toMatchObject({ ok: false, refusal: { message: "!" } });
    expect(await b).toEqual({ ok: true, revision: 98, results: [] });
  });

  test("a commit that fails as a whole fails each of its groups with its outcome, and no other", async () => {
    const { script, batcher } = make();
    const first = submit(batcher, "ab").map((pending) => pending.promise);
    await turn();
    const second = submit(batcher, "c").map((pending) => pending.promise);
    script.fail(0, { retryable: true, outcome: "unknown" });
    for (const promise of first) {
      await expect(promise).rejects.toMatchObject({ code: "UNAVAILABLE", outcome: "unknown" });
    }
    await turn();
    script.answer(1);
    expect(await second[0]).toMatchObject({ ok: true });
  });

  test("an engine that answers too few groups is found out", async () => {
    const options = { clock: systemClock, random: new SeededRandom(1), commitsInFlight: 1 };
    const batcher = new Batcher(async () => [], options);
    await expect(batcher.submit(group("a"), 1).promise).rejects.toThrow("Invariant broken");
  });

  test("an engine that throws at once fails its groups only", async () => {
    let calls = 0;
    const options = { clock: systemClock, random: new SeededRandom(1), commitsInFlight: 1 };
    const batcher = new Batcher((groups) => {
      if (calls++ === 0) throw new Error("thrown, not rejected");
      return Promise.resolve(groups.map((each) => answerOf(each)));
    }, options);
    await expect(batcher.submit(group("a"), 1).promise).rejects.toThrow("thrown, not rejected");
    expect(await batcher.submit(group("b"), 1).promise).toMatchObject({ ok: true });
  });
});

describe("trying again", () => {
  const retryable = { retryable: true, outcome: "not-applied" } as const;

  test("a retryable failure that applied nothing is tried again, a bounded number of times", async () => {
    const { script, batcher, clock } = make();
    const [a] = submit(batcher, "a").map((pending) => pending.promise);
    const caught = (a as Promise<GroupResult>).catch((error: unknown) => error);
    for (let i = 0; i < 6; i++) {
      await clock.advance(500);
      expect(script.sent).toHaveLength(i + 1);
      script.fail(i, retryable);
    }
    await clock.advance(60_000);
    expect(script.sent).toHaveLength(6);
    expect(await caught).toMatchObject({ code: "UNAVAILABLE", outcome: "not-applied" });
  });

  test("no further try begins later than 5 s after the first", async () => {
    const { script, batcher, clock } = make();
    const [a] = submit(batcher, "a").map((pending) => pending.promise);
    const caught = (a as Promise<GroupResult>).catch((error: unknown) => error);
    await clock.advance(5_000);
    script.fail(0, retryable);
    expect(await caught).toMatchObject({ outcome: "not-applied" });
    expect(script.sent).toHaveLength(1);
  });

  test("a failure with unknown outcome is never tried again", async () => {
    const { script, batcher, clock } = make();
    const [a] = submit(batcher, "a").map((pending) => pending.promise);
    const caught = (a as Promise<GroupResult>).catch((error: unknown) => error);
    await turn();
    script.fail(0, { retryable: true, outcome: "unknown" });
    expect(await caught).toMatchObject({ outcome: "unknown" });
    await clock.advance(10_000);
    expect(script.sent).toHaveLength(1);
  });

  test("a group can be withdrawn between two tries", async () => {
    const { script, batcher, clock } = make();
    const [a, b] = submit(batcher, "ab");
    await turn();
    script.fail(0, retryable);
    await turn();
    expect(batcher.withdraw(a as Pending)).toBe(true);
    await clock.advance(1_000);
    expect(script.names()).toEqual(["ab", "b"]);
    script.answer(1);
    expect(await b?.promise).toMatchObject({ ok: true });
  });

  test("a group that an engine chokes on does not fail its neighbours", async () => {
    const sizes: number[] = [];
    const commit = async (groups: readonly Group[]): Promise<readonly GroupResult[]> => {
      sizes.push(groups.length);
      const hasPoison = groups.some((each) => each.partition === "p");
      if (hasPoison) throw new HoldfastError("TOO_LARGE", "poison", { outcome: "not-applied" });
      return groups.map((each) => answerOf(each));
    };
    const options = { clock: systemClock, random: new SeededRandom(1), commitsInFlight: 1 };
    const batcher = new Batcher(commit, options);
    const promises = submit(batcher, "abcdpfgh").map((pending) => pending.promise);
    const settled = await Promise.allSettled(promises);
    expect(settled.map(({ status }) => status === "fulfilled")).toEqual(
      "abcdpfgh".split("").map((name) => name !== "p"),
    );
    expect(sizes).toEqual([8, 4, 4, 2, 1, 1, 2]);
  });

  test("a closed store is not asked again in halves", async () => {
    let calls = 0;
    const commit = async (): Promise<readonly GroupResult[]> => {
      calls++;
      throw new HoldfastError("CLOSED", "closed", { outcome: "not-applied" });
    };
    const options = { clock: systemClock, random: new SeededRandom(1), commitsInFlight: 1 };
    const batcher = new Batcher(commit, options);
    const settled = await Promise.allSettled(submit(batcher, "abcd").map(({ promise }) => promise));
    expect(settled.every(({ status }) => status === "rejected")).toBe(true);
    expect(calls).toBe(1);
  });
});

describe("withdrawing, ticking, closing", () => {
  test("a waiting group is withdrawn and never leaves; one under way is not", async () => {
    const { script, batcher } = make();
    const [a] = submit(batcher, "a");
    await turn();
    const [b, c] = submit(batcher, "bc");
    expect(batcher.withdraw(a as Pending)).toBe(false);
    expect(batcher.withdraw(b as Pending)).toBe(true);
    expect(batcher.withdraw(b as Pending)).toBe(false);
    expect(batcher.waiting).toBe(1);
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "c"]);
    script.answer(1);
    expect(await c?.promise).toMatchObject({ ok: true });
  });

  test("groups that were withdrawn behind a slow commit are not kept", async () => {
    const { script, batcher } = make({ limits: { groupsWaiting: 2, bytesWaiting: 1_000 } });
    submit(batcher, "a");
    await turn();
    const [stays] = submit(batcher, "s");
    const refs: WeakRef<Group>[] = [];
    for (let i = 0; i < 20_000; i++) {
      const each = group("w");
      refs.push(new WeakRef(each));
      batcher.withdraw(batcher.submit(each, 500));
    }
    await turn();
    collect();
    await turn();
    expect(refs.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(10);
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "s"]);
    script.answer(1);
    expect(await stays?.promise).toMatchObject({ ok: true });
  });

  test("a commit is full again after withdrawals, and its bounds count what leaves", async () => {
    const { script, batcher } = make({ limits: { groupsPerCommit: 3, commitBytes: 10 } });
    submit(batcher, "a");
    await turn();
    const [b, , d] = submit(batcher, "bcdefg", 3);
    batcher.withdraw(b as Pending);
    batcher.withdraw(d as Pending);
    script.answer(0);
    await turn();
    await turn();
    expect(script.names()).toEqual(["a", "cef"]);
  });

  test("when all that waits was withdrawn, nothing leaves", async () => {
    const { script, batcher } = make();
    for (const pending of submit(batcher, "ab")) batcher.withdraw(pending);
    await turn();
    await turn();
    expect(script.sent).toHaveLength(0);
    await batcher.idle();
  });

  test("a tick is an empty commit, and is left out while a commit is under way", async () => {
    const { script, batcher, clock } = make();
    const tick = batcher.tick();
    expect(script.names()).toEqual([""]);
    script.answer(0);
    await tick;
    submit(batcher, "a");
    await clock.advance(1);
    await batcher.tick();
    expect(script.names()).toEqual(["", "a"]);
    expect(batcher.lastCommitMs).toBe(0);
  });

  test("a tick that fails harms nobody", async () => {
    const { script, batcher } = make();
    const tick = batcher.tick();
    script.fail(0, { retryable: true, outcome: "not-applied" });
    await tick;
    submit(batcher, "a");
    await turn();
    await turn();
    expect(script.names()).toEqual(["", "a"]);
  });

  test("idle resolves once nothing waits and nothing is under way", async () => {
    const { script, batcher } = make();
    submit(batcher, "a");
    await turn();
    submit(batcher, "b");
    let isIdle = false;
    const idle = batcher.idle().then(() => (isIdle = true));
    script.answer(0);
    await turn();
    await turn();
    expect(isIdle).toBe(false);
    script.answer(1);
    await idle;
  });

  test("abort says `unknown` of what is under way and `not-applied` of what waits", async () => {
    const { script, batcher } = make();
    const outcomeOf = (pending: Pending | undefined): Promise<unknown> =>
      (pending as Pending).promise.catch(
        (error: HoldfastError) => `${error.code} ${error.outcome}`,
      );
    const [a] = submit(batcher, "a");
    await turn();
    const [b] = submit(batcher, "b");
    const urgent = batcher.submitUrgent(group("u"));
    const outcomes = [a, b, urgent].map((pending) => outcomeOf(pending));
    batcher.abort();
    expect(await Promise.all(outcomes)).toEqual([
      "CLOSED unknown",
      "CLOSED not-applied",
      "CLOSED not-applied",
    ]);
    expect(batcher.waiting).toBe(0);
    script.answer(0);
    await turn();
    await turn();
    expect(script.sent).toHaveLength(1);
  });
});
