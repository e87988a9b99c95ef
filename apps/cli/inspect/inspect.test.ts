/**
 * The inspect commands on a memory store with a job in every state, and a key and a queue with
 * hostile names.
 */
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Holdfast } from "holdfast";
import type { JobState, JobView, QueueView } from "holdfast/store";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ActionError, failureText, UsageError } from "../failure.ts";
import { painter, type Layout } from "../table.ts";
import { inspectJobs } from "./jobs.ts";
import { inspectKeys } from "./keys.ts";
import { forInspection, withStore, type Place, type View } from "./open.ts";
import { inspectQueues } from "./queues.ts";
import { inspectSessions } from "./sessions.ts";

const LAYOUT: Layout = { width: undefined, paint: painter(false), isFull: false };
const HOSTILE = "\u001b[2Jboo\u202e";

let hf: Holdfast;
let place: Place;

beforeEach(async () => {
  hf = await connect("memory:", { namespace: "shop" });
  place = { hf, partition: undefined };
  await fill(hf);
});
afterEach(() => hf.close());

/** One job of each state, named by it. */
async function fill(hf: Holdfast): Promise<void> {
  const queue = hf.queue("emails");
  const session = await hf.store.session();
  const order = ["completed", "dead", "cancelled", "leased"] as const;
  for (const id of order) await queue.add({ id, payload: `{"to":"${id}@example.org"}` });
  const { jobs } = await queue.claim(session, 4);
  const [completed, dead, cancelled, leased] = jobs;
  if (!completed || !dead || !cancelled || !leased) throw new Error("Expected four claimed jobs");
  await queue.settle(session, completed, { outcome: "completed", result: '{"ok":true}' });
  await queue.settle(session, dead, { outcome: "dead", error: "no such mailbox" });
  await queue.settle(session, cancelled, { outcome: "cancelled", error: "changed my mind" });
  await queue.progress(session, leased, '"half way"');
  await queue.add({ id: "ready", payload: HOSTILE, key: "ann" });
  await queue.add({ id: "blocked", payload: new Uint8Array([1, 2, 3]), key: "ann" });
  await queue.add({ id: "scheduled", payload: `"${"x".repeat(500)}"`, delayMs: 3_600_000 });
  await hf.queue("other").pause();
  await hf.kv.put("stock/b", { left: 3 });
  await hf.kv.put("stock/a", "x".repeat(500));
  await hf.kv.put(`odd/${HOSTILE}`, 1, { session });
}

const text = (view: View, layout: Partial<Layout> = {}): string =>
  view.text({ ...LAYOUT, ...layout });
const json = <T>(view: View): T => view.json as T;
const lineOf = (shown: string, word: string): string =>
  shown.split("\n").find((line) => line.includes(word)) ?? "";

describe("inspect queues", () => {
  test("counts each state of every queue", async () => {
    const view = await inspectQueues(place, [], {});
    const emails = lineOf(text(view), "emails").split(/ {2,}/);
    expect(emails.slice(0, 8)).toEqual(["emails", "1", "1", "1", "1", "1", "1", "1"]);
    expect(emails.at(-1)).toBe("running");
    expect(lineOf(text(view), "other")).toMatch(/paused$/);
    const { queues } = json<{ queues: QueueView[] }>(view);
    expect(queues.map(({ queue }) => queue)).toEqual(["emails", "other"]);
    expect(queues[0]?.counts).toMatchObject({ ready: 1, leased: 1, dead: 1 });
  });

  test("shows one with its rules, pauses and resumes it", async () => {
    expect(text(await inspectQueues(place, ["emails"], {}))).toMatch(/at once per key +1\n/);
    const paused = await inspectQueues(place, ["emails"], { pause: true });
    expect(json<{ queue: QueueView }>(paused).queue.isPaused).toBe(true);
    const resumed = await inspectQueues(place, ["emails"], { resume: true });
    expect(json<{ queue: QueueView }>(resumed).queue.isPaused).toBe(false);
  });

  test("makes no queue by pausing what is not there", async () => {
    await expect(inspectQueues(place, ["emial"], { pause: true })).rejects.toThrow(ActionError);
    await expect(inspectQueues(place, [], { pause: true })).rejects.toThrow(UsageError);
    const both = { pause: true, resume: true };
    await expect(inspectQueues(place, ["emails"], both)).rejects.toThrow(UsageError);
    expect(json<{ queues: [] }>(await inspectQueues(place, [], {})).queues).toHaveLength(2);
  });

  test("says where there is something when there is nothing here", async () => {
    const empty: Place = { hf, partition: "eu" };
    expect(text(await inspectQueues(empty, [], {}))).toBe(
      "No queues in shop/eu; this store also holds shop (--namespace, --partition).\n",
    );
  });
});

describe("inspect jobs", () => {
  test("lists the first jobs of each state, what runs or waits first", async () => {
    const view = await inspectJobs(place, ["emails"], {});
    const { jobs, next } = json<{ jobs: JobView[]; next: null }>(view);
    expect(jobs.map(({ id }) => id)).toEqual([
      "leased",
      "ready",
      "scheduled",
      "blocked",
      "dead",
      "cancelled",
      "completed",
    ]);
    expect(next).toBeNull();
    const shown = text(view);
    expect(lineOf(shown, "dead")).toContain("no such mailbox");
    expect(lineOf(shown, "leased")).toContain('"half way"');
    expect(lineOf(shown, "scheduled")).toMatch(/due in (1h|59m)/);
    expect(lineOf(shown, "blocked")).toContain("3 bytes: 010203");
    expect(lineOf(shown, "ready")).toContain("\\u001b[2Jboo\\u202e");
    expect(shown).not.toContain("\u001b");
  });

  test.each(["ready", "leased", "scheduled", "blocked", "dead", "cancelled", "completed"] as const)(
    "lists those that are %s",
    async (state: JobState) => {
      const { jobs } = json<{ jobs: JobView[] }>(await inspectJobs(place, ["emails"], { state }));
      expect(jobs.map(({ id }) => id)).toEqual([state]);
    },
  );

  test("cuts payloads on a terminal, shows them whole with --full, always whole in JSON", async () => {
    const long = "x".repeat(500);
    const view = await inspectJobs(place, ["emails"], { state: "scheduled" });
    expect(text(view)).not.toContain(long);
    expect(text(view, { isFull: true })).toContain(long);
    const { jobs } = json<{ jobs: { payload: unknown; payloadBytes: number }[] }>(view);
    expect(jobs[0]).toMatchObject({ payload: long, payloadBytes: 502 });
  });

  test("goes on from page to page", async () => {
    for (let i = 0; i < 5; i++) await hf.queue("many").add({ id: `job-${i}`, payload: "" });
    const options = { state: "ready", limit: "2" } as const;
    const first = await inspectJobs(place, ["many"], options);
    const { next } = json<{ next: number }>(first);
    expect(text(first)).toContain(`5 in all. More: --after ${next}\n`);
    const second = await inspectJobs(place, ["many"], { ...options, after: String(next) });
    expect(json<{ jobs: JobView[] }>(second).jobs.map(({ id }) => id)).toEqual(["job-2", "job-3"]);
    expect(text(await inspectJobs(place, ["many"], { limit: "3" }))).toContain("5 in all");
  });

  test("shows one with all there is to know", async () => {
    const shown = text(await inspectJobs(place, ["emails", "dead"], {}));
    expect(shown).toMatch(/^queue +emails\n/);
    expect(shown).toMatch(/\nerror +no such mailbox\n/);
    expect(shown).toMatch(/\npayload +\{"to":"dead@example.org"\} \(25 bytes\)\n/);
    expect(shown).toMatch(/\nfinished +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(\d+m?s ago\)\n/);
    expect(text(await inspectJobs(place, ["emails", "leased"], {}))).toContain(hf.store.label);
  });

  test("tries dead jobs again, one or all", async () => {
    const one = await inspectJobs(place, ["emails", "dead"], { retry: true });
    expect(one.json).toMatchObject({ action: "redriven", job: { id: "dead", state: "ready" } });
    const again = inspectJobs(place, ["emails", "dead"], { redrive: true });
    await expect(again).rejects.toThrow('Expected job "dead" to be dead, got ready');
    const session = await hf.store.session();
    for (const job of (await hf.queue("emails").claim(session, 5)).jobs) {
      await hf.queue("emails").settle(session, job, { outcome: "dead", error: "again" });
    }
    // "ready" and "dead" died, and "blocked" stepped up to be ready.
    const all = await inspectJobs(place, ["emails"], { redrive: true, limit: "1" });
    expect(all.json).toEqual({ queue: "emails", redriven: 1 });
    const rest = await inspectJobs(place, ["emails"], { retry: true, state: "dead" });
    expect(text(rest)).toBe("Redriven: 1 dead job\n");
  });

  test("cancels a waiting job, asks the holder of a leased one, and says when it is too late", async () => {
    const cancel = (id: string): Promise<View> =>
      inspectJobs(place, ["emails", id], { cancel: true });
    expect((await cancel("scheduled")).json).toMatchObject({
      action: "cancelled",
      job: { state: "cancelled" },
    });
    expect((await cancel("leased")).json).toMatchObject({
      action: "requested",
      job: { state: "leased", isCancelRequested: true },
    });
    await expect(cancel("completed")).rejects.toThrow("it has finished already");
    await expect(cancel("nobody")).rejects.toThrow('There is no job "nobody" in queue "emails"');
  });

  test.each([
    [["emails"], { cancel: true }, "Expected --cancel with the job's ID"],
    [["emails"], { state: "deed" }, 'Unknown state "deed": did you mean "dead"?'],
    [["emails"], { state: "running" }, "expected one of ready, leased"],
    [["emails"], { after: "3" }, "Expected --after with --state"],
    [["emails"], { redrive: true, state: "ready" }, "only dead jobs are redriven"],
    [["emails"], { redrive: true, after: "1" }, "the oldest go first"],
    [["emails", "dead"], { limit: "1" }, "Expected no --limit with a job's ID"],
    [["emails", "dead"], { retry: true, cancel: true }, "at most one of --retry and --cancel"],
  ])("refuses %j %j", async (args, options, message) => {
    const refused = inspectJobs(place, args, options);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });
});

describe("inspect keys", () => {
  test("lists those with the prefix, cut on a terminal and whole in JSON", async () => {
    const view = await inspectKeys(place, ["stock/"], {});
    const { keys } = json<{ keys: { key: string; value: unknown; bytes: number }[] }>(view);
    expect(keys.map(({ key }) => key)).toEqual(["stock/a", "stock/b"]);
    expect(keys[1]).toMatchObject({ value: { left: 3 }, bytes: 10 });
    expect(keys[0]?.value).toBe("x".repeat(500));
    expect(text(view)).not.toContain("x".repeat(200));
    expect(text(view, { isFull: true })).toContain("x".repeat(500));
  });

  test("shows one; a missing one is an error", async () => {
    const view = await inspectKeys(place, [], { get: "stock/b" });
    expect(view.json).toMatchObject({ key: { key: "stock/b", value: { left: 3 } } });
    expect(text(view)).toMatch(/\nvalue +\{"left":3\}\n/);
    await expect(inspectKeys(place, [], { get: "stock/c" })).rejects.toThrow("There is no key");
    await expect(inspectKeys(place, ["x"], { get: "stock/b" })).rejects.toThrow(UsageError);
  });

  test("escapes a hostile name, and gives it back as a word of a shell", async () => {
    const shown = text(await inspectKeys(place, ["odd/"], {}));
    expect(shown).toContain("odd/\\u001b[2Jboo\\u202e");
    const first = text(await inspectKeys(place, [], { limit: "1" }));
    expect(first).toMatch(/More: --after \$'odd\/\\u001b\[2Jboo\\u202e'\n$/);
    expect(first).not.toContain("\u001b");
  });

  test("goes on from page to page", async () => {
    const first = await inspectKeys(place, ["stock/"], { limit: "1" });
    const { next } = json<{ next: string }>(first);
    expect(next).toBe("stock/a");
    const second = await inspectKeys(place, ["stock/"], { limit: "1", after: next });
    expect(second.json).toMatchObject({ keys: [{ key: "stock/b" }], next: null });
  });
});

test("inspect sessions names the holder and what it holds", async () => {
  const view = await inspectSessions(place);
  const { sessions } = json<{ sessions: { label: string; leases: number }[] }>(view);
  expect(sessions).toMatchObject([{ label: hf.store.label, leases: 1 }]);
  expect(text(view)).toContain(hf.store.label);
});

test("a SQLite file is opened only if it is there, without a thread of its own", () => {
  expect(forInspection("sqlite:./app.db")).toBe("sqlite:./app.db?mode=rw&thread=off");
  expect(forInspection("sqlite:/a%20b.db?mode=ro")).toBe("sqlite:/a%20b.db?mode=ro&thread=off");
  expect(forInspection("postgres://db/app")).toBe("postgres://db/app");
});

test("a mistyped path is told as one, without the mode that the command chose", async () => {
  const open = (engine: string): Promise<string> =>
    withStore({ engine }, {}, async () => "opened").catch((error: unknown) => failureText(error));
  const missing = join(tmpdir(), "holdfast-no-such.db");
  expect(await open(`sqlite:${missing}`)).toBe(
    `holdfast: MISCONFIGURED: There is no file ${missing}: correct the path in --engine or HOLDFAST_URL, or start the program that makes the store (inspecting never makes one)\n`,
  );
  expect(await open(`sqlite:${missing}?mode=rw`)).toContain("mode=rw");
  expect(existsSync(missing)).toBe(false);
});
