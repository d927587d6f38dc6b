// Every legal edge of a grant and of a mint, in one table each. The type system and the store refuse what is not here:
// `redis/library.ts` renders LIFECYCLE into the Lua function, so the two cannot differ.

export const LIFECYCLE = {
  pending: ['pending', 'approved', 'denied', 'withdrawn', 'lapsed'],
  approved: ['approved', 'issuing', 'active', 'ending', 'withdrawn', 'lapsed'],
  issuing: ['issuing', 'active', 'approved', 'ending'],
  active: ['active', 'ending', 'ended'],
  ending: ['ending', 'ended', 'stuck'],
  stuck: ['stuck', 'ended'],
  denied: [],
  withdrawn: [],
  lapsed: [],
  ended: [],
} as const satisfies Record<string, readonly string[]>

export type Status = keyof typeof LIFECYCLE
export type Next<From extends Status> = (typeof LIFECYCLE)[From][number]
export const STATUSES = Object.keys(LIFECYCLE) as readonly Status[]

/** How a grant is born. An edge like any other: a grant is born pending or not at all. */
export const BIRTH = 'pending' satisfies Status

type Edge = { [From in Status]: `${From}>${Next<From>}` }[Status] | `none>${typeof BIRTH}`

/**
 * The edges over which somebody gets something: to ask, an approval, a claim, a credential. The store takes them with a guard only, so
 * that a forgotten guard is refused and not obeyed. All the others go on ending, or change nothing that was allowed.
 */
export const ALLOWING = [
  `none>${BIRTH}`,
  'pending>approved',
  'approved>approved',
  'approved>issuing',
  'approved>active',
  'issuing>active',
] as const satisfies readonly Edge[]

/**
 * The statuses in which what was handed out may be used: a status list says VALID in these and INVALID in all the others. The store writes
 * that in the very commit in which a grant enters or leaves one.
 */
export const LIVE = ['active'] as const satisfies readonly Status[]
export const isLive = (status: string): boolean => (LIVE as readonly string[]).includes(status)

export const isTerminal = (status: Status): boolean => LIFECYCLE[status].length === 0

/** What is done with a grant whose deadline has passed. Every status that can pass one has an answer. */
export const OVERDUE = {
  pending: 'lapse',
  approved: 'lapse',
  issuing: 'end',
  active: 'end',
  ending: 'end',
  stuck: 'end',
  denied: 'nothing',
  withdrawn: 'nothing',
  lapsed: 'nothing',
  ended: 'nothing',
} as const satisfies Record<Status, 'lapse' | 'end' | 'nothing'>

const MINT_LIFECYCLE = {
  none: ['claimed', 'live'],
  claimed: ['opened', 'closing', 'closed'],
  opened: ['live', 'closing'],
  live: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
} as const satisfies Record<string, readonly string[]>

type MintStatus = keyof typeof MINT_LIFECYCLE
export const mintMayGo = (from: MintStatus, to: MintStatus): boolean =>
  (MINT_LIFECYCLE[from] as readonly MintStatus[]).includes(to)
