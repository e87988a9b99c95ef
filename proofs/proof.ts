/**
 * What a proof is: a thin program that exercises the library's public API on a real engine and real
 * processes, measures, and says whether the row's promise held. Each has a broken variant that must
 * fail: a proof that cannot fail proves nothing.
 */
import type { Durability } from "holdfast";
import { systemClock } from "holdfast/store";
import { openEngine, type Engine } from "./kit/engine.ts";

/** One sentence that must hold, with what was got. */
export interface Check {
  readonly name: string;
  readonly isOk: boolean;
  readonly got: string;
}

/** One measured number; null: it never came to that. */
export interface Figure {
  readonly name: string;
  readonly value: number | null;
  readonly unit: string;
}

export interface Findings {
  readonly checks: readonly Check[];
  readonly figures: readonly Figure[];
}

export interface ProofContext {
  readonly engine: Engine;
  /** Runs the broken variant. */
  readonly isBroken: boolean;
  /** Runs a smaller form, for tests and a quick look. */
  readonly isShort: boolean;
  /** Tells how far it is. */
  readonly say: (line: string) => void;
}

/** A row of the map of systems that can be shown. */
export interface Proof {
  /** As in the map: `b1`. */
  readonly id: string;
  readonly title: string;
  readonly claim: string;
  /** What `--broken` breaks. */
  readonly broken: string;
  readonly engines: readonly string[];
  readonly load: () => Promise<(context: ProofContext) => Promise<Findings>>;
}

export interface RunOptions {
  /** Default: a SQLite file in a temporary folder, removed afterwards. */
  readonly url?: string | undefined;
  readonly isBroken?: boolean | undefined;
  readonly isShort?: boolean | undefined;
  readonly say?: ((line: string) => void) | undefined;
  /** Ends everything that was started, and the run with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface Report extends Findings {
  readonly row: string;
  readonly title: string;
  readonly claim: string;
  readonly engine: string;
  readonly durability: Durability;
  readonly isBroken: boolean;
  readonly isShort: boolean;
  readonly isOk: boolean;
  readonly seconds: number;
}

/** Runs the proof on the engine and cleans up after it. Throws if it could not be carried out. */
export async function runProof(proof: Proof, options: RunOptions = {}): Promise<Report> {
  const { url, isBroken = false, isShort = false, say = () => {}, signal } = options;
  signal?.throwIfAborted();
  const run = await proof.load();
  const engine = await openEngine(url, `prove-${proof.id}`);
  const startMs = systemClock.monotonicMs();
  try {
    const running = run({ engine, isBroken, isShort, say });
    const { checks, figures } = await orAbort(running, signal);
    const seconds = Number(((systemClock.monotonicMs() - startMs) / 1_000).toFixed(1));
    return {
      row: proof.id,
      title: proof.title,
      claim: proof.claim,
      engine: engine.scheme,
      durability: await engine.store.durability(),
      isBroken,
      isShort,
      // A proof that checked nothing proves nothing.
      isOk: checks.length > 0 && checks.every((check) => check.isOk),
      seconds,
      checks,
      figures,
    };
  } finally {
    await engine.close();
  }
}

async function orAbort<T>(running: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return running;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  running.catch(() => {});
  try {
    return await Promise.race([running, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
