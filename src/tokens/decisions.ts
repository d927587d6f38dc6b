// The broker's signature under every decision: one who can edit Redis still cannot approve. It covers the grant's id and every member of
// the decision, so that nothing can be moved to another grant or altered. Keys of any age verify, as decisions outlive rotations.
import { hash, sign, verify } from 'node:crypto'
import type { DecisionSigner } from '../broker/ports.ts'
import { canonical } from '../domain/canonical.ts'
import { canonicalOf, type Decision } from '../domain/decision.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { KeyRing, Keys } from './key-ring.ts'

/** Verified before, by everything that went into it: at most this many are remembered. */
const REMEMBERED = 10_000
const FORM = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{86})$/

/** Ed25519 over RFC 8785 canonical JSON with the domain tag `writ/decision/v1`; the signature reads `<kid>.<base64url>`. */
export function decisionSigner(options: { readonly ring: KeyRing; readonly now: () => Instant }): DecisionSigner {
  const known = memory()
  return {
    sign: (grant, decision) => {
      const key = options.ring.keys().signing('decision', options.now())
      return `${key.kid}.${sign(null, Buffer.from(messageOf(grant, decision)), key.privateKey).toString('base64url')}`
    },
    verify: (grant, { signature, ...decision }) => {
      const [, kid, text] = FORM.exec(signature) ?? []
      if (kid === undefined || text === undefined) return false
      const keys = options.ring.keys()
      const bytes = Buffer.from(text, 'base64url')
      const key = keys.decision(kid)
      if (key === undefined || bytes.toString('base64url') !== text) return false
      const message = readable(() => messageOf(grant, decision))
      if (message === undefined) return false
      return known(keys, hash('sha256', `${signature}${message}`, 'base64url'), () =>
        verify(null, Buffer.from(message), key.publicKey, bytes),
      )
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

/** Remembers only what was true, and forgets everything when the keys were read again, as a key may have been withdrawn. */
function memory(): (keys: Keys, inputs: string, check: () => boolean) => boolean {
  let of: Keys | undefined
  const proven = new Set<string>()
  return (keys, inputs, check) => {
    if (of !== keys || proven.size >= REMEMBERED) proven.clear()
    of = keys
    if (proven.has(inputs)) return true
    const holds = check()
    if (holds) proven.add(inputs)
    return holds
  }
}
