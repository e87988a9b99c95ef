import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ManualClock } from "../core/clock.ts";
import { HoldfastError, isHoldfastError } from "../core/errors.ts";
import { SeededRandom } from "../core/random.ts";
import { Batcher, type Pending } from "./batcher.ts";
import type { Group, GroupResult } from "./ops.ts";

const LIMITS = {
  groupsPerCommit: 4,
  opsPerCommit: 8,
  commitBytes: 20,
  groupsWaiting: 12,
  bytesWaiting: 60,
};

type Step =
  | {
      readonly do: "submit";
      readonly ops: number;
      readonly bytes: number;
      readonly isPoison: boolean;
    }
  | { readonly do: "withdraw"; readonly which: number }
  | { readonly do: "pass"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      ops: fc.integer({ min: 1, max: 10 }),
      bytes: fc.integer({ min: 1, max: 25 }),
      isPoison: fc.boolean().map((flag) => flag),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("withdraw" as const), which: fc.nat(200) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat(400) }) },
);

/** A driver that applies, loses its answer, or applies nothing, by a seeded draw. */
class World {
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly batcher: Batcher;
  readonly applied = new Map<string, number>();
  readonly poison = new Set<string>();
  readonly wrongs: string[] = [];
  inFlight = 0;

  constructor(seed: number, commitsInFlight: number) {
    this.random = new SeededRandom(seed);
    const { clock, random } = this;
    const options = { clock, random: random.split(), commitsInFlight, limits: LIMITS };
    this.batcher = new Batcher((groups) => this.#commit(groups, commitsInFlight), options);
  }

  async #commit(groups: readonly Group[], most: number): Promise<readonly GroupResult[]> {
    this.inFlight++;
    if (this.inFlight > most) this.wrongs.push(`${this.inFlight} in flight`);
    const ops = groups.reduce((sum, { ops: each }) => sum + each.length, 0);
    if (groups.length > LIMITS.groupsPerCommit) this.wrongs.push(`${groups.length} groups`);
    if (groups.length > 1 && ops > LIMITS.opsPerCommit) this.wrongs.push(`${ops} ops`);
    const draw = this.random.next();
    const isPoisoned = groups.some(({ partition }) => this.poison.has(partition));
    await new Promise<void>((resolve) => this.clock.timer(this.random.next() * 50, resolve));
    this.inFlight--;
    if (draw < 0.2)
      throw new HoldfastError("UNAVAILABLE", "cut", { retryable: true, outcome: "not-applied" });
    if (isPoisoned) throw new HoldfastError("INVALID_DATA", "poison", { outcome: "not-applied" });
    for (const { partition } of groups)
      this.applied.set(partition, (this.applied.get(partition) ?? 0) + 1);
    if (draw < 0.3) throw new HoldfastError("UNAVAILABLE", "no answer", { outcome: "unknown" });
    return groups.map(({ partition }) => ({
      ok: true,
      revision: Number(partition.slice(1)),
      results: [],
    }));
  }
}

interface Call {
  readonly name: string;
  readonly pending: Pending;
  isWithdrawn: boolean;
  ends: string[];
}

async function run(world: World, steps: readonly Step[]): Promise<Call[]> {
  const calls: Call[] = [];
  for (const each of steps) {
    if (each.do === "pass") await world.clock.advance(each.ms);
    else if (each.do === "withdraw") {
      const call = calls[each.which % Math.max(1, calls.length)];
      if (call !== undefined && world.batcher.withdraw(call.pending)) call.isWithdrawn = true;
    } else submit(world, each, calls);
  }
  // One turn of the clock may end before the batcher's own turn has armed the next timer.
  const { batcher, clock } = world;
  for (let i = 0; i < 1_000 && batcher.waiting + batcher.inFlight > 0; i++)
    await clock.advance(1_000);
  await clock.advance(0);
  return calls;
}

function submit(world: World, each: Extract<Step, { do: "submit" }>, calls: Call[]): void {
  const name = `g${calls.length}`;
  if (each.isPoison && calls.length % 5 === 0) world.poison.add(name);
  const ops = Array.from({ length: each.ops }, () => ({ op: "kv.get", key: "k" }) as const);
  let pending: Pending;
  try {
    pending = world.batcher.submit({ partition: name, ops }, each.bytes);
  } catch (error) {
    if (!isHoldfastError(error, "OVERLOADED")) throw error;
    return;
  }
  const call: Call = { name, pending, isWithdrawn: false, ends: [] };
  calls.push(call);
  pending.promise.then(
    (result) =>
      call.ends.push(result.ok && result.revision === Number(name.slice(1)) ? "ok" : "mixed up"),
    (error: HoldfastError) => call.ends.push(String(error.outcome)),
  );
}

/** How often each end may have been applied. */
const APPLIED: Readonly<Record<string, readonly number[]>> = {
  ok: [1],
  "not-applied": [0],
  unknown: [0, 1],
};

test("every group ends once, with its own result, and was applied as its end says", async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 80 }),
    fc.nat(),
    fc.integer({ min: 1, max: 3 }),
    async (steps, seed, commitsInFlight) => {
      const world = new World(seed, commitsInFlight);
      const calls = await run(world, steps);
      expect(world.wrongs).toEqual([]);
      for (const { name, ends, isWithdrawn } of calls) {
        const applied = world.applied.get(name) ?? 0;
        if (isWithdrawn) expect([ends, applied]).toEqual([[], 0]);
        else {
          expect(ends).toHaveLength(1);
          expect(APPLIED[ends[0] as string]).toContain(applied);
        }
      }
      expect([world.batcher.waiting, world.batcher.inFlight]).toEqual([0, 0]);
      await world.batcher.idle();
    },
  );
  await fc.assert(property, { numRuns: 300 });
});
