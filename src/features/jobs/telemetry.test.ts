import {
  SpanKind,
  trace,
  type Context,
  type Span,
  type SpanOptions,
  type Tracer,
} from "@opentelemetry/api";
import { afterEach, expect, test } from "vitest";
import { until, World } from "../../../test/kit/jobs.ts";
import { unchecked } from "../../core/codec.ts";
import { queue } from "./definition.ts";

interface Recorded {
  readonly name: string;
  readonly options: SpanOptions;
  isFailed: boolean;
  isEnded: boolean;
}

/** A tracer that records what is asked of it. */
function recorder(): { readonly tracer: Tracer; readonly spans: Recorded[] } {
  const spans: Recorded[] = [];
  const startSpan = (name: string, options: SpanOptions = {}): Span => {
    const recorded: Recorded = { name, options, isFailed: false, isEnded: false };
    if (name !== "holdfast.probe") spans.push(recorded);
    const span = {
      isRecording: () => true,
      setStatus: () => (recorded.isFailed = true),
      end: () => (recorded.isEnded = true),
    };
    return span as unknown as Span;
  };
  const startActiveSpan = (
    name: string,
    options: SpanOptions,
    _: Context,
    work: (span: Span) => unknown,
  ): unknown => work(startSpan(name, options));
  return { tracer: { startSpan, startActiveSpan } as Tracer, spans };
}

afterEach(() => trace.disable());

test("with a tracer each handler runs in a consumer span, which a failure marks", async () => {
  const { tracer, spans } = recorder();
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  const world = new World();
  const jobs = (await world.store()).handle(
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
      "messaging.message.id": "j1",
    },
  });
  await worker.close();
  await world.close();
});

test("without one nothing is recorded", async () => {
  const world = new World();
  const jobs = (await world.store()).handle(queue("plain", { input: unchecked<number>() }));
  await using worker = jobs.work((n) => n);
  await jobs.add(1);
  await until(() => worker.stats.completed === 1);
  await worker.close();
  await world.close();
});
