// One credential made by an exchange: a sub-record of its grant. A member exists only where it is true, so what must be closed at
// the backend can be read from the status alone. It never holds a secret: an accessor and a lease id are handles, a fingerprint a hash.
import type { AttemptId, Thumbprint } from './ids.ts'
import type { Instant } from './instant.ts'

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
}
/** `released`: nothing was ever made outside, and the use is given back. */
export type ClosedMint = Made & {
  readonly status: 'closed'
  readonly closedAt: Instant
  readonly released: boolean
  readonly expiresAt: Instant | undefined
  readonly confirmation: Confirmation
}
export type Mint = ClaimedMint | OpenedMint | LiveMint | ClosingMint | ClosedMint

export const isReleased = (mint: Mint): boolean => mint.status === 'closed' && mint.released
/** Uses taken: every mint that was not given back. */
export const usesTaken = (mints: readonly Mint[]): number => mints.filter((mint) => !isReleased(mint)).length
/** Neither live nor closed: somebody is working on it until its deadline, and if they fail somebody else must. */
export const isUnfinished = (mint: Mint): mint is ClaimedMint | OpenedMint | ClosingMint =>
  mint.status === 'claimed' || mint.status === 'opened' || mint.status === 'closing'
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
})

export const closed = (mint: Mint, closedAt: Instant, confirmation: Confirmation, released = false): ClosedMint => ({
  ...madeOf(mint),
  status: 'closed',
  closedAt,
  released,
  expiresAt: 'expiresAt' in mint ? mint.expiresAt : undefined,
  confirmation,
})
