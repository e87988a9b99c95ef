import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { bytesCodec, unchecked } from "../../core/codec.ts";
import { LIMITS } from "../../core/limits.ts";
import { isDefinition, opens } from "../../store/definition.ts";
import { DEFAULT_QUEUE_CONFIG } from "../../store/ops.ts";
import { queue } from "./definition.ts";
import type { JobQueue } from "./queue.ts";

const Mail = z.object({ to: z.string(), tries: z.string().transform(Number) });
const Sent = z.object({ messageId: z.string() });

describe("a definition", () => {
  test("is a frozen value without I/O, with every default filled in", () => {
    const emails = queue("emails", { input: Mail });
    expect(isDefinition(emails)).toBe(true);
    expect(Object.isFrozen(emails)).toBe(true);
    expect(emails.name).toBe("emails");
    expect(emails.settings).toMatchObject({ timeoutMs: 3_600_000, graceMs: 2_000 });
    expect(emails.settings.config).toEqual(DEFAULT_QUEUE_CONFIG);
  });
  test("gives the store its rules", () => {
    const { config } = queue("emails", {
      input: Mail,
      key: (mail) => mail.to,
      concurrency: { perKey: 2, max: 7 },
      rate: { count: 100, perMs: 1_000, burst: 3, per: "key" },
      retry: { attempts: 2, deliveries: 9 },
      priority: { ageMs: 5 },
      keep: { ms: 1, count: 2, deadMs: 3 },
      maxWaiting: 11,
    }).settings;
    expect(config).toEqual({
      perKey: 2,
      maxLeased: 7,
      rate: { count: 100, perMs: 1_000, burst: 3, isPerKey: true },
      ageMs: 5,
      maxDeliveries: 9,
      keepMs: 1,
      keepCount: 2,
      keepDeadMs: 3,
      maxWaiting: 11,
    });
  });
  test("the default burst of a rate is what falls into 50 ms, at least 1", () => {
    const burst = (count: number, perMs: number) =>
      queue("q", { input: Mail, rate: { count, perMs } }).settings.config.rate?.burst;
    expect(burst(1_000, 1_000)).toBe(50);
    expect(burst(100, 60_000)).toBe(1);
    expect(burst(20, 1_000)).toBe(1);
    expect(burst(5, 1)).toBe(5);
    expect(burst(Number.MAX_SAFE_INTEGER, 1)).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe("options that are wrong are refused when the definition is made", () => {
  const good = { input: Mail };
  test.each([
    ["no name", "", good, RangeError],
    ["a reserved name", "$q", good, RangeError],
    ["an over-long name", "q".repeat(201), good, RangeError],
    ["a name with a control character", "a\nb", good, RangeError],
    ["a name that is no text", 5, good, TypeError],
    ["no options", "q", undefined, TypeError],
    ["no schema", "q", {}, TypeError],
    ["a schema that is none", "q", { input: { parse() {} } }, TypeError],
    ["an output schema that is none", "q", { ...good, output: {} }, TypeError],
    ["an unknown option", "q", { ...good, timeout: 5 }, TypeError],
    ["a key that is no function", "q", { ...good, key: "to" }, TypeError],
    ["a negative timeout", "q", { ...good, timeoutMs: -1 }, RangeError],
    ["no timeout at all", "q", { ...good, timeoutMs: 0 }, RangeError],
    ["a fractional timeout", "q", { ...good, timeoutMs: 1.5 }, RangeError],
    ["an overflowing timeout", "q", { ...good, timeoutMs: LIMITS.durationMs + 1 }, RangeError],
    ["a timeout in words", "q", { ...good, timeoutMs: "5s" }, TypeError],
    ["a negative grace", "q", { ...good, graceMs: -1 }, RangeError],
    ["no concurrency", "q", { ...good, concurrency: { max: 0 } }, RangeError],
    ["fractional concurrency", "q", { ...good, concurrency: { perKey: 1.5 } }, RangeError],
    ["unknown concurrency", "q", { ...good, concurrency: { total: 5 } }, TypeError],
    ["a rate without count", "q", { ...good, rate: { perMs: 1_000 } }, TypeError],
    ["a rate of nothing", "q", { ...good, rate: { count: 0, perMs: 1_000 } }, RangeError],
    ["a rate per no time", "q", { ...good, rate: { count: 1, perMs: 0 } }, RangeError],
    ["no burst", "q", { ...good, rate: { count: 1, perMs: 1, burst: 0 } }, RangeError],
    [
      "a rate per key without key",
      "q",
      { ...good, rate: { count: 1, perMs: 1, per: "key" } },
      TypeError,
    ],
    [
      "an unknown kind of rate",
      "q",
      { ...good, rate: { count: 1, perMs: 1, per: "all" } },
      RangeError,
    ],
    ["negative ageing", "q", { ...good, priority: { ageMs: -1 } }, RangeError],
    ["negative keeping", "q", { ...good, keep: { ms: -1 } }, RangeError],
    ["infinite keeping", "q", { ...good, keep: { deadMs: Infinity } }, RangeError],
    ["unknown keeping", "q", { ...good, keep: { days: 3 } }, TypeError],
    ["no room to wait", "q", { ...good, maxWaiting: 0 }, RangeError],
    ["a codec that is none", "q", { ...good, codec: {} }, TypeError],
    ["a partition with a reserved name", "q", { ...good, partition: "$p" }, RangeError],
  ])("%s", (_, name, options, kind) => {
    expect(() => queue(name as string, options as never)).toThrow(kind);
  });
  test("the message says what was expected and what was got", () => {
    expect(() => queue("q", { input: Mail, timeoutMs: 0 })).toThrow(
      "Expected `timeoutMs` to be an integer from 1 to 34560000000, got 0 (number)",
    );
  });
});

test("types follow the schemas", () => {
  const typed = queue("typed", { input: Mail, output: Sent, key: (mail) => mail.to });
  type Handle = JobQueue<
    { to: string; tries: string },
    { to: string; tries: number },
    { messageId: string }
  >;
  expectTypeOf(typed[opens]).returns.toEqualTypeOf<Handle>();
  // The handle is never opened here: only its types are looked at.
  const uses = async (handle: Handle): Promise<void> => {
    const job = await handle.add({ to: "a", tries: "3" });
    expectTypeOf(await job.result()).toEqualTypeOf<{ messageId: string }>();
    handle.work(async (mail, job) => {
      expectTypeOf(mail.tries).toEqualTypeOf<number>();
      expectTypeOf(job.key).toEqualTypeOf<string | undefined>();
      expectTypeOf(job.token).toEqualTypeOf<bigint>();
      return { messageId: job.id };
    });
    handle.work((mail, job) => job.complete({ messageId: mail.to }));
    // @ts-expect-error the handler's output lacks messageId
    handle.work(async () => ({ id: "x" }));
    // @ts-expect-error it must return an output at all
    handle.work(async () => {});
    // @ts-expect-error completing takes the output
    handle.work((_, job) => job.complete({ nope: 1 }));
    // @ts-expect-error the input lacks tries
    await handle.add({ to: "a" });
    // @ts-expect-error the input is what the schema takes, not what it gives
    await handle.add({ to: "a", tries: 3 });
    // @ts-expect-error priority is a number
    await handle.add({ to: "a", tries: "3" }, { priority: "high" });
    // @ts-expect-error there is no such option
    await handle.add({ to: "a", tries: "3" }, { delay: 5 });
    // @ts-expect-error an id for each job is a function
    await handle.addMany([], { id: "x" });
    // @ts-expect-error a batch handler returns settled results
    handle.workBatch(async (items) => items.map(() => ({ messageId: "x" })));
    handle.workBatch((items) => Promise.allSettled(items.map(async () => ({ messageId: "x" }))));
    handle.workBatch(async () => {});
    const maybe = undefined as AbortSignal | undefined;
    await handle.add({ to: "a", tries: "3" }, { signal: maybe, timeoutMs: undefined });
  };
  expect(typeof uses).toBe("function");
});

test("a key that the schema does not give does not compile", () => {
  // @ts-expect-error there is no such field
  queue("q", { input: Mail, key: (mail) => mail.nope });
  // @ts-expect-error a key is text
  queue("q", { input: Mail, key: (mail) => mail.tries });
  queue("q", { input: unchecked<{ at: number }>(), key: (input) => String(input.at) });
  queue("q", { input: unchecked<Uint8Array>(), codec: bytesCodec, key: undefined });
});
