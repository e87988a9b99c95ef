/** What the parts of the contract run share. */
import type { Kv } from "holdfast/ports/kv";
import type { Clock } from "holdfast";
import type { Node } from "../kit/node.ts";
import type { ProofContext } from "../proof.ts";
import { plain } from "./member.ts";

export interface World extends ProofContext {
  readonly clock: Clock;
  /** The proof's own view of the store. */
  readonly kv: Kv<number>;
  /** Two processes that live through the whole run. */
  readonly members: readonly [Node, Node];
}

/** Starts a further process of the same kind. */
export function startMember(
  context: ProofContext,
  name: string,
  options: Pick<Parameters<ProofContext["engine"]["start"]>[1], "onEvent" | "sessionTtlMs"> = {},
): Promise<Node> {
  const input = plain({ isBroken: context.isBroken });
  return context.engine.start("a7.member", { name, input, ...options });
}
