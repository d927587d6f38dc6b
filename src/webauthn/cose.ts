// Keys as authenticators write them (COSE, RFC 9053), to SPKI and back.
import { createPublicKey, type KeyObject, type webcrypto } from 'node:crypto'
import { isoCBOR } from '@simplewebauthn/server/helpers'
import type { PasskeyAlgorithm } from '../domain/assertion.ts'
import { serves } from './keys.ts'

const KTY = 1
const ALG = 3
const CURVES: Readonly<Record<number, string>> = { 1: 'P-256', 6: 'Ed25519' }

/** A COSE key as SPKI; undefined for what is not a key of this algorithm. Throws for what cannot be read. */
export function spkiOfCose(cose: Uint8Array<ArrayBuffer>, algorithm: PasskeyAlgorithm): string | undefined {
  const key = isoCBOR.decodeFirst<Map<number, unknown>>(cose)
  const bytes = (label: number): string => {
    const value = key.get(label)
    return value instanceof Uint8Array ? Buffer.from(value).toString('base64url') : ''
  }
  if (key.get(ALG) !== algorithm) return undefined
  const crv = CURVES[Number(key.get(-1))] ?? ''
  const jwk: webcrypto.JsonWebKey | undefined =
    key.get(KTY) === 2
      ? { kty: 'EC', crv, x: bytes(-2), y: bytes(-3) }
      : key.get(KTY) === 1
        ? { kty: 'OKP', crv, x: bytes(-2) }
        : key.get(KTY) === 3
          ? { kty: 'RSA', n: bytes(-1), e: bytes(-2) }
          : undefined
  if (jwk === undefined) return undefined
  const made = createPublicKey({ key: jwk, format: 'jwk' })
  return serves(made, algorithm) ? made.export({ format: 'der', type: 'spki' }).toString('base64url') : undefined
}

/** The same key as authenticators write it. */
export function coseOf(key: KeyObject, algorithm: PasskeyAlgorithm): Uint8Array<ArrayBuffer> {
  const jwk = key.export({ format: 'jwk' })
  const bytes = (member: string | undefined) => new Uint8Array(Buffer.from(member ?? '', 'base64url'))
  const of: readonly (readonly [number, number | Uint8Array])[] =
    algorithm === -7
      ? [
          [KTY, 2],
          [ALG, algorithm],
          [-1, 1],
          [-2, bytes(jwk.x)],
          [-3, bytes(jwk.y)],
        ]
      : algorithm === -8
        ? [
            [KTY, 1],
            [ALG, algorithm],
            [-1, 6],
            [-2, bytes(jwk.x)],
          ]
        : [
            [KTY, 3],
            [ALG, algorithm],
            [-1, bytes(jwk.n)],
            [-2, bytes(jwk.e)],
          ]
  return isoCBOR.encode(new Map(of))
}
