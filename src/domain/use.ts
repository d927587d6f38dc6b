// What a resource server reports of a credential: that it was used, or refused and why. Invariant: a report is somebody's word. It moves no
// version, allows nothing and ends nothing by itself; what is misuse is said here and nowhere else.
import type { Digest } from './ids.ts'
import type { Instant } from './instant.ts'

export const USE_OUTCOMES = ['used', 'refused'] as const
export type UseOutcome = (typeof USE_OUTCOMES)[number]

/** Why a resource server lets somebody not in. */
export const REFUSAL_REASONS = [
  'ended',
  'expired',
  'not_yet_valid',
  'wrong_key',
  'no_proof',
  'replay',
  'wrong_plan',
  'wrong_audience',
  'outside_window',
  'stale',
] as const
export type RefusalReason = (typeof REFUSAL_REASONS)[number]

/** Of those the ones that nobody runs into who holds what was granted and keeps to it; the others are clocks, set-ups and our own silence. */
export const MISUSE_REASONS = [
  'ended',
  'expired',
  'wrong_key',
  'no_proof',
  'replay',
  'wrong_plan',
] as const satisfies readonly RefusalReason[]
export type MisuseReason = (typeof MISUSE_REASONS)[number]

export interface Use {
  /** Chosen by the resource server: the same one again is the same use. */
  readonly id: string
  /** By its clock. */
  readonly at: Instant
  /** The `jti` of the token that was shown. */
  readonly credential: string
  readonly outcome: UseOutcome
  /** Of a refusal. */
  readonly reason: RefusalReason | undefined
  readonly action: string
  readonly target: string
  /** Of what the action was called with. */
  readonly argumentDigest: Digest | undefined
}

export const misuseOf = ({ outcome, reason }: Pick<Use, 'outcome' | 'reason'>): MisuseReason | undefined =>
  outcome === 'refused' ? MISUSE_REASONS.find((one) => one === reason) : undefined

/** What an entitlement may answer misuse with: the end of the grant, or of everything of that session, executor or task. */
export const MISUSE_ANSWERS = ['grant', 'session', 'executor', 'task'] as const
export type MisuseAnswer = (typeof MISUSE_ANSWERS)[number]
