// An OpenTelemetry collector for tests: takes OTLP over HTTP as JSON, keeps every payload as it came, and can be told to answer nothing.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Sink } from './leak-scan.ts'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: number
  readonly failed: boolean
  readonly attributes: Readonly<Record<string, unknown>>
}
export interface Collector {
  readonly url: string
  /** Every payload as sent, for the search for secrets. */
  sinks(): readonly Sink[]
  spans(): readonly CollectedSpan[]
  /** From now on payloads are taken in but not answered. */
  hang(): void
  /** How many payloads wait for an answer that does not come. */
  hanging(): number
  stop(): Promise<void>
}

export async function startCollector(): Promise<Collector> {
  const payloads: string[] = []
  let hangs = false
  let hanging = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (hangs) {
        hanging += 1
        return
      }
      const known = request.method === 'POST' && request.url === '/v1/traces'
      if (known) payloads.push(Buffer.concat(chunks).toString('utf8'))
      response.writeHead(known ? 200 : 404, { 'Content-Type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sinks: () => payloads.map((text, n) => ({ name: `traces ${n}`, text })),
    spans: () => payloads.flatMap(spansIn),
    hang: () => {
      hangs = true
    },
    hanging: () => hanging,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number }
}

function spansIn(payload: string): readonly CollectedSpan[] {
  const { resourceSpans } = JSON.parse(payload)
  return resourceSpans.flatMap((of: { scopeSpans: { spans: Record<string, unknown>[] }[] }) =>
    of.scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId,
        name: span.name,
        kind: span.kind,
        failed: (span.status as { code?: number }).code === 2,
        attributes: Object.fromEntries(
          ((span.attributes ?? []) as Attribute[]).map(({ key, value }) => [key, value.stringValue ?? value.intValue]),
        ),
      })),
    ),
  )
}
