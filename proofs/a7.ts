/**
 * A7, the coordination store: one contract run over `kv`, by several processes on one store.
 * Compare-and-set, linearizable reads and ordered writes, TTL, session-bound keys under kill, and a
 * gap-free watch across reconnection.
 */
import { Kv } from "holdfast/ports/kv";
import { proveCas } from "./a7/cas.ts";
import { proveEphemeral } from "./a7/ephemeral.ts";
import { proveReads } from "./a7/reads.ts";
import { proveTtl } from "./a7/ttl.ts";
import { proveWatch } from "./a7/watch.ts";
import { startMember, type World } from "./a7/world.ts";
import type { Findings, ProofContext } from "./proof.ts";

const PARTS: readonly (readonly [name: string, prove: (world: World) => Promise<Findings>])[] = [
  ["compare-and-set from two processes", proveCas],
  ["linearizable reads, ordered writes", proveReads],
  ["keys with a TTL", proveTtl],
  ["keys bound to a session", proveEphemeral],
  ["a watch across kills", proveWatch],
];

export async function proveA7(context: ProofContext): Promise<Findings> {
  const { store } = context.engine;
  const [first, second] = await Promise.all([
    startMember(context, "member-1"),
    startMember(context, "member-2"),
  ]);
  const world: World = {
    ...context,
    clock: store.clock,
    kv: new Kv<number>(store),
    members: [first, second],
  };
  const checks: Findings["checks"][number][] = [];
  const figures: Findings["figures"][number][] = [];
  for (const [name, prove] of PARTS) {
    context.say(name);
    const found = await prove(world);
    checks.push(...found.checks);
    figures.push(...found.figures);
  }
  return { checks, figures };
}
