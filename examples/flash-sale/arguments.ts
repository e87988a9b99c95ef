/** The command line of the shop. */
import { parseArgs } from "node:util";
import { numberOption } from "./options.ts";

/** What was asked for, checked, with every default filled in. */
export interface ShopArguments {
  /** An order file; undefined: generated. */
  readonly orders: string | undefined;
  readonly seed: number;
  readonly count: number;
  readonly repeat: number;
  readonly stock: number;
  readonly processes: number;
  readonly kills: number;
  /** A store's URL; undefined: a new file. */
  readonly engine: string | undefined;
  readonly isBroken: boolean;
  readonly isJson: boolean;
  readonly isHelp: boolean;
}

export const HELP: string = `The flash sale: real orders, several processes, one store, and kill -9.

  npm run -s shop -- [options]

Orders
  --orders FILE    an order file in the columns of the UCI "Online Retail" set
                   (without it, orders are generated)
  --count N        generated orders (500)
  --seed N         of the generator and the killer (1)
  --repeat N       play the orders N times, as new ones (1)
  --stock SHARE    what each code starts with, of its demand (0.6)

The run
  --processes N    worker processes (4)
  --kills N        kill -9 of workers, the payment service, and workers that are just
                   undoing an order, in turn (5)
  --engine URL     the store (a new SQLite file in a temporary folder)
  --broken         take orders without care; the audit must find what the kills make of that
  --json           print one object at the end, and nothing else
  --help           this text

Examples
  npm start
  npm run -s shop -- --count 20000 --kills 0
  npm run -s shop -- --orders online-retail.csv --processes 4 --kills 8
  npm run -s shop -- --engine sqlite:./shop.db --json

Exit code: 0 if the audit finds nothing wrong, 1 if it does or if the run was too easy to show
anything (no order completed or none failed, fewer than 10 % met a shortage, fewer kills than
asked for, or none of some kind), 2 if the arguments are wrong or the sale could not be held, 130
if it was interrupted.
`;

const OPTIONS = {
  orders: { type: "string" },
  seed: { type: "string", default: "1" },
  count: { type: "string", default: "500" },
  repeat: { type: "string", default: "1" },
  stock: { type: "string", default: "0.6" },
  processes: { type: "string", default: "4" },
  kills: { type: "string", default: "5" },
  engine: { type: "string" },
  broken: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** Reads the arguments; throws with what was expected. */
export function shopArguments(args: readonly string[]): ShopArguments {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  return {
    orders: values.orders,
    seed: numberOption("seed", values.seed, { min: 0, max: 4_294_967_295 }),
    count: numberOption("count", values.count, { min: 1, max: 800_000 }),
    repeat: numberOption("repeat", values.repeat, { min: 1, max: 10_000 }),
    stock: numberOption("stock", values.stock, { min: 0, max: 1_000, isFraction: true }),
    processes: numberOption("processes", values.processes, { min: 1, max: 64 }),
    kills: numberOption("kills", values.kills, { min: 0, max: 1_000 }),
    engine: values.engine,
    isBroken: values.broken,
    isJson: values.json,
    isHelp: values.help,
  };
}
