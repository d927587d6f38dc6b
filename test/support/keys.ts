// Signing keys in a temporary folder, and DPoP keys of clients, for tests.
import { generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint, type JWK, type JWTPayload, SignJWT } from 'jose'
import { type Instant, instant } from '../../src/domain/instant.ts'
import { ensureKeyRing, type KeyRing, type KeyTimes, loadKeyRing } from '../../src/tokens/key-ring.ts'

export const NOON: Instant = instant(Date.parse('2026-11-21T12:00:00.000Z'))

/** A folder with first keys, and the ring read from it. */
export async function freshRing(
  now: () => Instant = () => NOON,
  times?: KeyTimes,
): Promise<{ folder: string; ring: KeyRing }> {
  const folder = join(mkdtempSync(join(tmpdir(), 'writ-keys-')), 'keys')
  await ensureKeyRing(folder)
  return { folder, ring: await loadKeyRing(folder, times === undefined ? { now } : { now, times }) }
}

export interface ClientKey {
  readonly privateKey: KeyObject
  readonly jwk: JWK
  readonly alg: 'ES256' | 'EdDSA'
  readonly jkt: string
}
export async function clientKey(alg: 'ES256' | 'EdDSA' = 'ES256'): Promise<ClientKey> {
  const pair = alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const jwk = pair.publicKey.export({ format: 'jwk' }) as JWK
  return { privateKey: pair.privateKey, jwk, alg, jkt: await calculateJwkThumbprint(jwk) }
}

export interface ProofClaims {
  readonly jti?: unknown
  readonly htm?: unknown
  readonly htu?: unknown
  readonly iat?: unknown
  readonly nonce?: unknown
  readonly ath?: unknown
}
/** A DPoP proof made by jose, an implementation that is not ours. */
export const proof = (key: ClientKey, claims: ProofClaims, header: Record<string, unknown> = {}): Promise<string> =>
  new SignJWT(claims as JWTPayload)
    .setProtectedHeader({ typ: 'dpop+jwt', alg: key.alg, jwk: key.jwk, ...header })
    .sign(key.privateKey)

export const athOf = (token: string): string => hash('sha256', token, 'base64url')
