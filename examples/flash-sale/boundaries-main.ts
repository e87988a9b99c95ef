/**
 * A crash at each step boundary in turn: holds one sale without a crash and one for each boundary,
 * and compares what they came to.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { shutdownSignal } from "holdfast";
import { SeededRandom } from "holdfast/store";
import { holdRound } from "./boundaries.ts";
import type { Round } from "./boundaries.ts";
import { CRASH_POINTS } from "./crash-point.ts";
import { generateOrders } from "./generate.ts";
import { numberOption } from "./options.ts";

const HELP = `A crash at each step boundary of an order in turn.

  node dist-examples/flash-sale/boundaries-main.js [options]

  --orders N     orders of each sale, all of them at once (200)
  --points LIST  only these boundaries, with commas between them
  --lanes N      sales that are held side by side (4)
  --seed N       of the orders and the payment service (1)
  --broken       take orders without care; the sales must come to different things
  --json         one object instead of a table

Boundaries: ${CRASH_POINTS.join(", ")}

Exit code: 0 if each crash hit orders and all sales came to the same, 1 if not, 2 if they could not
be held.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      orders: { type: "string", default: "200" },
      points: { type: "string", default: CRASH_POINTS.join() },
      lanes: { type: "string", default: "4" },
      seed: { type: "string", default: "1" },
      broken: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const count = numberOption("orders", values.orders, { min: 1, max: 1_000 });
  const lanes = numberOption("lanes", values.lanes, { min: 1, max: 32 });
  const seed = numberOption("seed", values.seed, { min: 0, max: 4_294_967_295 });
  const points = values.points.split(",").map((point) => point.trim());
  const unknown = points.find((point) => !CRASH_POINTS.includes(point));
  if (unknown !== undefined) throw new Error(`Expected boundaries as in --help, got ${unknown}`);
  const random = new SeededRandom(seed);
  const orders = generateOrders(() => random.next(), { count });
  const folder = await mkdtemp(join(tmpdir(), "flash-sale-boundaries-"));
  const signal = shutdownSignal();
  const isBroken = values.broken;
  const tell = (round: Round): void => {
    if (!values.json) process.stdout.write(`${lineOf(round)}\n`);
  };
  try {
    const rounds = await holdAll([null, ...points], lanes, async (point) => {
      const round = await holdRound(point, { orders, folder, seed, isBroken, signal });
      tell(round);
      return round;
    });
    const wrong = wrongs(rounds);
    if (values.json) process.stdout.write(`${JSON.stringify({ orders: count, rounds, wrong })}\n`);
    else process.stdout.write(`${wrong.join("\n") || "All of them came to the same."}\n`);
    return wrong.length === 0 ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** So many at a time; the results are in the order of the points. */
async function holdAll(
  points: readonly (string | null)[],
  lanes: number,
  hold: (point: string | null) => Promise<Round>,
): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < points.length) {
      const at = next++;
      rounds[at] = await hold(points[at] ?? null);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return rounds;
}

/** What is not as it should be, in words. */
function wrongs(rounds: readonly Round[]): readonly string[] {
  const [calm, ...crashes] = rounds;
  const expected = JSON.stringify(calm?.totals);
  return [
    ...rounds.flatMap(({ point, findings }) => findings.map((text) => `${point}: ${text}`)),
    ...crashes
      .filter(({ crashed }) => crashed === 0)
      .map(({ point }) => `${point}: no order was there when the process died`),
    ...crashes
      .filter(({ totals }) => JSON.stringify(totals) !== expected)
      .map(({ point, totals }) => `${point}: ${JSON.stringify(totals)}, expected ${expected}`),
  ];
}

function lineOf({ point, crashed, totals }: Round): string {
  const { completed, returned, adjusted, failed } = totals;
  const ended = `${completed} completed, ${returned} returned, ${adjusted} adjusted, ${failed} failed`;
  return `${(point ?? "no crash").padEnd(22)} ${String(crashed).padStart(4)} orders crashed · ${ended}`;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
