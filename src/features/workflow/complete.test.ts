import { afterEach, beforeEach, expect, test } from "vitest";
import { until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import type { Completed } from "./attempts.ts";
import { type Attempt } from "./attempts.ts";
import { workflow } from "./definition.ts";

const sale = workflow("sale", {
  input: unchecked<number>(),
  output: unchecked<string>(),
  retry: { attempts: 3, backoff: { initialMs: 10, jitter: "none" } },
});

let world: World;
let process: Process;
let kv: Kv<number>;
beforeEach(async () => {
  world = new World();
  process = await world.process();
  kv = new Kv<number>(process.store);
  await kv.put("stock", 10);
});
afterEach(() => world.close());

const stock = async (): Promise<number | undefined> => (await kv.get("stock"))?.value;
const take = (count: number) => kv.op.add("stock", -count, { min: 0 });

test("a step's record and its ops are one commit, done once however many answers are lost", async () => {
  const sales = process.store.handle(sale);
  process.lostReplies = { op: "kv.add", count: 3 };
  const results: unknown[] = [];
  sales.work(async (count, run) => {
    const taken = await run.step("take", async (step) => {
      const done = await step.complete({ taken: count }, [take(count)]);
      results.push(done.results);
      return done;
    });
    return `took ${taken.taken}`;
  });
  const run = await sales.start(4);
  expect(await world.pass(run.result())).toBe("took 4");
  expect(await stock()).toBe(6);
  expect(results).toEqual([null]);
  expect(process.lostReplies.count).toBe(0);
});

test("who dies with the answer under way leaves the step done, not to be done again", async () => {
  const sales = process.store.handle(sale);
  process.lostReplies = { op: "kv.add", count: 1 };
  sales.work(async (count, run) => {
    await run.step("take", (step) => step.complete(null, [take(count)]));
    return "first";
  });
  const run = await sales.start(4);
  await until(() => process.lostReplies.count === 0);
  process.isCrashed = true;
  const other = await world.process();
  let calls = 0;
  other.store.handle(sale).work(async (count, r) => {
    await r.step("take", (step) => {
      calls++;
      return step.complete(null, [take(count)]);
    });
    return "second";
  });
  await world.clock.advance(60_000);
  expect(await world.pass(other.store.handle(sale).result(run.id))).toBe("second");
  kv = new Kv<number>(other.store);
  expect([calls, await stock()]).toEqual([0, 6]);
});

test("a refused op leaves the step open: complete throws it, tryComplete gives it", async () => {
  const sales = process.store.handle(sale);
  sales.work(async (count, run) => {
    const kept = await run.step("try", async (step) => {
      const all = await step.tryComplete(count, [take(count)]);
      if (all.ok) return all;
      expect(all.refusal).toMatchObject({ code: "LIMITED", index: 0 });
      return step.complete(10, [take(10)]);
    });
    let code: unknown;
    await run
      .step("more", (step) => step.complete(1, [take(1)]), { retry: { attempts: 1 } })
      .catch((error: { code: unknown }) => (code = error.code));
    return `${kept} ${String(code)}`;
  });
  const run = await sales.start(12);
  expect(await world.pass(run.result())).toBe("10 LIMITED");
  expect(await stock()).toBe(0);
});

test("what the function does after it has completed changes nothing, and it completes once", async () => {
  const sales = process.store.handle(sale);
  const never = deferred<void>();
  sales.work(async (_, run) => {
    const thrown = await run.step("throws", async (step): Promise<string> => {
      await step.complete("a", [take(1)]);
      await expect(step.complete("again", [take(1)])).rejects.toMatchObject({ code: "CLOSED" });
      throw new Error("too late");
    });
    const other = await run.step("returns", async (step): Promise<string> => {
      await step.complete("b", [take(1)]);
      return "other";
    });
    const hung = await run.step(
      "hangs",
      async (step): Promise<string> => {
        await step.complete("c");
        await never.promise;
        return "never";
      },
      { timeoutMs: 1_000 },
    );
    return thrown + other + hung;
  });
  const run = await sales.start(1);
  expect(await world.pass(run.result())).toBe("abc");
  expect(await stock()).toBe(8);
});

test("an attempt that is over can't complete any more", async () => {
  const sales = process.store.handle(sale);
  const late = deferred<Attempt>();
  const never = deferred<void>();
  sales.work(async (_, run) => {
    const options = { timeoutMs: 100, retry: { attempts: 1 } };
    const hang = async (step: Attempt): Promise<void> => {
      late.resolve(step);
      await never.promise;
    };
    await run.step("hangs", hang, options).catch(() => {});
    return "went on";
  });
  const run = await sales.start(1);
  expect(await world.pass(run.result())).toBe("went on");
  const step = await late.promise;
  await expect(step.complete(1, [take(1)])).rejects.toMatchObject({ code: "TIMEOUT" });
  expect(await stock()).toBe(10);
});

test("steps side by side complete each with its own ops, and one that is refused harms no other", async () => {
  const sales = process.store.handle(sale);
  sales.work(async (_, run) => {
    const ends = await Promise.allSettled([
      run.step("a", (step) => step.complete("a", [take(3)])),
      run.step("b", () => "b"),
      run.step("c", (step) => step.complete("c", [take(11)]), { retry: { attempts: 1 } }),
      run.step("d", (step) => step.complete("d", [take(3)])),
    ]);
    return ends.map(({ status }) => status[0]).join("");
  });
  const run = await sales.start(1);
  expect(await world.pass(run.result())).toBe("ffrf");
  expect(await stock()).toBe(4);
});

test("ops of another partition fail the step, and the run goes on", async () => {
  const sales = process.store.handle(sale);
  const other = new Kv<number>(process.store, { partition: "elsewhere" });
  sales.work(async (_, run) => {
    const op = other.op.add("x", 1);
    const step = run.step("a", (attempt) => attempt.complete(1, [op]), { retry: { attempts: 1 } });
    await expect(step).rejects.toMatchObject({ code: "UNSUPPORTED" });
    return run.step("b", () => "on");
  });
  const run = await sales.start(1);
  expect(await world.pass(run.result())).toBe("on");
});

test("a compensation takes back in one commit with its record, once, whoever dies", async () => {
  const sales = process.store.handle(sale);
  const handler =
    (undo: (step: Attempt) => Promise<Completed>) =>
    async (count: number, run: { step: SaleRun["step"] }): Promise<string> => {
      await run.step("take", (step) => step.complete(count, [take(count)]), {
        undo: (_, step) => undo(step),
      });
      throw new Error("changed my mind");
    };
  type SaleRun = Parameters<Parameters<typeof sales.work>[0]>[1];
  const back = (step: Attempt): Promise<Completed> =>
    step.complete(null, [kv.op.add("stock", 4)]) as Promise<Completed>;
  sales.work(
    handler(async (step) => {
      process.lostReplies = { op: "kv.add", count: 1 };
      const done = back(step);
      await until(() => process.lostReplies.count === 0);
      process.isCrashed = true;
      return done;
    }),
  );
  const run = await sales.start(4);
  await until(() => process.isCrashed);
  const other = await world.process();
  kv = new Kv<number>(other.store);
  other.store.handle(sale).work(handler(back));
  await world.clock.advance(60_000);
  await expect(world.pass(other.store.handle(sale).result(run.id))).rejects.toMatchObject({
    code: "FAILED",
    details: { status: "failed", undone: ["take"] },
  });
  expect(await stock()).toBe(10);
});
