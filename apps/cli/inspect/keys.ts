/** `holdfast inspect keys [PREFIX] [--get KEY]` */
import type { Data } from "holdfast";
import { Kv, type KvValue } from "holdfast/ports/kv";
import { dataBytes, LIMITS, type Codec } from "holdfast/store";
import { integerOption, type Options } from "../args.ts";
import { ActionError, UsageError } from "../failure.ts";
import { list, table, type Cell, type Column, type Layout } from "../table.ts";
import { dataJson, dataText, numberText, visible } from "../text.ts";
import { nothingHere, type Place, type View } from "./open.ts";

/** Values as they are stored: the program's codec is not known here. */
const STORED: Codec = {
  name: "stored",
  encode: (value) => value as Data,
  decode: (data) => data,
};

const ABOUT = "inspect keys";
const PAGE_ROWS = 50;
const SHOWN_CHARS = 120;

export async function inspectKeys(
  place: Place,
  args: readonly string[],
  options: Options,
): Promise<View> {
  const { hf, partition } = place;
  const key = options.get;
  const [prefix = ""] = args;
  const hasReserved = options.reserved === true || (key ?? prefix).startsWith("$");
  const kv = new Kv<Data>(hf.store, { partition, codec: STORED, hasReserved });
  if (key === undefined) return page(place, kv, prefix, options);
  const extra =
    args.length > 0
      ? "PREFIX"
      : (["after", "limit"] as const).find((name) => options[name] !== undefined);
  if (extra !== undefined)
    throw new UsageError(`Expected --get without ${extra}: it names one key`, ABOUT);
  const entry = await kv.get(key);
  if (entry !== null) return one(entry);
  throw new ActionError("NOT_FOUND", `There is no key "${key}" in ${kv.partitionName}`);
}

function jsonOf({ key, value, revision }: KvValue<Data>): Record<string, unknown> {
  return { key, revision, bytes: dataBytes(value), value: dataJson(value) };
}

function one(entry: KvValue<Data>): View {
  const { key, value, revision } = entry;
  return {
    json: { key: jsonOf(entry) },
    text: (layout) =>
      list(
        [
          ["key", key],
          ["revision", String(revision)],
          ["bytes", numberText(dataBytes(value))],
          ["value", dataText(value, layout.isFull ? Infinity : SHOWN_CHARS * 10)],
        ],
        layout,
      ),
  };
}

const COLUMNS: readonly Column[] = [
  { title: "KEY", atLeast: 16 },
  { title: "REVISION", align: "right" },
  { title: "BYTES", align: "right" },
  { title: "VALUE", atLeast: 8 },
];

async function page(place: Place, kv: Kv<Data>, prefix: string, options: Options): Promise<View> {
  const limit = integerOption(options, "limit", { min: 1, max: LIMITS.pageRows }) ?? PAGE_ROWS;
  const found = await kv.list(prefix, { limit, after: options.after });
  const { entries, revision, next } = found;
  const what = prefix === "" ? "keys" : `keys beginning with "${prefix}"`;
  const empty = entries.length > 0 || next !== null ? "" : await nothingHere(place, what);
  return {
    json: { keys: entries.map(jsonOf), revision, next },
    text: (layout) => (empty === "" ? pageText(entries, next, layout) : empty),
  };
}

function pageText(entries: readonly KvValue<Data>[], next: string | null, layout: Layout): string {
  const rows = entries.map(({ key, value, revision }): Cell[] => [
    key,
    String(revision),
    numberText(dataBytes(value)),
    dataText(value, layout.isFull ? Infinity : SHOWN_CHARS),
  ]);
  const more = next === null ? "" : `More: --after ${shellWord(next)}\n`;
  return table(COLUMNS, rows, layout) + layout.paint("dim", more);
}

/** The text as one word of a shell (bash, zsh), so that the hint can be pasted. */
function shellWord(text: string): string {
  if (/^[\w./:@%+,=-]+$/.test(text)) return text;
  const isSafe = visible(text) === text;
  if (isSafe) return `'${text.replaceAll("'", `'\\''`)}'`;
  return `$'${visible(text.replace(/[\\']/g, (char) => `\\${char}`))}'`;
}
