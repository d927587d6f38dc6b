import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { type JWTPayload, SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { after, type Instant, instant, seconds } from '../../src/domain/instant.ts'
import { type ProofOptions, proofChecker, type UseOnce } from '../../src/tokens/dpop.ts'
import { athOf, type ClientKey, clientKey, NOON, type ProofClaims, proof } from '../support/keys.ts'

const URL = 'https://writ.example/oauth/token'
const IAT = NOON / 1_000
let count = 0
const claims = (over: ProofClaims = {}): ProofClaims => ({
  jti: `jti-${++count}`,
  htm: 'POST',
  htu: URL,
  iat: IAT,
  ...over,
})

function setUp(over: Partial<ProofOptions> = {}) {
  let now: Instant = NOON
  const used = new Map<string, Instant>()
  const useOnce: UseOnce = async (key, until) => {
    if ((used.get(key) ?? 0) > now) return false
    used.set(key, until)
    return true
  }
  const checker = proofChecker({ now: () => now, useOnce, ...over })
  /** As a door does that has found out who asks. */
  const check = async (text: string, more: { method?: string; url?: string; accessToken?: string } = {}) => {
    const { key, spend } = await checker.check({ proof: text, method: 'POST', url: URL, ...more })
    await spend()
    return key
  }
  return { checker, check, used, setNow: (to: Instant) => (now = to) }
}
const invalid = { code: 'unauthenticated', facts: { oauth: 'invalid_dpop_proof' } }
const nonceNeeded = { code: 'unauthenticated', facts: { oauth: 'use_dpop_nonce' } }
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Signs any texts as header and payload, which a library would not write. */
function rawProof(key: ClientKey, header: string, payload: string): string {
  const input = `${encode(header)}.${encode(payload)}`
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

describe('a DPoP proof', () => {
  it.each(['ES256', 'EdDSA'] as const)('with %s proves the key whose RFC 7638 thumbprint it names', async (alg) => {
    const { check } = setUp()
    const key = await clientKey(alg)
    expect(await check(await proof(key, claims()))).toBe(key.jkt)
    expect(await check(await proof(key, claims()))).toBe(key.jkt)
    const decorated = { ...key.jwk, kid: 'mine', use: 'sig', ext: true, key_ops: ['verify'] }
    expect(await check(await proof(key, claims(), { jwk: decorated }))).toBe(key.jkt)
  })

  it('is good for its method and its URL only, whatever query or fragment was sent', async () => {
    const { check } = setUp()
    const key = await clientKey()
    expect(await check(await proof(key, claims({ htu: `${URL}?a=1#b` })))).toBe(key.jkt)
    for (const over of [
      { htm: 'GET' },
      { htm: 'post' },
      { htu: 'http://writ.example/oauth/token' },
      { htu: 'https://writ.example/oauth/Token' },
      { htu: 'https://writ.example/oauth/token/' },
      { htu: 'https://writ.example:444/oauth/token' },
      { htu: 'https://evil.example/oauth/token' },
      { htu: 'https://writ.example/oauth/token.evil' },
      { htu: '' },
      { htu: [URL] },
    ])
      await expect(check(await proof(key, claims(over)))).rejects.toMatchObject(invalid)
  })

  it('is refused before its time and after 60 seconds, with 5 seconds of tolerance each way', async () => {
    const { check } = setUp()
    const key = await clientKey()
    for (const offset of [5, 0, -60, -65])
      expect(await check(await proof(key, claims({ iat: IAT + offset })))).toBe(key.jkt)
    for (const iat of [IAT + 6, IAT - 66, 0, -1, 1e15, IAT + 0.5, String(IAT), undefined])
      await expect(check(await proof(key, claims({ iat })))).rejects.toMatchObject(invalid)
  })

  it('can be used once, of fifty parallel uses and at any later time', async () => {
    const { check, setNow } = setUp()
    const key = await clientKey()
    const text = await proof(key, claims({ iat: IAT + 5 }))
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => check(text)))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    for (let wait = 0; wait <= 180; wait += 1) {
      setNow(after(NOON, seconds(wait)))
      await expect(check(text)).rejects.toMatchObject(invalid)
    }
  })

  it('is remembered by key and jti, so that two clients may choose the same jti', async () => {
    const { check, used } = setUp()
    const [one, two] = [await clientKey(), await clientKey()]
    expect(await check(await proof(one, claims({ jti: 'same' })))).toBe(one.jkt)
    expect(await check(await proof(two, claims({ jti: 'same' })))).toBe(two.jkt)
    await expect(check(await proof(one, claims({ jti: 'same' })))).rejects.toMatchObject(invalid)
    expect([...used.keys()]).toEqual([`dpop:${one.jkt}:same`, `dpop:${two.jkt}:same`])
  })

  it('takes up no memory of uses unless everything else about it holds', async () => {
    const { check, used } = setUp()
    const key = await clientKey()
    await expect(check(await proof(key, claims({ htm: 'GET' })))).rejects.toMatchObject(invalid)
    await expect(check(`${(await proof(key, claims())).slice(0, -4)}AAAA`)).rejects.toMatchObject(invalid)
    expect(used.size).toBe(0)
  })

  it('needs a jti of 1 to 128 printable characters', async () => {
    const { check } = setUp()
    const key = await clientKey()
    expect(await check(await proof(key, claims({ jti: 'x'.repeat(128) })))).toBe(key.jkt)
    for (const jti of ['', 'x'.repeat(129), 'a b', 'a\n', 'ä', 7, undefined])
      await expect(check(await proof(key, claims({ jti })))).rejects.toMatchObject(invalid)
  })

  it('must name the hash of the access token that comes with it', async () => {
    const { check } = setUp()
    const key = await clientKey()
    const accessToken = 'the.access.token'
    expect(await check(await proof(key, claims({ ath: athOf(accessToken) })), { accessToken })).toBe(key.jkt)
    for (const ath of [undefined, athOf('another'), athOf(accessToken).toLowerCase(), ''])
      await expect(check(await proof(key, claims({ ath })), { accessToken })).rejects.toMatchObject(invalid)
  })

  it('is refused with another type, algorithm or header, a private or symmetric key, or a key that does not fit', async () => {
    const { check } = setUp()
    const key = await clientKey()
    const edwards = await clientKey('EdDSA')
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const d = (key.privateKey.export({ format: 'jwk' }) as { d: string }).d
    const headers: Record<string, unknown>[] = [
      { typ: 'JWT' },
      { typ: undefined },
      { typ: 'at+jwt' },
      { typ: 'DPOP+JWT' },
      { jwk: undefined },
      { jwk: edwards.jwk },
      { jwk: { ...key.jwk, d } },
      { jwk: { ...key.jwk, k: 'AAAA' } },
      { jwk: { kty: 'oct', k: 'AAAA' } },
      { jwk: { ...key.jwk, crv: 'P-384' } },
      { jwk: { ...key.jwk, y: key.jwk.x } },
      { jwk: { ...key.jwk, x: 'AA', y: 'AA' } },
      { jwk: rsa.publicKey.export({ format: 'jwk' }) },
      { kid: 'x' },
      { jku: 'https://evil.example/jwks' },
      { x5u: 'https://evil.example/cert' },
    ]
    for (const header of headers) await expect(check(await proof(key, claims(), header))).rejects.toMatchObject(invalid)
    const byRsa = await new SignJWT(claims() as JWTPayload)
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'RS256', jwk: rsa.publicKey.export({ format: 'jwk' }) })
      .sign(rsa.privateKey)
    await expect(check(byRsa)).rejects.toMatchObject(invalid)
    const other = await clientKey()
    await expect(check(await proof(other, claims(), { jwk: key.jwk }))).rejects.toMatchObject(invalid)
  })

  it('is refused with alg none, with an HMAC under its own public key, and with crit', async () => {
    const { check } = setUp()
    const key = await clientKey()
    const payload = encode(claims())
    for (const alg of ['none', 'HS256', 'ES384', 'PS256', 'es256']) {
      const header = encode({ typ: 'dpop+jwt', alg, jwk: key.jwk })
      const mac = createHmac('sha256', JSON.stringify(key.jwk)).update(`${header}.${payload}`).digest('base64url')
      for (const signature of ['', mac, 'A'.repeat(86)])
        await expect(check(`${header}.${payload}.${signature}`)).rejects.toMatchObject(invalid)
    }
    const crit = JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk, crit: ['b64'], b64: false })
    await expect(check(rawProof(key, crit, JSON.stringify(claims())))).rejects.toMatchObject(invalid)
  })

  it('is refused when a member is named twice, in header or payload, though its signature holds', async () => {
    const { check } = setUp()
    const key = await clientKey()
    const header = JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk })
    const payload = JSON.stringify(claims())
    expect(await check(rawProof(key, header, payload))).toBe(key.jkt)
    expect(await check(rawProof(key, header, JSON.stringify({ ...claims(), note: 'a "quoted\\": b' })))).toBe(key.jkt)
    for (const [head, body] of [
      [header.replace('{', '{"alg":"ES256",'), JSON.stringify(claims())],
      [header.replace('"crv"', '"x":"AA","crv"'), JSON.stringify(claims())],
      [header, JSON.stringify(claims()).replace('{', '{"htm" : "GET",')],
      [header, JSON.stringify(claims()).replace('{', '{"h\\u0074m":"GET",')],
      [header, `${JSON.stringify(claims())}{}`],
      [header, '[]'],
      [header, 'null'],
    ] as const)
      await expect(check(rawProof(key, head, body))).rejects.toMatchObject(invalid)
  })

  it('is one compact JWT: a second header, padding, spaces, other spellings and great length are refused', async () => {
    const { check } = setUp()
    const key = await clientKey()
    const make = () => proof(key, claims())
    const texts = [
      `${await make()}, ${await make()}`,
      `${await make()}=`,
      ` ${await make()}`,
      `${await make()}\n`,
      (await make()).split('.').slice(0, 2).join('.'),
      `${await make()}.x`,
      '',
      '..',
      await proof(key, claims({ jti: 'x'.repeat(5_000) })),
    ]
    for (const text of texts) await expect(check(text)).rejects.toMatchObject(invalid)
    const text = await make()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    for (const last of alphabet)
      if (last !== text.at(-1)) await expect(check(text.slice(0, -1) + last)).rejects.toMatchObject(invalid)
    expect(await check(text)).toBe(key.jkt)
  })

  it('is refused where it became too old while it was found out who asks: the mark of its first use may be gone', async () => {
    const { checker, used, setNow } = setUp()
    const text = await proof(await clientKey(), claims())
    setNow(after(NOON, seconds(64)))
    const { spend } = await checker.check({ proof: text, method: 'POST', url: URL })
    setNow(after(NOON, seconds(71)))
    await expect(spend()).rejects.toMatchObject(invalid)
    expect(used.size).toBe(0)
  })

  it('is refused with store_unavailable when it cannot be known whether it was used before', async () => {
    const { check } = setUp({
      useOnce: () => Promise.reject(new BrokerError('store_unavailable', 'The store did not answer.')),
    })
    await expect(check(await proof(await clientKey(), claims()))).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  it('never has its contents in the refusal', async () => {
    const { check } = setUp()
    const text = await proof(await clientKey(), claims({ htm: 'GET', jti: 'canary' }))
    const thrown = await check(text).catch((error: unknown) => error)
    expect(JSON.stringify(thrown, Object.getOwnPropertyNames(thrown))).not.toMatch(/canary|eyJ/)
  })
})

describe('a DPoP nonce', () => {
  const key32 = new Uint8Array(32).fill(7)

  it('is asked for where it is required, and then accepted in its period and the next one', async () => {
    const { checker, check, setNow } = setUp({ nonce: { key: key32, required: true } })
    const key = await clientKey()
    await expect(check(await proof(key, claims()))).rejects.toMatchObject(nonceNeeded)
    const nonce = checker.freshNonce() ?? ''
    expect(await check(await proof(key, claims({ nonce })))).toBe(key.jkt)
    setNow(after(NOON, seconds(119)))
    expect(await check(await proof(key, claims({ nonce })))).toBe(key.jkt)
    setNow(after(NOON, seconds(120)))
    await expect(check(await proof(key, claims({ nonce })))).rejects.toMatchObject(nonceNeeded)
    expect(await check(await proof(key, claims({ nonce: checker.freshNonce() })))).toBe(key.jkt)
  })

  it('is not needed where it is optional, yet a wrong one is refused', async () => {
    const { check } = setUp({ nonce: { key: key32, required: false } })
    const key = await clientKey()
    expect(await check(await proof(key, claims()))).toBe(key.jkt)
    await expect(check(await proof(key, claims({ nonce: 'stale' })))).rejects.toMatchObject(nonceNeeded)
  })

  it('lets a client with a wrong clock in, and its proof can still be used only once', async () => {
    const { checker, check, setNow } = setUp({ nonce: { key: key32, required: true } })
    const key = await clientKey()
    const text = await proof(key, claims({ iat: IAT - 86_400, nonce: checker.freshNonce() }))
    expect(await check(text)).toBe(key.jkt)
    for (let wait = 0; wait <= 240; wait += 3) {
      setNow(after(NOON, seconds(wait)))
      await expect(check(text)).rejects.toMatchObject({ code: 'unauthenticated' })
    }
  })

  it('is the same at every broker that shares the key, and a stranger to all others', async () => {
    const one = setUp({ nonce: { key: key32, required: true } })
    const two = setUp({ nonce: { key: key32, required: true } })
    const stranger = setUp({ nonce: { key: new Uint8Array(32).fill(8), required: true } })
    const key = await clientKey()
    const nonce = one.checker.freshNonce()
    expect(await two.check(await proof(key, claims({ nonce })))).toBe(key.jkt)
    await expect(stranger.check(await proof(key, claims({ nonce })))).rejects.toMatchObject(nonceNeeded)
    expect(() =>
      proofChecker({
        now: () => instant(0),
        useOnce: async () => true,
        nonce: { key: new Uint8Array(31), required: true },
      }),
    ).toThrow(RangeError)
  })
})
