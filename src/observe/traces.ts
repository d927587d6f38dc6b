// OpenTelemetry spans of what a broker does, sent to a collector in the background. Invariant: a span holds only what the list below names,
// never a body, a header, a query, a token or a sentence; and whatever the collector does, the broker neither waits for it nor stops.
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Context,
  createNoopMeter,
  type MeterProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { isBrokerError } from '../domain/errors.ts'
import type { CallFacts } from './calls.ts'
import { printable } from './log.ts'

/** What a span may hold, and under which name. Another fact does not compile, and is dropped if it gets here all the same. */
const ATTRIBUTES = [
  ['route', 'writ.route'],
  ['path', 'http.route'],
  ['method', 'http.request.method'],
  ['status', 'http.response.status_code'],
  ['code', 'writ.code'],
  ['grant', 'writ.grant'],
  ['mint', 'writ.mint'],
  ['lane', 'writ.lane'],
  ['backend', 'writ.backend'],
  ['event', 'writ.event'],
  ['version', 'writ.version'],
  ['count', 'writ.count'],
] as const
type SpanFacts = CallFacts & { readonly [N in (typeof ATTRIBUTES)[number][0]]?: string | number }

/** One HTTP request as its span tells of it. */
export interface DoorCall {
  readonly route: string
  /** As in the table of routes, with `:id` for whatever is asked for. */
  readonly path: string
  readonly method: string
  /** Every value of the header, as sent. */
  readonly traceparent: readonly string[]
}
/** The systems behind the ports, as the first word of a span's name. */
export type System = 'verb' | 'redis' | 'vault' | 'forge' | 'witness' | 'queue'

export interface Traces {
  door<A extends { readonly status: number; readonly code?: string }>(
    call: DoorCall,
    work: () => Promise<A>,
  ): Promise<A>
  /** A span under the one that is open here. It is told of only if `idle` does not say that its answer is no news. */
  within<T>(
    system: System,
    name: string,
    facts: CallFacts,
    work: () => Promise<T>,
    idle?: (answer: T) => boolean,
  ): Promise<T>
  /** Of the trace that is open here. */
  traceId(): string | undefined
  /** Sends what is waiting, for two seconds at most. Never rejects. */
  close(): Promise<void>
}

export interface Tracing {
  /** The collector's base URL. */
  readonly url: string
  readonly version: string
  /** Tells this broker from the others. */
  readonly instance: string
  readonly onSpans: OnSpans
}
/** What became of so many spans: sent, dropped because the queue was full, or failed at the collector. */
export type OnSpans = (result: 'sent' | 'dropped' | 'failed', count: number) => void

const LIMITS = { maxQueueSize: 4_096, maxExportBatchSize: 512, scheduledDelayMillis: 1_000, exportTimeoutMillis: 5_000 }
const FLUSH_WITHIN_MS = 2_000
/** Probes come every few seconds and tell nothing: those who look after the broker are not traced. */
const UNTOLD = new Set(['healthz', 'readyz', 'metrics'])

export function openTraces({ url, version, instance, onSpans }: Tracing): Traces {
  const exporter = new OTLPTraceExporter({ url: `${url}/v1/traces`, timeoutMillis: LIMITS.exportTimeoutMillis })
  const processor = new BatchSpanProcessor({ ...LIMITS, exporter, selfObsMeterProvider: spansTold(onSpans) })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'writ',
      'service.version': version,
      'service.instance.id': instance,
    }),
    // Whoever calls does not decide whether we can see what we did: only which trace it belongs to.
    sampler: new AlwaysOnSampler(),
    spanProcessors: [processor],
    spanLimits: { attributeValueLengthLimit: 200, eventCountLimit: 0, linkCountLimit: 0 },
  })
  const tracer = provider.getTracer('writ', version)
  /** Ours, not the API's global one: two brokers in one process do not share it, and nothing else can put a span into it. */
  const open = new AsyncLocalStorage<Context>()
  const here = (): Context => open.getStore() ?? ROOT_CONTEXT

  async function run<T>(span: Span, parent: Context, work: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
    try {
      const answer = await open.run(trace.setSpan(parent, span), work)
      // A span that is never ended is never sent.
      if (done(answer)) span.end()
      return answer
    } catch (thrown) {
      span.setAttributes(attributesOf({ code: isBrokerError(thrown) ? thrown.code : 'internal' }))
      // A refusal is an answer. What is thrown else is not looked into: its message may quote anything.
      if (!isBrokerError(thrown) || thrown.blame === 'upstream') span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
      throw thrown
    }
  }

  return {
    door: (call, work) => {
      const { route, path, method, traceparent } = call
      if (UNTOLD.has(route)) return work()
      const parent = contextOf(traceparent)
      const attributes = attributesOf({ route, path, method })
      const span = tracer.startSpan(`${method} ${path}`, { kind: SpanKind.SERVER, attributes }, parent)
      return run(span, parent, work, ({ status, code }) => {
        span.setAttributes(attributesOf({ status, ...(code === undefined ? {} : { code }) }))
        if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
        return true
      })
    },
    within: (system, name, facts, work, idle = () => false) => {
      const parent = here()
      const kind = system === 'redis' || system === 'vault' ? SpanKind.CLIENT : SpanKind.INTERNAL
      const span = tracer.startSpan(`${system} ${name}`, { kind, attributes: attributesOf(facts) }, parent)
      return run(span, parent, work, (answer) => !idle(answer))
    },
    traceId: () => trace.getSpanContext(here())?.traceId,
    close: async () => {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, FLUSH_WITHIN_MS)
      })
      await Promise.race([provider.shutdown().catch(() => undefined), late])
      clearTimeout(timer)
    },
  }
}

function attributesOf(facts: SpanFacts): Record<string, string | number | boolean> {
  return Object.fromEntries(
    ATTRIBUTES.flatMap(([name, attribute]) =>
      facts[name] === undefined ? [] : [[attribute, printable(facts[name])] as const],
    ),
  )
}

// W3C Trace Context. Of a later version we would not know what its flags mean, and an id of zeros is none.
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** The caller's trace, if it is recorded there; else none, and ours begins anew. */
function contextOf(values: readonly string[]): Context {
  const [traceId, spanId, flags] = (values.length === 1 && TRACEPARENT.exec(values[0] ?? '')?.slice(1)) || []
  if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT
  if ((Number.parseInt(flags, 16) & TraceFlags.SAMPLED) === 0) return ROOT_CONTEXT
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true })
}

/** The library counts what becomes of its spans on an OpenTelemetry meter; this one knows no other figure and hands that one on. */
function spansTold(onSpans: OnSpans): MeterProvider {
  const none = createNoopMeter()
  const meter: typeof none = Object.assign(Object.create(none), {
    createCounter: (name: string) =>
      name === 'otel.sdk.processor.span.processed'
        ? {
            add: (count: number, labels: Readonly<Record<string, unknown>> = {}) => {
              const error = labels['error.type']
              onSpans(error === undefined ? 'sent' : error === 'queue_full' ? 'dropped' : 'failed', count)
            },
          }
        : none.createCounter(name),
  })
  return { getMeter: () => meter }
}
