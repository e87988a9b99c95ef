/** The world for tests: virtual time, processes that die, and an orderly end. */
import { describe, expect, test } from "vitest";
import { unchecked } from "../../../core/codec.ts";
import { systemClock } from "../../../core/clock.ts";
import { queue } from "../../jobs/index.ts";
import { workflow } from "../index.ts";
import { testWorld, TestWorld } from "../testing.ts";

const DAY_MS = 86_400_000;
const text = unchecked<string>();
const reminder = workflow("reminder", {
  input: text,
  output: text,
  events: { paid: text },
  retry: {
    attempts: 5,
    backoff: { initialMs: 60_000, factor: 2, maxMs: 3_600_000, jitter: "none" },
  },
});

describe("virtual time", () => {
  test("has sleeps, time-outs and retries come at their time, however far they lie", async () => {
    await using world = await testWorld();
    const { hf } = await world.process();
    const at: [string, number][] = [];
    const note = (what: string): void => void at.push([what, world.elapsedMs]);
    let failures = 0;
    hf.open(reminder).work(async (input, run) => {
      await run.step("begin", () => note("begin"));
      await run.sleep("month", 30 * DAY_MS);
      await run.step("send", () => {
        note("send");
        if (failures++ < 2) throw new Error("the mail server is down");
      });
      const paid = await run.tryWaitFor("paid", { timeoutMs: 5 * DAY_MS });
      await run.step("end", () => note("end"));
      return `${input}: ${paid}`;
    });
    const run = await world.hf.open(reminder).start("ann");
    const startMs = systemClock.monotonicMs();
    await world.advance(30 * DAY_MS - 1);
    expect(at).toEqual([["begin", 0]]);
    await world.advance(1);
    expect(at.at(-1)).toEqual(["send", 30 * DAY_MS]);
    await expect(world.until(run.result())).resolves.toBe("ann: null");
    expect(at.slice(2)).toEqual([
      ["send", 30 * DAY_MS + 60_000],
      ["send", 30 * DAY_MS + 180_000],
      ["end", 35 * DAY_MS + 180_000],
    ]);
    // Somewhat more than a month, in a moment.
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(8_000);
  });

  test("begins where it is told to, and no jump passes a timer of one's own", async () => {
    await using world = await testWorld({ startMs: 1_000_000_000_000 });
    expect(world.clock.wallMs()).toBe(1_000_000_000_000);
    const rings: number[] = [];
    world.clock.timer(DAY_MS, () => void rings.push(world.elapsedMs));
    world.clock.timer(DAY_MS + 1, () => void rings.push(world.elapsedMs));
    await world.advance(2 * DAY_MS);
    expect(rings).toEqual([DAY_MS, DAY_MS + 1]);
    expect(world.elapsedMs).toBe(2 * DAY_MS);
    expect(world.clock.wallMs()).toBe(1_000_000_000_000 + 2 * DAY_MS);
  });

  test("passes until something has come, or says what waits", async () => {
    await using world = await testWorld();
    const { hf } = await world.process();
    hf.open(reminder).work(async (_, run) => run.waitFor("paid"));
    const run = await world.hf.open(reminder).start("ann", { id: "1" });
    const tooLong = world.until(run.result(), { withinMs: DAY_MS });
    await expect(tooLong).rejects.toMatchObject({ code: "TIMEOUT" });
    await expect(world.until(run.result(), { withinMs: 1_000 })).rejects.toThrow(
      "$run/reminder: 1 scheduled",
    );
    await world.hf.open(reminder).send("1", "paid", "in full");
    await expect(world.until(run.result())).resolves.toBe("in full");
  });

  test("has one mover", async () => {
    await using world = await testWorld();
    const first = world.advance(1_000);
    await expect(world.advance(1_000)).rejects.toMatchObject({ code: "CONFLICT" });
    await first;
    expect(world.elapsedMs).toBe(1_000);
  });

  test("is the same time each time", async () => {
    const attempts = async (seed: number): Promise<number[]> => {
      await using world = await testWorld({ seed });
      const { hf } = await world.process();
      const shaky = workflow("shaky", { input: text, retry: { attempts: 4 } });
      const at: number[] = [];
      hf.open(shaky).work((_, run) =>
        run.step("try", ({ attempt }) => {
          at.push(world.elapsedMs);
          if (attempt < 4) throw new Error("not yet");
        }),
      );
      await world.until((await world.hf.open(shaky).start("x")).result());
      return at;
    };
    expect(await attempts(1)).toEqual(await attempts(1));
    expect(await attempts(1)).not.toEqual(await attempts(2));
  });
});

describe("processes", () => {
  test("one that dies is taken over after its time, and does nothing more", async () => {
    await using world = await testWorld({ takeoverMs: 30_000 });
    const calls: string[] = [];
    const first = await world.process("first");
    const second = await world.process("second");
    expect([first.name, second.name]).toEqual(["first", "second"]);
    first.hf.open(reminder).work(async (_, run) => {
      await run.step("a", () => void calls.push("a by first"));
      await run.step("b", () => first.crash());
      return "first";
    });
    const run = await world.hf.open(reminder).start("x");
    await world.advance(1_000);
    expect(first.isCrashed).toBe(true);
    second.hf.open(reminder).work(async (_, run) => {
      await run.step("a", () => void calls.push("a by second"));
      await run.step("b", () => void calls.push(`b at ${world.elapsedMs}`));
      return "second";
    });
    await world.advance(28_000);
    expect(calls).toEqual(["a by first"]);
    await expect(world.until(run.result())).resolves.toBe("second");
    const [, b = ""] = calls;
    // Within a second of the end of its session.
    expect(Number(b.slice("b at ".length))).toBeGreaterThanOrEqual(30_000);
    expect(Number(b.slice("b at ".length))).toBeLessThan(31_500);
  });

  test("work on whatever features there are", async () => {
    await using world = await testWorld();
    const { hf } = await world.process();
    const mails = queue("mails", { input: text });
    const sent: string[] = [];
    hf.open(mails).work((mail) => void sent.push(`${mail} at ${world.elapsedMs}`));
    await world.hf.open(mails).add("hello", { delayMs: DAY_MS });
    await world.advance(2 * DAY_MS);
    expect(sent).toEqual([`hello at ${DAY_MS}`]);
  });

  test("keep what they hold over any jump of time", async () => {
    await using world = await testWorld();
    const { hf } = await world.process();
    const session = await hf.store.session();
    await hf.kv.put("mine", 1, { session });
    await world.advance(100 * DAY_MS);
    expect(session.isOver).toBe(false);
    expect((await world.hf.kv.get("mine"))?.value).toBe(1);
  });

  test("a closed world is over", async () => {
    const world = await testWorld();
    const { hf } = await world.process();
    const worker = hf.open(reminder).work(async (_, run) => run.waitFor("paid"));
    await world.hf.open(reminder).start("x");
    await world.close();
    expect(worker.state).toBe("closed");
    await expect(world.hf.kv.get("x")).rejects.toMatchObject({ code: "CLOSED" });
  });
});

test("wrong options are refused", async () => {
  await expect(testWorld({ seed: -1 })).rejects.toThrow(RangeError);
  await expect(testWorld({ takeoverMs: 10 })).rejects.toThrow(RangeError);
  await expect(testWorld({ sede: 1 } as never)).rejects.toThrow("Unknown option `sede`");
  await using world = await new TestWorld().open();
  await expect(world.advance(1.5)).rejects.toThrow(RangeError);
  await expect(world.advance("30d" as never)).rejects.toThrow(TypeError);
});
