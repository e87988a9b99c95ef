/** Concurrent histories of the kv port, given to the checker. */
import assert from "node:assert/strict";
import { Kv } from "../ports/kv/index.ts";
import {
  checkHistory,
  History,
  keyModel,
  type KeyInput,
  type KeyOutput,
  type KeyState,
} from "./history.ts";
import { concurrently, draw, pick, type Cases, type World } from "./kit.ts";

type KeyHistory = History<KeyInput, KeyOutput>;

const CLIENTS = 6;
const STEPS = 40;
const KEYS = 3;

/** One client: random calls on random keys, conditional ones on the revision that it saw last. */
class Client {
  readonly #world: World;
  readonly #kv: Kv<number>;
  readonly #no: number;
  readonly #histories: ReadonlyMap<string, KeyHistory>;
  readonly #seen = new Map<string, number>();

  constructor(
    world: World,
    kv: Kv<number>,
    no: number,
    histories: ReadonlyMap<string, KeyHistory>,
  ) {
    this.#world = world;
    this.#kv = kv;
    this.#no = no;
    this.#histories = histories;
  }

  async step(i: number): Promise<void> {
    const { random } = this.#world;
    const key = pick(random, [...this.#histories.keys()]);
    const history = this.#histories.get(key) as KeyHistory;
    const input = this.#input(key, this.#no * 1_000 + i, draw(random, 10));
    const output = await history.record(this.#no, input, () => this.#call(key, input));
    if (output !== undefined) this.#seen.set(key, output.revision);
  }

  #input(key: string, value: number, kind: number): KeyInput {
    const text = String(value);
    if (kind < 4) return { kind: "read" };
    if (kind < 6) return { kind: "put", value: text };
    if (kind < 8) return { kind: "put-if", value: text, revision: this.#seen.get(key) ?? 0 };
    if (kind < 9) return { kind: "add", delta: 1 };
    return { kind: "delete" };
  }

  async #call(key: string, input: KeyInput): Promise<KeyOutput> {
    const kv = this.#kv;
    switch (input.kind) {
      case "read": {
        const entry = await kv.get(key);
        const value = entry === null ? null : String(entry.value);
        return { revision: entry?.revision ?? 0, value, isRefused: false };
      }
      case "put": {
        const { revision } = await kv.put(key, Number(input.value));
        return { revision, value: input.value, isRefused: false };
      }
      case "put-if": {
        const { value, revision: ifRevision } = input;
        const result = await kv.tryPut(key, Number(value), { ifRevision });
        return { revision: result.revision, value, isRefused: !result.ok };
      }
      case "add": {
        const result = await kv.tryAdd(key, input.delta);
        assert.ok(result.ok);
        return { revision: result.revision, value: String(result.value), isRefused: false };
      }
      case "delete": {
        const isThere = await kv.delete(key);
        return { revision: 0, value: null, isRefused: !isThere };
      }
    }
  }
}

function assertLinearizable(histories: ReadonlyMap<string, KeyHistory>): void {
  for (const [key, { calls }] of histories) {
    const verdict = checkHistory<KeyState, KeyInput, KeyOutput>(calls, keyModel);
    if (verdict.isLinearizable) continue;
    const stuck = verdict.stuckAt.map((call) => JSON.stringify(call)).join("\n");
    assert.fail(
      `No order explains the answers on "${key}"; none of these can come next:\n${stuck}`,
    );
  }
}

function histories(): ReadonlyMap<string, KeyHistory> {
  return new Map(Array.from({ length: KEYS }, (_, i) => [`k${i}`, new History()]));
}

async function clients(world: World, of: ReadonlyMap<string, KeyHistory>): Promise<Client[]> {
  const stores = await Promise.all([world.store(), world.store(), world.store()]);
  const views = stores.map((store) => new Kv<number>(store));
  return Array.from({ length: CLIENTS }, (_, i) => {
    return new Client(world, views[i % views.length] as Kv<number>, i, of);
  });
}

export const kvHistoryCases: Cases = {
  "Concurrent reads and writes of a key by any processes are linearizable.": async (world) => {
    const { store } = await world.aside();
    for (let round = 0; round < 3; round++) {
      const of = histories();
      const all = await clients(world, of);
      for (const key of of.keys()) await new Kv<number>(store).delete(key);
      await concurrently(CLIENTS, async (i) => {
        for (let step = 0; step < STEPS; step++) await (all[i] as Client).step(step);
      });
      assertLinearizable(of);
    }
  },

  "They stay so when processes die in the middle: a write without an answer took effect once or never.":
    async (world) => {
      const of = histories();
      for (let life = 0; life < 3; life++) {
        const all = await clients(world, of);
        let steps = 0;
        let dies: Promise<void> | undefined;
        await concurrently(CLIENTS, async (i) => {
          for (let step = 0; step < STEPS && dies === undefined; step++) {
            await (all[i] as Client).step(life * 100 + step);
            if (life < 2 && ++steps === 60) dies = world.crash();
          }
        });
        await dies;
      }
      assertLinearizable(of);
    },
};
