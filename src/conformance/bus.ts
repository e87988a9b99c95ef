/**
 * The suite of the bus port: one test for each sentence of `ports/bus/README.md`, in its words and
 * its order.
 */
import assert from "node:assert/strict";
import { bytesCodec } from "../core/codec.ts";
import { LIMITS } from "../core/limits.ts";
import { Bus } from "../ports/bus/index.ts";
import { Kv } from "../ports/kv/index.ts";
import { Queue } from "../ports/queue/index.ts";
import { absentCases } from "./absent.ts";
import {
  declare,
  isWhole,
  refuses,
  rejectsArgument,
  type Cases,
  type ConformanceOptions,
  type World,
  whole,
} from "./kit.ts";

/** Tests an engine's bus port, or that it refuses it where the capability record has none. */
export function busConformance(options: ConformanceOptions): void {
  declare(options, options.capabilities.ports.includes("bus") ? busCases : absentCases("bus"));
}

async function buses(world: World, count: number): Promise<readonly [Bus, Bus, ...Bus[]]> {
  const stores = await Promise.all(Array.from({ length: count }, () => world.store()));
  const all = stores.map((store) => new Bus(store));
  return all as unknown as readonly [Bus, Bus, ...Bus[]];
}

/** Listens, and waits until it is heard: an engine may need a moment to hear of other processes. */
async function listening<T>(world: World, bus: Bus, topic: string): Promise<T[]> {
  const heard: T[] = [];
  const greetings = new Set<unknown>();
  bus.listen<T>(topic, (message) => {
    // Greetings of others come too, some of them late.
    if (typeof message === "string" && message.startsWith("$")) greetings.add(message);
    else heard.push(message);
  });
  const speaker = new Bus((await world.aside()).store);
  const [hello, last] = [world.name("$hello"), world.name("$last")];
  await world.until("a listener hears", async () => {
    await speaker.publish(topic, hello);
    return greetings.has(hello);
  });
  await speaker.publish(topic, last);
  await world.until("the last greeting", () => greetings.has(last));
  return heard;
}

/** Gives the errors that no one catches while the work runs. */
async function uncaught(work: () => Promise<void>): Promise<readonly unknown[]> {
  const errors: unknown[] = [];
  const others = process.listeners("uncaughtException");
  const note = (error: unknown): void => void errors.push(error);
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", note);
  try {
    await work();
  } finally {
    process.removeListener("uncaughtException", note);
    for (const other of others) process.on("uncaughtException", other);
  }
  return errors;
}

export const busCases: Cases = {
  "A message reaches every listener of its topic, in every process, that listened before the publish began, unless it is lost.":
    async (world) => {
      const [one, two, three] = (await buses(world, 3)) as [Bus, Bus, Bus];
      const heard: number[][] = [];
      for (const bus of [one, two, three, three]) heard.push(await listening(world, bus, "t"));
      await one.publish("t", 1);
      // No engine loses messages while nothing breaks.
      await world.until("all have heard", () => heard.every((each) => each.length > 0));
      for (const each of heard) assert.deepEqual(each, [1]);
      const bytes = new Bus(one.store, { codec: bytesCodec });
      const got: unknown[] = [];
      new Bus(two.store, { codec: bytesCodec }).listen("bytes", (message) => got.push(message));
      await world.until("bytes", async () => {
        await bytes.publish("bytes", Uint8Array.of(0, 128, 255));
        return got.length > 0;
      });
      assert.deepEqual([...(got[0] as Uint8Array)], [0, 128, 255]);
    },

  "Messages of one publisher come to a listener in the order in which their publishes were acknowledged.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      const here = await listening<number>(world, one, "t");
      const there = await listening<number>(world, two, "t");
      for (let i = 0; i < 200; i++) await one.publish("t", i);
      await world.until("the last message", () => here.at(-1) === 199 && there.at(-1) === 199);
      const all = Array.from({ length: 200 }, (_, i) => i);
      assert.deepEqual(here, all);
      assert.deepEqual(there, all);
    },

  "A message of a group that was refused is never heard, and one of a group that held is heard after its writes can be read.":
    whole(async (world) => {
      const [one, two] = await buses(world, 2);
      const kv = new Kv<number>(one.store);
      const reader = new Kv<number>(two.store);
      // Judged at the end: a listener has nobody to throw to.
      const reads: Promise<{ readonly i: number; readonly value: number }>[] = [];
      const heard = await listening<number>(world, two, "t");
      two.listen<number>("t", (i) => {
        reads.push(reader.get("k").then((entry) => ({ i, value: entry?.value ?? -1 })));
      });
      for (let i = 0; i < 20; i++) {
        const check = kv.op.check("none", i % 2);
        const put = kv.op.put("k", i);
        const group = await one.store.commitAll([put, one.op.publish("t", i), check]);
        assert.equal(group.ok, i % 2 === 0);
      }
      await world.until("the last message", () => heard.at(-1) === 18);
      for (const { i, value } of await Promise.all(reads)) assert.ok(value >= i);
      assert.deepEqual(heard, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    }),

  "A listener hears its own topic and partition and no others.": async (world) => {
    const [one, two] = await buses(world, 2);
    const heard = await listening<string>(world, two, "t");
    await one.publish("T", "case");
    await one.publish("t/", "longer");
    await one.partition("other").publish("t", "elsewhere");
    await new Bus(await world.store({ namespace: `${world.namespace}-2` })).publish(
      "t",
      "namespace",
    );
    await one.publish("t", "mine");
    await world.until("its message", () => heard.length > 0);
    assert.deepEqual(heard, ["mine"]);
  },

  "A subscription hears nothing that was published before it, and nothing after it was closed.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      await one.publish("t", "before");
      const heard = await listening<string>(world, two, "t");
      const closed = two.subscribe<string>("t");
      closed.close();
      assert.deepEqual(await closed.next(), { value: undefined, done: true });
      const stopped: string[] = [];
      const stop = two.listen<string>("t", (message) => stopped.push(message));
      stop();
      await one.publish("t", "after");
      await world.until("the message after", () => heard.length > 0);
      assert.deepEqual(heard, ["after"]);
      assert.deepEqual(stopped, []);
    },

  "A slow reader keeps at most `buffer` messages, loses the oldest or the newest as it chose, and is told how many it lost.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      const heard = await listening<number>(world, two, "t");
      const oldest = two.subscribe<number>("t", { buffer: 3 });
      const newest = two.subscribe<number>("t", { buffer: 3, overflow: "drop-newest" });
      for (let i = 0; i < 8; i++) await one.publish("t", i);
      await world.until("all messages", () => heard.length === 8);
      assert.deepEqual([oldest.dropped, newest.dropped], [5, 5]);
      const kept: number[][] = [];
      for (const subscription of [oldest, newest]) {
        const messages: number[] = [];
        for (let i = 0; i < 3; i++) messages.push((await subscription.next()).value as number);
        kept.push(messages);
        subscription.close();
      }
      assert.deepEqual(kept, [
        [5, 6, 7],
        [0, 1, 2],
      ]);
    },

  "A lost message costs time, never correctness: nothing that the store keeps depends on it.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      // Nobody listens: every message and every hint is lost.
      await one.publish("t", 1);
      await new Kv<number>(one.store).put("k", 1);
      assert.equal((await new Kv<number>(two.store).get("k"))?.value, 1);
      if (!isWhole(world.capabilities)) return;
      const queue = new Queue(one.store, "q");
      const kv = new Kv<number>(one.store);
      const ops = [kv.op.put("k", 2), one.op.publish("t", 2), queue.op.enqueue({ payload: "p" })];
      assert.ok((await one.store.commitAll(ops)).ok);
      assert.equal((await new Kv<number>(two.store).get("k"))?.value, 2);
      const { jobs } = await new Queue(two.store, "q").claim(await two.store.session(), 1);
      assert.equal(jobs[0]?.payload, "p");
    },

  "A listener that throws harms neither the publisher nor other listeners.": async (world) => {
    const [one, two] = await buses(world, 2);
    const fault = new Error("a listener's own fault");
    const heard = await listening<number>(world, two, "t");
    const errors = await uncaught(async () => {
      for (const bus of [one, two]) {
        bus.listen("t", () => {
          throw fault;
        });
      }
      await one.publish("t", 1);
      await new Kv<number>(one.store).put("k", 1);
      await one.publish("t", 2);
      await world.until("both messages", () => heard.length === 2);
      await world.clock.yield();
    });
    assert.deepEqual(heard, [1, 2]);
    for (const error of errors)
      assert.equal(error, fault, "it is the process's own, as it was thrown");
    assert.equal((await new Kv<number>(two.store).get("k"))?.value, 1);
  },

  "A message above 64 KiB is refused with `TOO_LARGE`, a wrong topic with a `RangeError`, before anything is sent.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      const heard = await listening<string>(world, two, "t");
      const longest = "x".repeat(LIMITS.messageBytes - 2);
      await refuses(one.publish("t", `${longest}x`), "TOO_LARGE");
      for (const topic of ["", "$own", "a\nb", "\uD800", "x".repeat(LIMITS.nameChars + 1)]) {
        await rejectsArgument(() => one.publish(topic, 1));
        await rejectsArgument(() => one.subscribe(topic));
      }
      await one.publish("t", longest);
      await world.until("the message that fits", () => heard.length > 0);
      assert.deepEqual(heard, [longest]);
    },

  "A subscription ends by `break`, by its signal with the signal's own reason, and when the store closes.":
    async (world) => {
      const [one, two] = await buses(world, 2);
      const heard = await listening<number>(world, two, "t");
      const first = two.subscribe<number>("t");
      await one.publish("t", 1);
      await world.until("the message", () => heard.length > 0);
      for await (const message of first) {
        assert.equal(message, 1);
        break;
      }
      assert.deepEqual(await first.next(), { value: undefined, done: true });
      const abort = new AbortController();
      const second = two.subscribe("t", { signal: abort.signal });
      const waiting = second.next();
      const reason = new Error("enough");
      abort.abort(reason);
      await assert.rejects(waiting, (error) => error === reason);
      await assert.rejects(second.next(), (error) => error === reason);
      const third = two.subscribe("t");
      const last = third.next();
      await two.store.close();
      assert.deepEqual(await last, { value: undefined, done: true });
      await rejectsArgument(() => one.subscribe("t", { buffer: 0 }));
    },
};
