// What a DPoP proof must be (RFC 9449 §4.3): every way to show another's token, another's proof, or the same proof twice.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Presented, planDigest, type Verdict, type Verifier } from '../../src/verifier/index.ts'
import { normalUrl } from '../../src/verifier/key-proof.ts'
import { replayMemory } from '../../src/verifier/replays.ts'
import { type ContractBroker, contractBroker } from '../support/contract-broker.ts'
import { athOf, clientKey, proof } from '../support/keys.ts'
import { type Holder, holder, PUBLIC_URL, verifierAt } from '../support/verified.ts'

let broker: ContractBroker
let writ: Verifier
let one: Holder
beforeAll(async () => {
  broker = await contractBroker()
  writ = verifierAt(broker, { reports: false })
  one = await holder(broker)
})
afterAll(async () => {
  await writ.close()
  await broker.stop()
})
const code = (verdict: Verdict): string => (verdict.ok ? 'ok' : verdict.code)
const b64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const seconds = (from = 0): number => Math.floor(Date.now() / 1_000) + from
const claims = (over: object = {}) => ({
  jti: randomUUID(),
  htm: 'POST',
  htu: `${PUBLIC_URL}/labels`,
  iat: seconds(),
  ath: athOf(one.token),
  ...over,
})
const signed = (header: unknown, said: unknown = claims(), by = one.key.privateKey): string => {
  const input = `${b64(header)}.${b64(said)}`
  return `${input}.${sign('sha256', Buffer.from(input), { key: by, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
const header = () => ({ typ: 'dpop+jwt', alg: 'ES256', jwk: one.key.jwk })

describe('a proof is refused', () => {
  const rows: readonly (readonly [what: string, as: string, make: () => Promise<Presented> | Presented])[] = [
    ['that is not there', 'no_proof', () => one.request({}, { dpop: [] })],
    ['that is none', 'no_proof', () => one.request({}, { dpop: ['nonsense'] })],
    [
      'that is there twice',
      'no_proof',
      async () => ({ ...(await one.request()), dpop: [...(await one.request()).dpop, ...(await one.request()).dpop] }),
    ],
    [
      'that came joined with another',
      'no_proof',
      async () => one.request({}, { dpop: [`${(await one.request()).dpop[0]}, ${(await one.request()).dpop[0]}`] }),
    ],
    ['for another method', 'no_proof', () => one.request({ htm: 'GET' })],
    ['for the method in small letters', 'no_proof', () => one.request({ htm: 'post' })],
    ['for another path', 'no_proof', () => one.request({ htu: `${PUBLIC_URL}/other` })],
    ['for the path in another case', 'no_proof', () => one.request({ htu: `${PUBLIC_URL}/Labels` })],
    ['for another host', 'no_proof', () => one.request({ htu: 'https://evil.example/labels' })],
    ['for plain http', 'no_proof', () => one.request({ htu: `${PUBLIC_URL.replace('https', 'http')}/labels` })],
    ['for another port', 'no_proof', () => one.request({ htu: 'https://api.northwind.example:8443/labels' })],
    ['for a URL with a user', 'no_proof', () => one.request({ htu: 'https://x@api.northwind.example/labels' })],
    ['for another token', 'no_proof', () => one.request({ ath: athOf('another') })],
    ['for no token', 'no_proof', () => one.request({ ath: undefined })],
    ['that is too old', 'no_proof', () => one.request({ iat: seconds(-120) })],
    ['from the future', 'no_proof', () => one.request({ iat: seconds(30) })],
    ['without a time', 'no_proof', () => one.request({ iat: undefined })],
    ['with a time that is a text', 'no_proof', () => one.request({ iat: String(seconds()) })],
    ['without an id', 'no_proof', () => one.request({ jti: undefined })],
    ['with an id of a kilobyte', 'no_proof', () => one.request({ jti: 'x'.repeat(1_024) })],
    ['with an id with a line break', 'no_proof', () => one.request({ jti: 'a\nb' })],
    ['of another type', 'no_proof', () => one.request({ header: { typ: 'JWT' } })],
    ['with a kid beside its key', 'no_proof', () => one.request({ header: { kid: 'x' } })],
    ['with crit', 'no_proof', () => one.request({}, { dpop: [signed({ ...header(), crit: ['b64'], b64: false })] })],
    [
      'with alg none',
      'no_proof',
      () => one.request({}, { dpop: [`${b64({ ...header(), alg: 'none' })}.${b64(claims())}.${'A'.repeat(86)}`] }),
    ],
    [
      'with a private key',
      'no_proof',
      () => one.request({ header: { jwk: one.key.privateKey.export({ format: 'jwk' }) } }),
    ],
    [
      'with a symmetric key',
      'no_proof',
      () => one.request({}, { dpop: [signed({ ...header(), jwk: { kty: 'oct', k: 'AAAA' } })] }),
    ],
    [
      'with a point that is on no curve',
      'no_proof',
      () => one.request({}, { dpop: [signed({ ...header(), jwk: { ...one.key.jwk, y: one.key.jwk.x } })] }),
    ],
    [
      'without a key',
      'no_proof',
      () => one.request({}, { dpop: [signed({ typ: 'dpop+jwt', alg: 'ES256', jwk: null })] }),
    ],
    [
      'with an id twice',
      'no_proof',
      () => one.request({}, { dpop: [signed(header(), JSON.stringify(claims()).replace('{', '{"jti":"other",'))] }),
    ],
    [
      'signed by another key than it shows',
      'no_proof',
      async () => one.request({}, { dpop: [signed(header(), claims(), (await clientKey()).privateKey)] }),
    ],
    [
      'of another key than the token names',
      'wrong_key',
      async () => one.request({}, { dpop: [await proof(await clientKey(), claims())] }),
    ],
    [
      'of another kind of key',
      'wrong_key',
      async () => one.request({}, { dpop: [await proof(await clientKey('EdDSA'), claims())] }),
    ],
    [
      'with RS256',
      'no_proof',
      () => {
        const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
        const input = `${b64({ typ: 'dpop+jwt', alg: 'RS256', jwk: publicKey.export({ format: 'jwk' }) })}.${b64(claims())}`
        return one.request(
          {},
          { dpop: [`${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`] },
        )
      },
    ],
    [
      'beside a token that is sent as Bearer',
      'no_proof',
      () => one.request({}, { authorization: [`Bearer ${one.token}`] }),
    ],
    ['for a target that is no path', 'no_proof', () => one.request({}, { target: 'https://evil.example/labels' })],
    [
      'for a target that a router may read otherwise',
      'no_proof',
      () => one.request({ htu: `${PUBLIC_URL}/labels` }, { target: '/admin/../labels' }),
    ],
    [
      'for a target with hidden dots',
      'no_proof',
      () => one.request({ htu: `${PUBLIC_URL}/labels` }, { target: '/admin/%2e%2e/labels' }),
    ],
  ]
  it.each(rows)('%s: %s', async (_what, as, make) => {
    expect(code(await writ.verify(await make()))).toBe(as)
  })
})

describe('a proof is accepted', () => {
  it.each([
    ['with the query and a fragment in its URL', { htu: `${PUBLIC_URL}/labels?dry=1#x` }],
    ['with another spelling of the host', { htu: 'HTTPS://API.Northwind.Example:443/labels' }],
    ['with letters escaped that need it not', { htu: `${PUBLIC_URL}/%6cabels` }],
    ['50 s old', { iat: seconds(-50) }],
  ])('%s', async (_what, over) => {
    expect(code(await writ.verify(await one.request(over)))).toBe('ok')
  })

  it('once, of fifty at the same moment', async () => {
    const request = await one.request()
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => writ.verify(request)))
    expect(verdicts.map(code).sort()).toEqual(['ok', ...Array.from({ length: 49 }, () => 'replay')])
  })

  it('once, however its signature is spelled: the id counts', async () => {
    const request = await one.request()
    expect(code(await writ.verify(request))).toBe('ok')
    // (r, n − s) is another valid signature of the same text.
    const [head = '', body = '', signature = ''] = (request.dpop[0] ?? '').split('.')
    const bytes = Buffer.from(signature, 'base64url')
    const n = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
    const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
    const again = { ...request, dpop: [`${head}.${body}.${other.toString('base64url')}`] }
    expect(code(await writ.verify(again))).toBe('replay')
  })

  it('is not used up by a token that is not good', async () => {
    const request = await one.request()
    expect(code(await writ.verify({ ...request, authorization: [`DPoP ${one.token}x`] }))).toBe('bad_token')
    expect(code(await writ.verify(request))).toBe('ok')
  })
})

describe('a token that is bound to no key', () => {
  it('is refused, unless it was said that such are accepted, and then only as Bearer without a proof', async () => {
    const token = await broker.token()
    const open = verifierAt(broker, { acceptBearer: true, reports: false })
    const good = await one.request({}, { authorization: [`Bearer ${token}`], dpop: [] })
    expect(code(await writ.verify(good))).toBe('no_proof')
    expect(code(await open.verify(good))).toBe('ok')
    expect(code(await open.verify({ ...good, authorization: [`bearer ${token}`] }))).toBe('ok')
    expect(code(await open.verify({ ...good, authorization: [`DPoP ${token}`] }))).toBe('bad_token')
    expect(code(await open.verify({ ...good, dpop: (await one.request()).dpop }))).toBe('bad_token')
    await open.close()
  })
})

describe('the memory of used proofs', () => {
  it('forgets nothing that could come again, and refuses as not known when it is full', async () => {
    let now = 1_000_000
    const use = replayMemory({ now: () => now, most: 4, mostOfOne: 3 })
    expect(await use('a:1', now + 60_000)).toBe(true)
    expect(await use('a:1', now + 60_000)).toBe(false)
    await use('a:2', now + 60_000)
    await use('a:3', now + 60_000)
    await expect(use('a:4', now + 60_000)).rejects.toThrow()
    expect(await use('b:1', now + 90_000)).toBe(true)
    await expect(use('c:1', now + 60_000)).rejects.toThrow()
    now += 59_999
    expect(await use('a:1', now)).toBe(false)
    now += 10_001
    expect(await use('c:1', now + 60_000)).toBe(true)
    expect(await use('b:1', now)).toBe(false)
  })

  it('may be shared; one that does not answer refuses', async () => {
    const used = new Set<string>()
    const useOnce = async (key: string) => !used.has(key) && Boolean(used.add(key))
    const [first, second] = [
      verifierAt(broker, { useOnce, reports: false }),
      verifierAt(broker, { useOnce, reports: false }),
    ]
    const dead = verifierAt(broker, { useOnce: async () => Promise.reject(new Error('no')), reports: false })
    const request = await one.request()
    expect([
      code(await dead.verify(request)),
      code(await first.verify(request)),
      code(await second.verify(request)),
    ]).toEqual(['stale', 'ok', 'replay'])
    await Promise.all([first, second, dead].map((each) => each.close()))
  })
})

describe('a URL', () => {
  it.each([
    ['https://a.example', 'https://a.example/'],
    ['HTTPS://A.example:443/x', 'https://a.example/x'],
    ['http://a.example:80/', 'http://a.example/'],
    ['https://a.example/a%2fb', 'https://a.example/a%2Fb'],
    ['https://a.example/%7Eme', 'https://a.example/~me'],
    ['https://a.example/ü', 'https://a.example/%C3%BC'],
    ['https://a.example//x', 'https://a.example//x'],
    ['https://a.example/x?y#z', 'https://a.example/x'],
    ['https://a.example/./x', undefined],
    ['https://a.example/%2E%2e/x', undefined],
    ['https://a.example/x\\y', undefined],
    ['https://a.example/x y', undefined],
    ['https://u@a.example/x', undefined],
    ['javascript:alert(1)', undefined],
    ['//a.example/x', undefined],
    ['', undefined],
  ])('%s is compared as %s', (text, normal) => {
    expect(normalUrl(text)).toBe(normal)
  })
})

it('a plan is digested as the command line does', () => {
  expect(planDigest('')).toBe('sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU')
  expect(planDigest(new TextEncoder().encode('x'))).toBe(planDigest('x'))
})
