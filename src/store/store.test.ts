import { describe, expect, test } from "vitest";
import { ManualClock, systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { SeededRandom } from "../core/random.ts";
import { deferred, type Deferred } from "../core/signal.ts";
import { memory } from "../engines/memory/index.ts";
import { Kv } from "../ports/kv/index.ts";
import type { Durability } from "./capabilities.ts";
import { opens, type Definition } from "./definition.ts";
import type { KvChanges, StoreDriver } from "./driver.ts";
import type { Group, GroupResult } from "./ops.ts";
import { Store, type StoreOptions } from "./store.ts";

const turn = (): Promise<void> => systemClock.yield();
const OPS = [{ op: "kv.add", key: "k", delta: 1 }] as const;

/**
 * The memory engine with faults: commits that wait to be let through, reads and watches that fail.
 */
class Faulty {
  readonly inner: StoreDriver;
  readonly commits: Deferred<void>[] = [];
  readonly sent: (readonly Group[])[] = [];
  isHolding = false;
  isHanging = false;
  readFaults: HoldfastError[] = [];
  watchFaults: HoldfastError[] = [];
  cursors: (number | null)[] = [];
  durability: Durability = { copies: 1, synced: "yes", source: "scripted" };
  isPersistent = false;
  closed = 0;

  constructor(clock: ManualClock) {
    this.inner = memory({ clock });
  }
  async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    this.sent.push(groups);
    if (this.isHolding) {
      const gate = deferred<void>();
      this.commits.push(gate);
      await gate.promise;
    }
    return this.inner.commit(groups);
  }
  async *watch(
    ...[partition, prefix, cursor, signal]: Parameters<StoreDriver["watch"]>
  ): AsyncGenerator<KvChanges> {
    this.cursors.push(cursor);
    const fault = this.watchFaults.shift();
    for await (const batch of this.inner.watch(partition, prefix, cursor, signal)) {
      yield batch;
      if (fault !== undefined) throw fault;
    }
  }
  driver(): StoreDriver {
    const { inner } = this;
    return {
      capabilities: { ...inner.capabilities, isPersistent: this.isPersistent },
      commit: (groups) => this.commit(groups),
      read: (reads) => {
        const fault = this.readFaults.shift();
        return fault === undefined ? inner.read(reads) : Promise.reject(fault);
      },
      watch: (...args) => this.watch(...args),
      subscribe: (channel, listen) => inner.subscribe(channel, listen),
      export: (...args) => inner.export(...args),
      import: (...args) => inner.import(...args),
      seal: (...args) => inner.seal(...args),
      durability: () => Promise.resolve(this.durability),
      close: async () => {
        this.closed++;
        if (this.isHanging) await deferred<void>().promise;
        await inner.close();
      },
    };
  }
}

async function open(
  options: StoreOptions = {},
): Promise<{ store: Store; faulty: Faulty; clock: ManualClock }> {
  const clock = new ManualClock();
  const faulty = new Faulty(clock);
  const store = await Store.open(faulty.driver(), {
    clock,
    random: new SeededRandom(1),
    ...options,
  });
  return { store, faulty, clock };
}

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);
const unavailable = (): HoldfastError =>
  new HoldfastError("UNAVAILABLE", "cut", { retryable: true });

describe("opening", () => {
  test.each([
    ["a namespace with a slash", { namespace: "a/b" }],
    ["an empty namespace", { namespace: "" }],
    ["a reserved namespace", { namespace: "$shop" }],
    ["an over-long namespace", { namespace: "x".repeat(201) }],
    ["a namespace with a control character", { namespace: "a\nb" }],
    ["a session too short", { sessionTtlMs: 99 }],
    ["a session too long", { sessionTtlMs: 3_600_001 }],
    ["a fractional TTL", { sessionTtlMs: 1_000.5 }],
    ["a negative drain", { drainMs: -1 }],
    ["an infinite drain", { drainMs: Infinity }],
    ["an unknown allowance", { allow: "everything" as never }],
  ])("refuses %s, and closes the driver", async (_, options) => {
    const faulty = new Faulty(new ManualClock());
    expect(await caught(Store.open(faulty.driver(), options))).toBeInstanceOf(RangeError);
    expect(faulty.closed).toBe(1);
  });

  test("refuses an option it does not know", async () => {
    const error = await caught(Store.open(memory(), { namspace: "typo" } as never));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain("namspace");
  });

  test("refuses a persistent engine that promises less than one synced copy, unless told to allow it", async () => {
    const faulty = new Faulty(new ManualClock());
    faulty.isPersistent = true;
    for (const synced of ["no", "unknown", { withinMs: 1_000 }] as const) {
      faulty.durability = { copies: 1, synced, source: "scripted" };
      const error = await caught(Store.open(faulty.driver()));
      expect(error).toMatchObject({ code: "MISCONFIGURED", details: { synced } });
    }
    const store = await Store.open(faulty.driver(), { allow: "unsynced" });
    expect(await store.durability()).toMatchObject({ synced: { withinMs: 1_000 } });
    await store.close();
  });

  test("names partitions under the namespace", async () => {
    const { store } = await open({ namespace: "shop" });
    expect(store.partitionName()).toBe("shop");
    expect(store.partitionName("eu")).toBe("shop/eu");
    for (const name of ["", "a/b", "$x", "x".repeat(201)]) {
      expect(() => store.partitionName(name)).toThrow(RangeError);
    }
  });
});

describe("committing", () => {
  test("an aborted signal or a wrong argument rejects before anything is sent", async () => {
    const { store, faulty } = await open();
    const signal = AbortSignal.abort("no");
    expect(await caught(store.commit("p", OPS, { signal }))).toBe("no");
    expect(await caught(store.commit("p", OPS, { timeoutMs: -1 }))).toBeInstanceOf(RangeError);
    expect(await caught(store.commit("", OPS))).toBeInstanceOf(RangeError);
    expect(await caught(store.commit("p", []))).toBeInstanceOf(RangeError);
    await turn();
    expect(faulty.sent).toEqual([]);
  });

  test("a group across partitions is refused before anything is sent", async () => {
    const { store, faulty } = await open();
    const placed = ["a", "b"].map((partition) => ({ partition, op: OPS[0] }));
    expect(await caught(store.commitAll(placed))).toMatchObject({ code: "UNSUPPORTED" });
    await turn();
    expect(faulty.sent).toEqual([]);
  });

  test("abort before it left withdraws it: it never happens", async () => {
    const { store, faulty } = await open();
    faulty.isHolding = true;
    const first = store.commit("p", OPS);
    await turn();
    const controller = new AbortController();
    const second = caught(store.commit("p", OPS, { signal: controller.signal }));
    controller.abort("enough");
    expect(await second).toBe("enough");
    faulty.isHolding = false;
    faulty.commits[0]?.resolve();
    await first;
    const third = await store.commit("p", OPS);
    expect(third).toMatchObject({ ok: true, results: [2] });
  });

  test("abort after it left ends the wait only: the commit goes on", async () => {
    const { store, faulty } = await open();
    faulty.isHolding = true;
    const controller = new AbortController();
    const first = caught(store.commit("p", OPS, { signal: controller.signal }));
    await turn();
    controller.abort("enough");
    expect(await first).toBe("enough");
    faulty.isHolding = false;
    faulty.commits[0]?.resolve();
    expect(await store.commit("p", OPS)).toMatchObject({ ok: true, results: [2] });
  });

  test("a timeout says what became of it", async () => {
    const { store, faulty, clock } = await open();
    faulty.isHolding = true;
    const left = caught(store.commit("p", OPS, { timeoutMs: 50 }));
    await clock.advance(0);
    const waiting = caught(store.commit("p", OPS, { timeoutMs: 50 }));
    await clock.advance(50);
    expect(await left).toMatchObject({ code: "TIMEOUT", outcome: "unknown" });
    expect(await waiting).toMatchObject({ code: "TIMEOUT", outcome: "not-applied" });
    expect(clock.pending).toBe(0);
  });

  test("an answer in time leaves no timer and no listener behind", async () => {
    const { store, clock } = await open();
    const { signal } = new AbortController();
    await store.commit("p", OPS, { timeoutMs: 50, signal });
    expect(clock.pending).toBe(0);
  });
});

describe("reading", () => {
  const READ = [{ read: "kv.get", partition: "p", keys: ["k"] }] as const;

  test("a retryable UNAVAILABLE is tried again, a bounded number of times", async () => {
    const { store, faulty, clock } = await open();
    faulty.readFaults = [unavailable(), unavailable()];
    const read = store.read(READ);
    await clock.advance(2_000);
    expect(await read).toEqual([[null]]);
    faulty.readFaults = Array.from({ length: 9 }, unavailable);
    const failing = caught(store.read(READ));
    await clock.advance(10_000);
    expect(await failing).toMatchObject({ code: "UNAVAILABLE" });
    expect(faulty.readFaults).toHaveLength(3);
  });

  test("other failures are not tried again", async () => {
    const { store, faulty } = await open();
    faulty.readFaults = [new HoldfastError("CORRUPT", "x"), unavailable()];
    expect(await caught(store.read(READ))).toMatchObject({ code: "CORRUPT" });
    expect(faulty.readFaults).toHaveLength(1);
  });

  test("abort ends the wait between two tries", async () => {
    const { store, faulty } = await open();
    faulty.readFaults = Array.from({ length: 9 }, unavailable);
    const controller = new AbortController();
    const read = caught(store.read(READ, { signal: controller.signal }));
    await turn();
    controller.abort("enough");
    expect(await read).toBe("enough");
  });
});

describe("watching", () => {
  test("a lost connection is taken up again from the last cursor", async () => {
    const { store, faulty, clock } = await open();
    const kv = new Kv(store);
    const { revision } = await kv.put("a", 1);
    faulty.watchFaults = [unavailable()];
    const watch = kv.watch("", { cursor: revision });
    expect((await watch.next()).value).toMatchObject({ changes: [], cursor: revision });
    await kv.put("a", 2);
    const next = watch.next();
    await clock.advance(2_000);
    // The new connection's first batch, and then the change, whichever batch it is in.
    const first = (await next).value;
    const batch = first?.changes.length === 1 ? first : (await watch.next()).value;
    expect(batch).toMatchObject({ changes: [{ type: "put", key: "a", value: 2 }] });
    expect(faulty.cursors).toEqual([revision, revision]);
    await watch.return();
  });

  test("a failure that is not retryable ends it", async () => {
    const { store, faulty } = await open();
    faulty.watchFaults = [new HoldfastError("CORRUPT", "x")];
    const watch = store.watch("p", "", null);
    await watch.next();
    expect(await caught(watch.next())).toMatchObject({ code: "CORRUPT" });
  });

  test("the signal ends it with its reason, and so does the store's close with CLOSED", async () => {
    const { store, clock } = await open();
    const controller = new AbortController();
    const watch = store.watch("p", "", null, controller.signal);
    await watch.next();
    const waiting = caught(watch.next());
    controller.abort("enough");
    expect(await waiting).toBe("enough");
    const other = store.watch("p", "", null);
    await other.next();
    const closing = caught(other.next());
    await store.close();
    expect(await closing).toMatchObject({ code: "CLOSED" });
    expect(clock.pending).toBe(0);
  });
});

describe("ticks", () => {
  test("an empty commit goes every 500 ms while somebody needs it, and never else", async () => {
    const { store, faulty, clock } = await open();
    await clock.advance(5_000);
    expect(faulty.sent).toHaveLength(0);
    const release = store.needsTicks();
    const other = store.needsTicks();
    await clock.advance(2_000);
    expect(faulty.sent).toEqual([[], [], [], []]);
    release();
    release();
    await clock.advance(500);
    expect(faulty.sent).toHaveLength(5);
    other();
    await clock.advance(5_000);
    expect(faulty.sent).toHaveLength(5);
    expect(clock.pending).toBe(0);
  });

  test("is left out when a commit just ran", async () => {
    const { store, faulty, clock } = await open();
    const release = store.needsTicks();
    await clock.advance(400);
    await store.commit("p", OPS);
    await clock.advance(100);
    expect(faulty.sent).toHaveLength(1);
    await clock.advance(500);
    expect(faulty.sent).toHaveLength(2);
    release();
  });

  test("tell a watcher of an expired key within 1 s", async () => {
    const { store, clock } = await open();
    const kv = new Kv(store);
    await kv.put("a", 1, { ttlMs: 100 });
    const watch = kv.watch();
    await watch.next();
    const next = watch.next();
    await clock.advance(1_100);
    expect((await next).value).toMatchObject({ changes: [{ type: "delete", key: "a" }] });
    await watch.return();
  });
});

describe("handles and hints", () => {
  test("a definition's handle is made once for each store", async () => {
    const { store } = await open();
    const { store: other } = await open();
    let made = 0;
    const definition: Definition<{ readonly of: Store }> = {
      name: "thing",
      [opens]: (of) => {
        made++;
        return { of };
      },
    };
    expect(store.handle(definition)).toBe(store.handle(definition));
    expect(other.handle(definition)).not.toBe(store.handle(definition));
    expect(made).toBe(2);
    expect(() => store.handle({ name: "x" } as never)).toThrow(TypeError);
  });

  test("a listener that throws harms no commit; the fault is the process's", async () => {
    const { store } = await open();
    const faults: unknown[] = [];
    const listeners = process.rawListeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => faults.push(error));
    const channel = { kind: "bus", partition: "p", name: "t" } as const;
    const stop = store.subscribe(channel, () => {
      throw new Error("the listener's own");
    });
    const publish = { op: "bus.publish", topic: "t", message: "x" } as const;
    expect(await store.commit("p", [publish])).toMatchObject({ ok: true });
    await turn();
    for (const listener of listeners) process.on("uncaughtException", listener as () => void);
    stop();
    expect(faults).toEqual([new Error("the listener's own")]);
  });
});

describe("closing", () => {
  test("refuses what would be adopted while it closes: nobody would close it", async () => {
    const { store } = await open();
    const adopted: unknown[] = [];
    const adopt = (): void => {
      try {
        store.adopt({ close: () => Promise.resolve() });
      } catch (error) {
        adopted.push(error);
      }
    };
    store.adopt({
      close: async () => {
        adopt();
        await turn();
        adopt();
      },
    });
    await store.close();
    adopt();
    const refusal = { code: "CLOSED", outcome: "not-applied" };
    expect(adopted).toMatchObject([refusal, refusal, refusal]);
  });

  test("tells the first failure of what it closed, after all was closed", async () => {
    const { store, faulty, clock } = await open();
    const closed: string[] = [];
    const child = (name: string, error?: Error): { close(): Promise<void> } => ({
      close: async () => {
        await turn();
        closed.push(name);
        if (error !== undefined) throw error;
      },
    });
    store.adopt(child("a"));
    store.adopt(child("b", new Error("b's own")));
    store.adopt({
      close: () => {
        throw new Error("thrown, not rejected");
      },
    });
    store.adopt(child("c", new Error("c's own")));
    const channel = { kind: "bus", partition: "p", name: "t" } as const;
    const onClose = (): void => {
      closed.push("subscription");
      throw new Error("the listener's own");
    };
    store.subscribe(channel, () => {}, onClose);
    store.subscribe(channel, () => {}, onClose);
    expect(await caught(store.close())).toEqual(new Error("thrown, not rejected"));
    expect(closed).toEqual(["a", "b", "c", "subscription", "subscription"]);
    expect(faulty.closed).toBe(1);
    expect(store.state).toBe("closed");
    expect(clock.pending).toBe(0);
  });

  test("closes what was adopted first, and lets it commit", async () => {
    const { store } = await open();
    const order: string[] = [];
    const leave = store.adopt({ close: () => Promise.reject(new Error("never called")) });
    leave();
    store.adopt({
      close: async () => {
        expect(store.state).toBe("draining");
        order.push((await store.commit("p", OPS)).ok ? "committed" : "refused");
      },
    });
    await store.close();
    expect(order).toEqual(["committed"]);
    expect(store.state).toBe("closed");
    expect(await caught(store.commit("p", OPS))).toMatchObject({
      code: "CLOSED",
      outcome: "not-applied",
    });
    expect(await caught(store.session())).toMatchObject({ code: "CLOSED" });
    expect(await caught(store.info())).toMatchObject({ code: "CLOSED" });
  });

  test("waits for commits in flight, closes the driver, once", async () => {
    const { store, faulty } = await open();
    faulty.isHolding = true;
    const commit = store.commit("p", OPS);
    await turn();
    const closing = store.close();
    expect(store.close()).toBe(closing);
    await turn();
    expect(faulty.closed).toBe(0);
    faulty.isHolding = false;
    faulty.commits[0]?.resolve();
    expect(await commit).toMatchObject({ ok: true });
    await closing;
    expect(faulty.closed).toBe(1);
  });

  test("ends within drainMs whatever hangs, and says what became of the commits", async () => {
    const { store, faulty, clock } = await open({ drainMs: 1_000 });
    await store.session();
    faulty.isHolding = true;
    faulty.isHanging = true;
    store.adopt({ close: () => deferred<void>().promise });
    const left = caught(store.commit("p", OPS));
    await clock.advance(0);
    const waiting = caught(store.commit("p", OPS));
    let isClosed = false;
    const closing = store.close().then(() => (isClosed = true));
    await clock.advance(999);
    expect(isClosed).toBe(false);
    await clock.advance(3);
    await closing;
    expect(await left).toMatchObject({ code: "CLOSED", outcome: "unknown" });
    expect(await waiting).toMatchObject({ code: "CLOSED", outcome: "not-applied" });
    expect(clock.pending).toBe(0);
  });
});
