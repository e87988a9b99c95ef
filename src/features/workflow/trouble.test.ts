/** What comes between: cancels, events and lost answers at the instants that are hard to hit. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { permanent } from "../../core/retry.ts";
import { deferred } from "../../core/signal.ts";
import type { Group } from "../../store/ops.ts";
import { workflow } from "./definition.ts";

const text = unchecked<string>();
const order = workflow("order", {
  input: text,
  output: text,
  events: { note: text, other: text },
  retry: { attempts: 5, backoff: { initialMs: 400, factor: 2, jitter: "none" } },
  undoRetry: { attempts: 3, backoff: { initialMs: 10, jitter: "none" } },
});

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

/** True for a commit that appends a record of that key. */
function records(groups: readonly Group[], key: string): boolean {
  return groups.some(({ ops }) =>
    ops.some((op) => op.op === "runs.record" && op.records.some((each) => each.key === key)),
  );
}

describe("a cancel", () => {
  test.each(["sleep", "wait"])(
    "that comes while the instant of a %s is being recorded ends the waiting",
    async (kind) => {
      const orders = process.store.handle(order);
      const mark = kind === "sleep" ? "sleep:long" : "wait:note";
      const gate = deferred<void>();
      let isRecorded = false;
      process.onAnswer = (groups) => {
        if (!records(groups, mark)) return undefined;
        isRecorded = true;
        return gate.promise;
      };
      orders.work(async (_, run) => {
        if (kind === "sleep") await run.sleep("long", 86_400_000);
        else await run.waitFor("note", { timeoutMs: 86_400_000 });
        return "done";
      });
      const run = await orders.start("x", { id: "1" });
      await until(() => isRecorded);
      // It is known of before the answer comes.
      const other = await world.process();
      await other.store.handle(order).cancel("1");
      await turns(20);
      gate.resolve();
      await expect(world.pass(run.result())).rejects.toMatchObject({
        details: { status: "cancelled" },
      });
    },
  );

  test("that comes while a step's wait for its next attempt is being recorded ends that", async () => {
    const orders = process.store.handle(order);
    const gate = deferred<void>();
    let isRecorded = false;
    process.onAnswer = (groups) => {
      if (!records(groups, "retry:a")) return undefined;
      isRecorded = true;
      return gate.promise;
    };
    orders.work(async (_, run) => {
      const retry = { attempts: 2, backoff: { initialMs: 86_400_000, maxMs: 86_400_000 } };
      await run.step("a", () => Promise.reject(new Error("no")), { retry });
      return "done";
    });
    const run = await orders.start("x", { id: "1" });
    await until(() => isRecorded);
    const other = await world.process();
    await other.store.handle(order).cancel("1");
    await turns(20);
    gate.resolve();
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "cancelled" },
    });
  });
});

describe("without hints", () => {
  test("a cancel reaches a run whose step takes its time", async () => {
    const orders = process.store.handle(order);
    process.isDeaf = true;
    orders.work(async (_, run) => {
      await run.step("slow", ({ signal }) => {
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("stopped")));
        });
      });
      return "done";
    });
    const other = await world.process();
    const sender = other.store.handle(order);
    const run = await sender.start("x", { id: "1" });
    await world.clock.advance(2_000);
    await sender.cancel("1");
    await world.clock.advance(10_000);
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "cancelled" },
    });
  });
});

describe("attempts", () => {
  test("of a step are as many as its policy says, also where waits between them suspend the run", async () => {
    const orders = process.store.handle(order);
    const attempts: number[] = [];
    orders.work(async (_, run) => {
      await run
        .step("flaky", ({ attempt }) => {
          attempts.push(attempt);
          throw new Error("no");
        })
        .catch(() => undefined);
      return "done";
    });
    const run = await orders.start("x");
    await world.clock.advance(60_000);
    expect(await world.pass(run.result())).toBe("done");
    expect(attempts).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("events", () => {
  test("that come while others are being read reach the run", async () => {
    const orders = process.store.handle(order);
    const got: string[] = [];
    const gate = deferred<void>();
    orders.work(async (_, run) => {
      const slow = run.step("slow", () => gate.promise);
      got.push(await run.waitFor("note"));
      gate.resolve();
      await slow;
      return got.join();
    });
    const run = await orders.start("x", { id: "1" });
    await world.clock.advance(10);
    await turns(30);
    const other = await world.process();
    const sender = other.store.handle(order);
    const read = deferred<void>();
    let reads = 0;
    // The answer of the first read is on its way while the second event comes.
    process.onAfterRead = () => (++reads === 1 ? read.promise : undefined);
    await sender.send("1", "other", "first");
    await world.clock.advance(100);
    expect(reads).toBe(1);
    await sender.send("1", "note", "second");
    await world.clock.advance(100);
    read.resolve();
    expect(await world.pass(run.result())).toBe("second");
  });

  test("a read of events that fails ends nothing that is under way", async () => {
    const orders = process.store.handle(order);
    const gate = deferred<void>();
    let calls = 0;
    orders.work(async (_, run) => {
      await run.step("slow", () => {
        calls++;
        return gate.promise;
      });
      return "done";
    });
    const run = await orders.start("x", { id: "1" });
    await until(() => calls === 1);
    process.isReadDown = true;
    const other = await world.process();
    await other.store.handle(order).send("1", "note", "hello");
    await turns(20);
    process.isReadDown = false;
    await world.clock.advance(5_000);
    gate.resolve();
    expect(await world.pass(run.result())).toBe("done");
    expect(calls).toBe(1);
  });

  test("one that was there before the wait began is taken, however short its time-out", async () => {
    const orders = process.store.handle(order);
    const gate = deferred<void>();
    let isRecorded = false;
    process.onAnswer = (groups) => {
      if (!records(groups, "step:first")) return undefined;
      isRecorded = true;
      return gate.promise;
    };
    // Hints may be lost.
    process.isDeaf = true;
    orders.work(async (_, run) => {
      await run.step("first", () => 1);
      return JSON.stringify(await run.tryWaitFor("note", { timeoutMs: 0 }));
    });
    const run = await orders.start("x", { id: "1" });
    await world.clock.advance(2_000);
    await until(() => isRecorded);
    const other = await world.process();
    await other.store.handle(order).send("1", "note", "early");
    await world.clock.advance(10);
    gate.resolve();
    expect(await world.pass(run.result())).toBe('"early"');
  });
});

describe("side by side", () => {
  test("a sleep is over while a step still runs", async () => {
    const orders = process.store.handle(order);
    const gate = deferred<string>();
    orders.work(async (_, run) => {
      const late = run.sleep("limit", 1_000).then(() => "too late");
      const winner = await Promise.race([run.step("slow", () => gate.promise), late]);
      gate.resolve("done");
      return winner;
    });
    const run = await orders.start("x");
    expect(await world.pass(run.result())).toBe("too late");
  });
});

describe("patches", () => {
  test("are off in a run that already waits behind the place where the code asks", async () => {
    const orders = process.store.handle(order);
    const first = orders.work(async (_, run) => {
      await run.step("a", () => 1);
      await run.sleep("then", 1_000);
      return "old";
    });
    const run = await orders.start("x", { id: "before" });
    await turns(30);
    await first.close();
    orders.work(async (_, r) => {
      await r.step("a", () => 1);
      const isNew = await r.patched("more before the sleep");
      await r.sleep("then", 1_000);
      return String(isNew);
    });
    const after = await orders.start("x", { id: "after" });
    await world.clock.advance(5_000);
    expect(await world.pass(run.result())).toBe("false");
    expect(await world.pass(after.result())).toBe("true");
  });

  test("say the same wherever the code asks in one run", async () => {
    const orders = process.store.handle(order);
    const first = orders.work(async (_, run) => {
      await run.step("a", () => 1);
      await run.sleep("then", 1_000);
      await run.sleep("and then", 1_000);
      return "old";
    });
    const run = await orders.start("x", { id: "before" });
    await turns(30);
    await first.close();
    orders.work(async (_, r) => {
      const one = await r.patched("new");
      await r.step("a", () => 1);
      await r.sleep("then", 1_000);
      const two = await r.patched("new");
      await r.sleep("and then", 1_000);
      return `${one} ${two}`;
    });
    await world.clock.advance(5_000);
    expect(await world.pass(run.result())).toBe("false false");
  });
});

describe("undoing", () => {
  test("a crash as a run is parked leaves it to another process to be tried and parked once more", async () => {
    let tries = 0;
    const handler = async (_: string, run: import("./run.ts").Run<object>): Promise<string> => {
      const undo = () => {
        tries++;
        throw new Error("the bank is closed");
      };
      await run.step("a", () => 1, { undo });
      throw permanent("no");
    };
    const isSettle = (groups: readonly Group[]): boolean =>
      groups.some(({ ops }) => ops.some((op) => op.op === "queue.settle" && op.outcome === "dead"));
    process.onCommit = (groups) => {
      if (isSettle(groups)) process.isCrashed = true;
    };
    process.store.handle(order).work(handler);
    const run = await process.store.handle(order).start("x", { id: "1" });
    await world.clock.advance(1_000);
    await until(() => process.isCrashed);
    const other = await world.process();
    const orders = other.store.handle(order);
    orders.work(handler);
    await world.clock.advance(60_000);
    await expect(world.pass(orders.result(run.id))).rejects.toMatchObject({
      details: { status: "attention" },
    });
    // Nothing tells it from one that somebody had go on.
    expect(tries).toBe(6);
  });
});
