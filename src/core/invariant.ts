/**
 * A broken promise of our own: a defect of Holdfast, never of its caller. It is not caught on the
 * way out.
 */
export class InvariantError extends Error {
  readonly data: unknown;
  constructor(message: string, data?: unknown) {
    super(`Invariant broken: ${message}. This is a defect in Holdfast; please report it.`);
    this.name = "InvariantError";
    this.data = data;
  }
}

/** Crashes the operation when a fact that must hold does not. */
export function invariant(condition: unknown, message: string, data?: unknown): asserts condition {
  if (!condition) throw new InvariantError(message, data);
}
