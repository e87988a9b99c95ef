/**
 * Session-bound keys: they live as long as their process, vanish when it is killed, and at once
 * when it ends in order.
 */
import { check, figure, until, wait } from "../kit/figures.ts";
import type { Node } from "../kit/node.ts";
import type { Findings } from "../proof.ts";
import { plain } from "./member.ts";
import { startMember, type World } from "./world.ts";

const KEYS = 10;
const SLACK_MS = 1_000;

export async function proveEphemeral(world: World): Promise<Findings> {
  const { clock, kv, isShort, engine } = world;
  const ttlMs = isShort ? 800 : 2_000;
  const holder = await startMember(world, "holder", { sessionTtlMs: ttlMs });
  const leaver = await startMember(world, "leaver", { sessionTtlMs: ttlMs });
  const kept = await hold(world.members[0], "ephemeral/kept/");
  const held = await hold(holder, "ephemeral/killed/");
  const left = await hold(leaver, "ephemeral/left/");
  const { revision } = await kv.list("ephemeral/");

  await wait(clock, ttlMs * 1.5);
  const alive = await count(world, [...kept, ...held, ...left]);
  await leaver.stop();
  const leftBehind = await count(world, left);

  world.say(`${engine.kill}: a process that holds ${KEYS} keys`);
  const killedMs = clock.monotonicMs();
  await holder.kill();
  const boundMs = ttlMs + SLACK_MS;
  const [goneMs, toldMs] = await Promise.all([
    untilGone(world, held, killedMs + boundMs),
    untilTold(world, { revision, keys: held, endMs: killedMs + boundMs }),
  ]);
  const stayed = await count(world, kept);
  const after = (ms: number | null): string =>
    ms === null ? "never" : `${Math.round(ms - killedMs)} ms`;
  return {
    checks: [
      check(
        "keys bound to a live session stay",
        alive === 3 * KEYS,
        `${alive}/${3 * KEYS} after 1.5 TTLs`,
      ),
      check("they are gone when it ends in order", leftBehind === 0, `${leftBehind} left behind`),
      check(
        `they vanish within TTL + 1 s (${boundMs} ms) of its process's kill`,
        goneMs !== null,
        `${after(goneMs)} after the kill`,
      ),
      check(
        "and its watchers are told of each",
        toldMs !== null,
        `${after(toldMs)} after the kill`,
      ),
      check("those of other sessions stay", stayed === KEYS, `${stayed}/${KEYS}`),
    ],
    figures: [
      figure("session TTL", ttlMs, "ms"),
      figure(
        "keys of a killed process gone after",
        goneMs === null ? null : goneMs - killedMs,
        "ms",
      ),
    ],
  };
}

/** Binds keys to the member's session. */
async function hold(member: Node, prefix: string): Promise<readonly string[]> {
  const keys = Array.from({ length: KEYS }, (_, i) => `${prefix}${i}`);
  await Promise.all(
    keys.map((key, value) => member.ask("put", plain({ key, value, isHeld: true }))),
  );
  return keys;
}

async function count({ kv }: World, keys: readonly string[]): Promise<number> {
  return (await kv.get(keys)).filter((entry) => entry !== null).length;
}

/** When none of the keys was there any more; null: not by `endMs`. */
async function untilGone(
  world: World,
  keys: readonly string[],
  endMs: number,
): Promise<number | null> {
  const { clock } = world;
  const isGone = await until(
    clock,
    endMs - clock.monotonicMs(),
    async () => (await count(world, keys)) === 0,
  );
  return isGone ? clock.monotonicMs() : null;
}

/** When a watch had told of the end of every key; null: not by `endMs`. */
async function untilTold(
  { clock, kv }: World,
  watch: { readonly revision: number; readonly keys: readonly string[]; readonly endMs: number },
): Promise<number | null> {
  const left = new Set(watch.keys);
  const ended = new AbortController();
  const timer = clock.timer(watch.endMs - clock.monotonicMs(), () => ended.abort());
  try {
    const options = { cursor: watch.revision, signal: ended.signal };
    for await (const { changes } of kv.watch("ephemeral/", options)) {
      for (const { type, key } of changes) if (type === "delete") left.delete(key);
      if (left.size === 0) return clock.monotonicMs();
    }
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  } finally {
    timer.cancel();
  }
  return null;
}
