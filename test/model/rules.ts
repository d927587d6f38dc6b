// The rules of a grant's life, stated a second time and by themselves: edges, spans, people, entitlements. Nothing here is imported from the
// broker, so that agreement between the two means something. All times and spans are integer milliseconds.

export const SECOND = 1_000
export const MINUTE = 60_000
export const HOUR = 3_600_000

export const STATUSES = [
  'pending',
  'approved',
  'issuing',
  'active',
  'ending',
  'stuck',
  'denied',
  'withdrawn',
  'lapsed',
  'ended',
] as const
export type Status = (typeof STATUSES)[number]

/** From where to where a grant may go; whatever is not here is refused. */
const EDGES: Readonly<Record<Status, string>> = {
  pending: 'pending approved denied withdrawn lapsed',
  approved: 'approved issuing active ending withdrawn lapsed',
  issuing: 'issuing active approved ending',
  active: 'active ending ended',
  ending: 'ending ended stuck',
  stuck: 'stuck ended',
  denied: '',
  withdrawn: '',
  lapsed: '',
  ended: '',
}
export const mayGo = (from: Status, to: Status): boolean => EDGES[from].split(' ').includes(to)
export const isFinal = (status: Status): boolean => EDGES[status] === ''
/** Every edge, birth too. */
export const ALL_EDGES: readonly string[] = [
  'none>pending',
  ...STATUSES.flatMap((from) => STATUSES.filter((to) => mayGo(from, to)).map((to) => `${from}>${to}`)),
]
/** Over these somebody gets something: the store takes them with a guard only. */
export const GIVING: readonly string[] = [
  'pending>approved',
  'approved>approved',
  'approved>issuing',
  'approved>active',
  'issuing>active',
]
/** THREATS.md §5: a rank never falls, but for a claim that is given back. */
export const RANK: Readonly<Record<Status, number>> = {
  pending: 0,
  approved: 1,
  issuing: 2,
  active: 2,
  ending: 3,
  stuck: 3,
  ended: 4,
  denied: 5,
  withdrawn: 5,
  lapsed: 5,
}

/** Longest time for one making of a login, and for one try at an end. */
export const MAKING = 30 * SECOND
export const END_TRY = 30 * SECOND
export const SAME_TRY = 60 * SECOND
export const AUTO_WITHIN = MINUTE
export const DECIDE_WITHIN = HOUR
export const ESCALATE_WITHIN = 15 * MINUTE
export const USE_WITHIN = HOUR
export const AGENTS_USE_WITHIN = 10 * MINUTE
export const HORIZON = 24 * HOUR
export const MAX_LIFE = 15 * MINUTE
export const TRIES_BEFORE_STUCK = 8
export const MOST_PENDING_OF_REQUESTER = 3
export const MOST_PENDING_OF_OWNER = 4
/** With a jitter of one half. */
export const waitAfter = (attempts: number): number =>
  Math.round(Math.min(500 * 2 ** Math.min(attempts, 10), END_TRY) * 0.75)

export const PEOPLE = ['ann', 'bob', 'olivia', 'ruth', 'rita', 'sol', 'sid', 'zoe'] as const
export type Person = (typeof PEOPLE)[number]
export type Who = Person | 'bot'
export const OWNER: Person = 'olivia'
/** The agent has one sponsor, who is a reviewer too. */
export const SPONSOR: Person = 'bob'
export const REVIEWERS: readonly Who[] = ['bob', 'ruth', 'rita']
export const SOC: readonly Who[] = ['sol', 'sid']
/** Of another tenant: sees nothing here. */
export const STRANGER: Person = 'zoe'
export const behind = (who: Who): Person => (who === 'bot' ? SPONSOR : who)

export const ENTITLEMENTS = ['look', 'fix', 'ship', 'base'] as const
export type Entitlement = (typeof ENTITLEMENTS)[number]
export const isLogin = (entitlement: Entitlement): boolean => entitlement === 'base'

/** What the policy says in each of its editions. */
export const EDITIONS = ['plain', 'without', 'quorum', 'short', 'fewer'] as const
export type Edition = (typeof EDITIONS)[number]
export interface Rule {
  /** Approved by the policy itself. */
  readonly auto: boolean
  /** Reviewers of security besides the owner. */
  readonly reviewers: number
  readonly maxDuration: number
  readonly maxUses: number
}
/** Undefined where it cannot be asked for. */
export function ruleOf(edition: Edition, entitlement: Entitlement): Rule | undefined {
  if (edition === 'without' && entitlement === 'fix') return undefined
  const raised = edition === 'quorum' && entitlement === 'fix' ? 1 : 0
  return {
    auto: entitlement === 'look',
    reviewers: entitlement === 'ship' ? 2 : raised,
    maxDuration: edition === 'short' ? HOUR / 2 : 4 * HOUR,
    maxUses: edition === 'fewer' ? 1 : 3,
  }
}
