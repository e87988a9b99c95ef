/** Breaking workflows off at every instant: sound ones pass, and each kind of flaw is found. */
import { describe, expect, test } from "vitest";
import { unchecked } from "../../../core/codec.ts";
import { permanent } from "../../../core/retry.ts";
import { implement, workflow, type Attempt, type Run } from "../index.ts";
import { CrashError, crashEverywhere } from "../testing.ts";

const text = unchecked<string>();
const number = unchecked<number>();
const backoff = { initialMs: 10, jitter: "none" } as const;
const order = workflow("order", {
  input: number,
  output: text,
  events: { approved: text },
  retry: { attempts: 3, backoff },
  undoRetry: { attempts: 5, backoff },
});
type Events = { readonly approved: string };

/** A bank that knows the idempotency keys of its calls, or one that does not look at them. */
class Bank {
  readonly #done = new Map<string, number>();
  readonly isCareless: boolean;
  balance = 100;
  calls = 0;
  constructor(isCareless = false) {
    this.isCareless = isCareless;
  }
  book(cents: number, key: string): number {
    this.calls++;
    if (!this.isCareless && this.#done.has(key)) return this.#done.get(key) as number;
    this.balance += cents;
    this.#done.set(key, this.balance);
    return this.balance;
  }
}

/** Reserves, charges, waits for approval, and ships what costs less than 50. */
async function place(bank: Bank, cents: number, run: Run<Events>): Promise<string> {
  const back = ({ id }: Attempt): unknown => bank.book(cents, id);
  await run.step("charge", ({ id }) => bank.book(-cents, id), { undo: (_, at) => back(at) });
  const by = await run.waitFor("approved");
  await run.sleep("rest", 86_400_000);
  await run.step("ship", () => {
    if (cents >= 50) throw permanent("too heavy");
  });
  return `approved by ${by}`;
}

const approved = [{ event: "approved", value: "ann" }] as const;
const sound = (cents: number) => ({
  setup: () => new Bank(),
  workflows: (bank: Bank) => [implement(order, (input, run) => place(bank, input, run))] as const,
  input: cents,
  events: approved,
});

describe("a sound workflow", () => {
  test("comes to the same wherever it is broken off, and is broken off everywhere", async () => {
    const calls: number[] = [];
    const report = await crashEverywhere({
      ...sound(30),
      check: (bank) => {
        calls.push(bank.calls);
        return bank.balance;
      },
    });
    expect(report.outcome).toEqual({ status: "completed", output: "approved by ann" });
    expect(report.trials).toBe(report.points.length);
    expect(calls).toHaveLength(report.trials + 1);
    // Without a crash it charges once; the crash between the call and its record makes it twice.
    expect(calls[0]).toBe(1);
    expect(new Set(calls)).toEqual(new Set([1, 2]));
    expect(report.points).toEqual(
      expect.arrayContaining([
        "after the commit of a claim",
        "before the commit of begin:charge",
        'at the call of "charge"',
        'at the return of "charge"',
        "after the commit of step:charge",
        "before the commit of the run as suspended",
        "after the commit of sleep:rest",
        "before the commit of the run as completed",
      ]),
    );
  });

  test("that fails is undone once, wherever it is broken off", async () => {
    const { outcome, points } = await crashEverywhere({
      ...sound(70),
      check: (bank, { status }) => {
        if (status !== "failed") throw new Error(`Expected it to fail, got ${status}`);
        return bank.balance;
      },
    });
    expect(outcome).toEqual({ status: "failed", error: "too heavy", undone: ["charge"] });
    expect(points).toContain('at the call of the undo of "charge"');
    expect(points).toContain("after the commit of undone:charge");
  });

  test("may have children, and effects in one commit with its steps", async () => {
    const part = workflow("part", { input: number, output: number });
    const whole = workflow("whole", { input: number, output: number });
    const { outcome } = await crashEverywhere({
      setup: () => new Bank(),
      workflows: (bank, hf) => [
        implement(whole, async (count, run) => {
          const parts = Array.from({ length: count }, (_, i) => run.child(`part ${i}`, part, i));
          const sum = (await Promise.all(parts)).reduce((a, b) => a + b, 0);
          await run.step("count", (at) => at.complete(null, [hf.kv.op.add("whole", sum)]));
          return Number((await run.step("read", () => hf.kv.get("whole")))?.value);
        }),
        implement(part, (i, run) => run.step("book", ({ id }) => (bank.book(-i, id), i))),
      ],
      input: 3,
      check: (bank) => bank.balance,
    });
    expect(outcome).toEqual({ status: "completed", output: 3 });
  });
});

describe("a flaw is found", () => {
  const flawed = async (promise: Promise<unknown>): Promise<CrashError> => {
    const error = await promise.then(
      () => new Error("Expected it to be found"),
      (found: unknown) => found,
    );
    if (error instanceof CrashError) return error;
    throw error;
  };

  test("a step whose effect is not idempotent", async () => {
    const error = await flawed(
      crashEverywhere({
        ...sound(30),
        setup: () => new Bank(true),
        check: (bank) => bank.balance,
      }),
    );
    // The first instant at which the bank has charged, and nobody has noted it.
    expect(error.where).toBe('at the return of "charge"');
    const same = { status: "completed", output: "approved by ann" };
    expect(error.expected).toEqual([same, 70]);
    expect(error.got).toEqual([same, 40]);
    expect(error.history.map(({ kind, name }) => `${kind} ${name}`)).toContain("step charge");
    expect(error.message).toContain(`with a crash at point ${error.point}`);
    expect(error.message).toContain("step charge");
    // And it is found again by its number alone.
    const again = { ...sound(30), setup: () => new Bank(true), points: [error.point] };
    await flawed(crashEverywhere({ ...again, check: (bank: Bank) => bank.balance }));
  });

  test("code that keeps something in the process's memory", async () => {
    const error = await flawed(
      crashEverywhere({
        setup: () => null,
        workflows: () => {
          let count = 0;
          const counting = implement(order, async (_, run) => {
            await run.step("a", () => void count++);
            await run.step("b", () => {});
            return `${count}`;
          });
          return [counting];
        },
        input: 1,
      }),
    );
    expect(error.expected).toEqual([{ status: "completed", output: "1" }, undefined]);
    expect(error.got).toEqual([{ status: "completed", output: "0" }, undefined]);
  });

  test("what is wrong without a crash is told as that", async () => {
    const check = (): void => {
      throw new Error("The books do not add up");
    };
    const error = await flawed(crashEverywhere({ ...sound(30), check }));
    expect([error.point, error.where]).toEqual([0, ""]);
    expect(error.message).toContain("without a crash");
    expect(error.message).toContain("The books do not add up");
    expect(error.cause).toBeInstanceOf(Error);
  });

  test("a trial that never comes to its point shows nothing, and says so", async () => {
    let trials = 0;
    const plan = {
      setup: () => ++trials,
      workflows: (trial: number) => {
        const few = async (_: number, run: Run<Events>): Promise<string> => {
          for (let i = 0; i < (trial === 1 ? 3 : 1); i++) await run.step(`s${i}`, () => {});
          return "done";
        };
        return [implement(order, few)] as const;
      },
      input: 1,
    };
    const error = await flawed(crashEverywhere(plan));
    expect(error.message).toContain("depend on chance");
  });

  test("a run that does not end", async () => {
    const error = await flawed(crashEverywhere({ ...sound(30), events: [] }));
    expect(error.message).toContain("TIMEOUT");
    expect(error.message).toContain("$run/order: 1 scheduled");
  });

  test("an outcome that may differ can be left out of the comparison", async () => {
    const plan = {
      setup: () => null,
      workflows: () => [implement(order, async (_, run) => `${run.token}`)] as const,
      input: 1,
    };
    await flawed(crashEverywhere(plan));
    const { trials } = await crashEverywhere({ ...plan, compare: ({ status }) => status });
    expect(trials).toBeGreaterThan(1);
  });
});

test("a plan that is wrong is refused", async () => {
  const plan = sound(30);
  await expect(crashEverywhere({ ...plan, setup: 1 as never })).rejects.toThrow(TypeError);
  await expect(crashEverywhere({ ...plan, chek: () => 1 } as never)).rejects.toThrow("`chek`");
  await expect(crashEverywhere({ ...plan, withinMs: 0 })).rejects.toThrow(RangeError);
  await expect(crashEverywhere({ ...plan, points: [10_000] })).rejects.toThrow(RangeError);
});
