/** Sessions whose process is silent, for tests of what others may do then. */
import assert from "node:assert/strict";
import type { Session } from "../store/session.ts";
import type { World } from "./kit.ts";

/**
 * Lets the session's time in the store run out while its process believes to hold it: what a long
 * pause does. It is done by shortening the session's TTL in the store, so that no test depends on
 * how fast the machine is.
 */
export async function loseSession(
  world: World,
  session: Session,
  partition: string = world.namespace,
): Promise<void> {
  const { store } = await world.aside();
  const renew = { op: "session.renew", session: session.id, ttlMs: 1 } as const;
  const committed = await store.commit(partition, [renew]);
  assert.ok(committed.ok, "the session was live");
  await world.pass(2);
}
