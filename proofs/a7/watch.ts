/**
 * The watch: a process follows a range of keys while another one writes it, is killed again and
 * again, and is followed by another process that goes on from the last cursor that was heard of.
 * From the batches alone a mirror is kept; in the end it must equal the range, and every key that
 * was ever written must have been told of.
 */
import { HoldfastError } from "holdfast";
import type { KvList } from "holdfast/ports/kv";
import { check, figure, until, wait } from "../kit/figures.ts";
import type { Node } from "../kit/node.ts";
import type { Findings } from "../proof.ts";
import { plain, type WatchEvent, type WatchFailure } from "./member.ts";
import { startMember, type World } from "./world.ts";

const PREFIX = "watch/";
/** Between a watcher's end and the next one's start: writes go on meanwhile. */
const APART_MS = 100;
const CATCH_UP_MS = 5_000;
const WRITE_WITHIN_MS = 60_000;

export async function proveWatch(world: World): Promise<Findings> {
  const { clock, kv, members, isShort } = world;
  const [count, kills] = isShort ? [150, 2] : [400, 3];
  const mirror = new Mirror((await kv.list(PREFIX)).revision);
  let watcher = await startWatcher(world, mirror, 0);
  const [writer] = members;
  const writing = writer.ask("write", plain({ prefix: PREFIX, count, gapMs: 6 }));
  for (let i = 1; i <= kills; i++) {
    const share = (count * i) / (kills + 1);
    await until(
      clock,
      WRITE_WITHIN_MS,
      async () => ((await writer.ask("written")) as number) >= share,
    );
    await watcher.kill();
    await wait(clock, APART_MS);
    watcher = await startWatcher(world, mirror, i);
    world.say(
      `${world.engine.kill}: the watcher; the next one went on from revision ${mirror.cursor}`,
    );
  }
  await writing;
  const truth = new Map<string, number>();
  let page: KvList<number> | undefined;
  do {
    page = await kv.list(PREFIX, { limit: 1_000, after: page?.next ?? undefined });
    for (const { key, value } of page.entries) truth.set(key, value);
  } while (page.next !== null);
  await until(clock, CATCH_UP_MS, () => mirror.isBroken || mirror.differences(truth) === 0);
  await watcher.stop();
  mirror.check();
  return judge(mirror, truth, { count, kills });
}

async function startWatcher(world: World, mirror: Mirror, no: number): Promise<Node> {
  const onEvent = (event: unknown): void => mirror.hear(event as WatchEvent | WatchFailure);
  const node = await startMember(world, `watcher-${no}`, { onEvent });
  await node.ask("watch", plain({ prefix: PREFIX, cursor: mirror.cursor }));
  return node;
}

/** The range as the batches tell it, and what was wrong with them. */
class Mirror {
  /** Everything up to it was heard. */
  cursor: number;
  events = 0;
  resyncs = 0;
  /** A batch or a key whose revision went back, or was told of twice. */
  disorders = 0;
  readonly #values = new Map<string, number>();
  readonly #revisions = new Map<string, number>();
  #failure: string | undefined;

  constructor(cursor: number) {
    this.cursor = cursor;
  }

  hear(event: WatchEvent | WatchFailure): void {
    if ("failure" in event) this.#failure ??= event.failure;
    else this.#take(event);
  }

  get isBroken(): boolean {
    return this.#failure !== undefined;
  }

  /** Throws what ended a watch, if that was anything but its process's end. */
  check(): void {
    if (this.#failure === undefined) return;
    throw new HoldfastError("FAILED", `A watch ended by itself: ${this.#failure}`);
  }

  #take({ cursor, isResync, changes }: WatchEvent): void {
    if (isResync) this.resyncs++;
    if (cursor < this.cursor) this.disorders++;
    for (const { key, revision, value } of changes) {
      this.events++;
      const isNew =
        revision > this.cursor && revision > (this.#revisions.get(key) ?? 0) && revision <= cursor;
      if (!isNew) this.disorders++;
      this.#revisions.set(key, revision);
      if (value === null) this.#values.delete(key);
      else this.#values.set(key, value);
    }
    this.cursor = Math.max(this.cursor, cursor);
  }

  /** Whether the key was ever told of. */
  knows(key: string): boolean {
    return this.#revisions.has(key);
  }

  /** Keys whose value here is not the one there. */
  differences(truth: ReadonlyMap<string, number>): number {
    const keys = new Set([...truth.keys(), ...this.#values.keys()]);
    return [...keys].filter((key) => truth.get(key) !== this.#values.get(key)).length;
  }
}

function judge(
  mirror: Mirror,
  truth: ReadonlyMap<string, number>,
  { count, kills }: { readonly count: number; readonly kills: number },
): Findings {
  const missed = Array.from({ length: count }, (_, i) => `${PREFIX}own/${i}`).filter(
    (key) => !mirror.knows(key),
  );
  const differences = mirror.differences(truth);
  return {
    checks: [
      check(
        `a watch that goes on from its cursor after ${kills} kills misses no key`,
        missed.length === 0 && mirror.resyncs === 0,
        `${missed.length} of ${count} keys missed, ${mirror.resyncs} resyncs`,
      ),
      check(
        "what it told adds up to the range as it is",
        differences === 0 && truth.size > 0,
        `${differences} differences in ${truth.size} keys`,
      ),
      check(
        "each key's changes came in order, none twice",
        mirror.disorders === 0,
        `${mirror.disorders} of ${mirror.events} changes out of order`,
      ),
    ],
    figures: [
      figure("watch changes told", mirror.events, "changes"),
      figure("watcher kills", kills, "processes"),
    ],
  };
}
