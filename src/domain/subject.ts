// A stored grant as selectors see it. Invariant: whatever a selector can name of a grant is taken here and nowhere else, so that what a freeze
// refuses, what a containment ends and what introspection denies are the same grants.
import type { Grant } from './grant.ts'
import type { Digest } from './ids.ts'
import { earliest } from './instant.ts'
import { isReleased } from './mint.ts'
import type { Party, Subject } from './selector.ts'

/** `today`: the digest of the policy under which it would go on, where that is asked. */
export function subjectOf(
  { ask, decisions, head }: Grant,
  parties: { readonly requester: Party; readonly executor: Party },
  today?: Digest,
): Subject {
  const out = head.mints.filter((mint) => !isReleased(mint)).map(({ claimedAt }) => claimedAt)
  const [first, ...more] = out
  return {
    intent: ask.intent,
    requester: parties.requester,
    executor: parties.executor,
    requesterTenant: ask.requesterTenant,
    askers: ask.askers,
    approvers: decisions.flatMap(({ by }) => (by === 'policy' ? [] : [by])),
    policies: [
      ask.policy.digest,
      ...decisions.map(({ policyDigest }) => policyDigest),
      ...(today === undefined ? [] : [today]),
    ],
    issuedAt: first && earliest(first, ...more),
  }
}
