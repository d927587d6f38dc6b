// Checks a DPoP proof (RFC 9449 §4.3): whoever sends this HTTP request holds the private key, made the proof for this very method and URL
// just now, and never used it before. It errs to refusal; when it cannot be known whether a proof was used before, nothing goes on.
import { createHmac, createPublicKey, hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { z } from 'zod'
import { BrokerError } from '../domain/errors.ts'
import type { Thumbprint } from '../domain/ids.ts'
import { after, type Duration, type Instant, instant, seconds } from '../domain/instant.ts'
import { memory } from '../domain/remembered.ts'
import { holdsUnder } from './es256.ts'

export const DPOP_ALGORITHMS = ['ES256', 'EdDSA'] as const

/** How old a proof may be, and how far a client's clock may run ahead. */
const FRESH: Duration = seconds(60)
const TOLERANCE: Duration = seconds(5)
/** A nonce is good for the period in which it was given and the next one. */
const NONCE_PERIOD: Duration = seconds(60)
const LONGEST = 4_096
const REMEMBERED_KEYS = 5_000
const FORM = /^([A-Za-z0-9_-]{1,1024})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

/** True the first time a key is used, until `until`. Rejects `store_unavailable` when that cannot be known. */
export type UseOnce = (key: string, until: Instant) => Promise<boolean>

export interface Proven {
  readonly proof: string
  readonly method: string
  /** The public URL of what was asked, from configuration and route: never from the Host header. */
  readonly url: string
  /** The access token that came with it: the proof must name its hash. */
  readonly accessToken?: string
}
export interface CheckedProof {
  /** The thumbprint of the proven key. */
  readonly key: Thumbprint
  /**
   * Marks the proof as used. Rejects `unauthenticated` where it was used before or has become too old, `store_unavailable` when that cannot be known. To be called when it is
   * known who asks, and before anything is done for them: whoever is nobody leaves no mark in the store.
   */
  spend(): Promise<void>
}
export interface ProofChecker {
  /**
   * Whether the proof holds; not whether it was used before. Rejects `unauthenticated`, with `facts.oauth` saying `invalid_dpop_proof`, or
   * `use_dpop_nonce` when the client shall try again with `freshNonce()`.
   */
  check(request: Proven): Promise<CheckedProof>
  /** For the `DPoP-Nonce` header of every answer; undefined where nonces are not configured. */
  freshNonce(): string | undefined
}
export interface ProofOptions {
  readonly now: () => Instant
  readonly useOnce: UseOnce
  /** `key`: at least 32 bytes that all brokers share. `required`: a proof without nonce is refused, so that none can be made ahead. */
  readonly nonce?: { readonly key: Uint8Array; readonly required: boolean }
}

const Jwk = z.object({ kty: z.string(), crv: z.string(), x: z.string(), y: z.string().optional() })
const Header = z.strictObject({
  typ: z.literal('dpop+jwt'),
  alg: z.enum(DPOP_ALGORITHMS),
  jwk: z.record(z.string(), z.unknown()),
})
const Claims = z.object({
  jti: z.string().regex(/^[\x21-\x7e]{1,128}$/),
  htm: z.string(),
  htu: z.string(),
  iat: z.int().min(0),
  nonce: z.string().optional(),
  ath: z.string().optional(),
})
type Claims = z.infer<typeof Claims>
interface ProofKey {
  readonly publicKey: KeyObject
  readonly alg: (typeof DPOP_ALGORITHMS)[number]
  readonly jkt: Thumbprint
}

export function proofChecker(options: ProofOptions): ProofChecker {
  const { now, useOnce } = options
  const keyOf = keyCache()
  const nonces = options.nonce && nonceMaker(options.nonce.key)
  return {
    freshNonce: () => nonces?.at(now()),
    check: async (request) => {
      const [, header, payload, signature] = (request.proof.length <= LONGEST && FORM.exec(request.proof)) || []
      // A second DPoP header arrives joined by a comma, which is no character of a proof.
      if (header === undefined || payload === undefined || signature === undefined)
        throw refused('is not one compact JWT')
      // One spelling only: bits left over in the last character would make another text of the same proof.
      if (![header, payload, signature].every(isCanonical)) throw refused('is not canonical base64url')
      const key = await keyOf(header)
      if (!isSigned(request.proof, key)) throw refused('has a wrong signature')
      const claims = Claims.safeParse(parseStrictly(payload)).data ?? refuse('lacks jti, htm, htu or iat')
      checkTarget(claims, request)
      const untilFrom = (at: Instant): Instant => freshUntil(claims, at, nonces, options.nonce?.required ?? false)
      untilFrom(now())
      return {
        key: key.jkt,
        spend: async () => {
          // Asked again: finding out who asks may have taken long, and a mark of one that is too old may be gone already.
          const until = untilFrom(now())
          if (!(await useOnce(`dpop:${key.jkt}:${claims.jti}`, until))) throw refused('was used before')
        },
      }
    },
  }
}

/** By the algorithm that fits the key; both were read from the header together. */
function isSigned(proof: string, { alg, publicKey }: ProofKey): boolean {
  if (alg === 'ES256') return holdsUnder(proof, publicKey)
  const end = proof.lastIndexOf('.')
  const signature = Buffer.from(proof.slice(end + 1), 'base64url')
  return verify(null, Buffer.from(proof.slice(0, end), 'latin1'), publicKey, signature)
}

/** RFC 9449 §4.3, checks 8, 9 and 12: method and URL of this request, and the token that came with it. */
function checkTarget(claims: Claims, request: Proven): void {
  if (claims.htm !== request.method) throw refused('was made for another method')
  if (claims.htu.split(/[?#]/, 1)[0] !== request.url) throw refused('was made for another URL')
  if (request.accessToken !== undefined && claims.ath !== hash('sha256', request.accessToken, 'base64url'))
    throw refused('was made for another access token')
}

/** Until when the proof could be shown again, and so must be remembered. A valid nonce dates it instead of the client's clock. */
function freshUntil(claims: Claims, now: Instant, nonces: Nonces | undefined, required: boolean): Instant {
  if (nonces !== undefined && claims.nonce !== undefined) {
    if (!nonces.accepts(claims.nonce, now)) throw nonceWanted()
    return after(now, seconds((2 * NONCE_PERIOD + TOLERANCE) / 1_000))
  }
  if (required) throw nonceWanted()
  if (claims.iat > 8_640_000_000_000) throw refused('is dated outside the calendar')
  const made = instant(claims.iat * 1_000)
  if (made > now + TOLERANCE) throw refused('is dated in the future')
  if (now - made > FRESH + TOLERANCE) throw refused('is too old')
  // Twice the tolerance: the store's clock and ours may differ by one.
  return after(made, seconds((FRESH + 2 * TOLERANCE) / 1_000))
}

const refused = (why: string): BrokerError =>
  new BrokerError('unauthenticated', `The DPoP proof ${why}.`, {
    nextAction: 'Send one fresh proof for this method and URL, signed with ES256 or EdDSA.',
    facts: { oauth: 'invalid_dpop_proof' },
  })
const refuse = (why: string): never => {
  throw refused(why)
}
const nonceWanted = (): BrokerError =>
  new BrokerError('unauthenticated', 'The DPoP proof needs the nonce of this answer.', {
    nextAction: 'Repeat with a new proof that holds the nonce of the DPoP-Nonce header.',
    facts: { oauth: 'use_dpop_nonce' },
  })

const isCanonical = (text: string): boolean => Buffer.from(text, 'base64url').toString('base64url') === text

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The JSON object in this segment; undefined when it is none, or names a member twice: readers differ in which one they take. */
function parseStrictly(segment: string): unknown {
  try {
    const text = utf8.decode(Buffer.from(segment, 'base64url'))
    const value: unknown = JSON.parse(text)
    // In valid JSON a string before a colon is a member name, so fewer members than names means that one was named twice.
    const names = text.match(/"(?:[^"\\]|\\.)*"(?:\s*:)?/g)?.filter((token) => token.endsWith(':')).length ?? 0
    return names === membersIn(value) ? value : undefined
  } catch {
    return undefined
  }
}
const membersIn = (value: unknown): number =>
  typeof value === 'object' && value !== null
    ? Object.values(value).reduce(
        (sum: number, each) => sum + membersIn(each),
        Array.isArray(value) ? 0 : Object.keys(value).length,
      )
    : 0

/** Reading a key costs as much as a signature, and a client sends the same header each time. */
function keyCache(): (header: string) => Promise<ProofKey> {
  const cache = memory<string, ProofKey>(REMEMBERED_KEYS)
  return async (header) => {
    const known = cache.get(header)
    if (known !== undefined) return known
    const key = await readKey(header)
    cache.set(header, key)
    return key
  }
}

/** The header names one public key of a kind that fits the algorithm; anything private in it, or any other header, is refused. */
async function readKey(segment: string): Promise<ProofKey> {
  const header = Header.safeParse(parseStrictly(segment)).data ?? refuse('has another header than typ, alg and jwk')
  const { alg, jwk } = header
  // RFC 7518 §6: members of private and of symmetric keys.
  if (['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'].some((name) => name in jwk))
    throw refused('shows a private key')
  const { kty, crv, x, y } = Jwk.safeParse(jwk).data ?? refuse('has no public key')
  const fits = alg === 'ES256' ? kty === 'EC' && crv === 'P-256' && y !== undefined : kty === 'OKP' && crv === 'Ed25519'
  if (!fits) throw refused('has a key that does not fit its algorithm')
  // Only these members: what else stands there (kid, use) changes neither key nor thumbprint.
  const bare = alg === 'ES256' ? { kty, crv, x, y: y ?? '' } : { kty, crv, x }
  try {
    const publicKey = createPublicKey({ key: bare, format: 'jwk' })
    // The thumbprint is taken from the key as read, so that one key has one thumbprint however its numbers were spelled.
    const jkt = await calculateJwkThumbprint({ ...(publicKey.export({ format: 'jwk' }) as { kty: string }) })
    return { publicKey, alg, jkt: jkt as Thumbprint }
  } catch {
    throw refused('has no readable public key')
  }
}

interface Nonces {
  at(now: Instant): string
  accepts(nonce: string, now: Instant): boolean
}
/** Stateless: an HMAC over the number of the period, so that every broker knows every other's. */
function nonceMaker(key: Uint8Array): Nonces {
  if (key.length < 32) throw new RangeError('the nonce key needs at least 32 bytes')
  const of = (period: number) => createHmac('sha256', key).update(`writ/dpop-nonce/v1:${period}`).digest('base64url')
  const periodOf = (now: Instant) => Math.floor(now / NONCE_PERIOD)
  return {
    at: (now) => of(periodOf(now)),
    accepts: (nonce, now) =>
      [0, 1].some((back) => {
        const wanted = Buffer.from(of(periodOf(now) - back))
        const given = Buffer.from(nonce)
        return given.length === wanted.length && timingSafeEqual(given, wanted)
      }),
  }
}
