import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { permanent } from "../../core/retry.ts";
import { deferred } from "../../core/signal.ts";
import { workflow } from "./definition.ts";
import type { Run } from "./run.ts";

const text = unchecked<string>();
const order = workflow("order", {
  input: text,
  output: text,
  events: { approved: unchecked<{ by: string }>(), note: text },
  retry: { attempts: 3, backoff: { initialMs: 10, maxMs: 20, jitter: "none" } },
  undoRetry: { attempts: 3, backoff: { initialMs: 10, jitter: "none" } },
});

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("steps", () => {
  test("run in order, once, and give their values; the result is what the handler returned", async () => {
    const orders = process.store.handle(order);
    const calls: string[] = [];
    orders.work(async (input, run) => {
      const a = await run.step("a", () => {
        calls.push("a");
        return `${input}-a`;
      });
      const b = await run.step("b", async (attempt) => {
        calls.push("b");
        expect(attempt).toMatchObject({ id: "order/1/b", key: "1", attempt: 1 });
        return `${a}-b`;
      });
      expect(run.id).toBe("1");
      return b;
    });
    const run = await orders.start("x", { id: "1" });
    expect(run).toMatchObject({ id: "1", status: "added" });
    expect(await run.result()).toBe("x-a-b");
    expect(calls).toEqual(["a", "b"]);
    expect(await orders.start("x", { id: "1" })).toMatchObject({ status: "exists" });
    await expect(orders.start("y", { id: "1" })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect(await orders.get("1")).toMatchObject({
      status: "completed",
      output: "x-a-b",
      undone: [],
    });
    const history = await orders.history("1");
    expect(history?.map(({ kind, name }) => `${kind} ${name}`)).toEqual(["step a", "step b"]);
  });

  test("a process that dies between two steps leaves the second to another, which does not repeat the first", async () => {
    const calls: string[] = [];
    const stuck = deferred<void>();
    const handler =
      (who: string, gate: Promise<void>) =>
      async (_: string, run: { step<T>(name: string, work: () => T | Promise<T>): Promise<T> }) => {
        const first = await run.step("first", () => {
          calls.push(`${who} first`);
          return who;
        });
        await run.step("second", async () => {
          calls.push(`${who} second`);
          await gate;
        });
        return `${first} then ${who}`;
      };
    process.store.handle(order).work(handler("one", stuck.promise));
    const run = await process.store.handle(order).start("x");
    await until(() => calls.includes("one second"));
    process.isCrashed = true;
    const other = await world.process();
    const orders = other.store.handle(order);
    orders.work(handler("two", Promise.resolve()));
    await world.clock.advance(60_000);
    expect(await world.pass(orders.result(run.id))).toBe("one then two");
    expect(calls).toEqual(["one first", "one second", "two second"]);
  });

  test("a failing step is tried again as its policy says; the last failure is thrown, the same at each replay", async () => {
    const orders = process.store.handle(order);
    let tries = 0;
    const seen: unknown[] = [];
    orders.work(async (_, run) => {
      try {
        await run.step("flaky", () => {
          tries++;
          throw Object.assign(new RangeError(`no ${tries}`));
        });
      } catch (error) {
        seen.push([(error as Error).name, (error as Error).message]);
      }
      await run.sleep("a while", 5_000);
      return "recovered";
    });
    const run = await orders.start("x");
    await world.clock.advance(6_000);
    expect(await world.pass(orders.result(run.id))).toBe("recovered");
    expect(tries).toBe(3);
    expect(seen).toEqual([
      ["RangeError", "no 3"],
      ["RangeError", "no 3"],
    ]);
  });

  test("permanent failures are not tried again, and a step has its own time-out", async () => {
    const orders = process.store.handle(order);
    let tries = 0;
    orders.work(async (_, run) => {
      await run
        .step("never", () => {
          tries++;
          throw permanent("no such customer");
        })
        .catch((error: unknown) => expect((error as Error).message).toBe("no such customer"));
      const aborted: boolean[] = [];
      await run
        .step(
          "slow",
          async ({ signal }) => {
            await new Promise((resolve) => signal.addEventListener("abort", resolve));
            aborted.push(signal.aborted);
          },
          { timeoutMs: 100, retry: { attempts: 1 } },
        )
        .catch((error: unknown) => expect(error).toMatchObject({ code: "TIMEOUT" }));
      return `${tries} ${aborted.join()}`;
    });
    const run = await orders.start("x");
    expect(await world.pass(run.result())).toBe("1 true");
  });

  test("parallel steps run side by side, and a replay gives their values in the order in which they ended", async () => {
    const orders = process.store.handle(order);
    const ends: string[][] = [];
    const gates = { a: deferred<void>(), b: deferred<void>() };
    orders.work(async (_, run) => {
      const ended: string[] = [];
      ends.push(ended);
      const one = async (name: "a" | "b") => {
        await run.step(name, () => gates[name].promise);
        ended.push(name);
        await run.step(`${name} again`, () => {});
        ended.push(`${name} again`);
      };
      await Promise.all([one("a"), one("b")]);
      await run.sleep("then", 1_000);
      return ended.join();
    });
    const run = await orders.start("x");
    await until(() => ends.length === 1);
    gates.b.resolve();
    await turns(20);
    gates.a.resolve();
    expect(await world.pass(run.result())).toBe("b,b again,a,a again");
    expect(ends.at(-1)).toEqual(ends[0]);
    expect(ends.length).toBe(2);
  });

  test("a name that is used again counts on, and two steps of one name side by side are refused", async () => {
    const orders = process.store.handle(order);
    orders.work(async (_, run) => {
      for (let i = 0; i < 3; i++) await run.step("again", () => i);
      const first = run.step("same", () => 1);
      const second = (async () => run.step("same", () => 2))();
      await expect(second).rejects.toThrow("a name of its own");
      await first;
      return "done";
    });
    const run = await orders.start("x", { id: "1" });
    expect(await world.pass(run.result())).toBe("done");
    const names = (await orders.history("1"))?.map(({ name }) => name);
    expect(names).toEqual(["again", "again#2", "again#3", "same"]);
  });

  test("a value that can't be recorded fails the step", async () => {
    const orders = process.store.handle(order);
    orders.work(async (_, run) => {
      const failures: unknown[] = [];
      for (const value of [10n, "x".repeat(1_100_000)]) {
        await run.step("bad", () => value).catch((error: unknown) => failures.push(error));
      }
      return failures.map((error) => (error as { code: string }).code).join();
    });
    expect(await world.pass((await orders.start("x")).result())).toBe("INVALID_DATA,TOO_LARGE");
  });
});

describe("waiting", () => {
  test("a sleeping run is nobody's, and goes on when it is due by the store's clock", async () => {
    const orders = process.store.handle(order);
    let starts = 0;
    const worker = orders.work(async (_, run) => {
      starts++;
      await run.sleep("an hour", 3_600_000);
      return "slept";
    });
    const run = await orders.start("x", { id: "1" });
    await until(() => worker.stats.running === 0 && starts === 1);
    await turns();
    const info = await orders.get("1");
    expect(info).toMatchObject({ status: "waiting" });
    expect((info?.dueMs ?? 0) - (info?.createdMs ?? 0)).toBe(3_600_000);
    await world.clock.advance(3_599_000);
    expect(await orders.get("1")).toMatchObject({ status: "waiting" });
    await world.clock.advance(1_000);
    expect(await world.pass(run.result())).toBe("slept");
    expect(starts).toBe(2);
  });

  test("events are kept until they are waited for, each is taken once, in the order of sending", async () => {
    const orders = process.store.handle(order);
    const run = await orders.start("x", { id: "1", delayMs: 1_000 });
    await orders.send("1", "note", "first");
    await orders.send("1", "note", "second", { id: "s" });
    await orders.send("1", "note", "second", { id: "s" });
    orders.work(async (_, r) => {
      const notes = [await r.waitFor("note"), await r.waitFor("note")];
      const { by } = await r.waitFor("approved");
      return `${notes.join()} ${by}`;
    });
    await world.clock.advance(1_000);
    await turns(20);
    expect(await orders.get("1")).toMatchObject({ status: "waiting", dueMs: undefined });
    await orders.send("1", "approved", { by: "ann" });
    expect(await world.pass(run.result())).toBe("first,second ann");
    await expect(orders.send("1", "note", "late")).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(orders.send("2", "note", "x")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(orders.send("1", "nothing" as "note", "x")).rejects.toThrow(TypeError);
  });

  test("a wait that times out throws, or gives null; an event that came in time wins however late it is seen", async () => {
    const orders = process.store.handle(order);
    const work = () =>
      orders.work(async (_, run) => {
        const first = await run.tryWaitFor("approved", { timeoutMs: 1_000 });
        const second = await run.tryWaitFor("note", { timeoutMs: 1_000 });
        const third = await run.waitFor("note", { timeoutMs: 500 }).catch((error: unknown) => {
          return (error as { code: string }).code;
        });
        return JSON.stringify([first, second, third]);
      });
    const worker = work();
    const run = await orders.start("x", { id: "1" });
    await world.clock.advance(1_500);
    await turns(20);
    // The second wait is on; nobody works while its event comes and its time passes.
    await worker.close();
    await orders.send("1", "note", "in time");
    await world.clock.advance(10_000);
    work();
    expect(await world.pass(run.result())).toBe('[null,"in time","TIMEOUT"]');
  });

  test("an event reaches a run that is held", async () => {
    const orders = process.store.handle(order);
    const gate = deferred<void>();
    const order_: string[] = [];
    const worker = orders.work(async (_, run) => {
      const slow = run.step("slow", () => gate.promise);
      order_.push(await run.waitFor("note"));
      gate.resolve();
      await slow;
      return order_.join();
    });
    const run = await orders.start("x", { id: "1" });
    await until(() => worker.stats.running === 1);
    await turns();
    await orders.send("1", "note", "hello");
    expect(await world.pass(run.result())).toBe("hello");
  });
});

describe("undoing", () => {
  const saga = (failing: string | undefined, undone: string[], gate?: Promise<void>) => {
    return async (_: string, run: Run<object>) => {
      for (const name of ["reserve", "charge", "ship"]) {
        await run.step(
          name,
          async () => {
            if (name === failing) throw permanent(`can't ${name}`);
            await (name === "ship" ? gate : undefined);
            return `${name}d`;
          },
          { undo: (value, { id }) => void undone.push(`${name} ${String(value)} ${id}`) },
        );
      }
      return "done";
    };
  };

  test("a failure undoes what was begun, the last first; what failed with nobody knowing gets undefined", async () => {
    const orders = process.store.handle(order);
    const undone: string[] = [];
    orders.work(saga("ship", undone));
    const run = await orders.start("x", { id: "1" });
    await expect(world.pass(run.result())).rejects.toMatchObject({
      code: "FAILED",
      details: { status: "failed", error: "can't ship", undone: ["ship", "charge", "reserve"] },
    });
    expect(undone).toEqual([
      "ship undefined order/1/ship/undo",
      "charge charged order/1/charge/undo",
      "reserve reserved order/1/reserve/undo",
    ]);
    const kinds = (await orders.history("1"))?.map(({ kind, name }) => `${kind} ${name}`.trim());
    expect(kinds).toEqual([
      ...[
        "begin reserve",
        "step reserve",
        "begin charge",
        "step charge",
        "begin ship",
        "step ship",
      ],
      ...["stop", "undone ship", "undone charge", "undone reserve"],
    ]);
  });

  test("a cancel aborts what is under way and undoes it", async () => {
    const orders = process.store.handle(order);
    const undone: string[] = [];
    const never = deferred<void>();
    const worker = orders.work(saga(undefined, undone, never.promise));
    const run = await orders.start("x", { id: "1" });
    await until(() => worker.stats.running === 1);
    await turns(30);
    expect(await orders.cancel("1", { reason: "changed my mind" })).toBe(true);
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "cancelled", error: "changed my mind" },
    });
    expect(undone.map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual([
      "ship undefined",
      "charge charged",
      "reserve reserved",
    ]);
    expect(await orders.cancel("1")).toBe(false);
    await expect(orders.cancel("2")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("a cancel reaches a run that sleeps, and one that has not begun", async () => {
    const orders = process.store.handle(order);
    const undone: string[] = [];
    let starts = 0;
    const handler = async (_: string, run: Run<object>) => {
      starts++;
      await run.step("a", () => 1, { undo: (value) => void undone.push(`a ${value}`) });
      await run.sleep("long", 1_000_000);
      return "done";
    };
    await orders.start("x", { id: "unbegun" });
    await orders.cancel("unbegun");
    const worker = orders.work(handler);
    await until(() => worker.stats.cancelled === 1);
    expect(starts).toBe(0);
    await orders.start("x", { id: "sleeps" });
    await world.clock.advance(100);
    await turns(20);
    expect(await orders.get("sleeps")).toMatchObject({ status: "waiting" });
    await orders.cancel("sleeps");
    await until(() => worker.stats.cancelled === 2);
    expect(undone).toEqual(["a 1"]);
    expect(await orders.get("sleeps")).toMatchObject({ status: "cancelled", undone: ["a"] });
  });

  test("a crash in the middle of undoing leaves the rest to another process", async () => {
    const undone: string[] = [];
    const stuck = deferred<void>();
    const handler = (who: string) => async (_: string, run: Run<object>) => {
      for (const name of ["a", "b", "c"]) {
        await run.step(name, () => name, {
          undo: async () => {
            undone.push(`${who} ${name}`);
            if (who === "one" && name === "b") await stuck.promise;
          },
        });
      }
      throw permanent("no");
    };
    process.store.handle(order).work(handler("one"));
    const run = await process.store.handle(order).start("x");
    await until(() => undone.includes("one b"));
    process.isCrashed = true;
    const other = await world.process();
    const orders = other.store.handle(order);
    orders.work(handler("two"));
    await world.clock.advance(60_000);
    await expect(world.pass(orders.result(run.id))).rejects.toMatchObject({ code: "FAILED" });
    expect(undone).toEqual(["one c", "one b", "two b", "two a"]);
  });

  test("an undo that keeps failing parks the run: it needs attention, and goes on when it is redriven", async () => {
    const orders = process.store.handle(order);
    let tries = 0;
    let isMended = false;
    orders.work(async (_, run) => {
      await run.step("a", () => 1, {
        undo: () => {
          tries++;
          if (!isMended) throw new Error("the bank is closed");
        },
      });
      throw permanent("no");
    });
    const run = await orders.start("x", { id: "1" });
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "attention" },
    });
    expect(tries).toBe(3);
    expect(await orders.get("1")).toMatchObject({ status: "attention" });
    isMended = true;
    expect(await orders.redrive({ ids: ["1"] })).toBe(1);
    await expect(world.pass(orders.result("1"))).rejects.toMatchObject({
      details: { status: "failed", error: "no" },
    });
    expect(tries).toBe(4);
  });

  test("an output that its schema refuses fails the run, and is undone", async () => {
    const strict = workflow("strict", {
      input: text,
      output: {
        "~standard": {
          version: 1,
          vendor: "test",
          validate: () => ({ issues: [{ message: "no" }] }),
        },
      } as never,
    });
    const runs = process.store.handle(strict);
    const undone: string[] = [];
    runs.work(async (_, run) => {
      await run.step("a", () => 1, { undo: () => void undone.push("a") });
      return "bad" as never;
    });
    const run = await runs.start("x");
    await expect(world.pass(run.result())).rejects.toMatchObject({ code: "FAILED" });
    expect(undone).toEqual(["a"]);
  });
});
