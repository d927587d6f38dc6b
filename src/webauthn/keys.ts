// Public keys of passkeys, and whether one of them signed some bytes. Invariant: a key serves exactly the one algorithm that it was registered
// for, so none can be passed off as another.
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { PasskeyAlgorithm } from '../domain/assertion.ts'

/** Strictly: whatever has a second spelling is not base64url. */
export function bytesOf(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/** The key, if it is one of this algorithm. Throws for what is no key at all. */
export function publicKeyOf(spki: string, algorithm: PasskeyAlgorithm): KeyObject | undefined {
  const der = bytesOf(spki)
  if (der === undefined) return undefined
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  return serves(key, algorithm) ? key : undefined
}

export function serves(key: KeyObject, algorithm: PasskeyAlgorithm): boolean {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (algorithm === -7) return key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1'
  if (algorithm === -8) return key.asymmetricKeyType === 'ed25519'
  return algorithm === -257 && key.asymmetricKeyType === 'rsa' && modulusLength >= 2_048 && modulusLength <= 8_192
}

export const isSignedBy = (
  key: KeyObject,
  algorithm: PasskeyAlgorithm,
  signed: { readonly bytes: Buffer; readonly signature: Buffer },
): boolean => verify(algorithm === -8 ? null : 'sha256', signed.bytes, key, signed.signature)
