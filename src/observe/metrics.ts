// Every metric with its labels, in one table. Invariant: a label's values are few and known (routes, codes, outcomes, lanes, checks);
// never an id, a person, an address or anything that somebody typed.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

const FAST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]
const LATE_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3_600]
const HUMAN_SECONDS = [1, 3, 10, 60, 300, 900, 3_600, 14_400, 86_400, 604_800]

export const METRICS = {
  http_requests_total: { kind: 'counter', labels: ['route', 'method', 'status'], help: 'HTTP requests answered.' },
  http_request_seconds: { kind: 'histogram', labels: ['route'], buckets: FAST_SECONDS, help: 'Time to answer.' },
  http_waiting: { kind: 'gauge', labels: [], help: 'Long polls that wait now.' },
  refusals_total: { kind: 'counter', labels: ['route', 'code'], help: 'Requests refused, by code.' },
  grants_ended_total: { kind: 'counter', labels: ['outcome'], help: 'Grants ended, by outcome.' },
  grants: { kind: 'gauge', labels: ['status'], help: 'Grants in the store, by status.' },
  decision_seconds: {
    kind: 'histogram',
    labels: ['verdict', 'by', 'tier'],
    buckets: HUMAN_SECONDS,
    help: 'From filing to each approval or denial, by a person or by the policy; `added` is an approval that others must follow.',
  },
  reciprocal_approval_ratio: {
    kind: 'gauge',
    labels: [],
    help: 'Of the approvals of the last 30 days that this broker took since it started, the share given to somebody who gave one back.',
  },
  uses_reported_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'Uses of credentials that resource servers reported, repeated reports not counted: used or refused.',
  },
  misuse_total: {
    kind: 'counter',
    labels: ['reason'],
    help: 'Refused uses that are misuse, by the reason that the resource server gave.',
  },
  mint_seconds: {
    kind: 'histogram',
    labels: ['kind'],
    buckets: FAST_SECONDS,
    help: 'From the asking for a credential to its answer.',
  },
  end_late_seconds: { kind: 'histogram', labels: [], buckets: LATE_SECONDS, help: 'From deadline to confirmed end.' },
  end_seconds: {
    kind: 'histogram',
    labels: [],
    buckets: LATE_SECONDS,
    help: 'From the beginning of an end to its confirmation.',
  },
  oldest_unconfirmed_end_seconds: {
    kind: 'gauge',
    labels: [],
    help: 'How long the oldest end that this broker has seen lately has been unconfirmed; 0 for none.',
  },
  stuck: { kind: 'gauge', labels: [], help: 'Stuck grants that this broker has seen lately.' },
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
  sweep_age_seconds: { kind: 'gauge', labels: ['lane'], help: 'Since the last sweep that worked.' },
  due_age_seconds: {
    kind: 'gauge',
    labels: ['lane'],
    help: 'How long the oldest deadline that nobody works on has passed; 0 for none.',
  },
  queue_quiet_seconds: {
    kind: 'gauge',
    labels: [],
    help: 'Since the queue worker last finished a job, canaries included.',
  },
  witness_seconds: { kind: 'histogram', labels: [], buckets: FAST_SECONDS, help: 'From commit to stable storage.' },
  witness_healthy: { kind: 'gauge', labels: [], help: '1 while the witness can be written, else 0.' },
  store_call_seconds: {
    kind: 'histogram',
    labels: ['call', 'result'],
    buckets: FAST_SECONDS,
    help: 'Calls of the store in Redis: done, refused or failed.',
  },
  backend_call_seconds: {
    kind: 'histogram',
    labels: ['call', 'result'],
    buckets: FAST_SECONDS,
    help: 'Calls of the backends (Vault and the question behind it): done, refused or failed.',
  },
  canaries: {
    kind: 'gauge',
    labels: ['result'],
    help: 'Entitlements of a backend by their last canary: ok, failed (ending was shown not to work), unknown, none yet.',
  },
  canary_age_seconds: { kind: 'gauge', labels: [], help: 'Since the oldest of the last canaries was made.' },
  ready: { kind: 'gauge', labels: [], help: '1 when every check of /readyz passes, else 0.' },
  check_failing: { kind: 'gauge', labels: ['check'], help: '1 while this check of /readyz fails, else 0.' },
  clock_state: {
    kind: 'gauge',
    labels: ['state'],
    help: '1 for the state of the clock: only trusted allows anything.',
  },
  recovering: { kind: 'gauge', labels: [], help: '1 while the store is behind or has no control record, else 0.' },
  orphans_total: {
    kind: 'counter',
    labels: ['backend', 'kind', 'result'],
    help: 'What lay at a backend in our name without a grant that stands for it: ended, or failed to end.',
  },
  unknown_artefacts: {
    kind: 'gauge',
    labels: ['backend', 'kind'],
    help: 'What lies among ours at a backend and nobody here can say anything of, as of the last pass; never touched.',
  },
  inventory_clean_age_seconds: {
    kind: 'gauge',
    labels: ['backend'],
    help: 'Since the backend was last looked through with nothing left that should not be there.',
  },
  issuing_closed: {
    kind: 'gauge',
    labels: ['backend'],
    help: '1 while no login is made at this backend, or at a database behind it, until it has been looked through, else 0.',
  },
  trace_spans_total: {
    kind: 'counter',
    labels: ['result'],
    help: 'Spans that were sent, dropped because the queue was full, or failed at the collector.',
  },
  build_info: { kind: 'gauge', labels: ['version', 'node'], help: 'Always 1: what runs here.' },
} as const satisfies Record<string, Definition>

type Definition = { readonly labels: readonly string[]; readonly help: string } & (
  | { readonly kind: 'counter' }
  | { readonly kind: 'gauge' }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
)
type Name = keyof typeof METRICS
type Of<Kind extends Definition['kind']> = { [N in Name]: (typeof METRICS)[N]['kind'] extends Kind ? N : never }[Name]
type Labels<N extends Name> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>
/** Left out where there are none. */
type MaybeLabels<N extends Name> = (typeof METRICS)[N]['labels'] extends readonly [] ? [] : [labels: Labels<N>]

export interface Metrics {
  count<N extends Of<'counter'>>(name: N, labels: Labels<N>, by?: number): void
  observe<N extends Of<'histogram'>>(name: N, labels: Labels<N>, seconds: number): void
  /** Undefined takes the figure away: what is not known is not shown. */
  set<N extends Of<'gauge'>>(name: N, value: number | undefined, ...labels: MaybeLabels<N>): void
  text(): Promise<{ readonly text: string; readonly media: string }>
}

/**
 * A registry of its own, so that two brokers in one process do not share figures. Names on the outside begin with `writ_`; those of the
 * process (memory, processor, event loop, collections) have the names that every Node dashboard knows.
 */
export function metrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
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
    set: (name, value, ...[labels = {}]) => {
      if (value === undefined) gauges.get(name)?.remove(labels)
      else gauges.get(name)?.set(labels, value)
    },
    text: async () => ({ text: await registry.metrics(), media: registry.contentType }),
  }
}
