import { createHmac } from 'node:crypto'
import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { named } from '../../src/domain/ids.ts'
import { after, hours, type Instant, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { KEY_TIMES, rotate } from '../../src/tokens/key-ring.ts'
import { tokenSigner } from '../../src/tokens/sign.ts'
import { ownTokenVerifier } from '../../src/tokens/verify-own.ts'
import { freshRing, NOON } from '../support/keys.ts'
import { AUDIENCE, deployGrant, digestOf, GRANT } from '../support/token-grants.ts'

const ISSUER = 'https://writ.example'
const KEY = 'k'.repeat(43)
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

async function setUp() {
  let now: Instant = NOON
  const { ring, folder } = await freshRing(() => now)
  const sign = async (issuer = ISSUER) =>
    reveal(
      await tokenSigner({ ring, issuer, statusTtl: seconds(30) }).sign(
        {
          grant: deployGrant(),
          audience: AUDIENCE,
          subject: named.principal('webshop-deploy'),
          jti: 'jti-1',
          issuedAt: NOON,
          notBefore: NOON,
          expiresAt: after(NOON, minutes(15)),
          policyDigest: digestOf('y'),
        },
        KEY,
      ),
    )
  const verify = ownTokenVerifier({ ring, issuer: ISSUER, now: () => now })
  const key = ring.keys().signing('access', NOON)
  return { ring, folder, sign, verify, key, setNow: (to: Instant) => (now = to) }
}

describe('introspection of our own token', () => {
  it('finds grant, jti, audience, subject, key and end', async () => {
    const { sign, verify } = await setUp()
    expect(await verify(await sign())).toEqual({
      grant: GRANT,
      jti: 'jti-1',
      audience: AUDIENCE,
      subject: 'webshop-deploy',
      jkt: KEY,
      exp: after(NOON, minutes(15)),
    })
  })

  it('leaves the question whether it is alive to the caller: an expired token is still read', async () => {
    const { sign, verify, setNow } = await setUp()
    const token = await sign()
    setNow(after(NOON, hours(2)))
    expect(await verify(token)).toMatchObject({ grant: GRANT })
  })

  it('knows no token of another issuer, of another type, or of another purpose, though our key signed it', async () => {
    const { sign, verify, key, ring } = await setUp()
    expect(await verify(await sign('https://other.example'))).toBeUndefined()
    const payload = JSON.parse(Buffer.from((await sign()).split('.')[1] ?? '', 'base64url').toString())
    const resigned = (header: { alg: string; [name: string]: unknown }, claims: Record<string, unknown> = payload) =>
      new SignJWT(claims).setProtectedHeader(header).sign(key.privateKey)
    expect(await verify(await resigned({ alg: 'ES256', typ: 'at+jwt', kid: key.kid }))).toBeDefined()
    for (const header of [
      { alg: 'ES256', kid: key.kid },
      { alg: 'ES256', typ: 'JWT', kid: key.kid },
      { alg: 'ES256', typ: 'application/at+jwt', kid: key.kid },
      { alg: 'ES256', typ: 'secevent+jwt', kid: key.kid },
      { alg: 'ES256', typ: 'approval-receipt+jwt', kid: key.kid },
      { alg: 'ES256', typ: 'at+jwt' },
      { alg: 'ES256', typ: 'at+jwt', kid: 'x'.repeat(43) },
      { alg: 'ES256', typ: 'at+jwt', kid: key.kid, jku: 'https://evil.example' },
      { alg: 'ES256', typ: 'at+jwt', kid: key.kid, jwk: { ...key.publicJwk } },
      { kid: key.kid, alg: 'ES256', typ: 'at+jwt' },
    ])
      expect(await verify(await resigned(header))).toBeUndefined()
    const decision = ring.keys().signing('decision', NOON)
    const byDecisionKey = await new SignJWT(payload)
      .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: decision.kid })
      .sign(decision.privateKey)
    expect(await verify(byDecisionKey)).toBeUndefined()
  })

  it('knows no token that lacks a claim, has a second audience, or names two grants', async () => {
    const { sign, verify, key } = await setUp()
    const payload = JSON.parse(Buffer.from((await sign()).split('.')[1] ?? '', 'base64url').toString())
    const resigned = (claims: Record<string, unknown>) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: key.kid }).sign(key.privateKey)
    for (const claim of [
      'iss',
      'sub',
      'aud',
      'exp',
      'iat',
      'nbf',
      'jti',
      'client_id',
      'txn',
      'https://writ.dev/claims/grant',
    ])
      expect([claim, await verify(await resigned({ ...payload, [claim]: undefined }))]).toEqual([claim, undefined])
    expect(await verify(await resigned({ ...payload, aud: [AUDIENCE, 'https://other.example'] }))).toBeUndefined()
    expect(await verify(await resigned({ ...payload, txn: 'g0-bbcdefghijklmnopqrstuvwxyz' }))).toBeUndefined()
    expect(await verify(await resigned({ ...payload, txn: 'nonsense' }))).toBeUndefined()
  })

  it('knows no token with alg none, with an HMAC under the public key, or without a signature', async () => {
    const { sign, verify, key } = await setUp()
    const [header = '', payload = ''] = (await sign()).split('.')
    const hmacHeader = encode({ alg: 'HS256', typ: 'at+jwt', kid: key.kid })
    const pem = key.publicKey.export({ type: 'spki', format: 'pem' })
    const mac = createHmac('sha256', pem).update(`${hmacHeader}.${payload}`).digest('base64url')
    for (const token of [
      `${encode({ alg: 'none', typ: 'at+jwt', kid: key.kid })}.${payload}.`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${hmacHeader}.${payload}.${mac}`,
      `${header}.${payload}.${'A'.repeat(86)}`,
      '',
      '..',
      `${header}.${payload}.${'A'.repeat(86)}.x`,
      'a'.repeat(10_000),
    ])
      expect(await verify(token)).toBeUndefined()
  })

  it('accepts only identical bytes: no single character of a token can be changed', async () => {
    const { sign, verify } = await setUp()
    const token = await sign()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n'
    let accepted = 0
    for (let at = 0; at < token.length; at += 1) {
      const other = alphabet[(at * 7 + token.charCodeAt(at)) % alphabet.length] ?? 'A'
      if (other === token[at]) continue
      if ((await verify(token.slice(0, at) + other + token.slice(at + 1))) !== undefined) accepted += 1
    }
    // The last character carries four bits that a lax decoder ignores: every other spelling of them.
    for (const last of alphabet)
      if (last !== token.at(-1) && (await verify(token.slice(0, -1) + last)) !== undefined) accepted += 1
    for (const pad of ['=', '==', ' ', '\n', 'A']) if ((await verify(token + pad)) !== undefined) accepted += 1
    expect(accepted).toBe(0)
  })

  it('gives a signature in its other form (n - s) the same jti, so that no list by jti is escaped', async () => {
    const { sign, verify } = await setUp()
    const token = await sign()
    const [header, payload, signature = ''] = token.split('.')
    const bytes = Buffer.from(signature, 'base64url')
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const twin = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
    const read = await verify(`${header}.${payload}.${twin.toString('base64url')}`)
    expect([undefined, 'jti-1']).toContain(read?.jti)
  })

  it('forgets a retired key when it is no longer published, and a removed one at the next reading', async () => {
    const { sign, verify, ring, folder, setNow } = await setUp()
    const token = await sign()
    const { next } = await rotate(folder, { now: NOON })
    await ring.reload()
    expect(await verify(token)).toBeDefined()
    setNow(after(after(next.signsFrom, KEY_TIMES.longestToken), KEY_TIMES.jwksMaxAge))
    expect(await verify(token)).toBeUndefined()
  })
})
