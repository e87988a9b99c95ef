/**
 * The audit as a program of its own: reads a store with the bare client and the order file, prints
 * what it finds, and exits with 1 if anything is wrong or the run was too easy to show anything.
 */
import { parseArgs } from "node:util";
import { audit } from "./audit.ts";
import type { AuditReport, AuditTask } from "./audit.ts";
import { openBooks, openPayments, paymentsPath, storePath } from "./audit-read.ts";
import type { OpenBooks } from "./audit-read.ts";
import { auditTable } from "./audit-table.ts";
import { demandOf, readOrderFile } from "./input.ts";
import { numberOption } from "./options.ts";
import { initialStock, repeat } from "./rules.ts";
import type { Order } from "./rules.ts";

const HELP = `Audits a finished sale.

  node dist-examples/flash-sale/audit-main.js --engine URL --orders FILE [options]

  --engine URL     the sale's store, sqlite:PATH
  --orders FILE    the orders of the sale
  --payments FILE  the payment service's database (PATH with -payments.db)
  --repeat N       how often they were played (1)
  --stock SHARE    what each code started with, of its demand (0.6)
  --kills N        kills that were asked for (0)
  --json           one object instead of a table

Exit code: 0 if the books are right, 1 if not or if the run was too easy, 2 if it can't be audited.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      engine: { type: "string" },
      orders: { type: "string" },
      payments: { type: "string" },
      repeat: { type: "string", default: "1" },
      stock: { type: "string", default: "0.6" },
      kills: { type: "string", default: "0" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.engine === undefined || values.orders === undefined) {
    throw new Error("Expected --engine and --orders: see --help");
  }
  const rounds = numberOption("repeat", values.repeat, { min: 1, max: 10_000 });
  const share = numberOption("stock", values.stock, { min: 0, max: 1_000, isFraction: true });
  const kills = numberOption("kills", values.kills, { min: 0, max: 1_000 });
  const file = await readOrderFile(values.orders);
  const orders = new Map<string, Order>();
  for (const order of repeat(file.orders, rounds)) orders.set(order.id, order);
  const stock = initialStock(demandOf(file.orders, rounds), share);
  const path = storePath(values.engine);
  const books = openBooks(path);
  try {
    const task = { orders, stock, kills };
    const report = auditWith(books, values.payments ?? paymentsPath(path), task);
    const isTerminal = process.stdout.isTTY;
    const text = values.json ? JSON.stringify(report) : auditTable(report, isTerminal);
    process.stdout.write(`${text}\n`);
    return report.isClean && report.tooEasy.length === 0 ? 0 : 1;
  } finally {
    books.close();
  }
}

function auditWith(books: OpenBooks, path: string, task: AuditTask): AuditReport {
  const payments = openPayments(path);
  try {
    return audit(books, payments, task);
  } finally {
    payments.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
