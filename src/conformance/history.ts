/**
 * A recorder of concurrent calls and a check that some order of them, which respects real time,
 * explains every answer (linearizability). Small on purpose: per key, some hundred calls, about a
 * dozen at once.
 *
 * Source: J. Wing and C. Gong, "Testing and Verifying Concurrent Objects", JPDC 1993; the memo of
 * (calls done, state) is G. Lowe's, "Testing for Linearizability", CCPE 2017.
 */

/**
 * A call and its answer. `output` undefined: it was never answered, and may have taken effect or
 * not.
 */
export interface Call<I, O> {
  readonly client: number;
  readonly input: I;
  readonly output: O | undefined;
  /** Instants of one counter: the call began, and its answer came (`Infinity`: never). */
  readonly startAt: number;
  readonly endAt: number;
}

/** The object that the calls are made on, one call at a time. */
export interface Model<S, I, O> {
  readonly initial: S;
  /**
   * The state after the call if it may give this output in this state, else undefined. No output
   * known: any is allowed.
   */
  apply(state: S, input: I, output: O | undefined): S | undefined;
  /** Equal states have equal texts. */
  textOf(state: S): string;
}

/** Collects the calls of one object. */
export class History<I, O> {
  readonly calls: Call<I, O>[] = [];
  #at = 0;

  /**
   * Runs the call and notes when it began and ended; a call that rejects was never answered. Gives
   * its output.
   */
  async record(client: number, input: I, run: () => Promise<O>): Promise<O | undefined> {
    const startAt = this.#at++;
    let output: O | undefined;
    try {
      output = await run();
      return output;
    } catch {
      return undefined;
    } finally {
      const endAt = output === undefined ? Infinity : this.#at++;
      this.calls.push({ client, input, output, startAt, endAt });
    }
  }
}

/**
 * How far a search got: all calls before `base` are in the order, and of the later ones those in
 * `ahead`.
 */
interface Node<S> {
  readonly base: number;
  readonly ahead: readonly number[];
  readonly state: S;
  readonly answered: number;
}

export type Verdict<I, O> =
  | { readonly isLinearizable: true }
  /** The calls of which none could come next, at the farthest point that the search reached. */
  | { readonly isLinearizable: false; readonly stuckAt: readonly Call<I, O>[] };

/**
 * Looks for an order of the calls that the model allows. Complexity: exponential in the calls at
 * once, linear in their number.
 */
export function checkHistory<S, I, O>(
  calls: readonly Call<I, O>[],
  model: Model<S, I, O>,
): Verdict<I, O> {
  const sorted = [...calls].sort((a, b) => a.startAt - b.startAt);
  const answered = sorted.filter((call) => call.endAt !== Infinity).length;
  const seen = new Set<string>();
  const stack: Node<S>[] = [{ base: 0, ahead: [], state: model.initial, answered: 0 }];
  let farthest: Node<S> | undefined;
  for (;;) {
    const node = stack.pop();
    if (node === undefined) break;
    if (node.answered === answered) return { isLinearizable: true };
    const text = `${node.base} ${node.ahead.join(",")} ${model.textOf(node.state)}`;
    if (seen.has(text)) continue;
    seen.add(text);
    if (farthest === undefined || node.answered > farthest.answered) farthest = node;
    // The last candidate is tried first: the one that began first goes on top.
    for (const index of candidates(sorted, node).reverse()) {
      const call = sorted[index] as Call<I, O>;
      const state = model.apply(node.state, call.input, call.output);
      if (state !== undefined) stack.push(after(sorted, node, index, state));
    }
  }
  const at = farthest ?? { base: 0, ahead: [], state: model.initial, answered: 0 };
  const stuckAt = candidates(sorted, at).map((index) => sorted[index] as Call<I, O>);
  return { isLinearizable: false, stuckAt };
}

/** Calls that may come next: those that began before the first answer among all that are left. */
function candidates<S, I, O>(sorted: readonly Call<I, O>[], node: Node<S>): number[] {
  const found: number[] = [];
  let firstEndAt = Infinity;
  for (let i = node.base; i < sorted.length; i++) {
    const call = sorted[i] as Call<I, O>;
    if (call.startAt > firstEndAt) break;
    if (node.ahead.includes(i)) continue;
    firstEndAt = Math.min(firstEndAt, call.endAt);
    found.push(i);
  }
  return found.filter((i) => (sorted[i] as Call<I, O>).startAt < firstEndAt);
}

function after<S, I, O>(
  sorted: readonly Call<I, O>[],
  node: Node<S>,
  index: number,
  state: S,
): Node<S> {
  const ahead = new Set(node.ahead).add(index);
  let { base } = node;
  while (ahead.delete(base)) base++;
  const isAnswered = (sorted[index] as Call<I, O>).endAt !== Infinity;
  const list = [...ahead].sort((a, b) => a - b);
  return { base, ahead: list, state, answered: node.answered + (isAnswered ? 1 : 0) };
}

// ---------------------------------------------------------------- a key of kv

/**
 * What a key holds; `revision` 0: there is no such key. `lastRevision` is that of its newest
 * change.
 */
export interface KeyState {
  readonly value: string | null;
  readonly revision: number;
  readonly lastRevision: number;
}
export type KeyInput =
  | { readonly kind: "read" }
  | { readonly kind: "put"; readonly value: string }
  | { readonly kind: "put-if"; readonly value: string; readonly revision: number }
  | { readonly kind: "delete" }
  | { readonly kind: "add"; readonly delta: number };
/**
 * `revision` of the answer; `value` what was read, or the sum; `isRefused`: a `put-if` did not
 * hold.
 */
export interface KeyOutput {
  readonly revision: number;
  readonly value: string | null;
  readonly isRefused: boolean;
}

/**
 * A key as the kv port promises it: reads see the last write, a conditional write holds only on the
 * revision it names.
 */
export const keyModel: Model<KeyState, KeyInput, KeyOutput> = {
  initial: { value: null, revision: 0, lastRevision: 0 },
  apply(state, input, output) {
    if (input.kind === "read") return applyRead(state, output);
    if (input.kind === "put-if") {
      const holds = state.revision === input.revision;
      if (output?.isRefused === true) return holds ? undefined : state;
      if (!holds) return output === undefined ? state : undefined;
      return written(state, input.value, output);
    }
    if (input.kind === "put") return written(state, input.value, output);
    if (input.kind === "delete") {
      const { lastRevision } = state;
      return {
        value: null,
        revision: 0,
        lastRevision: Math.max(lastRevision, output?.revision ?? 0),
      };
    }
    const sum = String(Number(state.value ?? "0") + input.delta);
    return output !== undefined && output.value !== sum ? undefined : written(state, sum, output);
  },
  textOf: ({ value, revision, lastRevision }) => `${value} ${revision} ${lastRevision}`,
};

function applyRead(state: KeyState, output: KeyOutput | undefined): KeyState | undefined {
  if (output === undefined) return state;
  if (output.value !== state.value) return undefined;
  // A write whose answer was lost has a revision that the first reader tells.
  if (state.revision === -1) return { ...state, revision: output.revision };
  return output.revision === state.revision ? state : undefined;
}

function written(
  state: KeyState,
  value: string,
  output: KeyOutput | undefined,
): KeyState | undefined {
  if (output === undefined) return { value, revision: -1, lastRevision: state.lastRevision };
  const { revision } = output;
  return revision > state.lastRevision ? { value, revision, lastRevision: revision } : undefined;
}
