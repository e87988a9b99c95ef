/** What one call of a key does, in one process that nothing happens to. */
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { turns, until, World, type Process } from "../../../test/kit/jobs.ts";
import { isHoldfastError } from "../../core/errors.ts";
import { isPermanent, permanent } from "../../core/retry.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import type { Attempt } from "./attempt.ts";
import { idempotency } from "./definition.ts";
import type { Idempotency } from "./idempotency.ts";

const Receipt = z.object({ id: z.string(), cents: z.number() });
const charges = idempotency("charges", { output: Receipt, ttlMs: 60_000 });
const loose = idempotency("loose");

let world: World;
let process: Process;
let calls: Idempotency<z.infer<typeof Receipt>>;
let kv: Kv;
beforeEach(async () => {
  world = new World();
  process = await world.process();
  calls = process.store.handle(charges);
  kv = new Kv(process.store);
});
afterEach(() => world.close());

const receipt = { id: "c1", cents: 500 };
const never = (): never => {
  throw new Error("A handler ran that must not");
};
const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => {
      throw new Error("Expected it to reject");
    },
    (error: unknown) => error,
  );

describe("the answer of a key", () => {
  test("is what the handler returned, and every repeat gets an equal one without a handler", async () => {
    const first = await calls.run("k", { cents: 500 }, ({ cents }) => ({ id: "c1", cents }));
    expect(first).toEqual(receipt);
    expectTypeOf(first).toEqualTypeOf<{ id: string; cents: number }>();
    const again = await calls.tryRun("k", { cents: 500 }, never);
    expect(again).toEqual({ ok: true, output: receipt, isReplayed: true });
    expect(again.ok && again.output).not.toBe(first);
  });
  test("is told apart by key and by definition", async () => {
    const others = process.store.handle(loose);
    await calls.run("k", 1, () => receipt);
    expect(await calls.run("l", 1, () => ({ ...receipt, id: "c2" }))).toMatchObject({ id: "c2" });
    expect(await others.run("k", 1, () => "another")).toBe("another");
  });
  test("names with a slash share no key", async () => {
    const a = process.store.handle(idempotency("a"));
    const ab = process.store.handle(idempotency("a/b"));
    await a.run("b/c", 1, () => "a");
    expect(await ab.run("c", 1, () => "ab")).toBe("ab");
  });
  test("may be nothing, text, or bytes by a codec", async () => {
    const others = process.store.handle(loose);
    expect(await others.run("k", 1, () => undefined)).toBe(undefined);
    expect(await others.tryRun("k", 1, never)).toMatchObject({ ok: true, output: undefined });
    const codec = {
      name: "bytes",
      encode: (value: unknown) => value as Uint8Array,
      decode: (data: string | Uint8Array) => data,
    };
    const bytes = process.store.handle(idempotency("bytes", { codec }));
    await bytes.run("k", 1, () => Uint8Array.of(0, 10, 255));
    expect(await bytes.run("k", 1, never)).toEqual(Uint8Array.of(0, 10, 255));
  });
  test("is kept for ttlMs by the store's clock, then the handler runs again", async () => {
    await calls.run("k", 1, () => receipt);
    await world.clock.advance(59_999);
    expect(await calls.run("k", 1, never)).toEqual(receipt);
    await world.clock.advance(1);
    expect(await calls.get("k")).toBe(null);
    expect(await calls.run("k", 2, () => ({ ...receipt, id: "c2" }))).toMatchObject({ id: "c2" });
  });
  test("is looked at with get and forgotten with forget", async () => {
    expect(await calls.get("k")).toBe(null);
    expect(await calls.forget("k")).toBe(false);
    await calls.run("k", 1, () => receipt);
    expect(await calls.get("k")).toEqual({ state: "answered", output: receipt });
    expect(await calls.forget("k")).toBe(true);
    expect(await calls.get("k")).toBe(null);
    expect(await calls.tryRun("k", 1, () => receipt)).toMatchObject({ isReplayed: false });
  });
  test("lies under a key of its own that plain views of kv do not show", async () => {
    await calls.run("k", 1, () => receipt);
    expect((await kv.list()).entries).toEqual([]);
    const own = new Kv(process.store, {
      hasReserved: true,
      codec: { name: "raw", encode: String, decode: (data) => data },
    });
    expect((await own.list("$idempotency/")).entries.map((each) => each.key)).toEqual([
      "$idempotency/charges/k",
    ]);
    const value = (await own.get("$idempotency/charges/k"))?.value as string;
    expect(value.split("\n")[1]).toBe(JSON.stringify(receipt));
  });
});

describe("another input under the key", () => {
  test("is refused with ALREADY_EXISTS, and by tryRun as a value", async () => {
    await calls.run("k", { cents: 500 }, () => receipt);
    const error = await caught(calls.run("k", { cents: 501 }, never));
    expect(error).toMatchObject({ code: "ALREADY_EXISTS", outcome: "not-applied" });
    expect(error).toMatchObject({ retryable: false, details: { name: "charges", key: "k" } });
    expect(await calls.tryRun("k", { cents: 501 }, never)).toEqual({ ok: false, why: "mismatch" });
  });
  test("is refused at once while the first call is under way", async () => {
    const gate = deferred<typeof receipt>();
    const first = calls.run("k", 1, () => gate.promise);
    await until(() => process.ops("kv.put").length === 1);
    expect(await calls.tryRun("k", 2, never)).toEqual({ ok: false, why: "mismatch" });
    gate.resolve(receipt);
    await first;
  });
  test("is the same one whatever the order of its members", async () => {
    await calls.run("k", { a: 1, b: { c: [1], d: undefined } }, () => receipt);
    expect(await calls.run("k", { b: { c: [1] }, a: 1 }, never)).toEqual(receipt);
    expect(await calls.tryRun("k", { a: 1, b: { c: ["1"] } }, never)).toMatchObject({ ok: false });
  });
  test("counts by the part that `fingerprint` takes", async () => {
    const fingerprint = (input: unknown): unknown => (input as { order: string }).order;
    const orders = process.store.handle(idempotency("orders", { fingerprint }));
    await orders.run("k", { order: "a", sentAt: 1 }, () => "done");
    expect(await orders.run("k", { order: "a", sentAt: 2 }, never)).toBe("done");
    expect(await orders.tryRun("k", { order: "b" }, never)).toMatchObject({ why: "mismatch" });
  });
  test("without a form that can be hashed is refused before anything is sent", async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    for (const input of [new Map(), Number.NaN, () => 1, 1n, cyclic]) {
      expect(await caught(calls.run("k", input, never))).toMatchObject({ code: "INVALID_DATA" });
    }
    expect(process.sent).toEqual([]);
  });
});

describe("a duplicate while the first call is under way", () => {
  test("waits for its answer: of 100 calls one handler runs, and all get an equal answer", async () => {
    let runs = 0;
    const gate = deferred();
    const all = Array.from({ length: 100 }, () =>
      calls.run("k", 1, async () => {
        runs++;
        await gate.promise;
        return receipt;
      }),
    );
    await until(() => runs === 1);
    await turns(20);
    gate.resolve(undefined);
    expect(await Promise.all(all)).toEqual(Array.from({ length: 100 }, () => receipt));
    expect(runs).toBe(1);
  });
  test("is refused with CONFLICT and retryAfterMs where inFlight is refuse", async () => {
    const gate = deferred<typeof receipt>();
    const first = calls.run("k", 1, () => gate.promise);
    await until(() => process.ops("kv.put").length === 1);
    const error = await caught(calls.run("k", 1, never, { inFlight: "refuse" }));
    expect(error).toMatchObject({ code: "CONFLICT", retryable: true, retryAfterMs: 1_000 });
    expect(await calls.tryRun("k", 1, never, { inFlight: "refuse" })).toEqual({
      ...{ ok: false, why: "in-flight", retryAfterMs: 1_000 },
    });
    expect(await calls.get("k")).toMatchObject({ state: "in-flight" });
    expect(await caught(calls.forget("k"))).toMatchObject({ code: "CONFLICT", retryable: true });
    gate.resolve(receipt);
    await first;
    expect(await calls.run("k", 1, never, { inFlight: "refuse" })).toEqual(receipt);
  });
  test("waits no longer than timeoutMs, and its handler never runs", async () => {
    const gate = deferred<typeof receipt>();
    const first = calls.run("k", 1, () => gate.promise);
    await until(() => process.ops("kv.put").length === 1);
    const error = caught(calls.run("k", 1, never, { timeoutMs: 300 }));
    await world.clock.advance(300);
    expect(await error).toMatchObject({ code: "TIMEOUT", outcome: "not-applied" });
    gate.resolve(receipt);
    await first;
  });
  test("ends with its signal's own reason, and leaves the others waiting", async () => {
    const gate = deferred<typeof receipt>();
    const first = calls.run("k", 1, () => gate.promise);
    await until(() => process.ops("kv.put").length === 1);
    const controller = new AbortController();
    const leaving = caught(calls.run("k", 1, never, { signal: controller.signal }));
    const staying = calls.run("k", 1, never);
    await turns();
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await leaving).toBe(reason);
    gate.resolve(receipt);
    expect(await first).toEqual(await staying);
    expect(await caught(calls.run("l", 1, never, { signal: controller.signal }))).toBe(reason);
  });
  test("runs its own handler when the first one throws, one after another", async () => {
    let running = 0;
    let runs = 0;
    const all = Array.from({ length: 10 }, () =>
      calls.tryRun("k", 1, async () => {
        expect(++running).toBe(1);
        await turns(2);
        running--;
        if (++runs < 4) throw new Error(`no ${runs}`);
        return receipt;
      }),
    );
    const ends = await Promise.allSettled(all);
    expect(ends.filter((end) => end.status === "rejected")).toHaveLength(3);
    expect(runs).toBe(4);
    const got = ends.flatMap((end) => (end.status === "fulfilled" ? [end.value] : []));
    expect(got.filter((each) => each.ok && each.isReplayed)).toHaveLength(6);
  });
  test("that begins while others wait is told as they are", async () => {
    const gate = deferred<typeof receipt>();
    const first = calls.run("k", 1, () => gate.promise);
    await until(() => process.ops("kv.put").length === 1);
    const waiting: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      waiting.push(calls.run("k", 1, never));
      await turns(1);
      if (i === 12) gate.resolve(receipt);
    }
    expect(await Promise.all([first, ...waiting])).toHaveLength(21);
  });
});

describe("the handler", () => {
  test("gets the input, its key, an id that is the same at each attempt, and a token that grows", async () => {
    const seen: Attempt[] = [];
    const fail = (input: string, attempt: Attempt): never => {
      expect(input).toBe("in");
      seen.push(attempt);
      throw new Error("once more");
    };
    await caught(calls.run("k", "in", fail));
    await caught(calls.run("k", "in", fail));
    await caught(calls.run("l", "in", fail));
    const [a, b, c] = seen;
    expect(a?.key).toBe("k");
    expect(a?.id).toMatch(/^[0-9a-f]{40}$/);
    expect(b?.id).toBe(a?.id);
    expect(c?.id).not.toBe(a?.id);
    expect(b?.token).toBeGreaterThan(a?.token ?? 0n);
  });
  test("that throws leaves the key free, and its caller gets the error itself", async () => {
    const reason = new Error("no");
    const fail = (): never => {
      throw reason;
    };
    expect(await caught(calls.run("k", 1, fail))).toBe(reason);
    expect(await calls.get("k")).toBe(null);
    expect(await calls.run("k", 2, () => receipt)).toEqual(receipt);
  });
  test("that throws what is permanent gives that failure to every call of the key", async () => {
    const fail = (): never => {
      throw permanent("The card was refused");
    };
    for (const handler of [fail, never]) {
      const error = await caught(calls.run("k", 1, handler));
      expect(isPermanent(error)).toBe(true);
      expect(error).toMatchObject({ message: "The card was refused" });
    }
    expect(await calls.get("k")).toMatchObject({
      state: "failed",
      error: { message: "The card was refused" },
    });
  });
  test("whose output can't be stored did its work: the failure is the answer", async () => {
    const wrong = (): { id: string; cents: number } => ({ id: "c1", cents: "500" as never });
    for (const handler of [wrong, never]) {
      expect(await caught(calls.run("k", 1, handler))).toMatchObject({ code: "INVALID_DATA" });
    }
    const others = process.store.handle(loose);
    const long = (): string => "x".repeat(1_048_576);
    for (const handler of [long, never]) {
      expect(await caught(others.run("k", 1, handler))).toMatchObject({ code: "TOO_LARGE" });
    }
    for (const handler of [() => 1n, never]) {
      expect(await caught(others.run("l", 1, handler))).toMatchObject({ code: "INVALID_DATA" });
    }
  });
  test("that is longer than timeoutMs is asked to stop, then given up, and the key is free", async () => {
    const slow = process.store.handle(idempotency("slow", { timeoutMs: 1_000, graceMs: 200 }));
    let attempt: Attempt | undefined;
    const gate = deferred<string>();
    const first = caught(
      slow.run("k", 1, (_, its) => {
        attempt = its;
        return gate.promise;
      }),
    );
    await until(() => attempt !== undefined);
    await world.clock.advance(999);
    expect(attempt?.signal.aborted).toBe(false);
    await world.clock.advance(1);
    expect(attempt?.signal.reason).toMatchObject({ code: "TIMEOUT" });
    expect(await slow.get("k")).toMatchObject({ state: "in-flight" });
    await world.clock.advance(200);
    expect(await first).toMatchObject({ code: "TIMEOUT" });
    expect(await caught(attempt?.complete("late") ?? turns())).toMatchObject({ code: "CLOSED" });
    gate.resolve("late");
    await turns();
    expect(await slow.run("k", 1, () => "in time")).toBe("in time");
  });
  test("whose caller left is asked to stop, and what it still returns is the answer", async () => {
    const controller = new AbortController();
    let attempt: Attempt | undefined;
    const gate = deferred<typeof receipt>();
    const first = caught(
      calls.run(
        "k",
        1,
        (_, its) => {
          attempt = its;
          return gate.promise;
        },
        { signal: controller.signal },
      ),
    );
    await until(() => attempt !== undefined);
    const second = calls.run("k", 1, never);
    controller.abort("gone");
    expect(await first).toBe("gone");
    expect(attempt?.signal.reason).toBe("gone");
    gate.resolve(receipt);
    expect(await second).toEqual(receipt);
  });
});

describe("attempt.complete", () => {
  test("stores the answer in one group with the ops", async () => {
    await kv.put("balance", 1_000);
    const output = await calls.run("k", { cents: 500 }, async ({ cents }, attempt) => {
      const done = await attempt.complete(receipt, [kv.op.add("balance", -cents, { min: 0 })]);
      expectTypeOf(done.results).toEqualTypeOf<readonly [number] | null>();
      expect(done.results).toEqual([500]);
      return done;
    });
    expect(output).toEqual(receipt);
    await calls.run("k", { cents: 500 }, never);
    expect((await kv.get("balance"))?.value).toBe(500);
    const group = process.sent.flat().find(({ ops }) => ops.some(({ op }) => op === "kv.add"));
    expect(group?.ops.map(({ op }) => op)).toEqual(["kv.check", "kv.put", "kv.add"]);
  });
  test("is thrown what refused it, with nothing written and the key still held", async () => {
    await kv.put("balance", 100);
    const ops = [kv.op.put("seen", 1), kv.op.add("balance", -500, { min: 0 })] as const;
    const output = await calls.run("k", 1, async (_, attempt) => {
      expect(await caught(attempt.complete(receipt, ops))).toMatchObject({ code: "LIMITED" });
      expect(await attempt.tryComplete(receipt, ops)).toMatchObject({
        ok: false,
        refusal: { code: "LIMITED", index: 1 },
      });
      expect(await kv.get("seen")).toBe(null);
      return { id: "refused", cents: 0 };
    });
    expect(output.id).toBe("refused");
  });
  test("of ops in another partition is UNSUPPORTED, and of a wrong output INVALID_DATA", async () => {
    const far = new Kv(process.store, { partition: "far" });
    await calls.run("k", 1, async (_, attempt) => {
      const crossing = attempt.complete(receipt, [far.op.put("a", 1)]);
      expect(await caught(crossing)).toMatchObject({ code: "UNSUPPORTED" });
      expect(await caught(attempt.complete({ id: "c1" } as never))).toMatchObject({
        code: "INVALID_DATA",
      });
      return receipt;
    });
    const there = process.store.handle(idempotency("there", { partition: "far" }));
    await there.run("k", 1, (_, attempt) => attempt.complete("done", [far.op.put("a", 1)]));
    expect((await far.get("a"))?.value).toBe(1);
  });
  test("holds whatever the handler does afterwards, and only once", async () => {
    const output = await calls.run("k", 1, async (_, attempt) => {
      await attempt.complete(receipt);
      expect(await caught(attempt.complete(receipt))).toMatchObject({ code: "CLOSED" });
      throw new Error("too late to matter");
    });
    expect(output).toEqual(receipt);
    expect(await calls.run("k", 1, never)).toEqual(receipt);
  });
  test("that was not awaited goes before what the handler returns", async () => {
    const output = await calls.run("k", 1, (_, attempt) => {
      void attempt.complete(receipt);
      return { id: "returned", cents: 0 };
    });
    expect(output).toEqual(receipt);
  });
  test("of a handler that has returned is CLOSED", async () => {
    let kept: Attempt<typeof receipt> | undefined;
    await calls.run("k", 1, (_, attempt) => {
      kept = attempt;
      return receipt;
    });
    const late = await caught(kept?.complete(receipt) ?? turns());
    expect(isHoldfastError(late, "CLOSED")).toBe(true);
  });
});
