/** What becomes of a key when processes die, are paused, or lose the store's replies. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { ManualClock } from "../../core/clock.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import type { Attempt } from "./attempt.ts";
import { idempotency } from "./definition.ts";
import type { Idempotency } from "./idempotency.ts";

const charges = idempotency("charges");
const SESSION_MS = 2_000;

let world: World;
let one: Process;
let two: Process;
let kv: Kv;
beforeEach(async () => {
  world = new World();
  one = await world.process({ sessionTtlMs: SESSION_MS });
  two = await world.process({ sessionTtlMs: SESSION_MS });
  kv = new Kv(two.store);
  await kv.put("charged", 0);
});
afterEach(() => world.close());

const callsOf = (process: Process): Idempotency => process.store.handle(charges);
const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => {
      throw new Error("Expected it to reject");
    },
    (error: unknown) => error,
  );
const never = (): never => {
  throw new Error("A handler ran that must not");
};
/** The charge that must happen once, in one group with the answer. */
const charge = (_: unknown, attempt: Attempt): Promise<never> =>
  attempt.complete(`by ${attempt.token}`, [kv.op.add("charged", 1)]) as Promise<never>;
const charged = async (): Promise<unknown> => (await kv.get("charged"))?.value;

/** A call whose handler has begun, and waits. */
async function held(process: Process): Promise<{
  readonly attempt: Attempt;
  readonly go: () => void;
  readonly output: Promise<unknown>;
}> {
  const gate = deferred();
  let attempt: Attempt | undefined;
  const output = callsOf(process).run("k", 1, async (input, its) => {
    attempt = its;
    await gate.promise;
    return charge(input, its);
  });
  output.catch(() => {});
  await world.pass(until(() => attempt !== undefined));
  return { attempt: attempt as Attempt, go: () => gate.resolve(undefined), output };
}

describe("another process", () => {
  test("waits for the answer and gets an equal one", async () => {
    const first = await held(one);
    const second = callsOf(two).tryRun("k", 1, never);
    await turns();
    first.go();
    const output = await world.pass(first.output);
    expect(await world.pass(second)).toEqual({ ok: true, output, isReplayed: true });
    expect(await charged()).toBe(1);
  });
  test("takes the key over within the session's TTL + 1 s once its holder has died", async () => {
    const { attempt } = await held(one);
    one.isCrashed = true;
    const second = callsOf(two).tryRun("k", 1, charge);
    await world.clock.advance(SESSION_MS - 100);
    expect(await charged()).toBe(0);
    await world.clock.advance(1_100);
    const outcome = await world.pass(second);
    expect(outcome).toMatchObject({ ok: true, isReplayed: false });
    const token = Number(String(outcome.ok && outcome.output).slice(3));
    expect(BigInt(token)).toBeGreaterThan(attempt.token);
    expect(await charged()).toBe(1);
  });
  test("of many that wait one takes over, and the others get its answer", async () => {
    await held(one);
    one.isCrashed = true;
    const waiting = Array.from({ length: 20 }, () => callsOf(two).tryRun("k", 1, charge));
    await world.clock.advance(SESSION_MS + 1_000);
    const outcomes = await world.pass(Promise.all(waiting));
    expect(outcomes.filter((each) => each.ok && !each.isReplayed)).toHaveLength(1);
    expect(await charged()).toBe(1);
  });
  test("has the key at once when its holder closes in order", async () => {
    const { attempt } = await held(one);
    const second = callsOf(two).run("k", 1, () => "mine");
    const closing = one.store.close();
    await world.clock.advance(30_000);
    await closing;
    expect(attempt.signal.aborted).toBe(true);
    expect(await world.pass(second)).toBe("mine");
  });
});

describe("a holder that was paused past its session", () => {
  test("commits nothing when it comes back: its answer and its ops are FENCED", async () => {
    const clock = new ManualClock(world.clock.wallMs());
    const paused = await world.process({ sessionTtlMs: SESSION_MS, clock });
    const first = held(paused);
    await until(() => paused.ops("kv.put").length === 1);
    const { attempt, go, output } = await first;
    await world.clock.advance(SESSION_MS + 1_000);
    const answer = await world.pass(callsOf(two).run("k", 1, charge));
    // Its own clocks stood still, so that it does not know.
    expect(attempt.signal.aborted).toBe(false);
    go();
    expect(await world.pass(caught(output))).toMatchObject({
      ...{ code: "FENCED", outcome: "not-applied" },
    });
    expect(await charged()).toBe(1);
    expect(await callsOf(two).run("k", 1, never)).toBe(answer);
    const closing = paused.store.close();
    await clock.advance(60_000);
    await closing;
  });
  test("commits nothing either when nobody took the key over", async () => {
    const clock = new ManualClock(world.clock.wallMs());
    const paused = await world.process({ sessionTtlMs: SESSION_MS, clock });
    const { go, output } = await held(paused);
    await world.clock.advance(SESSION_MS + 1_000);
    go();
    expect(await world.pass(caught(output))).toMatchObject({ code: "FENCED" });
    expect(await charged()).toBe(0);
    expect(await callsOf(two).get("k")).toBe(null);
    const closing = paused.store.close();
    await clock.advance(60_000);
    await closing;
  });
  test("whose clock went on knows at its session's deadline, and stops by itself", async () => {
    const { attempt, go, output } = await held(one);
    one.isDown = true;
    await world.clock.advance(SESSION_MS);
    expect(attempt.signal.reason).toMatchObject({ code: "LEASE_LOST" });
    expect(await caught(output)).toMatchObject({ code: "LEASE_LOST" });
    expect(await caught(attempt.complete("late"))).toMatchObject({ code: "LEASE_LOST" });
    one.isDown = false;
    go();
    await world.clock.advance(1_000);
    expect(await world.pass(callsOf(one).run("k", 1, charge))).toMatch(/^by /);
    expect(await charged()).toBe(1);
  });
});

describe("a reply that was lost", () => {
  test("of a claim: the claim is found, and its handler runs once", async () => {
    one.lostReplies = { op: "kv.put", count: 1 };
    expect(await world.pass(callsOf(one).tryRun("k", 1, charge))).toMatchObject({
      ...{ ok: true, isReplayed: false },
    });
    expect(await charged()).toBe(1);
  });
  test("of an answer: it is found, its ops are not done twice", async () => {
    const { go, output } = await held(one);
    one.lostReplies = { op: "kv.put", count: 2 };
    go();
    expect(await world.pass(output)).toMatch(/^by /);
    expect(await charged()).toBe(1);
  });
  test("of an answer gives a completion without results", async () => {
    const output = callsOf(one).run("k", 1, async (_, attempt) => {
      one.lostReplies = { op: "kv.put", count: 1 };
      const done = await attempt.complete("done", [kv.op.add("charged", 1)]);
      expect(done.results).toBe(null);
      return done;
    });
    expect(await world.pass(output)).toBe("done");
    expect(await charged()).toBe(1);
  });
  test("of a release: the key is free nevertheless", async () => {
    const output = callsOf(one).run("k", 1, () => {
      one.lostReplies = { op: "kv.delete", count: 1 };
      throw new Error("no");
    });
    await world.pass(caught(output));
    await world.clock.advance(100);
    expect(await world.pass(callsOf(two).run("k", 1, () => "mine"))).toBe("mine");
  });
});

describe("a store that is down", () => {
  test("while a handler runs costs nothing if it is back within the session", async () => {
    const { go, output } = await held(one);
    one.isDown = true;
    go();
    await world.clock.advance(500);
    one.isDown = false;
    expect(await world.pass(output)).toMatch(/^by /);
    expect(await charged()).toBe(1);
  });
  test("after an answer without a reply ends with the outcome unknown, 30 s from the session's end", async () => {
    const { attempt, go, output } = await held(one);
    const error = caught(output);
    one.lostReplies = { op: "kv.put", count: 1 };
    go();
    await until(() => one.lostReplies.count === 0);
    one.isDown = true;
    await world.clock.advance(SESSION_MS);
    expect(attempt.signal.reason).toMatchObject({ code: "LEASE_LOST" });
    await world.clock.advance(50_000);
    expect(await error).toMatchObject({ code: "UNAVAILABLE", outcome: "unknown" });
    one.isDown = false;
    expect(await world.pass(callsOf(two).run("k", 1, never))).toBe(`by ${attempt.token}`);
    expect(await charged()).toBe(1);
  });
  test("at the claim is UNAVAILABLE, and no handler ran", async () => {
    one.isDown = true;
    const error = caught(callsOf(one).run("k", 1, never));
    await world.clock.advance(10_000);
    expect(await error).toMatchObject({ code: "UNAVAILABLE", outcome: "not-applied" });
  });
  test("after a claim that was applied: what it left is found and deleted", async () => {
    // Its session first, so that only the claim is lost.
    await callsOf(one).run("other", 1, () => "");
    one.lostReplies = { op: "kv.put", count: 1_000 };
    const send = one.commit.bind(one);
    const error = caught(callsOf(one).run("k", 1, never));
    await until(() => one.lostReplies.count < 1_000);
    one.commit = async (groups) => {
      const isRenewal = groups.every(({ ops }) => ops.every(({ op }) => op.startsWith("session.")));
      if (isRenewal) return send(groups);
      one.isDown = true;
      return send(groups).finally(() => {
        one.isDown = false;
      });
    };
    await world.clock.advance(8_000);
    expect(await error).toMatchObject({ code: "UNAVAILABLE", outcome: "not-applied" });
    expect(await callsOf(two).get("k")).toMatchObject({ state: "in-flight" });
    one.commit = send;
    one.lostReplies.count = 0;
    await world.clock.advance(31_000);
    expect(await callsOf(two).get("k")).toBe(null);
  });
});

describe("a caller that leaves", () => {
  test("while its claim is on its way leaves no claim behind", async () => {
    await callsOf(one).run("other", 1, () => "");
    const gate = deferred();
    const send = one.commit.bind(one);
    one.commit = async (groups) => {
      await gate.promise;
      return send(groups);
    };
    const controller = new AbortController();
    const error = caught(callsOf(one).run("k", 1, never, { signal: controller.signal }));
    await turns();
    controller.abort("gone");
    expect(await error).toBe("gone");
    gate.resolve(undefined);
    await world.pass(until(() => one.ops("kv.delete").length === 1));
    await turns();
    expect(await callsOf(two).get("k")).toBe(null);
  });
});

describe("closing", () => {
  test("ends those who wait at once, lets a handler finish, and takes no new call", async () => {
    const { go, output } = await held(one);
    const waiting = caught(callsOf(one).run("k", 1, never));
    await turns();
    const closing = one.store.close();
    expect(await world.pass(waiting)).toMatchObject({ code: "CLOSED" });
    expect(await caught(callsOf(one).run("l", 1, never))).toMatchObject({ code: "CLOSED" });
    go();
    expect(await world.pass(output)).toMatch(/^by /);
    await world.pass(closing);
    expect(await charged()).toBe(1);
  });
  test("gives up a handler that does not stop, within drainMs", async () => {
    const process = await world.process({ sessionTtlMs: SESSION_MS, drainMs: 4_000 });
    const { attempt, output } = await held(process);
    const closing = process.store.close();
    await world.clock.advance(2_400);
    expect(attempt.signal.reason).toMatchObject({ code: "CLOSED" });
    await world.clock.advance(400);
    await world.pass(closing);
    expect(await caught(output)).toMatchObject({ code: "CLOSED" });
    expect(await world.pass(callsOf(two).run("k", 1, () => "mine"))).toBe("mine");
  });
});
