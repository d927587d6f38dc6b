// POST /oauth2/introspect (RFC 7662): a resource server asks whether a token still holds. Invariant: whatever the reason, "no" is the
// same bytes, so that nobody learns from it; and when we cannot know, the answer is an error, never "no" and never "yes".
import type { Broker, Introspected } from '../broker/broker.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { GrantId, Thumbprint } from '../domain/ids.ts'
import { type Instant, toSeconds } from '../domain/instant.ts'
import { FORM, json, type OAuthAnswer, type OAuthEndpoint, type OAuthRequest } from './endpoint.ts'
import { OAuthError, refuse } from './errors.ts'
import { type Form, formOf } from './form.ts'

/** The facts of a token that this broker group signed: what the signature, type and issuer checks left. */
export interface OwnToken {
  readonly grant: GrantId
  readonly jti: string
  readonly audience: string
  readonly subject: string
  /** The key it is bound to; undefined for a Bearer token. */
  readonly jkt: string | undefined
  readonly exp: Instant
}
export interface ResourceServer {
  readonly id: string
  readonly audiences: readonly string[]
}
export interface IntrospectPorts {
  readonly broker: Pick<Broker, 'introspect'>
  /** The resource server whose `private_key_jwt` this is (RFC 7523), used for the first time. Rejects `unauthenticated`. */
  clientAssertion(assertion: string, clientId: string | undefined): Promise<ResourceServer>
  /**
   * The resource server whose access token this is, and whether it is bound to a key. Rejects `unauthenticated`, also where it is bound to
   * another key than `key`, the one proven in this request.
   */
  serverByToken(
    token: string,
    key: Thumbprint | undefined,
  ): Promise<{ readonly server: ResourceServer; readonly bound: boolean }>
  readonly proofs: {
    /** The key of a proof that holds; `spend` rejects where it was used before. Both reject `unauthenticated`. */
    check(proof: {
      readonly proof: string
      readonly method: string
      readonly url: string
      readonly accessToken?: string
    }): Promise<{ readonly key: Thumbprint; spend(): Promise<void> }>
  }
  /** Undefined for anything that is not a token of ours, whatever is wrong with it; expiry is judged here. */
  verifyOwn(token: string): Promise<OwnToken | undefined>
  /** What was granted, as one RFC 9396 object: the same as in the token. */
  grantedDetail(grant: Grant, audience: string): object
  /** Redis's time as sampled; throws `clock_untrusted`. */
  now(): Instant
  readonly issuer: string
}

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const INACTIVE: OAuthAnswer = { status: 200, media: 'application/json', text: '{"active":false}' }

export const introspectEndpoint = (p: IntrospectPorts): OAuthEndpoint => ({
  method: 'POST',
  path: '/oauth2/introspect',
  name: 'introspect',
  takes: FORM,
  answer: (request) => introspect(p, request),
  refuse,
})

async function introspect(p: IntrospectPorts, request: OAuthRequest): Promise<OAuthAnswer> {
  const form = await formOf(request)
  const server = await serverOf(p, request, form)
  const token = await p.verifyOwn(form.need('token'))
  const now = p.now()
  if (token === undefined || !server.audiences.includes(token.audience) || now >= token.exp) return INACTIVE
  const found = await p.broker.introspect({ grant: token.grant, jti: token.jti, audience: token.audience })
  return found.active ? active(p, token, found) : INACTIVE
}

function active(p: IntrospectPorts, token: OwnToken, { grant, mint }: Introspected & { active: true }): OAuthAnswer {
  // The signer never dates a token before its window nor after its signing, so both are the second of the issue.
  const issuedSeconds = toSeconds(mint.issuedAt)
  return json(200, {
    active: true,
    iss: p.issuer,
    sub: token.subject,
    aud: token.audience,
    exp: toSeconds(token.exp),
    iat: issuedSeconds,
    nbf: issuedSeconds,
    jti: token.jti,
    client_id: grant.ask.intent.executor.principal,
    token_type: token.jkt === undefined ? 'Bearer' : 'DPoP',
    ...(token.jkt === undefined ? {} : { cnf: { jkt: token.jkt } }),
    txn: grant.id,
    authorization_details: [p.grantedDetail(grant, token.audience)],
    grant_status: grant.head.status,
  })
}

/** RFC 7662 §2.1: never without authentication; RFC 6749 §5.2: failing it is 401 `invalid_client`. */
async function serverOf(p: IntrospectPorts, request: OAuthRequest, form: Form): Promise<ResourceServer> {
  const assertion = form.one('client_assertion')
  const sent = request.header('authorization')
  try {
    // Two ways of authenticating at once are one too many (RFC 6749 §2.3).
    if (form.one('client_secret') !== undefined || (assertion !== undefined && sent.length > 0)) throw failed()
    if (sent.length > 0) return await byToken(p, request, sent)
    if (assertion === undefined || form.one('client_assertion_type') !== ASSERTION_TYPE) throw failed()
    return await p.clientAssertion(assertion, form.one('client_id'))
  } catch (thrown) {
    throw isBrokerError(thrown, 'unauthenticated') ? failed(thrown.cause) : thrown
  }
}

const failed = (cause?: unknown): OAuthError =>
  new OAuthError('invalid_client', 'Authenticate with private_key_jwt, or with an access token of your account.', {
    cause,
    // RFC 9110 §11.6.1: a 401 says how; RFC 6749 §5.2.
    headers: { 'WWW-Authenticate': 'Bearer' },
  })

const CREDENTIALS = /^(bearer|dpop) ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i

/** By an access token: as `Bearer`, or as `DPoP` with a proof where it is bound to a key (RFC 9449 §7.1); neither is taken for the other. */
async function byToken(p: IntrospectPorts, request: OAuthRequest, sent: readonly string[]): Promise<ResourceServer> {
  const [, scheme = '', token] = CREDENTIALS.exec(sent.length === 1 ? (sent[0] ?? '') : '') ?? []
  const [proof, ...more] = request.header('dpop')
  const bindsKey = scheme.toLowerCase() === 'dpop'
  if (token === undefined || more.length > 0 || bindsKey !== (proof !== undefined)) throw failed()
  const url = `${p.issuer}${request.path}`
  const proven =
    proof === undefined ? undefined : await p.proofs.check({ proof, method: request.method, url, accessToken: token })
  const { server, bound } = await p.serverByToken(token, proven?.key)
  if (bound !== bindsKey) throw failed()
  await proven?.spend()
  return server
}
