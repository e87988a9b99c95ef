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
   * The states that the call may leave if it may give this output in this state, else none. No
   * output known: any is allowed.
   */
  apply(state: S, input: I, output: O | undefined): readonly S[];
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
      for (const state of model.apply(node.state, call.input, call.output)) {
        stack.push(after(sorted, node, index, state));
      }
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
 * What a key holds; `revision` 0: there is no such key, `UNKNOWN`: that of a write whose answer was
 * lost, until somebody tells it. `lastRevision` is the newest known.
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
 * `revision` that was written or found; `value` that was read or summed up; `isRefused`: a `put-if`
 * did not hold, a `delete` found nothing.
 */
export interface KeyOutput {
  readonly revision: number;
  readonly value: string | null;
  readonly isRefused: boolean;
}

const UNKNOWN = -1;

/**
 * A key as the kv port promises it: reads see the last write, a conditional write holds exactly on
 * the revision that it names.
 */
export const keyModel: Model<KeyState, KeyInput, KeyOutput> = {
  initial: { value: null, revision: 0, lastRevision: 0 },
  apply(state, input, output) {
    switch (input.kind) {
      case "read":
        if (output === undefined) return [state];
        return output.value === state.value ? found(state, output.revision) : [];
      case "put":
        return written(state, input.value, output);
      case "put-if":
        return writtenIf(state, input, output);
      case "delete": {
        const isGone = state.value === null;
        if (output !== undefined && output.isRefused !== isGone) return [];
        return [{ value: null, revision: 0, lastRevision: state.lastRevision }];
      }
      case "add": {
        const sum = String(Number(state.value ?? "0") + input.delta);
        return output === undefined || output.value === sum ? written(state, sum, output) : [];
      }
    }
  },
  textOf: ({ value, revision, lastRevision }) => `${value} ${revision} ${lastRevision}`,
};

/** The state if it may have this revision; a lost answer's is learnt. */
function found(state: KeyState, revision: number): readonly KeyState[] {
  if (state.revision === revision) return [state];
  if (state.revision !== UNKNOWN || revision <= state.lastRevision) return [];
  return [{ ...state, revision, lastRevision: revision }];
}

function written(
  state: KeyState,
  value: string,
  output: KeyOutput | undefined,
): readonly KeyState[] {
  if (output === undefined) return [{ ...state, value, revision: UNKNOWN }];
  const { revision } = output;
  return revision > state.lastRevision ? [{ value, revision, lastRevision: revision }] : [];
}

function writtenIf(
  state: KeyState,
  input: Extract<KeyInput, { kind: "put-if" }>,
  output: KeyOutput | undefined,
): readonly KeyState[] {
  if (output?.isRefused === true) {
    return output.revision === input.revision ? [] : found(state, output.revision);
  }
  // Without an answer it may have been refused as well: that is an order in which it never comes.
  return found(state, input.revision).flatMap((held) => written(held, input.value, output));
}
