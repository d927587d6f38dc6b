// Every metric with its labels, in one table. Invariant: a label's values are few and known (routes, codes, outcomes, lanes, checks);
// never an id, a person, an address or anything that somebody typed.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

const FAST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]
const LATE_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3_600]

export const METRICS = {
  http_requests_total: { kind: 'counter', labels: ['route', 'method', 'status'], help: 'HTTP requests answered.' },
  http_request_seconds: { kind: 'histogram', labels: ['route'], buckets: FAST_SECONDS, help: 'Time to answer.' },
  http_waiting: { kind: 'gauge', labels: [], help: 'Long polls that wait now.' },
  refusals_total: { kind: 'counter', labels: ['route', 'code'], help: 'Requests refused, by code.' },
  grants_ended_total: { kind: 'counter', labels: ['outcome'], help: 'Grants ended, by outcome.' },
  end_late_seconds: { kind: 'histogram', labels: [], buckets: LATE_SECONDS, help: 'From deadline to confirmed end.' },
  stuck_total: {
    kind: 'counter',
    labels: [],
    help: 'Grants that became stuck: their end cannot be confirmed, and each needs a person.',
  },
  sweeps_total: { kind: 'counter', labels: ['lane', 'result'], help: 'Sweeps, by lane: done or failed.' },
  swept_grants_total: {
    kind: 'counter',
    labels: ['lane', 'result'],
    help: 'Grants worked on by sweeps: done or failed.',
  },
  sweep_seconds: { kind: 'histogram', labels: ['lane'], buckets: FAST_SECONDS, help: 'Time of one sweep.' },
  witness_seconds: { kind: 'histogram', labels: [], buckets: FAST_SECONDS, help: 'From commit to stable storage.' },
} as const satisfies Record<string, Definition>

type Definition = { readonly labels: readonly string[]; readonly help: string } & (
  | { readonly kind: 'counter' }
  | { readonly kind: 'gauge' }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
)
type Name = keyof typeof METRICS
type Of<Kind extends Definition['kind']> = { [N in Name]: (typeof METRICS)[N]['kind'] extends Kind ? N : never }[Name]
type Labels<N extends Name> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>

export interface Metrics {
  count<N extends Of<'counter'>>(name: N, labels: Labels<N>, by?: number): void
  observe<N extends Of<'histogram'>>(name: N, labels: Labels<N>, seconds: number): void
  set<N extends Of<'gauge'>>(name: N, value: number): void
  text(): Promise<{ readonly text: string; readonly media: string }>
}

/** A registry of its own, so that two brokers in one process do not share figures. Names on the outside begin with `writ_`. */
export function metrics(): Metrics {
  const registry = new Registry()
  const counters = new Map<string, Counter>()
  const histograms = new Map<string, Histogram>()
  const gauges = new Map<string, Gauge>()
  for (const [name, definition] of Object.entries<Definition>(METRICS)) {
    const { help, labels } = definition
    const options = { name: `writ_${name}`, help, labelNames: [...labels], registers: [registry] }
    if (definition.kind === 'counter') counters.set(name, new Counter(options))
    else if (definition.kind === 'gauge') gauges.set(name, new Gauge(options))
    else histograms.set(name, new Histogram({ ...options, buckets: [...definition.buckets] }))
  }
  return {
    count: (name, labels, by = 1) => counters.get(name)?.inc(labels, by),
    observe: (name, labels, seconds) => histograms.get(name)?.observe(labels, seconds),
    set: (name, value) => gauges.get(name)?.set(value),
    text: async () => ({ text: await registry.metrics(), media: registry.contentType }),
  }
}
