// The compiled policy: an immutable value, named by its revision and by a digest over its compiled form.
// Judging is pure: the same policy and the same question give the same verdict, and any doubt is a refusal.
import type { Entitlement } from '../domain/entitlement.ts'
import type { Digest, EntitlementId } from '../domain/ids.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
import type { AskedRisk, Catalogue } from '../domain/risk.ts'
import { TIERS, type Tier } from '../domain/tier.ts'

/** The Cedar actions. One code path for a question, whatever the door. */
export const ACTIONS = [
  'Request',
  'AutoApprove',
  'Approve',
  'Exchange',
  'Complete',
  'Revoke',
  'ReadGrant',
  'ReadAudit',
  'Freeze',
  'Operate',
] as const
export type Action = (typeof ACTIONS)[number]

/** Asked of the broker as a whole, never of an entitlement: what else a caller may have at hand is no part of the question. */
export const isOfBroker = (action: Action): boolean => action === 'Operate' || action === 'Freeze'
/** Asked of the broker too. Every other action needs an entitlement. */
export const mayBeOfBroker = (action: Action): boolean => isOfBroker(action) || action === 'ReadAudit'

export interface Question {
  readonly action: Action
  readonly principal: Principal
  /** Absent only for actions on the broker itself (`mayBeOfBroker`). */
  readonly entitlement?: Entitlement
  readonly intent?: Intent
  /** Of the intent, and what was asked before it for the same task or session. */
  readonly risk?: AskedRisk
  /** The requester of the grant in question, where that is not the principal. */
  readonly requester?: Principal
}

export interface Verdict {
  readonly allowed: boolean
  /** The `@id` of the rules that decided, sorted; empty where no rule permits. `floor: …` and `error: …` name a refusal that is no rule's. */
  readonly because: readonly string[]
}

export interface Policy {
  readonly revision: number
  readonly digest: Digest
  entitlement(id: EntitlementId): Entitlement | undefined
  entitlements(): readonly Entitlement[]
  /** The entitlement as it is at this tier, its own or a higher one; undefined where that tier is not described or cannot hold it. */
  at(id: EntitlementId, tier: Tier): Entitlement | undefined
  readonly catalogue: Catalogue
  /** Deny wins, and an evaluation error is a denial that names the error. */
  judge(question: Question): Verdict
}

/** Whether anything is decided with a passkey, be it only where an asking is raised to a higher tier. */
export const asksForPasskeys = (policy: Pick<Policy, 'entitlements' | 'at'>): boolean =>
  policy
    .entitlements()
    .flatMap(({ id }) => TIERS.flatMap((tier) => policy.at(id, tier) ?? []))
    .some(({ approval }) => approval.mode === 'people' && approval.stepUp)
