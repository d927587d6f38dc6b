// After a loss of the store: what was lost cannot be read there, so whatever lived in the older copy may have ended since. Invariant: where a
// commit is missing, nothing is allowed at any broker until every grant of the copy is over or on its way out; only where nothing can have
// come back is the store taken as it is at once. Whoever walks may die anywhere: what is under way is written in the store, and each broker walks.
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import { type EndCause, type Grant, inStatus, type Step } from '../domain/grant.ts'
import { type GrantId, type Shard, shardOf, type TenantId } from '../domain/ids.ts'
import { formatInstant, type Instant } from '../domain/instant.ts'
import { isTerminal, type Status } from '../domain/lifecycle.ts'
import type { Caller } from '../domain/principal.ts'
import { witness } from './change.ts'
import { type EndPorts, stepsToEnd } from './end.ts'
import { lapsed } from './offboard.ts'
import { type Done, mayOperate, type OperatePorts } from './operate.ts'
import type { Found, Index, Ports, RestoredStore, ShardRecovery } from './ports.ts'

export interface RecoverPorts extends OperatePorts, EndPorts {
  readonly shards: readonly Shard[]
  readonly store: RestoredStore
  readonly grants: Ports['grants']
  /** Takes the shard as it is, under the rules of this broker where none were kept; with the floor of the recovery that is over. */
  acceptStore(shard: Shard, floor?: number): Promise<{ readonly seq: number }>
  /** What else must be in order before anything is issued again, such as what the backends hold; undefined when it is. */
  inventory(): Promise<string | undefined>
}

/** As it is put on record in the store. */
export interface Recovery {
  readonly v: 1
  readonly by: string
  readonly at: string
  readonly reason: string
}

/** How far the walk of this broker is. */
export interface Progress {
  readonly floor: number
  /** Ended, or begun to end, by this broker. */
  readonly ended: number
  /** Not over yet, as far as this broker has looked. */
  readonly left: number
  /** Records that nobody can read: nothing is given out for them either. */
  readonly unreadable: number
  /** Why it is not over although nothing is left. */
  readonly waitsFor: string | undefined
}
/** Of each shard that this broker has walked through. */
export type Walks = Map<Shard, Walked>
interface Walked {
  readonly progress: Progress
  readonly open: readonly GrantId[]
}

export type When = 'when_clean' | 'now'

/**
 * Where nothing can have come back, the store is taken as it is. Else it is cleared, and issuing resumes by itself when everything of the
 * copy has ended; `now` resumes as soon as everything has begun to end, though what a backend has not confirmed may work on. Recorded first.
 * Idempotent: one that is under way stays.
 */
export const recover =
  (p: RecoverPorts, walks: Walks) =>
  async (caller: Caller, reason: string, when: When = 'when_clean'): Promise<Done> => {
    const { asFirstOperator } = mayOperate(p, caller)
    const by = caller.principal.id
    await p.record({ what: when === 'now' ? 'recover_now' : 'recover', by, asFirstOperator, reason })
    const states: ShardRecovery[] = []
    for (const shard of p.shards) {
      const found = await p.store.recovery(shard)
      if (found.intact && found.clearing === undefined) await p.acceptStore(shard)
      else {
        const text: Recovery = { v: 1, by, at: formatInstant(p.nowToEnd()), reason }
        const { floor } = await p.store.clear(shard, JSON.stringify(text))
        if (when === 'now') await resumeNow(p, walks, shard, floor)
      }
      states.push(await p.store.recovery(shard))
    }
    return {
      recovered: states.every((state) => state.reason === undefined),
      shards: states.length,
      sequence: Math.max(...states.map(({ here }) => here)),
    }
  }

/** Everything has begun to end, so nothing that is asked of a broker can be allowed for it; then the shard is taken. */
async function resumeNow(p: RecoverPorts, walks: Walks, shard: Shard, floor: number): Promise<void> {
  let [least, inVain] = [Number.POSITIVE_INFINITY, 0]
  while (inVain < MOST_IN_VAIN) {
    const { progress, live } = await walkAll(p, shard, floor)
    walks.set(shard, { progress, open: [] })
    if (live === 0) return void (await p.acceptStore(shard, floor))
    // Others may be ending the same ones at this moment; what the store refuses again and again is another matter.
    inVain = live < least ? 0 : inVain + 1
    least = Math.min(least, live)
  }
  throw new BrokerError('recovering', `The end of ${least} grants could not be begun: the store refuses it.`, {
    nextAction: 'Look at their records. It goes on by itself: issuing resumes when all of them are over.',
  })
}
/** So many walks may find no fewer left than the one before. */
const MOST_IN_VAIN = 3

export interface RecoveryView {
  readonly state: 'well' | 'no_record' | 'behind' | 'clearing'
  readonly why: string | undefined
  readonly seen: number
  readonly here: number
  /** Whether accepting ends anything: it does where something is missing. */
  readonly endsAll: boolean
  readonly live: Readonly<Partial<Record<Status, number>>>
  readonly clearing: (Recovery & Progress) | undefined
  readonly last: Recovery | undefined
}

/** How the store stands, for operators. The shard that stands worst is told of. */
export const recovery =
  (p: RecoverPorts, walks: Walks) =>
  async (caller: Caller): Promise<RecoveryView> => {
    mayOperate(p, caller)
    const views = await Promise.all(
      p.shards.map(async (shard) => viewOf(await p.store.recovery(shard), walks.get(shard))),
    )
    const worst = views.toSorted((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state))[0]
    if (worst === undefined) throw new RangeError('a broker has at least one shard')
    const counts = await p.grants.counts(tenantsOf(p))
    return { ...worst, live: Object.fromEntries(LIVE.map((status) => [status, counts[status]])) }
  }

const WORST = ['behind', 'no_record', 'clearing', 'well'] as const
const LIVE = ['pending', 'approved', 'issuing', 'active', 'ending', 'stuck'] as const satisfies readonly Status[]

function viewOf(found: ShardRecovery, walked: Walked | undefined): Omit<RecoveryView, 'live'> {
  const { reason, seen, here, floor } = found
  const progress = walked?.progress.floor === floor ? walked.progress : NOT_BEGUN
  const clearing = found.clearing === undefined ? undefined : { ...read(found.clearing), ...progress, floor }
  const state =
    clearing !== undefined
      ? 'clearing'
      : reason === undefined
        ? 'well'
        : found.seen > here || !found.intact
          ? 'behind'
          : 'no_record'
  const last = found.recovered === undefined ? undefined : read(found.recovered)
  return { state, why: reason, seen, here, endsAll: !found.intact, clearing, last }
}

const NOT_BEGUN: Progress = {
  floor: 0,
  ended: 0,
  left: 0,
  unreadable: 0,
  waitsFor: 'the walk through the store to begin',
}

/** What cannot be read was written by hand; who it was is in the log of the broker. */
function read(text: string): Recovery {
  try {
    const { by, at, reason } = JSON.parse(text) as Readonly<Record<string, unknown>>
    return { v: 1, by: String(by), at: String(at), reason: String(reason) }
  } catch {
    return { v: 1, by: 'unknown', at: 'unknown', reason: 'unknown' }
  }
}

export interface Looked {
  /** The recovery of this shard is over, by this look. */
  readonly resumed: boolean
  readonly progress: Progress | undefined
}

/**
 * One look at a shard: while a recovery is under way, ends what lives and resumes when nothing is left. For each broker, every second; several
 * at once only do what another has done. Rejects `store_unavailable`: look again.
 */
export const lookAfter =
  (p: RecoverPorts, walks: Walks) =>
  async (shard: Shard): Promise<Looked> => {
    const { clearing, floor } = await p.store.recovery(shard)
    if (clearing === undefined) {
      walks.delete(shard)
      return { resumed: false, progress: undefined }
    }
    const known = walks.get(shard)
    const walked = await goOn(p, shard, floor, known?.progress.floor === floor ? known : undefined)
    const waitsFor = walked.open.length > 0 ? undefined : await p.inventory()
    walks.set(shard, { ...walked, progress: { ...walked.progress, waitsFor } })
    if (walked.open.length > 0 || waitsFor !== undefined)
      return { resumed: false, progress: walks.get(shard)?.progress }
    // Nothing is left of what was found: looked through once more from the beginning.
    const { progress, open } = await walkAll(p, shard, floor, walked)
    walks.set(shard, { progress, open })
    if (open.length > 0) return { resumed: false, progress }
    try {
      await p.acceptStore(shard, floor)
    } catch (thrown) {
      // Another broker was faster, or an operator has found more.
      if (!isBrokerError(thrown, 'store_conflict')) throw thrown
      return { resumed: false, progress }
    }
    walks.delete(shard)
    return { resumed: true, progress }
  }

const goOn = async (p: RecoverPorts, shard: Shard, floor: number, known: Walked | undefined): Promise<Walked> => {
  if (known === undefined) return walkAll(p, shard, floor)
  return known.open.length > 0 ? walkAgain(p, floor, known) : known
}

const PAGE = 1_000
const BATCH = 100

interface Pass extends Walked {
  /** What could not even begin to end in this pass. */
  readonly live: number
}

/** Every grant that was ever born here, by the order of events; and, should that be what was lost, whatever the indexes still hold. */
async function walkAll(p: RecoverPorts, shard: Shard, floor: number, before?: Walked): Promise<Pass> {
  const sum = tally(floor, before)
  let place = ''
  for (let more = true; more; ) {
    const page = await p.store.born(shard, place, PAGE)
    for (const ids of batchesOf(page.ids)) sum.add(await endSome(p, ids))
    more = page.more
    place = page.next
  }
  const of: readonly Index[] = tenantsOf(p).flatMap((tenant) =>
    (['pending', 'approved', 'issuing', 'active'] as const).map((status) => ({ tenant, status })),
  )
  let cursor: string | undefined
  do {
    const found = of.length === 0 ? NONE : await p.grants.list({ of, limit: BATCH, cursor, toEnd: true })
    const strays = found.grants.map(({ id }) => id).filter((id) => shardOf(id) === shard && !sum.knows(id))
    sum.add(await endSome(p, strays))
    cursor = found.next
  } while (cursor !== undefined)
  return sum.done()
}

const NONE: Pick<Found, 'grants' | 'next'> = { grants: [], next: undefined }

async function walkAgain(p: RecoverPorts, floor: number, before: Walked): Promise<Pass> {
  const sum = tally(floor, { ...before, open: [] })
  for (const ids of batchesOf(before.open)) sum.add(await endSome(p, ids))
  return sum.done()
}

function tally(floor: number, before: Walked | undefined) {
  let [ended, unreadable, live] = [before?.progress.floor === floor ? before.progress.ended : 0, 0, 0]
  const open = new Set<GrantId>()
  return {
    add: (some: Ended): void => {
      ended += some.begun
      unreadable += some.unreadable
      live += some.live
      for (const id of some.open) open.add(id)
    },
    knows: (id: GrantId): boolean => open.has(id),
    done: (): Pass => ({
      progress: { floor, ended, left: open.size, unreadable, waitsFor: undefined },
      open: [...open],
      live,
    }),
  }
}

interface Ended {
  readonly begun: number
  readonly live: number
  readonly unreadable: number
  /** Not over after this. */
  readonly open: readonly GrantId[]
}

async function endSome(p: RecoverPorts, ids: readonly GrantId[]): Promise<Ended> {
  const { grants, unreadable } = ids.length === 0 ? NOTHING : await p.grants.loadManyToEnd(ids)
  const steps = grants.flatMap((grant) => restoredStep(grant, p.nowToEnd()) ?? [])
  const results = steps.length === 0 ? [] : await p.grants.commitEach(steps)
  await Promise.all(results.map(({ receipt }) => witness(p, receipt)))
  const begun = results.filter(({ receipt }) => receipt !== undefined).length
  const isOver = (grant: Grant): boolean => isTerminal(grant.head.status)
  const over = new Set(steps.flatMap(({ grant }, n) => (results[n]?.receipt && isOver(grant) ? [grant.id] : [])))
  const open = grants.filter((grant) => !isOver(grant) && !over.has(grant.id)).map(({ id }) => id)
  return { begun, live: results.length - begun, unreadable: unreadable.length, open }
}

const NOTHING = { grants: [], unreadable: [] } as const

const RESTORED = 'the store was restored from an older copy: whether it had ended since is not known'

/** What was handed out is ended; what was not asked for is gone. Backends are asked by the sweep of their lane, at once. */
function restoredStep(grant: Grant, now: Instant): Step | undefined {
  const cause: EndCause = { outcome: 'revoked', by: 'broker', reason: RESTORED }
  if (inStatus(grant, 'pending', 'approved')) return lapsed(grant, now, RESTORED)
  return stepsToEnd(grant, cause, now)[0]
}

const tenantsOf = (p: Pick<Ports, 'rulesToEnd'>): readonly TenantId[] => [
  ...new Set(
    p
      .rulesToEnd()
      .policy.entitlements()
      .map(({ tenant }) => tenant),
  ),
]

const batchesOf = <T>(items: readonly T[]): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(items.length / BATCH) }, (_, n) => items.slice(n * BATCH, (n + 1) * BATCH))
