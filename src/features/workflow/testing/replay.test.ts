/** Journals of runs of every kind, replayed against the code that wrote them and against others. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { unchecked, type Schema } from "../../../core/codec.ts";
import { permanent } from "../../../core/retry.ts";
import { systemClock } from "../../../core/clock.ts";
import { sleep } from "../../../core/signal.ts";
import { queue } from "../../jobs/index.ts";
import { implement, workflow, type Run, type RunStatus } from "../index.ts";
import {
  exportJournals,
  parseJournal,
  replayJournals,
  testWorld,
  type BrokenRun,
  type RunJournal,
  type TestProcess,
  type TestWorld,
} from "../testing.ts";

const text = unchecked<string>();
const backoff = { initialMs: 10, jitter: "none" } as const;
const order = workflow("order", {
  input: text,
  output: text,
  events: { paid: text, seen: text },
  retry: { attempts: 2, backoff },
  undoRetry: { attempts: 2, backoff },
});
type Events = { readonly paid: string; readonly seen: string };
type Code = (input: string, run: Run<Events>) => Promise<string>;

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
let calls: string[] = [];
let crash: () => void = () => {};

/** What the runs of these tests were done by; the input says what becomes of them. */
const code: Code = async (input, run) => {
  const note = (what: string) => (): string => (calls.push(what), what);
  await run.step("reserve", note("reserve"), { undo: note("undo reserve") });
  await run.step("charge", note("charge"), {
    undo: () => {
      if (input === "attention") throw permanent("the bank is closed");
      if (input === "undoing") throw new Error("the bank is closed today");
      note("undo charge")();
    },
    undoRetry: { attempts: 3, backoff: { initialMs: 100 * HOUR_MS, maxMs: 100 * HOUR_MS } },
  });
  if (["fail", "attention", "undoing"].includes(input)) throw permanent("no");
  if (input === "sleep") await run.sleep("rest", 100 * HOUR_MS);
  if (input === "retry") {
    const retry = { attempts: 3, backoff: { initialMs: 100 * HOUR_MS, maxMs: 100 * HOUR_MS } };
    await run.step("call", () => Promise.reject(new Error("down")), { retry });
  }
  if (input === "running") await run.step("crash", () => crash());
  const wait = { timeoutMs: 500 * HOUR_MS };
  const both = () => Promise.all([run.waitFor("paid", wait), run.step("pack", note("pack"))]);
  const [paid] = input === "both" ? await both() : [await run.waitFor("paid")];
  await run.step("ship", note("ship"));
  return `paid ${paid}`;
};

let world: TestWorld;
let worker: TestProcess;
beforeEach(async () => {
  calls = [];
  world = await testWorld();
  worker = await world.process();
  crash = () => worker.crash();
});
afterEach(() => world.close());

/** Starts runs of these inputs, which are their ids, and lets them come to where they wait. */
async function play(inputs: readonly string[], by: Code = code): Promise<void> {
  worker.hf.open(order).work(by);
  const orders = world.hf.open(order);
  for (const input of inputs) await orders.start(input, { id: input });
  if (inputs.includes("complete")) await orders.send("complete", "paid", "in full");
  await world.advance(MINUTE_MS);
  if (inputs.includes("cancel")) await orders.cancel("cancel");
  await world.advance(MINUTE_MS);
}

const ALL: readonly RunStatus[] = [
  ...(["ready", "running", "waiting", "completed", "failed", "cancelled", "attention"] as const),
];
const INPUTS = [
  ...["sleep", "retry", "wait", "both", "undoing"],
  ...["complete", "fail", "attention", "cancel"],
];

async function journals(statuses = ALL): Promise<RunJournal[]> {
  const found: RunJournal[] = [];
  for await (const each of exportJournals(world.hf, order, { statuses })) found.push(each);
  return found;
}
async function replayed(by: Code, statuses = ALL): Promise<readonly BrokenRun[]> {
  const made = calls.length;
  const { broken, checked } = await replayJournals(
    [implement(order, by)],
    exportJournals(world.hf, order, { statuses }),
  );
  expect(checked).toBeGreaterThan(0);
  // Nothing of a step or an undo was called.
  expect(calls).toHaveLength(made);
  return broken;
}
const lines = (broken: readonly BrokenRun[]): string[] =>
  broken.map(({ run, record, expected, found }) => `${run} ${record}: ${expected} / ${found}`);

describe("the code that wrote them", () => {
  test("goes on with runs of every kind", async () => {
    await play(INPUTS);
    const found = await journals();
    const statuses = Object.fromEntries(found.map(({ run, status }) => [run, status]));
    expect(statuses).toEqual({
      ...{ sleep: "waiting", retry: "waiting", wait: "waiting", both: "waiting" },
      ...{ undoing: "waiting" },
      ...{ complete: "completed", fail: "failed", attention: "attention", cancel: "cancelled" },
    });
    expect(await replayed(code)).toEqual([]);
  });

  test("goes on with a run whose process died, and with one that was not claimed yet", async () => {
    const orders = world.hf.open(order);
    await orders.start("wait", { id: "later", delayMs: HOUR_MS });
    worker.hf.open(order).work(code);
    await orders.start("running", { id: "running" });
    await world.advance(100);
    expect(worker.isCrashed).toBe(true);
    const found = await journals(["running", "waiting"]);
    expect(found.map(({ run }) => run)).toEqual(["running", "later"]);
    expect(found[0]?.records.map(({ key }) => key)).toEqual([
      ...["begin:reserve", "step:reserve", "begin:charge", "step:charge"],
    ]);
    expect(await replayed(code, ["running", "waiting"])).toEqual([]);
    // Read-only: the dead process still has it, and the next one goes on.
    expect((await orders.get("running"))?.status).toBe("running");
  });

  test("goes on with a cancel that the run has not heard of", async () => {
    await play(["wait"]);
    worker.crash();
    await world.hf.open(order).cancel("wait");
    expect(await replayed(code)).toEqual([]);
  });

  test("may await something of its own between its steps", async () => {
    await play(["wait", "complete"]);
    const patient: Code = async (input, run) => {
      await sleep(systemClock, 10);
      return code(input, run);
    };
    expect(await replayed(patient)).toEqual([]);
  });

  test("goes on with forks, before and after they are claimed", async () => {
    await play(["complete"]);
    const orders = world.hf.open(order);
    worker.crash();
    await orders.fork("complete", { from: "ship", id: "fork" });
    const [fork] = await journals(["ready"]);
    expect(fork?.records.map(({ key }) => key)).toEqual(
      (await journals(["completed"]))[0]?.records.slice(0, -1).map(({ key }) => key),
    );
    expect(await replayed(code)).toEqual([]);
  });

  test("goes on with children and handles, which are not used", async () => {
    const part = workflow("part", { input: text, output: text });
    const mails = queue("mails", { input: text });
    const parent: Code = async (_, run) => {
      const box = run.open(mails);
      await run.step("mail", async () => (await box.add("hello")).id);
      run.progress({ at: "the child" });
      return run.child("part", part, "x");
    };
    await play(["any"], parent);
    worker.hf.open(part).work(async (input) => `${input}!`);
    expect(await replayed(parent)).toEqual([]);
    await world.advance(MINUTE_MS);
    expect((await world.hf.open(order).get("any"))?.output).toBe("x!");
    expect(await replayed(parent)).toEqual([]);
    expect((await world.hf.open(mails).stats()).counts.ready).toBe(1);
  });

  test("goes on with a run that began anew", async () => {
    const rounds: Code = async (input, run) => {
      const round = Number(input);
      await run.step(round === 0 ? "first" : "later", () => "");
      if (round < 3) return run.continueAs(String(round + 1)) as never;
      return run.waitFor("paid");
    };
    await play(["0"], rounds);
    const [journal] = await journals();
    expect(journal).toMatchObject({ run: "0", input: "3" });
    expect(journal?.records.map(({ key }) => key)).toEqual(["anew:3", "step:later"]);
    expect(await replayed(rounds)).toEqual([]);
  });

  test("goes on with a long run", async () => {
    const long: Code = async (_, run) => {
      for (let i = 0; i < 3_000; i++) await run.step("count", () => i);
      return run.waitFor("paid");
    };
    await play(["long"], long);
    const [journal] = await journals();
    expect(journal?.records).toHaveLength(3_000);
    expect(await replayed(long)).toEqual([]);
    const longer: Code = async (_, run) => {
      for (let i = 0; i < 2_990; i++) await run.step("count", () => i);
      return run.step("other", () => "");
    };
    expect(lines(await replayed(longer))).toEqual(['long 2991: step "count#2991" / step "other"']);
  });
});

describe("changed code is told by what it was to ask for, and what it asks for", () => {
  const reserve = (run: Run<Events>) => run.step("reserve", () => "", { undo: () => "" });

  test("another step", async () => {
    await play(["wait", "complete"]);
    const changed: Code = async (_, run) => {
      await reserve(run);
      await run.step("pay", () => "", { undo: () => "" });
      return run.waitFor("paid");
    };
    expect(await replayed(changed)).toEqual([
      ...(["wait", "complete"] as const).map((run) => ({
        ...{ workflow: "order", run, status: run === "wait" ? "waiting" : "completed" },
        ...{ record: 4, expected: 'step "charge"', found: 'step "pay"' },
      })),
    ]);
  });

  test("an end that comes too early, with a result or a failure", async () => {
    await play(["wait"]);
    const short: Code = async (_, run) => (await reserve(run), "done");
    expect(lines(await replayed(short))).toEqual(['wait 4: step "charge" / the end of the code']);
    const wrong: Code = async (_, run) => {
      await reserve(run);
      throw new Error("not today");
    };
    expect(lines(await replayed(wrong))).toEqual([
      'wait 4: step "charge" / the end of the code (Error: not today)',
    ]);
  });

  test("a step, a sleep and a wait that the run is at", async () => {
    await play(["sleep", "retry", "both"]);
    const changed: Code = async (input, run) => {
      await reserve(run);
      await run.step("charge", () => "", { undo: () => "" });
      if (input === "sleep") await run.sleep("nap", 1);
      if (input === "retry") await run.step("fetch", () => "");
      await run.step("pack", () => "");
      return "";
    };
    expect(lines(await replayed(changed)).sort()).toEqual([
      'both 5: the event "paid" / the end of the code',
      'retry 5: step "call" / step "fetch"',
      'sleep 5: the sleep "rest" / the sleep "nap"',
    ]);
  });

  test("an undo that is gone", async () => {
    await play(["wait", "attention", "undoing", "fail"]);
    const changed: Code = async (input, run) => {
      await reserve(run);
      await run.step("charge", () => "");
      if (input !== "wait") throw permanent("no");
      return run.waitFor("paid");
    };
    expect(lines(await replayed(changed)).sort()).toEqual([
      'attention 4: step "charge" with an undo / the end of the code (PermanentError: no)',
      'undoing 4: step "charge" with an undo / the end of the code (PermanentError: no)',
      'wait 4: step "charge" with an undo / the event "paid"',
    ]);
  });

  test("an event that is waited for no more, and steps after the end", async () => {
    await play(["wait", "complete"]);
    const shorter: Code = async (_, run) => {
      await reserve(run);
      await run.step("charge", () => "", { undo: () => "" });
      return "";
    };
    expect(lines(await replayed(shorter, ["waiting"]))).toEqual([
      "wait null: an event to be waited for / the end of the code",
    ]);
    const longer: Code = async (input, run) => {
      const result = await code(input, run);
      await run.step("thank", () => "");
      return result;
    };
    expect(lines(await replayed(longer))).toEqual([
      'complete null: the end of the code / step "thank"',
    ]);
  });

  test("a failure at once, where the run waits", async () => {
    await play(["wait", "sleep", "fail"]);
    const failing: Code = async (_, run) => {
      await reserve(run);
      await run.step("charge", () => "", { undo: () => "" });
      throw permanent("not today");
    };
    expect(lines(await replayed(failing)).sort()).toEqual([
      'sleep 5: the sleep "rest" / the end of the code (PermanentError: not today)',
      "wait null: an event to be waited for / the end of the code (PermanentError: not today)",
    ]);
  });

  test("what a patch says goes on", async () => {
    await play(["wait", "complete"]);
    const patched: Code = async (input, run) => {
      await reserve(run);
      if (await run.patched("vat")) await run.step("vat", () => "");
      await run.step("charge", () => "", { undo: () => "" });
      const paid = await run.waitFor("paid");
      await run.step("ship", () => "");
      return paid + input;
    };
    expect(await replayed(patched)).toEqual([]);
  });

  test("code that waits for something else altogether", async () => {
    await play(["wait"]);
    const hangs: Code = async (_, run) => {
      await reserve(run);
      return new Promise(() => {});
    };
    expect(lines(await replayed(hangs))).toEqual([`wait 4: step "charge" / ${STANDS}`]);
  });

  test("code that calls the store between its steps", async () => {
    await play(["wait"]);
    const mails = queue("mails", { input: text });
    const calls: Code = async (input, run) => {
      await run.open(mails).add("hello");
      return code(input, run);
    };
    const [found] = await replayed(calls);
    expect(found?.found).toMatch(/^the end of the code \(UNSUPPORTED: A replay does nothing/);
    expect(await world.hf.open(mails).counts()).toMatchObject({ ready: 0 });
  });

  test("a schema that does not take what is stored", async () => {
    await play(["wait"]);
    const validate = (value: unknown) =>
      value === "wait" ? { issues: [{ message: "no longer" }] } : { value: value as string };
    const strict = { "~standard": { version: 1, vendor: "test", validate } } as Schema<string>;
    const stricter = workflow("order", { input: strict, output: text, events: { paid: text } });
    const { broken } = await replayJournals([implement(stricter, code as never)], await journals());
    expect(broken).toMatchObject([{ run: "wait", record: null }]);
    expect(broken[0]?.found).toContain("INVALID_DATA");
    expect(broken[0]?.found).toContain("no longer");
  });
});

const STANDS = "code that waits for something of its own";

describe("exported journals", () => {
  test("are lines of JSON, and replay as the live ones do", async () => {
    await play(INPUTS);
    const text = (await journals()).map((each) => JSON.stringify(each)).join("\n");
    const kept = text.split("\n").map(parseJournal);
    expect(kept).toHaveLength(INPUTS.length);
    const same = await replayJournals([implement(order, code)], kept);
    expect(same).toEqual({ checked: INPUTS.length, skipped: 0, broken: [] });
    const other: Code = async (_, run) => run.step("other", () => "");
    const { broken } = await replayJournals([implement(order, other)], kept);
    expect(broken).toHaveLength(INPUTS.length);
    expect(broken[0]).toMatchObject({ expected: 'step "reserve"', found: 'step "other"' });
  });

  test("are of those that go on, unless others are asked for, and of so many", async () => {
    await play(INPUTS);
    const runs = async (options: object): Promise<string[]> => {
      const found: string[] = [];
      for await (const { run } of exportJournals(world.hf, order, options)) found.push(run);
      return found;
    };
    expect(await runs({})).toEqual(["sleep", "retry", "wait", "both", "undoing", "attention"]);
    expect(await runs({ limit: 2 })).toEqual(["sleep", "retry"]);
    expect(await runs({ statuses: ["failed"] })).toEqual(["fail"]);
    await expect(runs({ limit: 0 })).rejects.toThrow(RangeError);
    await expect(runs({ statuses: ["dead"] })).rejects.toThrow(RangeError);
  });

  test("of workflows that are not given are passed over", async () => {
    await play(["wait"]);
    const other = implement(workflow("other", { input: text }), async () => "");
    const report = await replayJournals([other], await journals());
    expect(report).toEqual({ checked: 0, skipped: 1, broken: [] });
  });

  test("of a newer version are refused with what to do, and so is what is none", async () => {
    await play(["wait"]);
    const [journal] = (await journals()) as [RunJournal];
    const refusal = (line: unknown): unknown => {
      try {
        return parseJournal(typeof line === "string" ? line : JSON.stringify(line));
      } catch (error) {
        return error;
      }
    };
    expect(refusal(journal)).toMatchObject({ run: "wait" });
    expect(refusal({ ...journal, format: 2 })).toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("newer version of Holdfast") as string,
      details: { format: 2, newest: 1 },
    });
    const damaged = [
      ...["", "{", "null", "7", {}, { ...journal, format: 0 }, { ...journal, status: "odd" }],
      ...[
        { ...journal, records: [{}] },
        { ...journal, events: null },
      ],
    ];
    for (const line of damaged) expect(refusal(line)).toMatchObject({ code: "INVALID_DATA" });
    const newer = {
      ...journal,
      records: [...journal.records, { key: "signal:x", value: 1, atMs: 1, dueMs: null }],
    };
    await expect(replayJournals([implement(order, code)], [newer])).rejects.toMatchObject({
      code: "UNSUPPORTED",
      details: { run: "wait", record: journal.records.length + 1, key: "signal:x" },
    });
  });

  test("are replayed against implementations alone", async () => {
    const bare = { definition: order, handler: code };
    await expect(replayJournals([bare as never], [])).rejects.toThrow("`implement`");
    expect(() => implement({} as never, code as never)).toThrow(TypeError);
    expect(() => implement(order, undefined as never)).toThrow(TypeError);
  });
});
