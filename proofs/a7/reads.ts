/**
 * Linearizable reads and ordered writes. One process writes and is answered, and only then another
 * one reads: what it reads may not be older. And of two writes of which the second was sent after
 * the first was answered, the second has the greater revision, whatever their keys and processes.
 */
import { check, figure } from "../kit/figures.ts";
import type { Findings } from "../proof.ts";
import { plain } from "./member.ts";
import type { World } from "./world.ts";

/** Handovers under way at once, each on a key of its own. */
const LANES = 8;

export async function proveReads({ members, isShort, clock }: World): Promise<Findings> {
  const rounds = isShort ? 10 : 40;
  const startMs = clock.monotonicMs();
  let stale = 0;
  let disordered = 0;
  /** The greatest revision that anybody was answered. */
  let answered = 0;
  const lane = async (no: number): Promise<void> => {
    const key = `reads/${no}`;
    for (let i = 1; i <= rounds; i++) {
      // The roles change, so that each process reads what the other one wrote.
      const [writer, reader] = (i + no) % 2 === 0 ? members : ([members[1], members[0]] as const);
      const before = answered;
      const revision = (await writer.ask("put", plain({ key, value: i, isHeld: false }))) as number;
      if (revision <= before) disordered++;
      answered = Math.max(answered, revision);
      if ((await reader.ask("get", key)) !== i) stale++;
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, no) => lane(no)));
  const total = rounds * LANES;
  return {
    checks: [
      check(
        "a read sees every write that was answered before it, in whatever process",
        stale === 0,
        `${stale} of ${total} reads were stale`,
      ),
      check(
        "a write that follows an answered one has a greater revision",
        disordered === 0,
        `${disordered} of ${total} writes were out of order`,
      ),
    ],
    figures: [
      figure(
        "write in one process, read in another",
        (clock.monotonicMs() - startMs) / rounds,
        "ms",
      ),
    ],
  };
}
