// What the load knows: of each grant what it was told so far, and of each credential what was handed out. Where an answer was lost both outcomes
// are possible until one is seen; what has been seen is never unseen.
import { isOver, isStatus, RANK, type Status } from './journal.ts'
import type { Report } from './violation.ts'

export type Kind = 'report' | 'triage' | 'deploy' | 'login'

export interface Known {
  readonly id: string
  readonly kind: Kind
  readonly audience: 'reports-api' | 'desk-api' | 'webshop-api' | undefined
  readonly opensAt: number
  readonly closesAt: number
  /** The farthest that anybody has been shown. */
  status: Status
  /** Said to be over, and when that was heard. */
  overAt: number | undefined
  /** Something was asked that would end it: from then on it may end at any time. */
  mayEnd: boolean
  readonly handed: Handed[]
}
export interface Handed {
  readonly grant: string
  readonly attempt: string
  readonly mint: number
  readonly what: Token | Login
  readonly notBefore: number
  readonly expiresAt: number
  readonly sentAt: number
  readonly receivedAt: number
}
export interface Token {
  readonly kind: 'jwt'
  readonly token: string
  readonly jti: string
  readonly issuedAt: number
}
export interface Login {
  readonly kind: 'vault'
  readonly user: string
  readonly password: string
  readonly leaseId: string
}

export interface Model {
  readonly grants: ReadonlyMap<string, Known>
  readonly handed: readonly Handed[]
  born(known: Omit<Known, 'status' | 'overAt' | 'mayEnd' | 'handed'>, status: unknown): Known
  /** A status that somebody was shown. I6, as clients see it. */
  shown(known: Known, status: unknown): void
  given(known: Known, handed: Handed): void
}

export function model(report: Report): Model {
  const grants = new Map<string, Known>()
  const handed: Handed[] = []
  const shown: Model['shown'] = (known, status) => {
    if (!isStatus(status)) return
    const released = known.status === 'issuing' && status === 'approved'
    const falls = isOver(known.status) ? status !== known.status : RANK[status] < RANK[known.status] && !released
    if (falls)
      report({
        invariant: 'I6 rankNeverFalls',
        grant: known.id,
        expected: `at least ${known.status}`,
        seen: `shown as ${status}`,
      })
    known.status = status
    if (isOver(status)) known.overAt ??= Date.now()
  }
  return {
    grants,
    handed,
    born: (about, status) => {
      const former = grants.get(about.id)
      if (former !== undefined) return former
      const known: Known = { ...about, status: 'pending', overAt: undefined, mayEnd: false, handed: [] }
      grants.set(about.id, known)
      shown(known, status)
      return known
    },
    shown,
    given: (known, one) => {
      sameAttemptSameOutcome(known, one, report)
      insideItsWindow(known, one, report)
      nothingAfterTheEnd(known, one, report)
      known.handed.push(one)
      handed.push(one)
    },
  }
}

/** I17. The same attempt again is the same token; of a login, which cannot be shown twice, one replacement. */
function sameAttemptSameOutcome(known: Known, one: Handed, report: Report): void {
  const said = (seen: string): void =>
    report({ invariant: 'I17 sameAttemptSameOutcome', grant: known.id, expected: 'what this attempt got before', seen })
  const same = known.handed.filter(({ attempt }) => attempt === one.attempt)
  const [first] = same
  if (first === undefined) return
  if (one.what.kind === 'vault') {
    if (same.length > 1) said(`${same.length + 1} logins`)
    return
  }
  const { jti, issuedAt } = one.what
  if (
    first.what.kind !== 'jwt' ||
    first.what.jti !== jti ||
    first.what.issuedAt !== issuedAt ||
    first.expiresAt !== one.expiresAt
  )
    said(`jti ${jti}, issued at ${issuedAt}, expires at ${one.expiresAt}`)
}

/** I5. */
function insideItsWindow(known: Known, one: Handed, report: Report): void {
  const within = one.expiresAt <= known.closesAt && one.notBefore >= Math.floor(known.opensAt / 1_000) * 1_000
  if (within) return
  report({
    invariant: 'I5 insideItsWindow',
    grant: known.id,
    expected: `from ${known.opensAt} to ${known.closesAt}`,
    seen: `from ${one.notBefore} to ${one.expiresAt}`,
  })
}

/** I7, as clients see it: of what somebody was told is over nothing is handed out any more. */
function nothingAfterTheEnd(known: Known, one: Handed, report: Report): void {
  if (known.overAt === undefined || one.receivedAt <= known.overAt) return
  report({
    invariant: 'I7 endedIsInactive',
    grant: known.id,
    expected: `nothing: it is ${known.status}`,
    seen: 'a credential',
  })
}

/** The members of a JWT that are held against its grant. */
export function claimsOf(token: string): {
  readonly jti: string
  readonly iat: number
  readonly exp: number
  readonly nbf: number
} {
  const { jti, iat, exp, nbf } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
  return { jti, iat, exp, nbf }
}
