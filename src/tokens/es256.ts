// ES256 as our tokens have it (RFC 7518 §3.4), reckoned at once: a detour over other threads costs more than the signature.
import { type KeyObject, sign, verify } from 'node:crypto'

const FORM = { dsaEncoding: 'ieee-p1363' } as const

/** A member of a compact JWS, in base64url. */
export const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The compact JWS (RFC 7515 §7.1) over a header as it was encoded. */
export function signedJws(header: string, claims: object, key: KeyObject): string {
  const input = `${header}.${encoded(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input, 'latin1'), { key, ...FORM }).toString('base64url')}`
}

/** Whether the signature of this compact JWS of three base64url parts holds. False, too, for a key of another kind. */
export function holdsUnder(jws: string, key: KeyObject): boolean {
  const end = jws.lastIndexOf('.')
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false
  const signature = Buffer.from(jws.slice(end + 1), 'base64url')
  return verify('sha256', Buffer.from(jws.slice(0, end), 'latin1'), { key, ...FORM }, signature)
}

/** The payload's bytes. */
export const payloadOf = (jws: string): Buffer =>
  Buffer.from(jws.slice(jws.indexOf('.') + 1, jws.lastIndexOf('.')), 'base64url')
