/**
 * The OpenTelemetry seam: the only file that imports `@opentelemetry/api`. Without an SDK every
 * call here is a no-op of a few nanoseconds. Portable classes call it; engines never do.
 */
import {
  context,
  metrics,
  propagation,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { Attributes, Context, Counter, Histogram, Link, Span } from "@opentelemetry/api";

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

const NAME = "holdfast";
const tracer = () => trace.getTracer(NAME);
const meter = () => metrics.getMeter(NAME);

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

function linksTo(traceparents: readonly string[]): Link[] {
  const links: Link[] = [];
  for (const traceparent of traceparents) {
    const found = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, { traceparent }));
    if (found !== undefined) links.push({ context: found });
  }
  return links;
}

export { SpanKind };

/** Runs `work` in a span; a throw marks it failed and goes on. */
export async function inSpan<T>(
  name: string,
  options: {
    readonly kind: SpanKind;
    readonly attributes: Attributes;
    /** The `traceparent` of the span that this one is a child of; default: the active one. */
    readonly trace?: string | undefined;
    /** The `traceparent`s of spans that this one comes from too: those of a batch. */
    readonly links?: readonly string[] | undefined;
  },
  work: (span: Span) => Promise<T> | T,
): Promise<T> {
  const { kind, attributes, links = [] } = options;
  return tracer().startActiveSpan(
    name,
    { kind, attributes, links: linksTo(links) },
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

/**
 * True while a tracer provider is registered: lets hot paths skip the span's cost. A span to try it
 * with would be exported, and its sampling would decide for all that follow.
 */
export function isTracing(): boolean {
  const provider = trace.getTracerProvider();
  // One that is not ours was registered through another copy of the API.
  if (!(provider instanceof ProxyTracerProvider)) return true;
  return provider.getDelegateTracer(NAME) !== undefined;
}
