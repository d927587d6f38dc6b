// Checks a DPoP proof (RFC 9449 §4.3): whoever sends this request holds the key that the token is bound to, made the proof for this very
// method, URL and token just now, and never used it before. Errs to refusal; when it cannot be known whether it was used, it is refused.
import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, compactVerify } from 'jose'
import type { Machine } from './machine.ts'
import { type About, type Refused, refused } from './refusal.ts'
import type { UseOnce } from './replays.ts'
import { compactJws, isObject, isSeconds, isText, jsonObject } from './strict-jws.ts'

/** How old a proof may be. */
const FRESH_MS = 60_000
const LONGEST = 4_096
const REMEMBERED_KEYS = 5_000
const JTI = /^[\x21-\x7e]{1,128}$/

export interface Proven {
  readonly proofs: readonly string[]
  readonly method: string
  /** The URL as clients see it, from configuration and the request's own target: never from the Host header. */
  readonly url: string
  readonly token: string
  /** The thumbprint that the token names. */
  readonly jkt: string
  readonly about: About
}
export interface ProofChecks {
  /** Undefined when the proof holds; it is used up then. Never rejects for what is in the proof. */
  check(request: Proven): Promise<Refused | undefined>
}
interface ProofKey {
  readonly publicKey: KeyObject
  readonly alg: 'ES256' | 'EdDSA'
  readonly jkt: string
}

export function proofChecks(options: {
  readonly machine: Pick<Machine, 'now'>
  readonly useOnce: UseOnce
  readonly toleranceMs: number
}): ProofChecks {
  const { machine, useOnce, toleranceMs } = options
  const keyOf = keyCache()
  const check: ProofChecks['check'] = async ({ proofs, method, url, token, jkt, about }) => {
    const no = (why: string): Refused => refused('no_proof', `The proof ${why}.`, about)
    const [proof] = proofs
    if (proof === undefined)
      return refused('no_proof', 'The credential is bound to a key, and there is no proof of it.', about)
    // RFC 9449 §4.3, check 1. A second field that came joined by a comma is no character of a proof.
    if (proofs.length !== 1) return refused('no_proof', 'There is more than one proof.', about)
    const jws = compactJws(proof, ['typ', 'alg', 'jwk'], LONGEST)
    if (jws === undefined || jws.header.typ !== 'dpop+jwt') return no('is not one DPoP proof in its one spelling')
    const key = await keyOf(jws.headerText, jws.header)
    if (typeof key === 'string') return no(key)
    const holds = await compactVerify(proof, key.publicKey, { algorithms: [key.alg] }).then(
      () => true,
      () => false,
    )
    if (!holds) return no('has a wrong signature')
    const { jti, htm, htu, iat, ath } = jsonObject(jws.payloadText) ?? {}
    if (!isText(jti) || !JTI.test(jti) || !isSeconds(iat)) return no('lacks its id or its time')
    if (htm !== method) return no('was made for another method')
    const target = normalUrl(url)
    if (target === undefined || !isText(htu, 4_096) || normalUrl(htu) !== target) return no('was made for another URL')
    if (ath !== hash('sha256', token, 'base64url')) return no('was made for another credential')
    const now = machine.now()
    if (iat * 1_000 > now + toleranceMs) return no('is dated in the future')
    if (now - iat * 1_000 > FRESH_MS + toleranceMs) return no('is too old')
    if (key.jkt !== jkt)
      return refused('wrong_key', 'The proof was made with another key than the credential is bound to.', about)
    // Last, so that only who holds the key of a good token fills the memory. By the id: one proof has several valid spellings.
    const first = await useOnce(`${key.jkt}:${jti}`, iat * 1_000 + FRESH_MS + 2 * toleranceMs).catch(() => undefined)
    if (first === undefined) return refused('stale', 'It cannot be known whether the proof was used before.', about)
    return first ? undefined : refused('replay', 'The proof was used before.', about)
  }
  return { check }
}

/**
 * Scheme, host, port and path, normalised as RFC 3986 §6.2.2 and §6.2.3 say, without query and fragment (RFC 9449 §4.3, check 9).
 * Undefined for what is no http URL, names a user, or has dot segments: a router might read those otherwise than a proof's maker.
 */
export function normalUrl(text: string): string | undefined {
  const [bare = ''] = text.split(/[?#]/, 1)
  const parts = /^(https?):\/\/([^/\\@\s]+)((?:\/[^\\\s]*)?)$/i.exec(bare)
  if (parts === null || !URL.canParse(bare)) return undefined
  const path = parts[3] === '' || parts[3] === undefined ? '/' : parts[3]
  if (path.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))) return undefined
  const { protocol, host } = new URL(bare)
  return `${protocol}//${host}${plainPath(path)}`
}

/** Escapes of characters that need none are read, the hex digits of others are capital, and what must be escaped is. */
const plainPath = (path: string): string =>
  path
    .replace(/[^\x21-\x7e]|["<>^`{|}]/gu, (character) =>
      encodeURIComponent(character.isWellFormed() ? character : '\ufffd'),
    )
    .replace(/%[0-9a-f]{2}/gi, (escaped) => {
      const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
      return /[A-Za-z0-9._~-]/.test(character) ? character : escaped.toUpperCase()
    })

/** Reading a key costs as much as a signature, and a client sends the same header each time. Bounded: the oldest goes first. */
function keyCache(): (text: string, header: Readonly<Record<string, unknown>>) => Promise<ProofKey | string> {
  const cache = new Map<string, ProofKey>()
  return async (text, header) => {
    const known = cache.get(text)
    if (known !== undefined) return known
    const key = await readKey(header)
    if (typeof key === 'string') return key
    const oldest = cache.size >= REMEMBERED_KEYS ? cache.keys().next().value : undefined
    if (oldest !== undefined) cache.delete(oldest)
    cache.set(text, key)
    return key
  }
}

/** One public key of a kind that fits the algorithm, or in words why not. RFC 7518 §6: the members of private and symmetric keys. */
async function readKey({ alg, jwk }: Readonly<Record<string, unknown>>): Promise<ProofKey | string> {
  if (alg !== 'ES256' && alg !== 'EdDSA') return 'is not signed with ES256 or EdDSA'
  if (!isObject(jwk)) return 'has no public key'
  if (['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'].some((name) => Object.hasOwn(jwk, name)))
    return 'shows a private key'
  const { kty, crv, x, y } = jwk
  const fits = alg === 'ES256' ? kty === 'EC' && crv === 'P-256' : kty === 'OKP' && crv === 'Ed25519'
  if (!fits || !isText(x, 64)) return 'has a key that does not fit its algorithm'
  try {
    const bare = alg === 'ES256' ? { kty: 'EC', crv: 'P-256', x, y: String(y) } : { kty: 'OKP', crv: 'Ed25519', x }
    const publicKey = createPublicKey({ key: bare, format: 'jwk' })
    // Of the key as read, so that one key has one thumbprint however its numbers were spelled.
    const read = publicKey.export({ format: 'jwk' })
    const { kty: kind, crv: curve, x: first, y: second } = read
    if (kind === undefined || curve === undefined || first === undefined) return 'has no readable public key'
    const members = { kty: kind, crv: curve, x: first, ...(second === undefined ? {} : { y: second }) }
    return { publicKey, alg, jkt: await calculateJwkThumbprint(members) }
  } catch {
    return 'has no readable public key'
  }
}
