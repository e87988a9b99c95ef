import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { permanent } from "../../core/retry.ts";
import { workflow } from "./definition.ts";

const text = unchecked<string>();
const retry = { attempts: 3, backoff: { initialMs: 10, jitter: "none" } } as const;
const parent = workflow("parent", { input: text, output: text, retry, undoRetry: retry });
const child = workflow("child", {
  input: text,
  output: unchecked<{ made: string }>(),
  events: { go: text },
  retry,
  undoRetry: retry,
});

let world: World;
let process: Process;
beforeEach(async () => {
  world = new World();
  process = await world.process();
});
afterEach(() => world.close());

describe("a child", () => {
  test("gives its output, once, and its parent waits held by nobody", async () => {
    const parents = process.store.handle(parent);
    const children = process.store.handle(child);
    let starts = 0;
    parents.work(async (input, run) => {
      const { made } = await run.child("make", child, input);
      const again = await run.child("make", child, `${input}!`);
      return `${made} ${again.made}`;
    });
    const run = await parents.start("x", { id: "p" });
    await turns(40);
    expect(await parents.get("p")).toMatchObject({ status: "waiting" });
    children.work(async (input) => {
      starts++;
      return { made: input };
    });
    expect(await world.pass(run.result())).toBe("x x!");
    expect(starts).toBe(2);
    expect(await children.get("p/make")).toMatchObject({ status: "completed" });
    expect(await children.get("p/make#2")).toMatchObject({ status: "completed" });
  });

  test("that fails throws, or gives its failure, and has taken itself back", async () => {
    const parents = process.store.handle(parent);
    const undone: string[] = [];
    process.store.handle(child).work(async (_, run) => {
      await run.step("a", () => 1, { undo: () => void undone.push("child a") });
      throw permanent("no luck");
    });
    parents.work(async (input, run) => {
      const outcome = await run.tryChild("first", child, input);
      expect(outcome).toMatchObject({ ok: false, status: "failed", id: "p/first" });
      await run.step("b", () => 1, { undo: () => void undone.push("parent b") });
      await run.child("second", child, input);
      return "never";
    });
    const run = await parents.start("x", { id: "p" });
    await expect(world.pass(run.result())).rejects.toMatchObject({
      code: "FAILED",
      details: { status: "failed", error: expect.stringContaining("no luck") },
    });
    expect(undone).toEqual(["child a", "child a", "parent b"]);
  });

  test("is cancelled with its parent, and has taken itself back before earlier steps are undone", async () => {
    const parents = process.store.handle(parent);
    const undone: string[] = [];
    process.store.handle(child).work(async (_, run) => {
      await run.step("a", () => 1, { undo: () => void undone.push("child a") });
      return { made: await run.waitFor("go") };
    });
    parents.work(async (input, run) => {
      await run.step("b", () => 1, { undo: () => void undone.push("parent b") });
      const { made } = await run.child("c", child, input);
      return made;
    });
    const run = await parents.start("x", { id: "p" });
    await turns(60);
    expect(await parents.cancel("p", { reason: "changed my mind" })).toBe(true);
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "cancelled" },
    });
    expect(undone).toEqual(["child a", "parent b"]);
    expect(await process.store.handle(child).get("p/c")).toMatchObject({ status: "cancelled" });
  });

  test("may be left to go on, and one that completed may be undone", async () => {
    const parents = process.store.handle(parent);
    const undone: unknown[] = [];
    process.store.handle(child).work(async (input, run) => {
      if (input === "slow") return { made: await run.waitFor("go") };
      return { made: input };
    });
    parents.work(async (_, run) => {
      await run.child("quick", child, "quick", { undo: (output) => void undone.push(output) });
      await run.child("slow", child, "slow", {
        onStop: "leave",
        undo: () => void undone.push("no"),
      });
      return "never";
    });
    const run = await parents.start("x", { id: "p" });
    await turns(80);
    await parents.cancel("p");
    await expect(world.pass(run.result())).rejects.toMatchObject({ code: "FAILED" });
    expect(undone).toEqual([{ made: "quick" }]);
    const children = process.store.handle(child);
    await children.send("p/slow", "go", "late");
    expect(await world.pass(children.result("p/slow"))).toEqual({ made: "late" });
  });

  test("survives its parent's process and its own, and is started once", async () => {
    const parents = process.store.handle(parent);
    process.lostReplies = { op: "runs.send", count: 1 };
    let starts = 0;
    const work = (at: Process): void => {
      at.store.handle(parent).work(async (input, run) => (await run.child("c", child, input)).made);
    };
    work(process);
    const run = await parents.start("x", { id: "p" });
    await until(() => process.lostReplies.count === 0);
    process.isCrashed = true;
    const other = await world.process();
    other.store.handle(child).work(async (input) => {
      if (++starts === 1) {
        other.isCrashed = true;
        await new Promise(() => {});
      }
      return { made: input };
    });
    await until(() => other.isCrashed);
    const third = await world.process();
    work(third);
    third.store.handle(child).work(async (input) => {
      starts++;
      return { made: input };
    });
    await world.clock.advance(120_000);
    expect(await world.pass(third.store.handle(parent).result(run.id))).toBe("x");
    expect(starts).toBe(2);
    expect(await third.store.handle(child).stats()).toMatchObject({ counts: { completed: 1 } });
  });

  test("that was there and has ended gives how; another input under its id is refused", async () => {
    const parents = process.store.handle(parent);
    const children = process.store.handle(child);
    children.work(async (input) => ({ made: input }));
    await world.pass((await children.start("old", { id: "known" })).result());
    parents.work(async (input, run) => {
      const { made } = await run.child("a", child, "old", { id: "known" });
      const refused = await run
        .child("b", child, "another", { id: "known" })
        .catch((error: HoldfastError): string => error.code);
      return `${made} ${JSON.stringify(refused)} ${input}`;
    });
    const run = await parents.start("x");
    expect(await world.pass(run.result())).toBe('old "ALREADY_EXISTS" x');
  });
});

describe("continuing as new", () => {
  const ticker = workflow("ticker", {
    input: unchecked<{ left: number; seen: readonly string[] }>(),
    output: unchecked<readonly string[]>(),
    events: { tick: text },
    retry,
  });

  test("empties the journal, keeps events that nothing took, and gives steps new ids", async () => {
    const tickers = process.store.handle(ticker);
    const ids: string[] = [];
    tickers.work(async ({ left, seen }, run) => {
      const tick = await run.waitFor("tick");
      await run.step("count", ({ id }) => void ids.push(id));
      const all = [...seen, tick];
      return left === 1 ? all : run.continueAs({ left: left - 1, seen: all });
    });
    const run = await tickers.start({ left: 3, seen: [] }, { id: "t" });
    for (const tick of ["a", "b", "c"]) await tickers.send("t", "tick", tick, { id: tick });
    expect(await world.pass(run.result())).toEqual(["a", "b", "c"]);
    expect(ids).toEqual(["ticker/t/count", "ticker/t~1/count", "ticker/t~2/count"]);
    const kinds = (await tickers.history("t"))?.map(({ kind, name }) => `${kind} ${name}`.trim());
    expect(kinds).toEqual(expect.arrayContaining(["anew 2", "got tick", "step count"]));
    expect(kinds).toHaveLength(4);
    // Starting it again under its id finds it.
    expect(await tickers.start({ left: 3, seen: [] }, { id: "t" })).toMatchObject({
      status: "exists",
    });
  });

  test("happens once however many answers are lost, and whoever dies", async () => {
    const tickers = process.store.handle(ticker);
    process.lostReplies = { op: "runs.restart", count: 2 };
    let runs = 0;
    tickers.work(async ({ left, seen }, run) => {
      runs++;
      const tick = await run.waitFor("tick");
      return left === 1
        ? [...seen, tick]
        : run.continueAs({ left: left - 1, seen: [...seen, tick] });
    });
    const run = await tickers.start({ left: 2, seen: [] }, { id: "t" });
    await tickers.send("t", "tick", "a");
    await tickers.send("t", "tick", "b");
    expect(await world.pass(run.result())).toEqual(["a", "b"]);
    expect(process.lostReplies.count).toBe(0);
    expect(runs).toBe(2);
  });

  test("with an input that is refused fails the run, which is undone", async () => {
    const strict = workflow("strict", {
      input: {
        "~standard": {
          version: 1,
          vendor: "test",
          validate: (value: unknown) =>
            value === "good" ? { value } : { issues: [{ message: "not good" }] },
        },
      },
      retry,
    });
    const runs = process.store.handle(strict);
    const undone: string[] = [];
    runs.work(async (_, run) => {
      await run.step("a", () => 1, { undo: () => void undone.push("a") });
      return run.continueAs("bad");
    });
    const run = await runs.start("good");
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "failed", error: expect.stringContaining("not good") },
    });
    expect(undone).toEqual(["a"]);
  });

  test("a cancel that comes before the new beginning is heeded", async () => {
    const tickers = process.store.handle(ticker);
    let isAsked = false;
    tickers.work(async (input, run) => {
      await run.step("ask", async () => {
        if (isAsked) return;
        isAsked = true;
        const other = await world.process();
        await other.store.handle(ticker).cancel("t");
      });
      return run.continueAs({ ...input, left: input.left - 1 });
    });
    const run = await tickers.start({ left: 1_000, seen: [] }, { id: "t" });
    await expect(world.pass(run.result())).rejects.toMatchObject({
      details: { status: "cancelled" },
    });
  });
});

describe("a fork", () => {
  test("begins with what the other run had before the step, and does the rest anew", async () => {
    const parents = process.store.handle(child);
    const calls: string[] = [];
    let price = 1;
    parents.work(async (input, run) => {
      const go = await run.waitFor("go");
      const a = await run.step("a", () => {
        calls.push(`${run.id} a`);
        return "a";
      });
      const b = await run.step("b", () => {
        calls.push(`${run.id} b`);
        return price;
      });
      await run.sleep("rest", 1_000);
      return { made: `${input} ${go} ${a} ${b}` };
    });
    const first = await parents.start("x", { id: "1" });
    await parents.send("1", "go", "went");
    await world.clock.advance(3_000);
    expect(await world.pass(first.result())).toEqual({ made: "x went a 1" });
    price = 2;
    const fork = await parents.fork("1", { from: "b", id: "2" });
    await world.clock.advance(3_000);
    expect(await world.pass(fork.result())).toEqual({ made: "x went a 2" });
    expect(calls).toEqual(["1 a", "1 b", "2 b"]);
    // A fork of a fork, from its first step.
    const again = await parents.fork("2", { from: "a" });
    await world.clock.advance(3_000);
    expect(await world.pass(again.result())).toEqual({ made: "x went a 2" });
    expect(calls).toHaveLength(5);
  });

  test("from a step that does not exist, of a run that is not there, or under a taken id is refused", async () => {
    const parents = process.store.handle(child);
    parents.work(async (input, run) => ({ made: await run.step("a", () => input) }));
    const run = await parents.start("x", { id: "1" });
    await world.pass(run.result());
    await expect(parents.fork("1", { from: "b" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining('its first steps are "a"'),
    });
    await expect(parents.fork("2", { from: "a" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(parents.fork("1", { from: "a", id: "1" })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
    expect(await parents.stats()).toMatchObject({ counts: { completed: 1 } });
  });
});
