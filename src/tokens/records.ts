// The broker's signature under what it keeps for itself outside the grants: passkeys and ceremonies. One who can edit Redis plants neither.
import type { RecordSigner } from '../broker/ports.ts'
import { canonical } from '../domain/canonical.ts'
import type { Instant } from '../domain/instant.ts'
import type { KeyRing } from './key-ring.ts'
import { signedTexts } from './signed-text.ts'

/** Ed25519 over RFC 8785 canonical JSON with the domain tag of the kind of record. */
export function recordSigner(options: { readonly ring: KeyRing; readonly now: () => Instant }): RecordSigner {
  const texts = signedTexts(options)
  return {
    sign: (typ, record) => texts.sign(canonical({ typ, record })),
    verify: (typ, record, signature) => {
      try {
        return texts.verify(canonical({ typ, record }), signature)
      } catch {
        // What has no canonical form was never signed.
        return false
      }
    },
  }
}
