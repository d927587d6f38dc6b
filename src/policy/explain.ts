// What a policy says about an asking, as data for people: whether it may be asked, who must approve, which limits hold, what may remain.
// It decides nothing: the verbs judge again, and where the two differ the verbs are right.
import { type ApprovalRule, type Entitlement, type Limits, worstResidue } from '../domain/entitlement.ts'
import { type Duration, formatDuration } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
import type { Tier } from '../domain/tier.ts'
import type { Policy, Verdict } from './policy.ts'

export interface Explanation {
  /** Whether this principal may ask, and by which rules. */
  readonly mayAsk: Verdict
  readonly tier: Tier
  /** `auto` only where the guards agree for this very asking; otherwise what the entitlement says. */
  readonly approval: ApprovalRule | { readonly mode: 'refused' }
  readonly limits: Limits
  readonly ticketRequired: boolean
  readonly planRequired: boolean
  /** The longest life of one credential; at most what is left of the window. */
  readonly maxLife: Duration
  /** The longest time for which a credential may still be taken for good after a revoke. */
  readonly residue: Duration
  /** Sentences, most important first. */
  readonly why: readonly string[]
}

/** Pure: the same policy and the same asking explain themselves the same way. Without an intent it explains the offer. */
export function explain(
  policy: Policy,
  on: { readonly principal: Principal; readonly entitlement: Entitlement; readonly intent?: Intent },
): Explanation {
  const { principal, entitlement, intent } = on
  const { tier, limits, credential, ticketRequired, planRequired } = entitlement
  const asked = { ...on, requester: principal }
  const mayAsk = policy.judge({ action: 'Request', ...asked })
  const automatic = policy.judge({ action: 'AutoApprove', ...asked })
  // The guards may look at what is asked; of an offer alone they cannot say no yet.
  const refused = entitlement.approval.mode === 'auto' && intent !== undefined && !automatic.allowed
  const approval = refused ? ({ mode: 'refused' } as const) : entitlement.approval
  return {
    mayAsk,
    tier,
    approval,
    limits,
    ticketRequired,
    planRequired,
    maxLife: 'maxLife' in credential ? credential.maxLife : limits.maxDuration,
    residue: worstResidue(credential, limits.maxDuration),
    why: [
      mayAsk.allowed
        ? `May be asked for: ${mayAsk.because.join(', ')}.`
        : `May not be asked for: ${mayAsk.because.join(', ') || 'no rule permits it'}.`,
      approvalInWords(approval, tier),
      ...(ticketRequired ? ['A change ticket must be named.'] : []),
      ...(planRequired ? ['The digest of the plan must be named.'] : []),
      residueInWords(entitlement),
    ],
  }
}

function approvalInWords(approval: Explanation['approval'], tier: Tier): string {
  if (approval.mode === 'auto')
    return 'Approved by the policy itself, because it is low and does nothing that needs a person.'
  if (approval.mode === 'refused') return 'The guards do not approve this asking by themselves, and no owner is named.'
  const reviewers = approval.reviewers.map(
    ({ role, group, count, veto }) => `${count} of the group ${group} for ${role}${veto ? ' (veto)' : ''}`,
  )
  const seats = [...reviewers, `last the owner ${approval.owner}`].join(', ')
  const signed = approval.stepUp ? ' Each signs with a passkey.' : ''
  return `Needs ${approval.approvals} person(s) at tier ${tier}: ${seats}.${signed}`
}

function residueInWords({ credential }: Entitlement): string {
  if (credential.kind === 'jwt')
    return 'After a revoke, a verifier that does not ask may trust its cache for this long.'
  if (credential.revocability === 'expiry')
    return credential.engine === 'path'
      ? `It cannot be revoked: it ends by itself, ${formatDuration(credential.maxLife)} after it was made at the latest.`
      : 'It cannot be revoked: it ends when its window ends.'
  return 'It is ended at its backend at once, and that is confirmed.'
}
