// Whether the signature of a compact JWS holds under this key, reckoned at once: a detour over other threads costs more than a signature. The
// algorithm is the one that was pinned and the key one that fits it; both were chosen before, neither is taken from the token here.
import { constants, type KeyObject, verify } from 'node:crypto'
import type { Algorithm } from './fields.ts'

const { RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = constants
const pss = { padding: RSA_PKCS1_PSS_PADDING, saltLength: RSA_PSS_SALTLEN_DIGEST }
/** RFC 7518 §3.4: r and s side by side, each of the length of the curve; another length does not hold. */
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const

/** RFC 7518 §3.1, RFC 8037 §3.1: hash and form of the signature. */
const SCHEMES = {
  ES256: ['sha256', ecdsa],
  ES384: ['sha384', ecdsa],
  ES512: ['sha512', ecdsa],
  RS256: ['sha256', {}],
  RS384: ['sha384', {}],
  RS512: ['sha512', {}],
  PS256: ['sha256', pss],
  PS384: ['sha384', pss],
  PS512: ['sha512', pss],
  EdDSA: [null, {}],
  Ed25519: [null, {}],
} as const satisfies Record<Algorithm, readonly [string | null, object]>

/** `token` has the three parts that the strict reader found. Throws for a key that does not fit the algorithm. */
export function signatureHolds(token: string, algorithm: Algorithm, key: KeyObject): boolean {
  const end = token.lastIndexOf('.')
  const [digest, form] = SCHEMES[algorithm]
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  return verify(digest, Buffer.from(token.slice(0, end), 'latin1'), { key, ...form }, signature)
}
