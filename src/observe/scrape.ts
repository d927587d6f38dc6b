// The figures that are looked up when somebody asks for the metrics. Invariant: what does not answer in time, or fails, is left out and not
// shown as it was before; nothing here can make the answer wait longer than that.
import { CANARY_RESULTS } from '../domain/canary.ts'
import type { Lane } from '../domain/entitlement.ts'
import { earliest, type Instant } from '../domain/instant.ts'
import { STATUSES, type Status } from '../domain/lifecycle.ts'
import type { Approvals } from './approvals.ts'
import type { Endings } from './measured.ts'
import type { METRICS, Metrics } from './metrics.ts'

export interface Sources {
  readonly figures: Metrics
  readonly build: Readonly<Record<(typeof METRICS)['build_info']['labels'][number], string>>
  /** Names of the checks behind `/readyz`. */
  readonly checks: readonly string[]
  readonly lanes: readonly Lane[]
  readonly endings: Pick<Endings, 'oldest' | 'stuck'>
  readonly approvals: Pick<Approvals, 'reciprocal'>
  /** Redis's time for ending, which goes on whatever the clock did. */
  now(): Instant
  /** How many grants of each status the store holds; a status that is not named is not known. */
  counts(): Promise<Readonly<Partial<Record<Status, number>>>>
  firstDeadline(lane: Lane): Promise<Instant | undefined>
  sweepAgeMs(lane: Lane): number
  queueQuietMs(): number
  clockState(): string
  witnessHealthy(): boolean
  recovering(): boolean
  /** What comes from a backend, and what became of its last canary. */
  tried(): Promise<readonly { readonly canary: { readonly result: string; readonly at: Instant } | undefined }[]>
  /** Sets what is known of the backends' inventories; absent where none is looked through. */
  readonly inventory?: () => void
}

const ANSWER_WITHIN_MS = 1_000
const CLOCK_STATES = ['trusted', 'not_sampled', 'old', 'jumped']

/** Looks everything up, and gives the text of all metrics. */
export function scrape(p: Sources): (failing: readonly string[]) => ReturnType<Metrics['text']> {
  const { figures } = p
  const age = (since: Instant | undefined): number => (since === undefined ? 0 : Math.max(0, p.now() - since) / 1_000)

  const stored = async (): Promise<void> => {
    const counts = await inTime(p.counts())
    for (const status of STATUSES) figures.set('grants', counts?.[status], { status })
  }
  const canaries = async (): Promise<void> => {
    const tried = await inTime(p.tried())
    for (const result of [...CANARY_RESULTS, 'none']) {
      const count = tried?.filter(({ canary }) => (canary?.result ?? 'none') === result).length
      figures.set('canaries', count, { result })
    }
    const [first, ...more] = tried?.flatMap(({ canary }) => canary?.at ?? []) ?? []
    figures.set('canary_age_seconds', first === undefined ? undefined : age(earliest(first, ...more)))
  }
  const due = async (lane: Lane): Promise<void> => {
    const seen = await inTime(p.firstDeadline(lane).then(age))
    figures.set('due_age_seconds', seen, { lane })
  }
  const own = (failing: readonly string[]): void => {
    figures.set('build_info', 1, p.build)
    figures.set('ready', failing.length === 0 ? 1 : 0)
    for (const check of p.checks) figures.set('check_failing', failing.includes(check) ? 1 : 0, { check })
    for (const state of CLOCK_STATES) figures.set('clock_state', p.clockState() === state ? 1 : 0, { state })
    for (const lane of p.lanes) figures.set('sweep_age_seconds', p.sweepAgeMs(lane) / 1_000, { lane })
    figures.set('queue_quiet_seconds', p.queueQuietMs() / 1_000)
    figures.set('witness_healthy', p.witnessHealthy() ? 1 : 0)
    figures.set('recovering', p.recovering() ? 1 : 0)
    figures.set('oldest_unconfirmed_end_seconds', age(p.endings.oldest()))
    figures.set('stuck', p.endings.stuck())
    figures.set('reciprocal_approval_ratio', p.approvals.reciprocal())
  }
  return async (failing) => {
    await Promise.all([stored(), canaries(), ...p.lanes.map(due)])
    own(failing)
    p.inventory?.()
    return figures.text()
  }
}

/** The answer, or undefined where there is none in time. */
async function inTime<T>(work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ANSWER_WITHIN_MS, undefined)
  })
  try {
    return await Promise.race([work.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}
