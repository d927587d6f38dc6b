// The one place where a signature of somebody else is verified, with every pin set: algorithm, key, issuer, audience, type, times.
// A caller cannot leave a pin out, and every kind of bad token is `unauthenticated`.
import { hash, type KeyObject } from 'node:crypto'
import { BrokerError } from '../domain/errors.ts'
import { type Duration, type Instant, toSeconds } from '../domain/instant.ts'
import { memory } from '../domain/remembered.ts'
import { type CompactJws, parseCompactJws } from './compact-jws.ts'
import type { Algorithm } from './fields.ts'
import type { KeysFor } from './key-store.ts'
import { signatureHolds } from './signature.ts'
import type { Json } from './strict-json.ts'

export type Claims = { readonly [claim: string]: Json }

/** What is demanded of a token. */
export interface Pins {
  /** Who must have made it, compared exactly. */
  readonly issuer: string
  /** For whom it must be; nobody else may be named beside. */
  readonly audience: string
  readonly algorithms: readonly Algorithm[]
  /** Accepted `typ`, exactly; `absent` for none. */
  readonly types: readonly string[]
  /** Header members that are not looked at. */
  readonly ignoredHeaders: readonly string[]
  /** Claims that must be there besides iss, aud and exp. */
  readonly required: readonly string[]
  /** Since `iat`; needs `iat` to be required. */
  readonly maximalAge: Duration
  /** From `iat` to `exp` where there is an `iat`, and from now to `exp` always. */
  readonly maximalLife: Duration
  /** At most 5 s; widens verification only. */
  readonly clockTolerance: Duration
  readonly keys: KeysFor
}

/** A token as it was read. Nothing of it is verified but what `provenBy` says. */
export interface ReadToken extends CompactJws {
  readonly text: string
  /** The hash of its whole text. */
  readonly name: string
  /** The key under which its signature was found to hold. */
  provenBy: KeyObject | undefined
}

/** The parts of a token, nothing verified. Throws `unauthenticated`. */
export function readToken(text: string): ReadToken {
  const parsed = parseCompactJws(text)
  if (typeof parsed === 'string') throw badToken(`The token cannot be read: ${parsed}.`)
  return { ...parsed, text, name: hash('sha256', text, 'base64url'), provenBy: undefined }
}

/**
 * What tokens that held say, by the hash of their whole text: a caller shows the same one many times. Whatever may change is asked each time. The
 * text itself, which is a secret, is not kept.
 */
export interface TokenMemory {
  /** As `readToken`. */
  read(text: string): ReadToken
  /** For a token that has just met every pin. */
  keep(token: ReadToken): void
}
const MOST_TOKENS = 5_000

export function tokenMemory(most = MOST_TOKENS): TokenMemory {
  const known = memory<string, Omit<ReadToken, 'text'>>(most)
  return {
    read: (text) => {
      const before = known.get(hash('sha256', text, 'base64url'))
      return before === undefined ? readToken(text) : { ...before, text }
    },
    keep: ({ text: _, ...said }) => {
      if (known.get(said.name)?.provenBy !== said.provenBy) known.set(said.name, said)
    },
  }
}

/**
 * The claims of a token that meets every pin at `now`. Throws `unauthenticated` for every other. A signature that held under the very key that
 * is found for it again is not reckoned twice; everything else is asked anew.
 * RFC 8725 (all of §3), RFC 7519 §4.1; an `aud` array is accepted only when it has the one member (RFC 7523 §3 read strictly).
 */
export async function verifyToken(token: ReadToken, pins: Pins, now: Instant): Promise<Claims> {
  const { algorithm, kid, type, otherHeaders, claims } = token
  if (!pins.algorithms.includes(algorithm))
    throw badToken(`The token's algorithm ${algorithm} is not accepted from its issuer.`)
  if (otherHeaders.some((header) => !pins.ignoredHeaders.includes(header)))
    throw badToken('The token has header members that are not accepted.')
  if (!pins.types.includes(type)) throw badToken(`The token is of the wrong type; accepted: ${pins.types.join(', ')}.`)
  checkClaims(claims, pins)
  checkTimes(claims, pins, now)
  const keys = await pins.keys((set) => set.find(kid, algorithm) !== undefined)
  const key = keys.find(kid, algorithm)
  if (key === undefined) throw badToken('The token was signed with a key that its issuer does not publish.')
  if (token.provenBy !== key) {
    checkSignature(token, key)
    token.provenBy = key
  }
  return claims
}

function checkSignature({ text, algorithm }: ReadToken, key: KeyObject): void {
  let holds: boolean
  try {
    holds = signatureHolds(text, algorithm, key)
  } catch (thrown) {
    // Of the crypto layer, for a key that does not fit: no difference to whoever asks, and the cause is kept for the log.
    throw new BrokerError('unauthenticated', 'The signature of the token does not hold.', { cause: thrown })
  }
  if (!holds) throw badToken('The signature of the token does not hold.')
}

/** Before any cryptography: what a claim says against its own token needs no key to be believed. */
function checkClaims(claims: Claims, pins: Pins): void {
  for (const claim of ['iss', 'aud', 'exp', ...pins.required])
    if (!Object.hasOwn(claims, claim)) throw badToken(`The token has no '${claim}' claim.`)
  if (claims.iss !== pins.issuer) throw badToken('The token is of another issuer.')
  const { aud, sub } = claims
  const several: readonly Json[] = Array.isArray(aud) ? aud : []
  const sole = several.length === 1 ? several[0] : aud
  if (sole !== pins.audience)
    throw badToken(
      'The token is not for this broker alone.',
      'Ask its issuer for a token whose only audience is the broker.',
    )
  if (sub !== undefined && (typeof sub !== 'string' || sub === '' || sub.length > 255))
    throw badToken("The token's subject is not valid.")
}

function checkTimes(claims: Claims, pins: Pins, now: Instant): void {
  const exp = timeOf(claims, 'exp')
  const iat = timeOf(claims, 'iat')
  const nbf = timeOf(claims, 'nbf')
  const second = toSeconds(now)
  const tolerance = toSeconds(pins.clockTolerance)
  const life = toSeconds(pins.maximalLife)
  if (exp === undefined) throw badToken("The token has no 'exp' claim.")
  if (iat !== undefined && iat > second + tolerance) throw badToken('The token was issued in the future.', CLOCKS)
  if (iat !== undefined && (exp - iat > life || exp <= iat))
    throw badToken(`The token's life is not within ${life} seconds.`)
  if (exp <= second - tolerance) throw badToken('The token is expired.', 'Get a fresh token and try again.')
  if (exp > second + life + tolerance) throw badToken(`The token's end is more than ${life} seconds away.`)
  if (nbf !== undefined && nbf > second + tolerance) throw badToken('The token is not valid yet.', CLOCKS)
  const age = toSeconds(pins.maximalAge)
  if (pins.required.includes('iat') && iat !== undefined && second - iat - tolerance > age)
    throw badToken('The token is expired or too old.', 'Get a fresh token and try again.')
}

/** Whole seconds since the epoch, or undefined for a claim that is not there. RFC 7519 §2 allows fractions; no issuer needs them. */
function timeOf(claims: Claims, claim: string): number | undefined {
  const value = claims[claim]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw badToken(`The token's '${claim}' claim is not a time.`)
  return value
}

const CLOCKS = 'Compare the clocks of the issuer and the broker.'

const badToken = (message: string, nextAction = 'Get a token for this broker from a trusted issuer.'): BrokerError =>
  new BrokerError('unauthenticated', message, { nextAction })
