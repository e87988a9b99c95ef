import { AsyncLocalStorage } from "node:async_hooks";
import {
  context,
  metrics,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Attributes,
  type Context,
  type Meter,
  type Span,
  type SpanContext,
  type SpanOptions,
  type TextMapPropagator,
  type Tracer,
} from "@opentelemetry/api";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { until, World, type Process } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { isTracing } from "../../core/telemetry.ts";
import { queue } from "./definition.ts";

interface Recorded {
  readonly name: string;
  readonly options: SpanOptions;
  readonly context: SpanContext;
  /** The id of the span that it is a child of. */
  readonly parent: string | undefined;
  isFailed: boolean;
  isEnded: boolean;
}

interface Measured {
  readonly name: string;
  readonly value: number;
  readonly attributes: Attributes | undefined;
}

const spans: Recorded[] = [];
const measured: Measured[] = [];

/** Every span that is started is recorded, as one that an SDK would export. */
function startSpan(name: string, options: SpanOptions = {}, from = context.active()): Span {
  const spanId = String(spans.length + 1).padStart(16, "0");
  const own: SpanContext = { traceId: "1".padStart(32, "0"), spanId, traceFlags: 1 };
  const parent = trace.getSpanContext(from)?.spanId;
  const recorded = { name, options, context: own, parent, isFailed: false, isEnded: false };
  spans.push(recorded);
  const span = {
    isRecording: () => true,
    spanContext: () => own,
    setStatus: () => (recorded.isFailed = true),
    end: () => (recorded.isEnded = true),
  };
  return span as unknown as Span;
}

function startActiveSpan(
  name: string,
  options: SpanOptions,
  from: Context,
  work: (span: Span) => unknown,
): unknown {
  const span = startSpan(name, options, from);
  return context.with(trace.setSpan(from, span), () => work(span));
}

const tracer = { startSpan, startActiveSpan } as Tracer;

const storage = new AsyncLocalStorage<Context>();
const scopes: Parameters<typeof context.setGlobalContextManager>[0] = {
  active: () => storage.getStore() ?? ROOT_CONTEXT,
  with: (active, fn, self, ...args) => storage.run(active, () => fn.apply(self, args)),
  bind: (_, target) => target,
  enable: () => scopes,
  disable: () => scopes,
};

/** The W3C format, as far as these tests need it. */
const propagator: TextMapPropagator = {
  inject(from, carrier, setter) {
    const span = trace.getSpanContext(from);
    if (span !== undefined) {
      setter.set(carrier, "traceparent", `00-${span.traceId}-${span.spanId}-01`);
    }
  },
  extract(into, carrier, getter) {
    const [, traceId, spanId] = String(getter.get(carrier, "traceparent")).split("-");
    if (traceId === undefined || spanId === undefined) return into;
    return trace.setSpanContext(into, { traceId, spanId, traceFlags: 1 });
  },
  fields: () => ["traceparent"],
};

const instrument =
  (name: string) =>
  (value: number, attributes?: Attributes): void =>
    void measured.push({ name, value, attributes });
const meter = {
  createCounter: (name: string) => ({ add: instrument(name) }),
  createHistogram: (name: string) => ({ record: instrument(name) }),
} as unknown as Meter;

// Instruments are made once in a process: the meter has to be there before the first worker.
beforeAll(() => void metrics.setGlobalMeterProvider({ getMeter: () => meter }));
afterAll(() => metrics.disable());

function register(): void {
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  context.setGlobalContextManager(scopes);
  propagation.setGlobalPropagator(propagator);
}

let world: World;
let process: Process;
beforeEach(async () => {
  spans.length = 0;
  measured.length = 0;
  world = new World();
  process = await world.process();
});
afterEach(async () => {
  await world.close();
  trace.disable();
  context.disable();
  propagation.disable();
});

/** Runs in a span of that name, as the program that adds jobs would. */
const within = <T>(name: string, work: () => T): T =>
  startActiveSpan(name, {}, context.active(), work) as T;

const idOf = (name: string): string | undefined =>
  spans.find((span) => span.name === name)?.context.spanId;

/** The values of an instrument, by outcome where it has one. */
const values = (name: string): unknown[] =>
  measured
    .filter((each) => each.name === name)
    .map(({ value, attributes }) => [attributes?.["holdfast.outcome"], value]);

test("with a tracer each handler runs in a consumer span, which a failure marks", async () => {
  register();
  const jobs = process.store.handle(
    queue("traced", { input: unchecked<number>(), retry: { attempts: 1 } }),
  );
  await using worker = jobs.work((n) => {
    if (n === 2) throw new Error("odd");
    return n;
  });
  await jobs.addMany([1, 2], { id: (n) => `j${n}` });
  await until(() => worker.stats.completed === 1 && worker.stats.dead === 1);
  expect(spans.map(({ name, isFailed, isEnded }) => [name, isFailed, isEnded])).toEqual([
    ["process traced", false, true],
    ["process traced", true, true],
  ]);
  expect(spans[0]?.options).toMatchObject({
    kind: SpanKind.CONSUMER,
    attributes: {
      "messaging.system": "holdfast",
      "messaging.destination.name": "traced",
      "messaging.operation.name": "process",
      "messaging.message.id": "j1",
    },
  });
});

test("its span is a child of the one in which the job was added, and active in the handler", async () => {
  register();
  const jobs = process.store.handle(queue("child", { input: unchecked<number>() }));
  const actives: unknown[] = [];
  await using worker = jobs.work(async (n) => {
    await Promise.resolve();
    actives.push(trace.getActiveSpan()?.spanContext().spanId);
    return n;
  });
  await within("request", () => jobs.add(1));
  await until(() => worker.stats.completed === 1);
  const span = spans.find(({ name }) => name === "process child");
  expect(span?.parent).toBe(idOf("request"));
  expect(actives).toEqual([span?.context.spanId]);
});

test("a batch has one span, with its size, linked to those in which its jobs were added", async () => {
  register();
  const jobs = process.store.handle(
    queue("batch", { input: unchecked<number>(), retry: { attempts: 1 } }),
  );
  await within("first", () => jobs.addMany([1, 2]));
  await within("second", () => jobs.add(3));
  await using worker = jobs.workBatch(async () => {
    throw new Error("all");
  });
  await until(() => worker.stats.dead === 3);
  const batches = spans.filter(({ name }) => name === "process batch");
  expect(batches).toHaveLength(1);
  expect(batches[0]).toMatchObject({ parent: undefined, isFailed: true, isEnded: true });
  expect(batches[0]?.options).toMatchObject({
    kind: SpanKind.CONSUMER,
    attributes: { "messaging.destination.name": "batch", "messaging.batch.message_count": 3 },
  });
  expect(batches[0]?.options.links?.map((link) => link.context.spanId)).toEqual([
    idOf("first"),
    idOf("first"),
    idOf("second"),
  ]);
});

test("without one nothing is traced", async () => {
  expect(isTracing()).toBe(false);
  const jobs = process.store.handle(queue("plain", { input: unchecked<number>() }));
  await using worker = jobs.work((n) => n);
  await jobs.add(1);
  await until(() => worker.stats.completed === 1);
  expect(spans).toEqual([]);
  register();
  expect(isTracing()).toBe(true);
  expect(spans).toEqual([]);
});

test("outcomes are counted, and waits measured, by queue", async () => {
  const jobs = process.store.handle(
    queue("counted", { input: unchecked<number>(), retry: { attempts: 1 } }),
  );
  await jobs.addMany([1, 2]);
  await world.clock.advance(70);
  await using worker = jobs.work((n) => {
    if (n === 2) throw new Error("odd");
    return n;
  });
  await until(() => worker.stats.completed === 1 && worker.stats.dead === 1);
  expect(values("holdfast.jobs")).toEqual([
    ["completed", 1],
    ["dead", 1],
  ]);
  expect(values("holdfast.job.wait")).toEqual([
    [undefined, 70],
    [undefined, 70],
  ]);
  for (const { attributes } of measured) {
    expect(attributes).toMatchObject({
      "messaging.system": "holdfast",
      "messaging.destination.name": "counted",
    });
  }
});

test("the duration is the handler's, without the commit of its outcome", async () => {
  const jobs = process.store.handle(queue("timed", { input: unchecked<number>() }));
  await jobs.addMany([1, 2]);
  const commit = process.commit.bind(process);
  process.commit = async (groups) => {
    const isSettling = groups.some(({ ops }) => ops.some(({ op }) => op === "queue.settle"));
    if (isSettling) await new Promise<void>((resolve) => void world.clock.timer(500, resolve));
    return commit(groups);
  };
  await using worker = jobs.work(async (n) => {
    await new Promise<void>((resolve) => void world.clock.timer(100 * n, resolve));
  });
  await until(() => worker.stats.running === 2);
  await world.clock.advance(2_000);
  expect(worker.stats.completed).toBe(2);
  expect(values("holdfast.job.duration")).toEqual([
    [undefined, 100],
    [undefined, 200],
  ]);
});
