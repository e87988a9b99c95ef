import { describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { bytesCodec } from "../../core/codec.ts";
import { memory } from "../../engines/memory/index.ts";
import { Store } from "../../store/store.ts";
import { Kv } from "../kv/index.ts";
import { Bus } from "./bus.ts";

async function open(): Promise<{ store: Store; bus: Bus }> {
  const store = await Store.open(memory());
  return { store, bus: new Bus(store) };
}

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

describe("input that is refused", () => {
  test.each(["", "$x", "a\u0000b", "a\nb", "\uDC00", "x".repeat(201)])(
    "a topic %j is a RangeError",
    async (topic) => {
      const { bus } = await open();
      expect(await caught(bus.publish(topic, 1))).toBeInstanceOf(RangeError);
      expect(() => bus.subscribe(topic)).toThrow(RangeError);
      expect(() => bus.listen(topic, () => {})).toThrow(RangeError);
    },
  );

  test("a message above 64 KiB is TOO_LARGE, one without a JSON form INVALID_DATA", async () => {
    const { store, bus } = await open();
    const bytes = new Bus(store, { codec: bytesCodec });
    await bytes.publish("t", new Uint8Array(65_536));
    expect(await caught(bytes.publish("t", new Uint8Array(65_537)))).toMatchObject({
      code: "TOO_LARGE",
      outcome: "not-applied",
    });
    expect(await caught(bus.publish("t", 1n))).toMatchObject({ code: "INVALID_DATA" });
  });

  test("buffers and overflow policies have bounds", async () => {
    const { bus } = await open();
    for (const buffer of [0, -1, 1.5, 10_001]) {
      expect(() => bus.subscribe("t", { buffer })).toThrow(RangeError);
    }
    expect(() => bus.subscribe("t", { overflow: "block" as never })).toThrow(RangeError);
    expect(() => bus.subscribe("t", { size: 1 } as never)).toThrow(TypeError);
    expect(() => bus.listen("t", 7 as never)).toThrow(TypeError);
  });
});

describe("subscriptions", () => {
  test("get each message published after the subscribing, in order", async () => {
    const { bus } = await open();
    await bus.publish("t", "before");
    const messages = bus.subscribe<number>("t");
    for (const n of [1, 2, 3]) await bus.publish("t", n);
    const got: number[] = [];
    for await (const message of messages) {
      got.push(message);
      if (got.length === 3) break;
    }
    expect(got).toEqual([1, 2, 3]);
    await bus.publish("t", 4);
    expect(await messages.next()).toEqual({ value: undefined, done: true });
  });

  test("hear their own topic and partition only", async () => {
    const { bus } = await open();
    const heard: unknown[] = [];
    const stop = bus.listen("t", (message) => heard.push(message));
    await bus.publish("other", 1);
    await bus.partition("eu").publish("t", 2);
    await bus.publish("t", 3);
    expect(heard).toEqual([3]);
    stop();
    await bus.publish("t", 4);
    expect(heard).toEqual([3]);
  });

  test("drop the oldest when the reader is too slow, and count it", async () => {
    const { bus } = await open();
    const oldest = bus.subscribe<number>("t", { buffer: 2 });
    const newest = bus.subscribe<number>("t", { buffer: 2, overflow: "drop-newest" });
    for (const n of [1, 2, 3]) await bus.publish("t", n);
    expect([await oldest.next(), await oldest.next()].map(({ value }) => value)).toEqual([2, 3]);
    expect([await newest.next(), await newest.next()].map(({ value }) => value)).toEqual([1, 2]);
    expect([oldest.dropped, newest.dropped]).toEqual([1, 1]);
  });

  test("wait for the next message", async () => {
    const { bus } = await open();
    const messages = bus.subscribe("t");
    const next = messages.next();
    await systemClock.yield();
    await bus.publish("t", { a: 1 });
    expect(await next).toEqual({ value: { a: 1 }, done: false });
    messages.close();
  });

  test("end by the signal with its reason", async () => {
    const { bus } = await open();
    const controller = new AbortController();
    const messages = bus.subscribe("t", { signal: controller.signal });
    const waiting = caught(messages.next());
    controller.abort("enough");
    expect(await waiting).toBe("enough");
    expect(await caught(messages.next())).toBe("enough");
    expect(() => bus.subscribe("t", { signal: AbortSignal.abort("late") })).toThrow("late");
  });

  test("end when the store closes", async () => {
    const { store, bus } = await open();
    const messages = bus.subscribe("t");
    const waiting = messages.next();
    await store.close();
    expect(await waiting).toEqual({ value: undefined, done: true });
  });

  test("lose a message that another codec wrote, and nothing else", async () => {
    const { store, bus } = await open();
    const heard: unknown[] = [];
    const stop = bus.listen("t", (message) => heard.push(message));
    await new Bus(store, { codec: bytesCodec }).publish("t", Buffer.from("not JSON"));
    await bus.publish("t", 1);
    expect(heard).toEqual([1]);
    stop();
  });

  test("hear nothing of a group that was refused", async () => {
    const { store, bus } = await open();
    const kv = new Kv(store);
    const heard: unknown[] = [];
    const stop = bus.listen("t", (message) => heard.push(message));
    const refused = await store.commitAll([bus.op.publish("t", 1), kv.op.check("k", 7)]);
    expect(refused.ok).toBe(false);
    const held = await store.commitAll([bus.op.publish("t", 2), kv.op.put("k", 7)]);
    expect(held.ok).toBe(true);
    expect(heard).toEqual([2]);
    stop();
  });
});
