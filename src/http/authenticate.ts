// Who is calling: one Authorization header, and at most one DPoP proof. The checks of token and proof are handed in; this file only
// reads the wire (RFC 6750 §2.1, RFC 9449 §7.1). Invariant: a token bound to a key is taken only as `DPoP` with a proof of that key.
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { Thumbprint } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import type { Answer, Incoming } from './endpoint.ts'

/** Who a token names, and the key it is bound to (its `cnf.jkt`), if any. */
export interface Authenticated {
  readonly caller: Caller
  readonly boundTo: Thumbprint | undefined
}
export interface Proof {
  readonly proof: string
  readonly method: string
  /** The public URL of the request, without query and fragment: what `htu` must be. */
  readonly url: string
  /** The token sent with it, whose hash `ath` must be; undefined at the token endpoint. */
  readonly accessToken: string | undefined
}

export interface Authentication {
  /** Rejects `unauthenticated` for a token that is not good here. `key` is the key proven in this request. */
  authenticate(token: string, key: Thumbprint | undefined): Promise<Authenticated>
  /** The key of a proof that holds and was never seen before. Rejects `unauthenticated`, with the fact `dpop: 'use_dpop_nonce'` where only the nonce is missing. */
  proveKey(proof: Proof): Promise<Thumbprint>
  /** The nonce that the next proof should carry; undefined where none is asked for. */
  dpopNonce(): string | undefined
  /** The broker's public URL, without a slash at its end. */
  readonly issuer: string
}

const CREDENTIALS = /^(bearer|dpop) ([A-Za-z0-9._~+/-]{1,8192}=*)$/i

/** The caller of a `/v1` request. Rejects `unauthenticated`. */
export async function callerOf(p: Authentication, incoming: Incoming): Promise<Caller> {
  const { scheme, token } = credentialsOf(incoming)
  const proof = proofOf(incoming)
  if (scheme === 'dpop' && proof === undefined) throw unauthenticated('A DPoP token needs a DPoP proof.')
  const url = `${p.issuer}${incoming.path}`
  const key = proof && (await p.proveKey({ proof, method: incoming.method, url, accessToken: token }))
  const { caller, boundTo } = await p.authenticate(token, key)
  if (boundTo === undefined && scheme === 'dpop') throw unauthenticated('This token is not bound to a key: send it as Bearer.')
  if (boundTo !== undefined && scheme !== 'dpop') throw unauthenticated('This token is bound to a key: send it as DPoP.')
  if (boundTo !== undefined && boundTo !== key) throw unauthenticated('This token is bound to another key.')
  // The key proven here, and no other, is the caller's key: whatever `authenticate` put there.
  return { ...caller, key }
}

function credentialsOf(incoming: Incoming): { readonly scheme: 'bearer' | 'dpop'; readonly token: string } {
  const sent = incoming.header('authorization')
  if (sent.length === 0) throw new BrokerError('unauthenticated', 'No token was sent.', SIGN_IN)
  const [, scheme, token] = CREDENTIALS.exec(sent.length === 1 ? (sent[0] ?? '') : '') ?? []
  if (scheme === undefined || token === undefined) throw unauthenticated('Send one Authorization header: Bearer or DPoP and a token.')
  return { scheme: scheme.toLowerCase() === 'dpop' ? 'dpop' : 'bearer', token }
}

/** The one DPoP proof of a request, if there is one. Two are refused (RFC 9449 §4.3). */
function proofOf(incoming: Incoming): string | undefined {
  const sent = incoming.header('dpop')
  if (sent.length > 1) throw unauthenticated('Send one DPoP proof.')
  return sent[0]
}

const SIGN_IN = { nextAction: 'Send a token of a trusted issuer in the Authorization header.', facts: { anonymous: true } }
const unauthenticated = (message: string) => new BrokerError('unauthenticated', message, { nextAction: SIGN_IN.nextAction })

const ALGS = 'algs="ES256 EdDSA"'

/** Adds to a 401 what RFC 9110 §11.6.1 wants: a challenge of each scheme; without an error code where no token was sent (RFC 6750 §3.1). */
export function challenged(p: Pick<Authentication, 'dpopNonce'>, thrown: unknown, answer: Answer): Answer {
  if (!isBrokerError(thrown, 'unauthenticated')) return answer
  const wantsNonce = thrown.facts.dpop === 'use_dpop_nonce'
  const error = wantsNonce ? 'use_dpop_nonce' : thrown.facts.dpop === undefined ? 'invalid_token' : 'invalid_dpop_proof'
  const nonce = p.dpopNonce()
  const anonymous = thrown.facts.anonymous === true
  return {
    ...answer,
    headers: {
      ...answer.headers,
      'WWW-Authenticate': anonymous
        ? [`DPoP ${ALGS}`, 'Bearer']
        : [`DPoP error="${error}", ${ALGS}`, wantsNonce ? 'Bearer' : 'Bearer error="invalid_token"'],
      ...(nonce === undefined ? {} : { 'DPoP-Nonce': nonce }),
    },
  }
}
