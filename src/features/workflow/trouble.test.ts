/** What comes between: cancels, events and lost answers at the instants that are hard to hit. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { permanent } from "../../core/retry.ts";
import { deferred } from "../../core/signal.ts";
import type { Group } from "../../store/ops.ts";
import { workflow } from "./definition.ts";
import type { Run } from "./run.ts";

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

describe("an instant", () => {
  test("is that of its record, however late the answer comes", async () => {
    const orders = process.store.handle(order);
    process.lostReplies = { op: "runs.record", count: 1 };
    let isRecorded = false;
    process.onAnswer = (groups) => {
      if (!isRecorded && records(groups, "sleep:nap")) process.isDown = isRecorded = true;
    };
    orders.work(async (_, run) => {
      const nap = run.sleep("nap", 10_000);
      await run.step("slow", () => nap);
      return "done";
    });
    const run = await orders.start("x");
    await world.clock.advance(1_000);
    expect(isRecorded).toBe(true);
    process.isDown = false;
    await world.clock.advance(14_000);
    expect(await world.pass(run.result())).toBe("done");
    const entries = await orders.history(run.id);
    const [mark, woke] = entries?.filter(({ name }) => name === "nap") ?? [];
    expect((woke?.atMs ?? 0) - (mark?.dueMs ?? 0)).toBeLessThan(500);
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

  test("that are read just as the run is to be suspended are not slept through", async () => {
    const orders = process.store.handle(order);
    const run = await orders.start("x", { id: "1" });
    await orders.send("1", "note", "first");
    const recorded = deferred<void>();
    let isRecorded = false;
    process.onAnswer = (groups) => {
      if (!records(groups, "got:note")) return undefined;
      isRecorded = true;
      return recorded.promise;
    };
    const held = deferred<string>();
    orders.work(async (input, r) => {
      if (input === "held") return r.step("hold", () => held.promise);
      return (await Promise.all([r.waitFor("note"), r.waitFor("note")])).join();
    });
    await orders.start("held", { id: "2" });
    await world.clock.advance(100);
    expect(isRecorded).toBe(true);
    const reads = [deferred<void>(), deferred<void>()];
    let count = 0;
    process.onAfterRead = ([first]) =>
      first?.read === "runs.journal" && first.seq === 1 ? reads[count++]?.promise : undefined;
    const other = await world.process();
    const sender = other.store.handle(order);
    await sender.send("1", "note", "second");
    await world.clock.advance(100);
    // The hint is for the queue: there is a second read when the first is answered.
    await sender.send("2", "note", "for another");
    await world.clock.advance(100);
    expect(count).toBe(1);
    reads[0]?.resolve();
    await until(() => count === 2);
    recorded.resolve();
    await world.clock.advance(100);
    reads[1]?.resolve();
    expect(await world.pass(run.result())).toBe("first,second");
    held.resolve("done");
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
  test("a replay goes on in the order of the record, however deep the code waits", async () => {
    const orders = process.store.handle(order);
    const all: string[][] = [];
    const gate = deferred<void>();
    orders.work(async (_, run) => {
      const seen: string[] = [];
      all.push(seen);
      await Promise.all([
        run.tryWaitFor("note", { timeoutMs: 0 }).then(() => seen.push("wait")),
        run.step("step", () => gate.promise).then(() => seen.push("step")),
      ]);
      await run.sleep("then", 1_000);
      return seen.join();
    });
    const run = await orders.start("x");
    await world.clock.advance(100);
    gate.resolve();
    expect(await world.pass(run.result())).toBe("wait,step");
    expect(all).toEqual([
      ["wait", "step"],
      ["wait", "step"],
    ]);
  });

  test("a step that the handler left behind is over before its run is, whoever goes on with it", async () => {
    const handler = (who: Promise<string>) => async (_: string, run: Run<object>) => {
      void run.sleep("far", 86_400_000);
      void run.step("slow", () => who);
      await run.step("first", () => 1);
      return "done";
    };
    process.store.handle(order).work(handler(new Promise(() => {})));
    const run = await process.store.handle(order).start("x", { id: "1" });
    await world.clock.advance(100);
    process.isCrashed = true;
    const other = await world.process();
    const orders = other.store.handle(order);
    const gate = deferred<string>();
    orders.work(handler(gate.promise));
    await world.clock.advance(60_000);
    expect(await orders.get("1")).toMatchObject({ status: "running" });
    gate.resolve("slow");
    expect(await world.pass(orders.result(run.id))).toBe("done");
    const steps = (await orders.history("1"))?.filter(({ kind }) => kind === "step");
    expect(steps?.map(({ name }) => name)).toEqual(["first", "slow"]);
  });

  test("nothing of a run begins once it is over, whatever was being read", async () => {
    const orders = process.store.handle(order);
    const calls: string[] = [];
    const gate = deferred<void>();
    const read = deferred<void>();
    const backoff = { initialMs: 1_500, jitter: "none" } as const;
    orders.work(async (_, run) => {
      const loser = run.step(
        "loser",
        () => {
          calls.push("loser");
          throw new Error("not yet");
        },
        { retry: { attempts: 3, backoff } },
      );
      loser.catch(() => {});
      await run.step("last", () => gate.promise);
      return "done";
    });
    const run = await orders.start("x", { id: "1" });
    await world.clock.advance(100);
    process.onAfterRead = ([first]) => (first?.read === "runs.journal" ? read.promise : undefined);
    // The wait is over, as the answer that is on its way will say.
    await world.clock.advance(2_000);
    gate.resolve();
    expect(await world.pass(run.result())).toBe("done");
    read.resolve();
    await world.clock.advance(2_000);
    expect(calls).toEqual(["loser"]);
  });

  test("nothing new begins once the handler has failed", async () => {
    const orders = process.store.handle(order);
    const calls: string[] = [];
    const gate = deferred<void>();
    // The second ends while the first's failure is being recorded.
    process.onAnswer = async (groups) => {
      if (!records(groups, "step:a")) return;
      gate.resolve();
      await turns(20);
    };
    orders.work(async (_, run) => {
      const one = run.step("a", () => Promise.reject(permanent("no")));
      const two = run
        .step("b", () => gate.promise)
        .then(() => run.step("c", () => calls.push("c")));
      two.catch(() => calls.push("refused"));
      await Promise.all([one, two]);
      return "done";
    });
    const run = await orders.start("x");
    await expect(world.pass(run.result())).rejects.toMatchObject({ details: { error: "no" } });
    expect(calls).not.toContain("c");
  });

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
    const handler = async (_: string, run: Run<object>): Promise<string> => {
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
