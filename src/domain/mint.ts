// One credential made by an exchange: a sub-record of its grant. A member exists only where it is true, so what must be closed at
// the backend can be read from the status alone. It never holds a secret: an accessor and a lease id are handles, a fingerprint a hash.
import type { AttemptId, Thumbprint } from './ids.ts'
import { after, between, type Duration, type Instant, seconds } from './instant.ts'

interface Made {
  /** 1, 2, 3… inside the grant, never used twice. */
  readonly n: number
  readonly attempt: AttemptId
  /** The key that asked, and to which a `jwt` is bound; the same attempt is answered again only to it. */
  readonly key: Thumbprint | undefined
  readonly claimedAt: Instant
}
export interface Lease {
  readonly id: string
  readonly durationSeconds: number
}
/** What was asked of the backend after the closing, and what it answered. */
export interface Confirmation {
  readonly asked: 'nothing' | 'introspection' | 'backend'
  readonly answer: string
  readonly at: Instant
}

/** How long one try at a mint may take before anybody may close it. */
export const MINT_DEADLINE: Duration = seconds(30)

export type ClaimedMint = Made & { readonly status: 'claimed'; readonly deadline: Instant }
export type OpenedMint = Made & { readonly status: 'opened'; readonly deadline: Instant; readonly accessor: string }
export type LiveMint = Made & {
  readonly status: 'live'
  readonly issuedAt: Instant
  readonly expiresAt: Instant
  readonly fingerprint: string
} & (
    | { readonly kind: 'jwt'; readonly jti: string }
    | { readonly kind: 'vault'; readonly accessor: string; readonly lease: Lease }
  )
/** On its way out; `accessor` and `lease` as far as they were known. In a grant that lives on it is tried again at `deadline`. */
export type ClosingMint = Made & {
  readonly status: 'closing'
  readonly deadline: Instant
  readonly accessor: string | undefined
  readonly lease: Lease | undefined
  /** Its secret may have left the broker: its use is spent, whatever becomes of it. */
  readonly handedOut: boolean
  /** Until then its maker may still be making it: what is not there yet may come, so nothing is confirmed before. */
  readonly makerUntil: Instant | undefined
}
/** `released`: nothing that was made outside ever left the broker, and the use is given back. */
export type ClosedMint = Made & {
  readonly status: 'closed'
  readonly closedAt: Instant
  readonly released: boolean
  /** Of a token, its own end; of what a backend gave, only where nobody could end it: when it ends by itself, at the latest. */
  readonly expiresAt: Instant | undefined
  readonly confirmation: Confirmation
}
export type Mint = ClaimedMint | OpenedMint | LiveMint | ClosingMint | ClosedMint

export const isReleased = (mint: Mint): boolean => mint.status === 'closed' && mint.released
/** Whether two mints answer the same try: a lost login and its replacement do, and are one use together. */
const isSameTry = (a: Pick<Made, 'attempt' | 'key'>, b: Pick<Made, 'attempt' | 'key'>): boolean =>
  a.attempt === b.attempt && a.key === b.key
/** The mints of one try that were not given back, oldest first. */
export const mintsOf = (mints: readonly Mint[], attempt: AttemptId, key: Thumbprint | undefined): readonly Mint[] =>
  mints.filter((mint) => !isReleased(mint) && isSameTry(mint, { attempt, key })).toSorted((a, b) => a.n - b.n)
/** Uses taken: every try of which something was not given back. */
export const usesTaken = (mints: readonly Mint[]): number => {
  const taken = mints.filter((mint) => !isReleased(mint))
  return taken.filter((mint, at) => taken.findIndex((other) => isSameTry(other, mint)) === at).length
}
/** Neither live nor closed: somebody is working on it until its deadline, and if they fail somebody else must. */
export const isUnfinished = (mint: Mint): mint is ClaimedMint | OpenedMint | ClosingMint =>
  mint.status === 'claimed' || mint.status === 'opened' || mint.status === 'closing'
/** So many tries in a row are given back before the next one has to wait. */
const FREE_TRIES = 3
const LONGEST_REST_SECONDS = 60

/**
 * How long nothing more is tried, where the last tries were all given back: doubling from a second to a minute. Numbers are never used twice, so
 * those that are missing below the last one tell how many there were, also when the mints themselves are kept no more.
 */
export function restLeft(mints: readonly Mint[], now: Instant): Duration | undefined {
  const last = mints.toSorted((a, b) => a.n - b.n).at(-1)
  if (last?.status !== 'closed' || !last.released) return undefined
  const before = mints.filter((mint) => !isReleased(mint)).reduce((most, { n }) => Math.max(most, n), 0)
  const inARow = last.n - before
  if (inARow <= FREE_TRIES) return undefined
  const rest = seconds(Math.min(LONGEST_REST_SECONDS, 2 ** (inARow - FREE_TRIES - 1)))
  const over = after(last.closedAt, rest)
  // It was noted by the store's clock; one that was far ahead then, and was set right, holds nobody up.
  return now < over && now >= last.closedAt ? between(now, over) : undefined
}
/** Whether a mint of a grant that goes on tells something yet: what was given back does where it may have left something that lasts. */
export const isKept = (mint: Mint, now: Instant): boolean =>
  !isReleased(mint) || (mint.status === 'closed' && mint.expiresAt !== undefined && now < mint.expiresAt)
export const nextNumber = (mints: readonly Mint[]): number =>
  mints.reduce((most, mint) => Math.max(most, mint.n), 0) + 1

const madeOf = ({ n, attempt, key, claimedAt }: Made): Made => ({ n, attempt, key, claimedAt })

/** Any mint that may have left something at a backend, marked as on its way out. */
export const closing = (mint: Exclude<Mint, ClosedMint>, deadline: Instant): ClosingMint => ({
  ...madeOf(mint),
  status: 'closing',
  deadline,
  accessor: 'accessor' in mint ? mint.accessor : undefined,
  lease: 'lease' in mint ? mint.lease : undefined,
  handedOut: mint.status === 'closing' ? mint.handedOut : mint.status === 'live',
  makerUntil: mint.status === 'closing' ? mint.makerUntil : mint.status === 'opened' ? mint.deadline : undefined,
})

export const closed = (mint: Mint, closedAt: Instant, confirmation: Confirmation, released = false): ClosedMint => ({
  ...madeOf(mint),
  status: 'closed',
  closedAt,
  released,
  expiresAt: 'expiresAt' in mint ? mint.expiresAt : undefined,
  confirmation,
})
