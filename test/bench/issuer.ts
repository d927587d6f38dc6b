// An issuer whose tokens the measured broker trusts by a key file, and who can make tens of thousands of them at once.
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly jwk: { readonly kty: string; readonly crv: string; readonly x: string; readonly y: string }
  /** RFC 7638. */
  readonly thumbprint: string
}
export function keyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv = '', kty = '', x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const jwk = { crv, kty, x, y }
  return { privateKey, jwk, thumbprint: createHash('sha256').update(JSON.stringify(jwk)).digest('base64url') }
}

/** ES256. */
export function signed(header: object, claims: object, { privateKey }: Pick<KeyPair, 'privateKey'>): string {
  const input = `${base64url({ alg: 'ES256', ...header })}.${base64url(claims)}`
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

export const nowSeconds = (): number => Math.floor(Date.now() / 1_000)

/** A client assertion (RFC 7523) that nobody has shown. */
export const assertionOf = (client: string, audience: string, key: KeyPair, kid?: string): string =>
  signed(
    { typ: 'JWT', ...(kid === undefined ? {} : { kid }) },
    { iss: client, sub: client, aud: audience, jti: randomUUID(), iat: nowSeconds(), exp: nowSeconds() + 120 },
    key,
  )

/** A proof (RFC 9449) that nobody has shown. */
export const proofOf = (method: string, url: string, key: KeyPair, accessToken?: string): string =>
  signed(
    { typ: 'dpop+jwt', jwk: key.jwk },
    {
      jti: randomUUID(),
      htm: method,
      htu: url,
      iat: nowSeconds(),
      ...(accessToken === undefined ? {} : { ath: createHash('sha256').update(accessToken).digest('base64url') }),
    },
    key,
  )
