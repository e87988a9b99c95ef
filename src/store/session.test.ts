import { describe, expect, test } from "vitest";
import { ManualClock } from "../core/clock.ts";
import { HoldfastError, LeaseLostError } from "../core/errors.ts";
import { deferred, type Deferred } from "../core/signal.ts";
import { MemoryState, memory } from "../engines/memory/index.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import type { Committed } from "./group.ts";
import type { Op, Renewed } from "./ops.ts";
import { holderMs, Session, type SessionHost } from "./session.ts";
import { Store } from "./store.ts";

const TTL = 9_000;
const VALID = holderMs(TTL);

/** A store that answers renewals at once, late, wrongly or not at all, as told. */
class Host implements SessionHost {
  readonly clock = new ManualClock();
  readonly sent: { readonly atMs: number; readonly partition: string; readonly op: Op }[] = [];
  readonly held: Deferred<void>[] = [];
  mode: "answer" | "fail" | "refuse" | "hold" = "answer";
  cancels: Renewed["cancels"] = [];
  over = 0;

  commitUrgent<const O extends readonly Op[]>(partition: string, ops: O): Promise<Committed<O>> {
    return this.#commit(partition, ops[0] as Op) as Promise<Committed<O>>;
  }
  async #commit(partition: string, op: Op): Promise<unknown> {
    this.sent.push({ atMs: this.clock.monotonicMs(), partition, op });
    if (this.mode === "fail")
      throw new HoldfastError("UNAVAILABLE", "scripted", { retryable: true });
    if (this.mode === "hold") {
      const reply = deferred<void>();
      this.held.push(reply);
      await reply.promise;
    }
    if (this.mode === "refuse") {
      return { ok: false, refusal: { index: 0, code: "LEASE_LOST", message: "it has ended" } };
    }
    const { cancels } = this;
    return { ok: true, revision: 1, results: [op.op === "session.renew" ? { cancels } : null] };
  }
  onSessionOver(): void {
    this.over++;
  }
  renewals(): number[] {
    return this.sent.filter(({ op }) => op.op === "session.renew").map(({ atMs }) => atMs);
  }
}

async function open(
  host = new Host(),
): Promise<{ host: Host; clock: ManualClock; session: Session }> {
  const session = new Session(host, { id: "s1", ttlMs: TTL, label: "test" });
  await session.openIn("p");
  return { host, clock: host.clock, session };
}

describe("opening", () => {
  test("under an aborted signal sends nothing, and leaves no failure unhandled", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    const listeners = process.rawListeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", note);
    const { host, clock, session } = await open();
    host.mode = "fail";
    const opening = session.openIn("q", { signal: AbortSignal.abort("no") });
    expect(await opening.catch((error: unknown) => error)).toBe("no");
    await expect(session.openIn("q", { timeoutMs: -1 })).rejects.toBeInstanceOf(RangeError);
    await clock.advance(0);
    await clock.yield();
    process.off("unhandledRejection", note);
    for (const each of listeners) process.on("unhandledRejection", each as () => void);
    expect(unhandled).toEqual([]);
    expect(host.sent).toHaveLength(1);
  });
});

describe("renewal", () => {
  test("is sent at a third of the TTL, again and again", async () => {
    const { host, clock, session } = await open();
    await clock.advance(TTL * 3);
    const gaps = host.renewals().map((atMs, i, all) => atMs - (all[i - 1] ?? 0));
    expect(gaps.length).toBeGreaterThanOrEqual(8);
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(TTL / 3);
      expect(gap).toBeLessThanOrEqual(TTL / 3 + 500);
    }
    expect(session.isOver).toBe(false);
  });

  test("covers every partition the session was opened in, by one heartbeat", async () => {
    const { host, clock, session } = await open();
    await session.openIn("q");
    await session.openIn("q");
    await clock.advance(TTL / 3 + 500);
    expect(host.sent.map(({ partition, op }) => `${op.op} ${partition}`)).toEqual([
      "session.open p",
      "session.open q",
      "session.renew p",
      "session.renew q",
    ]);
    expect(clock.pending).toBe(1);
  });

  test("that fails is not loss: it is tried again until the deadline", async () => {
    const { host, clock, session } = await open();
    host.mode = "fail";
    await clock.advance(TTL / 2);
    expect(session.isOver).toBe(false);
    expect(host.renewals().length).toBeGreaterThan(2);
    host.mode = "answer";
    await clock.advance(TTL * 2);
    expect(session.isOver).toBe(false);
  });

  test("that always fails ends in loss at the deadline, and not before", async () => {
    const { host, clock, session } = await open();
    host.mode = "fail";
    await clock.advance(VALID - 1);
    expect(session.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(session.signal.aborted).toBe(true);
  });

  test("refused with LEASE_LOST is loss at once", async () => {
    const { host, clock, session } = await open();
    host.mode = "refuse";
    await clock.advance(TTL / 3 + 500);
    expect(session.signal.aborted).toBe(true);
    expect(session.signal.reason).toBeInstanceOf(LeaseLostError);
    const sent = host.sent.length;
    await clock.advance(TTL * 2);
    expect(host.sent).toHaveLength(sent);
  });

  test("brings asked cancels to the listeners", async () => {
    const { host, clock, session } = await open();
    host.cancels = [{ queue: "q", seq: 7, token: 3 }];
    const heard: unknown[] = [];
    const stop = session.onCancels((asked) => heard.push(asked));
    await session.renew();
    expect(heard).toEqual([{ partition: "p", cancels: host.cancels }]);
    stop();
    await clock.advance(TTL / 2);
    expect(heard).toHaveLength(1);
  });
});

describe("the deadline", () => {
  test("counts from before the request was sent, less the margin", async () => {
    const { host, clock, session } = await open();
    expect(session.remainingMs()).toBe(VALID);
    expect(VALID).toBe(TTL - TTL * 0.02 - 10);
    host.mode = "hold";
    await clock.advance(TTL / 3);
    const sentMs = host.renewals()[0] as number;
    await clock.advance(2_000);
    host.held[0]?.resolve();
    await clock.advance(0);
    expect(session.remainingMs()).toBe(Math.floor(sentMs + VALID - clock.monotonicMs()));
  });

  test("is not moved by a reply to an older request that comes late", async () => {
    const { host, clock, session } = await open();
    host.mode = "hold";
    const older = session.renew();
    await clock.advance(1_000);
    const newer = session.renew();
    host.held[1]?.resolve();
    await newer;
    const leftMs = session.remainingMs();
    host.held[0]?.resolve();
    await older;
    expect(session.remainingMs()).toBe(leftMs);
  });

  test("that has passed is loss, though a late reply says that the renewal held", async () => {
    const { host, clock, session } = await open();
    host.mode = "hold";
    await clock.advance(TTL / 3 + 500);
    const sentMs = host.renewals()[0] as number;
    clock.block(VALID - clock.monotonicMs());
    host.held[0]?.resolve();
    await clock.advance(0);
    // By the reply alone it would still be held.
    expect(sentMs + VALID).toBeGreaterThan(clock.monotonicMs());
    expect(session.signal.aborted).toBe(true);
  });

  test("an answer to the opening later than its TTL is no lease", async () => {
    const host = new Host();
    host.mode = "hold";
    const session = new Session(host, { id: "s1", ttlMs: TTL, label: "test" });
    const opening = session.openIn("p");
    await host.clock.advance(TTL);
    host.held[0]?.resolve();
    await expect(opening).rejects.toBeInstanceOf(LeaseLostError);
  });

  test("a blocked main loop loses the session, and no renewal is sent after it", async () => {
    const { host, clock, session } = await open();
    const sent = host.sent.length;
    clock.block(TTL);
    await clock.advance(0);
    expect(() => session.check()).toThrow(LeaseLostError);
    await clock.advance(TTL);
    expect(host.sent).toHaveLength(sent);
  });

  test("a blocked main loop is found out by use, before any timer fires", async () => {
    const { clock, session } = await open();
    clock.block(VALID);
    expect(session.signal.aborted).toBe(false);
    expect(() => session.check()).toThrow(LeaseLostError);
    expect(session.signal.aborted).toBe(true);
    expect(session.remainingMs()).toBe(0);
  });

  test("a main loop blocked for less than that loses nothing", async () => {
    const { clock, session } = await open();
    clock.block(VALID - 1_000);
    await clock.advance(TTL);
    expect(session.isOver).toBe(false);
  });

  test("a suspended machine loses the session by the wall clock, as soon as it runs again", async () => {
    const { clock, session } = await open();
    clock.suspend(3_600_000);
    expect(clock.monotonicMs()).toBe(0);
    expect(session.signal.aborted).toBe(false);
    await clock.advance(500);
    expect(session.signal.aborted).toBe(true);
  });

  test("a suspended machine with a wall clock set back meanwhile loses it by the monotonic clock", async () => {
    const { host, clock, session } = await open();
    host.mode = "fail";
    clock.suspend(3_600_000);
    clock.jumpWall(-3_600_000);
    expect(session.isOver).toBe(false);
    await clock.advance(VALID);
    expect(session.signal.aborted).toBe(true);
  });

  test("a wall clock that jumps forward by more than the time left ends it", async () => {
    const { clock, session } = await open();
    clock.jumpWall(VALID - 1);
    expect(session.isOver).toBe(false);
    clock.jumpWall(1);
    expect(session.isOver).toBe(true);
  });

  test("a wall clock that jumps back costs nothing, and does not lengthen it", async () => {
    const { host, clock, session } = await open();
    clock.jumpWall(-86_400_000);
    expect(session.remainingMs()).toBe(VALID);
    await clock.advance(TTL);
    expect(session.isOver).toBe(false);
    host.mode = "fail";
    await clock.advance(TTL);
    expect(session.isOver).toBe(true);
  });

  test("a wall clock that was set back leaves the monotonic clock to end it in time", async () => {
    const { host, clock, session } = await open();
    host.mode = "fail";
    clock.jumpWall(-86_400_000);
    await clock.advance(VALID - 1);
    expect(session.isOver).toBe(false);
    await clock.advance(1);
    expect(session.isOver).toBe(true);
  });

  test("after the wall clock was set back, a suspend is still found out by it", async () => {
    const { clock, session } = await open();
    clock.jumpWall(-86_400_000);
    await clock.advance(TTL / 2);
    clock.suspend(TTL);
    expect(session.isOver).toBe(true);
  });
});

describe("loss and end", () => {
  test("loss aborts the signal first and is reported then", async () => {
    const { clock, session } = await open();
    const order: string[] = [];
    session.signal.addEventListener("abort", () => order.push("signal"));
    void session.lost.then((error) => order.push(error.code));
    clock.block(TTL);
    await clock.advance(1);
    expect(order).toEqual(["signal", "LEASE_LOST"]);
    expect(session.signal.reason).toBe(await session.lost);
  });

  test("nothing brings a lost session back", async () => {
    const { host, clock, session } = await open();
    clock.block(TTL);
    expect(session.isOver).toBe(true);
    await expect(session.openIn("p")).rejects.toBeInstanceOf(LeaseLostError);
    await expect(session.openIn("q")).rejects.toBeInstanceOf(LeaseLostError);
    await session.renew();
    await session.close();
    expect(host.sent).toHaveLength(1);
    expect(host.over).toBe(1);
  });

  test("close aborts the signal, then ends it in every partition; later use is LEASE_LOST", async () => {
    const { host, clock, session } = await open();
    await session.openIn("q");
    await session.close();
    expect(session.signal.reason).toMatchObject({ code: "CLOSED" });
    const ended = host.sent.filter(({ op }) => op.op === "session.end");
    expect(ended.map(({ partition }) => partition)).toEqual(["p", "q"]);
    expect(() => session.check()).toThrow(LeaseLostError);
    await clock.advance(TTL * 2);
    expect(host.sent).toHaveLength(4);
    expect(clock.pending).toBe(0);
  });

  test("close while it is being opened ends what the opening made", async () => {
    const host = new Host();
    host.mode = "hold";
    const session = new Session(host, { id: "s1", ttlMs: TTL, label: "test" });
    const opening = session.openIn("p").catch((error: unknown) => error);
    const closing = session.close();
    host.mode = "answer";
    host.held[0]?.resolve();
    expect(await opening).toBeInstanceOf(LeaseLostError);
    await closing;
    expect(host.sent.map(({ op }) => op.op)).toEqual(["session.open", "session.end"]);
  });

  test("one caller's abort of the opening ends its own wait only", async () => {
    const host = new Host();
    host.mode = "hold";
    const session = new Session(host, { id: "s1", ttlMs: TTL, label: "test" });
    const controller = new AbortController();
    const first = session
      .openIn("p", { signal: controller.signal })
      .catch((error: unknown) => error);
    const second = session.openIn("p");
    controller.abort("enough");
    expect(await first).toBe("enough");
    host.held[0]?.resolve();
    await second;
    expect(host.sent).toHaveLength(1);
    expect(session.isOpenIn("p")).toBe(true);
  });
});

describe("on a store", () => {
  async function two(): Promise<{
    clock: ManualClock;
    state: MemoryState;
    stores: [Store, Store];
  }> {
    const clock = new ManualClock();
    const state = new MemoryState({ clock });
    const one = (): Promise<Store> => Store.open(memory({ state }), { clock, sessionTtlMs: TTL });
    return { clock, state, stores: [await one(), await one()] };
  }

  test("what a dead process held is taken over by another, under a greater token", async () => {
    const { clock, stores } = await two();
    const [dead, alive] = stores.map((store) => new Queue(store, "jobs")) as [Queue, Queue];
    await dead.add({ payload: "x" });
    const session = await stores[0].session();
    const { jobs } = await dead.claim(session, 1);
    const heir = await stores[1].session();
    expect((await alive.claim(heir, 1)).jobs).toEqual([]);
    clock.block(TTL);
    expect(session.isOver).toBe(true);
    const again = await stores[1].session();
    expect(again).not.toBe(heir);
    const taken = await alive.claim(again, 1);
    expect(taken.jobs[0]).toMatchObject({ payload: "x", attempt: 1, delivery: 2 });
    expect(taken.jobs[0]?.token).toBeGreaterThan(jobs[0]?.token as number);
    await expect(
      dead.settle(session, jobs[0] as never, { outcome: "completed" }),
    ).rejects.toMatchObject({ code: "LEASE_LOST" });
  });

  test("after loss `session()` opens another session, with another id", async () => {
    const { clock, stores } = await two();
    const first = await stores[0].session();
    expect(await stores[0].session()).toBe(first);
    clock.block(TTL);
    await clock.advance(1);
    expect(first.signal.aborted).toBe(true);
    const second = await stores[0].session();
    expect(second.id).not.toBe(first.id);
    expect(first.isOver).toBe(true);
    expect(second.isOver).toBe(false);
  });

  test("the holder gives up before the store gives its keys to others", async () => {
    const { clock, stores } = await two();
    const session = await stores[0].session();
    const kv = new Kv(stores[0]);
    await kv.put("lease", "mine", { session });
    clock.block(VALID);
    expect(session.isOver).toBe(true);
    expect(await kv.get("lease")).not.toBeNull();
    clock.block(TTL - VALID);
    expect(await kv.get("lease")).toBeNull();
  });

  test("closing the store ends the session: its jobs and keys are free at once", async () => {
    const { stores } = await two();
    const session = await stores[0].session();
    await new Kv(stores[0]).put("lease", "mine", { session });
    const queue = new Queue(stores[0], "jobs");
    await queue.add({ payload: "x" });
    await queue.claim(session, 1);
    await stores[0].close();
    expect(session.signal.reason).toMatchObject({ code: "CLOSED" });
    expect(await new Kv(stores[1]).get("lease")).toBeNull();
    const taken = await new Queue(stores[1], "jobs").claim(await stores[1].session(), 1);
    expect(taken.jobs[0]).toMatchObject({ attempt: 1, delivery: 1 });
  });
});
