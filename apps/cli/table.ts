/**
 * Tables and lists for a terminal: aligned, cut to its width, coloured only where the caller's
 * `paint` does.
 */
import { columnsOf, cut, visible } from "./text.ts";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "cyan";
/** Adds a style to text; does nothing where there is no colour. */
export type Paint = (style: Style, text: string) => string;

export interface Layout {
  /** Columns of the terminal; undefined: not a terminal, nothing is cut to a width. */
  readonly width: number | undefined;
  readonly paint: Paint;
  /** Payloads and values are shown whole. */
  readonly isFull: boolean;
}

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right" | undefined;
  /** May be cut down to so many columns when the terminal is narrow; undefined: never. */
  readonly atLeast?: number | undefined;
}

/** A cell's text, with the style it wears. Unsafe characters in it are escaped here. */
export type Cell = string | { readonly text: string; readonly style: Style };

const GAP = "  ";

const CODES: Readonly<Record<Style, number>> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  cyan: 36,
};

/** Colour on or off. */
export function painter(hasColour: boolean): Paint {
  return hasColour
    ? (style, text) => (text === "" ? "" : `\u001b[${CODES[style]}m${text}\u001b[0m`)
    : (_style, text) => text;
}

/** Data that is not shown whole is cut to this before it is even measured. */
const LONGEST_CELL = 2_000;

function textOf(cell: Cell, isFull: boolean): string {
  const text = typeof cell === "string" ? cell : cell.text;
  return visible(isFull || text.length <= LONGEST_CELL ? text : `${text.slice(0, LONGEST_CELL)}…`);
}

/** A table with a heading line; the lines end with a line end. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  layout: Layout,
): string {
  const texts = rows.map((row) => row.map((cell) => textOf(cell, layout.isFull)));
  const natural = columns.map(({ title }, i) =>
    Math.max(title.length, ...texts.map((row) => columnsOf(row[i] ?? ""))),
  );
  const widths = fit(columns, natural, layout);
  const lines = [
    layout.paint(
      "bold",
      lineOf(
        columns,
        columns.map(({ title }) => title),
        widths,
      ),
    ),
  ];
  for (const [y, row] of texts.entries()) {
    const styles = (rows[y] ?? []).map((cell) =>
      typeof cell === "string" ? undefined : cell.style,
    );
    lines.push(
      lineOf(columns, row, widths, (text, i) => {
        const style = styles[i];
        return style === undefined ? text : layout.paint(style, text);
      }),
    );
  }
  return `${lines.join("\n")}\n`;
}

/** On a very narrow terminal a cuttable column keeps this much. */
const LEAST = 3;

/** Widths that fit the terminal, taken from the widest columns that may be cut. */
function fit(columns: readonly Column[], natural: readonly number[], layout: Layout): number[] {
  const { width: room } = layout;
  const widths = [...natural];
  if (room === undefined || layout.isFull) return widths;
  shrink(
    widths,
    columns.map(({ atLeast }) => atLeast),
    room,
  );
  shrink(
    widths,
    columns.map(({ atLeast }) => atLeast && LEAST),
    room,
  );
  return widths;
}

/**
 * Cuts the widest columns until all fit, none below its floor; those without a floor are left
 * alone.
 */
function shrink(widths: number[], floors: readonly (number | undefined)[], room: number): void {
  let over = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length) - room;
  while (over > 0) {
    const [widest, next] = cuttable(widths, floors);
    if (widest === undefined) break;
    const floor = Math.max(floors[widest] ?? 0, next);
    const width = widths[widest] as number;
    const step = Math.max(1, Math.min(over, width - floor));
    widths[widest] = width - step;
    over -= step;
  }
}

/** The widest column that may still be cut, and the width of the second widest. */
function cuttable(
  widths: readonly number[],
  floors: readonly (number | undefined)[],
): readonly [widest: number | undefined, next: number] {
  const candidates = widths
    .map((width, index) => ({ index, width, floor: floors[index] }))
    .filter(({ width, floor }) => floor !== undefined && width > floor)
    .sort((a, b) => b.width - a.width);
  return [candidates[0]?.index, candidates[1]?.width ?? 0];
}

function lineOf(
  columns: readonly Column[],
  texts: readonly string[],
  widths: readonly number[],
  dress: (text: string, index: number) => string = (text) => text,
): string {
  const cells = columns.map(({ align }, i) => {
    const width = widths[i] ?? 0;
    const text = cut(texts[i] ?? "", width);
    const pad = " ".repeat(Math.max(0, width - columnsOf(text)));
    // A dressed cell's padding stays outside of its style; the last column needs none.
    const isLast = i === columns.length - 1;
    return align === "right" ? pad + dress(text, i) : dress(text, i) + (isLast ? "" : pad);
  });
  return cells.join(GAP).trimEnd();
}

/** A list of names and values, one a line. */
export function list(
  entries: readonly (readonly [name: string, value: Cell])[],
  layout: Layout,
): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  const lines = entries.map(([name, value]) => {
    const text = textOf(value, layout.isFull);
    const left = layout.width === undefined ? undefined : layout.width - width - GAP.length;
    const shown = layout.isFull || left === undefined || left < 8 ? text : cut(text, left);
    const dressed = typeof value === "string" ? shown : layout.paint(value.style, shown);
    return `${layout.paint("bold", name.padEnd(width))}${GAP}${dressed}`.trimEnd();
  });
  return `${lines.join("\n")}\n`;
}
