// Reads an access token of the broker (RFC 9068): form, key, signature, then every claim. Invariant: nothing of it is believed before the
// signature holds under a key that the broker publishes, and a claim that is missing, of another kind, or about something unknown refuses.
// Whether its grant still lives is asked elsewhere, of knowledge that is newer than the token.
import { compactVerify } from 'jose'
import type { KeySource } from './keys.ts'
import { type About, type Refused, refused } from './refusal.ts'
import { compactJws, isObject, isSeconds, isText, type JsonObject, jsonObject } from './strict-jws.ts'

export const GRANT_CLAIM = 'https://writ.dev/claims/grant'
export const CHANGE_TYPE = 'https://writ.dev/schemas/change/v1'

/** What a credential says, after every check. Times are milliseconds since 1970. */
export interface Credential {
  readonly grant: string
  readonly jti: string
  /** In whose name: the person or workload that the executor acts for, mostly the executor itself. */
  readonly subject: string
  readonly executor: string
  readonly audience: string
  readonly issuedAt: number
  readonly notBefore: number
  readonly expiresAt: number
  /** The thumbprint of the key that it is bound to; undefined for a Bearer token. */
  readonly jkt: string | undefined
  readonly entitlement: string
  readonly actions: readonly string[]
  readonly scope: readonly string[]
  readonly window: { readonly opensAt: number; readonly closesAt: number }
  readonly intentDigest: string
  readonly planDigest: string | undefined
  readonly policyDigest: string
  readonly ticket: string | undefined
  /** Where its status stands, if the token says so. */
  readonly status: { readonly uri: string; readonly index: number } | undefined
  /** Every claim as it was signed. */
  readonly claims: JsonObject
}
export interface TokenRules {
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly keys: KeySource
  /** How far the clocks may differ; never more life than that. */
  readonly toleranceMs: number
  /** A token that lives longer is refused: what is known of revocations reaches back so far. */
  readonly longestLifeMs: number
}

/** The credential, not yet judged by time. Never rejects for what is in the token. */
export async function readToken(token: string, rules: TokenRules): Promise<Credential | Refused> {
  const jws = compactJws(token, ['alg', 'typ', 'kid'])
  if (jws === undefined) return refused('bad_token', 'The credential is not one signed token in its one spelling.')
  const { alg, typ, kid } = jws.header
  if (alg !== 'ES256' || typ !== 'at+jwt' || !isText(kid, 128))
    return refused('bad_token', 'The credential is not an access token signed with ES256.')
  const key = await rules.keys.key(kid)
  if (key === 'unknown') return refused('stale', 'The keys of the broker cannot be read.')
  if (key === undefined)
    return refused('bad_token', 'The credential was signed with a key that the broker does not publish.')
  const holds = await compactVerify(token, key, { algorithms: ['ES256'] }).then(
    () => true,
    () => false,
  )
  if (!holds) return refused('bad_token', 'The signature of the credential does not hold.')
  const claims = jsonObject(jws.payloadText)
  if (claims === undefined) return refused('bad_token', 'The credential holds no readable claims.')
  return credentialOf(claims, rules)
}

function credentialOf(claims: JsonObject, rules: TokenRules): Credential | Refused {
  const { iss, sub, aud, jti, txn, client_id: executor, iat, nbf, exp, cnf } = claims
  if (iss !== rules.issuer) return refused('bad_token', 'The credential is of another issuer.')
  const grant = claims[GRANT_CLAIM]
  if (!isObject(grant) || !isText(grant.id, 128) || grant.id !== txn || !isText(jti, 128))
    return refused('bad_token', 'The credential names no grant, or no id of its own.')
  const about: About = { grant: grant.id, jti }
  const bad = (what: string): Refused => refused('bad_token', `The credential ${what}.`, about)
  // Exactly one audience: a list would be good somewhere else too.
  if (!isText(aud) || !rules.audiences.includes(aud))
    return refused('wrong_audience', 'The credential is for another audience.', about)
  if (!isText(sub) || !isText(executor)) return bad('names no subject or no executor')
  if (!isSeconds(iat) || !isSeconds(nbf) || !isSeconds(exp)) return bad('lacks one of its times')
  if (exp <= iat || nbf > exp) return bad('has times that cannot be')
  if ((exp - Math.min(iat, nbf)) * 1_000 > rules.longestLifeMs) return bad('lives longer than is accepted here')
  const jkt = keyOf(cnf)
  if (jkt === 'other') return bad('is bound by something that is not known here')
  const { intent_digest, policy_digest, plan_digest, ticket } = grant
  if (!isText(intent_digest) || !isText(policy_digest)) return bad('lacks the digest of intent or policy')
  if (plan_digest !== undefined && !isText(plan_digest)) return bad('has a plan digest that is no text')
  if (ticket !== undefined && !isText(ticket)) return bad('has a ticket that is no text')
  const detail = detailOf(claims.authorization_details, grant.id, aud)
  if (detail === undefined) return bad('does not say what was granted')
  const status = statusOf(claims.status)
  if (status === 'other') return bad('has a status that cannot be read')
  return {
    grant: grant.id,
    jti,
    subject: sub,
    executor,
    audience: aud,
    issuedAt: iat * 1_000,
    notBefore: nbf * 1_000,
    expiresAt: exp * 1_000,
    jkt,
    ...detail,
    intentDigest: intent_digest,
    planDigest: plan_digest,
    policyDigest: policy_digest,
    ticket,
    status,
    claims,
  }
}

/** RFC 7800, RFC 9449 §6. A confirmation that is not known here must not be passed over. */
function keyOf(cnf: unknown): string | undefined | 'other' {
  if (cnf === undefined) return undefined
  if (!isObject(cnf) || Object.keys(cnf).length !== 1) return 'other'
  return typeof cnf.jkt === 'string' && /^[A-Za-z0-9_-]{43}$/.test(cnf.jkt) ? cnf.jkt : 'other'
}

/** What was granted: exactly one object of ours (RFC 9396), about this grant and this audience. */
function detailOf(details: unknown, grant: string, audience: string) {
  if (!Array.isArray(details) || details.length !== 1) return undefined
  const [detail] = details as readonly unknown[]
  if (!isObject(detail) || detail.type !== CHANGE_TYPE || detail.identifier !== grant) return undefined
  const { entitlement, actions, scope, locations, window } = detail
  if (!isText(entitlement) || !areTexts(actions) || !areTexts(scope) || !areTexts(locations)) return undefined
  if (!locations.includes(audience) || !isObject(window)) return undefined
  const [opensAt, closesAt] = [window.opensAt, window.closesAt].map(instantOf)
  if (opensAt === undefined || closesAt === undefined) return undefined
  return { entitlement, actions, scope, window: { opensAt, closesAt } }
}
const areTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/** RFC 3339 in UTC, as the broker writes it. */
export function instantOf(text: unknown): number | undefined {
  if (typeof text !== 'string' || !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

function statusOf(status: unknown): Credential['status'] | 'other' {
  if (status === undefined) return undefined
  const list = isObject(status) ? status.status_list : undefined
  if (!isObject(list)) return 'other'
  const { uri, idx } = list
  return isText(uri) && typeof idx === 'number' && Number.isSafeInteger(idx) && idx >= 0 ? { uri, index: idx } : 'other'
}

/**
 * Whether it is good at this moment by its own times and its window. `atLeast`: what time it is at the broker at the earliest, where that
 * is known. It only shortens, and no tolerance is given against it.
 */
export function timely(
  credential: Credential,
  {
    now,
    atLeast,
    toleranceMs,
  }: { readonly now: number; readonly atLeast: number | undefined; readonly toleranceMs: number },
): Refused | undefined {
  const { grant, jti, issuedAt, notBefore, expiresAt, window } = credential
  const about: About = { grant, jti }
  const earliest = atLeast ?? Number.NEGATIVE_INFINITY
  const isPast = (end: number): boolean => now >= end + toleranceMs || earliest >= end
  const isAhead = (begin: number): boolean => now + toleranceMs < begin && earliest < begin
  if (isPast(expiresAt)) return refused('expired', 'The credential has expired.', about)
  if (isAhead(notBefore) || isAhead(issuedAt))
    return refused('not_yet_valid', 'The credential is not valid yet.', about)
  if (isPast(window.closesAt) || isAhead(window.opensAt))
    return refused('outside_window', 'The window of the grant is not open.', about)
  return undefined
}
