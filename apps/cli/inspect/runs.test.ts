/** `inspect runs` on a world with a run in every state, and one with hostile names and values. */
import { permanent, unchecked, workflow, type Run } from "holdfast/workflow";
import { testWorld, type TestWorld } from "holdfast/workflow/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ActionError, exitCode, UsageError } from "../failure.ts";
import { painter, type Layout } from "../table.ts";
import type { Options } from "../args.ts";
import type { Place, View } from "./open.ts";
import { inspectRuns } from "./runs.ts";

const LAYOUT: Layout = { width: undefined, paint: painter(false), isFull: false };
const HOSTILE = "\u001b[2Jboo\u202e";
const HOUR_MS = 3_600_000;

const any = unchecked<string>();
const orders = workflow("orders", {
  input: any,
  output: any,
  events: { paid: any, [HOSTILE]: any },
  retry: { attempts: 3, backoff: { initialMs: 5_000, jitter: "none" } },
  undoRetry: { attempts: 2, backoff: { initialMs: 10, jitter: "none" } },
});
type Events = { readonly paid: string };

let world: TestWorld;
let place: Place;

beforeEach(async () => {
  world = await testWorld();
  place = { hf: world.hf, partition: undefined };
});
afterEach(() => world.close());

async function handle(input: string, run: Run<Events>): Promise<string> {
  const undo = (): void => {
    if (input === "attention") throw permanent("the bank is closed");
  };
  await run.step("charge", () => `receipt of ${input}`, { undo });
  if (input === "failed" || input === "attention") {
    await run.step("ship", () => Promise.reject(permanent(`no ship for ${HOSTILE}`)));
  }
  if (input === "shaky") {
    await run.step("call", ({ attempt }) => {
      if (attempt < 3) throw new Error("line is busy");
    });
  }
  if (input === "asleep") await run.sleep("rest", 3 * HOUR_MS);
  const paid = await run.waitFor("paid");
  return `paid ${paid}`;
}

/** One run of each state, named by it. */
async function fill(): Promise<void> {
  const { hf } = await world.process();
  hf.open(orders).work(handle);
  const handleOf = world.hf.open(orders);
  const ids = ["completed", "failed", "cancelled", "attention", "waiting", "asleep"];
  for (const id of ids) await handleOf.start(id, { id, attributes: { region: "eu" } });
  await handleOf.send("completed", "paid", "in full");
  await world.advance(1_000);
  await handleOf.cancel("cancelled", { reason: "changed my mind" });
  await world.advance(1_000);
}

const inspect = (args: readonly string[], options: Options = {}): Promise<View> =>
  inspectRuns(place, args, options);
const text = (view: View, layout: Partial<Layout> = {}): string =>
  view.text({ ...LAYOUT, ...layout });
const json = <T>(view: View): T => view.json as T;
const lineOf = (shown: string, word: string): string =>
  shown.split("\n").find((line) => line.includes(word)) ?? "";
interface Listed {
  readonly runs: readonly { readonly id: string; readonly status: string }[];
  readonly next: number | null;
}
const idsOf = (view: View): string[] => json<Listed>(view).runs.map(({ id }) => id);

describe("workflows", () => {
  test("are counted by the states of their runs", async () => {
    await fill();
    const view = await inspect([]);
    expect(json<object>(view)).toEqual({
      workflows: [
        {
          workflow: "orders",
          isPaused: false,
          counts: {
            ...{ running: 0, ready: 0, waiting: 2, attention: 1 },
            ...{ failedOrCancelled: 2, completed: 1 },
          },
        },
      ],
    });
    expect(lineOf(text(view), "orders")).toMatch(/^orders +0 +0 +2 +1 +2 +1 +running$/);
    await world.hf.open(orders).pause();
    expect(text(await inspect([]))).toMatch(/paused\n$/);
  });

  test("that are not there are told with where there is something", async () => {
    expect(text(await inspect([]))).toBe("No workflows in default.\n");
    await fill();
    expect(text(await inspect(["order"]))).toContain('No runs of workflow "order" in default');
    const empty: Place = { hf: world.hf, partition: "eu" };
    expect(text(await inspectRuns(empty, [], {}))).toContain("this store also holds default");
  });
});

describe("a list", () => {
  beforeEach(fill);

  test("has the first runs of each state, what runs or waits first", async () => {
    const view = await inspect(["orders"]);
    const { runs, next } = json<Listed>(view);
    expect(runs.map(({ id, status }) => [id, status])).toEqual([
      ...[
        ["waiting", "waiting"],
        ["asleep", "waiting"],
        ["attention", "attention"],
      ],
      ...[
        ["failed", "failed"],
        ["cancelled", "cancelled"],
        ["completed", "completed"],
      ],
    ]);
    expect(next).toBeNull();
    const shown = text(view);
    expect(lineOf(shown, "asleep")).toMatch(/due in 2h 59m$/);
    expect(lineOf(shown, " waiting")).toMatch(/for an event$/);
    expect(lineOf(shown, " cancelled")).toMatch(/\d+m?s ago: changed my mind$/);
    expect(lineOf(shown, "attention")).toContain('The undo of step "charge" keeps failing');
    expect(lineOf(shown, " failed")).toContain("no ship for \\u001b[2Jboo\\u202e");
    expect(shown).not.toContain("\u001b");
  });

  test("has no values unless they are asked for", async () => {
    const bare = await inspect(["orders"]);
    expect(json<Listed>(bare).runs[0]).not.toHaveProperty("input");
    expect(json<Listed>(bare).runs[0]).not.toHaveProperty("attributes");
    expect(text(bare)).not.toContain("INPUT");
    const view = await inspect(["orders"], { values: true });
    expect(json<Listed>(view).runs[0]).toMatchObject({
      ...{ input: "waiting", attributes: { region: "eu" } },
    });
    expect(lineOf(text(view), "asleep")).toMatch(/"asleep"$/);
  });

  test.each(["waiting", "attention", "failed", "cancelled", "completed", "running", "ready"])(
    "of those that are %s has no others",
    async (state) => {
      const ids = idsOf(await inspect(["orders"], { state }));
      expect(ids).toEqual(
        state === "waiting"
          ? ["waiting", "asleep"]
          : ["running", "ready"].includes(state)
            ? []
            : [state],
      );
    },
  );

  test("of those with a prefix or an attribute has no others", async () => {
    expect(idsOf(await inspect(["orders"], { prefix: "c" }))).toEqual(["cancelled", "completed"]);
    await world.hf.open(orders).start("x", { id: "us", attributes: { region: "us" }, delayMs: 1 });
    expect(idsOf(await inspect(["orders"], { attribute: "region=us" }))).toEqual(["us"]);
    expect(idsOf(await inspect(["orders"], { attribute: "region=eu" }))).toHaveLength(6);
  });

  test("goes on from page to page", async () => {
    const first = await inspect(["orders"], { state: "waiting", limit: "1" });
    const { next } = json<Listed>(first);
    expect(text(first)).toMatch(new RegExp(`More: --after ${next}\n$`));
    const second = await inspect(["orders"], { state: "waiting", after: String(next) });
    expect(idsOf(second)).toEqual(["asleep"]);
  });
});

describe("one run", () => {
  test("is shown with the timeline of its steps and compensations", async () => {
    await fill();
    const shown = text(await inspect(["orders", "failed"]));
    expect(shown).toMatch(/^workflow +orders\nid +failed\n/);
    expect(shown).toMatch(/\nstate +failed\n/);
    expect(shown).toMatch(/\nerror +no ship for \\u001b\[2Jboo\\u202e\nundone +charge\n/);
    const timeline = shown
      .split("\n\n")[1]
      ?.split("\n")
      .map((line) => line.split(/ {2,}/));
    expect(timeline?.slice(1, -1).map((cells) => cells.filter(Boolean).slice(1, 3))).toEqual([
      ...[
        ["begun", "charge"],
        ["done", "charge"],
        ["failed", "ship"],
      ],
      ...[
        ["the run is failed", expect.stringContaining("no ship")],
        ["undone", "charge"],
      ],
    ]);
    expect(shown).not.toContain("receipt");
    expect(shown).not.toContain("\u001b");
    expect(text(await inspect(["orders", "asleep"]))).toMatch(/sleeps +rest +due in 2h 59m\n/);
    expect(text(await inspect(["orders", "waiting"]))).toMatch(/\nwaits for +an event\n/);
    const attention = text(await inspect(["orders", "attention"]));
    expect(attention).toMatch(/undo failed +charge +1 +the bank is closed/);
    expect(attention).toMatch(/needs attention +charge +the bank is closed/);
    expect(text(await inspect(["orders", "cancelled"]))).toMatch(
      /cancel is asked +changed my mind/,
    );
  });

  test("has its values if they are asked for", async () => {
    await fill();
    const bare = await inspect(["orders", "completed"]);
    expect(JSON.stringify(bare.json)).not.toMatch(/receipt|in full|"input"|"value"/);
    const view = await inspect(["orders", "completed"], { values: true });
    expect(view.json).toMatchObject({
      workflow: "orders",
      run: { id: "completed", input: "completed", output: "paid in full" },
      timeline: expect.arrayContaining([
        expect.objectContaining({ what: "done", name: "charge", value: "receipt of completed" }),
        expect.objectContaining({ what: "event", name: "paid", value: "in full" }),
      ]) as unknown,
    });
    const shown = text(view);
    expect(shown).toMatch(/\noutput +"paid in full"\n/);
    expect(shown).toMatch(/\nattributes +\{"region":"eu"\}\n/);
    expect(lineOf(shown, "done")).toMatch(/"receipt of completed"$/);
  });

  test("is shown with the attempts of what was tried again", async () => {
    const { hf } = await world.process();
    hf.open(orders).work(handle);
    await world.hf.open(orders).start("shaky", { id: "shaky" });
    await world.advance(7_000);
    const before = text(await inspect(["orders", "shaky"]));
    expect(before).toMatch(/to be tried again +call +1 +line is busy, due \d+s ago\n/);
    expect(before).toMatch(/to be tried again +call +2 +line is busy, due in \d+s\n/);
    await world.advance(60_000);
    expect(text(await inspect(["orders", "shaky"]))).toMatch(/done +call +3\n/);
  });

  test("long values are cut, unless they are asked for whole, and hostile ones are escaped", async () => {
    const { hf } = await world.process();
    hf.open(orders).work(handle);
    const long = `${HOSTILE}${"x".repeat(2_000)}`;
    await world.hf.open(orders).start(long, { id: HOSTILE });
    await world.advance(1_000);
    const view = await inspect(["orders", HOSTILE], { values: true });
    expect(text(view)).not.toContain("x".repeat(1_200));
    expect(text(view, { isFull: true })).toContain("x".repeat(2_000));
    for (const shown of [
      text(view),
      text(view, { isFull: true }),
      text(await inspect(["orders"])),
    ]) {
      expect(shown).not.toContain("\u001b");
      expect(shown).not.toContain("\u202e");
    }
  });

  test("that has not begun has nothing on record", async () => {
    await world.hf.open(orders).start("x", { id: "new" });
    expect(text(await inspect(["orders", "new"]))).toMatch(
      /\n\nNothing is on record of it yet.\n$/,
    );
  });

  test("that is not there is an error", async () => {
    await fill();
    const missing = inspect(["orders", "nobody"]);
    await expect(missing).rejects.toThrow(ActionError);
    await expect(missing).rejects.toThrow('There is no run "nobody" of workflow "orders"');
  });
});

describe("actions", () => {
  beforeEach(fill);

  test("an event is sent, once under its id", async () => {
    const options = { send: "paid", data: '"by card"', id: "e-1" };
    const sent = await inspect(["orders", "waiting"], options);
    expect(json<object>(sent)).toMatchObject({ action: "sent, as the run's event 1" });
    expect(text(sent)).toMatch(/^done +sent, as the run's event 1\n/);
    expect(await inspect(["orders", "waiting"], options)).toMatchObject({
      json: { action: "sent, as the run's event 1" },
    });
    await world.advance(1_000);
    expect((await world.hf.open(orders).get("waiting"))?.output).toBe("paid by card");
    const late = inspect(["orders", "waiting"], { send: "paid" });
    await expect(late).rejects.toThrow("got completed: it has ended, and it takes no events");
    await expect(inspect(["orders", "asleep"], { send: "$cancel" })).rejects.toThrow("`$`");
  });

  test("a cancel has the run undo what it did", async () => {
    const options = { cancel: true, reason: "a mistake" };
    expect((await inspect(["orders", "asleep"], options)).json).toMatchObject({
      action: "cancel asked",
    });
    await world.advance(1_000);
    const run = await world.hf.open(orders).get("asleep");
    expect(run).toMatchObject({ status: "cancelled", error: "a mistake", undone: ["charge"] });
    const late = inspect(["orders", "asleep"], { cancel: true });
    await expect(late).rejects.toThrow("got cancelled: it has ended, and there is nothing");
  });

  test("a fork goes on from a step", async () => {
    const view = await inspect(["orders", "failed"], { "fork-from": "ship", id: "again" });
    expect(view.json).toMatchObject({ action: "forked from failed", run: { id: "again" } });
    await world.advance(1_000);
    const again = text(await inspect(["orders", "again"]));
    expect(again).toMatch(/done +charge/);
    const nowhere = inspect(["orders", "failed"], { "fork-from": "shop" });
    await expect(nowhere).rejects.toThrow('steps are "charge", "ship"');
    const taken = inspect(["orders", "failed"], { "fork-from": "ship", id: "again" });
    await expect(taken).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  test("runs that need attention are redriven, one or all", async () => {
    const one = await inspect(["orders", "attention"], { redrive: true });
    expect(one.json).toMatchObject({ action: "redriven" });
    const other = inspect(["orders", "waiting"], { redrive: true });
    await expect(other).rejects.toThrow('Expected run "waiting" to need attention, got waiting');
    await world.advance(1_000);
    const all = await inspect(["orders"], { redrive: true, limit: "5" });
    expect(all.json).toEqual({ workflow: "orders", redriven: 1 });
    expect(text(all)).toBe("Redriven: 1 run\n");
  });

  test.each([
    [[], { redrive: true }, "Expected --redrive with the workflow's name"],
    [["orders"], { cancel: true }, "Expected --cancel with the run's ID"],
    [["orders"], { state: "waitin" }, 'Unknown state "waitin": did you mean "waiting"?'],
    [["orders"], { state: "leased" }, "expected one of running, ready, waiting"],
    [["orders"], { after: "3" }, "Expected --after with --state"],
    [["orders"], { attribute: "region" }, "Expected --attribute NAME=VALUE"],
    [["orders"], { redrive: true, state: "failed" }, "only such runs are redriven"],
    [["orders"], { redrive: true, prefix: "a" }, "the oldest go first"],
    [["orders", "failed"], { limit: "1" }, "Expected no --limit with a run's ID"],
    [["orders", "failed"], { redrive: true, cancel: true }, "one of --cancel and --redrive"],
    [["orders", "failed"], { data: "1" }, "Expected --data with --send"],
    [["orders", "failed"], { cancel: true, id: "x" }, "--id with --send or --fork-from"],
    [["orders", "waiting"], { send: "paid", data: "{" }, "Expected --data to be JSON"],
  ] as const)("refuses %j %j", async (args, options, message) => {
    const refused = inspect(args, options);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });

  test("refuses a name that no workflow can have", async () => {
    const error = await inspect(["$odd"]).catch((found: unknown) => found);
    expect(exitCode(error)).toBe(2);
  });
});
