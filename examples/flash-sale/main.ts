/** The shop: holds a sale, and has it audited. `--help` tells how. */
import { fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { shutdownSignal } from "holdfast";
import { SeededRandom } from "holdfast/store";
import { HELP, shopArguments } from "./arguments.ts";
import type { ShopArguments } from "./arguments.ts";
import { paymentsPath, storePath } from "./audit-read.ts";
import type { Malformed } from "./csv.ts";
import { readOrderFile, writeOrderFile } from "./input.ts";
import { runSale } from "./sale.ts";
import type { SaleReport } from "./sale.ts";
import { openView, silentView } from "./view.ts";

/** Where a run has its files. */
interface Place {
  readonly url: string;
  /** The payment service's database, beside the store. */
  readonly payments: string;
  readonly orders: string;
  /** A new folder, if one was needed. */
  readonly folder: string | undefined;
}

/** What the sale knows that is not in the store. */
interface Held extends SaleReport {
  readonly processes: number;
  /** Lines of the file. */
  readonly malformed: number;
}

/** Malformed lines that are told one by one. */
const MALFORMED_SHOWN = 10;
const INTERRUPTED = 130;

const AUDIT = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./audit-main.ts" : "./audit-main.js", import.meta.url),
);

async function main(args: ShopArguments, signal: AbortSignal): Promise<number> {
  // Before anything is written: an engine that can't be audited.
  if (args.engine !== undefined) storePath(args.engine);
  const place = await findPlace(args);
  let held: Held;
  try {
    held = await hold(args, place, signal);
  } catch (error) {
    // A sale that did not end is of no use to anybody.
    if (place.folder !== undefined) await rm(place.folder, { recursive: true, force: true });
    throw error;
  }
  const { code, output } = await audit(args, place);
  if (args.isJson) tellJson(held, place, output);
  else tellPlace(args, place);
  return code;
}

/** The files that were named, and for the rest a new folder with generated orders. */
async function findPlace(args: ShopArguments): Promise<Place> {
  const { engine, orders } = args;
  if (engine !== undefined && orders !== undefined) {
    return { url: engine, payments: paymentsPath(storePath(engine)), orders, folder: undefined };
  }
  const folder = await mkdtemp(join(tmpdir(), "flash-sale-"));
  const url = engine ?? `sqlite:${encodeURI(join(folder, "shop.db")).replaceAll("?", "%3F")}`;
  const place = {
    url,
    payments: paymentsPath(storePath(url)),
    orders: orders ?? join(folder, "orders.csv"),
    folder,
  };
  if (orders === undefined) {
    const random = new SeededRandom(args.seed);
    await writeOrderFile(place.orders, () => random.next(), args.count);
  }
  return place;
}

/** Reads the orders, and sells. */
async function hold(args: ShopArguments, place: Place, signal: AbortSignal): Promise<Held> {
  const { orders, malformed } = await readOrderFile(place.orders);
  tellMalformed(malformed);
  if (orders.length === 0) {
    throw new Error(`Expected at least one order in ${place.orders}, got none`);
  }
  const view = args.isJson ? silentView : openView(process.stdout);
  const { repeat: rounds, stock, processes, kills, seed, isBroken } = args;
  const { url, payments } = place;
  const total = orders.length * rounds;
  view.say(`The flash sale: ${total} orders, ${processes} processes, ${kills} kills, ${url}`);
  const plan = { url, payments, orders, rounds, stock, processes, kills, seed, isBroken };
  const sale = await runSale({ ...plan, view, signal });
  if (sale.isStalled) {
    process.stderr.write("No order ended for a minute: the sale was given up.\n");
  }
  return { ...sale, processes, malformed: malformed.length };
}

/** Runs the audit, a program of its own, on what the sale left. */
async function audit(
  args: ShopArguments,
  place: Place,
): Promise<{ readonly code: number; readonly output: string }> {
  const options = {
    engine: place.url,
    orders: place.orders,
    payments: place.payments,
    repeat: args.repeat,
    stock: args.stock,
    kills: args.kills,
  };
  const list = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = fork(AUDIT, args.isJson ? [...list, "--json"] : list, {
    stdio: ["ignore", args.isJson ? "pipe" : "inherit", "inherit", "ipc"],
  });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  const code = await new Promise<number>((done, fail) => {
    child.once("error", fail);
    child.once("close", (status) => done(status ?? 2));
  });
  if (code === 2) throw new Error("The sale could not be audited");
  return { code, output };
}

function tellMalformed(malformed: readonly Malformed[]): void {
  for (const { line, reason } of malformed.slice(0, MALFORMED_SHOWN)) {
    process.stderr.write(`line ${line}: ${reason}\n`);
  }
  const more = malformed.length - MALFORMED_SHOWN;
  if (more > 0) process.stderr.write(`... and ${more} more malformed lines\n`);
}

/** The audit's own object, and what the sale adds; nothing of the audit is overwritten. */
function tellJson(held: Held, place: Place, output: string): void {
  const report = JSON.parse(output) as Readonly<Record<string, unknown>>;
  const all = { ...held, ...report, engine: place.url, input: resolve(place.orders) };
  process.stdout.write(`${JSON.stringify(all)}\n`);
}

/** For a shell, if it has anything that a shell would read. */
function quoted(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function tellPlace({ repeat, stock, kills }: ShopArguments, place: Place): void {
  const program = "node dist-examples/flash-sale/audit-main.js";
  const files = `--engine ${quoted(place.url)} --orders ${quoted(resolve(place.orders))}`;
  process.stdout.write(
    `The store is kept: ${place.url}\n` +
      `Audit it again: ${program} ${files} --repeat ${repeat} --stock ${stock} --kills ${kills}\n`,
  );
}

/** The command line's own frame: an exit code for each way to end. */
async function run(): Promise<number> {
  const args = shopArguments(process.argv.slice(2));
  if (args.isHelp) {
    process.stdout.write(HELP);
    return 0;
  }
  const signal = shutdownSignal();
  try {
    return await main(args, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    process.stderr.write("Interrupted: the sale was not audited.\n");
    return INTERRUPTED;
  }
}

try {
  process.exitCode = await run();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
