// Ports and verbs that tell the metrics what went through them, and are otherwise the ones they wrap.
import type { CredentialSource, GrantStore, Seal } from '../broker/ports.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { EventType } from '../domain/events.ts'
import { type Grant, inStatus, type Step } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import { earliest, type Instant, minutes } from '../domain/instant.ts'
import type { Approvals } from './approvals.ts'
import { type Around, CREDENTIAL_CALLS, STORE_CALLS, told } from './calls.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

/** What is measured needs two clocks: monotonic milliseconds for durations, and Redis's for how long an end has been open. */
export interface Measuring {
  readonly figures: Metrics
  readonly ticks: () => number
  readonly endings: Endings
  readonly approvals: Approvals
}

/**
 * The ends that this broker has seen begun and not confirmed, with when they began. Whoever works on one comes by at least twice a minute,
 * so what was not seen for two minutes is in other hands, or over.
 */
export interface Endings {
  saw(grant: Grant): void
  /** When its end began, and from now on it is over. */
  over(id: GrantId): Instant | undefined
  oldest(): Instant | undefined
  /** How many of them are stuck. */
  stuck(): number
}
const UNSEEN = minutes(2)
const MOST = 10_000

export function endingsSeen(now: () => Instant): Endings {
  const open = new Map<GrantId, { readonly since: Instant; readonly seen: Instant; readonly stuck: boolean }>()
  const over = (id: GrantId): Instant | undefined => {
    const since = open.get(id)?.since
    open.delete(id)
    return since
  }
  const lately = () => {
    const least = now() - UNSEEN
    for (const [id, { seen }] of open) if (seen < least) open.delete(id)
    return [...open.values()]
  }
  return {
    saw: (grant) => {
      over(grant.id)
      if (!inStatus(grant, 'ending', 'stuck')) return
      const { status, facts } = grant.head
      open.set(grant.id, { since: facts.since, seen: now(), stuck: status === 'stuck' })
      const [first] = open.size > MOST ? open.keys() : []
      if (first !== undefined) open.delete(first)
    },
    over,
    oldest: () => {
      const [first, ...more] = lately().map(({ since }) => since)
      return first === undefined ? undefined : earliest(first, ...more)
    },
    stuck: () => lately().filter(({ stuck }) => stuck).length,
  }
}

const VERDICT: Partial<Record<EventType, string>> = { approved: 'approved', approval_added: 'added', denied: 'denied' }

/**
 * Ends are counted, and how late and how long they were, where they are committed, whoever asked for them; decisions likewise, with the time
 * that passed since the filing.
 */
export function measuredStore<Store extends GrantStore>(
  store: Store,
  { figures, ticks, endings, approvals }: Measuring,
): Store {
  const note = (step: Step): void => {
    const { grant, event } = step
    if (event.type === 'stuck') figures.count('stuck_total', {})
    const verdict = VERDICT[event.type]
    if (verdict !== undefined) {
      const labels = { verdict, by: event.by === 'policy' ? 'policy' : 'person', tier: grant.ask.tier }
      figures.observe('decision_seconds', labels, (event.at - grant.ask.filedAt) / 1_000)
    }
    const { by } = grant.decisions.at(-1) ?? { by: 'policy' }
    if ((verdict === 'approved' || verdict === 'added') && by !== 'policy')
      approvals.saw(by, grant.ask.askers, event.at)
    if (grant.head.status !== 'ended') {
      endings.saw(grant)
      return
    }
    const { outcome } = grant.head.facts
    figures.count('grants_ended_total', { outcome })
    const since = endings.over(grant.id)
    if (since !== undefined) figures.observe('end_seconds', {}, (event.at - since) / 1_000)
    if (outcome === 'expired')
      figures.observe('end_late_seconds', {}, Math.max(0, event.at - grant.ask.intent.window.closesAt) / 1_000)
  }
  const timed = told<GrantStore, Store>(
    store,
    STORE_CALLS,
    timing(ticks, (call, result, seconds) => figures.observe('store_call_seconds', { call, result }, seconds)),
  )
  return {
    ...timed,
    loadToEnd: async (id) => {
      const grant = await timed.loadToEnd(id)
      if (grant !== undefined) endings.saw(grant)
      return grant
    },
    loadManyToEnd: async (ids) => {
      const found = await timed.loadManyToEnd(ids)
      for (const grant of found.grants) endings.saw(grant)
      return found
    },
    commit: async (step, guard) => {
      const receipt = await timed.commit(step, guard)
      note(step)
      return receipt
    },
    commitEach: async (steps, contains) => {
      const results = await timed.commitEach(steps, contains)
      for (const [n, step] of steps.entries()) if (results[n]?.receipt !== undefined) note(step)
      return results
    },
  }
}

export const measuredCredentials = (source: CredentialSource, { figures, ticks }: Measuring): CredentialSource =>
  told<CredentialSource, CredentialSource>(
    source,
    CREDENTIAL_CALLS,
    timing(ticks, (call, result, seconds) => figures.observe('backend_call_seconds', { call, result }, seconds)),
  )

/** From commit to stable storage. */
export const measuredSeal = (witness: Seal, { figures, ticks }: Pick<Measuring, 'figures' | 'ticks'>): Seal => ({
  seal: async (receipt) => {
    const started = ticks()
    await witness.seal(receipt)
    figures.observe('witness_seconds', {}, (ticks() - started) / 1_000)
  },
})

/** From the asking for a credential to its answer, of those that were handed out. */
export function measuredExchange<
  Args extends readonly unknown[],
  Made extends { readonly mint: { readonly kind: string } },
>(
  exchange: (...args: Args) => Promise<Made>,
  { figures, ticks }: Pick<Measuring, 'figures' | 'ticks'>,
): (...args: Args) => Promise<Made> {
  return async (...args) => {
    const started = ticks()
    const made = await exchange(...args)
    figures.observe('mint_seconds', { kind: made.mint.kind }, (ticks() - started) / 1_000)
    return made
  }
}

interface ReportSeen {
  readonly used: number
  readonly refused: number
  readonly misuse: readonly string[]
}
/** What was reported is counted, and misuse told: it may be the first that anybody hears of a stolen credential. */
export function watchedReports<Rest extends readonly unknown[], Seen extends ReportSeen>(
  report: (server: string, grant: GrantId, ...rest: Rest) => Promise<Seen>,
  { figures, log }: Pick<Measuring, 'figures'> & { readonly log: Log },
): (server: string, grant: GrantId, ...rest: Rest) => Promise<Seen> {
  return async (server, grant, ...rest) => {
    const seen = await report(server, grant, ...rest)
    if (seen.used > 0) figures.count('uses_reported_total', { outcome: 'used' }, seen.used)
    if (seen.refused > 0) figures.count('uses_reported_total', { outcome: 'refused' }, seen.refused)
    for (const reason of seen.misuse) figures.count('misuse_total', { reason })
    if (seen.misuse.length > 0)
      log('warn', 'misuse of a credential was reported', {
        grant,
        principal: server,
        reason: [...new Set(seen.misuse)].join(', '),
        count: seen.misuse.length,
      })
    return seen
  }
}

/** `refused` is an answer; `failed` is none, or one that nobody expected. */
function timing(ticks: () => number, tell: (call: string, result: string, seconds: number) => void): Around {
  return async (call, _, work) => {
    const started = ticks()
    let result = 'failed'
    try {
      const answer = await work()
      result = 'done'
      return answer
    } catch (thrown) {
      if (isBrokerError(thrown) && thrown.blame !== 'upstream') result = 'refused'
      throw thrown
    } finally {
      tell(call, result, (ticks() - started) / 1_000)
    }
  }
}
