/** What an engine does with a port that it does not serve: it says so. */
import { Bus } from "../ports/bus/index.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import { Runs } from "../ports/runs/index.ts";
import { refuses, type Cases, type World } from "./kit.ts";

const CALLS = {
  kv: async (world: World): Promise<readonly Promise<unknown>[]> => {
    const kv = new Kv<number>(await world.store());
    return [kv.put("k", 1), kv.tryPut("k", 1, { ifRevision: 0 }), kv.add("k", 1), kv.delete("k")];
  },
  queue: async (world: World): Promise<readonly Promise<unknown>[]> => {
    const queue = new Queue(await world.store(), "q");
    return [queue.add({ payload: "" }), queue.configure({}), queue.cancel("j"), queue.pause()];
  },
  runs: async (world: World): Promise<readonly Promise<unknown>[]> => {
    const runs = new Runs(await world.store(), "r");
    // Its start is a job's add: the queue's to refuse.
    return [runs.send("a", { event: "e", data: "" })];
  },
  bus: async (world: World): Promise<readonly Promise<unknown>[]> => {
    const bus = new Bus(await world.store());
    return [bus.publish("t", 1)];
  },
} as const;

/** The suite of a port that the engine's capability record does not name. */
export function absentCases(port: "kv" | "queue" | "runs" | "bus"): Cases {
  return {
    [`An engine that does not serve ${port} refuses its ops with \`UNSUPPORTED\`.`]: async (
      world,
    ) => {
      for (const call of await CALLS[port](world)) await refuses(call, "UNSUPPORTED");
    },
  };
}
