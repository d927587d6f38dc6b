// Public keys of somebody else, from a JWK Set: imported once, found by key id and algorithm. A key that could serve two purposes,
// that is weak, or whose private half was published is left out, so that a token made with it meets no key at all.
import { createPublicKey, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import type { Algorithm } from './fields.ts'
import { isJsonObject, type Json, parseStrictJson } from './strict-json.ts'

export interface KeySet {
  /** The one key for this key id and algorithm; without a key id, the only key that fits the algorithm. Undefined when none or several do. */
  find(kid: string | undefined, algorithm: Algorithm): KeyObject | undefined
  readonly size: number
  /** What was left out, and why. */
  readonly ignored: readonly string[]
}

export const JWKS_BYTES = 64 * 1024
export const JWKS_KEYS = 20

/** Reads a JWK Set (RFC 7517 §5). Throws for text that is no JWK Set, or has more than 20 keys, or none that can be used. */
export function parseKeySet(text: string): KeySet {
  const value = parseStrictJson(text, { bytes: JWKS_BYTES, depth: 8, keys: 1_000 })
  const list = isJsonObject(value) ? value.keys : undefined
  if (!Array.isArray(list)) throw new TypeError('this is not a JWK Set')
  const jwks: readonly Json[] = list
  if (list.length > JWKS_KEYS) throw new RangeError(`a JWK Set may have ${JWKS_KEYS} keys`)
  const keys: {
    readonly kid: string | undefined
    readonly algorithms: readonly Algorithm[]
    readonly key: KeyObject
  }[] = []
  const ignored: string[] = []
  for (const [position, jwk] of jwks.entries()) {
    const made = importKey(jwk)
    if (typeof made === 'string') ignored.push(`key ${position + 1}: ${made}`)
    else keys.push(made)
  }
  if (keys.length === 0) throw new TypeError(['this JWK Set has no key that can be used', ...ignored].join('; '))
  return {
    size: keys.length,
    ignored,
    find: (kid, algorithm) => {
      const fitting = keys.filter(
        (entry) => entry.algorithms.includes(algorithm) && (kid === undefined || entry.kid === kid),
      )
      return fitting.length === 1 ? fitting[0]?.key : undefined
    },
  }
}

const JWK = z.object({
  kty: z.string(),
  kid: z.string().max(256).optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  alg: z.string().optional(),
  crv: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  x: z.string().optional(),
  y: z.string().optional(),
})
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const

/** The key, or why it cannot be used. Only public members reach the import, so that x5u, x5c and the like mean nothing. */
function importKey(
  value: Json,
): { readonly kid: string | undefined; readonly algorithms: readonly Algorithm[]; readonly key: KeyObject } | string {
  const parsed = JWK.safeParse(value)
  if (!parsed.success || !isJsonObject(value)) return 'not a JWK'
  if (PRIVATE.some((member) => Object.hasOwn(value, member)))
    return 'it is symmetric, or its private half was published'
  const { kty, kid, use, key_ops: operations, alg, crv, n, e, x, y } = parsed.data
  if (use !== undefined && use !== 'sig') return 'not for signatures'
  if (operations !== undefined && !operations.includes('verify')) return 'not for signatures'
  const possible = algorithmsOf(kty, crv)
  const algorithms = alg === undefined ? possible : possible.filter((one) => one === alg)
  if (algorithms.length === 0) return 'its type or algorithm is not one of ours'
  try {
    const key = createPublicKey({ format: 'jwk', key: { kty, ...given({ crv, n, e, x, y }) } })
    const bits = key.asymmetricKeyDetails?.modulusLength
    // Above 8192 bits a verification costs more than an honest issuer asks for.
    if (kty === 'RSA' && (bits === undefined || bits < 2_048 || bits > 8_192)) return 'an RSA key has 2048 to 8192 bits'
    return { kid, algorithms, key }
  } catch {
    return 'not a valid key'
  }
}

const given = (members: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(members).filter((entry): entry is [string, string] => entry[1] !== undefined))

function algorithmsOf(kty: string, crv: string | undefined): readonly Algorithm[] {
  if (kty === 'RSA') return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
  if (kty === 'EC') return crv === 'P-256' ? ['ES256'] : crv === 'P-384' ? ['ES384'] : crv === 'P-521' ? ['ES512'] : []
  return kty === 'OKP' && crv === 'Ed25519' ? ['EdDSA', 'Ed25519'] : []
}
