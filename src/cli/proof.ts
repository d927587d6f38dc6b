// DPoP proofs (RFC 9449) with the key of a profile: whoever holds a credential that is bound to it must hold this key too.
import { createHash, createPrivateKey, sign } from 'node:crypto'
import type { Machine } from './machine.ts'
import type { PrivateJwk } from './profiles.ts'

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

const publicPart = ({ kty, crv, x, y }: PrivateJwk) => ({ crv, kty, x, y })

/** RFC 7638: the members in this order, nothing else. */
export const thumbprintOf = (key: PrivateJwk): string => sha256(JSON.stringify(publicPart(key)))

export function makeProof(
  key: PrivateJwk,
  about: { readonly method: string; readonly url: string; readonly token: string; readonly nonce: string | undefined },
  machine: Pick<Machine, 'now' | 'newId'>,
): string {
  const input = [
    base64url({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicPart(key) }),
    base64url({
      jti: machine.newId(),
      htm: about.method,
      htu: about.url,
      iat: Math.floor(machine.now() / 1_000),
      ath: sha256(about.token),
      ...(about.nonce === undefined ? {} : { nonce: about.nonce }),
    }),
  ].join('.')
  const privateKey = createPrivateKey({ key: { ...key }, format: 'jwk' })
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}
