// The public keys that verify our access tokens, as a JWK Set (RFC 7517 §5). The next key is in it before it signs, a former one until
// nothing it signed can live. Decision keys are not: a verifier of access tokens must never accept one.
import type { Instant } from '../domain/instant.ts'
import { toSeconds } from '../domain/instant.ts'
import type { KeyRing, PublicJwk } from './key-ring.ts'

export interface Jwks {
  readonly keys: readonly (PublicJwk & { readonly kid: string; readonly alg: 'ES256'; readonly use: 'sig' })[]
}

/** The document, and for how many seconds it may be kept. */
export function jwks(ring: KeyRing, now: Instant): { readonly document: Jwks; readonly maxAgeSeconds: number } {
  const keys = ring
    .keys()
    .published(now)
    .map(({ publicJwk, kid }) => ({ ...publicJwk, kid, alg: 'ES256' as const, use: 'sig' as const }))
  return { document: { keys }, maxAgeSeconds: toSeconds(ring.times.jwksMaxAge) }
}
