// One asking and its whole life. A grant is its immutable ask, the decisions on it, and a small mutable head (status, facts, mints).
// `advance` is the only maker of a next state; facts exist only in the status in which they are true.
import type { Decision } from './decision.ts'
import type { ApprovalRule, CredentialRule } from './entitlement.ts'
import type { GrantEvent } from './events.ts'
import type { Digest, GrantId, PersonId, PrincipalId, TenantId } from './ids.ts'
import { type Duration, earliest, type Instant } from './instant.ts'
import type { Intent, Texts } from './intent.ts'
import { mintMayGo, type Next, type Status } from './lifecycle.ts'
import { type Confirmation, isUnfinished, type Mint } from './mint.ts'
import type { Earlier, Flag } from './risk.ts'
import type { Tier } from './tier.ts'

/** Written once at filing, never again. */
export interface Ask {
  readonly v: 3
  readonly id: GrantId
  readonly intent: Intent
  readonly texts: Texts
  readonly digest: Digest
  readonly textsDigest: Digest
  readonly requesterTenant: TenantId
  /** The natural persons who were behind the requester at filing: what it asks for counts as theirs. */
  readonly askers: readonly PersonId[]
  /** As derived at filing; an exchange is judged under it or today's, whichever is higher. */
  readonly tier: Tier
  readonly flags: readonly Flag[]
  /** What had been asked for the same task or in the same session; undefined where that was more than is looked through. */
  readonly earlier: readonly Earlier[] | undefined
  /** The rule at filing; exchange must satisfy it and today's. */
  readonly rule: ApprovalRule
  /** How its credential is made and ended: kept here, because ending must not depend on a policy that may have changed. */
  readonly credential: CredentialRule
  readonly audience: string
  readonly filedAt: Instant
  readonly decideBy: Instant
  /** When it lapses undecided; between the two it is escalated. */
  readonly lapsesAt: Instant
  readonly policy: { readonly revision: number; readonly digest: Digest }
  /** What the policy said at filing, for the people who read it: why it was allowed, what is still needed. */
  readonly reasons: readonly string[]
  /** SHA-256 of what was asked, word for word in parsed form: a repeated asking is told from another one by it. */
  readonly asked: string
  /** The grant that this one was asked for instead of: withdrawn before this was filed. */
  readonly replaces: GrantId | undefined
  /** The other grants of the same asking. */
  readonly linked: readonly GrantId[]
}

export type Outcome = 'completed' | 'expired' | 'revoked' | 'failed'
/** Why the end began, by whose hand. The first cause stands. */
export interface EndCause {
  readonly outcome: Outcome
  readonly by: PrincipalId | 'clock' | 'broker'
  readonly reason: string
}
interface Ending {
  readonly cause: EndCause
  readonly since: Instant
  readonly attempts: number
  readonly retryAt: Instant
  readonly lastError: string
}

interface Approved {
  readonly approvedAt: Instant
  /** Not fetched by then, the approval lapses. */
  readonly useBy: Instant
}

export interface FactsByStatus {
  readonly pending: { readonly escalatedAt: Instant | undefined }
  readonly approved: Approved
  readonly issuing: Approved
  readonly active: { readonly approvedAt: Instant; readonly activeSince: Instant }
  readonly ending: Ending
  readonly stuck: Ending & { readonly stuckSince: Instant }
  readonly denied: { readonly at: Instant; readonly by: PersonId | 'policy' | 'broker'; readonly reason: string }
  readonly withdrawn: { readonly at: Instant; readonly by: PrincipalId; readonly reason: string }
  readonly lapsed: { readonly at: Instant; readonly reason: string }
  readonly ended: {
    readonly outcome: Outcome
    readonly cause: EndCause
    readonly endedAt: Instant
    readonly confirmation: Confirmation
    readonly residueUntil: Instant
    readonly result: Readonly<Record<string, string>> | undefined
  }
}
export type Facts<S extends Status> = FactsByStatus[S]

/** The small mutable part, stored under one version. */
export interface HeadOf<S extends Status> {
  readonly v: 2
  readonly status: S
  readonly facts: Facts<S>
  readonly mints: readonly Mint[]
  /** What the executor said when the task was done; kept while the end is still being confirmed. */
  readonly result: Readonly<Record<string, string>> | undefined
}
export type Head = { [S in Status]: HeadOf<S> }[Status]

export interface GrantOf<S extends Status> {
  readonly id: GrantId
  readonly ask: Ask
  readonly decisions: readonly Decision[]
  readonly head: HeadOf<S>
  /** The store's own counter: 1 at birth. */
  readonly version: number
  /** Where its birth stands in the shard's one order of commits; 0 until it was read from the store, and where that is not known. */
  readonly born: number
  /** How many of its decisions were read from the store: decisions are only ever added, so it has these. */
  readonly recorded: number
}
export type Grant = { [S in Status]: GrantOf<S> }[Status]
export type GrantIn<S extends Status> = Extract<Grant, GrantOf<S>>

/** One transition, ready to be committed: the grant as it will be, the event that tells of it, and the edge that is taken. */
export interface Step {
  readonly grant: Grant
  readonly event: GrantEvent
  readonly from: Status | 'none'
  /** Of a denial: for how long the same change may not be asked for again. */
  readonly rests?: Duration
}

export const inStatus = <S extends Status>(grant: Grant, ...statuses: readonly S[]): grant is GrantIn<S> =>
  (statuses as readonly Status[]).includes(grant.head.status)

interface Change<To extends Status> {
  readonly to: To
  readonly facts: Facts<To>
  readonly event: GrantEvent
  readonly mints?: readonly Mint[]
  readonly decisions?: readonly Decision[]
  readonly result?: Readonly<Record<string, string>> | undefined
}

/** The next state of a grant, over an edge that LIFECYCLE has. Throws, as a bug, where a mint takes one that MINT_LIFECYCLE has not. */
export function advance<From extends Status, To extends Next<From>>(grant: GrantOf<From>, change: Change<To>): Step {
  for (const mint of change.mints ?? []) {
    const from = grant.head.mints.find(({ n }) => n === mint.n)?.status ?? 'none'
    if (from !== mint.status && !mintMayGo(from, mint.status))
      throw new Error(`a mint cannot go from ${from} to ${mint.status}`)
  }
  const next = {
    id: grant.id,
    ask: grant.ask,
    decisions: change.decisions ?? grant.decisions,
    head: {
      v: 2,
      status: change.to,
      facts: change.facts,
      mints: change.mints ?? grant.head.mints,
      result: 'result' in change ? change.result : grant.head.result,
    },
    version: grant.version + 1,
    born: grant.born,
    recorded: grant.recorded,
  }
  return { grant: next as unknown as Grant, event: change.event, from: grant.head.status }
}

export function born(ask: Ask, event: GrantEvent): Step {
  const head: HeadOf<'pending'> = {
    v: 2,
    status: 'pending',
    facts: { escalatedAt: undefined },
    mints: [],
    result: undefined,
  }
  return { grant: { id: ask.id, ask, decisions: [], head, version: 1, born: 0, recorded: 0 }, event, from: 'none' }
}

/** When somebody has to look at this grant again; undefined where nothing can become overdue. */
export function deadlineOf(grant: Grant): Instant | undefined {
  const { closesAt } = grant.ask.intent.window
  const unfinished = grant.head.mints.filter(isUnfinished).map((mint) => mint.deadline)
  switch (grant.head.status) {
    case 'pending':
      return grant.head.facts.escalatedAt === undefined ? earliest(grant.ask.decideBy, closesAt) : grant.ask.lapsesAt
    case 'approved':
      return earliest(grant.head.facts.useBy, closesAt)
    case 'issuing':
    case 'active':
      // A use that has begun is a use: from then on only the window counts.
      return earliest(closesAt, ...unfinished)
    case 'ending':
    case 'stuck':
      return grant.head.facts.retryAt
    case 'denied':
    case 'withdrawn':
    case 'lapsed':
    case 'ended':
      return undefined
  }
}
