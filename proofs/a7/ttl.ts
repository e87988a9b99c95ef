/**
 * TTL: a key is there until its time, never seen after it, and watchers are told within 1 s. All
 * instants are the proof's own monotonic clock: a key's end lies between its TTL after the put was
 * sent and its TTL after it was answered.
 */
import { check, figure, until, wait } from "../kit/figures.ts";
import type { Findings } from "../proof.ts";
import type { World } from "./world.ts";

const PREFIX = "ttl/";
const FIRST_MS = 300;
const STEP_MS = 40;
/** Clocks count whole milliseconds on one side and fractions on the other. */
const ROUNDING_MS = 2;
const EVENT_WITHIN_MS = 1_000;
const POLL_MS = 5;

interface Life {
  readonly key: string;
  /** Not over before. */
  readonly earliestMs: number;
  /** Over after. */
  readonly latestMs: number;
}

interface Look {
  readonly startMs: number;
  readonly endMs: number;
  readonly present: readonly boolean[];
}

export async function proveTtl(world: World): Promise<Findings> {
  const { clock, kv, isShort } = world;
  const ended = new AbortController();
  const { revision } = await kv.list(PREFIX);
  const goneMs = new Map<string, number>();
  const watching = (async () => {
    try {
      const options = { cursor: revision, signal: ended.signal };
      for await (const { changes } of kv.watch(PREFIX, options)) {
        for (const { type, key } of changes)
          if (type === "delete") goneMs.set(key, clock.monotonicMs());
      }
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    }
  })();
  // Told below: a proof whose own watch failed could not be carried out.
  watching.catch(() => {});
  const lives = await Promise.all(
    Array.from({ length: isShort ? 8 : 20 }, (_, i) => putOne(world, i)),
  );
  const looks = await lookUntilGone(world, lives);
  const lastMs = Math.max(...lives.map(({ latestMs }) => latestMs));
  await until(
    clock,
    lastMs + EVENT_WITHIN_MS - clock.monotonicMs(),
    () => goneMs.size === lives.length,
  );
  ended.abort();
  await watching;
  return judge(lives, looks, goneMs);
}

async function putOne({ clock, kv }: World, i: number): Promise<Life> {
  const key = `${PREFIX}${String(i).padStart(2, "0")}`;
  const ttlMs = FIRST_MS + i * STEP_MS;
  const sentMs = clock.monotonicMs();
  // An engine may round the TTL up; it says what it made of it.
  const written = await kv.put(key, i, { ttlMs });
  const heldMs = written.ttlMs ?? ttlMs;
  const answeredMs = clock.monotonicMs();
  return {
    key,
    earliestMs: sentMs + heldMs - ROUNDING_MS,
    latestMs: answeredMs + heldMs + ROUNDING_MS,
  };
}

/**
 * Reads all keys over and over, in the members' processes, until a while after the last one's end.
 */
async function lookUntilGone({ clock, members }: World, lives: readonly Life[]): Promise<Look[]> {
  const keys = lives.map(({ key }) => key);
  const endMs = Math.max(...lives.map(({ latestMs }) => latestMs)) + 100;
  const looks: Look[] = [];
  const look = async (member: World["members"][number]): Promise<void> => {
    while (clock.monotonicMs() < endMs) {
      const startMs = clock.monotonicMs();
      const present = (await member.ask("present", keys)) as readonly boolean[];
      looks.push({ startMs, endMs: clock.monotonicMs(), present });
      await wait(clock, POLL_MS);
    }
  };
  await Promise.all(members.map(look));
  return looks;
}

function judge(
  lives: readonly Life[],
  looks: readonly Look[],
  goneMs: ReadonlyMap<string, number>,
): Findings {
  let late = 0;
  let early = 0;
  lives.forEach(({ earliestMs, latestMs }, i) => {
    for (const { startMs, endMs, present } of looks) {
      if (present[i] === true && startMs > latestMs) late++;
      if (present[i] === false && endMs < earliestMs) early++;
    }
  });
  const lateness = lives.map(({ key, latestMs }) =>
    Math.max(0, (goneMs.get(key) ?? Infinity) - latestMs),
  );
  const slowest = Math.max(...lateness);
  const told = lives.filter(({ key }) => goneMs.has(key)).length;
  const reads = `${looks.length} reads of ${lives.length} keys`;
  return {
    checks: [
      check(
        "a key with a TTL is never seen after its time",
        late === 0,
        `${late} late sights in ${reads}`,
      ),
      check("nor gone before it", early === 0, `${early} early ends in ${reads}`),
      check(
        `its watchers are told within ${EVENT_WITHIN_MS} ms`,
        slowest <= EVENT_WITHIN_MS,
        `${told}/${lives.length} told`,
      ),
    ],
    figures: [figure("expiry event, latest", slowest, "ms")],
  };
}
