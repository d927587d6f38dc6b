// The one road to `ended`, for complete, revoke, expiry and the sweep: commit `ending`, close every mint, ask the backend, commit `ended`.
// Invariant: `ended` is only ever written after the backend has answered that nothing is left; an error or a time-out keeps it `ending`.
import type { Decision } from '../domain/decision.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import { advance, type EndCause, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import { type GrantId, mintId } from '../domain/ids.ts'
import {
  after,
  type Duration,
  earliest,
  formatInstant,
  type Instant,
  latest,
  milliseconds,
  seconds,
  shortest,
} from '../domain/instant.ts'
import { isTerminal } from '../domain/lifecycle.ts'
import {
  type ClaimedMint,
  type ClosedMint,
  type ClosingMint,
  type Confirmation,
  closed,
  closing,
  MINT_DEADLINE,
  type Mint,
  type OpenedMint,
} from '../domain/mint.ts'
import { changeToEnd, eventOf, type Move, witness } from './change.ts'
import type { MintPlan, Ports } from './ports.ts'

export type EndPorts = Pick<Ports, 'grants' | 'credentials' | 'timetable' | 'seal' | 'nowToEnd' | 'jitter'>

/** How long one caller has a grant for itself while it closes: the sweep and other brokers keep off until then. */
export const END_LEASE: Duration = seconds(30)
/** After so many failures a person is told: `stuck`. It is retried for ever all the same. */
export const ATTEMPTS_BEFORE_STUCK = 8

/**
 * Begins the end, or goes on with it, and answers the grant as it is afterwards: `ended`, or still `ending` or `stuck` where the
 * backend has not confirmed. Idempotent. The first cause stands.
 */
export async function end(
  p: EndPorts,
  of: GrantId | Grant,
  cause: EndCause,
  result?: Readonly<Record<string, string>>,
  /** A decision that is written in the same commit, such as the one by which an approval is taken back. */
  said?: (now: Instant, grant: Grant) => readonly Decision[],
): Promise<Grant> {
  const begun = await changeToEnd(p, of, (grant) => withDecision(beginEnd(p, grant, cause, result), grant, said, p))
  await witness(p, begun.receipt)
  const { grant } = begun
  if (begun.receipt === undefined || !inStatus(grant, 'ending')) return grant
  return closeAndConfirm(p, grant)
}

function withDecision(
  move: Move,
  grant: Grant,
  said: ((now: Instant, grant: Grant) => readonly Decision[]) | undefined,
  p: Pick<Ports, 'nowToEnd'>,
): Move {
  if (said === undefined || 'done' in move) return move
  const decisions = [...grant.decisions, ...said(p.nowToEnd(), grant)]
  return { ...move, step: { ...move.step, grant: { ...move.step.grant, decisions } } }
}

/** The next try at a grant whose end has begun. The caller has leased it (`claimDue`). */
export async function retryEnd(p: EndPorts, id: GrantId): Promise<Grant | undefined> {
  const grant = await p.grants.loadToEnd(id)
  if (grant === undefined || !inStatus(grant, 'ending', 'stuck')) return grant
  return closeAndConfirm(p, grant)
}

function beginEnd(
  p: EndPorts,
  grant: Grant,
  cause: EndCause,
  result: Readonly<Record<string, string>> | undefined,
): Move {
  if (isTerminal(grant.head.status) || inStatus(grant, 'ending', 'stuck')) return { done: grant }
  const now = p.nowToEnd()
  if (inStatus(grant, 'active') && grant.ask.credential.kind === 'jwt')
    return { step: endLocally(grant, cause, now, result) }
  if (inStatus(grant, 'approved')) return { step: beginStep(grant, cause, now, result) }
  if (inStatus(grant, 'issuing')) return { step: beginStep(grant, cause, now, result) }
  if (inStatus(grant, 'active')) return { step: beginStep(grant, cause, now, result) }
  throw new BrokerError('wrong_status', `The grant is ${grant.head.status}; it holds nothing that could end.`, {
    nextAction: 'Withdraw or deny it instead.',
    facts: { status: grant.head.status },
  })
}

/** A token leaves nothing outside: the commit itself is what introspection reads, so it ends in one step. */
export function endLocally(
  grant: GrantIn<'active'>,
  cause: EndCause,
  now: Instant,
  result?: Readonly<Record<string, string>>,
): Step {
  const confirmation: Confirmation = {
    asked: 'introspection',
    answer: 'introspection refuses from this commit on',
    at: now,
  }
  const residueUntil = residueOf(grant, now)
  const details = { outcome: cause.outcome, reason: cause.reason, residueUntil: formatInstant(residueUntil) }
  return advance(grant, {
    to: 'ended',
    mints: grant.head.mints.map((mint) => (mint.status === 'closed' ? mint : closed(mint, now, confirmation))),
    facts: { outcome: cause.outcome, cause, endedAt: now, confirmation, residueUntil, result },
    result,
    event: eventOf(grant.ask, 'ended', now, cause.by, details),
  })
}

/** Until when a verifier that does not ask us may still accept what was handed out: min(exp, now + what it may cache). */
export function residueOf(grant: Grant, now: Instant): Instant {
  const { credential } = grant.ask
  if (credential.kind !== 'jwt') return now
  const expiries = grant.head.mints.flatMap((mint) =>
    'expiresAt' in mint && mint.expiresAt !== undefined ? [mint.expiresAt] : [],
  )
  return expiries.length === 0
    ? now
    : latest(now, earliest(after(now, credential.verifierCache), latest(now, ...expiries)))
}

/**
 * The steps to an end that need no backend, for many grants at once: of what has made nothing outside all the way, of the rest the beginning, which
 * is due at once, so that the sweep of its lane goes on with it. Nothing for what has begun to end, or holds nothing that could.
 */
export function stepsToEnd(grant: Grant, cause: EndCause, now: Instant): readonly Step[] {
  if (inStatus(grant, 'active') && grant.ask.credential.kind === 'jwt') return [endLocally(grant, cause, now)]
  if (!inStatus(grant, 'approved', 'issuing', 'active')) return []
  const begun = beginStep(grant, cause, now, undefined, now)
  const ending = begun.grant
  if (!inStatus(ending, 'ending') || ending.head.mints.some((mint) => mint.status !== 'closed')) return [begun]
  return [begun, endedStep(ending, ending.head.mints, now)]
}

const beginStep = (
  grant: GrantIn<'approved'> | GrantIn<'issuing'> | GrantIn<'active'>,
  cause: EndCause,
  now: Instant,
  result: Readonly<Record<string, string>> | undefined,
  /** Whoever begins it goes on with it until then. */
  retryAt = after(now, END_LEASE),
): Step => {
  const change = {
    to: 'ending' as const,
    mints: grant.head.mints.map((mint) => (mint.status === 'closed' ? mint : closing(mint, after(now, END_LEASE)))),
    facts: { cause, since: now, attempts: 0, retryAt, lastError: '' },
    result,
    event: eventOf(grant.ask, 'ending', now, cause.by, { outcome: cause.outcome, reason: cause.reason }),
  }
  if (inStatus(grant, 'approved')) return advance(grant, change)
  return inStatus(grant, 'issuing') ? advance(grant, change) : advance(grant, change)
}

async function closeAndConfirm(p: EndPorts, grant: GrantIn<'ending'> | GrantIn<'stuck'>): Promise<Grant> {
  // Promised before it is tried: whatever happens to this process, somebody looks again when the lease is over.
  if (grant.head.facts.retryAt > p.nowToEnd())
    await p.timetable.at(laneOf(grant.ask.credential), grant.head.facts.retryAt)
  const tried = await Promise.all(grant.head.mints.map((mint) => closeMint(p, grant, mint)))
  const mints = tried.map(({ mint }) => mint)
  const failure = tried.find(({ error }) => error !== undefined)?.error
  const step = failure === undefined ? endedStep(grant, mints, p.nowToEnd()) : delayedStep(p, grant, mints, failure)
  if (step === undefined) return grant
  try {
    const receipt = await p.grants.commit(step)
    await witness(p, receipt)
  } catch (thrown) {
    // Somebody else has gone on with it meanwhile: what they wrote is the truth.
    if (!isBrokerError(thrown, 'store_conflict')) throw thrown
    return (await p.grants.loadToEnd(grant.id)) ?? grant
  }
  if (inStatus(step.grant, 'ending', 'stuck'))
    await p.timetable.at(laneOf(grant.ask.credential), step.grant.head.facts.retryAt)
  return step.grant
}

interface TriedMint {
  readonly mint: Mint
  readonly error: string | undefined
}

/** Closes one mint and asks the backend. Never throws: what went wrong is a word for the record, never the backend's own text. */
export async function closeMint(
  p: Pick<Ports, 'credentials' | 'nowToEnd'>,
  grant: Grant,
  mint: Mint,
  released = false,
): Promise<TriedMint> {
  if (mint.status === 'closed') return { mint, error: undefined }
  const plan = planOf(grant, mint.n)
  if (plan === undefined) return { mint, error: 'no_backend' }
  try {
    await p.credentials.close(plan, mint)
    // Gone is only what cannot come any more. Its maker says when it is through (`abandon`); a maker that died is through by its deadline.
    if (mint.status === 'closing' && mint.makerUntil !== undefined && p.nowToEnd() < mint.makerUntil) {
      return { mint, error: 'still_being_made' }
    }
    const { gone, answer, lasts } = await p.credentials.confirmGone(plan, mint)
    if (!gone) return { mint, error: 'not_confirmed' }
    const at = p.nowToEnd()
    const over = closed(mint, at, { asked: 'backend', answer, at }, released)
    return {
      mint: lasts === undefined ? over : { ...over, expiresAt: nativeEnd(grant, mint, lasts) },
      error: undefined,
    }
  } catch (thrown) {
    return { mint, error: thrown instanceof BrokerError ? thrown.code : 'unexpected' }
  }
}

/**
 * When that ends which nobody can end, at the latest: its maker was through by the mint's first deadline. What was recorded had been held
 * against the window, too.
 */
function nativeEnd(grant: Grant, mint: Mint, lasts: Duration): Instant {
  const end = after(after(mint.claimedAt, MINT_DEADLINE), lasts)
  const isRecorded = 'lease' in mint && mint.lease !== undefined
  return isRecorded ? earliest(end, grant.ask.intent.window.closesAt) : end
}

export function planOf(grant: Grant, n: number): MintPlan | undefined {
  const { credential, digest, intent } = grant.ask
  if (credential.kind !== 'vault') return undefined
  return { grant: grant.id, mint: mintId(grant.id, n), digest, entitlement: intent.entitlement, credential }
}

function endedStep(grant: GrantIn<'ending'> | GrantIn<'stuck'>, mints: readonly Mint[], now: Instant): Step {
  const { cause } = grant.head.facts
  const answers = mints.flatMap((mint) => (mint.status === 'closed' ? [mint.confirmation.answer] : []))
  const confirmation: Confirmation =
    answers.length === 0
      ? { asked: 'nothing', answer: 'nothing had been issued', at: now }
      : { asked: 'backend', answer: [...new Set(answers)].join('; '), at: now }
  // A closed mint of a backend has an end of its own only where nobody else could end it.
  const lasting = mints.flatMap((mint) => (mint.status === 'closed' ? (mint.expiresAt ?? []) : []))
  const residueUntil = latest(now, ...lasting)
  const facts = { outcome: cause.outcome, cause, endedAt: now, confirmation, residueUntil, result: grant.head.result }
  const details = {
    outcome: cause.outcome,
    confirmed: confirmation.answer,
    residueUntil: formatInstant(residueUntil),
  }
  const change = { to: 'ended' as const, facts, mints, event: eventOf(grant.ask, 'ended', now, cause.by, details) }
  return inStatus(grant, 'ending') ? advance(grant, change) : advance(grant, change)
}

/** What a failed try leaves: the mints that did close, the next time, and after enough failures `stuck`. */
function delayedStep(
  p: Pick<Ports, 'nowToEnd' | 'jitter'>,
  grant: GrantIn<'ending'> | GrantIn<'stuck'>,
  mints: readonly Mint[],
  error: string,
): Step | undefined {
  const now = p.nowToEnd()
  const { facts } = grant.head
  const attempts = facts.attempts + 1
  const next = { ...facts, attempts, lastError: error, retryAt: after(now, backoff(attempts, p.jitter())) }
  const event = eventOf(grant.ask, 'end_delayed', now, 'broker', { attempts, error })
  if (inStatus(grant, 'stuck')) {
    // One event at entry and one at exit: a stuck grant is only written again when a part of it did end.
    const progressed = mints.some((mint, index) => mint.status !== grant.head.mints[index]?.status)
    return progressed
      ? advance(grant, { to: 'stuck', facts: { ...next, stuckSince: grant.head.facts.stuckSince }, mints, event })
      : undefined
  }
  if (attempts < ATTEMPTS_BEFORE_STUCK) return advance(grant, { to: 'ending', facts: next, mints, event })
  const stuck = eventOf(grant.ask, 'stuck', now, 'broker', { attempts, error })
  return advance(grant, { to: 'stuck', facts: { ...next, stuckSince: now }, mints, event: stuck })
}

/** Doubling from a half second up to the lease, each time somewhere in its upper half: herds part, and nobody waits longer than said. */
const backoff = (attempts: number, jitter: number): Duration => {
  const full = shortest(milliseconds(500 * 2 ** Math.min(attempts, 10)), END_LEASE)
  return milliseconds(Math.round(full * (0.5 + jitter / 2)))
}

/** Mints of a grant that lives on, unfinished and past their deadline at `now`: their maker is gone, so they are closed by themselves and their use is given back. */
export async function closeUnfinished(p: EndPorts, id: GrantId, now: Instant): Promise<Grant> {
  const { grant } = await changeToEnd(p, id, (grant) => {
    // What is marked already is only tried again: of a backend that is away for days each mark would be an event.
    const late = (mint: Mint): mint is ClaimedMint | OpenedMint =>
      (mint.status === 'claimed' || mint.status === 'opened') && mint.deadline <= now
    if (!inStatus(grant, 'active') || !grant.head.mints.some(late)) return { done: grant }
    const mints = grant.head.mints.map((mint) => (late(mint) ? closing(mint, after(now, END_LEASE)) : mint))
    const event = eventOf(grant.ask, 'mint_closing', now, 'broker', { reason: 'its maker did not finish' })
    return { step: advance(grant, { to: 'active', facts: grant.head.facts, mints, event }) }
  })
  return finishClosing(p, grant)
}

/** Closes what is marked `closing` in a grant that lives on. The use is given back where nothing of it ever left the broker. */
export async function finishClosing(p: EndPorts, grant: Grant): Promise<Grant> {
  if (!inStatus(grant, 'active')) return grant
  const leaving = grant.head.mints.filter((mint): mint is ClosingMint => mint.status === 'closing')
  const tried = await Promise.all(leaving.map((mint) => closeMint(p, grant, mint, !mint.handedOut)))
  const gone = new Map(tried.flatMap(({ mint }) => (mint.status === 'closed' ? [[mint.n, mint] as const] : [])))
  if (gone.size === 0) return grant
  const done = await changeToEnd(p, grant.id, (now) => markClosed(p, now, gone))
  await witness(p, done.receipt)
  return done.grant
}

function markClosed(p: Pick<Ports, 'nowToEnd'>, grant: Grant, gone: ReadonlyMap<number, ClosedMint>): Move {
  if (!inStatus(grant, 'active')) return { done: grant }
  const mints = grant.head.mints.map((mint) => (mint.status === 'closing' ? (gone.get(mint.n) ?? mint) : mint))
  const event = eventOf(grant.ask, 'mint_closed', p.nowToEnd(), 'broker', { mints: [...gone.keys()].join(',') })
  return { step: advance(grant, { to: 'active', facts: grant.head.facts, mints, event }) }
}
