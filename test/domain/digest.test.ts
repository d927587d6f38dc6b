// The intent digest: what one approves is exactly what was asked. The same meaning has one digest however it was written, another meaning
// another one, and what is in it is the table that CHANGES is.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Canonical } from '../../src/domain/canonical.ts'
import { type Intent, intentDigest, semantic, type Texts, textsDigest } from '../../src/domain/intent.ts'
import { anyIntent, CHANGES, least, REMOVALS, whole } from './sample-intents.ts'

const ISSUER = 'https://broker.example'
const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')
const digestOf = (intent: Intent): string => intentDigest(intent, ISSUER, sha256)

/** Paths of everything that is hashed; a set is a leaf. */
const leaves = (value: Canonical | undefined, path = ''): readonly string[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).flatMap(([key, member]) => leaves(member, path === '' ? key : `${path}.${key}`))
    : [path]

/** The same meaning, written differently: keys of every mapping in another order, sets turned and with repetitions. */
function rewritten(value: unknown, turn: number): unknown {
  const turned = <T>(items: readonly T[]): readonly T[] => {
    const at = items.length === 0 ? 0 : turn % items.length
    const around = [...items.slice(at), ...items.slice(0, at)]
    return turn % 2 === 0 ? around : around.toReversed()
  }
  if (Array.isArray(value)) return [...turned(value), ...value.slice(0, turn % 3)]
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).filter(([, member]) => turn % 5 !== 0 || member !== undefined)
  return Object.fromEntries(turned(members).map(([name, member]) => [name, rewritten(member, turn)]))
}

describe('the intent digest', () => {
  it('has a change for each member that is hashed, and each changes it to a digest of its own', () => {
    expect(Object.keys(CHANGES).toSorted()).toEqual([...leaves(semantic(whole))].toSorted())
    for (const base of [least, whole]) {
      const changed = Object.values(CHANGES).map((to) => digestOf(to(base)))
      // What the least one lacks comes whole, whichever of its members is asked for.
      const same = base === least ? ['exposure', 'change', 'plan', 'ticket'] : []
      const twice = Object.keys(CHANGES).filter((path) => same.some((one) => path.startsWith(`${one}.`))).length
      expect(new Set([digestOf(base), ...changed]).size).toBe(1 + changed.length - twice + same.length)
    }
    const removed = Object.values(REMOVALS).map((from) => digestOf(from(whole)))
    expect(new Set([digestOf(whole), ...removed]).size).toBe(1 + removed.length)
  })

  it('is the same under key order, set order and repetition, and another under any change, for 100,000 random intents', () => {
    const change = fc.constantFrom(...Object.entries({ ...CHANGES }))
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(anyIntent, fc.nat({ max: 1_000 }), change, (intent, turn, [path, to]) => {
        const digest = digestOf(intent)
        if (digestOf(rewritten(intent, turn) as Intent) !== digest) throw new Error(`turn ${turn} changes the digest`)
        if (digestOf(to(intent)) === digest) throw new Error(`${path} does not change the digest`)
        seen.set(path, (seen.get(path) ?? 0) + 1)
      }),
      { numRuns: 100_000 },
    )
    for (const path of Object.keys(CHANGES)) expect(seen.get(path) ?? 0, path).toBeGreaterThan(1_000)
  }, 300_000)

  it('is bound to the broker, and is no digest of texts', () => {
    expect(intentDigest(least, 'https://other.example', sha256)).not.toBe(digestOf(least))
    const asTexts = semantic(least) as unknown as Texts
    expect(textsDigest(asTexts, ISSUER, sha256)).not.toBe(digestOf(least))
  })

  interface Vector {
    readonly name: string
    readonly text: string
    readonly digest: string
  }
  const vectors: readonly Vector[] = JSON.parse(
    readFileSync(new URL('golden-intents.json', import.meta.url), 'utf8'),
  ).vectors
  it.each(vectors.map((one) => [one.name, one] as const))('golden vector: %s', (_, { text, digest }) => {
    const { typ, iss, value } = JSON.parse(text)
    expect([typ, iss]).toEqual(['writ/intent/v1', ISSUER])
    expect(canonicalize(JSON.parse(text))).toBe(text)
    expect(`sha-256:${sha256(text)}`).toBe(digest)
    expect(intentDigest(value, ISSUER, sha256)).toBe(digest)
  })
  it('golden vectors are the samples', () => {
    expect(vectors.map(({ digest }) => digest)).toEqual([digestOf(least), expect.any(String), digestOf(whole)])
    const independent = (intent: Intent) =>
      `sha-256:${sha256(canonicalize({ typ: 'writ/intent/v1', iss: ISSUER, value: semantic(intent) }) ?? '')}`
    fc.assert(fc.property(anyIntent, (intent) => independent(intent) === digestOf(intent)))
  })
})

describe('texts that are approved', () => {
  const texts: Texts = { summary: '', objective: '', expectedOutcome: '', rollback: '', ticketUrl: '', planUri: '' }
  it('have a digest of their own, which each of them changes, and are nowhere in the intent', () => {
    const names = Object.keys(texts) as (keyof Texts)[]
    const digests = names.map((name) => textsDigest({ ...texts, [name]: 'x' }, ISSUER, sha256))
    expect(new Set([textsDigest(texts, ISSUER, sha256), ...digests]).size).toBe(names.length + 1)
    for (const name of names) expect(leaves(semantic(whole))).not.toContain(name)
    expect(textsDigest(texts, 'https://other.example', sha256)).not.toBe(textsDigest(texts, ISSUER, sha256))
  })
})
