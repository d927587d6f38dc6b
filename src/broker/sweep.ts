// The certain end: takes what is due from the deadline set and lapses or ends it. Called by the bucket jobs and, whatever becomes of
// those, by a plain interval in every broker. `claimDue` leases each grant, so that no two of them work on the same one.
import type { Lane } from '../domain/entitlement.ts'
import { advance, deadlineOf, type EndCause, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import { after, type Duration, formatInstant, type Instant, latest, seconds } from '../domain/instant.ts'
import { OVERDUE } from '../domain/lifecycle.ts'
import { isClosed } from '../domain/window.ts'
import { eventOf, witness } from './change.ts'
import { closeUnfinished, END_LEASE, type EndPorts, end, endLocally, retryEnd } from './end.ts'

export interface Swept {
  readonly done: number
  /** What could not be ended now. It stays due, and comes again when its lease is over. */
  readonly failed: readonly GrantId[]
  /** There may be more that is due: call again. */
  readonly more: boolean
}

/** Where nobody says how many. */
const BATCH = 100
/** Ends at one backend at a time; the backend's own client bounds its calls once more. */
const CONCURRENT = 16
/** How far our estimate of Redis's clock may be behind it (half the slowest round trip that the clock accepts, and some). */
const CLOCK_ERROR: Duration = seconds(1)

/** At most so many of what is due in this lane. Never throws for a single grant: it stays due, and comes again when its lease is over. */
export const sweep =
  (p: EndPorts) =>
  async (lane: Lane, most: number = BATCH): Promise<Swept> => {
    const ids = await p.grants.claimDue(lane, most, END_LEASE)
    if (ids.length === 0) return { done: 0, failed: [], more: false }
    // A record that cannot be read stops no other: it comes again when its lease is over, and is named each time.
    const { grants, unreadable } = await p.grants.loadManyToEnd(ids)
    const steps: Step[] = []
    const slow: Due[] = []
    for (const grant of grants) {
      const due = dueAt(grant, p.nowToEnd())
      if (due === undefined) continue
      const step = overdueStep(due.grant, due.at)
      if (step !== undefined) steps.push(step)
      else slow.push(due)
    }
    const results = steps.length === 0 ? [] : await p.grants.commitEach(steps)
    await Promise.all(results.map(({ receipt }) => witness(p, receipt)))
    const ended = await eachOf(slow, CONCURRENT, (due) => endOverdue(p, due))
    const failed = [
      ...unreadable,
      ...results.flatMap(({ id, receipt }) => (receipt === undefined ? [id] : [])),
      ...slow.flatMap(({ grant }, n) => (ended[n] ? [] : [grant.id])),
    ]
    return { done: ids.length - failed.length, failed, more: ids.length === most }
  }

interface Due {
  readonly grant: Grant
  /** Not before its deadline, whatever our own clock says. */
  readonly at: Instant
}

/**
 * Redis's clock gave this grant out as due; ours is an estimate of it and may be a little behind. So what is due within that little is due.
 * The claim moved the deadline in the set only: the record has the old one, unless somebody changed it since, and then it is not due.
 */
function dueAt(grant: Grant, now: Instant): Due | undefined {
  const deadline = deadlineOf(grant)
  if (deadline === undefined) return undefined
  if (inStatus(grant, 'ending', 'stuck')) return { grant, at: now }
  return deadline <= after(now, CLOCK_ERROR) ? { grant, at: latest(now, deadline) } : undefined
}

/** What needs no backend is one pure step. Undefined for the rest. */
function overdueStep(grant: Grant, now: Instant): Step | undefined {
  if (inStatus(grant, 'pending', 'approved') && OVERDUE[grant.head.status] === 'lapse') return lapse(grant, now)
  if (inStatus(grant, 'active') && grant.ask.credential.kind === 'jwt') return endLocally(grant, EXPIRED, now)
  return undefined
}

const EXPIRED: EndCause = { outcome: 'expired', by: 'clock', reason: 'the window has closed' }
const UNFINISHED: EndCause = { outcome: 'failed', by: 'clock', reason: 'the credential was not finished in time' }

/** Undecided in time, or approved and never used: nothing was ever handed out. */
function lapse(grant: Grant, now: Instant): Step | undefined {
  if (inStatus(grant, 'pending') && isToEscalate(grant, now)) {
    return advance(grant, {
      to: 'pending',
      facts: { escalatedAt: now },
      event: eventOf(grant.ask, 'escalated', now, 'clock', { lapsesAt: formatInstant(grant.ask.lapsesAt) }),
    })
  }
  if (inStatus(grant, 'pending')) {
    const reason = 'nobody decided in time'
    return advance(grant, {
      to: 'lapsed',
      facts: { at: now, reason },
      event: eventOf(grant.ask, 'lapsed', now, 'clock', { reason }),
    })
  }
  if (!inStatus(grant, 'approved')) return undefined
  const reason = 'approved, but not used in time'
  return advance(grant, {
    to: 'lapsed',
    facts: { at: now, reason },
    event: eventOf(grant.ask, 'lapsed', now, 'clock', { reason }),
  })
}

/** Told once to everybody who could decide, where there is still time for it. */
const isToEscalate = ({ ask, head }: GrantIn<'pending'>, now: Instant): boolean =>
  head.facts.escalatedAt === undefined && ask.rule.mode === 'people' && now < ask.lapsesAt

/** False where it could not be ended now; it is due again when its lease is over. */
async function endOverdue(p: EndPorts, { grant, at: now }: Due): Promise<boolean> {
  const { id } = grant
  try {
    if (inStatus(grant, 'ending', 'stuck')) return isDone(await retryEnd(p, id))
    if (inStatus(grant, 'issuing'))
      return isDone(await end(p, id, isClosed(grant.ask.intent.window, now) ? EXPIRED : UNFINISHED))
    if (!inStatus(grant, 'active')) return true
    if (isClosed(grant.ask.intent.window, now)) return isDone(await end(p, id, EXPIRED))
    await closeUnfinished(p, id, now)
    return true
  } catch {
    return false
  }
}

const isDone = (grant: Grant | undefined): boolean => grant === undefined || inStatus(grant, 'ended')

/** Runs `work` over all items, at most `width` at a time. */
export async function eachOf<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = []
  const waiting = items.entries()
  const worker = async () => {
    for (const [index, item] of waiting) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
  return results
}
