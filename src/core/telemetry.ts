/**
 * The OpenTelemetry seam: the only file that imports `@opentelemetry/api`. Without an SDK every
 * call here is a no-op of a few nanoseconds. Portable classes call it; engines never do.
 */
import { context, metrics, propagation, trace, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { Attributes, Context, Counter, Histogram, Span } from "@opentelemetry/api";

/**
 * Attribute names of the published messaging and database conventions. Never a user's key or
 * payload.
 */
export const ATTRIBUTES = {
  system: "messaging.system",
  destination: "messaging.destination.name",
  operation: "messaging.operation.name",
  batch: "messaging.batch.message_count",
  messageId: "messaging.message.id",
  outcome: "holdfast.outcome",
} as const;

const tracer = () => trace.getTracer("holdfast");
const meter = () => metrics.getMeter("holdfast");

export interface Meters {
  readonly jobs: Counter;
  readonly handlerMs: Histogram;
  readonly waitMs: Histogram;
}

let meters: Meters | undefined;

/**
 * The instruments all features share, made on first use so that an SDK registered at start is seen.
 */
export function instruments(): Meters {
  meters ??= {
    jobs: meter().createCounter("holdfast.jobs", {
      description: "Jobs settled, by queue and outcome",
    }),
    handlerMs: meter().createHistogram("holdfast.job.duration", { unit: "ms" }),
    waitMs: meter().createHistogram("holdfast.job.wait", { unit: "ms" }),
  };
  return meters;
}

/** The current trace context as a W3C `traceparent`, or undefined without a tracer. */
export function currentTrace(): string | undefined {
  if (trace.getActiveSpan() === undefined) return undefined;
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return carrier["traceparent"];
}

function parent(traceparent: string | undefined): Context {
  if (traceparent === undefined) return context.active();
  return propagation.extract(context.active(), { traceparent });
}

export { SpanKind };

/** Runs `work` in a span; a throw marks it failed and goes on. */
export async function inSpan<T>(
  name: string,
  options: {
    readonly kind: SpanKind;
    readonly attributes: Attributes;
    readonly trace?: string | undefined;
  },
  work: (span: Span) => Promise<T> | T,
): Promise<T> {
  const { kind, attributes } = options;
  return tracer().startActiveSpan(
    name,
    { kind, attributes },
    parent(options.trace),
    async (span) => {
      try {
        return await work(span);
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
  );
}

/** True while a tracer that records is registered: lets hot paths skip the span's cost. */
export function isTracing(): boolean {
  const span = tracer().startSpan("holdfast.probe");
  const isRecording = span.isRecording();
  span.end();
  return isRecording;
}
