// POST /oauth2/token: token exchange (RFC 8693). The subject token says who redeems, the RAR object which grant, the DPoP proof with
// which key. Invariant: everything that could refuse is asked before the exchange, so a refused request takes no use and makes nothing.
import type { Broker } from '../broker/broker.ts'
import { paid } from '../broker/budget.ts'
import type { Limits } from '../broker/ports.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { GrantId, Thumbprint } from '../domain/ids.ts'
import { between, type Instant, toSeconds } from '../domain/instant.ts'
import type { Caller } from '../domain/principal.ts'
import { reveal } from '../domain/secret.ts'
import { identifierIn } from './details.ts'
import { FORM, json, type OAuthAnswer, type OAuthEndpoint, type OAuthRequest } from './endpoint.ts'
import { asOAuthError, notRedeemable, OAuthError, refuse } from './errors.ts'
import { type Form, formOf } from './form.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:'
export const ACCESS_TOKEN = `${TOKEN_TYPE}access_token`
const SUBJECT_TYPES = new Set([`${TOKEN_TYPE}jwt`, `${TOKEN_TYPE}id_token`, ACCESS_TOKEN])
const VAULT_WRAPPED = 'https://writ.dev/token-type/vault-wrapped'

interface ProvenKey {
  readonly key: Thumbprint
  spend(): Promise<void>
}
export interface TokenPorts {
  readonly broker: Pick<Broker, 'exchange'>
  /** Rejects `unauthenticated` for a subject token that is not good here, or is bound to another key than `key`, the one proven in this request. */
  authenticate(token: string, key: Thumbprint | undefined): Promise<Caller>
  readonly proofs: {
    /**
     * The key of a proof that holds; `spend` rejects where it was used before. Both reject `unauthenticated`; the fact `oauth` says
     * `use_dpop_nonce` where only the nonce is missing.
     */
    check(proof: { readonly proof: string; readonly method: string; readonly url: string }): Promise<ProvenKey>
    freshNonce(): string | undefined
  }
  /** Strict JSON: duplicates refused, depth and size bounded. Throws for text that is not. */
  parseJson(text: string): unknown
  /** What was granted, as one RFC 9396 object: the same as in the token. */
  grantedDetail(grant: Grant, audience: string): object
  /** For `expires_in` only; never throws, because by then the credential is made. */
  nowToShow(): Instant
  readonly limits: Limits
  /** The broker's public URL, without a slash at its end. */
  readonly issuer: string
}

export const tokenEndpoint = (p: TokenPorts): OAuthEndpoint => ({
  method: 'POST',
  path: '/oauth2/token',
  name: 'token',
  takes: FORM,
  answer: (request) => exchangeToken(p, request),
  refuse,
})

async function exchangeToken(p: TokenPorts, request: OAuthRequest): Promise<OAuthAnswer> {
  const form = await formOf(request)
  const { subject, id } = askedFor(p, form)
  const proven = await proofOf(p, request)
  const caller = await subjectOf(p, subject, proven?.key)
  await aboutProof(p, async () => proven?.spend())
  const grantUri = `${p.issuer}/v1/grants/${id}`
  try {
    await paid(p.limits, caller.principal.id, 'requests')
    return await redeem(p, caller, id, form)
  } catch (thrown) {
    throw asOAuthError(thrown, grantUri)
  }
}

/** What is asked for, by the form alone. */
function askedFor(p: TokenPorts, form: Form): { readonly subject: string; readonly id: GrantId } {
  const grantType = form.need('grant_type')
  if (grantType !== TOKEN_EXCHANGE)
    throw new OAuthError('unsupported_grant_type', `The only grant type here is ${TOKEN_EXCHANGE}.`)
  const subject = form.need('subject_token')
  if (!SUBJECT_TYPES.has(form.need('subject_token_type'))) {
    throw new OAuthError('invalid_request', 'subject_token_type must be the jwt, id_token or access_token type.')
  }
  // An actor we ignored would be impersonation by default (RFC 8693 §1.1): refused until delegation is built.
  if (form.one('actor_token') !== undefined || form.one('actor_token_type') !== undefined) {
    throw new OAuthError('invalid_request', 'actor_token is not supported.')
  }
  if (form.one('scope') !== undefined)
    throw new OAuthError('invalid_request', 'scope is not supported: the grant says what is allowed.')
  const wanted = form.one('requested_token_type') ?? ACCESS_TOKEN
  if (wanted === VAULT_WRAPPED)
    throw new OAuthError('invalid_request', 'Wrapped Vault tokens are not supported yet: use /v1/grants/{id}/exchange.')
  if (wanted !== ACCESS_TOKEN && wanted !== `${TOKEN_TYPE}jwt`)
    throw new OAuthError('invalid_request', `requested_token_type must be ${ACCESS_TOKEN}.`)
  const details = form.one('authorization_details')
  if (details === undefined) {
    throw new OAuthError(
      'invalid_authorization_details',
      'authorization_details is missing: it names the approved grant by its identifier.',
    )
  }
  return { subject, id: identifierIn(details, p.parseJson) }
}

/** The key of the one DPoP proof, where there is one (RFC 9449 §5). */
async function proofOf(p: TokenPorts, request: OAuthRequest): Promise<ProvenKey | undefined> {
  const [proof, ...more] = request.header('dpop')
  if (proof === undefined) return undefined
  if (more.length > 0) throw new OAuthError('invalid_dpop_proof', 'Send one DPoP proof.')
  const url = `${p.issuer}${request.path}`
  return aboutProof(p, () => p.proofs.check({ proof, method: request.method, url }))
}

/** What is wrong with a proof, in the words of RFC 9449. */
async function aboutProof<T>(p: TokenPorts, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (!isBrokerError(thrown, 'unauthenticated')) throw thrown
    const more = { headers: nonceHeader(p), cause: thrown.cause }
    if (thrown.facts.oauth === 'use_dpop_nonce')
      throw new OAuthError('use_dpop_nonce', 'Repeat with the nonce of the DPoP-Nonce header.', more)
    throw new OAuthError('invalid_dpop_proof', thrown.message, more)
  }
}

/** A fresh nonce for the next proof (RFC 9449 §8.2). A clock that is not trusted costs the nonce, never the answer. */
function nonceHeader(p: TokenPorts): Readonly<Record<string, string>> {
  try {
    const nonce = p.proofs.freshNonce()
    return nonce === undefined ? {} : { 'DPoP-Nonce': nonce }
  } catch (thrown) {
    if (isBrokerError(thrown)) return {}
    throw thrown
  }
}

/** A bad subject token is `invalid_request`, not `invalid_grant` (RFC 8693 §2.2.2). */
async function subjectOf(p: TokenPorts, token: string, key: Thumbprint | undefined): Promise<Caller> {
  try {
    return { ...(await p.authenticate(token, key)), key }
  } catch (thrown) {
    if (!isBrokerError(thrown, 'unauthenticated')) throw thrown
    throw new OAuthError('invalid_request', `The subject token is not good here. ${thrown.message}`, {
      cause: thrown.cause,
    })
  }
}

/** Kind and audience, before anything is made. */
function checkTarget(grant: Grant, caller: Caller, form: Form): void {
  const { executor } = grant.ask.intent
  // Only the executor with its key learns more about a grant than that it cannot redeem it.
  if (executor.principal !== caller.principal.id || (executor.key !== undefined && executor.key !== caller.key))
    throw notRedeemable()
  const targets = [...form.all('resource'), ...form.all('audience')]
  if (targets.some((target) => target !== grant.ask.audience)) {
    throw new OAuthError('invalid_target', 'resource and audience, where given, must be the audience of the grant.')
  }
  if (grant.ask.intent.credential.kind !== 'jwt') {
    throw new OAuthError(
      'invalid_request',
      'This grant gives no token but a Vault secret: use /v1/grants/{id}/exchange.',
    )
  }
}

async function redeem(p: TokenPorts, caller: Caller, id: GrantId, form: Form): Promise<OAuthAnswer> {
  const accepts = (grant: Grant) => checkTarget(grant, caller, form)
  const { grant, credential } = await p.broker.exchange(caller, id, undefined, accepts)
  if (credential.kind !== 'jwt') throw new TypeError('a jwt grant gave another kind of credential')
  const now = p.nowToShow()
  return json(
    200,
    {
      access_token: reveal(credential.token),
      issued_token_type: ACCESS_TOKEN,
      token_type: credential.tokenType,
      expires_in: credential.expiresAt > now ? toSeconds(between(now, credential.expiresAt)) : 0,
      authorization_details: [p.grantedDetail(grant, credential.audience)],
      grant_id: grant.id,
    },
    // RFC 6749 §5.1 wants Pragma too.
    { Pragma: 'no-cache', ...(caller.key === undefined ? {} : nonceHeader(p)) },
  )
}
