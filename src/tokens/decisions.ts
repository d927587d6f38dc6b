// The broker's signature under every decision: one who can edit Redis still cannot approve. It covers the grant's id and every member of
// the decision, so that nothing can be moved to another grant or altered.
import type { DecisionSigner } from '../broker/ports.ts'
import { canonical } from '../domain/canonical.ts'
import { canonicalOf, type Decision } from '../domain/decision.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { KeyRing, Keys } from './key-ring.ts'
import { signedTexts } from './signed-text.ts'

/** Ed25519 over RFC 8785 canonical JSON with the domain tag `writ/decision/v1`; the signature reads `<kid>.<base64url>`. */
export function decisionSigner(options: { readonly ring: KeyRing; readonly now: () => Instant }): DecisionSigner {
  const texts = signedTexts(options)
  // A decision never changes, so one that held for this grant under these keys holds.
  const held = new WeakMap<Decision, { readonly grant: GrantId; readonly keys: Keys }>()
  return {
    sign: (grant, decision) => texts.sign(messageOf(grant, decision)),
    verify: (grant, decision) => {
      const keys = options.ring.keys()
      const before = held.get(decision)
      if (before?.grant === grant && before.keys === keys) return true
      const { signature, ...said } = decision
      const message = readable(() => messageOf(grant, said))
      if (message === undefined || !texts.verify(message, signature)) return false
      held.set(decision, { grant, keys })
      return true
    },
  }
}

const messageOf = (grant: GrantId, decision: Omit<Decision, 'signature'>): string =>
  canonical({ typ: 'writ/decision/v1', grant, decision: canonicalOf(decision) })

/** What has no canonical form was never signed. */
const readable = (make: () => string): string | undefined => {
  try {
    return make()
  } catch {
    return undefined
  }
}
