// What keeps the people who decide from being flooded: the tallies that a grant counts in, each a set that is written in the very commit
// that files or moves it. A tally follows from the ask alone, so that what has entered one can always leave it again; nobody's directory
// or policy of today is asked. Where nobody is asked to decide, nobody is flooded, and nothing is counted.
import { type Canonical, canonical } from './canonical.ts'
import { BrokerError, isBrokerError } from './errors.ts'
import type { Ask } from './grant.ts'
import type { Digest, GrantId, PersonId, TenantId } from './ids.ts'
import type { Duration } from './instant.ts'
import { type Sha256, semantic } from './intent.ts'
import type { Status } from './lifecycle.ts'
import { lengthOf } from './window.ts'

/** How many people are asked at a time, and how soon again. */
export interface FloodLimits {
  readonly maxPendingPerRequester: number
  readonly maxPendingPerOwner: number
  readonly deniedRests: Duration
}

export type Tally =
  /** Pending grants that this person, or a machine that this person answers for, has asked for. */
  | { readonly asker: PersonId }
  /** Pending grants that wait for this owner. */
  | { readonly owner: PersonId; readonly tenant: TenantId }
  /** Grants of exactly this intent that are pending, approved or in use. */
  | { readonly digest: Digest }

/** At most so many at a time. */
export interface Bound {
  readonly of: Tally
  readonly most: number
}
/** A change that was denied to this person, or to a machine that this person answers for. */
export interface Denied {
  readonly asker: PersonId
  readonly change: string
}

const OPEN: readonly Status[] = ['pending', 'approved', 'issuing', 'active']

/** Where a grant of this ask counts while it is in this status. */
export function tallies(ask: Ask, status: Status): readonly Tally[] {
  if (ask.rule.mode !== 'people') return []
  return [
    ...(status === 'pending' ? ask.askers.map((asker) => ({ asker })) : []),
    ...(status === 'pending' ? queuesOf(ask) : []),
    ...(OPEN.includes(status) ? [{ digest: ask.digest }] : []),
  ]
}

/** The queue of the owner who decides. */
const queuesOf = ({ rule, intent: { tenant } }: Ask): readonly Tally[] =>
  rule.mode === 'people' ? [{ owner: rule.owner, tenant }] : []

/** Under what the denial of this ask is remembered: by the change, whoever of a person's machines asks, with which key, in which run. */
export const denials = (ask: Ask, sha256: Sha256): readonly Denied[] => {
  if (ask.rule.mode !== 'people') return []
  const { requester: _, executor: __, session: ___, ...change } = alike(ask)
  return ask.askers.map((asker) => ({ asker, change: sha256(canonical(change)) }))
}

/** The intent as the digest has it, but of a window that opened at the filing only its length: asked again it is the same change. */
const alike = ({ intent, filedAt }: Ask): { readonly [member: string]: Canonical | undefined } =>
  intent.window.opensAt === filedAt ? { ...semantic(intent), window: lengthOf(intent.window) } : semantic(intent)

/** Why nothing more is filed where a bound is reached. `first` is one of those that are there. */
export function overBound({ of, most }: Bound, first: GrantId): BrokerError {
  if ('digest' in of) {
    return new BrokerError('already_asked', 'You have asked for exactly this before, and it is not over.', {
      nextAction: 'Use that grant, or name it as replaces to ask anew.',
      facts: { grant: first },
    })
  }
  const whose = 'asker' in of ? 'of yours and of the machines that you answer for' : 'that wait for this owner'
  return new BrokerError('too_many_pending', `There are ${most} grants ${whose} undecided already.`, {
    nextAction:
      'asker' in of ? 'Wait for a decision, or withdraw one of them.' : 'Wait until the owner has decided on some.',
    facts: { limit: 'asker' in of ? 'requester' : 'owner', most },
  })
}

/** Of the refusals of a filing those that come from the two below. */
export const isFlood = (thrown: unknown): boolean =>
  isBrokerError(thrown, 'already_asked') ||
  isBrokerError(thrown, 'too_many_pending') ||
  isBrokerError(thrown, 'too_many_requests')

export const denialRests = (leftMs: number): BrokerError =>
  new BrokerError('too_many_requests', 'This very change was denied a short while ago.', {
    nextAction: 'Ask for another change, or wait until this one may be asked for again.',
    facts: { limit: 'cool_down', retryAfter: Math.ceil(leftMs / 1_000) },
  })
