import { createLocalJWKSet, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import type { TokenFacts } from '../../src/broker/ports.ts'
import { named } from '../../src/domain/ids.ts'
import { after, hours, type Instant, instant, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { jwks } from '../../src/tokens/jwks.ts'
import { rotate } from '../../src/tokens/key-ring.ts'
import { tokenSigner } from '../../src/tokens/sign.ts'
import { freshRing, NOON } from '../support/keys.ts'
import { AUDIENCE, deployGrant, deployIntent, digestOf, GRANT } from '../support/token-grants.ts'

const ISSUER = 'https://writ.example'
const facts = (over: Partial<TokenFacts> = {}): TokenFacts => ({
  grant: deployGrant(),
  audience: AUDIENCE,
  subject: named.principal('webshop-deploy'),
  jti: 'jti-1',
  issuedAt: NOON,
  notBefore: NOON,
  expiresAt: after(NOON, minutes(15)),
  policyDigest: digestOf('y'),
  ...over,
})
const KEY = 'k'.repeat(43)

async function claimsOf(over: Partial<TokenFacts> = {}, key: string | undefined = KEY, at?: Instant) {
  const { ring } = await freshRing()
  const token = reveal(await tokenSigner({ ring, issuer: ISSUER, statusTtl: seconds(30) }).sign(facts(over), key))
  const keys = createLocalJWKSet({ keys: jwks(ring, NOON).document.keys.map((each) => ({ ...each })) })
  // jose is the independent reader, with every pin that RFC 9068 §4 asks for.
  const verified = await jwtVerify(token, keys, {
    typ: 'at+jwt',
    algorithms: ['ES256'],
    issuer: ISSUER,
    audience: AUDIENCE,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'client_id'],
    currentDate: new Date(at ?? over.issuedAt ?? NOON),
  })
  return { token, header: verified.protectedHeader, claims: verified.payload }
}

describe('an access token', () => {
  it('is an RFC 9068 token that names executor, grant, key and exactly what was granted', async () => {
    const { header, claims } = await claimsOf()
    expect(Object.keys(header).sort()).toEqual(['alg', 'kid', 'typ'])
    expect(claims).toEqual({
      iss: ISSUER,
      sub: 'webshop-deploy',
      aud: AUDIENCE,
      iat: NOON / 1_000,
      nbf: NOON / 1_000,
      exp: NOON / 1_000 + 900,
      jti: 'jti-1',
      client_id: 'webshop-deploy',
      txn: GRANT,
      cnf: { jkt: KEY },
      status: { status_list: { idx: 7, uri: `${ISSUER}/status/0-0` } },
      authorization_details: [
        {
          type: 'https://writ.dev/schemas/change/v1',
          identifier: GRANT,
          entitlement: 'webshop-deploy',
          locations: [AUDIENCE],
          actions: ['deploy'],
          scope: ['commit:0123456789abcdef0123456789abcdef01234567'],
          datatypes: [],
          environment: 'production',
          change_class: 'normal',
          window: { opensAt: '2026-11-21T12:00:00.000Z', closesAt: '2026-11-21T13:00:00.000Z' },
        },
      ],
      'https://writ.dev/claims/grant': {
        id: GRANT,
        intent_digest: digestOf('i'),
        plan_digest: digestOf('p'),
        ticket: 'servicenow:CHG0031337',
        policy_digest: digestOf('y'),
      },
    })
  })

  it('holds no text that a person wrote and stays under 4 KiB', async () => {
    const { token, claims } = await claimsOf()
    expect(JSON.stringify(claims)).not.toContain('a text by a person')
    expect(token.length).toBeLessThan(4_096)
  })

  it('says who acts where the executor acts for somebody else', async () => {
    const { claims } = await claimsOf({ subject: named.principal('vera') })
    expect(claims).toMatchObject({ sub: 'vera', act: { sub: 'webshop-deploy' }, client_id: 'webshop-deploy' })
  })

  it('has no cnf when it is bound to no key', async () => {
    const { ring } = await freshRing()
    const token = reveal(await tokenSigner({ ring, issuer: ISSUER, statusTtl: seconds(30) }).sign(facts(), undefined))
    expect(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())).not.toHaveProperty('cnf')
  })

  it('never outlives its window and keeps nbf <= iat < exp, at any millisecond', async () => {
    for (const offset of [0, 1, 499, 500, 999]) {
      const issuedAt = after(NOON, milliseconds(offset))
      const opensAt = after(NOON, milliseconds(Math.max(0, offset - 1)))
      const expiresAt = after(issuedAt, milliseconds(2_500))
      const { claims } = await claimsOf(
        { issuedAt, notBefore: opensAt, expiresAt },
        KEY,
        after(issuedAt, milliseconds(1)),
      )
      const { nbf = 0, iat = 0, exp = 0 } = claims
      expect([nbf, iat, exp].every(Number.isInteger)).toBe(true)
      expect(exp * 1_000).toBeLessThanOrEqual(expiresAt)
      expect(nbf).toBeLessThanOrEqual(iat)
      expect(exp).toBeGreaterThan(iat)
    }
  })

  it('is refused when less than a whole second of the window is left', async () => {
    const { ring } = await freshRing()
    const signer = tokenSigner({ ring, issuer: ISSUER, statusTtl: seconds(30) })
    const sign = (over: Partial<TokenFacts>) => signer.sign(facts(over), KEY)
    await expect(sign({ expiresAt: after(NOON, milliseconds(999)) })).rejects.toMatchObject({ code: 'window_closing' })
    await expect(sign({ expiresAt: instant(NOON - 5_000) })).rejects.toMatchObject({ code: 'window_closing' })
    await expect(sign({ notBefore: after(NOON, milliseconds(1)) })).rejects.toMatchObject({ code: 'window_not_open' })
    await expect(sign({ expiresAt: after(NOON, hours(25)) })).rejects.toMatchObject({ code: 'policy_refused' })
  })

  it('has the same jti, iat and exp when the same facts are signed twice', async () => {
    const { ring } = await freshRing()
    const signer = tokenSigner({ ring, issuer: ISSUER, statusTtl: seconds(30) })
    const payloads = await Promise.all([signer.sign(facts(), KEY), signer.sign(facts(), KEY)])
    const [first, second] = payloads.map((token) => reveal(token).split('.')[1])
    expect(first).toBe(second)
  })

  it('is signed by the key that signs at its time of issue, and verifies through every rotation while it lives', async () => {
    const { folder, ring } = await freshRing()
    const signer = tokenSigner({ ring, issuer: ISSUER, statusTtl: seconds(30) })
    const live: { token: string; exp: number }[] = []
    let at = NOON
    for (let round = 0; round < 5; round += 1) {
      await rotate(folder, { now: at })
      await ring.reload()
      for (let step = 0; step < 10; step += 1) {
        at = after(at, minutes(2))
        const issued = facts({
          grant: deployGrant(deployIntent(at)),
          issuedAt: at,
          notBefore: at,
          expiresAt: after(at, hours(1)),
        })
        live.push({ token: reveal(await signer.sign(issued, KEY)), exp: issued.expiresAt })
        const keys = createLocalJWKSet({ keys: jwks(ring, at).document.keys.map((each) => ({ ...each })) })
        for (const { token } of live.filter(({ exp }) => exp > at))
          await jwtVerify(token, keys, { currentDate: new Date(at) })
      }
    }
    expect(new Set(live.map(({ token }) => token.split('.')[0])).size).toBeGreaterThan(3)
  })
})

describe('the status list of a token', () => {
  it('is named where verifiers may remember for as long as a list is kept, the same for every token of a grant', async () => {
    const { claims } = await claimsOf()
    expect(claims.status).toEqual({ status_list: { idx: 7, uri: `${ISSUER}/status/0-0` } })
    const later = { ...deployGrant(), born: 200_000 }
    for (const jti of ['jti-1', 'jti-2'])
      expect((await claimsOf({ grant: later, jti })).claims.status).toEqual({
        status_list: { idx: 200_000 - 3 * 65_536, uri: `${ISSUER}/status/0-3` },
      })
  })

  it('is not named where all introspect, or may remember for less, nor where it is not known when the grant was born', async () => {
    const grant = deployGrant()
    for (const verifierCache of [seconds(0), seconds(29)]) {
      const ask = { ...grant.ask, credential: { ...grant.ask.credential, verifierCache } } as typeof grant.ask
      expect((await claimsOf({ grant: { ...grant, ask } })).claims).not.toHaveProperty('status')
    }
    expect((await claimsOf({ grant: { ...grant, born: 0 } })).claims).not.toHaveProperty('status')
  })
})
