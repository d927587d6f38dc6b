// Who is calling: one Authorization header, and at most one DPoP proof. The checks of token and proof are handed in; this file only
// reads the wire (RFC 6750 §2.1, RFC 9449 §7.1). Invariant: a token bound to a key is taken only as `DPoP` with a proof of that key.
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { Thumbprint } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import type { Answer, Incoming } from './endpoint.ts'

export interface Proof {
  readonly proof: string
  readonly method: string
  /** The public URL of the request, without query and fragment: what `htu` must be. */
  readonly url: string
  /** The token sent with it, whose hash `ath` must be. */
  readonly accessToken?: string
}

export interface Authentication {
  /** Rejects `unauthenticated` for a token that is not good here, or is bound to another key than `key`, the one proven in this request. */
  authenticate(token: string, key: Thumbprint | undefined): Promise<Caller>
  readonly proofs: {
    /**
     * The key of a proof that holds; `spend` rejects where it was used before. Both reject `unauthenticated`; the fact `oauth` says
     * `use_dpop_nonce` where only the nonce is missing.
     */
    check(proof: Proof): Promise<{ readonly key: Thumbprint; spend(): Promise<void> }>
    /** The nonce that the next proof should carry; undefined where none is asked for. */
    freshNonce(): string | undefined
  }
  /** The broker's public URL, without a slash at its end. */
  readonly issuer: string
}

const CREDENTIALS = /^(bearer|dpop) ([A-Za-z0-9._~+/-]{1,8192}=*)$/i

/** The caller of a `/v1` request. Rejects `unauthenticated`. */
export async function callerOf(p: Authentication, incoming: Incoming): Promise<Caller> {
  const { scheme, token } = credentialsOf(incoming)
  const proof = proofOf(incoming)
  if (proof === undefined) {
    if (scheme === 'dpop') throw unauthenticated('A DPoP token needs a DPoP proof.')
    return p.authenticate(token, undefined)
  }
  const url = `${p.issuer}${incoming.path}`
  const { key, spend } = await p.proofs.check({ proof, method: incoming.method, url, accessToken: token })
  const caller = await p.authenticate(token, key)
  // RFC 9449 §7.1 and §7.2: the scheme says whether the token is bound, so that neither is ever taken for the other.
  const bound = isBound(token)
  if (bound && scheme !== 'dpop') throw unauthenticated('This token is bound to a key: send it as DPoP.')
  if (!bound && scheme === 'dpop') throw unauthenticated('This token is not bound to a key: send it as Bearer.')
  await spend()
  return { ...caller, key }
}

/** Whether a token that has been verified carries a confirmation (RFC 7800). */
function isBound(verified: string): boolean {
  const claims: unknown = JSON.parse(Buffer.from(verified.split('.')[1] ?? '', 'base64url').toString('utf8'))
  return typeof claims === 'object' && claims !== null && Object.hasOwn(claims, 'cnf')
}

function credentialsOf(incoming: Incoming): { readonly scheme: 'bearer' | 'dpop'; readonly token: string } {
  const sent = incoming.header('authorization')
  if (sent.length === 0) throw new BrokerError('unauthenticated', 'No token was sent.', SIGN_IN)
  const [, scheme, token] = CREDENTIALS.exec(sent.length === 1 ? (sent[0] ?? '') : '') ?? []
  if (scheme === undefined || token === undefined)
    throw unauthenticated('Send one Authorization header: Bearer or DPoP and a token.')
  return { scheme: scheme.toLowerCase() === 'dpop' ? 'dpop' : 'bearer', token }
}

/** The one DPoP proof of a request, if there is one. Two are refused (RFC 9449 §4.3). */
function proofOf(incoming: Incoming): string | undefined {
  const sent = incoming.header('dpop')
  if (sent.length > 1) throw unauthenticated('Send one DPoP proof.')
  return sent[0]
}

const SIGN_IN = {
  nextAction: 'Send a token of a trusted issuer in the Authorization header.',
  facts: { anonymous: true },
}
const unauthenticated = (message: string) =>
  new BrokerError('unauthenticated', message, { nextAction: SIGN_IN.nextAction })

const ALGS = 'algs="ES256 EdDSA"'
/** RFC 9470 §3: the token is good, but this wants the person. Another token does not help: the problem document says what does. */
const STEP_UP = 'error="insufficient_user_authentication", acr_values="phr"'

/** Adds to a 401 what RFC 9110 §11.6.1 wants: a challenge of each scheme; without an error code where no token was sent (RFC 6750 §3.1). */
export function challenged(p: Authentication, thrown: unknown, answer: Answer): Answer {
  if (isBrokerError(thrown, 'step_up_required')) {
    const challenges = [`DPoP ${STEP_UP}, ${ALGS}`, `Bearer ${STEP_UP}`]
    return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': challenges, ...nonceHeader(p) } }
  }
  if (!isBrokerError(thrown, 'unauthenticated')) return answer
  const { oauth, anonymous } = thrown.facts
  const ofProof = oauth === 'use_dpop_nonce' || oauth === 'invalid_dpop_proof' ? oauth : undefined
  const challenges =
    anonymous === true
      ? [`DPoP ${ALGS}`, 'Bearer']
      : [
          `DPoP error="${ofProof ?? 'invalid_token'}", ${ALGS}`,
          ofProof === undefined ? 'Bearer error="invalid_token"' : 'Bearer',
        ]
  return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': challenges, ...nonceHeader(p) } }
}

/** A fresh nonce for the next proof (RFC 9449 §8.2). A clock that is not trusted costs the nonce, never the answer. */
export function nonceHeader(p: Authentication): { readonly 'DPoP-Nonce'?: string } {
  try {
    const nonce = p.proofs.freshNonce()
    return nonce === undefined ? {} : { 'DPoP-Nonce': nonce }
  } catch (thrown) {
    if (isBrokerError(thrown)) return {}
    throw thrown
  }
}
