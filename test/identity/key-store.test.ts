// The keys of an issuer over time: found when they rotate, asked for seldom, never used when old.
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { after, type Duration, type Instant, instant, minutes, seconds } from '../../src/domain/instant.ts'
import type { Issuer } from '../../src/identity/issuers.ts'
import { type KeysFor, keyStore } from '../../src/identity/key-store.ts'
import { parseKeySet } from '../../src/identity/keys.ts'
import { codeOf } from '../support/code-of.ts'

const ec = (kid: string, changes: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  kid,
  ...changes,
})
const setOf = (...keys: readonly unknown[]): string => JSON.stringify({ keys })

const issuer: Issuer = {
  name: 'login',
  url: 'https://login.example',
  audience: undefined,
  algorithms: ['ES256'],
  types: ['at+jwt'],
  ignoredHeaders: [],
  keys: { from: 'address', url: 'https://login.example/jwks' },
  maximalAge: minutes(10),
  maximalLife: minutes(10),
  clockTolerance: seconds(5),
  session: undefined,
  facts: [],
  cli: undefined,
}

function world(source: Issuer['keys'] = issuer.keys) {
  let now: Instant = instant(1_795_000_000_000)
  const world = {
    document: setOf(ec('a')) as string | undefined,
    discovery: JSON.stringify({ issuer: issuer.url, jwks_uri: 'https://keys.example/jwks' }),
    fetched: [] as string[],
    advance: (span: Duration) => {
      now = after(now, span)
    },
    keys: undefined as unknown as KeysFor,
  }
  world.keys = keyStore(
    { ...issuer, keys: source },
    async (url) => {
      world.fetched.push(url)
      if (url.endsWith('openid-configuration')) return world.discovery
      if (world.document === undefined) throw new Error('down')
      return world.document
    },
    () => now,
  )
  return world
}
const asked = (kid: string) => (keys: ReturnType<typeof parseKeySet>) => keys.find(kid, 'ES256') !== undefined

describe('the keys of an issuer', () => {
  it('are read once for any number of tokens at the same time, and kept', async () => {
    const { keys, fetched } = world()
    await Promise.all(Array.from({ length: 50 }, () => keys(asked('a'))))
    await keys(asked('a'))
    expect(fetched).toHaveLength(1)
  })

  it('are read again when a new key id appears', async () => {
    const w = world()
    await w.keys(asked('a'))
    w.document = setOf(ec('b'))
    w.advance(seconds(30))
    expect((await w.keys(asked('b'))).find('b', 'ES256')).toBeDefined()
    expect(w.fetched).toHaveLength(2)
  })

  it('are read at most once in 30 seconds, whatever key ids come', async () => {
    const w = world()
    await w.keys(asked('a'))
    for (let n = 0; n < 1_000; n += 1) {
      expect((await w.keys(asked(`random-${n}`))).find(`random-${n}`, 'ES256')).toBeUndefined()
      w.advance(seconds(1) as Duration)
    }
    expect(w.fetched.length).toBeLessThanOrEqual(1 + Math.ceil(1_000 / 30))
    expect(w.fetched.length).toBeGreaterThan(20)
  })

  it('stay good through a failure of the issuer, for ten minutes and not longer', async () => {
    const w = world()
    await w.keys(asked('a'))
    w.document = undefined
    w.advance(minutes(9))
    expect((await w.keys(asked('a'))).find('a', 'ES256')).toBeDefined()
    w.advance(minutes(1))
    expect(await codeOf(w.keys(asked('a')))).toBe('unauthenticated')
    w.document = setOf(ec('a'))
    w.advance(seconds(30))
    expect((await w.keys(asked('a'))).find('a', 'ES256')).toBeDefined()
  })

  it('are refreshed behind the back of the requests before they are too old', async () => {
    const w = world()
    await w.keys(asked('a'))
    w.advance(minutes(6))
    await w.keys(asked('a'))
    await new Promise((settle) => setImmediate(settle))
    w.advance(minutes(6))
    await w.keys(asked('a'))
    expect(w.fetched.length).toBeGreaterThanOrEqual(2)
  })

  it('that the issuer took back are refused within ten minutes', async () => {
    const w = world()
    await w.keys(asked('a'))
    w.document = setOf(ec('b'))
    w.advance(minutes(10))
    expect((await w.keys(asked('a'))).find('a', 'ES256')).toBeUndefined()
  })

  it('are asked for again soon after a failure at the start, but not by every request', async () => {
    const w = world()
    const good = w.document
    w.document = undefined
    for (let n = 0; n < 20; n += 1) expect(await codeOf(w.keys(asked('a')))).toBe('unauthenticated')
    expect(w.fetched).toHaveLength(1)
    w.document = good
    w.advance(seconds(2))
    expect((await w.keys(asked('a'))).find('a', 'ES256')).toBeDefined()
  })

  it('are found by discovery, whose document must name the very issuer', async () => {
    const w = world({ from: 'discovery' })
    await w.keys(asked('a'))
    expect(w.fetched).toEqual(['https://login.example/.well-known/openid-configuration', 'https://keys.example/jwks'])
    for (const discovery of [
      '{}',
      '[]',
      '{"issuer":"https://evil.example","jwks_uri":"https://keys.example/jwks"}',
      '{"issuer":"https://login.example/","jwks_uri":"x"}',
      '{"issuer":"https://login.example"}',
      'x',
    ]) {
      const other = world({ from: 'discovery' })
      other.discovery = discovery
      expect(await codeOf(other.keys(asked('a')))).toBe('unauthenticated')
    }
  })

  it('are never asked for when they are pinned in a file', async () => {
    const w = world({ from: 'file', keys: parseKeySet(setOf(ec('a'))) })
    w.advance(minutes(60))
    expect((await w.keys(asked('nobody'))).size).toBe(1)
    expect(w.fetched).toEqual([])
  })
})

describe('a JWK Set', () => {
  const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ format: 'jwk' })
  const withPrivate = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

  it.each([
    ['a symmetric key', { kty: 'oct', k: 'AAAA', kid: 'x' }],
    ['a key whose private half is there', { ...withPrivate, kid: 'x' }],
    ['an encryption key', ec('x', { use: 'enc' })],
    ['a key that may not verify', ec('x', { key_ops: ['encrypt'] })],
    ['a weak RSA key', { ...rsa(1_024), kid: 'x' }],
    ['a key for an algorithm that is not ours', ec('x', { alg: 'ECDH-ES' })],
    [
      'a curve that is not ours',
      { ...generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ format: 'jwk' }), kid: 'x' },
    ],
    ['a point that is not on the curve', { ...ec('x'), y: ec('y').y }],
    ['no key', null],
    ['a text', 'key'],
  ])('gives no key for %s', (_, key) => {
    const set = parseKeySet(setOf(key, ec('good')))
    expect([set.size, set.ignored.length]).toEqual([1, 1])
    expect(() => parseKeySet(setOf(key))).toThrow()
  })

  it('gives no key for a key id that stands for two', () => {
    const set = parseKeySet(setOf(ec('a'), ec('a'), ec('b')))
    expect([set.find('a', 'ES256'), set.find('b', 'ES256')?.type]).toEqual([undefined, 'public'])
  })

  it('gives a key only for an algorithm of its type, and without a key id only when there is no choice', () => {
    const one = parseKeySet(setOf(ec('a')))
    expect([one.find('a', 'RS256'), one.find('a', 'ES384'), one.find(undefined, 'ES256')?.type]).toEqual([
      undefined,
      undefined,
      'public',
    ])
    expect(parseKeySet(setOf(ec('a'), ec('b'))).find(undefined, 'ES256')).toBeUndefined()
  })

  it('ignores certificate members, so that they cannot name another key', () => {
    expect(parseKeySet(setOf(ec('a', { x5u: 'https://evil.example', x5c: ['AAAA'] }))).size).toBe(1)
  })

  it.each([
    ['more than 20 keys', () => setOf(...Array.from({ length: 21 }, (_, n) => ec(`k${n}`)))],
    ['no keys', () => setOf()],
    ['no list', () => '{"keys":{}}'],
    ['something else', () => '[]'],
    ['no JSON', () => '<html>'],
    ['more than 64 KB', () => setOf(ec('a', { x: 'A'.repeat(70_000) }))],
    ['a member twice', () => '{"keys":[],"keys":[]}'],
  ])('is refused with %s', (_, text) => {
    expect(() => parseKeySet(text())).toThrow()
  })
})
