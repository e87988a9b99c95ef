/**
 * The built command on a real SQLite file with a job in every state, while its program has the file
 * open.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, type Holdfast } from "holdfast";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const main = fileURLToPath(new URL("../../dist/apps/cli/main.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

let folder: string;
let url: string;
let hf: Holdfast;

function exec(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const child = spawn(command, args, {
    cwd: folder,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

function holdfast(...args: string[]): Promise<Ended> {
  return exec(process.execPath, [main, ...args], { HOLDFAST_URL: url });
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, err } = await holdfast(...args, "--json");
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as T;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  url = `sqlite:${join(folder, "app.db")}`;
  hf = await connect(url);
  const queue = hf.queue("emails");
  const session = await hf.store.session();
  for (const id of ["completed", "dead", "cancelled", "leased"])
    await queue.add({ id, payload: `"${id}"` });
  const { jobs } = await queue.claim(session, 4);
  for (const job of jobs) {
    if (job.id === "completed") await queue.settle(session, job, { outcome: "completed" });
    if (job.id === "dead")
      await queue.settle(session, job, { outcome: "dead", error: "no mailbox" });
    if (job.id === "cancelled") await queue.settle(session, job, { outcome: "cancelled" });
  }
  await queue.add({ id: "ready", payload: "\u001b]0;owned\u0007", key: "ann" });
  await queue.add({ id: "blocked", payload: "{}", key: "ann" });
  await queue.add({ id: "scheduled", payload: "{}", delayMs: 3_600_000 });
  const bulk = Array.from({ length: 1_000 }, (_, i) => ({ payload: `"${"x".repeat(500)}${i}"` }));
  await hf.queue("bulk").addMany(bulk);
  await hf.kv.put("stock/a", { left: 3 });
});

afterAll(async () => {
  await hf.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Queues {
  readonly queues: readonly { readonly queue: string; readonly counts: Record<string, number> }[];
}
interface Jobs {
  readonly jobs: readonly {
    readonly id: string;
    readonly state: string;
    readonly payload: unknown;
  }[];
}

describe("inspect", () => {
  test("queues: one job in each state", async () => {
    const { queues } = await json<Queues>("inspect", "queues");
    const counts = queues.find(({ queue }) => queue === "emails")?.counts;
    expect(counts).toEqual({
      ready: 1,
      leased: 1,
      scheduled: 1,
      blocked: 1,
      completed: 1,
      cancelled: 1,
      dead: 1,
    });
    const { out } = await holdfast("inspect", "queues");
    expect(out).toMatch(/^QUEUE +READY +LEASED .*\nbulk +1,000 .*running\nemails +1 .*running\n$/);
  });

  test("jobs: each state, and nothing raw from a payload", async () => {
    const { jobs } = await json<Jobs>("inspect", "jobs", "emails");
    expect(jobs.map(({ id, state }) => [id, state])).toEqual(
      ["leased", "ready", "scheduled", "blocked", "dead", "cancelled", "completed"].map((id) => [
        id,
        id,
      ]),
    );
    expect(jobs[1]?.payload).toBe("\u001b]0;owned\u0007");
    const { out: asJson } = await holdfast("inspect", "jobs", "emails", "--json");
    const { out } = await holdfast("inspect", "jobs", "emails");
    for (const raw of ["\u0007", "\u001b"]) expect(asJson + out).not.toContain(raw);
    expect(out).toContain("no mailbox");
  });

  test("sessions and keys", async () => {
    const { sessions } = await json<{ sessions: { label: string }[] }>("inspect", "sessions");
    expect(sessions.map(({ label }) => label)).toEqual([hf.store.label]);
    const { key } = await json<{ key: unknown }>("inspect", "keys", "--get", "stock/a");
    expect(key).toMatchObject({ key: "stock/a", value: { left: 3 } });
  });

  test("acts on the store of the running program", async () => {
    const redriven = await json<object>("inspect", "jobs", "emails", "dead", "--retry");
    expect(redriven).toMatchObject({ action: "redriven", job: { state: "ready" } });
    expect((await hf.queue("emails").get("dead"))?.state).toBe("ready");
    const asked = await json<object>("inspect", "jobs", "emails", "leased", "--cancel");
    expect(asked).toMatchObject({ action: "requested", job: { isCancelRequested: true } });
    await json("inspect", "queues", "emails", "--pause");
    expect((await hf.queue("emails").stats()).isPaused).toBe(true);
    await json("inspect", "queues", "emails", "--resume");
    expect((await hf.queue("emails").stats()).isPaused).toBe(false);
  });

  test("a large answer arrives whole", async () => {
    const { jobs } = await json<Jobs>(
      "inspect",
      "jobs",
      "bulk",
      "--state",
      "ready",
      "--limit",
      "1000",
    );
    expect(jobs).toHaveLength(1_000);
    expect(String(jobs[999]?.payload)).toMatch(/^x{500}999$/);
  });

  test("is quiet when its reader has enough", async () => {
    const command = `"${process.execPath}" "${main}" inspect jobs bulk --limit 1000 --full | head -1`;
    const { code, out, err } = await exec("sh", ["-c", command], { HOLDFAST_URL: url });
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^ *SEQ +ID/);
    expect(out.trimEnd().split("\n")).toHaveLength(1);
  });
});

describe("exit codes", () => {
  test("1: what was asked could not be done", async () => {
    const missing = await holdfast("inspect", "jobs", "emails", "nobody");
    expect(missing).toMatchObject({ code: 1, out: "" });
    expect(missing.err).toMatch(/^holdfast: NOT_FOUND: There is no job "nobody" .*\n$/);
    const late = await holdfast("inspect", "jobs", "emails", "completed", "--cancel");
    expect(late).toMatchObject({ code: 1, out: "" });
    expect(late.err).toContain("CONFLICT");
  });

  test("2: the command line is wrong", async () => {
    expect(await holdfast("inspect", "quues")).toMatchObject({ code: 2, out: "" });
    expect(await holdfast("inspect", "queues", "--namespace", "a/b")).toMatchObject({ code: 2 });
  });

  test("3: the store is not there, or is none; and none is made", async () => {
    const gone = await holdfast("inspect", "queues", "--engine", "sqlite:./gone.db");
    expect(gone).toMatchObject({ code: 3, out: "" });
    expect(existsSync(join(folder, "gone.db"))).toBe(false);
    writeFileSync(join(folder, "text.db"), "no database at all\n".repeat(100));
    const text = await holdfast("inspect", "queues", "--engine", "sqlite:./text.db");
    expect(text).toMatchObject({ code: 3, out: "" });
    expect(text.err).toMatch(/^holdfast: MISCONFIGURED: .*\n$/);
  });
});
