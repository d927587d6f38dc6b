// Signs access tokens (RFC 9068). A token never outlives its window: `exp` is rounded down to whole seconds, and a token that could not
// live a second is refused. It names the executor as `sub`, the grant as `txn`, and holds no text that a person wrote.
import type { TokenFacts, TokenSigner } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { Duration, Instant } from '../domain/instant.ts'
import { toSeconds } from '../domain/instant.ts'
import { secret } from '../domain/secret.ts'
import { listUri, mayGoByList, statusPlaceOf } from '../domain/status-list.ts'
import { grantedDetail } from './authorization-details.ts'
import { encoded, signedJws } from './es256.ts'
import type { Key, KeyRing } from './key-ring.ts'

export const GRANT_CLAIM = 'https://writ.dev/claims/grant'

/** The header that every token of this key has, member for member: `verify-own` compares it as text. */
export const headerOf = (key: Pick<Key, 'kid'>): { alg: 'ES256'; typ: 'at+jwt'; kid: string } => ({
  alg: 'ES256',
  typ: 'at+jwt',
  kid: key.kid,
})

/**
 * Signs with the key that signs at `issuedAt`. Rejects `window_closing` when less than a whole second would be left, and
 * `policy_refused` for a life longer than our keys stay published: nobody could verify such a token to its end.
 */
export function tokenSigner(options: {
  readonly ring: KeyRing
  readonly issuer: string
  /** How long verifiers keep a status list: a token names its list only where they may remember for as long. */
  readonly statusTtl: Duration
}): TokenSigner {
  const headers = new WeakMap<Key, string>()
  const headerFor = (key: Key): string => {
    const known = headers.get(key) ?? encoded(headerOf(key))
    headers.set(key, known)
    return known
  }
  return {
    sign: async (facts, boundTo) => {
      if (facts.expiresAt - facts.issuedAt > options.ring.times.longestToken)
        throw new BrokerError('policy_refused', 'No token may live that long.', {
          nextAction: 'Lower maxLife of the entitlement.',
        })
      const key = options.ring.keys().signing('access', facts.issuedAt)
      const claims = claimsOf(facts, options, boundTo)
      return secret(signedJws(headerFor(key), claims, key.privateKey))
    },
  }
}

function claimsOf(
  facts: TokenFacts,
  { issuer, statusTtl }: { readonly issuer: string; readonly statusTtl: Duration },
  boundTo: string | undefined,
): Record<string, unknown> {
  const { grant, audience } = facts
  const { intent } = grant.ask
  const executor = intent.executor.principal
  return {
    iss: issuer,
    sub: facts.subject,
    aud: audience,
    ...times(facts),
    jti: facts.jti,
    client_id: executor,
    txn: grant.id,
    // RFC 8693 §4.1: who acts, where that is somebody else than the subject.
    ...(facts.subject === executor ? {} : { act: { sub: executor } }),
    ...(boundTo === undefined ? {} : { cnf: { jkt: boundTo } }),
    ...statusOf(grant, issuer, statusTtl),
    authorization_details: [grantedDetail(grant, audience)],
    [GRANT_CLAIM]: {
      id: grant.id,
      intent_digest: grant.ask.digest,
      ...(intent.plan === undefined ? {} : { plan_digest: intent.plan.digest }),
      ...(intent.ticket === undefined ? {} : { ticket: `${intent.ticket.system}:${intent.ticket.id}` }),
      policy_digest: facts.policyDigest,
    },
  }
}

/** Of all tokens of a grant the same, because they end together. Whoever is named no list introspects. */
function statusOf(grant: Grant, issuer: string, ttl: Duration): Record<string, unknown> {
  const place = mayGoByList(grant.ask.credential, ttl) ? statusPlaceOf(grant) : undefined
  return place === undefined ? {} : { status: { status_list: { idx: place.idx, uri: listUri(issuer, place.list) } } }
}

/** Whole seconds with nbf <= iat < exp. Rounding may only shorten: `exp` goes down. */
function times(facts: { readonly issuedAt: Instant; readonly notBefore: Instant; readonly expiresAt: Instant }) {
  if (facts.notBefore > facts.issuedAt)
    throw new BrokerError('window_not_open', 'The window has not opened yet.', {
      nextAction: 'Exchange when the window is open.',
    })
  const iat = toSeconds(facts.issuedAt)
  const exp = toSeconds(facts.expiresAt)
  if (exp <= iat)
    throw new BrokerError('window_closing', 'Less than a second of the window is left.', {
      nextAction: 'Ask for a new window.',
    })
  // `nbf` goes up, as no second before the opening is inside the window; but the second of the signing is never refused.
  return { iat, nbf: Math.min(Math.ceil(facts.notBefore / 1_000), iat), exp }
}
