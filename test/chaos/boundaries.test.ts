/**
 * A crash at each step boundary of the shop's orders in turn, 200 orders wide: whatever a process
 * was in the middle of when it died, the orders come to the same. With a careless till they do not.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const PROGRAM = fileURLToPath(
  new URL("../../dist-examples/flash-sale/boundaries-main.js", import.meta.url),
);

interface Report {
  readonly orders: number;
  readonly rounds: readonly {
    readonly point: string | null;
    readonly crashed: number;
    readonly totals: Readonly<Record<string, unknown>>;
    readonly findings: readonly string[];
  }[];
  readonly wrong: readonly string[];
}

function run(
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly report: Report }> {
  const child = spawn(process.execPath, [PROGRAM, "--json", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, report: JSON.parse(out || "{}") as Report }));
  });
}

test("a crash at each step boundary in turn gives the same totals as none", async () => {
  const { code, report } = await run("--orders", "200");
  expect(report.wrong).toEqual([]);
  const [calm, ...crashes] = report.rounds;
  expect(calm?.point).toBeNull();
  expect(crashes.length).toBe(18);
  for (const { point, crashed, totals, findings } of crashes) {
    expect(crashed, String(point)).toBeGreaterThan(0);
    expect(findings).toEqual([]);
    expect(totals).toEqual(calm?.totals);
  }
  // Most of them die in the middle of the same step.
  const [first] = crashes;
  expect(first).toMatchObject({ point: "reserve: before" });
  expect(first?.crashed).toBeGreaterThan(150);
  // There is something of each kind to come out differently.
  expect(Object.values(calm?.totals ?? {}).filter((total) => total === 0)).toEqual([0]);
  expect(calm?.totals).toMatchObject({ refused: 0 });
  expect(code).toBe(0);
});

test("a careless till comes to something else at each of its boundaries", async () => {
  const points = ["reserve: done", "charge: done", "confirm: done"];
  const { code, report } = await run("--orders", "40", "--broken", "--points", points.join());
  for (const point of points) {
    expect(report.wrong.filter((text) => text.startsWith(point)).length, point).toBeGreaterThan(1);
  }
  expect(code).toBe(1);
});
