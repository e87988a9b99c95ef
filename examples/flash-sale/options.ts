/** Numbers on the command line. */

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  /** True: any number; else whole ones only. */
  readonly isFraction?: boolean | undefined;
}

/** Reads a number; throws with what was expected. */
export function numberOption(name: string, text: string, range: NumberRange): number {
  const value = text.trim() === "" ? NaN : Number(text);
  const isWhole = range.isFraction === true || Number.isInteger(value);
  if (isWhole && value >= range.min && value <= range.max) return value;
  const kind = range.isFraction === true ? "a number" : "a whole number";
  throw new RangeError(
    `Expected --${name} to be ${kind} from ${range.min} to ${range.max}, got ${text}`,
  );
}
